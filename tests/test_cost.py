"""What a transformer costs: published totals and the laws that counts obey."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedocs.config import DepthConfig, RoutingConfig, TransformerConfig
from moedocs.cost import (
    PUBLISHED,
    attention_flops,
    depth_parameters,
    expert_parameters,
    forward_flops,
    linear_flops,
    parameters,
    quantities,
)
from moedocs.site.values import UNITS
from tests.strategies import transformers

MIXTRAL, LLAMA = PUBLISHED["mixtral-8x7b"], PUBLISHED["llama-2-70b"]


def routed(config: TransformerConfig, more_experts: int = 0, more_k: int = 0) -> TransformerConfig:
    """The same model with more experts, or with more of them per token."""
    routing = config.routing
    assert routing is not None
    changed = RoutingConfig(num_experts=routing.num_experts + more_experts, top_k=routing.top_k + more_k)
    return replace(config, routing=changed)


def test_mixtral_and_llama_have_the_parameters_that_their_weights_have() -> None:
    assert parameters(MIXTRAL).total == 46_702_792_704
    assert parameters(MIXTRAL).active == 12_879_925_248
    assert parameters(LLAMA).total == parameters(LLAMA).active == 68_976_648_192


def test_eight_times_seven_is_not_what_mixtral_has_because_only_the_experts_are_there_eight_times() -> None:
    part = parameters(MIXTRAL)
    one_expert_model = parameters(replace(MIXTRAL, routing=RoutingConfig(num_experts=1, top_k=1)))
    assert part.total - one_expert_model.total == 7 * 32 * (3 * 4096 * 14336 + 4096)
    assert part.experts == 4 * part.active_experts


@given(transformers() | transformers(sparse=False))
def test_active_is_at_most_total_and_equal_only_where_every_expert_runs(config: TransformerConfig) -> None:
    part, routing = parameters(config), config.routing
    assert part.active <= part.total
    assert (part.active == part.total) == (routing is None or routing.top_k == routing.num_experts)


@given(transformers() | transformers(sparse=False))
def test_the_laboratories_rules_differ_by_exactly_the_two_vocabulary_matrices(config: TransformerConfig) -> None:
    part, matrix = parameters(config), config.vocab_size * config.d_model
    assert part.active - part.active_without_embeddings == matrix * (1 if config.tied_embeddings else 2)
    assert part.active - part.active_without_input_embedding == (0 if config.tied_embeddings else matrix)


@given(transformers(sparse=False))
def test_a_dense_model_is_one_expert_without_its_router(dense: TransformerConfig) -> None:
    single = replace(dense, routing=RoutingConfig(num_experts=1, top_k=1))
    router = dense.num_layers * dense.d_model
    assert parameters(single).total - parameters(dense).total == router
    assert linear_flops(single) - linear_flops(dense) == 2 * router


@given(transformers(), st.integers(1, 5))
def test_experts_multiply_what_is_stored_and_add_only_router_rows_to_what_is_used(
    config: TransformerConfig, more: int
) -> None:
    before, after = parameters(config), parameters(routed(config, more_experts=more))
    rows = more * config.num_layers * config.d_model
    assert after.total - before.total == rows + more * config.num_layers * expert_parameters(config)
    assert after.active - before.active == rows


@given(transformers(), st.integers(1, 5))
def test_top_k_multiplies_what_is_used_and_leaves_what_is_stored(config: TransformerConfig, more: int) -> None:
    roomy = routed(config, more_experts=more)
    before, after = parameters(roomy), parameters(routed(roomy, more_k=more))
    used = more * config.num_layers * expert_parameters(config)
    assert (after.total - before.total, after.active - before.active) == (0, used)
    assert linear_flops(routed(roomy, more_k=more)) - linear_flops(roomy) == 2 * used


@given(transformers() | transformers(sparse=False), st.sampled_from(["num_layers", "d_ff"]), st.integers(0, 100))
def test_more_layers_or_wider_experts_cost_more_of_everything(
    config: TransformerConfig, name: str, context: int
) -> None:
    grown = replace(config, **{name: getattr(config, name) + 1})
    assert parameters(grown).total > parameters(config).total
    assert parameters(grown).active > parameters(config).active
    assert forward_flops(grown, context) > forward_flops(config, context)


@given(transformers() | transformers(sparse=False), st.integers(1, 4))
def test_each_layer_costs_the_same(config: TransformerConfig, more: int) -> None:
    def counts(layers: int) -> list[int]:
        model = replace(config, num_layers=layers)
        return [*asdict(parameters(model)).values(), parameters(model).active, forward_flops(model, 7)]

    first, second, last = (counts(1 + step) for step in (0, 1, more))
    assert last == [a + more * (b - a) for a, b in zip(first, second, strict=True)]


@given(transformers() | transformers(sparse=False), st.integers(0, 9), st.integers(0, 9))
def test_a_longer_context_adds_attention_alone_in_proportion(config: TransformerConfig, near: int, far: int) -> None:
    assert forward_flops(config) == linear_flops(config)
    assert attention_flops(config, near) + attention_flops(config, far) == attention_flops(config, near + far)
    assert forward_flops(config, near) - linear_flops(config) == attention_flops(config, near)


def test_a_negative_context_is_refused() -> None:
    with pytest.raises(ValueError, match="context=-1 must not be negative"):
        attention_flops(MIXTRAL, -1)


SMALL = TransformerConfig(
    vocab_size=100, d_model=8, num_layers=6, num_heads=2, d_ff=32, routing=RoutingConfig(num_experts=4, top_k=2)
)


def test_experts_in_every_other_block_are_half_as_many_and_the_other_blocks_are_dense() -> None:
    every, other = parameters(SMALL), parameters(replace(SMALL, moe_every=2, dense_d_ff=16))
    assert (2 * other.experts, 2 * other.active_experts, 2 * other.routers) == (
        every.experts,
        every.active_experts,
        every.routers,
    )
    assert (every.dense_ffn, other.dense_ffn) == (0, 3 * 3 * 8 * 16)


def test_shared_experts_are_experts_that_everyone_uses_and_a_gate_is_one_row() -> None:
    def with_shared(number: int, gate: bool) -> TransformerConfig:
        routing = RoutingConfig(num_experts=4, top_k=2, shared_experts=number, shared_gate=gate)
        return replace(SMALL, routing=routing)

    plain, two, gated = (parameters(model) for model in (SMALL, with_shared(2, False), with_shared(2, True)))
    assert two.total - plain.total == two.active - plain.active == 6 * 2 * expert_parameters(SMALL)
    assert gated.total - two.total == 6 * 8
    assert linear_flops(with_shared(2, True)) - linear_flops(SMALL) == 2 * (gated.active - plain.active)


def test_noise_doubles_the_router_and_no_ops_are_rows_of_it() -> None:
    def routers(**changed: Any) -> int:
        return parameters(replace(SMALL, routing=RoutingConfig(num_experts=4, top_k=2, **changed))).routers

    assert routers() == 6 * 8 * 4
    assert routers(router="noisy") == 2 * routers()
    assert routers(no_op_experts=2) == routers() + 6 * 8 * 2


def test_a_depth_router_is_a_row_and_a_predictor_a_small_network() -> None:
    def depth(**given: Any) -> TransformerConfig:
        return replace(SMALL, depth=DepthConfig(capacity=0.125, **given))

    assert depth_parameters(SMALL) == depth_parameters(depth(router="random")) == 0
    assert depth_parameters(depth()) == depth_parameters(depth(sampling="auxiliary")) == 8
    assert depth_parameters(depth(sampling="predictor")) == 8 + 2 * 8 + 2
    assert parameters(depth()).total - parameters(SMALL).total == parameters(depth()).depth == 3 * 8


@pytest.mark.parametrize("name", PUBLISHED)
def test_quantities_state_unit_and_arithmetic_and_agree_with_one_another(name: str) -> None:
    found = quantities(PUBLISHED[name])
    assert all(quantity.unit in UNITS and quantity.formula.strip() for quantity in found.values())
    values = {key: quantity.value for key, quantity in found.items()}
    assert values["experts"] + values["everything-else"] == values["total"]
    assert values["active-share"] == values["active"] / values["total"]
    assert values["weights-bf16"] == 2 * values["total"]
    assert values["without-embeddings"] < values["without-input-embedding"] < values["active"]
    assert values["expert"] * values["num-experts"] * values["num-layers"] == values["experts"]
    assert values["attention-flops-4k"] == attention_flops(PUBLISHED[name], 4096)
    assert values["forward-flops"] == 2 * (values["without-input-embedding"] - norms(name))


def norms(name: str) -> int:
    """Parameters that multiply nothing: one vector before each half of each layer, and one at the end."""
    return parameters(PUBLISHED[name]).norms
