"""ReLU routing against a loop over tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs.engine import relu_routing
from tests.drawing import random_logits
from tests.strategies import Case, cases


@given(cases())
def test_relu_routing_equals_the_loop_over_tokens(case: Case) -> None:
    routing = relu_routing(torch.from_numpy(case.logits_TE))
    assert routing.logits_TE.equal(torch.from_numpy(case.logits_TE))
    chosen = [[expert for expert, logit in enumerate(row) if logit > 0] for row in case.logits_TE.tolist()]
    most = max([1, *map(len, chosen)])
    assert routing.index_TK.shape == (len(chosen), most)
    for token, logits in enumerate(case.logits_TE.tolist()):
        total = sum(logits[expert] for expert in chosen[token])
        best_first = sorted(chosen[token], key=lambda expert: -logits[expert])
        assert routing.index_TK[token].tolist() == best_first + [-1] * (most - len(best_first))
        assert routing.map_TE[token].nonzero().flatten().tolist() == chosen[token]
        assert routing.weights_TE[token].tolist() == [max(logit, 0.0) for logit in logits]
        shares = [max(logit, 0.0) / (total or 1.0) for logit in logits]
        assert routing.probs_TE[token].tolist() == pytest.approx(shares, rel=1e-5, abs=1e-30)
    assert not routing.dropped_TE.any()


@given(cases(least_tokens=1))
def test_the_gradient_reaches_the_experts_that_are_on_as_it_is_and_no_other(case: Case) -> None:
    logits_TE = torch.from_numpy(case.logits_TE).requires_grad_()
    pull_TE = random_logits(*logits_TE.shape)
    routing = relu_routing(logits_TE)
    (gradient_TE,) = torch.autograd.grad((routing.weights_TE * pull_TE).sum(), logits_TE)
    assert gradient_TE.equal(torch.where(logits_TE > 0, pull_TE, 0.0))


@given(cases(least_tokens=1, elements=st.integers(-16, 16).map(lambda n: n / 4)))
def test_the_gradient_of_shares_is_that_of_the_plain_quotient(case: Case) -> None:
    logits_TE = torch.from_numpy(case.logits_TE).requires_grad_()
    pull_TE = random_logits(*logits_TE.shape)
    (ours_TE,) = torch.autograd.grad((relu_routing(logits_TE).probs_TE * pull_TE).sum(), logits_TE)
    plain_TE = logits_TE.relu() / logits_TE.relu().sum(1, keepdim=True).clamp(min=0.25)
    (theirs_TE,) = torch.autograd.grad((plain_TE * pull_TE).sum(), logits_TE)
    torch.testing.assert_close(ours_TE, theirs_TE)


def test_a_token_without_a_positive_logit_goes_nowhere_and_has_no_shares() -> None:
    routing = relu_routing(torch.tensor([[-1.0, 0.0, -0.0], [-3e38, -1.0, -2.0]]))
    assert routing.index_TK.tolist() == [[-1], [-1]]
    for table_TE in (routing.map_TE, routing.weights_TE, routing.probs_TE):
        assert not table_TE.any()


def test_shares_survive_sums_beyond_float32() -> None:
    assert relu_routing(torch.full((1, 4), 3e38)).probs_TE.tolist() == [[0.25] * 4]
    assert relu_routing(torch.tensor([[1e-45, -1.0]])).probs_TE.tolist() == [[1.0, 0.0]]
