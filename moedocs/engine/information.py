"""Specialisation: what the expert that a token goes to tells about the token's category.

Shapes: T tokens · E num_experts · X categories · V vocab_size
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from moedocs.engine.record import Routing


def category_load(routing: Routing, category_T: Tensor, num_categories: int) -> Tensor:
    """How many tokens of each category chose each expert (X, E), whether or not capacity dropped them.

    A token with K choices counts K times. Raises ValueError unless there is one category in 0..X-1 per token.
    """
    _check(category_T, num_categories, len(routing.map_TE))
    chosen_TE = routing.chosen_TE.long()
    return chosen_TE.new_zeros(num_categories, chosen_TE.shape[1]).index_add(0, category_T.long(), chosen_TE)


def byte_category_load(
    routing: Routing, byte_T: Tensor, category_T: Tensor, vocab_size: int, num_categories: int
) -> Tensor:
    """The same apart for each byte (V, X, E): its mutual information is conditional on the byte."""
    _check(byte_T, vocab_size, len(routing.map_TE))
    _check(category_T, num_categories, len(routing.map_TE))
    both_T = byte_T.long() * num_categories + category_T.long()
    counts = category_load(routing, both_T, vocab_size * num_categories)
    return counts.view(vocab_size, num_categories, counts.shape[1])


def mutual_information(counts: Tensor, *, corrected: bool = False) -> Tensor:
    """I(category; expert) in nats from counts (X, E); from counts (V, X, E), I(category; expert | byte).

    From few tokens chance alone gives a positive number, about (X - 1)(E - 1) / 2N for N counts. `corrected` takes off
    what Miller (1955) and Madow estimate of it: half a count per occupied cell in each of the entropies. The result
    may then be negative and is left so, since cutting at 0 would give chance a positive mean again. The estimate takes
    counts as independent, which the K choices of one token are not: compare with a `shuffled` baseline too.
    """
    counts_VXE = _table(counts)
    count_V, count_VE, count_VX = counts_VXE.sum((1, 2)), counts_VXE.sum(1), counts_VXE.sum(2)
    information = _surprise(counts_VXE) - _surprise(count_VX) - _surprise(count_VE) + _surprise(count_V)
    if corrected:
        pairs, categories, experts, bytes_ = map(torch.count_nonzero, (counts_VXE, count_VX, count_VE, count_V))
        information = information - (pairs - categories - experts + bytes_) / 2
    return information / counts_VXE.sum()


def normalised_mutual_information(
    counts: Tensor, *, by: Literal["mean", "category", "expert"] = "mean", corrected: bool = False
) -> Tensor:
    """Mutual information over the mean of the two entropies (scikit-learn's default), or over one of the two.

    `by="category"` is the share of what there is to know of the category that the expert tells (Theil's U), "expert"
    the reverse; from counts (V, X, E) all three are conditional on the byte. The entropies are never corrected. Where
    there is nothing to know, as with one category, it is 0.
    """
    if by not in ("mean", "category", "expert"):
        raise ValueError(f"by={by!r} must be mean, category or expert")
    counts_VXE = _table(counts)
    of_byte = _surprise(counts_VXE.sum((1, 2)))
    category, expert = of_byte - _surprise(counts_VXE.sum(2)), of_byte - _surprise(counts_VXE.sum(1))
    most = {"mean": (category + expert) / 2, "category": category, "expert": expert}[by] / counts_VXE.sum()
    # an entropy that should be 0 comes out as rounding, of about 1e-16 times the logarithm of the counts
    return torch.where(most > 1e-12, mutual_information(counts, corrected=corrected) / most, 0.0)


def shuffled(category_T: Tensor, *, generator: Generator, byte_T: Tensor | None = None) -> Tensor:
    """The categories dealt out anew among all tokens, or among those of the same byte: a baseline without meaning.

    The mutual information of a routing with these is what chance alone gives, the K choices of a token kept together.
    """
    order_T = torch.randperm(len(category_T), generator=generator, device=generator.device).to(category_T.device)
    if byte_T is None:
        return category_T[order_T]
    dealt_T = order_T[byte_T[order_T].argsort(stable=True)]
    return torch.empty_like(category_T).index_copy(0, byte_T.argsort(stable=True), category_T[dealt_T])


def _check(label_T: Tensor, count: int, num_tokens: int) -> None:
    if label_T.shape != (num_tokens,):
        raise ValueError(f"{num_tokens} tokens need one label each, not labels of shape {tuple(label_T.shape)}")
    if num_tokens and not 0 <= label_T.min() <= label_T.max() < count:
        raise ValueError(f"labels from {label_T.min()} to {label_T.max()} must lie in 0..{count - 1}")


def _table(counts: Tensor) -> Tensor:
    """Counts (V, X, E) in float64; those without a byte get one that all share."""
    if counts.ndim not in (2, 3) or (counts < 0).any() or not counts.any():
        raise ValueError(f"counts of shape {tuple(counts.shape)} must be (X, E) or (V, X, E), at least 0, not all 0")
    return counts.double() if counts.ndim == 3 else counts.double()[None]


def _surprise(counts: Tensor) -> Tensor:
    """sum of n log n, 0 for n = 0."""
    return torch.xlogy(counts, counts).sum()
