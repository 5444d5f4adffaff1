"""Losses and rules that even out the load, against sums written out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs.engine import auxiliary_loss, load, softmax_top_k, updated_bias, with_capacity
from tests.drawing import random_logits
from tests.strategies import Case, cases


@given(cases(least_tokens=1), st.integers(0, 10))
def test_the_auxiliary_loss_is_switch_equation_4_over_choices(case: Case, slots: int) -> None:
    routing = softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise)
    choices = routing.index_TK.flatten().tolist()
    share = [choices.count(expert) / len(choices) for expert in range(case.num_experts)]
    mean = routing.probs_TE.double().mean(0).tolist()
    expected = case.num_experts * sum(f * p for f, p in zip(share, mean, strict=True))
    assert auxiliary_loss(routing).item() == pytest.approx(expected, rel=1e-5, abs=1e-30)
    assert auxiliary_loss(with_capacity(routing, slots)).equal(auxiliary_loss(routing))
    assert load(routing).tolist() == [choices.count(expert) for expert in range(case.num_experts)]


@pytest.mark.parametrize("top_k", [1, 2, 8])
def test_the_auxiliary_loss_is_1_at_perfect_balance_and_more_after_collapse(top_k: int) -> None:
    balanced_TE = torch.stack([torch.arange(8.0).roll(shift) for shift in range(8)])
    assert auxiliary_loss(softmax_top_k(balanced_TE, top_k)).item() == pytest.approx(1)
    collapsed = softmax_top_k(20 * torch.eye(8)[[0] * 8], top_k)
    assert auxiliary_loss(collapsed).item() == pytest.approx(8 / top_k)


def test_the_auxiliary_loss_learns_through_the_mean_probability_alone() -> None:
    logits_TE = random_logits(50, 8).requires_grad_()
    routing = softmax_top_k(logits_TE, 2)
    (gradient_TE,) = torch.autograd.grad(auxiliary_loss(routing), logits_TE)
    constant_E = load(routing) / 100
    (expected_TE,) = torch.autograd.grad(8 * (constant_E * logits_TE.softmax(-1).mean(0)).sum(), logits_TE)
    torch.testing.assert_close(gradient_TE, expected_TE)
    assert gradient_TE.any()


def test_the_auxiliary_loss_of_no_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="0 tokens"):
        auxiliary_loss(softmax_top_k(torch.zeros(0, 8), 2))


def test_the_bias_goes_up_for_a_short_expert_down_for_a_full_one_and_rests_at_the_mean() -> None:
    bias_E = updated_bias(torch.tensor([0.5, 0.5, 0.5]), torch.tensor([1, 9, 5]), 0.25)
    assert bias_E.tolist() == [0.75, 0.25, 0.5]
    assert updated_bias(torch.zeros(3), torch.tensor([7, 7, 7]), 0.25).tolist() == [0, 0, 0]


def test_the_bias_rule_evens_out_a_skewed_router() -> None:
    logits_TE = random_logits(1000, 8) + torch.linspace(0, 3, 8)
    bias_E = torch.zeros(8)
    for _ in range(200):
        bias_E = updated_bias(bias_E, load(softmax_top_k(logits_TE, 2, bias_E=bias_E)), 0.002)
    mean = 1000 * 2 / 8
    assert load(softmax_top_k(logits_TE, 2)).max() > 2 * mean
    assert load(softmax_top_k(logits_TE, 2, bias_E=bias_E)).max() < 1.1 * mean


def test_the_bias_before_is_left_as_it_was() -> None:
    bias_E = torch.zeros(3)
    updated_bias(bias_E, torch.tensor([1, 2, 3]), 0.1)
    assert not bias_E.any()
