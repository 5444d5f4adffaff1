"""Token choice against loops that can be checked by eye."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs.engine import softmax_top_k
from tests.drawing import random_logits
from tests.strategies import Case, cases


def slow_choice(scores: list[float], top_k: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda expert: (-scores[expert], expert))[:top_k]


def slow_weights(logits: list[float], chosen: list[int], renormalise: bool) -> list[float]:
    among = chosen if renormalise else range(len(logits))
    top = max(logits[expert] for expert in among)
    total = sum(math.exp(logits[expert] - top) for expert in among)
    return [math.exp(logits[e] - top) / total if e in chosen else 0.0 for e in range(len(logits))]


@given(cases())
def test_routing_equals_the_loop_over_tokens(case: Case) -> None:
    routing = softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise)
    for token, logits in enumerate(case.logits_TE.tolist()):
        chosen = slow_choice(logits, case.top_k)
        assert routing.index_TK[token].tolist() == chosen
        assert routing.map_TE[token].nonzero().flatten().tolist() == sorted(chosen)
        expected = slow_weights(logits, chosen, case.renormalise)
        assert routing.weights_TE[token].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-30)
    assert not routing.dropped_TE.any()


def test_equal_scores_go_to_the_lowest_expert_index() -> None:
    routing = softmax_top_k(torch.zeros(100, 64), 3)
    assert routing.index_TK.tolist() == [[0, 1, 2]] * 100
    biased = softmax_top_k(torch.zeros(100, 64), 3, bias_E=torch.zeros(64))
    assert biased.index_TK.tolist() == [[0, 1, 2]] * 100


def test_the_choice_is_listed_best_first() -> None:
    routing = softmax_top_k(random_logits(50, 8), 8)
    assert (routing.probs_TE.gather(1, routing.index_TK).diff(dim=1) <= 0).all()


def test_bias_moves_the_choice_but_not_the_weight() -> None:
    logits_TE = torch.tensor([[2.0, 1.0, 0.0]])
    routing = softmax_top_k(logits_TE, 2, renormalise=False, bias_E=torch.tensor([0.0, 0.0, 1.0]))
    assert routing.index_TK.tolist() == [[2, 0]]
    probs = logits_TE.softmax(-1)[0].tolist()
    assert routing.weights_TE[0].tolist() == pytest.approx([probs[0], 0.0, probs[2]])


@given(cases(least_tokens=1), st.data())
def test_a_bias_adds_to_the_probabilities_and_nothing_else(case: Case, data: st.DataObject) -> None:
    bias_E = torch.tensor(data.draw(st.lists(st.integers(-3, 3), min_size=(e := case.num_experts), max_size=e)))
    routing = softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise, bias_E=bias_E)
    for token, logits in enumerate(case.logits_TE.tolist()):
        chosen = routing.index_TK[token].tolist()
        assert chosen == slow_choice((routing.probs_TE[token] + bias_E).tolist(), case.top_k)
        expected = slow_weights(logits, chosen, case.renormalise)
        assert routing.weights_TE[token].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-30)


def test_renormalised_weights_survive_the_underflow_of_all_chosen_probabilities() -> None:
    bias_E = torch.tensor([-2.0, 0.0, 0.0])
    routing = softmax_top_k(torch.tensor([[1e4, 0.0, 0.0]]), 2, bias_E=bias_E)
    assert routing.probs_TE[0, 1:].tolist() == [0.0, 0.0]
    assert routing.weights_TE.tolist() == [[0.0, 0.5, 0.5]]


def test_top_1_renormalised_sends_the_router_no_gradient_but_unrenormalised_does() -> None:
    for renormalise, learns in ((True, False), (False, True)):
        logits_TE = random_logits(20, 8).requires_grad_()
        routing = softmax_top_k(logits_TE, 1, renormalise=renormalise)
        (gradient_TE,) = torch.autograd.grad(routing.weights_TE.square().sum(), logits_TE)
        assert bool(gradient_TE.any()) is learns


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_routing_is_float32_whatever_comes_in(dtype: torch.dtype) -> None:
    logits_TE = random_logits(20, 8).to(dtype)
    routing, same = softmax_top_k(logits_TE, 2), softmax_top_k(logits_TE.float(), 2)
    assert {routing.logits_TE.dtype, routing.probs_TE.dtype, routing.weights_TE.dtype} == {torch.float32}
    assert routing.weights_TE.equal(same.weights_TE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_no_number_is_refused_with_its_token_and_expert(value: float) -> None:
    logits_TE = random_logits(20, 8)
    logits_TE[17, 3] = value
    with pytest.raises(ValueError, match=f"token 17 for expert 3 is {value}"):
        softmax_top_k(logits_TE, 2)


def test_a_float64_logit_or_bias_beyond_float32_is_refused_rather_than_routed_as_infinite() -> None:
    beyond_E = torch.tensor([0.0, 1e300], dtype=torch.float64)
    with pytest.raises(ValueError, match="token 0 for expert 1 is inf, not a finite number in float32"):
        softmax_top_k(beyond_E[None], 1)
    with pytest.raises(ValueError, match="bias of expert 1 is inf, not a finite number in float32"):
        softmax_top_k(torch.zeros(1, 2), 1, bias_E=beyond_E)


def test_shapes_that_do_not_fit_are_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"top_k=8 must lie in 1\.\.num_experts=7"):
        softmax_top_k(random_logits(20, 7), 8)
    with pytest.raises(ValueError, match=r"one column per expert, not \(8,\)"):
        softmax_top_k(random_logits(8), 2)
    with pytest.raises(ValueError, match=r"bias of shape \(1,\) does not fit num_experts=8"):
        softmax_top_k(random_logits(20, 8), 2, bias_E=torch.zeros(1))


def test_no_argument_is_changed() -> None:
    logits_TE, bias_E = random_logits(20, 8), random_logits(8)
    copies = logits_TE.clone(), bias_E.clone()
    softmax_top_k(logits_TE, 2, bias_E=bias_E)
    assert logits_TE.equal(copies[0])
    assert bias_E.equal(copies[1])
