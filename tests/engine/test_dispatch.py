"""Every dispatch against a loop over assignments and against the definition, in values and gradients."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.nn.functional import silu

from moedocs.engine import (
    Experts,
    Routing,
    buffer_dispatch,
    dense_dispatch,
    fast_dispatch,
    grouped_dispatch,
    softmax_top_k,
    sorted_dispatch,
    with_capacity,
)
from moedocs.engine.dispatch import assignments
from tests.drawing import random_logits

Way = Callable[[Tensor, Routing, Experts], Tensor]

WAYS: tuple[Way, ...] = (dense_dispatch, sorted_dispatch, buffer_dispatch, grouped_dispatch, fast_dispatch)
D_MODEL, D_FF = 8, 16  # rows of 16 bytes and more in every type, as grouped_mm wants


def drawn_experts(num_experts: int, seed: int = 0) -> Experts:
    return Experts(num_experts, D_MODEL, D_FF, generator=torch.Generator().manual_seed(seed))


def record(map_TE: Tensor, weights_TE: Tensor) -> Routing:
    """What a dispatch may read, and nothing else in it that is right."""
    wrong_TE = torch.full_like(weights_TE, torch.nan)
    index_TK = torch.full((len(map_TE), 1), -1)
    return Routing(wrong_TE, wrong_TE, map_TE, weights_TE.masked_fill(~map_TE, 0.0), index_TK, ~map_TE)


@st.composite
def routings(draw: st.DrawFn) -> tuple[Routing, Experts, Tensor]:
    """Any map at all: tokens and experts without any, columns of no-ops, weights of either sign and of 0."""
    num_tokens, num_experts = draw(st.integers(0, 6)), draw(st.integers(1, 5))
    shape = (num_tokens, num_experts + draw(st.integers(0, 2)))
    map_TE = torch.from_numpy(draw(arrays(bool, shape)))
    weights_TE = torch.from_numpy(draw(arrays("float32", shape, elements=st.floats(-2, 2, width=16))))
    seed = draw(st.integers(0, 99))
    return record(map_TE, weights_TE), drawn_experts(num_experts, seed), random_logits(num_tokens, D_MODEL, seed=seed)


def slow(x_TD: Tensor, routing: Routing, experts: Experts) -> Tensor:
    rows = [torch.zeros(D_MODEL, dtype=x_TD.dtype) for _ in x_TD]
    for token, expert in routing.map_TE.nonzero().tolist():
        if expert < len(experts):
            gate_DF, up_DF, down_FD = (stack[expert] for stack in experts.parameters())
            hidden_F = silu(x_TD[token] @ gate_DF) * (x_TD[token] @ up_DF)
            rows[token] = rows[token] + routing.weights_TE[token, expert].to(x_TD.dtype) * (hidden_F @ down_FD)
    return torch.stack([*rows, torch.zeros(D_MODEL, dtype=x_TD.dtype)])[:-1]


def values_and_gradients(way: Way, routing: Routing, experts: Experts, x_TD: Tensor) -> list[Tensor]:
    """The output, and what comes back to tokens, weights and matrices when an uneven gradient is sent in."""
    x_TD = x_TD.clone().requires_grad_()
    weights_TE = routing.weights_TE.clone().requires_grad_()
    y_TD = way(x_TD, record(routing.map_TE, weights_TE), experts)
    inputs = [x_TD, weights_TE, *experts.parameters()]
    pull = (y_TD * random_logits(*y_TD.shape, seed=5).to(y_TD.dtype)).sum() + 0 * sum(part.sum() for part in inputs)
    return [y_TD, *torch.autograd.grad(pull, inputs)]


@pytest.mark.parametrize("way", WAYS)
@given(routings())
def test_a_dispatch_equals_the_loop_over_assignments(way: Way, drawn: tuple[Routing, Experts, Tensor]) -> None:
    routing, experts, x_TD = drawn
    expected = values_and_gradients(slow, routing, experts.double(), x_TD.double())
    found = values_and_gradients(way, routing, experts.float(), x_TD)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", [way for way in WAYS if way is not grouped_dispatch])  # grouped_mm knows no float64
@given(routings())
def test_in_float64_they_agree_to_its_precision(way: Way, drawn: tuple[Routing, Experts, Tensor]) -> None:
    routing, experts, x_TD = drawn
    inputs = (routing, experts.double(), x_TD.double())
    for mine, theirs in zip(
        values_and_gradients(way, *inputs), values_and_gradients(dense_dispatch, *inputs), strict=True
    ):
        # the weights are float32, and so is what comes back to them
        torch.testing.assert_close(mine, theirs, rtol=1e-5 if mine.dtype == torch.float32 else 1e-10, atol=1e-6)


def test_the_gradient_written_by_hand_is_that_of_finite_differences() -> None:
    routing = softmax_top_k(random_logits(5, 4), 2)
    experts = drawn_experts(4).double()
    inputs = [random_logits(5, D_MODEL).double(), routing.weights_TE.double(), *map(torch.clone, experts.parameters())]

    def way(x_TD: Tensor, weights_TE: Tensor, *stacks: Tensor) -> Tensor:
        with torch.no_grad():
            part = Experts(4, D_MODEL, D_FF, generator=torch.Generator())
        for name, stack in zip(("gate_EDF", "up_EDF", "down_EFD"), stacks, strict=True):
            delattr(part, name)
            setattr(part, name, stack)
        return fast_dispatch(x_TD, record(routing.map_TE, weights_TE), part)

    assert torch.autograd.gradcheck(way, [one.detach().requires_grad_() for one in inputs])


def test_the_gradient_written_by_hand_has_none_of_its_own() -> None:
    x_TD = random_logits(5, D_MODEL).requires_grad_()
    y_TD = fast_dispatch(x_TD, softmax_top_k(random_logits(5, 4), 2), drawn_experts(4))
    (gradient_TD,) = torch.autograd.grad(y_TD.square().sum(), x_TD, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(gradient_TD.sum())


def test_a_graph_that_is_kept_gives_the_same_gradient_again() -> None:
    x_TD = random_logits(20, D_MODEL).requires_grad_()
    y_TD = fast_dispatch(x_TD, softmax_top_k(random_logits(20, 4), 2), drawn_experts(4))
    first, second = (torch.autograd.grad(y_TD.sum(), x_TD, retain_graph=True)[0] for _ in range(2))
    assert first.equal(second)


@pytest.mark.parametrize("way", WAYS)
def test_a_dispatch_leaves_its_arguments_as_they_were(way: Way) -> None:
    x_TD, routing, experts = random_logits(20, D_MODEL), softmax_top_k(random_logits(20, 4), 2), drawn_experts(4)
    x_TD.requires_grad_()
    before = [one.clone() for one in (x_TD, routing.weights_TE, routing.map_TE, *experts.parameters())]
    pull_TD = random_logits(20, D_MODEL, seed=3)
    torch.autograd.grad(way(x_TD, routing, experts), x_TD, pull_TD)
    after = (x_TD, routing.weights_TE, routing.map_TE, *experts.parameters())
    assert all(mine.equal(theirs) for mine, theirs in zip(after, before, strict=True))
    assert pull_TD.equal(random_logits(20, D_MODEL, seed=3))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_dispatch_works_in_the_type_of_its_tokens(way: Way, dtype: torch.dtype) -> None:
    x_TD, routing, experts = random_logits(20, D_MODEL), softmax_top_k(random_logits(20, 4), 2), drawn_experts(4)
    expected_TD = slow(x_TD, routing, experts)
    y_TD = way(x_TD.to(dtype), routing, experts.to(dtype))
    assert y_TD.dtype == dtype
    torch.testing.assert_close(y_TD.float(), expected_TD, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("way", WAYS)
def test_what_all_choices_of_a_token_lost_is_exactly_zero(way: Way) -> None:
    routing = with_capacity(softmax_top_k(random_logits(40, 4), 2), 10)
    y_TD = way(random_logits(40, D_MODEL), routing, drawn_experts(4))
    lost_T = ~routing.map_TE.any(1)
    assert lost_T.any()
    assert not y_TD[lost_T].any()
    assert y_TD[~lost_T].any(1).all()


@pytest.mark.parametrize("way", [sorted_dispatch, grouped_dispatch, buffer_dispatch, fast_dispatch])
def test_an_expert_computes_its_own_tokens_and_no_others(way: Way) -> None:
    experts = drawn_experts(4)
    with torch.no_grad():
        experts.down_EFD[2] = torch.nan
    routing = softmax_top_k(random_logits(40, 4), 2)
    y_TD = way(random_logits(40, D_MODEL), routing, experts)
    assert y_TD.isnan().any(1).equal(routing.map_TE[:, 2])


@given(routings())
def test_assignments_come_expert_by_expert_and_in_token_order(drawn: tuple[Routing, Experts, Tensor]) -> None:
    routing, experts, _ = drawn
    kept = assignments(routing, experts)
    pairs = [
        (token, expert)
        for expert in range(len(experts))
        for token in range(len(routing.map_TE))
        if routing.map_TE[token, expert]
    ]
    assert list(zip(kept.token_N.tolist(), kept.expert_N.tolist(), strict=True)) == pairs
    assert kept.weights_N.tolist() == [routing.weights_TE[pair].item() for pair in pairs]
    assert kept.counts_E.tolist() == [sum(expert == e for _, e in pairs) for expert in range(len(experts))]
