import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedocs.config import RoutingConfig, TrainingConfig, TransformerConfig, capacity

TRAINING: dict[str, Any] = {"steps": 10, "sequences": 2, "sequence_length": 8, "learning_rate": 1e-3}
MODEL: dict[str, Any] = {"vocab_size": 256, "d_model": 64, "num_layers": 2, "num_heads": 4, "d_ff": 128}


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ({"num_experts": 0, "top_k": 1}, "num_experts=0"),
        ({"num_experts": 8, "top_k": 0}, "top_k=0"),
        ({"num_experts": 8, "top_k": 9}, r"top_k=9 must lie in 1\.\.num_experts=8"),
        ({"num_experts": 8.0, "top_k": 2}, "num_experts=8.0 must be a whole number"),
        ({"num_experts": 8, "top_k": True}, "top_k=True must be a whole number"),
        ({"num_experts": 8, "top_k": 2, "capacity_factor": -0.5}, "capacity_factor=-0.5"),
        ({"num_experts": 8, "top_k": 2, "capacity_factor": math.inf}, "capacity_factor=inf"),
        ({"num_experts": 8, "top_k": 2, "capacity_factor": math.nan}, "capacity_factor=nan"),
        ({"num_experts": 8, "top_k": 2, "router": "hope"}, "router='hope' must be one of softmax, sigmoid"),
    ],
)
def test_a_routing_that_makes_no_sense_is_refused_with_its_numbers(given: dict[str, Any], numbers: str) -> None:
    with pytest.raises(ValueError, match=numbers):
        RoutingConfig(**given)


@pytest.mark.parametrize(
    ("changed", "numbers"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_heads": 5}, "d_model=64 is not a multiple of num_heads=5"),
        ({"num_heads": 4, "num_kv_heads": 3}, "num_heads=4 is not a multiple of num_kv_heads=3"),
        ({"num_kv_heads": 0}, "num_kv_heads=0"),
        ({"head_dim": 0}, "head_dim=0"),
        ({"head_dim": 15}, "head_dim=15 must be even"),
        ({"d_ff": "wide"}, "d_ff='wide' must be a whole number"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused_with_its_numbers(changed: dict[str, Any], numbers: str) -> None:
    with pytest.raises(ValueError, match=numbers):
        TransformerConfig(**MODEL | changed)


@pytest.mark.parametrize(
    ("changed", "numbers"),
    [
        ({"steps": 0}, "steps=0"),
        ({"seed": -1}, "seed=-1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": math.nan}, "learning_rate=nan"),
        ({"warmup_steps": 11}, r"warmup_steps=11 must lie in 0\.\.steps=10"),
        ({"betas": (0.9, 1.0)}, r"betas=\(0.9, 1.0\)"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
    ],
)
def test_a_training_that_makes_no_sense_is_refused_with_its_numbers(changed: dict[str, Any], numbers: str) -> None:
    with pytest.raises(ValueError, match=numbers):
        TrainingConfig(**TRAINING | changed)


def test_configurations_are_frozen_and_equal_by_value() -> None:
    routing = RoutingConfig(num_experts=8, top_k=2)
    assert routing == RoutingConfig(top_k=2, num_experts=8)
    assert hash(TransformerConfig(**MODEL, routing=routing)) == hash(TransformerConfig(**MODEL, routing=routing))
    with pytest.raises(dataclasses.FrozenInstanceError):
        routing.top_k = 3  # type: ignore[misc]


def test_heads_default_to_d_model_over_num_heads_and_to_as_many_for_keys() -> None:
    plain = TransformerConfig(**MODEL)
    assert (plain.head_width, plain.kv_heads) == (16, 4)
    given = TransformerConfig(**MODEL | {"head_dim": 32, "num_kv_heads": 2})
    assert (given.head_width, given.kv_heads) == (32, 2)


@pytest.mark.parametrize(
    ("num_tokens", "factor", "slots"),
    [
        (100, 1.0, 25),  # 100 * 2 / 8
        (100, 1.25, 32),  # 31.25, rounded up
        (400, 1.1, 110),  # in floating point 1.1 * 100 is a little more than 110
        (100, 0.0, 0),
        (0, 1.0, 0),
        (1, 1.0, 1),
        (100, None, 100),
    ],
)
def test_capacity_is_the_mean_load_times_the_factor_rounded_up(num_tokens: int, factor: float, slots: int) -> None:
    assert capacity(num_tokens, RoutingConfig(num_experts=8, top_k=2, capacity_factor=factor)) == slots


def test_capacity_refuses_fewer_than_no_tokens() -> None:
    with pytest.raises(ValueError, match="num_tokens=-1"):
        capacity(-1, RoutingConfig(num_experts=8, top_k=2))


@given(st.integers(0, 5000), st.integers(1, 64), st.data())
def test_a_factor_of_one_has_room_for_all_assignments_and_less_than_one_slot_to_spare_per_expert(
    num_tokens: int, num_experts: int, data: st.DataObject
) -> None:
    top_k = data.draw(st.integers(1, num_experts))
    slots = capacity(num_tokens, RoutingConfig(num_experts=num_experts, top_k=top_k, capacity_factor=1.0))
    assert 0 <= num_experts * slots - num_tokens * top_k < num_experts
