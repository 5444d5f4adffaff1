"""What a routing, a model and a training may be, and the numbers with which each nonsense is refused."""

import dataclasses
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TrainingConfig, TransformerConfig, capacity

TRAINING: dict[str, Any] = {"steps": 10, "sequences": 2, "sequence_length": 8, "learning_rate": 1e-3}
MODEL: dict[str, Any] = {"vocab_size": 256, "d_model": 64, "num_layers": 2, "num_heads": 4, "d_ff": 128}


TOP_2_OF_8 = RoutingConfig(num_experts=8, top_k=2)
HALF = DepthConfig(capacity=0.5)
RATES = [one.name for one in dataclasses.fields(BalanceConfig) if one.type == "float" or one.type is float]


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ({"num_experts": 0}, "num_experts=0"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_k": 9}, r"top_k=9 must lie in 1\.\.num_experts=8"),
        ({"num_experts": 8.0}, "num_experts=8.0 must be a whole number"),
        ({"top_k": True}, "top_k=True must be a whole number"),
        ({"router": "hope"}, "router='hope' must be one of softmax, sigmoid"),
        ({"renormalise": 1}, "renormalise=1 must be True or False"),
        ({"routed_scaling": -1.0}, "routed_scaling=-1.0"),
        ({"routed_scaling": math.inf}, "routed_scaling=inf"),
        ({"capacity_factor": -0.5}, "capacity_factor=-0.5"),
        ({"capacity_factor": math.inf}, "capacity_factor=inf"),
        ({"capacity_factor": math.nan}, "capacity_factor=nan"),
        ({"capacity_factor": True}, "capacity_factor=True"),
        ({"capacity_factor": 1.0, "capacity_order": "luck"}, "capacity_order='luck' must be one of order, probability"),
        ({"capacity_factor": 1.0, "capacity_over": "page"}, "capacity_over='page' must be one of batch, sequence"),
        ({"capacity_order": "random"}, "capacity_order='random' has no effect with capacity_factor=None"),
        ({"capacity_over": "sequence"}, "capacity_over='sequence' has no effect with capacity_factor=None"),
        ({"num_groups": 0}, "num_groups=0"),
        ({"num_groups": 3}, "num_experts=8 is not a multiple of num_groups=3"),
        ({"num_groups": 8, "no_op_experts": 1}, r"num_experts=8 \+ no_op_experts=1 is not a multiple of num_groups=8"),
        ({"num_groups": 4, "top_groups": 5}, r"top_groups=5 must lie in 1\.\.num_groups=4"),
        ({"top_groups": 2}, r"top_groups=2 must lie in 1\.\.num_groups=1"),
        ({"num_groups": 8, "top_groups": 1}, "top_groups=1 leaves 1 experts, fewer than top_k=2"),
        ({"shared_experts": -1}, "shared_experts=-1"),
        ({"no_op_experts": 0.5}, "no_op_experts=0.5"),
        ({"shared_gate": True}, "shared_gate=True has no effect with shared_experts=0"),
        ({"router": "gshard", "top_k": 1}, "top_k=1: router='gshard' always looks at two experts"),
        ({"router": "base"}, "top_k=2: router='base' gives each token one expert"),
        ({"router": "expert-choice"}, "router='expert-choice' needs a capacity_factor"),
        ({"router": "noisy", "num_groups": 2}, "num_groups=2 has no effect with router='noisy'"),
        ({"router": "relu", "renormalise": False}, "renormalise=False has no effect with router='relu'"),
        ({"router": "noisy", "routed_scaling": 2.5}, "routed_scaling=2.5 has no effect with router='noisy'"),
        (
            {"router": "expert-choice", "capacity_factor": 1.0, "capacity_order": "random"},
            "capacity_order='random' has no effect with router='expert-choice'",
        ),
        (
            {"router": "sinkhorn", "balance": BalanceConfig(bias_rate=0.1)},
            "balance.bias_rate=0.1 has no effect with router='sinkhorn'",
        ),
        ({"balance": BalanceConfig(load_weight=0.1)}, "balance.load_weight=0.1 has no effect with router='softmax'"),
        ({"balance": BalanceConfig(l1_weight=0.1)}, "balance.l1_weight=0.1 has no effect with router='softmax'"),
        (
            {"router": "relu", "balance": BalanceConfig(constant_weight=0.1)},
            "balance.constant_weight=0.1 is of a loss that is constant where every probability is above 0",
        ),
    ],
)
def test_a_routing_that_makes_no_sense_is_refused_with_its_numbers(given: dict[str, Any], numbers: str) -> None:
    with pytest.raises(ValueError, match=numbers):
        RoutingConfig(**{"num_experts": 8, "top_k": 2} | given)


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        *(({name: -0.1}, f"{name}=-0.1") for name in RATES),
        ({"z_weight": math.nan}, "z_weight=nan"),
        ({"bias_rate": math.inf}, "bias_rate=inf"),
        ({"auxiliary_weight": "much"}, "auxiliary_weight='much'"),
        ({"auxiliary_over": "sequence"}, "auxiliary_over='sequence' has no effect with auxiliary_weight=0.0"),
        ({"auxiliary_pooled": True}, "auxiliary_pooled=True has no effect with auxiliary_weight=0.0"),
        ({"auxiliary_over": "micro-batch"}, "auxiliary_over='micro-batch' has no effect with auxiliary_weight=0.0"),
        (
            {"auxiliary_weight": 0.1, "auxiliary_over": "page"},
            "auxiliary_over='page' must be one of batch, micro-batch, sequence",
        ),
        *(
            (
                {"auxiliary_weight": 0.1, "auxiliary_over": over, "auxiliary_pooled": True},
                f"auxiliary_pooled=True pools whole batches: it does not go with auxiliary_over='{over}'",
            )
            for over in ("sequence", "micro-batch")
        ),
    ],
)
def test_a_balancing_that_makes_no_sense_is_refused_with_its_numbers(given: dict[str, Any], numbers: str) -> None:
    with pytest.raises(ValueError, match=numbers):
        BalanceConfig(**given)


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        *(({"capacity": bad}, f"capacity={bad}") for bad in (0, -0.5, 1.01, math.nan, math.inf, True)),
        ({"every": 0}, "every=0"),
        ({"router": "fate"}, "router='fate' must be one of learned, random"),
        ({"weight": "none"}, "weight='none' must be one of raw, sigmoid"),
        ({"sampling": "guess"}, "sampling='guess' must be one of none, auxiliary, predictor"),
        ({"sampling": "auxiliary", "sampling_weight": -1.0}, "sampling_weight=-1.0"),
        (
            {"router": "random", "sampling": "predictor"},
            "sampling='predictor' has nothing to learn from router='random'",
        ),
        ({"router": "random", "weight": "sigmoid"}, "weight='sigmoid' has no effect with router='random'"),
    ],
)
def test_a_depth_that_makes_no_sense_is_refused_with_its_numbers(given: dict[str, Any], numbers: str) -> None:
    with pytest.raises(ValueError, match=numbers):
        DepthConfig(**{"capacity": 0.5} | given)


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
        ({"dense_d_ff": 0}, "dense_d_ff=0"),
        ({"moe_every": 0}, "moe_every=0"),
        ({"first_dense": -1}, "first_dense=-1"),
        ({"moe_every": 2}, "moe_every=2 has no effect with routing=None"),
        ({"first_dense": 1}, "first_dense=1 has no effect with routing=None"),
        ({"dense_d_ff": 256}, "dense_d_ff=256 has no effect with routing=None"),
        ({"routing": TOP_2_OF_8, "dense_d_ff": 256}, "dense_d_ff=256 has no effect: all num_layers=2 have experts"),
        ({"routing": TOP_2_OF_8, "first_dense": 2}, "first_dense=2 and moe_every=1 leave none of num_layers=2"),
        ({"routing": TOP_2_OF_8, "moe_every": 3}, "first_dense=0 and moe_every=3 leave none of num_layers=2"),
        ({"depth": HALF, "num_layers": 1}, "depth.every=2 routes none of num_layers=1"),
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
        ({"decay_steps": -1}, "decay_steps=-1"),
        ({"warmup_steps": 6, "decay_steps": 5}, r"warmup_steps=6 \+ decay_steps=5 are more than steps=10"),
        ({"micro_batches": 0}, "micro_batches=0"),
        ({"sequences": 16, "micro_batches": 3}, "micro_batches=3 must divide sequences=16"),
        ({"betas": (0.9, 1.0)}, r"betas=\(0.9, 1.0\)"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
    ],
)
def test_a_training_that_makes_no_sense_is_refused_with_its_numbers(changed: dict[str, Any], numbers: str) -> None:
    with pytest.raises(ValueError, match=numbers):
        TrainingConfig(**TRAINING | changed)


def test_the_rate_rises_stays_and_falls_in_straight_lines_and_is_never_zero() -> None:
    rates = TrainingConfig(**TRAINING | {"learning_rate": 1.0, "warmup_steps": 3, "decay_steps": 4})
    assert [rates.rate_at(step) for step in range(10)] == [0.25, 0.5, 0.75, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    assert {TrainingConfig(**TRAINING).rate_at(step) for step in range(10)} == {1e-3}
    for step in (-1, 10):
        with pytest.raises(ValueError, match=rf"step={step} must lie in 0\.\.9"):
            rates.rate_at(step)


@given(st.integers(1, 50), st.data())
def test_of_any_schedule_every_step_learns_and_only_warm_up_and_decay_learn_less(
    steps: int, data: st.DataObject
) -> None:
    warmup = data.draw(st.integers(0, steps))
    decay = data.draw(st.integers(0, steps - warmup))
    config = TrainingConfig(**TRAINING | {"steps": steps, "warmup_steps": warmup, "decay_steps": decay})
    rates = [config.rate_at(step) for step in range(steps)]
    assert min(rates) > 0
    assert [rate < 1e-3 for rate in rates] == [True] * warmup + [False] * (steps - warmup - decay) + [True] * decay
    assert rates[: steps - decay] == [1e-3 * min(1.0, (step + 1) / (warmup + 1)) for step in range(steps - decay)]


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


def test_capacity_is_shared_with_the_no_ops() -> None:
    with_no_ops = RoutingConfig(num_experts=6, no_op_experts=2, top_k=2, capacity_factor=1.0)
    assert capacity(100, with_no_ops) == 25  # 100 * 2 / (6 + 2)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 12))
def test_after_the_first_dense_blocks_every_nth_has_experts(layers: int, every: int, dense: int) -> None:
    expected, waited = [], 0
    for block in range(layers):
        waited += block >= dense
        if waited == every:
            expected.append(block)
            waited = 0
    model = MODEL | {"num_layers": layers, "routing": TOP_2_OF_8, "moe_every": every, "first_dense": dense}
    if expected:
        assert TransformerConfig(**model).moe_blocks == tuple(expected)
    else:
        with pytest.raises(ValueError, match="with experts: give routing=None"):
            TransformerConfig(**model)


def test_published_placements_are_told_by_two_numbers() -> None:
    def blocks(**placement: int) -> tuple[int, ...]:
        return TransformerConfig(**MODEL | {"num_layers": 6, "routing": TOP_2_OF_8} | placement).moe_blocks

    assert blocks() == (0, 1, 2, 3, 4, 5)  # Mixtral
    assert blocks(moe_every=2) == (1, 3, 5)  # Switch, GShard
    assert blocks(first_dense=3) == (3, 4, 5)  # DeepSeek-V3
    assert TransformerConfig(**MODEL).moe_blocks == ()


def test_depth_routes_every_other_block_or_every_one() -> None:
    def blocks(every: int) -> tuple[int, ...]:
        depth = DepthConfig(capacity=0.5, every=every)
        return TransformerConfig(**MODEL | {"num_layers": 5, "depth": depth}).depth_blocks

    assert HALF.every == 2
    assert blocks(2) == (1, 3)
    assert blocks(1) == (0, 1, 2, 3, 4)
    assert blocks(5) == (4,)
    assert TransformerConfig(**MODEL).depth_blocks == ()


def test_a_dense_block_is_as_wide_as_one_expert_unless_said_otherwise() -> None:
    model = MODEL | {"routing": TOP_2_OF_8, "first_dense": 1}
    assert TransformerConfig(**model).dense_width == 128
    assert TransformerConfig(**model, dense_d_ff=512).dense_width == 512


@pytest.mark.parametrize(
    ("share", "length", "slots"),
    [(0.125, 128, 16), (0.125, 129, 17), (0.1, 30, 3), (1.0, 7, 7), (0.01, 1, 1), (0.5, 0, 0)],
)
def test_the_slots_of_a_sequence_are_its_share_rounded_up(share: float, length: int, slots: int) -> None:
    assert DepthConfig(capacity=share).slots(length) == slots


@given(st.integers(1, 10_000), st.floats(0.0001, 1))
def test_of_any_sequence_at_least_one_token_passes_and_at_most_all(length: int, share: float) -> None:
    slots = DepthConfig(capacity=share).slots(length)
    assert 1 <= slots <= length
    assert slots - 1 < Fraction(str(share)) * length <= slots


def test_slots_refuse_fewer_than_no_tokens() -> None:
    with pytest.raises(ValueError, match="length=-1"):
        HALF.slots(-1)
