"""The routing and balancing functions against loops that can be checked by eye."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moedocs.config import RoutingConfig
from moedocs.engine import Routing, auxiliary_loss, load, softmax_top_k, updated_bias, with_capacity
from tests.strategies import Case, cases

TOP_2_OF_8 = RoutingConfig(num_experts=8, top_k=2)


def random_logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def slow_choice(scores: list[float], top_k: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda expert: (-scores[expert], expert))[:top_k]


def slow_weights(logits: list[float], chosen: list[int], renormalise: bool) -> list[float]:
    among = chosen if renormalise else range(len(logits))
    top = max(logits[expert] for expert in among)
    total = sum(math.exp(logits[expert] - top) for expert in among)
    return [math.exp(logits[e] - top) / total if e in chosen else 0.0 for e in range(len(logits))]


@given(cases())
def test_routing_equals_the_loop_over_tokens(case: Case) -> None:
    routing = softmax_top_k(torch.from_numpy(case.logits_TE), case.config)
    for token, logits in enumerate(case.logits_TE.tolist()):
        chosen = slow_choice(logits, case.config.top_k)
        assert routing.index_TK[token].tolist() == chosen
        assert routing.map_TE[token].nonzero().flatten().tolist() == sorted(chosen)
        expected = slow_weights(logits, chosen, case.config.renormalise)
        assert routing.weights_TE[token].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-30)
    assert not routing.dropped_TE.any()


def test_equal_scores_go_to_the_lowest_expert_index() -> None:
    routing = softmax_top_k(torch.zeros(100, 64), RoutingConfig(num_experts=64, top_k=3))
    assert routing.index_TK.tolist() == [[0, 1, 2]] * 100
    biased = softmax_top_k(torch.zeros(100, 64), RoutingConfig(num_experts=64, top_k=3), bias_E=torch.zeros(64))
    assert biased.index_TK.tolist() == [[0, 1, 2]] * 100


def test_the_choice_is_listed_best_first() -> None:
    routing = softmax_top_k(random_logits(50, 8), RoutingConfig(num_experts=8, top_k=8))
    assert (routing.probs_TE.gather(1, routing.index_TK).diff(dim=1) <= 0).all()


def test_bias_moves_the_choice_but_not_the_weight() -> None:
    logits_TE = torch.tensor([[2.0, 1.0, 0.0]])
    config = RoutingConfig(num_experts=3, top_k=2, renormalise=False)
    routing = softmax_top_k(logits_TE, config, bias_E=torch.tensor([0.0, 0.0, 1.0]))
    assert routing.index_TK.tolist() == [[2, 0]]
    probs = logits_TE.softmax(-1)[0].tolist()
    assert routing.weights_TE[0].tolist() == pytest.approx([probs[0], 0.0, probs[2]])


@given(cases(least_tokens=1), st.data())
def test_a_bias_adds_to_the_probabilities_and_nothing_else(case: Case, data: st.DataObject) -> None:
    bias_E = torch.tensor(data.draw(st.lists(st.integers(-3, 3), min_size=(e := case.config.num_experts), max_size=e)))
    routing = softmax_top_k(torch.from_numpy(case.logits_TE), case.config, bias_E=bias_E)
    for token, logits in enumerate(case.logits_TE.tolist()):
        chosen = routing.index_TK[token].tolist()
        assert chosen == slow_choice((routing.probs_TE[token] + bias_E).tolist(), case.config.top_k)
        expected = slow_weights(logits, chosen, case.config.renormalise)
        assert routing.weights_TE[token].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-30)


def test_renormalised_weights_survive_the_underflow_of_all_chosen_probabilities() -> None:
    bias_E = torch.tensor([-2.0, 0.0, 0.0])
    routing = softmax_top_k(torch.tensor([[1e4, 0.0, 0.0]]), RoutingConfig(num_experts=3, top_k=2), bias_E=bias_E)
    assert routing.probs_TE[0, 1:].tolist() == [0.0, 0.0]
    assert routing.weights_TE.tolist() == [[0.0, 0.5, 0.5]]


def test_top_1_renormalised_sends_the_router_no_gradient_but_unrenormalised_does() -> None:
    for renormalise, learns in ((True, False), (False, True)):
        logits_TE = random_logits(20, 8).requires_grad_()
        config = RoutingConfig(num_experts=8, top_k=1, renormalise=renormalise)
        (gradient_TE,) = torch.autograd.grad(softmax_top_k(logits_TE, config).weights_TE.square().sum(), logits_TE)
        assert bool(gradient_TE.any()) is learns


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_routing_is_float32_whatever_comes_in(dtype: torch.dtype) -> None:
    logits_TE = random_logits(20, 8).to(dtype)
    routing, same = softmax_top_k(logits_TE, TOP_2_OF_8), softmax_top_k(logits_TE.float(), TOP_2_OF_8)
    assert {routing.logits_TE.dtype, routing.probs_TE.dtype, routing.weights_TE.dtype} == {torch.float32}
    assert routing.weights_TE.equal(same.weights_TE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_no_number_is_refused_with_its_token_and_expert(value: float) -> None:
    logits_TE = random_logits(20, 8)
    logits_TE[17, 3] = value
    with pytest.raises(ValueError, match=f"token 17 for expert 3 is {value}"):
        softmax_top_k(logits_TE, TOP_2_OF_8)


def test_shapes_that_do_not_fit_are_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"\(20, 7\) do not fit num_experts=8"):
        softmax_top_k(random_logits(20, 7), TOP_2_OF_8)
    with pytest.raises(ValueError, match=r"\(8,\) do not fit"):
        softmax_top_k(random_logits(8), TOP_2_OF_8)
    with pytest.raises(ValueError, match=r"bias of shape \(1,\) does not fit num_experts=8"):
        softmax_top_k(random_logits(20, 8), TOP_2_OF_8, bias_E=torch.zeros(1))


def slow_capacity(routing: Routing, slots: int) -> list[list[bool]]:
    num_tokens, num_experts = routing.map_TE.shape
    kept = [[False] * num_experts for _ in range(num_tokens)]
    free = [slots] * num_experts
    for rank in range(routing.index_TK.shape[1]):
        for token in range(num_tokens):
            expert = int(routing.index_TK[token, rank])
            if free[expert] > 0:
                free[expert] -= 1
                kept[token][expert] = True
    return kept


@given(cases(), st.integers(0, 10))
def test_capacity_equals_the_loop_that_fills_slots(case: Case, slots: int) -> None:
    before = softmax_top_k(torch.from_numpy(case.logits_TE), case.config)
    after = with_capacity(before, slots)
    assert after.map_TE.tolist() == slow_capacity(before, slots)
    assert after.dropped_TE.equal(before.map_TE & ~after.map_TE)
    assert after.weights_TE.equal(before.weights_TE * after.map_TE)
    assert load(after).equal(load(before))
    for twice in (with_capacity(with_capacity(before, slots + 2), slots), with_capacity(after, slots + 2)):
        assert twice.map_TE.equal(after.map_TE)
        assert twice.dropped_TE.equal(after.dropped_TE)


def test_first_choices_are_served_before_an_earlier_token_s_second_choice() -> None:
    logits_TE = torch.tensor([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    routing = with_capacity(softmax_top_k(logits_TE, RoutingConfig(num_experts=3, top_k=2)), 1)
    assert routing.map_TE.tolist() == [[True, False, False], [False, True, True]]
    assert routing.dropped_TE.tolist() == [[False, True, False], [False, False, False]]


def test_capacity_drops_everything_at_0_and_nothing_at_the_number_of_tokens() -> None:
    routing = softmax_top_k(random_logits(20, 8), TOP_2_OF_8)
    assert with_capacity(routing, 0).dropped_TE.equal(routing.map_TE)
    assert not with_capacity(routing, 0).weights_TE.any()
    assert with_capacity(routing, 20).weights_TE.equal(routing.weights_TE)
    with pytest.raises(ValueError, match="capacity=-1"):
        with_capacity(routing, -1)


@given(cases(least_tokens=1), st.integers(0, 10))
def test_the_auxiliary_loss_is_switch_equation_4_over_choices(case: Case, slots: int) -> None:
    routing = softmax_top_k(torch.from_numpy(case.logits_TE), case.config)
    choices = routing.index_TK.flatten().tolist()
    share = [choices.count(expert) / len(choices) for expert in range(case.config.num_experts)]
    mean = routing.probs_TE.double().mean(0).tolist()
    expected = case.config.num_experts * sum(f * p for f, p in zip(share, mean, strict=True))
    assert auxiliary_loss(routing).item() == pytest.approx(expected, rel=1e-5, abs=1e-30)
    assert auxiliary_loss(with_capacity(routing, slots)).equal(auxiliary_loss(routing))
    assert load(routing).tolist() == [choices.count(expert) for expert in range(case.config.num_experts)]


@pytest.mark.parametrize("top_k", [1, 2, 8])
def test_the_auxiliary_loss_is_1_at_perfect_balance_and_more_after_collapse(top_k: int) -> None:
    config = RoutingConfig(num_experts=8, top_k=top_k)
    balanced_TE = torch.stack([torch.arange(8.0).roll(shift) for shift in range(8)])
    assert auxiliary_loss(softmax_top_k(balanced_TE, config)).item() == pytest.approx(1)
    collapsed = softmax_top_k(20 * torch.eye(8)[[0] * 8], config)
    assert auxiliary_loss(collapsed).item() == pytest.approx(8 / top_k)


def test_the_auxiliary_loss_learns_through_the_mean_probability_alone() -> None:
    logits_TE = random_logits(50, 8).requires_grad_()
    routing = softmax_top_k(logits_TE, TOP_2_OF_8)
    (gradient_TE,) = torch.autograd.grad(auxiliary_loss(routing), logits_TE)
    constant_E = load(routing) / 100
    (expected_TE,) = torch.autograd.grad(8 * (constant_E * logits_TE.softmax(-1).mean(0)).sum(), logits_TE)
    torch.testing.assert_close(gradient_TE, expected_TE)
    assert gradient_TE.any()


def test_the_auxiliary_loss_of_no_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="0 tokens"):
        auxiliary_loss(softmax_top_k(torch.zeros(0, 8), TOP_2_OF_8))


def test_the_bias_goes_up_for_a_short_expert_down_for_a_full_one_and_rests_at_the_mean() -> None:
    bias_E = updated_bias(torch.tensor([0.5, 0.5, 0.5]), torch.tensor([1, 9, 5]), 0.25)
    assert bias_E.tolist() == [0.75, 0.25, 0.5]
    assert updated_bias(torch.zeros(3), torch.tensor([7, 7, 7]), 0.25).tolist() == [0, 0, 0]


def test_the_bias_rule_evens_out_a_skewed_router() -> None:
    logits_TE = random_logits(1000, 8) + torch.linspace(0, 3, 8)
    bias_E = torch.zeros(8)
    for _ in range(200):
        bias_E = updated_bias(bias_E, load(softmax_top_k(logits_TE, TOP_2_OF_8, bias_E=bias_E)), 0.002)
    mean = 1000 * 2 / 8
    assert load(softmax_top_k(logits_TE, TOP_2_OF_8)).max() > 2 * mean
    assert load(softmax_top_k(logits_TE, TOP_2_OF_8, bias_E=bias_E)).max() < 1.1 * mean


@pytest.mark.parametrize(
    "call",
    [
        lambda logits_TE, bias_E: softmax_top_k(logits_TE, TOP_2_OF_8, bias_E=bias_E),
        lambda logits_TE, bias_E: with_capacity(softmax_top_k(logits_TE, TOP_2_OF_8, bias_E=bias_E), 1),
        lambda logits_TE, bias_E: updated_bias(bias_E, load(softmax_top_k(logits_TE, TOP_2_OF_8)), 0.1),
    ],
)
def test_no_argument_is_changed(call: Callable[[Tensor, Tensor], object]) -> None:
    logits_TE, bias_E = random_logits(20, 8), random_logits(8)
    copies = logits_TE.clone(), bias_E.clone()
    call(logits_TE, bias_E)
    assert logits_TE.equal(copies[0])
    assert bias_E.equal(copies[1])
