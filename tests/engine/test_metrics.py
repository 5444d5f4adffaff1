"""The metrics of load, router and capacity against scipy, and against counting."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, variation

from moedocs.engine import (
    coefficient_of_variation,
    dead_experts,
    dropped_share,
    load,
    load_entropy,
    load_imbalance,
    load_share,
    padded_share,
    router_entropy,
    softmax_top_k,
    unserved_share,
    with_capacity,
)
from tests.drawing import random_logits
from tests.strategies import Case, cases

LOADS = st.lists(st.integers(0, 1000), min_size=1, max_size=9).filter(any)
OF_A_LOAD = [load_share, coefficient_of_variation, load_imbalance, load_entropy]
OF_A_ROUTING = [router_entropy, dropped_share, unserved_share]


@given(LOADS)
def test_the_measures_of_a_load_equal_scipy_s_and_counting(counts: list[int]) -> None:
    load_E = torch.tensor(counts)
    assert load_share(load_E).tolist() == pytest.approx([count / sum(counts) for count in counts])
    assert coefficient_of_variation(load_E).item() == pytest.approx(variation(counts), abs=1e-12)
    assert load_imbalance(load_E).item() == pytest.approx(max(counts) / (sum(counts) / len(counts)))
    if len(counts) > 1:
        assert load_entropy(load_E).item() == pytest.approx(entropy(counts, base=len(counts)), abs=1e-12)
    assert dead_experts(load_E).item() == counts.count(0)


@pytest.mark.parametrize("experts", [2, 8, 64])
def test_perfect_balance_and_collapse_give_the_ends_that_the_docstrings_state(experts: int) -> None:
    even_E, collapsed_E = torch.full((experts,), 5), torch.eye(experts)[1] * 7
    for measure, balanced, collapsed in [
        (coefficient_of_variation, 0.0, math.sqrt(experts - 1)),
        (load_imbalance, 1.0, experts),
        (load_entropy, 1.0, 0.0),
        (dead_experts, 0, experts - 1),
    ]:
        assert measure(even_E).item() == pytest.approx(balanced, abs=1e-12)
        assert measure(collapsed_E).item() == pytest.approx(collapsed, abs=1e-12)


def test_one_expert_is_balanced_by_every_measure() -> None:
    load_E = torch.tensor([3])
    assert [measure(load_E).item() for measure in OF_A_LOAD] == [1.0, 0.0, 1.0, 1.0]


def test_experts_that_no_token_chose_are_dead_even_if_all_are() -> None:
    assert dead_experts(torch.zeros(4)) == 4


@pytest.mark.parametrize("nonsense", [[-1.0, 2.0], [math.nan, 1.0], [math.inf, 1.0], [[1.0, 2.0]], []])
def test_what_is_no_load_is_refused(nonsense: list[float]) -> None:
    for measure in (*OF_A_LOAD, dead_experts):
        with pytest.raises(ValueError, match=r"a load must be one count, at least 0, per expert, not \["):
            measure(torch.tensor(nonsense))


def test_a_load_of_nothing_has_no_shares() -> None:
    for measure in OF_A_LOAD:
        with pytest.raises(ValueError, match="0 assignments to 3 experts have no shares"):
            measure(torch.zeros(3))


@given(cases(least_tokens=1))
def test_router_entropy_is_the_mean_of_scipy_s_over_tokens(case: Case) -> None:
    routing = softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k)
    expected = entropy(routing.probs_TE.double().numpy(), axis=1).mean()
    assert router_entropy(routing).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_router_entropy_is_log_e_where_the_router_is_undecided_and_its_gradient_is_finite_where_it_is_sure() -> None:
    assert router_entropy(softmax_top_k(torch.zeros(5, 8), 2)).item() == pytest.approx(math.log(8))
    logits_TE = torch.tensor([[3e38, 0.0, -3e38], [0.0, 1.0, 2.0]]).requires_grad_()
    (gradient_TE,) = torch.autograd.grad(router_entropy(softmax_top_k(logits_TE, 2)), logits_TE)
    assert gradient_TE[0].tolist() == [0.0, 0.0, 0.0]
    assert gradient_TE[1].isfinite().all()
    assert gradient_TE[1].any()


@given(cases(least_tokens=1), st.integers(0, 10))
def test_dropped_unserved_and_padded_shares_equal_counting(case: Case, slots: int) -> None:
    tokens, experts = case.logits_TE.shape
    routing = with_capacity(softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k), slots)
    kept = routing.map_TE.tolist()
    assignments = tokens * case.top_k
    assert dropped_share(routing).item() == pytest.approx((assignments - sum(map(sum, kept))) / assignments)
    assert unserved_share(routing).item() == pytest.approx(sum(not any(row) for row in kept) / tokens)
    if slots:
        empty = sum(slots - sum(row[expert] for row in kept) for expert in range(experts))
        assert padded_share(routing, slots).item() == pytest.approx(empty / (slots * experts))


def test_dropping_half_of_all_second_choices_leaves_no_token_unserved() -> None:
    # all want expert 0 second: two of four find a slot there, and all have their first
    logits_TE = torch.tensor([[1.0, 2.0, 0.0], [1.0, 0.0, 2.0], [1.0, 2.0, 0.0], [1.0, 0.0, 2.0]])
    routing = with_capacity(softmax_top_k(logits_TE, 2), 2)
    assert load(routing).tolist() == [4, 2, 2]
    assert dropped_share(routing) == 2 / 8
    assert unserved_share(routing) == 0
    assert padded_share(routing, 2) == 0
    assert padded_share(routing, 3) == 3 / 9


def test_each_group_has_slots_of_its_own() -> None:
    routing = softmax_top_k(torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 0.0]]), 1)
    assert padded_share(routing, 2, group_size=2) == 4 / 8
    assert padded_share(routing, 3) == 2 / 6
    with pytest.raises(ValueError, match="holds 2 tokens of a group: more than capacity=1"):
        padded_share(routing, 1, group_size=2)


def test_shares_of_nothing_are_refused() -> None:
    nothing = softmax_top_k(torch.zeros(0, 3), 1)
    for measure in OF_A_ROUTING:
        with pytest.raises(ValueError, match=r"of 0 \w+ is not defined"):
            measure(nothing)
    routing = softmax_top_k(random_logits(6, 3), 1)
    for slots, group_size in [(0, 6), (-1, 6), (9, 4), (9, 0)]:
        with pytest.raises(ValueError, match=f"capacity={slots} for groups of {group_size} of 6 tokens leaves"):
            padded_share(routing, slots, group_size=group_size)
    with pytest.raises(ValueError, match="capacity=1 for groups of 0 of 0 tokens"):
        padded_share(nothing, 1)
