"""The order in which choices are listed, and what a router accepts, on tables of every size."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs.engine.record import accepted, best_first
from tests.drawing import random_logits

# few values and many places: nearly every row has ties, at the border of the chosen too
FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, 3e38, -3e38, -math.inf])


@given(st.integers(0, 5), st.integers(1, 70), st.data())
def test_the_highest_come_first_and_of_equal_ones_the_lowest_index(rows: int, width: int, data: st.DataObject) -> None:
    table = data.draw(st.lists(st.lists(FEW, min_size=width, max_size=width), min_size=rows, max_size=rows))
    top_k = data.draw(st.integers(1, width))
    found = best_first(torch.tensor(table).view(rows, width), top_k)
    assert found.tolist() == [sorted(range(width), key=lambda i: -row[i])[:top_k] for row in table]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("top_k", [1, 2, 8, 64])
def test_long_tables_are_ordered_as_by_a_stable_sort(top_k: int, dtype: torch.dtype) -> None:
    scores_TE = random_logits(3000, 64).to(dtype)  # 16 bits tie often, 64 hardly ever
    before_TE = scores_TE.clone()
    expected_TE = scores_TE.sort(dim=1, descending=True, stable=True).indices
    assert best_first(scores_TE, top_k).equal(expected_TE[:, :top_k])
    assert scores_TE.equal(before_TE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(0, 99, 7))
def test_one_number_that_is_not_finite_is_found_wherever_it_stands(value: float, place: int) -> None:
    logits_TE = random_logits(9, 11)
    logits_TE.view(-1)[place] = value
    token, expert = divmod(place, 11)
    with pytest.raises(ValueError, match=f"router logit of token {token} for expert {expert} is {value}"):
        accepted(logits_TE)
