"""Mixture of Depths in NumPy, the twin of moedocs.engine.depth: same names, same choices, same weights.

Shapes: B sequences · S sequence length · D d_model · C capacity (slots per sequence; most tokens chosen of any)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moedocs.config.model import DepthWeight
from moedocs.lite.record import Bools, Floats, Ints, sigmoid

# what a block adds to its input, from tokens (B, C, D), their positions in the whole sequence (B, C), and what more
# there is to know of them (B, C)
Delta = Callable[..., Floats]


@dataclass(frozen=True, eq=False)
class DepthRouting:
    """Which tokens pass through a block: the fields of the torch record, with the same meaning.

    `weights_BS` is zero wherever `map_BS` is False; `index_BC` lists the positions that pass, ascending, and a choice
    of varying size ends its shorter rows with -1; `predicted_BS` are the logits of a predictor of this choice, if any.
    """

    logits_BS: Floats
    weights_BS: Floats
    map_BS: Bools
    index_BC: Ints
    predicted_BS: Floats | None = None


def top_c(logits_BS: ArrayLike, capacity: int, *, weight: DepthWeight = "raw") -> DepthRouting:
    """The C tokens of each sequence that the router scores highest pass (Raposo et al. 2024, section 3).

    Not causal: whether a token passes depends on all later ones. weight="raw" multiplies the block's output by the
    logit as it is, which may be negative; "sigmoid" by its sigmoid. Equal logits go to the earliest position,
    as in torch. Raises ValueError for a logit that is not finite, naming its place, and unless 0 <= capacity <= S.
    """
    logits_BS = accepted_depth(logits_BS)
    if not 0 <= capacity <= logits_BS.shape[1]:
        raise ValueError(f"capacity={capacity} must lie in 0..{logits_BS.shape[1]}, the length of a sequence")
    index_BC = np.sort(np.argsort(-logits_BS, axis=-1, kind="stable")[:, :capacity], axis=-1)
    map_BS = np.zeros(logits_BS.shape, dtype=bool)
    np.put_along_axis(map_BS, index_BC, True, axis=-1)
    return DepthRouting(logits_BS, path_weights(logits_BS, map_BS, weight), map_BS, index_BC)


def random_depth(shape: tuple[int, int], capacity: int, *, generator: np.random.Generator) -> DepthRouting:
    """C tokens of each sequence pass, every set of C equally likely, with weight 1: the control with nothing to learn.

    `shape` is (B, S). The logits are the normal draws that decided; NumPy's differ from torch's, seed by seed.
    """
    chosen = top_c(generator.standard_normal(shape, dtype=np.float32), capacity)
    return DepthRouting(chosen.logits_BS, chosen.map_BS.astype(np.float32), chosen.map_BS, chosen.index_BC)


def through(x_BSD: Floats, routing: DepthRouting, block: Delta, *tables_BS: NDArray[Any]) -> Floats:
    """x + weight * block(chosen tokens) where a token passes, and x itself, bit for bit, where it does not.

    `block` gets the chosen tokens (B, C, D) in order with their positions (B, C) in the WHOLE sequence, and returns
    what it adds to them: its own residual is not part of that. Of each further table it gets the entries (B, C) of the
    chosen. A choice of varying size goes in one sequence at a time; nobody chosen, no call.
    """
    if x_BSD.shape[:2] != routing.map_BS.shape:
        raise ValueError(f"tokens {x_BSD.shape[:2]} do not fit a choice among {routing.map_BS.shape}")
    if (routing.index_BC >= 0).all():
        return _through(routing.index_BC, block, x_BSD, routing.weights_BS, *tables_BS)
    rows = zip(routing.index_BC, x_BSD, routing.weights_BS, *tables_BS, strict=True)
    return np.concatenate(
        [_through(row_C[row_C >= 0][None], block, *(a[None] for a in alone)) for row_C, *alone in rows]
    )


def _through(index_BC: Ints, block: Delta, x_BSD: Floats, weights_BS: Floats, *tables_BS: NDArray[Any]) -> Floats:
    out_BSD = x_BSD.copy()
    if index_BC.size == 0:
        return out_BSD
    rows_B1 = np.arange(len(x_BSD))[:, None]
    chosen_BCD = x_BSD[rows_B1, index_BC]
    delta_BCD = block(chosen_BCD, index_BC, *(table_BS[rows_B1, index_BC] for table_BS in tables_BS))
    if delta_BCD.shape != chosen_BCD.shape:
        raise ValueError(f"the block made {delta_BCD.shape} of tokens {chosen_BCD.shape}")
    out_BSD[rows_B1, index_BC] += delta_BCD * weights_BS[rows_B1, index_BC, None]
    return out_BSD


def path_weights(logits_BS: Floats, map_BS: Bools, weight: DepthWeight) -> Floats:
    """The logits, or their sigmoids, where a token passes, and exact zeros where it does not."""
    if weight not in ("raw", "sigmoid"):
        raise ValueError(f"weight={weight!r} must be raw or sigmoid")
    return np.where(map_BS, logits_BS if weight == "raw" else sigmoid(logits_BS), np.float32(0))


def accepted_depth(logits_BS: ArrayLike) -> Floats:
    """The router logits in float32; raises ValueError unless they are a table of finite numbers, naming the place."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
        logits_BS = np.asarray(logits_BS, dtype=np.float32)
    if logits_BS.ndim != 2:
        raise ValueError(
            f"router logits must have one row per sequence and one column per position, not {logits_BS.shape}"
        )
    bad_NX = np.argwhere(~np.isfinite(logits_BS))
    if len(bad_NX):
        sequence, position = bad_NX[0]
        value = logits_BS[sequence, position]
        raise ValueError(
            f"router logit of sequence {sequence} at position {position} is {value}, not a finite number in float32"
        )
    return logits_BS
