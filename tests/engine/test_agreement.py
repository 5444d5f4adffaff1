"""Agreement of routings and likeness of experts against loops over tokens and over all renamings."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from moedocs.engine import (
    Routing,
    choice_overlap,
    expert_matching,
    expert_similarity,
    first_choice_agreement,
    renamed,
    softmax_top_k,
    with_capacity,
)
from tests.drawing import random_logits
from tests.strategies import Case, cases


def slow_choices(routing: Routing) -> list[set[int]]:
    return [{expert for expert in chosen if expert >= 0} for chosen in routing.index_TK.tolist()]


def two(case: Case, slots: int) -> tuple[Routing, Routing]:
    """Two routings of as many tokens, to as many experts, by different routers and of different capacity."""
    one = softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k)
    other = softmax_top_k(torch.from_numpy(case.logits_TE).cos().flip(0), max(1, case.top_k - 1))
    return one, with_capacity(other, slots)


@given(cases(least_tokens=1), st.integers(0, 10))
def test_agreement_equals_the_loop_over_tokens(case: Case, slots: int) -> None:
    one, other = two(case, slots)
    first = [a == b for a, b in zip(one.index_TK[:, 0].tolist(), other.index_TK[:, 0].tolist(), strict=True)]
    assert first_choice_agreement(one, other).item() == pytest.approx(np.mean(first))
    overlaps = [len(a & b) / len(a | b) for a, b in zip(slow_choices(one), slow_choices(other), strict=True)]
    assert choice_overlap(one, other).item() == pytest.approx(np.mean(overlaps))
    assert choice_overlap(one, one) == first_choice_agreement(one, one) == 1


def test_tokens_that_chose_nothing_are_alike() -> None:
    chose_none_TK, zeros_TE = torch.full((3, 1), -1), torch.zeros(3, 2)
    nothing = Routing(zeros_TE, zeros_TE, zeros_TE > 0, zeros_TE, chose_none_TK, zeros_TE > 0)
    assert choice_overlap(nothing, nothing) == 1
    assert first_choice_agreement(nothing, nothing) == 1
    assert choice_overlap(nothing, softmax_top_k(torch.zeros(3, 2), 1)) == 0
    assert renamed(nothing, torch.tensor([1, 0])).index_TK.tolist() == chose_none_TK.tolist()


@given(cases(least_tokens=1), st.integers(0, 10))
def test_no_renaming_of_experts_shares_more_choices_than_the_matching(case: Case, slots: int) -> None:
    assume(case.num_experts <= 5)
    one, other = two(case, slots)

    def shared(match: tuple[int, ...]) -> int:
        pairs = zip(slow_choices(one), slow_choices(other), strict=True)
        return sum(match[expert] in theirs for ours, theirs in pairs for expert in ours)

    most = max(map(shared, itertools.permutations(range(case.num_experts))))
    assert shared(tuple(expert_matching(one, other).tolist())) == most


def test_experts_renamed_by_the_matching_agree_wholly_with_what_they_are_a_copy_of() -> None:
    order_E = torch.tensor([3, 0, 4, 1, 2])
    logits_TE = random_logits(50, 5)
    one, other = softmax_top_k(logits_TE, 2), softmax_top_k(logits_TE[:, order_E], 2)
    assert first_choice_agreement(one, other) < 0.5
    match_E = expert_matching(one, other)
    assert order_E[match_E].tolist() == [0, 1, 2, 3, 4]
    again = renamed(other, match_E)
    for field in ("logits_TE", "probs_TE", "map_TE", "weights_TE", "index_TK", "dropped_TE"):
        assert getattr(again, field).allclose(getattr(one, field)), field


def test_renaming_moves_the_columns_of_everything_and_the_names_in_the_list() -> None:
    before = with_capacity(softmax_top_k(random_logits(20, 3), 2), 5)
    before = replace(before, load_probability_TE=before.probs_TE)
    after = renamed(before, torch.tensor([2, 0, 1]))
    assert before.dropped_TE.any()
    for field in ("logits_TE", "probs_TE", "map_TE", "weights_TE", "dropped_TE", "load_probability_TE"):
        for new, old in enumerate([2, 0, 1]):
            assert getattr(after, field)[:, new].equal(getattr(before, field)[:, old])
    new_name = {2: 0, 0: 1, 1: 2}
    assert after.index_TK.tolist() == [[new_name[old] for old in row] for row in before.index_TK.tolist()]


@pytest.mark.parametrize("match", [[0, 1], [0, 0, 1], [0, 1, 3], [-1, 0, 1]])
def test_a_renaming_that_leaves_an_expert_out_is_refused(match: list[int]) -> None:
    with pytest.raises(ValueError, match="must name each of 3 experts once"):
        renamed(softmax_top_k(random_logits(4, 3), 1), torch.tensor(match))


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)).flatmap(
        lambda shape: arrays(np.float32, shape, elements=st.floats(-8, 8, width=16))
    )
)
def test_similarity_is_the_mean_cosine_of_two_experts(vectors_TED: NDArray[np.float32]) -> None:
    tokens, experts, _ = vectors_TED.shape
    found_EE = expert_similarity(torch.from_numpy(vectors_TED))
    for a, b in itertools.product(range(experts), repeat=2):
        cosines = []
        for token in range(tokens):
            u, v = vectors_TED[token, a].tolist(), vectors_TED[token, b].tolist()
            length = math.hypot(*u) * math.hypot(*v)
            cosines.append(sum(x * y for x, y in zip(u, v, strict=True)) / length if length else 0.0)
        assert found_EE[a, b].item() == pytest.approx(np.mean(cosines), abs=1e-9)
    alone = expert_similarity(torch.from_numpy(vectors_TED[0]))
    assert alone.allclose(expert_similarity(torch.from_numpy(vectors_TED[:1])))


def test_similarity_does_not_see_how_long_a_vector_is() -> None:
    vectors_ED = random_logits(3, 5).double()
    expected_EE = expert_similarity(vectors_ED)
    for length in (1e-100, 1e100):
        assert expert_similarity(length * vectors_ED).allclose(expected_EE)


def test_two_experts_that_compute_the_same_may_have_weights_without_likeness() -> None:
    one_FD = random_logits(16, 8)
    other_FD = one_FD.roll(1, 0)
    x_TD = random_logits(5, 8, seed=1)
    outputs_TED = torch.stack([(x_TD @ w_FD.T).relu() @ w_FD for w_FD in (one_FD, other_FD)], 1)
    assert expert_similarity(outputs_TED)[0, 1].item() == pytest.approx(1)
    assert expert_similarity(torch.stack([one_FD.flatten(), other_FD.flatten()]))[0, 1].abs() < 0.3


def test_what_cannot_be_compared_is_refused() -> None:
    one, other, nothing = (softmax_top_k(torch.zeros(shape), 1) for shape in ((4, 3), (4, 2), (0, 3)))
    for compare in (first_choice_agreement, choice_overlap, expert_matching):
        with pytest.raises(ValueError, match=r"routings of shapes \(4, 3\) and \(4, 2\) are not of the same"):
            compare(one, other)
        with pytest.raises(ValueError, match="agreement on 0 tokens"):
            compare(nothing, nothing)
    for shape in ((3,), (0, 2, 3), (1, 2, 3, 4)):
        with pytest.raises(ValueError, match=r"must be \(T, E, D\) or \(E, D\), not empty"):
            expert_similarity(torch.zeros(shape))
