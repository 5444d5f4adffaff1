"""Routing, balancing, the MoE layer and a small transformer, in torch."""

from moedocs.config import BalanceConfig, RoutingConfig, capacity
from moedocs.engine.balance import auxiliary_loss, load, updated_bias
from moedocs.engine.layer import Experts, MoELayer, dense_dispatch, sorted_dispatch, swiglu
from moedocs.engine.overflow import with_capacity
from moedocs.engine.record import Routing
from moedocs.engine.token_choice import softmax_top_k
from moedocs.engine.transformer import Trace, Transformer, trace

__all__ = [
    "BalanceConfig",
    "Experts",
    "MoELayer",
    "Routing",
    "RoutingConfig",
    "Trace",
    "Transformer",
    "auxiliary_loss",
    "capacity",
    "dense_dispatch",
    "load",
    "softmax_top_k",
    "sorted_dispatch",
    "swiglu",
    "trace",
    "updated_bias",
    "with_capacity",
]
