"""What a routing, a model and a training are: frozen descriptions that refuse nonsense when they are built."""

from moedocs.config.groups import Groups
from moedocs.config.model import DepthConfig, TransformerConfig
from moedocs.config.routing import BalanceConfig, RoutingConfig, capacity
from moedocs.config.training import TrainingConfig

__all__ = ["BalanceConfig", "DepthConfig", "Groups", "RoutingConfig", "TrainingConfig", "TransformerConfig", "capacity"]
