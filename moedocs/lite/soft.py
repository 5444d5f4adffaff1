"""Soft MoE in NumPy, the twin of moedocs.engine.soft.

Shapes: T tokens of one sequence · D d_model · E num_experts · P slots of an expert; ... any axes before, as of a batch
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moedocs.lite.record import Floats, softmax


@dataclass(frozen=True, eq=False)
class SoftRouting:
    """What each slot takes of each token, and what each token takes of each slot: the fields of the torch record."""

    logits_TEP: Floats
    dispatch_TEP: Floats
    combine_TEP: Floats


def soft_routing(x_TD: ArrayLike, slots_EPD: ArrayLike) -> SoftRouting:
    """Softmax of x · slots over tokens to dispatch, over slots to combine (Soft MoE, Puigcerver et al. 2023).

    x_TD (..., T, D) is one sequence or a batch of them, and each is routed by itself; not causal. Raises ValueError for
    a logit that is not finite, naming its token, and for shapes that do not fit.
    """
    x_TD, slots_EPD = np.asarray(x_TD, dtype=np.float32), np.asarray(slots_EPD, dtype=np.float32)
    if slots_EPD.ndim != 3 or 0 in slots_EPD.shape or x_TD.ndim < 2 or x_TD.shape[-1] != slots_EPD.shape[2]:
        raise ValueError(f"tokens (..., T, D) {x_TD.shape} do not fit slots (E, P, D) {slots_EPD.shape}")
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is refused below, with its place
        logits_TEP: Floats = np.einsum("...td,epd->...tep", x_TD, slots_EPD)
    bad_NX = np.argwhere(~np.isfinite(logits_TEP))
    if len(bad_NX):
        *_, token, expert, slot = place = bad_NX[0].tolist()
        value = logits_TEP[tuple(place)]
        raise ValueError(f"router logit of token {token} for slot {slot} of expert {expert} is {value}, not finite")
    # a maximum over 0 tokens is not defined, and there is nothing to share out
    dispatch_TEP = softmax(logits_TEP, axis=-3) if logits_TEP.shape[-3] else logits_TEP
    slots = slots_EPD.shape[0] * slots_EPD.shape[1]
    combine_TEP = softmax(logits_TEP.reshape(*logits_TEP.shape[:-2], slots)).reshape(logits_TEP.shape)
    return SoftRouting(logits_TEP, dispatch_TEP, combine_TEP)


def soft_dispatch(x_TD: ArrayLike, soft: SoftRouting, experts: Callable[[Floats], Floats]) -> Floats:
    """Mix the tokens into slots, let `experts` work on them, mix their answers into tokens (..., T, D).

    `experts` takes the slots (..., E, P, D), expert e those of index e, and returns as many rows of any width.
    """
    slots_EPD = np.einsum("...tep,...td->...epd", soft.dispatch_TEP, np.asarray(x_TD, dtype=np.float32))
    mixed_TD: Floats = np.einsum("...tep,...epd->...td", soft.combine_TEP, experts(slots_EPD))
    return mixed_TD
