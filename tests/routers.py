"""Somebody else's router beside one of ours: the same input, the same matrix, and what both must agree on.

Shapes: T tokens · D d_model · E num_experts · K top_k
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import linear

from moedocs.engine import Groups, Routing
from tests.drawing import random_logits


@dataclass(frozen=True)
class Drawn:
    x_TD: Tensor
    weight_ED: Tensor
    bias_E: Tensor
    top_k: int
    groups: Groups
    renormalise: bool
    scaling: float

    @property
    def num_experts(self) -> int:
        return len(self.weight_ED)

    @property
    def logits_TE(self) -> Tensor:
        return linear(self.x_TD, self.weight_ED)

    @property
    def config(self) -> Any:
        """Whatever any of their routers asks its configuration for."""
        return SimpleNamespace(
            hidden_size=self.x_TD.shape[1],
            num_experts=self.num_experts,
            num_local_experts=self.num_experts,
            num_experts_per_tok=self.top_k,
            norm_topk_prob=self.renormalise,
            routed_scaling_factor=self.scaling,
            topk_method="group_limited_greedy",
            n_group=self.groups.count,
            topk_group=self.groups.chosen,
        )


@st.composite
def drawings(
    draw: st.DrawFn, steepest: float = 4.0, most_tokens: int = 12, least_k: int = 1, least_size: int = 1
) -> Drawn:
    """Shapes from hypothesis, numbers from a seed; no two logits of a token within rounding of each other."""
    tokens, width, seed = draw(st.integers(1, most_tokens)), draw(st.integers(1, 8)), draw(st.integers(0, 10**6))
    count, size = draw(st.integers(1, 4)), draw(st.integers(max(least_size, least_k), 6))
    groups = Groups(count, draw(st.integers(1, count)))
    steepness = draw(st.sampled_from([0.25, 1.0, steepest]))
    drawn = Drawn(
        x_TD=random_logits(tokens, width, seed=seed),
        weight_ED=steepness * random_logits(count * size, width, seed=seed + 1),
        bias_E=random_logits(count * size, seed=seed + 2) / 4,
        top_k=draw(st.integers(least_k, groups.chosen * size)),
        groups=groups,
        renormalise=draw(st.booleans()),
        scaling=draw(st.sampled_from([1.0, 2.5, 16.0])),
    )
    assume(apart(drawn.logits_TE))
    return drawn


def apart(scores: Tensor) -> bool:
    return bool((scores.sort(dim=-1).values.diff(dim=-1) > 1e-5).all())


def scattered(router: nn.Module, x_TD: Tensor, num_experts: int) -> Tensor:
    """The table (T, E) of a router that returns logits, weights and indices."""
    _, weights_TK, index_TK = router(x_TD)
    return torch.zeros(len(x_TD), num_experts).scatter(1, index_TK, weights_TK)


def assert_same_router(
    drawn: Drawn, route: Callable[[Tensor], Routing], router: nn.Module, table: Callable[..., Tensor] = scattered
) -> None:
    """The same choice, the same weights, the same gradients to the input and to the router's own matrix."""
    weight_ED, x_TD = next(router.parameters()), drawn.x_TD.clone().requires_grad_()
    with torch.no_grad():
        weight_ED.copy_(drawn.weight_ED)
    pull_TE = random_logits(len(x_TD), drawn.num_experts)
    results = []
    for weights_TE in (route(linear(x_TD, weight_ED)).weights_TE, table(router, x_TD, drawn.num_experts)):
        results.append([weights_TE, *torch.autograd.grad((weights_TE * pull_TE).sum(), [x_TD, weight_ED])])
    ours, theirs = results
    assert ours[0].ne(0).equal(theirs[0].ne(0))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
