"""Routing, balancing, the MoE layer and a small transformer, in torch."""

from moedocs.config import BalanceConfig, RoutingConfig, capacity
from moedocs.engine.balance import auxiliary_loss, load, updated_bias
from moedocs.engine.depth import DepthRouting, random_depth, through, top_c
from moedocs.engine.depth_block import DepthBlock, Predictor
from moedocs.engine.depth_sampling import (
    always_skip_accuracy,
    causal_choice,
    choice_accuracy,
    choice_recall,
    depth_auxiliary_loss,
    predictor_loss,
    sampling_loss,
)
from moedocs.engine.layer import Experts, MoELayer, dense_dispatch, sorted_dispatch, swiglu
from moedocs.engine.overflow import with_capacity
from moedocs.engine.record import Routing
from moedocs.engine.token_choice import softmax_top_k
from moedocs.engine.transformer import Trace, Transformer, trace

__all__ = [
    "BalanceConfig",
    "DepthBlock",
    "DepthRouting",
    "Experts",
    "MoELayer",
    "Predictor",
    "Routing",
    "RoutingConfig",
    "Trace",
    "Transformer",
    "always_skip_accuracy",
    "auxiliary_loss",
    "capacity",
    "causal_choice",
    "choice_accuracy",
    "choice_recall",
    "dense_dispatch",
    "depth_auxiliary_loss",
    "load",
    "predictor_loss",
    "random_depth",
    "sampling_loss",
    "softmax_top_k",
    "sorted_dispatch",
    "swiglu",
    "through",
    "top_c",
    "trace",
    "updated_bias",
    "with_capacity",
]
