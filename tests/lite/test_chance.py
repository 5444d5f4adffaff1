"""The exact chances against counting and drawing."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from moedocs import lite
from moedocs.config import RoutingConfig


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
        lite.with_capacity(lite.softmax_top_k(draws.gumbel(size=(200, 8)), 2), slots).dropped_TE.sum()
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
    counts_E = lite.load(lite.softmax_top_k(np.log(weights_E) + noise, 3))
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
