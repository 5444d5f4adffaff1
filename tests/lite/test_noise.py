"""Routing that draws, in NumPy: equal to torch given the same draws, as frequent as stated with its own."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import norm

from moedocs import engine, lite
from tests.frequency import ROUNDS, assert_frequent
from tests.strategies import LOGITS, Case, cases
from tests.twins import assert_same


def tables(count: int, elements: st.SearchStrategy[float]) -> st.SearchStrategy[list[NDArray[np.float32]]]:
    shapes = st.tuples(st.integers(0, 6), st.integers(1, 7))
    return shapes.flatmap(lambda shape: st.tuples(*[arrays(np.float32, shape, elements=elements)] * count).map(list))


@given(tables(3, st.floats(-100, 100, width=32) | st.sampled_from([1e4, -1e4])))
def test_noisy_logits_equal_torch(drawn: list[NDArray[np.float32]]) -> None:
    expected_TE = engine.noisy_logits(*map(torch.from_numpy, drawn)).numpy()
    found_TE = lite.noisy_logits(*drawn)
    assert found_TE.dtype == np.float32
    np.testing.assert_allclose(found_TE, expected_TE, rtol=1e-6, atol=1e-4)


@given(tables(2, LOGITS), st.data())
def test_the_load_probability_equals_torch_at_every_extreme(
    drawn: list[NDArray[np.float32]], data: st.DataObject
) -> None:
    clean_TE, noise_logits_TE = drawn
    top_k = data.draw(st.integers(1, clean_TE.shape[1]))
    theirs = engine.top_k_softmax(torch.from_numpy(clean_TE), top_k)
    expected_TE = engine.load_probability(torch.from_numpy(clean_TE), torch.from_numpy(noise_logits_TE), theirs).numpy()
    found_TE = lite.load_probability(clean_TE, noise_logits_TE, lite.top_k_softmax(clean_TE, top_k))
    assert found_TE.dtype == np.float32
    np.testing.assert_allclose(found_TE, expected_TE, rtol=1e-5, atol=1e-30)


@given(st.floats(-30, 30), st.floats(-20, 20), st.floats(0.01, 60))
def test_a_load_probability_is_scipy_s_normal_distribution_function(clean: float, noise: float, short: float) -> None:
    clean_TE, noise_logits_TE = np.array([[clean, clean + short]], np.float32), np.array([[noise, 0.0]], np.float32)
    chance = lite.load_probability(clean_TE, noise_logits_TE, lite.softmax_top_k(clean_TE, 1))[0, 0]
    deviation = np.log1p(np.exp(np.float64(noise_logits_TE[0, 0])))
    expected = norm.cdf((np.float64(clean_TE[0, 0]) - clean_TE[0, 1]) / deviation)
    assert chance == pytest.approx(expected, rel=1e-5, abs=1e-37)


@given(cases(), st.data(), st.sampled_from([0.0, 0.2, 0.5, 3.0, 1e-300, 1e300]))
def test_a_random_second_equals_torch_given_the_draws(case: Case, data: st.DataObject, threshold: float) -> None:
    assume(case.num_experts > 1)
    uniform_T = data.draw(arrays(np.float32, len(case.logits_TE), elements=st.floats(0, 1, width=32, exclude_max=True)))
    theirs, ours = engine.softmax_top_k(torch.from_numpy(case.logits_TE), 2), lite.softmax_top_k(case.logits_TE, 2)
    second_T = np.take_along_axis(ours.weights_TE, ours.index_TK[:, 1:], axis=1)[:, 0]
    gap_T = np.abs(uniform_T * np.float64(threshold) - second_T)
    assume(((gap_T > 1e-6 * second_T) | (second_T == 0)).all())  # no draw so near that rounding decides
    assert_same(
        engine.with_random_second(theirs, torch.from_numpy(uniform_T), threshold=threshold),
        lite.with_random_second(ours, uniform_T, threshold=threshold),
    )


def test_what_draws_is_what_takes_the_same_draws() -> None:
    clean_TE, noise_logits_TE = np.random.default_rng(0).normal(size=(2, 30, 5)).astype(np.float32)
    normal_TE = np.random.default_rng(7).standard_normal((30, 5), dtype=np.float32)
    expected = lite.top_k_softmax(lite.noisy_logits(clean_TE, noise_logits_TE, normal_TE), 2)
    found = lite.noisy_top_k(clean_TE, noise_logits_TE, 2, generator=np.random.default_rng(7))
    assert np.array_equal(found.weights_TE, expected.weights_TE)
    uniform_T = np.random.default_rng(7).random(30, dtype=np.float32)
    expected = lite.with_random_second(lite.softmax_top_k(clean_TE, 2), uniform_T)
    found = lite.gshard_top_2(clean_TE, generator=np.random.default_rng(7))
    assert np.array_equal(found.index_TK, expected.index_TK)
    assert (found.index_TK == -1).any()


def test_noise_and_seconds_come_as_often_as_stated() -> None:
    clean_NE, noise_logits_NE = (np.repeat([row], ROUNDS, axis=0) for row in ([0.0, 1.0, -1.0], [1.0, 0.0, 2.0]))
    routing = lite.noisy_top_k(clean_NE, noise_logits_NE, 2, generator=np.random.default_rng(0))
    deviation_E = np.log1p(np.exp(noise_logits_NE[0]))
    assert (np.abs(routing.logits_TE.mean(0) - clean_NE[0]) <= 5 * deviation_E / ROUNDS**0.5).all()
    assert (np.abs(routing.logits_TE.std(0) / deviation_E - 1) <= 5 / (2 * ROUNDS) ** 0.5).all()
    chance_NE = lite.load_probability(clean_NE, noise_logits_NE, routing)
    difference_NE = chance_NE.astype(np.float64) - routing.map_TE
    assert (np.abs(difference_NE.mean(0)) <= 5 * difference_NE.std(0) / ROUNDS**0.5).all()
    kept_N = lite.gshard_top_2(clean_NE, generator=np.random.default_rng(0)).index_TK[:, 1] != -1
    second = 1 / (1 + math.e)  # the softmax over the logits 1 and 0
    assert_frequent(torch.from_numpy(kept_N[:, None]), torch.tensor([2 * second]))


def test_jitter_stays_within_its_bounds_and_spreads_evenly() -> None:
    factor_N = lite.jittered(np.ones((ROUNDS, 1)), 0.1, generator=np.random.default_rng(0))
    deviation = 0.2 / 12**0.5
    assert factor_N.dtype == np.float32
    assert 0.9 - 1e-6 <= factor_N.min() <= factor_N.max() <= 1.1 + 1e-6
    assert abs(factor_N.mean() - 1) <= 5 * deviation / ROUNDS**0.5
    assert abs(np.square(factor_N - 1).mean() / deviation**2 - 1) <= 5 * (4 / 5 / ROUNDS) ** 0.5
    assert lite.jittered([[3.0, -2.0]], 0.0, generator=np.random.default_rng(0)).tolist() == [[3.0, -2.0]]


@pytest.mark.parametrize("room", [engine, lite])
def test_both_twins_refuse_the_same_nonsense_in_the_same_words(room: Any) -> None:
    make, seeded = (torch.tensor, torch.Generator()) if room is engine else (np.array, np.random.default_rng(0))
    two_TE, nan_TE = make([[0.0, 1.0], [2.0, 3.0]]), make([[0.0, 1.0], [math.nan, 3.0]])
    routing = room.softmax_top_k(two_TE, 2)
    with pytest.raises(ValueError, match=r"^router logit of token 1 for expert 0 is nan, not a finite number"):
        room.noisy_top_k(nan_TE, two_TE, 1, generator=seeded)
    with pytest.raises(ValueError, match=r"^noise logit of token 1 for expert 0 is nan, not a finite number"):
        room.noisy_top_k(two_TE, nan_TE, 1, generator=seeded)
    with pytest.raises(ValueError, match=r"noise logits of shape \(1, 2\) does not fit router logits of shape \(2"):
        room.noisy_top_k(two_TE, two_TE[:1], 1, generator=seeded)
    with pytest.raises(ValueError, match=r"^noise of shape \(1, 2\) does not fit router logits of shape \(2, 2\)"):
        room.noisy_logits(two_TE, two_TE, two_TE[:1])
    with pytest.raises(ValueError, match=r"^a routing of shape \(2, 2\) does not fit router logits of shape \(1, 2\)"):
        room.load_probability(two_TE[:1], two_TE[:1], routing)
    with pytest.raises(ValueError, match=r"^draws of shape \(1,\) do not fit 2 tokens"):
        room.with_random_second(routing, two_TE[0, :1])
    with pytest.raises(ValueError, match=r"^a random second needs top_k=2, not 1"):
        room.with_random_second(room.softmax_top_k(two_TE, 1), two_TE[0])
    with pytest.raises(ValueError, match=r"^threshold=-1 must be a finite number, at least 0"):
        room.gshard_top_2(two_TE, generator=seeded, threshold=-1)
    with pytest.raises(ValueError, match=r"^epsilon=2 must lie in 0\.\.1"):
        room.jittered(two_TE, 2, generator=seeded)
    with pytest.raises(ValueError, match=r"is -?inf, not a finite number in float32"):
        room.top_k_softmax(room.noisy_logits(two_TE, two_TE + 3e38, two_TE + 3e38), 1)


def test_no_argument_is_changed() -> None:
    clean_TE, noise_logits_TE = np.zeros((4, 3), np.float32), np.ones((4, 3), np.float32)
    routing = lite.noisy_top_k(clean_TE, noise_logits_TE, 2, generator=np.random.default_rng(0))
    index_TK, weights_TE = routing.index_TK.copy(), routing.weights_TE.copy()
    lite.load_probability(clean_TE, noise_logits_TE, routing)
    lite.with_random_second(routing, np.full(4, 0.99))
    lite.jittered(clean_TE, 0.5, generator=np.random.default_rng(0))
    assert not clean_TE.any()
    assert (noise_logits_TE == 1).all()
    assert np.array_equal(routing.index_TK, index_TK)
    assert np.array_equal(routing.weights_TE, weights_TE)
