"""Metrics, mutual information and agreement in NumPy against torch."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from moedocs import engine, lite
from tests.strategies import Case, cases
from tests.twins import assert_same

OF_A_LOAD = ["load_share", "coefficient_of_variation", "load_imbalance", "load_entropy", "dead_experts"]
OF_A_ROUTING = ["router_entropy", "dropped_share", "unserved_share"]
OF_A_PAIR = ["first_choice_agreement", "choice_overlap", "expert_matching"]
COUNTS = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 30)).filter(np.any)
)


def both(case: Case, slots: int) -> tuple[engine.Routing, lite.Routing]:
    """The same routing on either side, with some choices dropped."""
    theirs = engine.softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k)
    ours = lite.softmax_top_k(case.logits_TE, case.top_k)
    return engine.with_capacity(theirs, slots), lite.with_capacity(ours, slots)


def same(name: str, theirs: tuple[object, ...], ours: tuple[object, ...], **options: object) -> None:
    expected, found = getattr(engine, name)(*theirs, **options), getattr(lite, name)(*ours, **options)
    assert np.asarray(found) == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-6), name


@given(cases(least_tokens=1), st.integers(0, 10))
def test_metrics_of_a_routing_equal_torch(case: Case, slots: int) -> None:
    theirs, ours = both(case, slots)
    for name in OF_A_ROUTING:
        same(name, (theirs,), (ours,))
    same("padded_share", (theirs, slots + 1), (ours, slots + 1), group_size=1)
    for name in OF_A_LOAD:
        same(name, (engine.load(theirs),), (lite.load(ours),))


@given(cases(least_tokens=1), st.integers(0, 10), st.data())
def test_agreement_and_renaming_equal_torch(case: Case, slots: int, data: st.DataObject) -> None:
    theirs, ours = both(case, slots)
    match = data.draw(st.permutations(range(case.num_experts)))
    their_new, our_new = engine.renamed(theirs, torch.tensor(match)), lite.renamed(ours, match)
    assert_same(their_new, our_new)
    for name in OF_A_PAIR:
        same(name, (theirs, their_new), (ours, our_new))


@given(COUNTS, st.sampled_from(["mean", "category", "expert"]), st.booleans())
def test_mutual_information_equals_torch(counts_VXE: NDArray[np.int64], by: str, corrected: bool) -> None:
    for counts in (counts_VXE, counts_VXE.sum(0)):
        same("mutual_information", (torch.tensor(counts),), (counts,), corrected=corrected)
        same("normalised_mutual_information", (torch.tensor(counts),), (counts,), by=by, corrected=corrected)


@given(cases(), st.integers(0, 5), st.data())
def test_loads_by_category_equal_torch(case: Case, slots: int, data: st.DataObject) -> None:
    theirs, ours = both(case, slots)
    labels = st.lists(st.integers(0, 2), min_size=len(case.logits_TE), max_size=len(case.logits_TE))
    byte_T, category_T = data.draw(labels), data.draw(labels)
    same("category_load", (theirs, torch.tensor(category_T)), (ours, category_T), num_categories=3)
    same(
        "byte_category_load",
        (theirs, torch.tensor(byte_T), torch.tensor(category_T), 4, 3),
        (ours, byte_T, category_T, 4, 3),
    )


@given(arrays(np.float32, (3, 4, 2), elements=st.floats(-8, 8, width=16)))
def test_similarity_equals_torch(vectors_TED: NDArray[np.float32]) -> None:
    for vectors in (vectors_TED, vectors_TED[0]):
        same("expert_similarity", (torch.from_numpy(vectors),), (vectors,))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=20), st.integers(0, 99))
def test_shuffling_keeps_how_many_of_each_category_there_are_with_each_byte(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    byte_T, category_T = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    generator = np.random.default_rng(seed)
    assert sorted(lite.shuffled(category_T, generator=generator).tolist()) == sorted(category_T)
    dealt_T = lite.shuffled(category_T, generator=generator, byte_T=byte_T)
    assert sorted(zip(byte_T, dealt_T.tolist(), strict=True)) == sorted(pairs)


def routings(*shape: int) -> tuple[engine.Routing, lite.Routing]:
    return engine.softmax_top_k(torch.zeros(shape), 1), lite.softmax_top_k(np.zeros(shape), 1)


def arrays_of(values: object) -> tuple[object, object]:
    return torch.tensor(values), values


ONE, OTHER, NOTHING = routings(4, 3), routings(4, 2), routings(0, 3)
REFUSED: list[Any] = [
    *((name, arrays_of(load)) for name in OF_A_LOAD for load in ([-1.0], [np.nan], [], [[1.0]])),
    *((name, arrays_of([0.0, 0.0, 0.0])) for name in OF_A_LOAD[:-1]),
    *((name, NOTHING) for name in OF_A_ROUTING),
    *((name, *pair) for name in OF_A_PAIR for pair in ((ONE, OTHER), (NOTHING, NOTHING))),
    *(("padded_share", ONE, (slots, slots)) for slots in (0, 1)),
    *(("renamed", ONE, arrays_of(match)) for match in ([0, 1], [0, 0, 1])),
    *(("category_load", ONE, arrays_of(label), (3, 3)) for label in ([0], [0, 1, 2, 3], [0, 0, 0, -1])),
    *(("byte_category_load", ONE, arrays_of(label), arrays_of([0] * 4), (3, 3), (3, 3)) for label in ([0], [3] * 4)),
    *(("byte_category_load", ONE, arrays_of([0] * 4), arrays_of(label), (3, 3), (3, 3)) for label in ([0], [3] * 4)),
    *(("mutual_information", arrays_of(counts)) for counts in ([1], [[0]], [[1, -1]])),
    ("normalised_mutual_information", arrays_of([[0]])),
    ("expert_similarity", arrays_of([0.0])),
]


@pytest.mark.parametrize(("name", "arguments"), [(name, arguments) for name, *arguments in REFUSED])
def test_both_twins_refuse_the_same_nonsense_in_the_same_words(name: str, arguments: list[tuple[Any, Any]]) -> None:
    theirs, ours = zip(*arguments, strict=True)
    with pytest.raises(ValueError, match=r".") as refusal:
        getattr(engine, name)(*theirs)
    with pytest.raises(ValueError, match=f"^{re.escape(str(refusal.value))}$"):
        getattr(lite, name)(*ours)


@pytest.mark.parametrize("room", [engine, lite])
def test_a_normalisation_without_a_name_is_refused(room: Any) -> None:
    with pytest.raises(ValueError, match="by='least' must be mean, category or expert"):
        room.normalised_mutual_information([[1]], by="least")
