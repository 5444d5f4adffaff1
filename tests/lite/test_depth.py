"""Mixture of Depths in NumPy against torch: the same choices, ways through, losses and refusals."""

import math
from collections import Counter
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moedocs import engine, lite
from moedocs.lite.record import Floats, Ints
from tests.drawing import random_logits
from tests.strategies import DepthCase, depth_cases

WIDTH = 4
ORDINARY = st.floats(-30, 30, width=32)


def assert_same(theirs: engine.DepthRouting, ours: lite.DepthRouting) -> None:
    for field in ("logits_BS", "weights_BS", "map_BS", "index_BC"):
        expected, found = getattr(theirs, field).numpy(), getattr(ours, field)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        rtol, atol = (1e-6, 1e-37) if field == "weights_BS" else (0, 0)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=field)
    assert (theirs.predicted_BS is None) == (ours.predicted_BS is None)


def pairs(case: DepthCase, seed: int = 0) -> list[tuple[engine.DepthRouting, lite.DepthRouting]]:
    """The top C, the choice by the router, and the choice by a predictor, on both sides."""
    logits_BS, predicted_BS = torch.from_numpy(case.logits_BS), random_logits(*case.logits_BS.shape, seed=seed)
    return [
        (
            engine.top_c(logits_BS, case.capacity, weight=case.weight),
            lite.top_c(case.logits_BS, case.capacity, weight=case.weight),
        ),
        (engine.causal_choice(logits_BS, weight=case.weight), lite.causal_choice(case.logits_BS, weight=case.weight)),
        (
            engine.causal_choice(logits_BS, predicted_BS, weight=case.weight),
            lite.causal_choice(case.logits_BS, predicted_BS.numpy(), weight=case.weight),
        ),
    ]


@given(depth_cases(), st.integers(0, 99))
def test_choices_equal_torch(case: DepthCase, seed: int) -> None:
    for theirs, ours in pairs(case, seed):
        assert_same(theirs, ours)


@settings(max_examples=40)
@given(depth_cases(least=1, elements=ORDINARY), st.integers(0, 99))
def test_the_way_through_equals_torch(case: DepthCase, seed: int) -> None:
    x_BSD, slope_DD = random_logits(*case.logits_BS.shape, WIDTH), random_logits(WIDTH, WIDTH, seed=1)

    def slow(x_BCD: Tensor, positions_BC: Tensor) -> Tensor:
        return (x_BCD @ slope_DD) * positions_BC[..., None] + x_BCD.cumsum(1)

    def same(x_BCD: Floats, positions_BC: Ints) -> Floats:
        found_BCD = slow(torch.from_numpy(x_BCD), torch.from_numpy(positions_BC)).numpy()
        return np.asarray(found_BCD, dtype=np.float32)

    for theirs, ours in pairs(case, seed):
        found_BSD = lite.through(x_BSD.numpy(), ours, same)
        assert found_BSD.dtype == np.float32
        np.testing.assert_allclose(found_BSD, engine.through(x_BSD, theirs, slow), rtol=1e-5, atol=1e-4)


@given(depth_cases(least=1))
def test_who_does_not_pass_stays_bit_for_bit(case: DepthCase) -> None:
    x_BSD = np.broadcast_to(np.array([-0.0, np.nan, np.inf, 1e-40], np.float32), (*case.logits_BS.shape, WIDTH)).copy()
    for _, ours in pairs(case):
        with np.errstate(all="ignore"):
            out_BSD = lite.through(x_BSD, ours, lambda x_BCD, _: x_BCD)
        assert (out_BSD.view(np.int32) == x_BSD.view(np.int32))[~ours.map_BS].all()


@given(depth_cases(least=1, elements=ORDINARY), st.integers(0, 99))
def test_losses_and_scores_equal_torch(case: DepthCase, seed: int) -> None:
    predicted_BS = random_logits(*case.logits_BS.shape, seed=seed)
    (theirs, ours), (their_choice, our_choice), _ = pairs(case, seed)
    theirs, ours = replace(theirs, predicted_BS=predicted_BS), replace(ours, predicted_BS=predicted_BS.numpy())
    for name in ("depth_auxiliary_loss", "predictor_loss", "always_skip_accuracy"):
        assert getattr(lite, name)(ours) == pytest.approx(getattr(engine, name)(theirs).item(), rel=1e-5, abs=1e-12)
    for name in ("choice_accuracy", "choice_recall"):
        expected = getattr(engine, name)(their_choice, theirs).item()
        assert getattr(lite, name)(our_choice, ours) == pytest.approx(expected, rel=1e-6)


@given(st.integers(1, 9), st.integers(0, 99))
def test_a_trained_predictor_says_the_same(width: int, seed: int) -> None:
    predictor = engine.Predictor(width, generator=torch.Generator().manual_seed(seed))
    x_BSD = random_logits(2, 5, width, seed=seed)
    hidden_HD, output_H = (weights.detach().numpy() for weights in predictor.parameters())
    found_BS = lite.predictor_logits(x_BSD.numpy(), hidden_HD, output_H)
    assert found_BS.dtype == np.float32
    np.testing.assert_allclose(found_BS, predictor(x_BSD).detach(), rtol=1e-5, atol=1e-5)


def test_every_set_of_c_is_equally_likely_by_chance_with_weight_1() -> None:
    draws = 12_000
    routing = lite.random_depth((draws, 5), 2, generator=np.random.default_rng(1))
    counts = Counter(tuple(row) for row in routing.index_BC.tolist())
    share = 1 / math.comb(5, 2)
    spread = math.sqrt(share * (1 - share) / draws)
    assert len(counts) == math.comb(5, 2)
    assert all(abs(count / draws - share) < 4 * spread for count in counts.values())
    assert routing.weights_BS.tolist() == routing.map_BS.astype(float).tolist()
    assert routing.weights_BS.dtype == routing.logits_BS.dtype == np.float32
    assert lite.top_c(routing.logits_BS, 2).index_BC.tolist() == routing.index_BC.tolist()


def test_plain_lists_will_do() -> None:
    assert lite.top_c([[0, 0, 0], [0, 1, 2]], 2).index_BC.tolist() == [[0, 1], [1, 2]]
    routing = lite.causal_choice([[1, -1, 0], [1, 2, -1]], [[-1, 1, 0], [1, 1, 1]])
    assert routing.index_BC.tolist() == [[1, -1, -1], [0, 1, 2]]
    assert routing.weights_BS.tolist() == [[0, -1, 0], [1, 2, -1]]
    assert routing.predicted_BS is not None


def refused(room: object, make: object, call: str, *values: object) -> str:
    assert callable(make)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011
        getattr(room, call)(*(make(value) if isinstance(value, list) else value for value in values))
    return str(refusal.value)


@pytest.mark.parametrize(
    ("call", "values", "message"),
    [
        ("top_c", ([[0.0, 1.0]], 3), "capacity=3 must lie in 0..2, the length of a sequence"),
        ("top_c", ([[0.0, 1.0]], -1), "capacity=-1 must lie in 0..2, the length of a sequence"),
        (
            "top_c",
            ([0.0, 1.0], 1),
            "router logits must have one row per sequence and one column per position, not (2,)",
        ),
        (
            "top_c",
            ([[0.0, 1.0], [0.0, math.nan]], 1),
            "router logit of sequence 1 at position 1 is nan, not a finite number in float32",
        ),
        (
            "causal_choice",
            ([[0.0, -math.inf]],),
            "router logit of sequence 0 at position 1 is -inf, not a finite number in float32",
        ),
        ("causal_choice", ([[0.0, 1.0]], [[0.0]]), "predictions (1, 1) do not fit router logits (1, 2)"),
    ],
)
def test_both_twins_refuse_the_same_nonsense_in_the_same_words(
    call: str, values: tuple[object, ...], message: str
) -> None:
    assert refused(engine, torch.tensor, call, *values) == message
    assert refused(lite, np.array, call, *values) == message


def test_both_twins_refuse_the_same_records_in_the_same_words() -> None:
    messages = []
    for room, zeros in ((engine, torch.zeros), (lite, lambda *shape: np.zeros(shape, np.float32))):
        top, none, empty = room.top_c(zeros(2, 5), 2), room.top_c(zeros(2, 5), 0), room.top_c(zeros(0, 5), 2)
        messages.append(
            [
                refused(room, list, "through", zeros(2, 4, 3), top, lambda x, _: x),
                refused(room, list, "through", zeros(2, 5, 3), top, lambda x, _: x[:, :1]),
                refused(room, list, "choice_recall", none, none),
                refused(room, list, "choice_accuracy", empty, empty),
                refused(room, list, "choice_accuracy", top, empty),
                refused(room, list, "always_skip_accuracy", empty),
                refused(room, list, "depth_auxiliary_loss", empty),
                refused(room, list, "predictor_loss", top),
            ]
        )
        with pytest.raises(ValueError, match="weight='plain' must be raw or sigmoid"):
            room.causal_choice(zeros(2, 5), weight="plain")
    assert messages[0] == messages[1]


def test_a_logit_beyond_float32_is_refused() -> None:
    with pytest.raises(ValueError, match="sequence 0 at position 1 is inf, not a finite number in float32"):
        lite.top_c([[0.0, 1e300]], 1)


def test_where_nobody_passes_the_block_is_not_called() -> None:
    def never(x_BCD: Floats, positions_BC: Ints) -> Floats:
        raise AssertionError("called")

    for shape, capacity in (((2, 7), 0), ((0, 7), 3), ((2, 0), 0)):
        x_BSD = np.ones((*shape, WIDTH), np.float32)
        for routing in (lite.top_c(np.ones(shape), capacity), lite.causal_choice(-np.ones(shape))):
            assert np.array_equal(lite.through(x_BSD, routing, never), x_BSD)


def test_no_argument_is_changed() -> None:
    logits_BS, x_BSD = random_logits(2, 6).numpy(), random_logits(2, 6, WIDTH, seed=1).numpy()
    before = logits_BS.copy(), x_BSD.copy()
    for routing in (lite.top_c(logits_BS, 2), lite.causal_choice(logits_BS), lite.causal_choice(-np.ones((2, 6)))):
        kept = deepcopy(routing)
        out_BSD = lite.through(x_BSD, routing, lambda x_BCD, _: x_BCD)
        out_BSD += 1
        for field in ("logits_BS", "weights_BS", "map_BS", "index_BC"):
            assert np.array_equal(getattr(routing, field), getattr(kept, field))
    assert np.array_equal(logits_BS, before[0])
    assert np.array_equal(x_BSD, before[1])
