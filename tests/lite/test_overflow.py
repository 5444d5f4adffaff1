"""Capacity in NumPy against torch, record for record."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moedocs import engine, lite
from moedocs.config.routing import CapacityOrder
from tests.gaps import Grouped, as_numpy, grouped
from tests.twins import FIELDS, assert_same

few = settings(max_examples=50)

ORDERS: tuple[CapacityOrder, ...] = get_args(CapacityOrder)


@given(grouped(), st.integers(0, 10), st.sampled_from([order for order in ORDERS if order != "random"]))
def test_capacity_equals_torch_in_every_order(drawn: Grouped, slots: int, order: CapacityOrder) -> None:
    theirs = engine.with_capacity(drawn.routing, slots, order=order, group_size=drawn.group_size)
    assert_same(theirs, lite.with_capacity(as_numpy(drawn.routing), slots, order=order, group_size=drawn.group_size))


@few
@given(grouped(), st.integers(0, 10))
def test_at_random_as_many_are_kept_as_in_torch(drawn: Grouped, slots: int) -> None:
    size, generator = drawn.group_size, np.random.default_rng(0)
    theirs = engine.with_capacity(drawn.routing, slots, group_size=size)
    ours = lite.with_capacity(as_numpy(drawn.routing), slots, order="random", group_size=size, generator=generator)
    for tokens in drawn.groups:
        assert ours.map_TE[tokens].sum(0).tolist() == theirs.map_TE[tokens].sum(0).tolist()
    assert np.array_equal(ours.chosen_TE, drawn.routing.map_TE.numpy())


def test_at_random_equal_tokens_have_equal_chances() -> None:
    rounds, tokens, slots = 2_000, 10, 4
    routing = lite.softmax_top_k(np.zeros((rounds * tokens, 2)), 1)
    generator = np.random.default_rng(0)
    after = lite.with_capacity(routing, slots, order="random", group_size=tokens, generator=generator)
    kept_S = after.map_TE[:, 0].reshape(rounds, tokens).mean(0)
    spread = (slots / tokens * (1 - slots / tokens) / rounds) ** 0.5
    assert (np.abs(kept_S - slots / tokens) < 5 * spread).all()


def test_at_random_first_choices_still_go_before_second_ones() -> None:
    routing = lite.softmax_top_k(np.random.default_rng(0).normal(size=(200, 4)), 2)
    after = lite.with_capacity(routing, 60, order="random", generator=np.random.default_rng(1))
    first_TE = np.arange(4) == routing.index_TK[:, :1]
    for expert in range(4):
        lost_first = (after.dropped_TE & first_TE)[:, expert].any()
        assert not (lost_first and (after.map_TE & ~first_TE)[:, expert].any())
    assert after.dropped_TE.any()


@pytest.mark.parametrize("room", [engine, lite])
def test_both_twins_refuse_the_same_nonsense_in_the_same_words(room: object) -> None:
    make = torch.zeros if room is engine else np.zeros
    routing = getattr(room, "softmax_top_k")(make((6, 2)), 1)  # noqa: B009
    limited = getattr(room, "with_capacity")  # noqa: B009
    with pytest.raises(ValueError, match="capacity=-1 must not be negative"):
        limited(routing, -1)
    for size in (0, 4):
        with pytest.raises(ValueError, match=f"6 tokens cannot be cut into equal groups of {size}"):
            limited(routing, 1, group_size=size)
    with pytest.raises(ValueError, match="order='random' needs a generator"):
        limited(routing, 1, order="random")
    with pytest.raises(ValueError, match="order='fair' must be one of order, probability, random, batch-prioritized"):
        limited(routing, 1, order="fair")


def test_no_argument_is_changed() -> None:
    routing = lite.softmax_top_k(np.random.default_rng(0).normal(size=(20, 4)), 2)
    before = {field: getattr(routing, field).copy() for field in FIELDS}
    for order in ORDERS:
        lite.with_capacity(routing, 1, order=order, generator=np.random.default_rng(0))
    assert all(np.array_equal(getattr(routing, field), kept) for field, kept in before.items())
