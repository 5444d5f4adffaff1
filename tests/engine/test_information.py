"""Mutual information of category and expert against scipy, loops, and draws in which there is none."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import entropy
from torch import Tensor

from moedocs.engine import (
    byte_category_load,
    category_load,
    mutual_information,
    normalised_mutual_information,
    shuffled,
    softmax_top_k,
    with_capacity,
)
from tests.drawing import random_logits
from tests.strategies import Case, cases

TABLES = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 30)).filter(np.any)
)
Table = NDArray[np.int64]


def slow_information(counts_XE: Table) -> float:
    """H(category) + H(expert) - H(both), each by scipy."""
    return float(entropy(counts_XE.sum(1)) + entropy(counts_XE.sum(0)) - entropy(counts_XE.ravel()))


def slow_correction(counts_XE: Table) -> float:
    """What Miller and Madow add to the entropies, (occupied cells - 1) / 2N each, in the same sum."""
    cells = counts_XE.sum(1), counts_XE.sum(0), counts_XE
    rows, columns, both = ((np.count_nonzero(counts) - 1) / (2 * counts_XE.sum()) for counts in cells)
    return float(rows + columns - both)


@given(cases(), st.integers(0, 5), st.data())
def test_a_category_s_load_counts_each_choice_of_its_tokens_before_capacity(
    case: Case, slots: int, data: st.DataObject
) -> None:
    tokens, experts = case.logits_TE.shape
    labels = st.lists(st.integers(0, 2), min_size=tokens, max_size=tokens)
    category_T, byte_T = data.draw(labels), data.draw(labels)
    routing = with_capacity(softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k), slots)
    expected = np.zeros((3, 3, experts), int)
    for byte, category, chosen in zip(byte_T, category_T, routing.index_TK.tolist(), strict=True):
        for expert in chosen:
            expected[byte, category, expert] += 1
    bytes_, categories = torch.tensor(byte_T, dtype=torch.uint8), torch.tensor(category_T, dtype=torch.int32)
    assert byte_category_load(routing, bytes_, categories, 3, 3).tolist() == expected.tolist()
    assert category_load(routing, categories, 3).tolist() == expected.sum(0).tolist()


@given(TABLES)
def test_mutual_information_equals_the_sum_of_scipy_s_entropies(counts_VXE: Table) -> None:
    counts_XE = counts_VXE.sum(0)
    assert mutual_information(torch.tensor(counts_XE)).item() == pytest.approx(slow_information(counts_XE), abs=1e-12)
    corrected = slow_information(counts_XE) + slow_correction(counts_XE)
    assert mutual_information(torch.tensor(counts_XE), corrected=True).item() == pytest.approx(corrected, abs=1e-12)


@given(TABLES)
def test_information_given_the_byte_is_the_mean_over_bytes_by_how_often_each_comes(counts_VXE: Table) -> None:
    given_byte, given_byte_corrected = 0.0, 0.0
    for counts_XE in counts_VXE:
        if counts_XE.any():
            share = counts_XE.sum() / counts_VXE.sum()
            given_byte += share * slow_information(counts_XE)
            given_byte_corrected += share * (slow_information(counts_XE) + slow_correction(counts_XE))
    counts = torch.tensor(counts_VXE)
    assert mutual_information(counts).item() == pytest.approx(given_byte, abs=1e-12)
    assert mutual_information(counts, corrected=True).item() == pytest.approx(given_byte_corrected, abs=1e-12)


@given(TABLES)
def test_normalised_information_divides_by_the_entropies_given_the_byte(counts_VXE: Table) -> None:
    shares = [counts_XE.sum() / counts_VXE.sum() for counts_XE in counts_VXE]
    of_category, of_expert = (
        sum(share * entropy(counts_XE.sum(axis)) for share, counts_XE in zip(shares, counts_VXE, strict=True) if share)
        for axis in (1, 0)
    )
    counts, information = torch.tensor(counts_VXE), mutual_information(torch.tensor(counts_VXE)).item()
    for by, most in [
        ("category", of_category),
        ("expert", of_expert),
        ("mean", (of_category + of_expert) / 2),
    ]:
        found = normalised_mutual_information(counts, by=by).item()  # type: ignore[arg-type]
        assert found == pytest.approx(information / most if most > 1e-9 else 0.0, abs=1e-9)
        assert -1e-9 <= found <= 1 + 1e-9
    assert normalised_mutual_information(counts) == normalised_mutual_information(counts, by="mean")


def test_one_expert_for_each_category_tells_all_and_the_same_for_all_tells_nothing() -> None:
    assert mutual_information(torch.eye(4) * 10).item() == pytest.approx(math.log(4))
    assert normalised_mutual_information(torch.eye(4) * 10).item() == pytest.approx(1)
    assert mutual_information(torch.ones(4, 3)).item() == pytest.approx(0, abs=1e-15)
    assert normalised_mutual_information(torch.tensor([[5, 5]])) == 0
    assert normalised_mutual_information(torch.tensor([[5, 5]]), by="expert") == 0


def test_two_experts_for_each_category_tell_all_of_the_category_but_half_of_the_expert() -> None:
    counts_XE = torch.tensor([[5, 5, 0, 0], [0, 0, 5, 5]])
    for by, expected in [("category", 1.0), ("expert", 0.5), ("mean", 2 / 3)]:
        assert normalised_mutual_information(counts_XE, by=by).item() == pytest.approx(expected)  # type: ignore[arg-type]
    corrected = mutual_information(counts_XE, corrected=True) / math.log(2)
    assert normalised_mutual_information(counts_XE, by="category", corrected=True).item() == pytest.approx(corrected)


def test_experts_that_follow_the_byte_alone_tell_nothing_about_the_category_given_the_byte() -> None:
    counts_VXE = torch.tensor([[[9, 0], [1, 0]], [[0, 1], [0, 9]]])
    assert mutual_information(counts_VXE).item() == pytest.approx(0, abs=1e-15)
    assert mutual_information(counts_VXE.sum(0)) > 0.3


def independent(draws: int, tokens: int = 200) -> Tensor:
    """Many tables (draws, X, E) of tokens whose category and expert have nothing to do with each other."""
    generator = torch.Generator().manual_seed(0)
    shares_XE = torch.tensor([0.5, 0.3, 0.2])[:, None] * torch.tensor([0.4, 0.3, 0.2, 0.1])
    cells = shares_XE.flatten().multinomial(draws * tokens, replacement=True, generator=generator)
    return torch.nn.functional.one_hot(cells.view(draws, tokens), 12).sum(1).view(draws, 3, 4)


def test_the_correction_takes_off_what_chance_alone_gives() -> None:
    tables = independent(2000)
    plain = torch.stack([mutual_information(counts_XE) for counts_XE in tables])
    corrected = torch.stack([mutual_information(counts_XE, corrected=True) for counts_XE in tables])
    assert plain.mean().item() == pytest.approx(2 * 3 / (2 * 200), rel=0.05)
    assert corrected.mean().abs() < 0.05 * plain.mean()
    assert corrected.min() < 0


@pytest.mark.parametrize("top_k", [1, 3])
def test_shuffled_categories_tell_as_much_as_chance_alone_with_the_choices_of_a_token_kept_together(top_k: int) -> None:
    routing = softmax_top_k(random_logits(400, 4), top_k)
    generator = torch.Generator().manual_seed(1)
    category_T = torch.arange(400) % 3

    def counted(labels_T: Tensor) -> float:
        return mutual_information(category_load(routing, labels_T, 3)).item()

    dealt = [counted(shuffled(category_T, generator=generator)) for _ in range(300)]
    fresh = [counted(torch.randint(3, (400,), generator=generator)) for _ in range(300)]
    spread = math.sqrt((np.var(dealt) + np.var(fresh)) / 300)
    assert np.mean(dealt) == pytest.approx(np.mean(fresh), abs=5 * spread)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=20), st.integers(0, 99))
def test_shuffling_keeps_how_many_of_each_category_there_are_with_each_byte(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    byte_T, category_T = (torch.tensor([pair[i] for pair in pairs], dtype=torch.uint8) for i in (0, 1))
    generator = torch.Generator().manual_seed(seed)
    assert sorted(shuffled(category_T, generator=generator).tolist()) == sorted(category_T.tolist())
    dealt_T = shuffled(category_T, generator=generator, byte_T=byte_T)
    assert sorted(zip(byte_T.tolist(), dealt_T.tolist(), strict=True)) == sorted(pairs)
    assert category_T.tolist() == [pair[1] for pair in pairs]


def test_only_the_generator_decides_how_categories_are_dealt() -> None:
    category_T = torch.arange(20)
    one, again, other = (shuffled(category_T, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert one.equal(again)
    assert not one.equal(other)


def test_every_order_within_a_byte_is_equally_likely() -> None:
    byte_T, category_T = torch.tensor([1, 0, 1, 0, 1]), torch.arange(5)
    generator = torch.Generator().manual_seed(0)
    seen = [tuple(shuffled(category_T, generator=generator, byte_T=byte_T).tolist()) for _ in range(3000)]
    orders = set(seen)
    assert len(orders) == 6 * 2
    assert all(abs(seen.count(order) - 250) < 5 * math.sqrt(250) for order in orders)


def test_labels_and_counts_that_do_not_fit_are_refused() -> None:
    routing = softmax_top_k(random_logits(4, 3), 1)
    for labels_T in (torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 2, -1])):
        low, high = int(labels_T.min()), int(labels_T.max())
        with pytest.raises(ValueError, match=rf"labels from {low} to {high} must lie in 0\.\.2"):
            category_load(routing, labels_T, 3)
        for byte_T, category_T in ((labels_T, torch.zeros(4).long()), (torch.zeros(4).long(), labels_T)):
            with pytest.raises(ValueError, match=rf"labels from {low} to {high} must lie in 0\.\.2"):
                byte_category_load(routing, byte_T, category_T, 3, 3)
    with pytest.raises(ValueError, match=r"4 tokens need one label each, not labels of shape \(3,\)"):
        category_load(routing, torch.zeros(3).long(), 3)
    for counts in (torch.ones(3), torch.ones(1, 2, 3, 4), torch.zeros(2, 3), torch.tensor([[1, -1]])):
        with pytest.raises(ValueError, match=r"must be \(X, E\) or \(V, X, E\), at least 0, not all 0"):
            mutual_information(counts)
    with pytest.raises(ValueError, match="by='least' must be mean, category or expert"):
        normalised_mutual_information(torch.eye(2), by="least")  # type: ignore[arg-type]
