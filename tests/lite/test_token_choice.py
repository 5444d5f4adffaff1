"""Token choice, capacity and balancing in NumPy against torch."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from moedocs import engine, lite
from tests.strategies import Case, Choice, cases, choices
from tests.twins import FIELDS, assert_same


@given(cases(), st.integers(0, 10))
def test_routing_and_capacity_equal_torch(case: Case, slots: int) -> None:
    theirs = engine.softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise)
    ours = lite.softmax_top_k(case.logits_TE, case.top_k, renormalise=case.renormalise)
    assert_same(theirs, ours)
    assert_same(engine.with_capacity(theirs, slots), lite.with_capacity(ours, slots))


@given(cases(), st.sampled_from([1.0, 2.5]))
def test_every_other_choice_equals_torch(case: Case, scaling: float) -> None:
    logits_TE, top_k = torch.from_numpy(case.logits_TE), case.top_k
    options: Any = {"renormalise": case.renormalise, "scaling": scaling}
    assert_same(engine.sigmoid_top_k(logits_TE, top_k, **options), lite.sigmoid_top_k(case.logits_TE, top_k, **options))
    assert_same(engine.top_k_softmax(logits_TE, top_k), lite.top_k_softmax(case.logits_TE, top_k))
    assert_same(engine.switch_top_1(logits_TE), lite.switch_top_1(case.logits_TE))


@given(choices())
def test_groups_by_their_best_logit_equal_torch_at_every_extreme(choice: Choice) -> None:
    options: Any = {"renormalise": choice.renormalise, "groups": choice.groups, "scaling": choice.scaling}
    theirs = engine.softmax_top_k(torch.from_numpy(choice.logits_TE), choice.top_k, **options)
    assert_same(theirs, lite.softmax_top_k(choice.logits_TE, choice.top_k, **options))


def apart(scores: NDArray[np.float32]) -> bool:
    """Do no two numbers of a row differ by so little that rounding may order them?"""
    return scores.size == 0 or scores.shape[-1] == 1 or bool(np.diff(np.sort(scores)).min() > 1e-6)


@pytest.mark.parametrize("name", ["softmax_top_k", "sigmoid_top_k"])
@given(choice=choices(apart=True))
def test_biases_and_groups_equal_torch_where_rounding_does_not_decide(name: str, choice: Choice) -> None:
    size = choice.num_experts
    bias_E = np.zeros(size, np.float32) if choice.bias_E is None else choice.bias_E
    count = choice.groups.count if choice.groups else 1
    logits_TE = torch.from_numpy(choice.logits_TE)
    scores_TE = (logits_TE.sigmoid() if name == "sigmoid_top_k" else logits_TE.softmax(-1)).numpy() + bias_E
    best_two_TGX = np.sort(scores_TE.reshape(-1, count, size // count))[:, :, -2:]
    assume(apart(scores_TE) and apart(best_two_TGX.sum(-1)))
    options: Any = {"renormalise": choice.renormalise, "groups": choice.groups, "scaling": choice.scaling}
    theirs = getattr(engine, name)(logits_TE, choice.top_k, bias_E=torch.from_numpy(bias_E), **options)
    assert_same(theirs, getattr(lite, name)(choice.logits_TE, choice.top_k, bias_E=bias_E, **options))


@pytest.mark.parametrize("room", [engine, lite])
def test_both_twins_give_equal_groups_to_the_lowest_index(room: Any) -> None:
    zeros_TE = torch.zeros(2, 8) if room is engine else np.zeros((2, 8))
    for route in (room.softmax_top_k, room.sigmoid_top_k):
        assert route(zeros_TE, 3, groups=room.Groups(4, 2)).index_TK.tolist() == [[0, 1, 2]] * 2
        biased = route(zeros_TE, 2, bias_E=zeros_TE[0] + 3e38, groups=room.Groups(4, 1))
        assert biased.index_TK.tolist() == [[0, 1]] * 2


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
    with pytest.raises(ValueError, match="router logit of token 0 for expert 1 is inf, not a finite number in float32"):
        route(make([[0.0, 1e300]]), 1)
    with pytest.raises(ValueError, match="bias of expert 1 is inf, not a finite number"):
        route(make([[0.0, 0.0]]), 1, bias_E=make([0.0, math.inf]))
    with pytest.raises(ValueError, match="num_experts=2 is not a multiple of count=3 groups"):
        route(make([[0.0, 0.0]]), 1, groups=engine.Groups(3, 1))
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
