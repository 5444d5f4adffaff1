"""Routing, balancing and exact chances in NumPy: what runs in the reader's browser, equal to moedocs.engine."""

from moedocs.config import RoutingConfig, capacity
from moedocs.lite.balance import auxiliary_loss, load, updated_bias
from moedocs.lite.chance import binomial_overflow, inclusion_probability
from moedocs.lite.routing import Routing, softmax_top_k, with_capacity

__all__ = [
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
