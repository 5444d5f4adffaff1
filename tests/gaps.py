"""Routings as capacity and balancing may meet them: tokens with fewer than K choices, in groups of any size."""

from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from moedocs import engine, lite
from tests.strategies import cases
from tests.twins import FIELDS


def skipping(routing: engine.Routing, skipped_TK: Tensor) -> engine.Routing:
    """The routing without those of its choices that are True."""
    index_TK = torch.where(skipped_TK, -1, routing.index_TK)
    map_TE = (index_TK[..., None] == torch.arange(routing.map_TE.shape[1])).any(1)
    return replace(routing, index_TK=index_TK, map_TE=map_TE, weights_TE=routing.weights_TE * map_TE)


def as_numpy(routing: engine.Routing) -> lite.Routing:
    """The very same record for the NumPy twins, so that only the function under test can differ."""
    return lite.Routing(**{field: getattr(routing, field).detach().numpy() for field in FIELDS})


@dataclass(frozen=True)
class Grouped:
    routing: engine.Routing
    group_size: int | None

    @property
    def groups(self) -> list[list[int]]:
        """The tokens of each group."""
        tokens = list(range(len(self.routing.map_TE)))
        size = self.group_size or max(len(tokens), 1)
        return [tokens[start : start + size] for start in range(0, len(tokens), size)]


@st.composite
def grouped(draw: st.DrawFn, least_tokens: int = 0) -> Grouped:
    case = draw(cases(least_tokens=least_tokens))
    routing = engine.softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise)
    num_tokens = len(case.logits_TE)
    skipped = draw(st.lists(st.booleans(), min_size=(n := num_tokens * case.top_k), max_size=n))
    if draw(st.booleans()):
        routing = skipping(routing, torch.tensor(skipped, dtype=torch.bool).view(num_tokens, case.top_k))
    sizes = [size for size in range(1, num_tokens + 1) if num_tokens % size == 0]
    return Grouped(routing, draw(st.sampled_from([None, *sizes])))
