"""What an expert is: a gated feed-forward network, alone or in a stack of many.

Shapes: T tokens · D d_model · F d_ff of one expert · E num_experts
"""

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import silu


def fan_in(*shape: int, inputs: int, generator: Generator) -> nn.Parameter:
    """Normal weights of variance 1 / inputs: applied to `inputs` numbers of unit variance they give unit variance."""
    return nn.Parameter(torch.randn(shape, generator=generator) * inputs**-0.5)


def swiglu(x_TD: Tensor, gate_DF: Tensor, up_DF: Tensor, down_FD: Tensor) -> Tensor:
    """(silu(x G) * x U) W (Shazeer 2020, eq. 6): a gated feed-forward network of three matrices."""
    return (silu(x_TD @ gate_DF) * (x_TD @ up_DF)) @ down_FD


class SwiGLU(nn.Module):
    """One such network, which sees every token."""

    def __init__(self, d_model: int, d_ff: int, *, generator: Generator) -> None:
        super().__init__()
        self.gate_DF = fan_in(d_model, d_ff, inputs=d_model, generator=generator)
        self.up_DF = fan_in(d_model, d_ff, inputs=d_model, generator=generator)
        self.down_FD = fan_in(d_ff, d_model, inputs=d_ff, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return swiglu(x, self.gate_DF, self.up_DF, self.down_FD)


class Experts(nn.Module):
    """E feed-forward networks whose matrices are stacked along the first axis."""

    def __init__(self, num_experts: int, d_model: int, d_ff: int, *, generator: Generator) -> None:
        super().__init__()
        self.gate_EDF = fan_in(num_experts, d_model, d_ff, inputs=d_model, generator=generator)
        self.up_EDF = fan_in(num_experts, d_model, d_ff, inputs=d_model, generator=generator)
        self.down_EFD = fan_in(num_experts, d_ff, d_model, inputs=d_ff, generator=generator)

    def __len__(self) -> int:
        return len(self.gate_EDF)

    def unbind(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """The three matrices of each expert; indexing inside a loop would fill a whole stack per expert backward."""
        return list(zip(self.gate_EDF.unbind(), self.up_EDF.unbind(), self.down_EFD.unbind(), strict=True))

    def forward(self, x_TD: Tensor) -> Tensor:
        """What every expert makes of every token (T, E, D)."""
        return torch.stack([swiglu(x_TD, *matrices) for matrices in self.unbind()], dim=1)
