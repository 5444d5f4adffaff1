"""Specialisation in NumPy, the twin of moedocs.engine.information.

Shapes: T tokens · E num_experts · X categories · V vocab_size
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moedocs.lite.record import Ints, Routing


def category_load(routing: Routing, category_T: ArrayLike, num_categories: int) -> Ints:
    """How many tokens of each category chose each expert (X, E), whether or not capacity dropped them.

    A token with K choices counts K times. Raises ValueError unless there is one category in 0..X-1 per token.
    """
    label_T = _labels(category_T, num_categories, len(routing.map_TE))
    chosen_TE = routing.chosen_TE
    counts_XE = np.zeros((num_categories, chosen_TE.shape[1]), np.int64)
    np.add.at(counts_XE, label_T, chosen_TE)
    return counts_XE


def byte_category_load(
    routing: Routing, byte_T: ArrayLike, category_T: ArrayLike, vocab_size: int, num_categories: int
) -> Ints:
    """The same apart for each byte (V, X, E): its mutual information is conditional on the byte."""
    byte_T = _labels(byte_T, vocab_size, len(routing.map_TE))
    category_T = _labels(category_T, num_categories, len(routing.map_TE))
    counts = category_load(routing, byte_T * num_categories + category_T, vocab_size * num_categories)
    return counts.reshape(vocab_size, num_categories, counts.shape[1])


def mutual_information(counts: ArrayLike, *, corrected: bool = False) -> float:
    """I(category; expert) in nats from counts (X, E); from counts (V, X, E), I(category; expert | byte).

    From few tokens chance alone gives a positive number; `corrected` takes off what Miller (1955) and Madow estimate
    of it, and may leave a negative one. Compare with a `shuffled` baseline too.
    """
    counts_VXE = _table(counts)
    count_V, count_VE, count_VX = counts_VXE.sum((1, 2)), counts_VXE.sum(1), counts_VXE.sum(2)
    information = _surprise(counts_VXE) - _surprise(count_VX) - _surprise(count_VE) + _surprise(count_V)
    if corrected:
        pairs, categories, experts, bytes_ = map(np.count_nonzero, (counts_VXE, count_VX, count_VE, count_V))
        information -= (pairs - categories - experts + bytes_) / 2
    return float(information / counts_VXE.sum())


def normalised_mutual_information(
    counts: ArrayLike, *, by: Literal["mean", "category", "expert"] = "mean", corrected: bool = False
) -> float:
    """Mutual information over the mean of the two entropies (scikit-learn's default), or over one of the two.

    `by="category"` is the share of what there is to know of the category that the expert tells (Theil's U), "expert"
    the reverse; from counts (V, X, E) all three are conditional on the byte. 0 where there is nothing to know.
    """
    if by not in ("mean", "category", "expert"):
        raise ValueError(f"by={by!r} must be mean, category or expert")
    counts_VXE = _table(counts)
    of_byte = _surprise(counts_VXE.sum((1, 2)))
    category, expert = of_byte - _surprise(counts_VXE.sum(2)), of_byte - _surprise(counts_VXE.sum(1))
    most = {"mean": (category + expert) / 2, "category": category, "expert": expert}[by] / counts_VXE.sum()
    # an entropy that should be 0 comes out as rounding, of about 1e-16 times the logarithm of the counts
    return float(mutual_information(counts, corrected=corrected) / most) if most > 1e-12 else 0.0


def shuffled(category_T: ArrayLike, *, generator: np.random.Generator, byte_T: ArrayLike | None = None) -> Ints:
    """The categories dealt out anew among all tokens, or among those of the same byte: a baseline without meaning."""
    category_T = np.asarray(category_T)
    order_T = generator.permutation(len(category_T))
    if byte_T is None:
        return np.asarray(category_T[order_T])
    byte_T = np.asarray(byte_T)
    dealt_T = np.empty_like(category_T)
    dealt_T[byte_T.argsort(kind="stable")] = category_T[order_T[byte_T[order_T].argsort(kind="stable")]]
    return dealt_T


def _labels(label_T: ArrayLike, count: int, num_tokens: int) -> Ints:
    label_T = np.asarray(label_T)
    if label_T.shape != (num_tokens,):
        raise ValueError(f"{num_tokens} tokens need one label each, not labels of shape {label_T.shape}")
    if num_tokens and not 0 <= label_T.min() <= label_T.max() < count:
        raise ValueError(f"labels from {label_T.min()} to {label_T.max()} must lie in 0..{count - 1}")
    return label_T.astype(np.int64)


def _table(counts: ArrayLike) -> NDArray[np.float64]:
    """Counts (V, X, E) in float64; those without a byte get one that all share."""
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim not in (2, 3) or (table < 0).any() or not table.any():
        raise ValueError(f"counts of shape {table.shape} must be (X, E) or (V, X, E), at least 0, not all 0")
    return table if table.ndim == 3 else table[None]


def _surprise(counts: NDArray[np.float64]) -> float:
    """sum of n log n, 0 for n = 0."""
    return float((counts * np.log(np.where(counts > 0, counts, 1))).sum())
