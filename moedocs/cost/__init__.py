"""What a model costs, counted from its description in plain Python on plain numbers."""

from moedocs.cost.flops import ForwardPass, attention_flops, forward_flops, forward_pass, linear_flops
from moedocs.cost.forward import ForwardFlops, model_flops
from moedocs.cost.quantity import Quantity
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
from moedocs.cost.transformer import PUBLISHED, quantities
from moedocs.cost.tree import CONVENTIONS, Active, Node, active_parameters, parameter_tree

__all__ = [
    "CONVENTIONS",
    "MATRICES_PER_FFN",
    "PUBLISHED",
    "Active",
    "ForwardFlops",
    "ForwardPass",
    "Node",
    "Parameters",
    "Quantity",
    "active_parameters",
    "attention_flops",
    "attention_parameters",
    "dense_parameters",
    "depth_parameters",
    "expert_parameters",
    "forward_flops",
    "forward_pass",
    "linear_flops",
    "model_flops",
    "parameter_tree",
    "parameters",
    "quantities",
    "router_parameters",
    "shared_parameters",
]
