"""Fits find what synthetic losses were made of, and the verdict follows its rule."""

import math

import numpy as np
import pytest
from scipy import stats

from moedocs.lab.fits import PowerLaw, difference, fit, power_law

COMPUTE_N = 1e11 * 2.0 ** np.arange(5)
LAW = PowerLaw(floor=1.2, scale=0.8, exponent=0.3, reference=math.exp(np.log(COMPUTE_N).mean()))
TRIALS = 100
NO_FLOOR = PowerLaw(floor=0.0, scale=2.1, exponent=0.11, reference=LAW.reference)


@pytest.mark.parametrize(("law", "floor"), [(LAW, True), (NO_FLOOR, False), (NO_FLOOR, True)])
def test_a_fit_finds_the_law_that_losses_without_noise_follow(law: PowerLaw, floor: bool) -> None:
    found = power_law(COMPUTE_N, law.at(COMPUTE_N), floor=floor)
    assert (found.scale, found.exponent) == pytest.approx((law.scale, law.exponent), rel=1e-3)
    assert found.floor == pytest.approx(law.floor, abs=1e-3)
    assert found.at(COMPUTE_N) == pytest.approx(law.at(COMPUTE_N), abs=1e-6)


def test_a_fit_beats_every_law_near_it() -> None:
    losses_N = LAW.at(COMPUTE_N) + np.random.default_rng(0).normal(0, 0.02, 5)
    found = power_law(COMPUTE_N, losses_N, floor=True)
    least = np.square(found.at(COMPUTE_N) - losses_N).sum()
    for change in (0.97, 1.03):
        for name in ("floor", "scale", "exponent"):
            other = PowerLaw(**{**vars(found), name: getattr(found, name) * change})
            assert np.square(other.at(COMPUTE_N) - losses_N).sum() > least


def test_a_floor_that_would_be_negative_is_zero() -> None:
    losses_N = 3.0 - 0.2 * np.arange(5) - 0.05 * np.arange(5) ** 2
    assert power_law(COMPUTE_N, losses_N, floor=True).floor == 0.0


def test_the_errors_are_those_that_the_numbers_really_have() -> None:
    rng = np.random.default_rng(1)
    trials = [fit(COMPUTE_N, NO_FLOOR.at(COMPUTE_N) + rng.normal(0, 0.02, (3, 5)), floor=False) for _ in range(TRIALS)]
    exponents, scales = np.array([(one.law.exponent, one.law.scale) for one in trials]).T
    claimed_exponent = math.sqrt(np.mean([one.exponent_error**2 for one in trials]))
    claimed_scale = math.sqrt(np.mean([one.scale_error**2 for one in trials]))
    assert claimed_exponent == pytest.approx(exponents.std(), rel=0.25)
    assert claimed_scale == pytest.approx(scales.std(), rel=0.25)
    assert exponents.mean() == pytest.approx(NO_FLOOR.exponent, abs=3 * exponents.std() / math.sqrt(TRIALS))


def test_the_residual_is_the_distance_of_losses_that_follow_no_power_law() -> None:
    bent_N = NO_FLOOR.at(COMPUTE_N) + 0.1 * np.array([1, -1, 1, -1, 1])
    assert fit(COMPUTE_N, np.stack([bent_N, bent_N]), floor=False).residual > 0.05
    assert fit(COMPUTE_N, np.stack([NO_FLOOR.at(COMPUTE_N)] * 2), floor=False).residual < 1e-6


def test_too_few_points_or_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 losses at 2 budgets do not determine 3 numbers"):
        power_law(COMPUTE_N[:2], LAW.at(COMPUTE_N[:2]), floor=True)
    with pytest.raises(ValueError, match="1 seed has no spread"):
        fit(COMPUTE_N, LAW.at(COMPUTE_N)[None], floor=True)
    with pytest.raises(ValueError, match="1 and 1 losses"):
        difference([2.0], [1.0])


def test_a_difference_is_of_each_seed_with_itself() -> None:
    found = difference([2.0, 3.0, 4.0], [2.1, 3.2, 4.3])
    assert (found.mean, found.standard_error) == pytest.approx((-0.2, 0.1 / math.sqrt(3)))
    assert found.verdict == "within noise"  # 3.5 standard errors
    assert difference([2.0, 3.0, 4.0], [2.2, 3.2, 4.21]).verdict == "better"
    assert difference([2.2, 3.2, 4.21], [2.0, 3.0, 4.0]).verdict == "worse"


def test_equal_losses_are_within_noise() -> None:
    assert difference([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).verdict == "within noise"


@pytest.mark.parametrize("num_seeds", range(2, 11))
def test_the_verdict_is_that_of_a_paired_t_test_at_five_percent(num_seeds: int) -> None:
    draws = np.random.default_rng(num_seeds)
    for shift in np.linspace(0, 3, 60):
        ours, theirs = draws.normal(size=num_seeds), shift + draws.normal(size=num_seeds)
        found = difference(list(ours), list(theirs))
        p_value = stats.ttest_rel(ours, theirs).pvalue
        if abs(p_value - 0.05) > 1e-4:  # the table has four digits
            assert (found.verdict != "within noise") == (p_value < 0.05)


def test_three_seeds_of_equal_arms_are_called_different_as_often_as_is_said() -> None:
    noise = np.random.default_rng(2).normal(size=(4000, 3))
    called = [difference(list(row), [0.0] * 3).verdict != "within noise" for row in noise]
    assert np.mean(called) == pytest.approx(0.05, abs=0.01)
