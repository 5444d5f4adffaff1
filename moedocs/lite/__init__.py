"""Routing, balancing and exact chances in NumPy: what runs in the reader's browser, equal to moedocs.engine."""

from moedocs.config import BalanceConfig, Groups, RoutingConfig, capacity
from moedocs.lite.agreement import choice_overlap, expert_matching, expert_similarity, first_choice_agreement, renamed
from moedocs.lite.assignment import base_assignment, hash_routing, hash_table, sinkhorn, sinkhorn_plan
from moedocs.lite.balance import (
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
from moedocs.lite.by_expert import expert_choice
from moedocs.lite.chance import binomial_overflow, inclusion_probability, mean_overflow, multinomial_overflow
from moedocs.lite.depth import DepthRouting, random_depth, through, top_c
from moedocs.lite.depth_sampling import (
    always_skip_accuracy,
    causal_choice,
    choice_accuracy,
    choice_recall,
    depth_auxiliary_loss,
    predictor_logits,
    predictor_loss,
)
from moedocs.lite.forward import Output, forward_pass
from moedocs.lite.information import (
    byte_category_load,
    category_load,
    mutual_information,
    normalised_mutual_information,
    shuffled,
)
from moedocs.lite.metrics import (
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
from moedocs.lite.no_ops import no_op_share, residual_alone
from moedocs.lite.noise import (
    gshard_top_2,
    jittered,
    load_probability,
    noisy_logits,
    noisy_top_k,
    with_random_second,
)
from moedocs.lite.overflow import queue_place, with_capacity
from moedocs.lite.record import Routing
from moedocs.lite.relu import relu_routing
from moedocs.lite.routers import route
from moedocs.lite.soft import SoftRouting, soft_dispatch, soft_routing
from moedocs.lite.specimens import constant_mean, constant_sum
from moedocs.lite.token_choice import sigmoid_top_k, softmax_top_k, switch_top_1, top_k_softmax
from moedocs.lite.transport import balanced_choice

__all__ = [
    "BalanceConfig",
    "DepthRouting",
    "Groups",
    "Output",
    "Routing",
    "RoutingConfig",
    "SoftRouting",
    "always_skip_accuracy",
    "assignment_share",
    "auxiliary_loss",
    "balanced_choice",
    "balancing_loss",
    "base_assignment",
    "binomial_overflow",
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
    "depth_auxiliary_loss",
    "dropped_share",
    "expert_choice",
    "expert_matching",
    "expert_similarity",
    "first_choice_agreement",
    "forward_pass",
    "gshard_top_2",
    "hash_routing",
    "hash_table",
    "importance_loss",
    "inclusion_probability",
    "jittered",
    "l1_loss",
    "load",
    "load_entropy",
    "load_imbalance",
    "load_loss",
    "load_probability",
    "load_share",
    "mean_overflow",
    "multinomial_overflow",
    "mutual_information",
    "no_op_share",
    "noisy_logits",
    "noisy_top_k",
    "normalised_mutual_information",
    "padded_share",
    "pooled",
    "predictor_logits",
    "predictor_loss",
    "queue_place",
    "random_depth",
    "relu_routing",
    "renamed",
    "residual_alone",
    "route",
    "router_entropy",
    "shuffled",
    "sigmoid_top_k",
    "sinkhorn",
    "sinkhorn_plan",
    "soft_dispatch",
    "soft_routing",
    "softmax_top_k",
    "switch_top_1",
    "through",
    "top_c",
    "top_k_softmax",
    "unserved_share",
    "updated_bias",
    "updated_l1_weight",
    "with_capacity",
    "with_random_second",
    "z_loss",
]
