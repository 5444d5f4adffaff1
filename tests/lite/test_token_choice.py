"""Token choice, capacity and balancing in NumPy against torch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from moedocs import engine, lite
from tests.strategies import Case, cases
from tests.twins import FIELDS, assert_same


@given(cases(), st.integers(0, 10))
def test_routing_and_capacity_equal_torch(case: Case, slots: int) -> None:
    theirs = engine.softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise)
    ours = lite.softmax_top_k(case.logits_TE, case.top_k, renormalise=case.renormalise)
    assert_same(theirs, ours)
    assert_same(engine.with_capacity(theirs, slots), lite.with_capacity(ours, slots))


@given(cases(), st.data())
def test_biased_routing_equals_torch_where_rounding_does_not_decide(case: Case, data: st.DataObject) -> None:
    size = case.num_experts
    bias_E = np.array(data.draw(st.lists(st.floats(-1, 1), min_size=size, max_size=size)), np.float32)
    theirs = engine.softmax_top_k(
        torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise, bias_E=torch.from_numpy(bias_E)
    )
    scores_TE = np.sort(theirs.probs_TE.numpy() + bias_E)
    assume(size == 1 or not len(scores_TE) or np.diff(scores_TE).min() > 1e-6)
    assert_same(theirs, lite.softmax_top_k(case.logits_TE, case.top_k, renormalise=case.renormalise, bias_E=bias_E))


@given(cases(least_tokens=1), st.floats(0, 1))
def test_load_loss_and_bias_rule_equal_torch(case: Case, rate: float) -> None:
    theirs = engine.softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise)
    ours = lite.softmax_top_k(case.logits_TE, case.top_k, renormalise=case.renormalise)
    counts_E = engine.load(theirs)
    assert lite.load(ours).tolist() == counts_E.tolist()
    assert lite.auxiliary_loss(ours) == pytest.approx(engine.auxiliary_loss(theirs).item(), rel=1e-5, abs=1e-30)
    bias_E = torch.zeros(case.num_experts, dtype=torch.float64)
    moved = engine.updated_bias(bias_E, counts_E, rate)
    assert lite.updated_bias(bias_E.numpy(), counts_E.numpy(), rate).tolist() == moved.tolist()


def test_plain_lists_will_do() -> None:
    routing = lite.softmax_top_k([[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]], 2)
    assert routing.index_TK.tolist() == [[0, 1], [2, 1]]
    assert lite.load(routing).tolist() == [1, 2, 1]


@pytest.mark.parametrize("room", [engine, lite])
def test_both_twins_refuse_the_same_nonsense_in_the_same_words(room: object) -> None:
    make = torch.tensor if room is engine else np.array
    route = getattr(room, "softmax_top_k")  # noqa: B009
    with pytest.raises(ValueError, match=r"top_k=4 must lie in 1\.\.num_experts=3"):
        route(make([[0.0, 0.0, 0.0]]), 4)
    with pytest.raises(ValueError, match="router logit of token 1 for expert 0 is nan, not a finite number"):
        route(make([[0.0, 0.0], [math.nan, 0.0]]), 1)
    with pytest.raises(ValueError, match=r"bias of shape \(3,\) does not fit num_experts=2"):
        route(make([[0.0, 0.0]]), 1, bias_E=make([0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="capacity=-1 must not be negative"):
        getattr(room, "with_capacity")(route(make([[0.0, 0.0]]), 1), -1)  # noqa: B009
    with pytest.raises(ValueError, match="auxiliary loss of 0 tokens"):
        getattr(room, "auxiliary_loss")(route(make(np.zeros((0, 2)).tolist()).reshape(0, 2), 1))  # noqa: B009


def test_no_argument_is_changed() -> None:
    logits_TE, bias_E, counts_E = np.zeros((4, 3), np.float32), np.zeros(3, np.float32), np.array([1, 2, 3])
    routing = lite.softmax_top_k(logits_TE, 2, bias_E=bias_E)
    before = {field: getattr(routing, field).copy() for field in FIELDS}
    lite.with_capacity(routing, 1)
    lite.updated_bias(bias_E, counts_E, 0.1)
    assert not logits_TE.any()
    assert not bias_E.any()
    assert counts_E.tolist() == [1, 2, 3]
    assert all(np.array_equal(getattr(routing, field), kept) for field, kept in before.items())
