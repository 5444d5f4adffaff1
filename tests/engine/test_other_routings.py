"""What holds of every routing that is not a token's own top-k by score."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given
from torch import Tensor

from moedocs.engine import Routing, base_assignment, expert_choice, hash_routing, relu_routing, sinkhorn
from tests.drawing import random_logits
from tests.strategies import Case, cases


def hashed(logits_TE: Tensor) -> Routing:
    """Each token to its own number, modulo the number of experts."""
    num_tokens, num_experts = logits_TE.shape
    table_VK = torch.arange(max(num_tokens, 1))[:, None] % num_experts
    return hash_routing(torch.arange(num_tokens), table_VK, num_experts, logits_TE)


ROUTERS: dict[str, Callable[[Tensor], Routing]] = {
    "expert choice": partial(expert_choice, capacity=3),
    "hash": hashed,
    "BASE": base_assignment,
    "BASE, not balanced": partial(base_assignment, balanced=False),
    "Sinkhorn": partial(sinkhorn, top_k=1),
    "Sinkhorn, not balanced": partial(sinkhorn, top_k=1, balanced=False),
    "ReLU": relu_routing,
}
every_router = pytest.mark.parametrize("route", ROUTERS.values(), ids=ROUTERS.keys())


@pytest.mark.parametrize("name", ROUTERS)
@given(case=cases())
def test_the_record_is_whole(name: str, case: Case) -> None:
    routing = ROUTERS[name](torch.from_numpy(case.logits_TE))
    listed_TE = torch.zeros_like(routing.map_TE)
    for token, experts in enumerate(routing.index_TK.tolist()):
        chosen = [expert for expert in experts if expert >= 0]
        assert experts == chosen + [-1] * (len(experts) - len(chosen))
        listed_TE[token, chosen] = True
    assert routing.map_TE.equal(listed_TE)
    assert not routing.weights_TE[~routing.map_TE].any()
    assert (routing.weights_TE >= 0).all()
    total_T = routing.probs_TE.sum(1)
    assert ((total_T - 1).abs() < 1e-5).logical_or(~routing.map_TE.any(1) & (total_T == 0)).all()
    assert routing.logits_TE.equal(torch.from_numpy(case.logits_TE))
    assert not routing.dropped_TE.any()


@every_router
def test_no_tokens_and_one_token_and_one_expert_will_do(route: Callable[[Tensor], Routing]) -> None:
    assert route(torch.zeros(0, 3)).index_TK.shape == (0, 1)
    assert route(torch.ones(1, 1)).map_TE.tolist() == [[True]]
    assert route(torch.ones(2, 1)).index_TK.tolist() == [[0], [0]]


@every_router
def test_logits_at_the_ends_of_float32_give_finite_weights_and_gradients(route: Callable[[Tensor], Routing]) -> None:
    logits_TE = torch.tensor([[3e38, -3e38, 0.0], [-3e38, -3e38, -3e38], [3e38, 3e38, 3e38]], requires_grad=True)
    routing = route(logits_TE)
    (gradient_TE,) = torch.autograd.grad(routing.weights_TE.sum() + routing.probs_TE.sum(), logits_TE)
    for table_TE in (routing.weights_TE, routing.probs_TE, gradient_TE):
        assert table_TE.isfinite().all()


@every_router
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_routing_is_float32_whatever_comes_in(route: Callable[[Tensor], Routing], dtype: torch.dtype) -> None:
    logits_TE = random_logits(20, 8).to(dtype)
    routing, same = route(logits_TE), route(logits_TE.float())
    assert {routing.logits_TE.dtype, routing.probs_TE.dtype, routing.weights_TE.dtype} == {torch.float32}
    assert routing.weights_TE.equal(same.weights_TE)


@every_router
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_no_number_is_refused_with_its_token_and_expert(
    route: Callable[[Tensor], Routing], value: float
) -> None:
    logits_TE = random_logits(20, 8)
    logits_TE[17, 3] = value
    with pytest.raises(ValueError, match=f"router logit of token 17 for expert 3 is {value}, not a finite number"):
        route(logits_TE)


@every_router
def test_no_argument_is_changed(route: Callable[[Tensor], Routing]) -> None:
    logits_TE = random_logits(20, 8)
    before_TE = logits_TE.clone()
    route(logits_TE)
    assert logits_TE.equal(before_TE)
