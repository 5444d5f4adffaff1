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


SHARES = st.lists(st.integers(0, 5), min_size=1, max_size=3).filter(any)


@given(st.integers(0, 5), SHARES, st.integers(0, 6))
def test_multinomial_overflow_equals_counting_all_outcomes(tokens: int, parts: list[int], slots: int) -> None:
    expected = [Fraction(0)] * (tokens + 1)
    for choices in itertools.product(range(len(parts)), repeat=tokens):
        dropped = sum(max(choices.count(expert) - slots, 0) for expert in range(len(parts)))
        expected[dropped] += math.prod(Fraction(parts[choice], sum(parts)) for choice in choices)
    found = lite.multinomial_overflow(tokens, np.array(parts) / sum(parts), slots)
    assert found.tolist() == pytest.approx([float(chance) for chance in expected], rel=1e-11, abs=0)


@given(st.integers(0, 60), SHARES | st.lists(st.integers(0, 5), min_size=4, max_size=9).filter(any), st.integers(0, 30))
def test_the_mean_of_multinomial_overflow_is_the_sum_of_binomial_ones(
    tokens: int, parts: list[int], slots: int
) -> None:
    shares_E = np.array(parts) / sum(parts)
    chances = lite.multinomial_overflow(tokens, shares_E, slots)
    assert chances.sum() == pytest.approx(1, rel=1e-10)
    assert (chances >= 0).all()
    mean = chances @ np.arange(tokens + 1)
    assert lite.mean_overflow(tokens, shares_E, slots) == pytest.approx(mean, rel=1e-8, abs=1e-12)
    binomial = sum(lite.binomial_overflow(tokens, float(share), slots) for share in shares_E)
    assert lite.mean_overflow(tokens, shares_E, slots) == pytest.approx(binomial, rel=1e-12, abs=1e-14)


def test_multinomial_overflow_is_what_routing_at_random_drops_in_all() -> None:
    shares_E, rounds, tokens, slots = np.array([0.4, 0.2, 0.2, 0.1, 0.1]), 4_000, 40, 10
    noise = np.random.default_rng(0).gumbel(size=(rounds * tokens, 5))
    routing = lite.with_capacity(lite.softmax_top_k(np.log(shares_E) + noise, 1), slots, group_size=tokens)
    drops = routing.dropped_TE.reshape(rounds, -1).sum(1)
    chances = lite.multinomial_overflow(tokens, shares_E, slots)
    spread = np.sqrt(chances * (1 - chances) / rounds)
    assert (np.abs(np.bincount(drops, minlength=tokens + 1) / rounds - chances) <= 5 * spread + 1e-3).all()
    # the loads hang together: their sum spreads differently than if each expert dropped by itself
    variance = chances @ np.arange(tokens + 1) ** 2 - (chances @ np.arange(tokens + 1)) ** 2
    assert drops.var() == pytest.approx(variance, rel=0.1)


def test_multinomial_overflow_keeps_chances_far_below_rounding() -> None:
    shares_E = [1 - 3e-9, 1e-9, 2e-9]
    chances = lite.multinomial_overflow(30, shares_E, 29)
    assert chances[1] == pytest.approx((1 - 3e-9) ** 30)
    rare = lite.multinomial_overflow(20, [0.5, 1e-9, 0.5 - 1e-9], 10)
    assert rare[10] == pytest.approx(2 * 0.5**20, rel=1e-7)
    tiny = lite.multinomial_overflow(20, [1e-9, 1 - 1e-9], 19)
    assert tiny[1] == pytest.approx((1 - 1e-9) ** 20, rel=1e-9)
    both = lite.multinomial_overflow(4, [1e-9, 1 - 1e-9], 2)
    assert both[0] == pytest.approx(6 * 1e-18, rel=1e-6)  # two tokens each: nobody is dropped


def test_multinomial_overflow_drops_all_without_slots_and_none_with_enough() -> None:
    assert lite.multinomial_overflow(5, [0.5, 0.5], 0).tolist() == pytest.approx([0, 0, 0, 0, 0, 1])
    assert lite.multinomial_overflow(5, [0.5, 0.5], 5).tolist() == pytest.approx([1, 0, 0, 0, 0, 0])
    assert lite.multinomial_overflow(0, [1.0], 0).tolist() == [1]


@pytest.mark.parametrize("shares", [[0.5, 0.6], [1.5, -0.5], [math.nan, 1.0], [[1.0]], [0.0, 0.0]])
def test_shares_that_are_none_are_refused(shares: list[float]) -> None:
    for overflow in (lite.mean_overflow, lite.multinomial_overflow):
        with pytest.raises(ValueError, match="shares must be a row of numbers, at least 0, that sum to 1"):
            overflow(5, shares, 2)


def test_fewer_than_no_tokens_or_slots_are_refused() -> None:
    for tokens, slots in ((-1, 2), (5, -1)):
        for overflow in (lite.mean_overflow, lite.multinomial_overflow):
            with pytest.raises(ValueError, match=f"num_tokens={tokens} and capacity={slots} must not be negative"):
                overflow(tokens, [0.5, 0.5], slots)
