"""Capacity against the loop that fills slots."""

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moedocs.config.routing import CapacityOrder
from moedocs.engine import Routing, load, softmax_top_k, with_capacity
from tests.drawing import random_logits
from tests.gaps import Grouped, grouped
from tests.strategies import Case, cases

few = settings(max_examples=50)

ORDERS: tuple[CapacityOrder, ...] = get_args(CapacityOrder)
FIXED = st.sampled_from([order for order in ORDERS if order != "random"])


def queue(routing: Routing, tokens: list[int], order: CapacityOrder) -> list[tuple[int, int]]:
    """The (token, expert) pairs of a group as they are served."""
    choices = [[expert for expert in row if expert >= 0] for row in routing.index_TK.tolist()]
    if order == "probability":
        pairs = [(token, expert) for token in tokens for expert in choices[token]]
        return sorted(pairs, key=lambda pair: -routing.weights_TE[pair].item())
    if order == "batch-prioritized":
        tokens = sorted(tokens, key=lambda token: -routing.probs_TE[token].max().item())
    index_TK = routing.index_TK.tolist()
    ranks = range(routing.index_TK.shape[1])
    return [(token, index_TK[token][rank]) for rank in ranks for token in tokens if index_TK[token][rank] >= 0]


def slow_capacity(given: Grouped, slots: int, order: CapacityOrder) -> list[list[bool]]:
    kept = [[False] * row.numel() for row in given.routing.map_TE]
    for tokens in given.groups:
        free = [slots] * given.routing.map_TE.shape[1]
        for token, expert in queue(given.routing, tokens, order):
            kept[token][expert] = free[expert] > 0
            free[expert] -= 1
    return kept


@given(grouped(), st.integers(0, 10), FIXED)
def test_capacity_equals_the_loop_that_fills_slots(drawn: Grouped, slots: int, order: CapacityOrder) -> None:
    before = drawn.routing
    after = with_capacity(before, slots, order=order, group_size=drawn.group_size)
    assert after.map_TE.tolist() == slow_capacity(drawn, slots, order)
    assert after.dropped_TE.equal(before.map_TE & ~after.map_TE)
    assert after.chosen_TE.equal(before.map_TE)
    assert after.weights_TE.equal(before.weights_TE * after.map_TE)
    assert after.weights_TE.dtype == torch.float32
    assert after.index_TK.equal(before.index_TK)
    assert load(after).equal(load(before))


@few
@given(grouped(), st.integers(0, 10), FIXED)
def test_a_second_capacity_serves_what_the_first_one_left(drawn: Grouped, slots: int, order: CapacityOrder) -> None:
    def limited(routing: Routing, capacity: int) -> Routing:
        return with_capacity(routing, capacity, order=order, group_size=drawn.group_size)

    once = limited(drawn.routing, slots)
    for twice in (limited(limited(drawn.routing, slots + 2), slots), limited(once, slots + 2)):
        assert twice.map_TE.equal(once.map_TE)
        assert twice.dropped_TE.equal(once.dropped_TE)


@few
@given(grouped(), st.integers(0, 10), st.sampled_from(ORDERS))
def test_every_order_keeps_as_many_as_fit(drawn: Grouped, slots: int, order: CapacityOrder) -> None:
    after = with_capacity(
        drawn.routing, slots, order=order, group_size=drawn.group_size, generator=torch.Generator().manual_seed(0)
    )
    for tokens in drawn.groups:
        wanted_E, kept_E = drawn.routing.map_TE[tokens].sum(0), after.map_TE[tokens].sum(0)
        assert kept_E.tolist() == wanted_E.clamp(max=slots).tolist()


def test_first_choices_are_served_before_an_earlier_token_s_second_choice() -> None:
    logits_TE = torch.tensor([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    routing = with_capacity(softmax_top_k(logits_TE, 2), 1)
    assert routing.map_TE.tolist() == [[True, False, False], [False, True, True]]
    assert routing.dropped_TE.tolist() == [[False, True, False], [False, False, False]]


def test_by_probability_a_second_choice_of_more_weight_beats_a_first_choice() -> None:
    # token 0 names expert 1 second with weight 0.45, token 1 names it first with 0.4
    logits_TE = torch.tensor([[0.5, 0.45, 0.05], [0.35, 0.4, 0.25]]).log()
    routing = softmax_top_k(logits_TE, 2, renormalise=False)
    assert with_capacity(routing, 1).map_TE[:, 1].tolist() == [False, True]
    assert with_capacity(routing, 1, order="probability").map_TE[:, 1].tolist() == [True, False]


def test_batch_prioritized_serves_the_surest_token_first() -> None:
    routing = softmax_top_k(torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]]), 1)
    for slots, kept in ((1, [False, True, False]), (2, [False, True, True])):
        assert with_capacity(routing, slots, order="batch-prioritized").map_TE[:, 0].tolist() == kept
    # renormalised weights are all 1 here: it is the probabilities that are compared
    assert routing.weights_TE[:, 0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("order", ["order", "probability", "batch-prioritized"])
def test_equal_tokens_are_served_in_token_order(order: CapacityOrder) -> None:
    routing = with_capacity(softmax_top_k(torch.zeros(100, 4), 2), 30, order=order)
    assert routing.map_TE.nonzero().tolist() == [[token, expert] for token in range(30) for expert in (0, 1)]


@few
@given(cases(least_tokens=1), st.integers(0, 10), st.data())
def test_by_order_a_first_and_only_choice_does_not_depend_on_later_tokens(
    case: Case, slots: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(case.logits_TE)))
    logits_TE = torch.from_numpy(case.logits_TE)
    whole, start = (with_capacity(softmax_top_k(table_TE, 1), slots) for table_TE in (logits_TE, logits_TE[:cut]))
    assert whole.map_TE[:cut].equal(start.map_TE)


def test_at_random_equal_tokens_have_equal_chances() -> None:
    rounds, tokens, slots = 2_000, 10, 4
    routing = softmax_top_k(torch.zeros(rounds * tokens, 2), 1)
    generator = torch.Generator().manual_seed(0)
    after = with_capacity(routing, slots, order="random", group_size=tokens, generator=generator)
    kept_ST = after.map_TE[:, 0].view(rounds, tokens).double()
    spread = (slots / tokens * (1 - slots / tokens) / rounds) ** 0.5
    assert ((kept_ST.mean(0) - slots / tokens).abs() < 5 * spread).all()
    together = (kept_ST[:, 0] * kept_ST[:, 1]).mean().item()  # 4 / 10 * 3 / 9, as without replacement
    assert together == pytest.approx(4 / 10 * 3 / 9, abs=5 * (0.13 * 0.87 / rounds) ** 0.5)


def test_at_random_first_choices_still_go_before_second_ones() -> None:
    routing = softmax_top_k(random_logits(200, 4), 2)
    after = with_capacity(routing, 60, order="random", generator=torch.Generator().manual_seed(1))
    first_TE = torch.zeros_like(routing.map_TE).scatter(1, routing.index_TK[:, :1], True)
    second_TE = routing.map_TE & ~first_TE
    for expert in range(4):
        lost_first = (after.dropped_TE & first_TE)[:, expert].any()
        assert not (lost_first and (after.map_TE & second_TE)[:, expert].any())
    assert after.dropped_TE.any()


def test_at_random_is_the_generator_s_choice_alone() -> None:
    routing, state = softmax_top_k(random_logits(200, 4), 2), torch.get_rng_state()
    maps = [
        with_capacity(routing, 60, order="random", generator=torch.Generator().manual_seed(seed)).map_TE
        for seed in (0, 0, 1)
    ]
    assert maps[0].equal(maps[1])
    assert not maps[0].equal(maps[2])
    assert not maps[0].equal(with_capacity(routing, 60).map_TE)
    assert torch.get_rng_state().equal(state)


def test_what_is_dropped_sends_no_gradient_and_what_is_kept_all_of_its_own() -> None:
    logits_TE = random_logits(40, 4).requires_grad_()
    pull_TE = random_logits(40, 4, seed=1)
    before = softmax_top_k(logits_TE, 2)
    after = with_capacity(before, 15)
    (found_TE,) = torch.autograd.grad((after.weights_TE * pull_TE).sum(), logits_TE, retain_graph=True)
    (expected_TE,) = torch.autograd.grad((before.weights_TE * pull_TE * after.map_TE).sum(), logits_TE)
    assert after.dropped_TE.any()
    torch.testing.assert_close(found_TE, expected_TE)
    assert not found_TE[~after.map_TE.any(1)].any()


@pytest.mark.parametrize("order", ORDERS)
def test_capacity_drops_everything_at_0_and_nothing_at_the_number_of_tokens(order: CapacityOrder) -> None:
    routing, generator = softmax_top_k(random_logits(20, 8), 2), torch.Generator()
    assert with_capacity(routing, 0, order=order, generator=generator).dropped_TE.equal(routing.map_TE)
    assert not with_capacity(routing, 0, order=order, generator=generator).weights_TE.any()
    assert with_capacity(routing, 20, order=order, generator=generator).weights_TE.equal(routing.weights_TE)


def test_nonsense_is_refused_with_its_numbers() -> None:
    routing = softmax_top_k(random_logits(20, 8), 2)
    with pytest.raises(ValueError, match="capacity=-1 must not be negative"):
        with_capacity(routing, -1)
    for size in (-1, 0, 7, 21):
        with pytest.raises(ValueError, match=f"20 tokens cannot be cut into equal groups of {size}"):
            with_capacity(routing, 1, group_size=size)
    with pytest.raises(ValueError, match="order='random' needs a generator"):
        with_capacity(routing, 1, order="random")
    with pytest.raises(ValueError, match="order='fair' must be one of order, probability, random, batch-prioritized"):
        with_capacity(routing, 1, order="fair")  # type: ignore[arg-type]


def test_the_record_before_is_left_as_it_was() -> None:
    before = softmax_top_k(random_logits(20, 8), 2)
    copies = [table.clone() for table in (before.map_TE, before.weights_TE, before.probs_TE, before.index_TK)]
    for order in ORDERS:
        with_capacity(before, 1, order=order, generator=torch.Generator())
    now = (before.map_TE, before.weights_TE, before.probs_TE, before.index_TK)
    assert all(table.equal(copy) for table, copy in zip(now, copies, strict=True))
    assert not before.dropped_TE.any()
