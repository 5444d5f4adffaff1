"""The NumPy twin against torch, and the exact chances against counting and drawing."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import binom

from moedocs import engine, lite
from moedocs.config import RoutingConfig
from tests.strategies import Case, cases

FIELDS = ("logits_TE", "probs_TE", "map_TE", "weights_TE", "index_TK", "dropped_TE")
EXACT = ("logits_TE", "map_TE", "index_TK", "dropped_TE")


def assert_same(torch_routing: engine.Routing, numpy_routing: lite.Routing) -> None:
    for field in FIELDS:
        expected, found = getattr(torch_routing, field).numpy(), getattr(numpy_routing, field)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        rtol, atol = (0, 0) if field in EXACT else (1e-5, 1e-30)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=field)


@given(cases(), st.integers(0, 10))
def test_routing_and_capacity_equal_torch(case: Case, slots: int) -> None:
    theirs = engine.softmax_top_k(torch.from_numpy(case.logits_TE), case.config)
    ours = lite.softmax_top_k(case.logits_TE, case.config)
    assert_same(theirs, ours)
    assert_same(engine.with_capacity(theirs, slots), lite.with_capacity(ours, slots))


@given(cases(), st.data())
def test_biased_routing_equals_torch_where_rounding_does_not_decide(case: Case, data: st.DataObject) -> None:
    size = case.config.num_experts
    bias_E = np.array(data.draw(st.lists(st.floats(-1, 1), min_size=size, max_size=size)), np.float32)
    theirs = engine.softmax_top_k(torch.from_numpy(case.logits_TE), case.config, bias_E=torch.from_numpy(bias_E))
    scores_TE = np.sort(theirs.probs_TE.numpy() + bias_E)
    assume(size == 1 or not len(scores_TE) or np.diff(scores_TE).min() > 1e-6)
    assert_same(theirs, lite.softmax_top_k(case.logits_TE, case.config, bias_E=bias_E))


@given(cases(least_tokens=1), st.floats(0, 1))
def test_load_loss_and_bias_rule_equal_torch(case: Case, rate: float) -> None:
    theirs = engine.softmax_top_k(torch.from_numpy(case.logits_TE), case.config)
    ours = lite.softmax_top_k(case.logits_TE, case.config)
    counts_E = engine.load(theirs)
    assert lite.load(ours).tolist() == counts_E.tolist()
    assert lite.auxiliary_loss(ours) == pytest.approx(engine.auxiliary_loss(theirs).item(), rel=1e-5, abs=1e-30)
    bias_E = torch.zeros(case.config.num_experts, dtype=torch.float64)
    moved = engine.updated_bias(bias_E, counts_E, rate)
    assert lite.updated_bias(bias_E.numpy(), counts_E.numpy(), rate).tolist() == moved.tolist()


def test_plain_lists_will_do() -> None:
    config = RoutingConfig(num_experts=3, top_k=2)
    routing = lite.softmax_top_k([[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]], config)
    assert routing.index_TK.tolist() == [[0, 1], [2, 1]]
    assert lite.load(routing).tolist() == [1, 2, 1]


@pytest.mark.parametrize("room", [engine, lite])
def test_both_twins_refuse_the_same_nonsense_in_the_same_words(room: object) -> None:
    make = torch.tensor if room is engine else np.array
    route, config = getattr(room, "softmax_top_k"), RoutingConfig(num_experts=2, top_k=1)  # noqa: B009
    with pytest.raises(ValueError, match=r"router logits of shape \(1, 3\) do not fit num_experts=2"):
        route(make([[0.0, 0.0, 0.0]]), config)
    with pytest.raises(ValueError, match="router logit of token 1 for expert 0 is nan, not a finite number"):
        route(make([[0.0, 0.0], [math.nan, 0.0]]), config)
    with pytest.raises(ValueError, match=r"bias of shape \(3,\) does not fit num_experts=2"):
        route(make([[0.0, 0.0]]), config, bias_E=make([0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="capacity=-1 must not be negative"):
        getattr(room, "with_capacity")(route(make([[0.0, 0.0]]), config), -1)  # noqa: B009
    with pytest.raises(ValueError, match="auxiliary loss of 0 tokens"):
        getattr(room, "auxiliary_loss")(route(make(np.zeros((0, 2)).tolist()).reshape(0, 2), config))  # noqa: B009


def test_no_argument_is_changed() -> None:
    logits_TE, bias_E, counts_E = np.zeros((4, 3), np.float32), np.zeros(3, np.float32), np.array([1, 2, 3])
    routing = lite.softmax_top_k(logits_TE, RoutingConfig(num_experts=3, top_k=2), bias_E=bias_E)
    before = {field: getattr(routing, field).copy() for field in FIELDS}
    lite.with_capacity(routing, 1)
    lite.updated_bias(bias_E, counts_E, 0.1)
    assert not logits_TE.any()
    assert not bias_E.any()
    assert counts_E.tolist() == [1, 2, 3]
    assert all(np.array_equal(getattr(routing, field), kept) for field, kept in before.items())


@given(st.integers(0, 3000), st.integers(0, 1000).map(lambda n: n / 1000), st.floats(0, 1.2))
def test_binomial_overflow_equals_the_sum_over_scipy_s_probabilities(tokens: int, chance: float, room: float) -> None:
    slots = int(room * tokens)
    counts = np.arange(tokens + 1)
    expected = (binom.pmf(counts, tokens, chance) * np.maximum(counts - slots, 0)).sum()
    assert lite.binomial_overflow(tokens, chance, slots) == pytest.approx(expected, rel=1e-7, abs=1e-12)


@given(st.integers(0, 12), st.integers(0, 8), st.integers(0, 13))
def test_binomial_overflow_equals_the_sum_in_fractions(tokens: int, eighths: int, slots: int) -> None:
    chance = Fraction(eighths, 8)
    expected = sum(
        math.comb(tokens, count) * chance**count * (1 - chance) ** (tokens - count) * max(count - slots, 0)
        for count in range(tokens + 1)
    )
    assert lite.binomial_overflow(tokens, eighths / 8, slots) == pytest.approx(float(expected), rel=1e-12, abs=1e-14)


def test_binomial_overflow_is_what_routing_at_random_drops_on_average() -> None:
    config = RoutingConfig(num_experts=8, top_k=2, capacity_factor=1.1)
    slots, draws = lite.capacity(200, config), np.random.default_rng(0)
    dropped = [
        lite.with_capacity(lite.softmax_top_k(draws.gumbel(size=(200, 8)), config), slots).dropped_TE.sum()
        for _ in range(1000)
    ]
    # given a uniform router an expert is among 2 of 8 with chance 1/4; five standard errors
    expected = 8 * lite.binomial_overflow(200, 2 / 8, slots)
    assert np.mean(dropped) == pytest.approx(expected, abs=5 * np.std(dropped) / math.sqrt(1000))


@pytest.mark.parametrize("nonsense", [(-1, 0.5, 0), (1, -0.1, 0), (1, 1.1, 0), (1, math.nan, 0), (1, 0.5, -1)])
def test_binomial_overflow_refuses_nonsense(nonsense: tuple[int, float, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        lite.binomial_overflow(*nonsense)


def slow_inclusion(weights: list[Fraction], top_k: int) -> list[Fraction]:
    """Over all orders in which K experts can be drawn."""
    chance = [Fraction(0)] * len(weights)
    for drawn in itertools.permutations(range(len(weights)), top_k):
        likely, left = Fraction(1), sum(weights, Fraction(0))
        for expert in drawn:
            likely, left = likely * weights[expert] / left if left else Fraction(0), left - weights[expert]
        for expert in drawn:
            chance[expert] += likely
    return chance


@given(st.lists(st.integers(1, 1000).map(lambda n: Fraction(n, 8)), min_size=1, max_size=6), st.data())
def test_inclusion_probability_equals_the_sum_over_all_orders(weights: list[Fraction], data: st.DataObject) -> None:
    top_k = data.draw(st.integers(1, len(weights)))
    found = lite.inclusion_probability([float(weight) for weight in weights], top_k)
    assert found.tolist() == pytest.approx([float(chance) for chance in slow_inclusion(weights, top_k)], rel=1e-11)


@given(st.lists(st.floats(-200, 200), min_size=1, max_size=30), st.data())
def test_inclusion_probabilities_sum_to_k_and_keep_the_order_of_the_weights(
    logs: list[float], data: st.DataObject
) -> None:
    top_k = data.draw(st.integers(1, min(4, len(logs))))
    found = lite.inclusion_probability(np.exp(logs), top_k)
    assert found.sum() == pytest.approx(top_k, rel=1e-9)
    assert (found <= 1 + 1e-9).all()
    assert (np.diff(found[np.argsort(logs)]) >= -1e-9).all()


def test_inclusion_probability_is_how_often_gumbel_top_k_chooses_an_expert() -> None:
    weights_E, rounds = np.exp(-0.5 * np.arange(8)), 20_000
    noise = np.random.default_rng(0).gumbel(size=(rounds, 8))
    counts_E = lite.load(lite.softmax_top_k(np.log(weights_E) + noise, RoutingConfig(num_experts=8, top_k=3)))
    expected_E = lite.inclusion_probability(weights_E, 3)
    spread_E = np.sqrt(expected_E * (1 - expected_E) / rounds)
    assert (np.abs(counts_E / rounds - expected_E) < 5 * spread_E).all()
    assert not np.allclose(expected_E, 3 * weights_E / weights_E.sum(), rtol=0.1)


def test_an_expert_without_weight_is_never_drawn_and_too_few_with_weight_are_refused() -> None:
    assert lite.inclusion_probability([1.0, 0.0, 3.0], 2).tolist() == pytest.approx([1, 0, 1])
    with pytest.raises(ValueError, match=r"top_k=3 must lie in 1\.\.2"):
        lite.inclusion_probability([1.0, 0.0, 3.0], 3)
    with pytest.raises(ValueError, match="at least 0"):
        lite.inclusion_probability([1.0, -1.0], 1)
