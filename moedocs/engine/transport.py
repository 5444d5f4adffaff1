"""The best choice of one expert per token under which no expert has more to do than another.

Shapes: T tokens · E experts, EE from one expert to another · N tokens of one expert
"""

import math

import torch
from torch import Tensor


def balanced_choice(scores_TE: Tensor) -> Tensor:
    """The expert of each token (T,) that makes the sum of scores largest among all even choices.

    Even means floor(T / E) or ceil(T / E) tokens for each expert. A transportation problem, solved by successive
    shortest paths: every token goes where it scores most, and then, one at a time, excess tokens move along the chain
    of experts that loses the least. It is exact but for rounding in float64: the sum is within
    1e-9 * T * (largest absolute score) of the best. Of several best choices the one found follows no simple rule, but
    NumPy finds the same. Time grows with the tokens that must move, at most T. Scores must be finite.
    """
    num_tokens, num_experts = scores_TE.shape
    least, most = num_tokens // num_experts, -(-num_tokens // num_experts)
    state = _Assignment(scores_TE.detach().double().cpu())
    while (state.load_E > most).any():
        state.move(torch.where(state.load_E > most, 0.0, math.inf), state.load_E < most)
    # now the experts with room share the highest price; a full one may give to those short of tokens for what it lacks
    top = state.price_E.max()
    while (state.load_E < least).any():
        state.move(torch.where(state.load_E > least, top - state.price_E, math.inf), state.load_E < least)
    return state.choice_T.to(scores_TE.device)


class _Assignment:
    """Who is where, and a price per expert such that each token's expert is the best of scores_TE + price_E for it."""

    def __init__(self, scores_TE: Tensor) -> None:
        num_experts = scores_TE.shape[1]
        self.scores_TE = scores_TE
        self.choice_T = scores_TE.argmax(1)
        self.load_E = self.choice_T.bincount(minlength=num_experts)
        self.price_E = scores_TE.new_zeros(num_experts)
        # what it costs to move one token from an expert to another, and the token that costs it
        self.cost_EE = scores_TE.new_full((num_experts, num_experts), math.inf)
        self.mover_EE = torch.zeros(num_experts, num_experts, dtype=torch.int64)
        for expert in range(num_experts):
            self._look_up(expert)

    def move(self, start_E: Tensor, wanted_E: Tensor) -> None:
        """One token more for one of the `wanted_E`, along the cheapest chain from an expert of finite `start_E`."""
        distance_E, before_E = self._distances(start_E)
        target = int(distance_E.masked_fill(~wanted_E, math.inf).argmin())
        self.price_E = self.price_E + distance_E.clamp(max=distance_E[target])
        chain = [target]
        while (expert := int(before_E[chain[-1]])) >= 0:
            chain.append(expert)
        for giver, taker in zip(chain[1:], chain[:-1], strict=True):
            self.choice_T[self.mover_EE[giver, taker]] = taker
        self.load_E[chain[0]] += 1
        self.load_E[chain[-1]] -= 1
        for expert in chain:
            self._look_up(expert)

    def _distances(self, start_E: Tensor) -> tuple[Tensor, Tensor]:
        """The length of the shortest chain to each expert, and the expert before it, -1 at a start (Bellman-Ford)."""
        # not negative but for rounding; cut off, no chain can run in a circle
        length_EE = (self.cost_EE + self.price_E[:, None] - self.price_E).clamp(min=0)
        distance_E, before_E = start_E, torch.full_like(self.load_E, -1)
        while True:
            through_E, giver_E = (distance_E[:, None] + length_EE).min(0)
            shorter_E = through_E < distance_E
            if not shorter_E.any():
                return distance_E, before_E
            distance_E = torch.where(shorter_E, through_E, distance_E)
            before_E = torch.where(shorter_E, giver_E, before_E)

    def _look_up(self, expert: int) -> None:
        token_N = (self.choice_T == expert).nonzero().flatten()
        self.cost_EE[expert] = math.inf
        if len(token_N):
            loss_NE = self.scores_TE[token_N, expert, None] - self.scores_TE[token_N]
            self.cost_EE[expert], least_E = loss_NE.min(0)
            self.mover_EE[expert] = token_N[least_E]
