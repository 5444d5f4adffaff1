"""Capacity against the loop that fills slots."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs.engine import Routing, load, softmax_top_k, with_capacity
from tests.drawing import random_logits
from tests.strategies import Case, cases


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
    before = softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise)
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
    routing = with_capacity(softmax_top_k(logits_TE, 2), 1)
    assert routing.map_TE.tolist() == [[True, False, False], [False, True, True]]
    assert routing.dropped_TE.tolist() == [[False, True, False], [False, False, False]]


def test_capacity_drops_everything_at_0_and_nothing_at_the_number_of_tokens() -> None:
    routing = softmax_top_k(random_logits(20, 8), 2)
    assert with_capacity(routing, 0).dropped_TE.equal(routing.map_TE)
    assert not with_capacity(routing, 0).weights_TE.any()
    assert with_capacity(routing, 20).weights_TE.equal(routing.weights_TE)
    with pytest.raises(ValueError, match="capacity=-1"):
        with_capacity(routing, -1)


def test_the_record_before_is_left_as_it_was() -> None:
    before = softmax_top_k(random_logits(20, 8), 2)
    copy_TE = before.map_TE.clone()
    with_capacity(before, 1)
    assert before.map_TE.equal(copy_TE)
    assert not before.dropped_TE.any()
