"""Who passes a block: by kind of byte, by place, by difficulty, and how much of it a fixed rule would have chosen too.

Shapes: B sequences · S sequence length · T tokens (B * S), row by row
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from moedocs.lab.categories import by_difficulty

Map = NDArray[np.bool_]
Labels = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]

EIGHTHS = 8


@dataclass(frozen=True, eq=False)
class Tokens:
    """What may tell tokens of a sequence apart: bytes, kinds of byte as numbers, entropies in nats.

    `entropy_BS` is of the model's own prediction of the next byte, `dense_entropy_BS` of a dense model's, which no
    choice of a block can have changed.
    """

    bytes_BS: Labels
    kind_BS: Labels
    entropy_BS: Floats
    dense_entropy_BS: Floats

    @property
    def position_BS(self) -> Labels:
        """Each token's place in its sequence, from 0."""
        return np.broadcast_to(np.arange(self.bytes_BS.shape[1]), self.bytes_BS.shape)

    def measures(self) -> dict[str, Floats]:
        """Numbers by which tokens can be put in order."""
        return {
            "position": self.position_BS.astype(np.float64),
            "entropy": self.entropy_BS,
            "dense entropy": self.dense_entropy_BS,
        }

    def sortings(self) -> dict[str, Labels]:
        """Ways to put tokens into groups; positions and entropies in eighths, so that each has as many groups."""
        eighths = {name: eighths_of(values_BS) for name, values_BS in self.measures().items()}
        return {"byte": self.bytes_BS, "kind": self.kind_BS} | eighths


def rules(tokens: Tokens, capacity: int) -> dict[str, Map]:
    """Choices of as many tokens of each sequence that nobody had to learn."""
    return {
        "evenly spaced": evenly_spaced(tokens.bytes_BS.shape, capacity),
        "highest entropy": highest(tokens.entropy_BS, capacity),
        "highest dense entropy": highest(tokens.dense_entropy_BS, capacity),
    }


def evenly_spaced(shape: tuple[int, ...], capacity: int) -> Map:
    """C tokens of each sequence as far apart as they can be, the last of them at its end."""
    row_S = np.zeros(shape[1], dtype=bool)
    row_S[(np.arange(capacity) + 1) * shape[1] // capacity - 1] = True
    return np.tile(row_S, (shape[0], 1))


def highest(values_BS: Floats, capacity: int) -> Map:
    """The C tokens of each sequence with the highest values, the earlier of two that tie."""
    best_BC = np.argsort(-values_BS, axis=1, kind="stable")[:, :capacity]
    map_BS = np.zeros(values_BS.shape, dtype=bool)
    np.put_along_axis(map_BS, best_BC, True, axis=1)
    return map_BS


def described(map_BS: Map, tokens: Tokens, kinds: int) -> dict[str, Any]:
    """Who passes one block: share of each group, correlations, and what share of the variance the groups explain.

    "explained" is 1 where the group of a token decides its fate, and near 0, about groups over tokens, where it says
    nothing. "within_byte" correlates what is left when each byte's mean is taken off: the same byte, at another place
    or in a harder text.
    """
    sortings, groups = tokens.sortings(), {"kind": kinds} | dict.fromkeys(tokens.measures(), EIGHTHS)
    return {
        "share_by": {name: shares_of(map_BS, sortings[name], number) for name, number in groups.items()},
        "correlation": correlations(map_BS, tokens),
        "within_byte": {
            name: _pearson(_centred(map_BS, tokens.bytes_BS), _centred(values_BS, tokens.bytes_BS))
            for name, values_BS in tokens.measures().items()
        },
        "explained": {name: explained(map_BS, labels_BS) for name, labels_BS in sortings.items()},
    }


def correlations(map_BS: Map, tokens: Tokens) -> dict[str, float | None]:
    """Of passing with each measure of a token."""
    return {name: correlation(map_BS, values_BS) for name, values_BS in tokens.measures().items()}


def in_common(map_BS: Map, other_BS: Map) -> float | None:
    """Share of those who pass that the other choice lets pass too; of choices without relation, the other's share."""
    return float((map_BS & other_BS).sum() / map_BS.sum()) if map_BS.any() else None


def eighths_of(values_BS: Floats) -> Labels:
    """Eighth of all tokens to which a value belongs, in rising order."""
    label_T = by_difficulty(torch.from_numpy(values_BS.ravel()), EIGHTHS).label_T
    return label_T.numpy().reshape(values_BS.shape)


def shares_of(map_BS: Map, labels_BS: Labels, groups: int) -> list[float | None]:
    """Share of each group's tokens that pass, None for a group without a token."""
    counts = np.bincount(labels_BS.ravel(), minlength=groups)
    passed = np.bincount(labels_BS.ravel(), weights=map_BS.ravel(), minlength=groups)
    return [float(one / of) if of else None for one, of in zip(passed, counts, strict=True)]


def correlation(map_BS: Map, values_BS: Floats) -> float | None:
    """Pearson's, of passing or not with a value; None if all tokens pass, or none."""
    return _pearson(map_BS.astype(np.float64), values_BS.astype(np.float64))


def _pearson(first_BS: Floats, second_BS: Floats) -> float | None:
    if not first_BS.std() or not second_BS.std():
        return None
    return float(np.corrcoef(first_BS.ravel(), second_BS.ravel())[0, 1])


def _centred(values_BS: Floats | Map, labels_BS: Labels) -> Floats:
    """Each value less the mean of its group."""
    labels = labels_BS.ravel()
    mean = np.bincount(labels, weights=values_BS.ravel()) / np.bincount(labels).clip(min=1)
    centred_BS: Floats = values_BS - mean[labels_BS]
    return centred_BS


def explained(map_BS: Map, labels_BS: Labels) -> float | None:
    """Share of the variance of passing between groups: 1 if a token's group decides it; None if all pass, or none."""
    if map_BS.all() or not map_BS.any():
        return None
    shares = np.array([share or 0.0 for share in shares_of(map_BS, labels_BS, int(labels_BS.max()) + 1)])
    return float(shares[labels_BS].var() / map_BS.var())
