"""Routing, balancing, the MoE layer and a small transformer, in torch."""

from moedocs.config import BalanceConfig, Groups, RoutingConfig, capacity
from moedocs.engine.agreement import choice_overlap, expert_matching, expert_similarity, first_choice_agreement, renamed
from moedocs.engine.assignment import base_assignment, hash_routing, hash_table, sinkhorn, sinkhorn_plan
from moedocs.engine.balance import (
    assignment_share,
    auxiliary_loss,
    balancing_loss,
    importance_loss,
    l1_loss,
    load,
    load_loss,
    pooled,
    updated_bias,
    updated_l1_weight,
    z_loss,
)
from moedocs.engine.by_expert import expert_choice
from moedocs.engine.by_hand import fast_dispatch
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
from moedocs.engine.dispatch import buffer_dispatch, dense_dispatch, grouped_dispatch, sorted_dispatch
from moedocs.engine.experts import Experts, SwiGLU, swiglu
from moedocs.engine.information import (
    byte_category_load,
    category_load,
    mutual_information,
    normalised_mutual_information,
    shuffled,
)
from moedocs.engine.layer import MoELayer
from moedocs.engine.metrics import (
    coefficient_of_variation,
    dead_experts,
    dropped_share,
    load_entropy,
    load_imbalance,
    load_share,
    padded_share,
    router_entropy,
    unserved_share,
)
from moedocs.engine.no_ops import no_op_share, residual_alone
from moedocs.engine.noise import (
    gshard_top_2,
    jittered,
    load_probability,
    noisy_logits,
    noisy_top_k,
    with_random_second,
)
from moedocs.engine.overflow import with_capacity
from moedocs.engine.record import Routing
from moedocs.engine.relu import relu_routing
from moedocs.engine.routers import route
from moedocs.engine.soft import SoftMoELayer, SoftRouting, soft_dispatch, soft_routing
from moedocs.engine.specimens import constant_mean, constant_sum
from moedocs.engine.token_choice import sigmoid_top_k, softmax_top_k, switch_top_1, top_k_softmax
from moedocs.engine.trace import Trace, trace
from moedocs.engine.transformer import Output, Transformer
from moedocs.engine.transport import balanced_choice

__all__ = [
    "BalanceConfig",
    "DepthBlock",
    "DepthRouting",
    "Experts",
    "Groups",
    "MoELayer",
    "Output",
    "Predictor",
    "Routing",
    "RoutingConfig",
    "SoftMoELayer",
    "SoftRouting",
    "SwiGLU",
    "Trace",
    "Transformer",
    "always_skip_accuracy",
    "assignment_share",
    "auxiliary_loss",
    "balanced_choice",
    "balancing_loss",
    "base_assignment",
    "buffer_dispatch",
    "byte_category_load",
    "capacity",
    "category_load",
    "causal_choice",
    "choice_accuracy",
    "choice_overlap",
    "choice_recall",
    "coefficient_of_variation",
    "constant_mean",
    "constant_sum",
    "dead_experts",
    "dense_dispatch",
    "depth_auxiliary_loss",
    "dropped_share",
    "expert_choice",
    "expert_matching",
    "expert_similarity",
    "fast_dispatch",
    "first_choice_agreement",
    "grouped_dispatch",
    "gshard_top_2",
    "hash_routing",
    "hash_table",
    "importance_loss",
    "jittered",
    "l1_loss",
    "load",
    "load_entropy",
    "load_imbalance",
    "load_loss",
    "load_probability",
    "load_share",
    "mutual_information",
    "no_op_share",
    "noisy_logits",
    "noisy_top_k",
    "normalised_mutual_information",
    "padded_share",
    "pooled",
    "predictor_loss",
    "random_depth",
    "relu_routing",
    "renamed",
    "residual_alone",
    "route",
    "router_entropy",
    "sampling_loss",
    "shuffled",
    "sigmoid_top_k",
    "sinkhorn",
    "sinkhorn_plan",
    "soft_dispatch",
    "soft_routing",
    "softmax_top_k",
    "sorted_dispatch",
    "swiglu",
    "switch_top_1",
    "through",
    "top_c",
    "top_k_softmax",
    "trace",
    "unserved_share",
    "updated_bias",
    "updated_l1_weight",
    "with_capacity",
    "with_random_second",
    "z_loss",
]
