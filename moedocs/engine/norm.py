"""RMSNorm with its gradient written by hand: torch's own for a CPU is made of six operations and their gradients.

Shapes: X any leading dimensions · D d_model
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Norm(nn.RMSNorm):
    """x divided by its root mean square, times a learned weight per number (Zhang and Sennrich 2019, eq. 4).

    Differentiable once: a gradient of its gradient is refused.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The normalised tokens (X, D)."""
        out_XD: Tensor = _Normed.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return out_XD


class _Normed(torch.autograd.Function):
    """With u = x / rms(x) and y = u * w: dx = (dy * w - u * mean(dy * w * u)) / rms(x)."""

    @staticmethod
    def forward(ctx: Any, x_XD: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
        inverse_X1 = torch.linalg.vector_norm(x_XD, dim=-1, keepdim=True)
        inverse_X1 = inverse_X1.square_().div_(x_XD.shape[-1]).add_(epsilon).rsqrt_()
        unit_XD = x_XD * inverse_X1
        ctx.save_for_backward(unit_XD, inverse_X1, weight_D)
        out_XD: Tensor = unit_XD * weight_D
        return out_XD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_XD: Tensor) -> tuple[Tensor, Tensor, None]:
        unit_XD, inverse_X1, weight_D = ctx.saved_tensors
        pull_XD = dy_XD * weight_D
        mean_X1 = (pull_XD * unit_XD).mean(-1, keepdim=True)
        dx_XD = pull_XD.addcmul_(unit_XD, mean_X1, value=-1).mul_(inverse_X1)
        return dx_XD, (dy_XD * unit_XD).flatten(0, -2).sum(0), None
