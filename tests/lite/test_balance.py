"""Balancing in NumPy against torch, on the very same records."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moedocs import engine, lite
from moedocs.config import BalanceConfig
from tests.drawing import random_logits
from tests.gaps import Grouped, as_numpy, grouped
from tests.twins import assert_same

few = settings(max_examples=50)


def close(value: float) -> Any:
    """Float32 sums in torch, float64 ones in NumPy."""
    return pytest.approx(value, rel=2e-5, abs=1e-6)


@few
@given(grouped(least_tokens=1), st.integers(0, 10), st.data())
def test_load_and_auxiliary_loss_equal_torch(drawn: Grouped, slots: int, data: st.DataObject) -> None:
    theirs = engine.with_capacity(drawn.routing, slots)
    ours, size = as_numpy(theirs), drawn.group_size
    assert lite.load(ours).tolist() == engine.load(theirs).tolist()
    expected = engine.auxiliary_loss(theirs, group_size=size).item()
    assert lite.auxiliary_loss(ours, group_size=size) == close(expected)
    num_experts = ours.map_TE.shape[1]
    parts = np.array(data.draw(st.lists(st.integers(0, 9), min_size=num_experts, max_size=num_experts)), np.float32)
    share_E = parts / max(parts.sum(), 1)
    expected = engine.auxiliary_loss(theirs, share_E=torch.from_numpy(share_E)).item()
    assert lite.auxiliary_loss(ours, share_E=share_E) == close(expected)


@few
@given(grouped(), st.integers(0, 10))
def test_importance_and_load_losses_equal_torch(drawn: Grouped, slots: int) -> None:
    theirs = engine.with_capacity(drawn.routing, slots)
    theirs = replace(theirs, load_probability_TE=theirs.probs_TE)
    ours = replace(as_numpy(theirs), load_probability_TE=theirs.probs_TE.numpy())
    assert lite.importance_loss(ours) == close(engine.importance_loss(theirs).item())
    assert lite.load_loss(ours) == close(engine.load_loss(theirs).item())


@few
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 99), st.data())
def test_z_and_l1_losses_and_the_l1_weight_equal_torch(
    tokens: int, experts: int, seed: int, data: st.DataObject
) -> None:
    top_k = data.draw(st.integers(1, experts))
    theirs = engine.relu_routing(3 * random_logits(tokens, experts, seed=seed))
    ours = as_numpy(theirs)
    assert lite.z_loss(ours) == close(engine.z_loss(theirs).item())
    assert lite.l1_loss(ours) == close(engine.l1_loss(theirs).item())
    assert lite.l1_loss(ours, top_k=top_k) == close(engine.l1_loss(theirs, top_k=top_k).item())
    for rate in (1.2, 1.5):
        assert lite.updated_l1_weight(1e-8, ours, top_k, rate) == engine.updated_l1_weight(1e-8, theirs, top_k, rate)
    assert lite.updated_l1_weight(1e-8, ours, top_k) == engine.updated_l1_weight(1e-8, theirs, top_k)


@few
@given(grouped(), grouped())
def test_pooled_routings_and_their_share_equal_torch(first: Grouped, second: Grouped) -> None:
    theirs = [first.routing, second.routing]
    ours = [as_numpy(routing) for routing in theirs]
    if ours[0].map_TE.shape[1] != ours[1].map_TE.shape[1]:
        with pytest.raises(ValueError, match=r"over \[\d, \d\] experts cannot be pooled"):
            lite.pooled(ours)
        return
    assert_same(engine.pooled(theirs), lite.pooled(ours))
    assert lite.pooled(ours).load_probability_TE is None
    assert lite.assignment_share(ours) == pytest.approx(engine.assignment_share(theirs).numpy(), rel=1e-6)


@few
@given(st.lists(st.integers(0, 99), min_size=1, max_size=9), st.floats(0, 1))
def test_the_bias_rule_equals_torch(counts: list[int], rate: float) -> None:
    bias_E = np.linspace(-1, 1, len(counts))
    moved_E = engine.updated_bias(torch.from_numpy(bias_E), torch.tensor(counts), rate)
    assert lite.updated_bias(bias_E, counts, rate).tolist() == moved_E.tolist()


WEIGHTS = st.sampled_from([0.0, 0.5])
CONFIGS = st.builds(
    BalanceConfig,
    auxiliary_weight=st.just(0.01),
    auxiliary_pooled=st.booleans(),
    z_weight=WEIGHTS,
    importance_weight=WEIGHTS,
    load_weight=WEIGHTS,
    l1_weight=WEIGHTS,
    constant_weight=WEIGHTS,
)
PARTED = [BalanceConfig(auxiliary_weight=0.5, auxiliary_over=over) for over in ("sequence", "micro-batch")]


@few
@given(CONFIGS | st.sampled_from(PARTED), st.integers(0, 3))
def test_the_balancing_loss_equals_torch(config: BalanceConfig, layers: int) -> None:
    theirs = [engine.softmax_top_k(random_logits(12, 4, seed=seed), 2) for seed in range(layers)]
    theirs = [replace(routing, load_probability_TE=routing.probs_TE) for routing in theirs]
    ours = [replace(as_numpy(one), load_probability_TE=one.probs_TE.numpy()) for one in theirs]
    parts = {"num_sequences": 6, "micro_batches": 2}
    for asked in (parts, parts | {"num_sequences": 3, "top_k": 2}):
        expected = engine.balancing_loss(theirs, config, **asked).item()
        assert lite.balancing_loss(ours, config, **asked) == close(expected)
    expected = engine.balancing_loss(theirs, config, l1_weight=0.25, **parts).item()
    assert lite.balancing_loss(ours, config, l1_weight=0.25, **parts) == close(expected)


@few
@given(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 8)), st.integers(0, 99))
def test_the_specimens_equal_torch(shape: tuple[int, int, int], seed: int) -> None:
    for scale in (1, 100):  # at 100 some probabilities underflow, and the load is no longer 1
        probs_BSE = (scale * random_logits(*shape, seed=seed)).softmax(-1)
        for specimen in ("constant_sum", "constant_mean"):
            expected = getattr(engine, specimen)(probs_BSE).item()
            assert getattr(lite, specimen)(probs_BSE.numpy()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("room", [engine, lite])
def test_both_twins_refuse_the_same_nonsense_in_the_same_words(room: object) -> None:
    def call(name: str, *arguments: object, **options: object) -> object:
        return getattr(room, name)(*arguments, **options)

    make = torch.ones if room is engine else np.ones
    routing, nobody = call("softmax_top_k", make((6, 2)), 1), call("softmax_top_k", make((0, 2)), 1)
    for loss, named in (("auxiliary_loss", "auxiliary loss"), ("z_loss", "z-loss"), ("l1_loss", "L1 loss")):
        with pytest.raises(ValueError, match=f"the {named} of 0 tokens is not defined"):
            call(loss, nobody)
    with pytest.raises(ValueError, match="6 tokens cannot be cut into equal groups of 4"):
        call("auxiliary_loss", routing, group_size=4)
    with pytest.raises(ValueError, match="one share_E does not go with 3 groups of tokens"):
        call("auxiliary_loss", routing, group_size=2, share_E=make(2) / 2)
    with pytest.raises(ValueError, match=r"share_E of shape \(3,\) does not fit num_experts=2"):
        call("auxiliary_loss", routing, share_E=make(3) / 3)
    with pytest.raises(ValueError, match=r"share_E sums to 2\.0, not to 1"):
        call("auxiliary_loss", routing, share_E=make(2))
    with pytest.raises(ValueError, match="load loss needs a load probability"):
        call("balancing_loss", [routing], BalanceConfig(load_weight=0.1))
    with pytest.raises(ValueError, match="constant loss of 0 tokens is not defined"):
        call("balancing_loss", [nobody], BalanceConfig(constant_weight=0.1))
    for parted, name in zip(PARTED, ("num_sequences", "micro_batches"), strict=True):
        with pytest.raises(ValueError, match=f"needs {name}"):
            call("balancing_loss", [routing], parted)
        with pytest.raises(ValueError, match=f"6 tokens cannot be cut into {name}=4 equal parts"):
            call("balancing_loss", [routing], parted, **{name: 4})
    with pytest.raises(ValueError, match=r"over \[\] experts cannot be pooled"):
        call("pooled", [])
