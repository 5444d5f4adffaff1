"""Hash routing, BASE, Sinkhorn and Soft MoE against other people's code, in values and gradients."""

# mypy: disable-error-code="no-untyped-call"
# (transformers annotates its forward passes, not its constructors)

import sys
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from soft_moe_pytorch import SoftMoE
from torch import Tensor
from transformers import DeepseekV4Config
from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4HashRouter

from moedocs.engine import (
    base_assignment,
    hash_routing,
    hash_table,
    sinkhorn,
    sinkhorn_plan,
    soft_dispatch,
    soft_routing,
)
from tests.drawing import random_logits
from tests.strategies import Case, cases

MODERATE = cases(least_tokens=1, elements=st.floats(-8, 8, width=32))


def agree(ours: Tensor, theirs: Tensor, *inputs: Tensor) -> None:
    """In values, and in gradients of one random sum."""
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    pull = random_logits(*ours.shape, seed=7)
    gradients = [torch.autograd.grad((table * pull).sum(), inputs, retain_graph=True) for table in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


def optimum(scores_TE: NDArray[np.float64]) -> float:
    """The best sum under even loads: each expert is ceil(T / E) columns, of which floor(T / E) must be taken.

    Rows that stand for no token fill what is left over, and are kept from the columns that must be taken.
    """
    num_tokens, num_experts = scores_TE.shape
    least, most = num_tokens // num_experts, -(-num_tokens // num_experts)
    expert_X = np.tile(np.arange(num_experts), most)
    must_X = np.repeat(np.arange(most) < least, num_experts)
    table_XX = np.zeros((num_experts * most, num_experts * most))
    table_XX[:num_tokens] = scores_TE[:, expert_X]
    table_XX[num_tokens:, must_X] = -1e4 * (1 + np.abs(scores_TE).max())
    rows, columns = linear_sum_assignment(table_XX, maximize=True)
    return float(table_XX[rows, columns].sum())


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 9999), st.sampled_from([0.0, 3.0]), st.booleans())
def test_base_reaches_the_best_sum_that_scipy_finds(t: int, e: int, seed: int, favour: float, tied: bool) -> None:
    logits_TE = random_logits(t, e, seed=seed) + favour * random_logits(e, seed=seed + 1)
    logits_TE = logits_TE.round() if tied else logits_TE
    found = logits_TE.double()[base_assignment(logits_TE).map_TE].sum().item()
    assert found == pytest.approx(optimum(logits_TE.double().numpy()), rel=1e-9, abs=1e-9 * t)


@pytest.mark.parametrize(("t", "e"), [(512, 8), (300, 64), (403, 7)])
def test_base_reaches_it_in_large_batches_with_favourites_too(t: int, e: int) -> None:
    logits_TE = random_logits(t, e) + 3 * random_logits(e, seed=1)
    found = logits_TE.double()[base_assignment(logits_TE).map_TE].sum().item()
    assert found == pytest.approx(optimum(logits_TE.double().numpy()), rel=1e-12)


@given(MODERATE, st.integers(0, 99), st.sampled_from([1.0, 2.5]))
def test_hash_routing_with_logits_is_deepseek_v4_s_router_and_its_gradient(
    case: Case, seed: int, scaling: float
) -> None:
    vocab_size, num_experts = 7, case.num_experts
    config = DeepseekV4Config(
        vocab_size=vocab_size,
        hidden_size=num_experts,
        n_routed_experts=num_experts,
        num_experts_per_tok=case.top_k,
        routed_scaling_factor=scaling,
    )
    router = DeepseekV4HashRouter(config)
    generator = torch.Generator().manual_seed(seed)
    table_VK = hash_table(vocab_size, num_experts, case.top_k, generator=generator)
    router.tid2eid.copy_(table_VK)
    ids_T = torch.randint(0, vocab_size, (len(case.logits_TE),), generator=generator)
    with torch.no_grad():
        router.weight.copy_(torch.eye(num_experts))
    logits_TE = torch.from_numpy(case.logits_TE).requires_grad_()
    their_logits_TE, their_weights_TK, their_index_TK = router(logits_TE, ids_T)
    theirs_TE = torch.zeros_like(logits_TE).scatter(1, their_index_TK, their_weights_TK)
    routing = hash_routing(ids_T, table_VK, num_experts, logits_TE, scaling=scaling)
    assert routing.logits_TE.equal(their_logits_TE)
    agree(routing.weights_TE, theirs_TE, logits_TE)


class Patience:
    """A tolerance that calls it near enough after so many rounds: theirs may go on for ever."""

    def __init__(self, tolerance: float, rounds: int) -> None:
        self.tolerance, self.rounds = tolerance, rounds

    def __lt__(self, error: float) -> bool:
        self.rounds -= 1
        return self.rounds >= 0 and bool(error > self.tolerance)


@pytest.fixture(scope="module")
def megatron() -> Any:
    """Its plan, and its router's method for one top-k; it is published for Linux alone, and warns when imported."""
    if sys.platform != "linux":
        pytest.skip("megatron-core is installed on Linux alone")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core.transformer.moe import moe_utils, router

    def plan(logits_TE: Tensor, tol: Patience) -> Tensor:
        plan_TE: Tensor = moe_utils.sinkhorn(logits_TE, tol=tol)
        return plan_TE

    def route(logits_TE: Tensor, top_k: int, training: bool) -> tuple[Tensor, Tensor]:
        options = SimpleNamespace(topk=top_k, training=training, config=SimpleNamespace(moe_aux_loss_coeff=0))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(router, "sinkhorn", lambda cost: plan(cost, Patience(1e-4, rounds=100)))
            weights_TE, map_TE = router.TopKRouter.sinkhorn_load_balancing(options, logits_TE)
        return weights_TE, map_TE

    return SimpleNamespace(plan=plan, route=route)


shapes = given(st.integers(1, 80), st.integers(1, 16), st.integers(0, 9999), st.sampled_from([0.0, 2.0]))


@example(67, 3, 409, 2.0)
@shapes
def test_the_sinkhorn_plan_is_megatron_s(megatron: Any, t: int, e: int, seed: int, favour: float) -> None:
    logits_TE = random_logits(t, e, seed=seed) + favour * random_logits(e, seed=seed + 1)
    theirs_TE = megatron.plan(logits_TE.double(), tol=Patience(1e-4, rounds=100)).float()
    # at the edge of the tolerance one of the two may take a round more, as with 67, 3, 409, 2.0
    torch.testing.assert_close(sinkhorn_plan(logits_TE), theirs_TE, rtol=5e-4, atol=0.0)


@shapes
def test_the_plan_is_megatron_s_after_any_number_of_rounds(
    megatron: Any, t: int, e: int, seed: int, favour: float
) -> None:
    logits_TE = random_logits(t, e, seed=seed) + favour * random_logits(e, seed=seed + 1)
    rounds = 1 + seed % 7
    theirs_TE = megatron.plan(logits_TE.double(), tol=Patience(1e-9, rounds)).float()
    torch.testing.assert_close(
        sinkhorn_plan(logits_TE, tolerance=1e-9, most_rounds=rounds), theirs_TE, rtol=1e-5, atol=0.0
    )


@given(st.integers(1, 80), st.integers(1, 16), st.integers(0, 9999), st.booleans(), st.data())
def test_sinkhorn_routing_is_megatron_s_and_its_gradient(
    megatron: Any, t: int, e: int, seed: int, training: bool, data: st.DataObject
) -> None:
    top_k = data.draw(st.integers(1, e))
    logits_TE = random_logits(t, e, seed=seed).requires_grad_()
    routing = sinkhorn(logits_TE, top_k, balanced=training)
    their_weights_TE, their_map_TE = megatron.route(logits_TE, top_k, training)
    # where two entries of the plan are nearly equal, the float32 of theirs may choose the other
    plan_TE = sinkhorn_plan(logits_TE) if training else logits_TE.detach()
    best_TE = plan_TE.sort(dim=1, descending=True).values
    gap_T = torch.ones(t) if top_k == e else (best_TE[:, top_k - 1] - best_TE[:, top_k]) / best_TE[:, 0].abs()
    clear_T = gap_T > 1e-3
    assert routing.map_TE[clear_T].equal(their_map_TE[clear_T])
    agree(routing.weights_TE[clear_T], their_weights_TE[clear_T], logits_TE)


@given(*[st.integers(1, 5)] * 5, st.integers(0, 9999))
def test_soft_moe_is_soft_moe_pytorch_in_values_and_gradients(
    b: int, t: int, d: int, e: int, p: int, seed: int
) -> None:
    theirs = SoftMoE(d, num_experts=e, num_slots=p, expert_mult=2)
    torch.nn.init.normal_(theirs.slot_embeds, generator=torch.Generator().manual_seed(seed))
    x_BTD = random_logits(b, t, d, seed=seed).requires_grad_()
    # theirs normalises its input and its slots before it routes and mixes
    unit_BTD, unit_EPD = theirs.norm(x_BTD), theirs.slot_norm(theirs.slot_embeds)
    ours_BTD = soft_dispatch(unit_BTD, soft_routing(unit_BTD, unit_EPD), theirs.experts)
    agree(ours_BTD, theirs(x_BTD), x_BTD, theirs.slot_embeds, *theirs.experts.parameters())
