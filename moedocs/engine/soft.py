"""Soft MoE: experts work on slots, each a weighted mean of all tokens; nothing is chosen and nothing dropped.

Shapes: T tokens of one sequence · D d_model · E num_experts · P slots of an expert; ... any axes before, as of a batch
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize

from moedocs.engine.experts import Experts, fan_in, swiglu


@dataclass(frozen=True, eq=False)
class SoftRouting:
    """What each slot takes of each token, and what each token takes of each slot: the same logits, read both ways.

    `dispatch_TEP` sums to 1 over tokens for each slot, `combine_TEP` over all slots of all experts for each token.
    Shapes (..., T, E, P), float32.
    """

    logits_TEP: Tensor
    dispatch_TEP: Tensor
    combine_TEP: Tensor


def soft_routing(x_TD: Tensor, slots_EPD: Tensor) -> SoftRouting:
    """Softmax of x · slots over tokens to dispatch, over slots to combine (Soft MoE, Puigcerver et al. 2023).

    x_TD (..., T, D) is one sequence or a batch of them, and each is routed by itself. NOT causal: every slot, and
    through it every token, sees all tokens of its sequence. Fully differentiable, balanced by construction, at the cost
    of E * P slots whatever T is. In float32 whatever comes in. The paper brings both arguments to unit length first:
    `SoftMoELayer` does, this function does not. Raises ValueError for a logit that is not finite, naming its token, and
    for shapes that do not fit.
    """
    if slots_EPD.ndim != 3 or 0 in slots_EPD.shape or x_TD.ndim < 2 or x_TD.shape[-1] != slots_EPD.shape[2]:
        raise ValueError(f"tokens (..., T, D) {tuple(x_TD.shape)} do not fit slots (E, P, D) {tuple(slots_EPD.shape)}")
    logits_TEP = torch.einsum("...td,epd->...tep", x_TD.float(), slots_EPD.float())
    if (bad_TEP := ~logits_TEP.detach().isfinite()).any():
        *_, token, expert, slot = place = bad_TEP.nonzero()[0].tolist()
        value = logits_TEP[tuple(place)].item()
        raise ValueError(f"router logit of token {token} for slot {slot} of expert {expert} is {value}, not finite")
    combine_TEP = logits_TEP.flatten(-2).softmax(-1).view_as(logits_TEP)
    return SoftRouting(logits_TEP, logits_TEP.softmax(-3), combine_TEP)


def soft_dispatch(x_TD: Tensor, soft: SoftRouting, experts: Callable[[Tensor], Tensor]) -> Tensor:
    """Mix the tokens into slots, let `experts` work on them, mix their answers into tokens (..., T, D).

    `experts` takes the slots (..., E, P, D), expert e those of index e, and returns as many rows of any width.
    """
    slots_EPD = torch.einsum("...tep,...td->...epd", soft.dispatch_TEP.to(x_TD.dtype), x_TD)
    outputs_EPD = experts(slots_EPD)
    return torch.einsum("...tep,...epd->...td", soft.combine_TEP.to(outputs_EPD.dtype), outputs_EPD)


class SoftMoELayer(nn.Module):
    """Slots, experts and both mixtures; tokens and slots meet at unit length, times one learned scale.

    Without that the softmaxes harden to a single token and a single slot as d_model grows (Puigcerver et al. 2023, on
    normalisation). The mixtures are of the tokens themselves, not of their unit vectors. `slots` is per expert: with
    E * slots = T its experts have as much to do as those of a top-1 layer.
    """

    def __init__(self, d_model: int, d_ff: int, num_experts: int, slots: int, *, generator: Generator) -> None:
        super().__init__()
        if min(d_model, d_ff, num_experts, slots) < 1:
            raise ValueError(
                f"d_model={d_model}, d_ff={d_ff}, num_experts={num_experts}, slots={slots} must be above 0"
            )
        self.slots_EPD = fan_in(num_experts, slots, d_model, inputs=d_model, generator=generator)
        self.scale = nn.Parameter(torch.ones(()))
        self.experts = Experts(num_experts, d_model, d_ff, generator=generator)

    def route(self, x_TD: Tensor) -> SoftRouting:
        """The mixtures of one sequence (T, D) or of each of a batch (..., T, D)."""
        unit_TD, unit_EPD = normalize(x_TD.float(), dim=-1), normalize(self.slots_EPD.float(), dim=-1)
        return soft_routing(unit_TD, self.scale.float() * unit_EPD)

    def forward(self, x_TD: Tensor) -> tuple[Tensor, SoftRouting]:
        """The output (..., T, D) and the SoftRouting behind it."""
        soft = self.route(x_TD)
        return soft_dispatch(x_TD, soft, self._each), soft

    def _each(self, slots_EPD: Tensor) -> Tensor:
        experts = self.experts
        return swiglu(slots_EPD, experts.gate_EDF, experts.up_EDF, experts.down_EFD)
