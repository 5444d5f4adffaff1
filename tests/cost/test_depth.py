"""Mixture of Depths on published shapes against the count of the trained models, which is that of the module itself."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedocs.config import DepthConfig, RoutingConfig, TransformerConfig
from moedocs.config.architecture import Architecture
from moedocs.config.fields import shown
from moedocs.config.published import from_dict
from moedocs.cost import forward_pass, linear_flops
from moedocs.cost.atlas import models
from moedocs.cost.cache import cache_bytes
from moedocs.cost.decoding import step_flops
from moedocs.cost.depth import depth_cache_bytes, depth_flops, depth_step_flops, integrated_flops
from moedocs.cost.forward import model_flops
from tests.cost.formulas import assert_each_formula_gives_its_number

SHAPE: dict[str, Any] = {
    "vocab_size": 50,
    "d_model": 24,
    "num_layers": 5,
    "num_heads": 4,
    "num_kv_heads": 2,
    "d_ff": 20,
}
FIELDS = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 20,
    "sliding_window": None,
}


def twins(experts: int, depth: DepthConfig | None = None) -> tuple[TransformerConfig, Architecture]:
    """One shape as a model trained here and as a published file."""
    if not experts:
        return TransformerConfig(**SHAPE, depth=depth), from_dict({"model_type": "mistral", **FIELDS})
    routing = RoutingConfig(num_experts=experts, top_k=2)
    ours = TransformerConfig(**SHAPE, routing=routing, depth=depth)
    fields = {**FIELDS, "num_local_experts": experts, "num_experts_per_tok": 2}
    return ours, from_dict({"model_type": "mixtral", **fields})


CAPACITIES = st.integers(1, 1000).map(lambda thousandths: thousandths / 1000)


@given(experts=st.sampled_from([0, 2, 4]), capacity=CAPACITIES, every=st.integers(1, 5), length=st.integers(0, 40))
def test_routed_blocks_take_what_the_trained_model_takes(
    experts: int, capacity: float, every: int, length: int
) -> None:
    depth = DepthConfig(capacity=capacity, every=every)
    config, model = twins(experts, depth)
    passed = forward_pass(config, 3, length)
    assert depth_flops(model, depth, length, 3, causal=False).value == passed.total
    assert depth_flops(model, depth, length, 3).value == passed.total_causal


@pytest.mark.parametrize("name", [name for name, one in models().items() if not one.architecture.encoder])
def test_at_capacity_one_it_is_the_model_and_its_routers(name: str) -> None:
    model = models()[name].architecture
    found = depth_flops(model, DepthConfig(capacity=1.0), 600, 2)
    assert found.value - found.part("routers of depth") == model_flops(model, 600, 2).causal
    assert (
        depth_flops(model, DepthConfig(capacity=1.0, router="random"), 600, 2).value
        == model_flops(model, 600, 2).causal
    )
    step = depth_step_flops(model, DepthConfig(capacity=1.0), 600, 2)
    assert step.value - step.part("routers of depth") == step_flops(model, 600, 2).value
    kept = depth_cache_bytes(model, DepthConfig(capacity=1.0), 600, 2)
    assert kept.value == cache_bytes(model, 600, 2).value
    eighth = DepthConfig(capacity=0.125)
    for quantity in (found, step, kept, depth_flops(model, eighth, 99), depth_step_flops(model, eighth, 99)):
        assert_each_formula_gives_its_number(quantity)


def test_an_eighth_of_every_other_block_is_six_and_three_quarters_of_twelve_layers() -> None:
    model = from_dict({"model_type": "mistral", **FIELDS, "num_hidden_layers": 12})
    found = depth_flops(model, DepthConfig(capacity=0.125), 800)
    layers = found.part("linear, other blocks") + found.part("linear, routed blocks")
    head = 2 * 24 * 50 * 800
    assert layers / (model_flops(model, 800).linear - head) == 6.75 / 12
    full = depth_flops(model, DepthConfig(capacity=0.125), 800, causal=False)
    assert full.part("attention, routed blocks") == full.part("attention, other blocks") / 64


@pytest.mark.parametrize(("capacity", "every", "share"), [(0.5, 1, 13.8), (0.125, 2, 15.5), (1.0, 1, 27.3)])
def test_experts_and_depth_together_are_far_from_the_twelve_percent_of_a_product(
    capacity: float, every: int, share: float
) -> None:
    """Linear FLOPs of Mixtral with routed blocks, of those of a dense model with all its 46.70 billion parameters."""
    mixtral = models()["mixtral-8x7b"].architecture
    found = depth_flops(mixtral, DepthConfig(capacity=capacity, every=every), 1000)
    linear = sum(part.value for part in found.parts if part.name.startswith("linear"))
    assert round(100 * linear / (2 * 46_702_792_704 * 1000), 1) == share


def test_half_the_tokens_take_half_of_what_is_linear_and_a_quarter_of_what_is_quadratic() -> None:
    model = from_dict({"model_type": "mistral", **FIELDS, "num_hidden_layers": 12})
    dense = model_flops(model, 1000)
    layers = dense.linear - 2 * 24 * 50 * 1000
    every, alternate = (depth_flops(model, DepthConfig(capacity=0.5, every=n), 1000, causal=False) for n in (1, 2))
    assert every.part("linear, routed blocks") == layers / 2
    assert every.part("attention, routed blocks") == dense.attention_full / 4
    assert alternate.part("linear, routed blocks") + alternate.part("linear, other blocks") == layers * 3 / 4


def test_a_step_passes_a_routed_block_in_a_quarter_of_the_cases_and_sees_a_quarter_of_the_tokens_there() -> None:
    model = from_dict({"model_type": "mistral", **FIELDS, "num_hidden_layers": 12})
    found = depth_step_flops(model, DepthConfig(capacity=0.25), 1000, 3)
    assert found.part("linear, routed blocks") == found.part("linear, other blocks") / 4
    assert found.part("attention, routed blocks") == found.part("attention, other blocks") / 16
    assert found.part("routers of depth") == 3 * 2 * 24 * 6


@given(capacity=CAPACITIES)
def test_routed_blocks_keep_the_tokens_that_passed(capacity: float) -> None:
    model = from_dict({"model_type": "mistral", **FIELDS, "num_hidden_layers": 12})
    depth = DepthConfig(capacity=capacity)
    kept = depth_cache_bytes(model, depth, 1000).value
    assert kept == cache_bytes(model, 1000).value / 1000 * (1000 + depth.slots(1000)) / 2


@given(no_ops=st.integers(0, 9), length=st.integers(0, 30))
def test_no_op_experts_take_their_share_from_the_others(no_ops: int, length: int) -> None:
    _, model = twins(4)
    routing = RoutingConfig(num_experts=4, top_k=2, no_op_experts=no_ops)
    config = TransformerConfig(**SHAPE, routing=routing)
    found = integrated_flops(model, no_ops, length, 2)
    causal = model_flops(model, length, 2).attention_causal
    assert found.value == pytest.approx(2 * length * linear_flops(config) + causal)
    assert_each_formula_gives_its_number(found)
    assert integrated_flops(model, 0, length, 2).value == model_flops(model, length, 2).causal


def test_what_has_no_blocks_to_route_is_refused() -> None:
    for name in ("switch-base-128", "nllb-moe-54b"):
        with pytest.raises(ValueError, match="has an encoder"):
            depth_flops(models()[name].architecture, DepthConfig(capacity=0.5), 10)
    _, dense = twins(0)
    with pytest.raises(ValueError, match="every=6 routes none of the 5 layers"):
        depth_flops(dense, DepthConfig(capacity=0.5, every=6), 10)
    with pytest.raises(ValueError, match="must have layers of experts"):
        integrated_flops(dense, 2, 10)


@pytest.mark.parametrize("value", [-1, 10**30, True, "4", None, 1.5, float("nan"), 10**5000], ids=shown)
def test_numbers_that_mean_no_good_are_refused_by_name(value: Any) -> None:
    (_, model), depth = twins(4), DepthConfig(capacity=0.5)
    tries: dict[str, Callable[[], object]] = {
        "sequence": lambda: depth_flops(model, depth, value),
        "batch": lambda: depth_flops(model, depth, 1, value),
        "context": lambda: depth_step_flops(model, depth, value),
        "tokens": lambda: depth_cache_bytes(model, depth, value),
        "no_ops": lambda: integrated_flops(model, value, 1),
    }
    for name, attempt in tries.items():
        with pytest.raises(ValueError, match=rf"^{name}="):
            attempt()
