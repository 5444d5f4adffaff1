"""The best even choice against all of them, one by one."""

import itertools
import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs.engine import balanced_choice
from tests.drawing import random_logits
from tests.strategies import Case, cases


def is_even(choice: tuple[int, ...], num_experts: int) -> bool:
    loads = [choice.count(expert) for expert in range(num_experts)]
    return max(loads) - min(loads) <= 1


def total(scores: list[list[float]], choice: tuple[int, ...]) -> float:
    return math.fsum(row[expert] for row, expert in zip(scores, choice, strict=True))


@given(st.data(), st.integers(1, 4))
def test_no_even_choice_scores_more(data: st.DataObject, num_experts: int) -> None:
    num_tokens = data.draw(st.integers(0, {1: 6, 2: 6, 3: 6, 4: 5}[num_experts]))
    score = st.integers(-3, 3).map(float) | st.floats(-8, 8) | st.sampled_from([1e4, 3e38, -3e38])
    row = st.lists(score, min_size=num_experts, max_size=num_experts)
    scores = data.draw(st.lists(row, min_size=num_tokens, max_size=num_tokens))
    scores_TE = torch.tensor(scores, dtype=torch.float64).view(num_tokens, num_experts)
    found = tuple(balanced_choice(scores_TE).tolist())
    every = itertools.product(range(num_experts), repeat=num_tokens)
    best = max(total(scores, choice) for choice in every if is_even(choice, num_experts))
    size = max((abs(number) for row in scores for number in row), default=0.0)
    assert is_even(found, num_experts)
    assert total(scores, found) >= best - 1e-9 * num_tokens * size


@given(cases())
def test_loads_differ_by_at_most_one(case: Case) -> None:
    choice_T = balanced_choice(torch.from_numpy(case.logits_TE))
    load_E = choice_T.bincount(minlength=case.num_experts)
    assert load_E.sum() == len(case.logits_TE)
    assert load_E.max() - load_E.min() <= 1


@given(cases(elements=st.integers(-9, 9).map(float)), st.integers(1, 3))
def test_liking_one_expert_more_for_every_token_changes_no_sum_of_full_loads(case: Case, each: int) -> None:
    num_tokens = each * case.num_experts
    scores_TE = random_logits(num_tokens, case.num_experts, seed=len(case.logits_TE)).double()
    shift_E = torch.zeros(case.num_experts, dtype=torch.float64)
    shift_E[: len(case.logits_TE)] = 40.0
    sums = [
        scores_TE.gather(1, balanced_choice(table_TE)[:, None]).sum() for table_TE in (scores_TE, scores_TE + shift_E)
    ]
    torch.testing.assert_close(sums[0], sums[1])


def test_where_the_highest_scores_are_even_already_nobody_moves() -> None:
    scores_TE = torch.eye(6).repeat(5, 1) + random_logits(30, 6) / 10
    assert balanced_choice(scores_TE).equal(scores_TE.argmax(1))


def test_more_experts_than_tokens_leave_some_idle() -> None:
    assert balanced_choice(torch.zeros(2, 5)).bincount(minlength=5).tolist().count(1) == 2


def test_tokens_move_along_a_chain_of_experts_where_that_loses_least() -> None:
    # both tokens want expert 0; the second would rather push a third from 1 to 2 than go to 2 itself
    scores_TE = torch.tensor([[9.0, 0.0, 0.0], [9.0, 8.0, 0.0], [0.0, 5.0, 4.0]])
    assert balanced_choice(scores_TE).tolist() == [0, 1, 2]


def test_an_expert_with_one_more_gives_it_up_where_others_would_have_too_few() -> None:
    # loads of 2, 2, 0 keep within ceil(4 / 3), yet are not even
    scores_TE = torch.tensor([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 9.0, 8.0]])
    assert balanced_choice(scores_TE).tolist() == [0, 0, 1, 2]


def test_no_argument_is_changed_and_no_gradient_asked_for() -> None:
    scores_TE = random_logits(20, 4).requires_grad_()
    before_TE = scores_TE.detach().clone()
    assert not balanced_choice(scores_TE).requires_grad
    assert scores_TE.equal(before_TE)
