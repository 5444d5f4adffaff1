"""GShard's random second: the use of the draws against a loop, the draws against their stated chance."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs.engine import gshard_top_2, softmax_top_k, with_random_second
from tests.drawing import random_logits
from tests.frequency import ROUNDS, assert_frequent, repeated, seeded
from tests.strategies import Case, cases


@given(cases(), st.data(), st.sampled_from([0.0, 0.2, 0.5, 3.0, 1e-300, 1e300]))
def test_a_second_is_skipped_where_the_draw_reaches_its_weight(
    case: Case, data: st.DataObject, threshold: float
) -> None:
    if case.num_experts == 1:
        return
    routing = softmax_top_k(torch.from_numpy(case.logits_TE), 2)
    draws = st.floats(0, 1, exclude_max=True, width=32) | st.sampled_from([0.0, 0.25, 0.5])
    uniform = data.draw(st.lists(draws, min_size=(tokens := len(case.logits_TE)), max_size=tokens))
    found = with_random_second(routing, torch.tensor(uniform), threshold=threshold)
    for token, drawn in enumerate(uniform):
        first, second = routing.index_TK[token].tolist()
        weights = routing.weights_TE[token].tolist()
        if threshold > 0 and drawn * threshold >= weights[second]:
            weights[second], second = 0.0, -1
        assert found.index_TK[token].tolist() == [first, second]
        assert found.map_TE[token].nonzero().flatten().tolist() == sorted({first, second} - {-1})
        assert found.weights_TE[token].tolist() == weights
    assert found.probs_TE is routing.probs_TE
    assert not found.dropped_TE.any()


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 1.5])
def test_gshard_keeps_a_second_with_chance_weight_over_threshold(threshold: float) -> None:
    logits_TE = torch.tensor([[0.0, 3.0, 1.0], [0.5, 0.0, -1.0], [2.0, -9.0, 2.0], [-8.0, 0.0, -20.0]])
    second_T = softmax_top_k(logits_TE, 2).weights_TE.double().topk(2).values[:, 1]
    chance_T = (second_T / threshold).clamp(max=1) if threshold else torch.ones(4)
    kept = gshard_top_2(repeated(logits_TE), generator=seeded(), threshold=threshold).index_TK[:, 1] != -1
    assert_frequent(kept.view(4, ROUNDS).T, chance_T)


def test_a_kept_choice_of_gshard_has_the_weight_and_the_gradient_it_has_in_top_2() -> None:
    logits_TE = random_logits(200, 6).requires_grad_()
    routing, top_2 = gshard_top_2(logits_TE, generator=seeded()), softmax_top_k(logits_TE, 2)
    assert 0 < (routing.index_TK == -1).sum() < 200
    pull_TE = random_logits(200, 6) * routing.map_TE
    gradients = [torch.autograd.grad((one.weights_TE * pull_TE).sum(), logits_TE)[0] for one in (routing, top_2)]
    assert routing.weights_TE.equal(top_2.weights_TE * routing.map_TE)
    assert gradients[0].equal(gradients[1])


def test_a_random_second_refuses_what_does_not_fit() -> None:
    routing = softmax_top_k(random_logits(5, 4), 2)
    with pytest.raises(ValueError, match="a random second needs top_k=2, not 3"):
        with_random_second(softmax_top_k(random_logits(5, 4), 3), torch.zeros(5))
    with pytest.raises(ValueError, match=r"draws of shape \(6,\) do not fit 5 tokens"):
        with_random_second(routing, torch.zeros(6))
    for threshold in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"threshold={threshold} must be a finite number, at least 0"):
            with_random_second(routing, torch.zeros(5), threshold=threshold)
    with pytest.raises(ValueError, match=r"top_k=2 must lie in 1\.\.num_experts=1"):
        gshard_top_2(random_logits(5, 1), generator=seeded())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_gshard_refuses_a_logit_that_is_no_number_with_its_token_and_expert(value: float) -> None:
    logits_TE = random_logits(5, 4)
    logits_TE[3, 1] = value
    with pytest.raises(ValueError, match=f"router logit of token 3 for expert 1 is {value}"):
        gshard_top_2(logits_TE, generator=seeded())
