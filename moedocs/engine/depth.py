"""Mixture of Depths: which tokens of a sequence pass through a block, and the way around it for the others.

Shapes: B sequences · S sequence length · D d_model · C capacity (slots per sequence; most tokens chosen of any)
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from moedocs.config.model import DepthWeight

# what a block adds to its input, from tokens (B, C, D), their positions in the whole sequence (B, C), and what more
# there is to know of them (B, C)
Delta = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class DepthRouting:
    """Which tokens pass through a block, with what weight; the losses and the block itself read only this.

    `weights_BS` is zero wherever `map_BS` is False. `index_BC` lists the positions that pass, ascending: a choice of
    varying size ends its shorter rows with -1. `predicted_BS` are the logits of a predictor of this choice, if any.
    """

    logits_BS: Tensor
    weights_BS: Tensor
    map_BS: Tensor
    index_BC: Tensor
    predicted_BS: Tensor | None = None


def top_c(logits_BS: Tensor, capacity: int, *, weight: DepthWeight = "raw") -> DepthRouting:
    """The C tokens of each sequence that the router scores highest pass (Raposo et al. 2024, section 3).

    Not causal: whether a token passes depends on all later ones, so text cannot be generated this way (see
    `causal_choice`). weight="raw" multiplies the block's output by the logit as it is, which may be negative;
    "sigmoid" by its sigmoid. Through the weights of the chosen alone the router learns. Equal logits go to the earliest
    position. All of it in float32. Raises ValueError for a logit that is not finite, naming its sequence and position,
    and unless 0 <= capacity <= S.
    """
    logits_BS = accepted_depth(logits_BS)
    if not 0 <= capacity <= logits_BS.shape[1]:
        raise ValueError(f"capacity={capacity} must lie in 0..{logits_BS.shape[1]}, the length of a sequence")
    # topk() promises no order among equal logits, a stable sort does
    best_BC = logits_BS.detach().sort(dim=-1, descending=True, stable=True).indices[:, :capacity]
    map_BS = torch.zeros_like(logits_BS, dtype=torch.bool).scatter(1, best_BC, True)
    return DepthRouting(logits_BS, path_weights(logits_BS, map_BS, weight), map_BS, best_BC.sort(dim=-1).values)


def random_depth(
    shape: tuple[int, int], capacity: int, *, generator: Generator, device: torch.device | None = None
) -> DepthRouting:
    """C tokens of each sequence pass, every set of C equally likely, with weight 1: the control with nothing to learn.

    `shape` is (B, S). The logits are normal draws, ranked as the router's would be (Raposo et al. 2024, section 4.1),
    but they are no weights: those would only add noise to the control.
    """
    draws_BS = torch.randn(shape, generator=generator, device=generator.device).to(device or generator.device)
    chosen = top_c(draws_BS, capacity)
    return DepthRouting(draws_BS, chosen.map_BS.float(), chosen.map_BS, chosen.index_BC)


def through(x_BSD: Tensor, routing: DepthRouting, block: Delta, *tables_BS: Tensor) -> Tensor:
    """x + weight * block(chosen tokens) where a token passes, and x itself, bit for bit, where it does not.

    `block` gets the chosen tokens (B, C, D) in order with their positions (B, C) in the WHOLE sequence, the ones that
    rotary angles must use, and returns what it adds to them, attention and feed-forward together: its own residual is
    not part of that. Of each further table, such as the tokens' ids, it gets the entries (B, C) of the chosen. A choice
    of varying size goes in one sequence at a time, so that no padding is seen, counted or given a place by anything
    inside; nobody chosen, no call.
    """
    if x_BSD.shape[:2] != routing.map_BS.shape:
        raise ValueError(f"tokens {tuple(x_BSD.shape[:2])} do not fit a choice among {tuple(routing.map_BS.shape)}")
    if (routing.index_BC >= 0).all():
        return _through(routing.index_BC, block, x_BSD, routing.weights_BS, *tables_BS)
    tables = (routing.index_BC, x_BSD, routing.weights_BS, *tables_BS)
    rows = zip(*(table.unbind() for table in tables), strict=True)
    return torch.cat([_through(row_C[row_C >= 0][None], block, *(a[None] for a in alone)) for row_C, *alone in rows])


def _through(index_BC: Tensor, block: Delta, x_BSD: Tensor, weights_BS: Tensor, *tables_BS: Tensor) -> Tensor:
    if index_BC.numel() == 0:
        return x_BSD
    num_sequences, length, _ = x_BSD.shape
    start_B1 = torch.arange(0, num_sequences * length, length, device=x_BSD.device)[:, None]
    flat_N = (start_B1 + index_BC).flatten()
    chosen_BCD = x_BSD.flatten(0, 1).index_select(0, flat_N).view(*index_BC.shape, -1)
    delta_BCD = block(chosen_BCD, index_BC, *(table_BS.gather(1, index_BC) for table_BS in tables_BS))
    if delta_BCD.shape != chosen_BCD.shape:
        raise ValueError(f"the block made {tuple(delta_BCD.shape)} of tokens {tuple(chosen_BCD.shape)}")
    weights_BC1 = weights_BS.gather(1, index_BC)[..., None].to(x_BSD.dtype)
    # the others are not even added a zero, which would turn their -0.0 into 0.0
    passed_ND = (chosen_BCD + delta_BCD * weights_BC1).flatten(0, 1)
    return x_BSD.flatten(0, 1).index_copy(0, flat_N, passed_ND).view_as(x_BSD)


def path_weights(logits_BS: Tensor, map_BS: Tensor, weight: DepthWeight) -> Tensor:
    """The logits, or their sigmoids, where a token passes, and exact zeros where it does not."""
    if weight not in ("raw", "sigmoid"):
        raise ValueError(f"weight={weight!r} must be raw or sigmoid")
    return (logits_BS if weight == "raw" else logits_BS.sigmoid()).masked_fill(~map_BS, 0.0)


def accepted_depth(logits_BS: Tensor) -> Tensor:
    """The router logits in float32; raises ValueError unless they are a table of finite numbers, naming the place."""
    if logits_BS.ndim != 2:
        shape = tuple(logits_BS.shape)
        raise ValueError(f"router logits must have one row per sequence and one column per position, not {shape}")
    logits_BS = logits_BS.float()
    bad_BS = ~logits_BS.detach().isfinite()
    if bad_BS.any():
        sequence, position = bad_BS.nonzero()[0].tolist()
        value = logits_BS[sequence, position].item()
        raise ValueError(
            f"router logit of sequence {sequence} at position {position} is {value}, not a finite number in float32"
        )
    return logits_BS
