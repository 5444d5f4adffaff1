"""Expert choice, hash, BASE, Sinkhorn, ReLU and Soft MoE in NumPy against torch."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs import engine, lite
from tests.drawing import random_logits
from tests.strategies import Case, cases
from tests.twins import assert_same

# few values, so that probabilities and plans tie on paper again and again
TIED = cases(elements=st.sampled_from([0.1, 0.2, 0.3, -1.7]).map(lambda x: float(np.float32(x))))


@given(cases() | TIED, st.integers(0, 10))
def test_expert_choice_equals_torch(case: Case, capacity: int) -> None:
    ours = lite.expert_choice(case.logits_TE, capacity)
    assert_same(engine.expert_choice(torch.from_numpy(case.logits_TE), capacity), ours)


@given(cases() | TIED, st.integers(0, 3), st.integers(1, 4), st.integers(1, 4))
def test_expert_choice_of_each_sequence_equals_torch(case: Case, capacity: int, length: int, count: int) -> None:
    logits_TE = np.resize(case.logits_TE, (length * count, case.num_experts))
    ours = lite.expert_choice(logits_TE, capacity, sequence_length=length)
    assert_same(engine.expert_choice(torch.from_numpy(logits_TE), capacity, sequence_length=length), ours)


@given(cases())
def test_relu_routing_equals_torch(case: Case) -> None:
    assert_same(engine.relu_routing(torch.from_numpy(case.logits_TE)), lite.relu_routing(case.logits_TE))


@given(cases(), st.integers(0, 99), st.booleans(), st.sampled_from([1.0, 2.5]))
def test_hash_routing_equals_torch(case: Case, seed: int, learned: bool, scaling: float) -> None:
    generator = np.random.default_rng(seed)
    table_VK = lite.hash_table(6, case.num_experts, case.top_k, generator=generator)
    ids_T = generator.integers(0, 6, len(case.logits_TE)).astype(np.uint8)
    args = (torch.from_numpy(ids_T), torch.from_numpy(table_VK), case.num_experts)
    theirs = engine.hash_routing(*args, torch.from_numpy(case.logits_TE) if learned else None, scaling=scaling)
    logits_TE = case.logits_TE if learned else None
    assert_same(theirs, lite.hash_routing(ids_T, table_VK, case.num_experts, logits_TE, scaling=scaling))


@given(cases() | TIED, st.booleans())
def test_base_equals_torch(case: Case, balanced: bool) -> None:
    theirs = engine.base_assignment(torch.from_numpy(case.logits_TE), balanced=balanced)
    assert_same(theirs, lite.base_assignment(case.logits_TE, balanced=balanced))


def test_the_balanced_choice_of_many_tokens_equals_torch() -> None:
    for seed, size in enumerate([(300, 7), (128, 16), (50, 60)]):
        scores_TE = (8 * random_logits(*size, seed=seed)).round()
        assert lite.balanced_choice(scores_TE.numpy()).tolist() == engine.balanced_choice(scores_TE).tolist()


@given(cases(elements=st.floats(-4, 4, width=32)) | TIED, st.booleans())
def test_sinkhorn_equals_torch(case: Case, balanced: bool) -> None:
    theirs = engine.sinkhorn(torch.from_numpy(case.logits_TE), case.top_k, balanced=balanced)
    assert_same(theirs, lite.sinkhorn(case.logits_TE, case.top_k, balanced=balanced))


@given(cases())
def test_the_sinkhorn_plan_equals_torch_at_every_extreme(case: Case) -> None:
    theirs_TE = engine.sinkhorn_plan(torch.from_numpy(case.logits_TE), tolerance=1e-3, most_rounds=20)
    ours_TE = lite.sinkhorn_plan(case.logits_TE, tolerance=1e-3, most_rounds=20)
    np.testing.assert_allclose(ours_TE, theirs_TE.numpy(), rtol=1e-5, atol=1e-30)
    assert ours_TE.dtype == np.float32


@given(st.integers(1, 60), st.integers(1, 9), st.data())
def test_a_hash_table_gives_each_entry_different_experts_and_each_expert_as_many_entries(
    vocab_size: int, num_experts: int, data: st.DataObject
) -> None:
    top_k, seed = data.draw(st.integers(1, num_experts)), data.draw(st.integers(0, 99))
    table_VK = lite.hash_table(vocab_size, num_experts, top_k, generator=np.random.default_rng(seed))
    assert table_VK.shape == (vocab_size, top_k)
    assert all(len(set(row)) == top_k for row in table_VK.tolist())
    counts_E = np.bincount(table_VK.ravel(), minlength=num_experts)
    assert len(counts_E) == num_experts
    assert counts_E.max() - counts_E.min() <= 1


@given(st.integers(0, 5), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.sampled_from([(), (2,), (3, 2)]))
def test_soft_moe_equals_torch(t: int, d: int, e: int, p: int, before: tuple[int, ...]) -> None:
    x_TD, slots_EPD = random_logits(*before, t, d), random_logits(e, p, d, seed=1)
    theirs, ours = engine.soft_routing(x_TD, slots_EPD), lite.soft_routing(x_TD.numpy(), slots_EPD.numpy())
    for field in ("logits_TEP", "dispatch_TEP", "combine_TEP"):
        expected, found = getattr(theirs, field).numpy(), getattr(ours, field)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    factor_E = np.arange(1, e + 1, dtype=np.float32)[:, None, None]
    expected_TD = engine.soft_dispatch(x_TD, theirs, lambda slots: torch.from_numpy(factor_E) * slots)
    found_TD = lite.soft_dispatch(x_TD.numpy(), ours, lambda slots: factor_E * slots)
    np.testing.assert_allclose(found_TD, expected_TD.numpy(), rtol=1e-4, atol=1e-5)


def test_plain_lists_will_do() -> None:
    assert lite.expert_choice([[1.0, 0.0], [0.0, 1.0]], 1).index_TK.tolist() == [[0], [1]]
    assert lite.relu_routing([[1.0, -1.0]]).map_TE.tolist() == [[True, False]]
    assert lite.hash_routing([1], [[0], [1]], 2).map_TE.tolist() == [[False, True]]
    assert lite.base_assignment([[1.0, 0.0], [2.0, 0.0]]).index_TK.tolist() == [[1], [0]]
    assert lite.sinkhorn([[1.0, 0.0], [2.0, 0.0]], 1).index_TK.tolist() == [[1], [0]]
    assert lite.soft_routing([[1.0, 0.0]], [[[1.0, 0.0]]]).combine_TEP.tolist() == [[[1.0]]]


@pytest.mark.parametrize("room", [engine, lite])
def test_both_twins_refuse_the_same_nonsense_in_the_same_words(room: Any) -> None:
    make: Any = torch.tensor if room is engine else np.array
    zeros_TE, table_VK = make([[0.0, 0.0, 0.0]] * 4), make([[0, 1], [2, 2], [3, 0]])
    generator = torch.Generator() if room is engine else np.random.default_rng()
    with pytest.raises(ValueError, match="capacity=-1 must not be negative"):
        room.expert_choice(zeros_TE, -1)
    with pytest.raises(ValueError, match="4 tokens cannot be cut into equal groups of 3"):
        room.expert_choice(zeros_TE, 1, sequence_length=3)
    with pytest.raises(ValueError, match=r"top_k=4 must lie in 1\.\.num_experts=3"):
        room.sinkhorn(zeros_TE, 4)
    with pytest.raises(ValueError, match="vocab_size=0 must be at least 1"):
        room.hash_table(0, 3, 1, generator=generator)
    with pytest.raises(ValueError, match=r"top_k=4 must lie in 1\.\.num_experts=3"):
        room.hash_table(9, 3, 4, generator=generator)
    with pytest.raises(ValueError, match=r"id of token 1 is 3, not in 0\.\.2, the rows of the table"):
        room.hash_routing(make([0, 3]), table_VK, 3)
    for number, experts in ((1, r"\[2, 2\]"), (2, r"\[3, 0\]")):
        with pytest.raises(ValueError, match=rf"experts of token 0 are {experts}, not different ones in 0\.\.2"):
            room.hash_routing(make([number]), table_VK, 3)
    with pytest.raises(ValueError, match=r"router logits of shape \(4, 3\) do not fit \(1, 3\)"):
        room.hash_routing(make([0]), table_VK, 3, zeros_TE)
    with pytest.raises(ValueError, match=r"ids must be one row of whole numbers, not shape \(1,\)"):
        room.hash_routing(make([0.0]), table_VK, 3)
    with pytest.raises(ValueError, match=r"the table must have a row of experts per id, not shape \(2,\)"):
        room.hash_routing(make([0]), make([0, 1]), 3)
    with pytest.raises(ValueError, match=r"tokens \(\.\.\., T, D\) \(4, 3\) do not fit slots \(E, P, D\) \(4, 3\)"):
        room.soft_routing(zeros_TE, zeros_TE)
    with pytest.raises(ValueError, match="router logit of token 1 for slot 0 of expert 0 is nan, not finite"):
        room.soft_routing(make([[0.0], [math.nan]]), make([[[1.0]], [[1.0]]]))
    for route in (room.relu_routing, room.base_assignment):
        with pytest.raises(ValueError, match="router logit of token 1 for expert 0 is nan, not a finite number"):
            route(make([[0.0, 0.0], [math.nan, 0.0]]))


def test_no_argument_is_changed() -> None:
    logits_TE = random_logits(12, 4).numpy()
    before_TE = logits_TE.copy()
    lite.expert_choice(logits_TE, 2)
    lite.relu_routing(logits_TE)
    lite.base_assignment(logits_TE)
    lite.sinkhorn(logits_TE, 2)
    lite.soft_routing(logits_TE, logits_TE.reshape(4, 3, 4))
    assert np.array_equal(logits_TE, before_TE)
