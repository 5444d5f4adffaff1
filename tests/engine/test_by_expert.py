"""Expert choice against a loop over experts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs.engine import expert_choice
from tests.drawing import random_logits
from tests.strategies import Case, cases


def slow_probabilities(logits: list[float]) -> list[float]:
    """The softmax in float64, rounded to float32."""
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [float(np.float32(power / math.fsum(powers))) for power in powers]


def slow_tokens(column: list[float], capacity: int) -> list[int]:
    """The tokens that one expert takes; sorted() keeps the order of what is equal."""
    return sorted(sorted(range(len(column)), key=lambda token: -column[token])[:capacity])


@given(cases(), st.integers(0, 10))
def test_expert_choice_equals_the_loop_over_experts(case: Case, capacity: int) -> None:
    routing = expert_choice(torch.from_numpy(case.logits_TE), capacity)
    probs = [slow_probabilities(logits) for logits in case.logits_TE.tolist()]
    for expert in range(case.num_experts):
        tokens = slow_tokens([row[expert] for row in probs], capacity)
        assert routing.map_TE[:, expert].nonzero().flatten().tolist() == tokens
        expected = [probs[token][expert] if token in tokens else 0.0 for token in range(len(probs))]
        assert routing.weights_TE[:, expert].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-30)
    assert not routing.dropped_TE.any()


@given(cases(least_tokens=1), st.integers(0, 10), st.integers(1, 4))
def test_every_expert_takes_its_capacity_in_every_sequence(case: Case, capacity: int, sequences: int) -> None:
    length = len(case.logits_TE)
    logits_TE = torch.from_numpy(case.logits_TE).repeat(sequences, 1)
    routing = expert_choice(logits_TE, capacity, sequence_length=length)
    taken_GE = routing.map_TE.view(sequences, length, case.num_experts).sum(1)
    assert (taken_GE == min(capacity, length)).all()


def test_sequences_are_routed_by_themselves() -> None:
    logits_TE = random_logits(24, 5)
    routing = expert_choice(logits_TE, 2, sequence_length=8)
    for start in range(0, 24, 8):
        alone = expert_choice(logits_TE[start : start + 8], 2)
        assert routing.map_TE[start : start + 8].equal(alone.map_TE)
    assert not routing.map_TE.equal(expert_choice(logits_TE, 6).map_TE)


@given(cases(), st.integers(0, 10))
def test_choices_are_listed_best_first_and_missing_ones_are_minus_one(case: Case, capacity: int) -> None:
    routing = expert_choice(torch.from_numpy(case.logits_TE), capacity)
    most = max([1, *routing.map_TE.sum(1).tolist()])
    assert routing.index_TK.shape == (len(case.logits_TE), most)
    for token, logits in enumerate(case.logits_TE.tolist()):
        chosen = routing.map_TE[token].nonzero().flatten().tolist()
        expected = sorted(chosen, key=lambda expert: -logits[expert]) + [-1] * (most - len(chosen))
        assert routing.index_TK[token].tolist() == expected


@given(cases(least_tokens=1, elements=st.floats(-8, 8, width=32)), st.integers(1, 9))
def test_the_gradient_is_that_of_the_chosen_probabilities(case: Case, capacity: int) -> None:
    logits_TE = torch.from_numpy(case.logits_TE).requires_grad_()
    pull_TE = random_logits(*logits_TE.shape)
    routing = expert_choice(logits_TE, capacity)
    (ours_TE,) = torch.autograd.grad((routing.weights_TE * pull_TE).sum(), logits_TE)
    (loop_TE,) = torch.autograd.grad((logits_TE.softmax(-1) * routing.map_TE * pull_TE).sum(), logits_TE)
    torch.testing.assert_close(ours_TE, loop_TE)


def test_equal_probabilities_go_to_the_lowest_token_index() -> None:
    # the same three logits in another order: equal on paper, and their float32 softmaxes differ in the last digit
    rows = [[0.3, 0.1, 0.2], [0.3, 0.2, 0.1]]
    routing = expert_choice(torch.tensor(rows * 50), 7)
    assert routing.map_TE[:, 0].nonzero().flatten().tolist() == list(range(7))
    assert expert_choice(torch.zeros(100, 3), 2).map_TE.any(1).nonzero().flatten().tolist() == [0, 1]


def test_a_later_token_takes_an_earlier_one_s_place_so_the_choice_is_not_causal() -> None:
    logits_TE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.0]])
    before = expert_choice(logits_TE, 1)
    logits_TE[2, 0] = 9.0
    assert before.map_TE.tolist() == [[True, False], [False, True], [False, False]]
    assert expert_choice(logits_TE, 1).map_TE.tolist() == [[False, False], [False, True], [True, False]]


def test_nonsense_is_refused_with_its_numbers() -> None:
    with pytest.raises(ValueError, match="capacity=-1 must not be negative"):
        expert_choice(torch.zeros(4, 2), -1)
    for length in (3, 0, -2):
        with pytest.raises(ValueError, match=f"4 tokens cannot be cut into equal groups of {length}"):
            expert_choice(torch.zeros(4, 2), 1, sequence_length=length)
