"""How full experts get under routers that choose by chance: drawn many times, and expected exactly.

A batch is four sequences. The chances are made up, by a skew, or those of a router trained in the record `balance`.

Shapes: R draws · S sequences · T tokens of a batch · E num_experts · K top_k · A assignments · Q quarters
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moedocs.config.routing import CapacityOrder
from moedocs.lab.records import load
from moedocs.lite import Routing, binomial_overflow, inclusion_probability, queue_place, softmax_top_k

EXPERTS, TOP_K, TOKENS, SKEWS = (4, 8, 16), (1, 2, 4), (64, 256, 1024), (0.0, 0.5, 1.0)
SEQUENCES, DRAWS, QUARTERS = 4, 128, 4
SAMPLE = 8 * max(TOKENS)  # tokens from which is counted who is dropped
BY_SKEW = "by skew"
TRAINED = {
    "trained without balancing": "none/k1",
    "trained with auxiliary loss": "auxiliary-0.01/k1",
    "trained with bias": "bias/k1",
}
UP, DOWN, EIGHTS = "up", "down", "up to a multiple of 8"
ROUNDINGS = (UP, DOWN, EIGHTS)
SEED = 3

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Trained:
    """Which router of a record: the one whose busiest expert took most at the end, of all layers and seeds."""

    layer: int
    seed: int
    share_E: tuple[float, ...]


@cache
def most_lopsided(arm: str) -> Trained:
    ends = [
        Trained(layer, run["seed"], tuple(share_E))
        for run in load("balance").results["arms"][arm]
        for layer, share_E in enumerate(run["share"][-1], 1)
    ]
    return max(ends, key=lambda end: max(end.share_E))


@dataclass(frozen=True)
class Router:
    """Draws a token's experts one after the other by their popularity, each at most once."""

    name: str
    popularity_E: tuple[float, ...]
    skew: float | None = None

    @property
    def num_experts(self) -> int:
        return len(self.popularity_E)

    @property
    def settings(self) -> dict[str, Any]:
        return {"router": self.name, "num_experts": self.num_experts, "skew": self.skew}

    @cached_property
    def logits_RTE(self) -> NDArray[np.float32]:
        """Log-popularity plus Gumbel noise, whose top-k are such draws; a smaller batch is the start of a larger."""
        noise_RTE = _noise(self.num_experts)
        return (np.log(self.popularity_E) + noise_RTE).astype(np.float32)

    @cached_property
    def _index_RTK(self) -> Ints:
        return np.argsort(-self.logits_RTE, axis=-1, kind="stable")[..., : max(TOP_K)]

    def load_RSE(self, num_tokens: int, top_k: int) -> Ints:
        """How often each sequence of each draw chose each expert."""
        index_XA = self._index_RTK[:, :num_tokens, :top_k].reshape(DRAWS * SEQUENCES, -1)
        place_XA = index_XA + self.num_experts * np.arange(len(index_XA))[:, None]
        counts = np.bincount(place_XA.ravel(), minlength=len(index_XA) * self.num_experts)
        return counts.reshape(DRAWS, SEQUENCES, self.num_experts)

    def chance_E(self, top_k: int) -> Floats:
        return _chance_E(self.popularity_E, top_k)

    def routing(self, num_tokens: int, top_k: int) -> Routing:
        """The first draws, one after the other, as many as SAMPLE allows; weights are the probabilities themselves."""
        draws = min(DRAWS, SAMPLE // num_tokens)
        logits_TE = self.logits_RTE[:draws, :num_tokens].reshape(-1, self.num_experts)
        return softmax_top_k(logits_TE, top_k, renormalise=False)


@cache
def _chance_E(popularity_E: tuple[float, ...], top_k: int) -> Floats:
    return inclusion_probability(popularity_E, top_k)


@cache
def _noise(num_experts: int) -> Floats:
    return np.random.default_rng((SEED, num_experts)).gumbel(size=(DRAWS, max(TOKENS), num_experts))


def routers() -> list[Router]:
    """By skew s, expert i is chosen in proportion to i^-s, for each number of experts; then the trained ones."""
    made_up = [
        Router(BY_SKEW, tuple((np.arange(1.0, 1 + num_experts) ** -skew).tolist()), skew)
        for num_experts in EXPERTS
        for skew in SKEWS
    ]
    return made_up + [Router(name, most_lopsided(arm).share_E) for name, arm in TRAINED.items()]


def slots(num_tokens: int, num_experts: int, top_k: int, factor: float, rounding: str = UP) -> int:
    """Slots of an expert for so many tokens; rounded up it is `moedocs.config.capacity`."""
    even = Fraction(str(factor)) * num_tokens * top_k / num_experts
    return {UP: math.ceil(even), DOWN: math.floor(even), EIGHTS: 8 * math.ceil(even / 8)}[rounding]


def expected_share(router: Router, num_tokens: int, top_k: int, capacity: int) -> float:
    """Share of the assignments of so many tokens that is dropped on average: a sum of binomial overflows."""
    over = [binomial_overflow(num_tokens, float(chance), capacity) for chance in router.chance_E(top_k)]
    return sum(over) / (num_tokens * top_k)


def spread(load_RXE: Ints, capacity: int) -> tuple[float, float]:
    """Between which shares dropped nine of ten draws lie."""
    over_R = np.maximum(load_RXE - capacity, 0).sum((1, 2)) / load_RXE[0].sum()
    low, high = np.quantile(over_R, (0.05, 0.95))
    return float(low), float(high)


def dropped_by_quarter(
    routing: Routing, capacities: list[int], order: CapacityOrder, group_size: int
) -> tuple[list[list[float]], list[list[float]]]:
    """At each capacity, the share dropped in each quarter of a group's tokens, and in each quarter of the weights.

    Not for the order "random": it does with the weights what "order" does, as tokens come in no particular order.
    """
    place_A = queue_place(routing, order=order, group_size=group_size)[routing.map_TE]
    token_A = routing.map_TE.nonzero()[0]
    weight_A = routing.weights_TE[routing.map_TE]
    by_place_A = token_A % group_size * QUARTERS // group_size
    by_weight_A = np.searchsorted(np.quantile(weight_A, (0.25, 0.5, 0.75)), weight_A)
    return _dropped(place_A, by_place_A, capacities), _dropped(place_A, by_weight_A, capacities)


def _dropped(place_A: Ints, quarter_A: Ints, capacities: list[int]) -> list[list[float]]:
    """Of the assignments in each quarter, the share whose place in the queue is beyond each capacity."""
    in_QX = [np.sort(place_A[quarter_A == quarter]) for quarter in range(QUARTERS)]
    return [[float(1 - np.searchsorted(in_X, capacity) / len(in_X)) for in_X in in_QX] for capacity in capacities]
