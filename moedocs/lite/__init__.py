"""Routing, balancing and exact chances in NumPy: what runs in the reader's browser, equal to moedocs.engine."""

from moedocs.config import BalanceConfig, Groups, RoutingConfig, capacity
from moedocs.lite.agreement import choice_overlap, expert_matching, expert_similarity, first_choice_agreement, renamed
from moedocs.lite.balance import auxiliary_loss, load, updated_bias
from moedocs.lite.chance import binomial_overflow, inclusion_probability
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
from moedocs.lite.overflow import with_capacity
from moedocs.lite.record import Routing
from moedocs.lite.token_choice import sigmoid_top_k, softmax_top_k, switch_top_1, top_k_softmax

__all__ = [
    "BalanceConfig",
    "DepthRouting",
    "Groups",
    "Routing",
    "RoutingConfig",
    "always_skip_accuracy",
    "auxiliary_loss",
    "binomial_overflow",
    "byte_category_load",
    "capacity",
    "category_load",
    "causal_choice",
    "choice_accuracy",
    "choice_overlap",
    "choice_recall",
    "coefficient_of_variation",
    "dead_experts",
    "depth_auxiliary_loss",
    "dropped_share",
    "expert_matching",
    "expert_similarity",
    "first_choice_agreement",
    "inclusion_probability",
    "load",
    "load_entropy",
    "load_imbalance",
    "load_share",
    "mutual_information",
    "normalised_mutual_information",
    "padded_share",
    "predictor_logits",
    "predictor_loss",
    "random_depth",
    "renamed",
    "router_entropy",
    "shuffled",
    "sigmoid_top_k",
    "softmax_top_k",
    "switch_top_1",
    "through",
    "top_c",
    "top_k_softmax",
    "unserved_share",
    "updated_bias",
    "with_capacity",
]
