"""The best even choice of one expert per token in NumPy, the twin of moedocs.engine.transport.

Shapes: T tokens · E experts, EE from one expert to another · N tokens of one expert
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moedocs.lite.record import Bools, Ints

Doubles = NDArray[np.float64]


def balanced_choice(scores_TE: ArrayLike) -> Ints:
    """The expert of each token (T,) that makes the sum of scores largest among all even choices.

    Even means floor(T / E) or ceil(T / E) tokens for each expert. The same successive shortest paths as in torch, and
    the same choice where several are best. Scores must be finite.
    """
    state = _Assignment(np.asarray(scores_TE, dtype=np.float64))
    num_tokens, num_experts = state.scores_TE.shape
    least, most = num_tokens // num_experts, -(-num_tokens // num_experts)
    while (state.load_E > most).any():
        state.move(np.where(state.load_E > most, 0.0, math.inf), state.load_E < most)
    # now the experts with room share the highest price; a full one may give to those short of tokens for what it lacks
    top = state.price_E.max()
    while (state.load_E < least).any():
        state.move(np.where(state.load_E > least, top - state.price_E, math.inf), state.load_E < least)
    return state.choice_T


class _Assignment:
    """Who is where, and a price per expert such that each token's expert is the best of scores_TE + price_E for it."""

    def __init__(self, scores_TE: Doubles) -> None:
        num_experts = scores_TE.shape[1]
        self.scores_TE = scores_TE
        self.choice_T: Ints = scores_TE.argmax(1).astype(np.int64)
        self.load_E = np.bincount(self.choice_T, minlength=num_experts)
        self.price_E = np.zeros(num_experts)
        # what it costs to move one token from an expert to another, and the token that costs it
        self.cost_EE = np.full((num_experts, num_experts), math.inf)
        self.mover_EE = np.zeros((num_experts, num_experts), dtype=np.int64)
        for expert in range(num_experts):
            self._look_up(expert)

    def move(self, start_E: Doubles, wanted_E: Bools) -> None:
        """One token more for one of the `wanted_E`, along the cheapest chain from an expert of finite `start_E`."""
        distance_E, before_E = self._distances(start_E)
        target = int(np.where(wanted_E, distance_E, math.inf).argmin())
        self.price_E = self.price_E + np.minimum(distance_E, distance_E[target])
        chain = [target]
        while (expert := int(before_E[chain[-1]])) >= 0:
            chain.append(expert)
        for giver, taker in zip(chain[1:], chain[:-1], strict=True):
            self.choice_T[self.mover_EE[giver, taker]] = taker
        self.load_E[chain[0]] += 1
        self.load_E[chain[-1]] -= 1
        for expert in chain:
            self._look_up(expert)

    def _distances(self, start_E: Doubles) -> tuple[Doubles, Ints]:
        """The length of the shortest chain to each expert, and the expert before it, -1 at a start (Bellman-Ford)."""
        # not negative but for rounding; cut off, no chain can run in a circle
        length_EE = np.maximum(self.cost_EE + self.price_E[:, None] - self.price_E, 0)
        distance_E, before_E = start_E, np.full(len(start_E), -1, dtype=np.int64)
        while True:
            through_EE = distance_E[:, None] + length_EE
            giver_E, through_E = through_EE.argmin(0), through_EE.min(0)
            shorter_E = through_E < distance_E
            if not shorter_E.any():
                return distance_E, before_E
            distance_E = np.where(shorter_E, through_E, distance_E)
            before_E = np.where(shorter_E, giver_E, before_E)

    def _look_up(self, expert: int) -> None:
        token_N = np.flatnonzero(self.choice_T == expert)
        self.cost_EE[expert] = math.inf
        if len(token_N):
            loss_NE = self.scores_TE[token_N, expert, None] - self.scores_TE[token_N]
            self.cost_EE[expert] = loss_NE.min(0)
            self.mover_EE[expert] = token_N[loss_NE.argmin(0)]
