"""Routing, balancing and exact chances in NumPy: what runs in the reader's browser, equal to moedocs.engine."""

from moedocs.config import BalanceConfig, RoutingConfig, capacity
from moedocs.lite.balance import auxiliary_loss, load, updated_bias
from moedocs.lite.chance import binomial_overflow, inclusion_probability
from moedocs.lite.overflow import with_capacity
from moedocs.lite.record import Routing
from moedocs.lite.token_choice import softmax_top_k

__all__ = [
    "BalanceConfig",
    "Routing",
    "RoutingConfig",
    "auxiliary_loss",
    "binomial_overflow",
    "capacity",
    "inclusion_probability",
    "load",
    "softmax_top_k",
    "updated_bias",
    "with_capacity",
]
