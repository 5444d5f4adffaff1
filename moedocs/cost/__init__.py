"""What a model costs, counted from its description in plain Python on plain numbers."""

from moedocs.cost.transformer import (
    MATRICES_PER_FFN,
    PUBLISHED,
    Parameters,
    Quantity,
    attention_flops,
    attention_parameters,
    expert_parameters,
    forward_flops,
    linear_flops,
    parameters,
    quantities,
)

__all__ = [
    "MATRICES_PER_FFN",
    "PUBLISHED",
    "Parameters",
    "Quantity",
    "attention_flops",
    "attention_parameters",
    "expert_parameters",
    "forward_flops",
    "linear_flops",
    "parameters",
    "quantities",
]
