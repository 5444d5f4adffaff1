"""What a model costs, counted from its description in plain Python on plain numbers."""

from moedocs.cost.flops import ForwardPass, attention_flops, forward_flops, forward_pass, linear_flops
from moedocs.cost.size import (
    MATRICES_PER_FFN,
    Parameters,
    attention_parameters,
    dense_parameters,
    depth_parameters,
    expert_parameters,
    parameters,
    router_parameters,
    shared_parameters,
)
from moedocs.cost.transformer import PUBLISHED, Quantity, quantities

__all__ = [
    "MATRICES_PER_FFN",
    "PUBLISHED",
    "ForwardPass",
    "Parameters",
    "Quantity",
    "attention_flops",
    "attention_parameters",
    "dense_parameters",
    "depth_parameters",
    "expert_parameters",
    "forward_flops",
    "forward_pass",
    "linear_flops",
    "parameters",
    "quantities",
    "router_parameters",
    "shared_parameters",
]
