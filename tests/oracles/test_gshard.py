"""GShard's second choice against two ports of the code behind the paper, in values, gradients and frequency.

Shapes: T tokens · D d_model · E num_experts · C slots of an expert · B batches, one draw each
"""

import pytest
import torch
from hypothesis import given, settings
from mixture_of_experts.mixture_of_experts import Top2Gating
from st_moe_pytorch.st_moe_pytorch import TopNGating
from torch import Tensor, nn
from torch.nn.functional import linear

from moedocs.engine import Routing, gshard_top_2, softmax_top_k, with_capacity
from tests.drawing import random_logits
from tests.frequency import seeded
from tests.routers import Drawn, assert_same_router, drawings


def slots_of(drawn: Drawn, factor: float) -> int:
    """Both libraries round their capacity down, and give no expert fewer than 4 slots."""
    tokens = len(drawn.x_TD)
    return max(4, min(tokens, int(tokens * factor / drawn.num_experts)))


def combined(gating: nn.Module, x_TD: Tensor, _: int) -> Tensor:
    """The table (T, E) of a gating that returns weights per expert and slot, for a batch of one sequence."""
    weights_BTEC: Tensor = gating(x_TD[None])[1]
    return weights_BTEC.sum(-1)[0]


class Transposed(Top2Gating):  # type: ignore[misc]
    """Their matrix is (D, E): turned to (E, D) like everyone's."""

    def __init__(self, dim: int, num_gates: int, **options: object) -> None:
        super().__init__(dim, num_gates, **options)
        del self.w_gating
        self.weight_ED = nn.Parameter(torch.empty(num_gates, dim))

    @property
    def w_gating(self) -> Tensor:
        return self.weight_ED.T


@pytest.mark.parametrize("factor", [0.5, 1.0, 100.0])
@given(drawn=drawings(steepest=2.0, most_tokens=40, least_k=2))
@settings(max_examples=30)
def test_gshard_top_2_that_always_keeps_its_second_is_mixture_of_experts_gating(factor: float, drawn: Drawn) -> None:
    gating = Transposed(drawn.x_TD.shape[1], drawn.num_experts, second_policy_train="all", capacity_factor_train=factor)

    def route(logits_TE: Tensor) -> Routing:
        return with_capacity(gshard_top_2(logits_TE, generator=seeded(), threshold=0), slots_of(drawn, factor))

    assert_same_router(drawn, route, gating, combined)


@pytest.mark.parametrize("factor", [0.5, 1.0, 100.0])
@given(drawn=drawings(steepest=1.0, most_tokens=40, least_k=2))
@settings(max_examples=30)
def test_softmax_top_k_with_capacity_is_st_moe_s_top_n_gating(factor: float, drawn: Drawn) -> None:
    gating = TopNGating(
        drawn.x_TD.shape[1],
        drawn.num_experts,
        eps=1e-30,  # below any weight drawn here: no choice but the overflowing is skipped
        top_n=drawn.top_k,
        threshold_train=0.0 if drawn.top_k == 2 else (0.0,) * (drawn.top_k - 1),
        capacity_factor_train=factor,
    )

    def route(logits_TE: Tensor) -> Routing:
        return with_capacity(softmax_top_k(logits_TE, drawn.top_k), slots_of(drawn, factor))

    assert_same_router(drawn, route, gating, combined)


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_a_second_choice_is_kept_as_often_as_by_mixture_of_experts_and_by_st_moe(threshold: float) -> None:
    batches, x_TD, weight_ED = 4000, random_logits(5, 6), random_logits(4, 6, seed=1)
    weight_T = softmax_top_k(linear(x_TD, weight_ED), 2).weights_TE.topk(2).values[:, 1]
    expected_T = (weight_T / threshold).clamp(max=1)
    error_T = (expected_T * (1 - expected_T) / batches).sqrt()
    top_2 = Transposed(6, 4, second_threshold_train=threshold, capacity_factor_train=4.0)
    top_n = TopNGating(6, 4, threshold_train=threshold, capacity_factor_train=4.0)
    x_BTD = x_TD.expand(batches, -1, -1)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        counts_GBT = []
        for gating in (top_2, top_n):
            next(gating.parameters()).copy_(weight_ED)
            counts_GBT.append(gating(x_BTD)[1].sum(-1).ne(0).sum(-1))
    logits_NE = linear(x_BTD.flatten(0, 1), weight_ED)
    ours = gshard_top_2(logits_NE, generator=seeded(), threshold=threshold)
    counts_GBT.append(ours.map_TE.sum(1).view(batches, -1))
    for counts_BT in counts_GBT:
        assert ((counts_BT.float().mean(0) - 1 - expected_T).abs() <= 5 * error_T).all()


def test_a_skipped_second_leaves_the_first_with_its_share_of_two_as_in_mixture_of_experts() -> None:
    x_TD, weight_ED = random_logits(200, 6), random_logits(4, 6, seed=1)
    ours = gshard_top_2(linear(x_TD, weight_ED), generator=seeded())
    gating = Transposed(6, 4, second_policy_train="none", capacity_factor_train=4.0)
    with torch.no_grad():
        gating.weight_ED.copy_(weight_ED)
    skipped_T = ours.index_TK[:, 1] == -1
    assert 0 < skipped_T.sum() < 200
    torch.testing.assert_close(ours.weights_TE[skipped_T], combined(gating, x_TD, 4)[skipped_T])
    assert (ours.weights_TE[skipped_T].sum(1) < 1).all()
