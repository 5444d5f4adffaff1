"""FLOPs and parameters of the very module, counted by torch, against what its description says: not one is missing."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from moedocs.config import DepthConfig, RoutingConfig, TransformerConfig
from moedocs.cost import (
    ForwardPass,
    attention_flops,
    expert_parameters,
    forward_flops,
    forward_pass,
    linear_flops,
    parameters,
)
from moedocs.cost.flops import assignments_known
from moedocs.engine import Output, Transformer
from tests.strategies import mixed_transformers

aten = torch.ops.aten
Shape = tuple[int, ...]


def products(left: Shape, right: Shape, *_: object, **__: object) -> int:
    """A vector as the right factor; and experts in groups, of whose stacked matrices each row meets one."""
    return 2 * left[0] * left[-1] * (right[-1] if len(right) == 3 else 1)


# what torch leaves out of its count
UNCOUNTED: dict[Any, Any] = {
    aten.mv: products,
    aten._grouped_mm: products,
}


def counted(config: TransformerConfig, sequences: int, length: int) -> tuple[int, int, Output]:
    """FLOPs of one forward pass in training mode: all but attention's scores and mix, these, and what came out.

    torch counts nothing for the fused attention of CPUs, so attention runs in its plain form, which multiplies every
    query with all S keys and masks the later ones afterwards. Its products alone are batched.
    """
    model = Transformer(config, generator=torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(1)
    text_BS = torch.randint(0, config.vocab_size, (sequences, length), generator=draws)
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter,
    ):
        output = model(text_BS, generator=draws)
    scores = counter.get_flop_counts()["Global"].get(aten.bmm, 0)
    return counter.get_total_flops() - scores, scores, output


def assignments(config: TransformerConfig, output: Output) -> list[int]:
    """Pairs of token and expert that each MoE block computed; no-ops are not computed."""
    assert config.routing is not None or not output.routings
    experts = config.routing.num_experts if config.routing else 0
    return [int(routing.map_TE[:, :experts].sum()) for routing in output.routings]


@settings(max_examples=100)
@given(mixed_transformers(), st.integers(1, 2), st.integers(1, 9))
def test_flops_are_those_that_torch_counts_in_a_forward_pass(
    config: TransformerConfig, sequences: int, length: int
) -> None:
    linear, scores, output = counted(config, sequences, length)
    expected = forward_pass(config, sequences, length, assignments=assignments(config, output))
    assert (linear, scores) == (expected.total - expected.scores, expected.scores)


@settings(max_examples=30)
@given(mixed_transformers(), st.integers(1, 2), st.integers(1, 9))
def test_what_is_known_before_the_text_is_what_happens(config: TransformerConfig, sequences: int, length: int) -> None:
    routing = config.routing
    known = None if routing is None else assignments_known(routing, sequences, length)
    if routing is None or known is not None:
        linear, scores, _ = counted(config, sequences, length)
        assert forward_pass(config, sequences, length).total == linear + scores
    else:
        with pytest.raises(ValueError, match="depends on the text here, give them"):
            forward_pass(config, sequences, length)


@given(mixed_transformers())
def test_the_built_model_has_as_many_parameters_as_are_counted(config: TransformerConfig) -> None:
    with torch.device("meta"):
        model = Transformer(config, generator=torch.Generator().manual_seed(0))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters(config).total


SHAPE: dict[str, Any] = {"vocab_size": 50, "d_model": 16, "num_layers": 4, "num_heads": 2, "d_ff": 24}


@pytest.mark.parametrize("capacity", [0.125, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("routing", [None, RoutingConfig(num_experts=4, top_k=2, shared_experts=1, shared_gate=True)])
def test_the_mean_per_token_is_the_forward_pass_divided_by_its_tokens(
    capacity: float, every: int, routing: RoutingConfig | None
) -> None:
    config = TransformerConfig(**SHAPE, routing=routing, depth=DepthConfig(capacity=capacity, every=every))
    whole = forward_pass(config, 3, 16)
    assert 3 * 16 * linear_flops(config) == whole.total - whole.scores
    assert 3 * 16 * attention_flops(config, 16) == whole.scores
    assert 3 * 16 * forward_flops(config, 16) == whole.total


def test_attention_up_to_each_token_is_half_of_all_and_half_a_token() -> None:
    config = TransformerConfig(**SHAPE)
    one, many = forward_pass(config, 1, 1), forward_pass(config, 2, 9)
    assert one.scores_causal == one.scores == 4 * 4 * 2 * 8
    assert many.scores == 81 * 2 * one.scores
    assert many.scores_causal == 45 * 2 * one.scores  # 1 + 2 + … + 9
    assert many.total - many.total_causal == many.scores - many.scores_causal


def test_an_eighth_of_the_tokens_costs_an_eighth_of_the_products_and_a_64th_of_the_attention() -> None:
    every_block = TransformerConfig(**SHAPE, depth=DepthConfig(capacity=0.125, every=1))
    dense, routed = (forward_pass(config, 1, 64) for config in (TransformerConfig(**SHAPE), every_block))
    assert (8 * routed.attention, 8 * routed.dense_ffn) == (dense.attention, dense.dense_ffn)
    assert 64 * routed.scores == dense.scores
    assert routed.depth == 4 * 64 * 2 * 16
    every_other = forward_pass(TransformerConfig(**SHAPE, depth=DepthConfig(capacity=0.125)), 1, 64)
    assert 16 * every_other.dense_ffn == 9 * dense.dense_ffn  # two whole blocks and two eighths of four


def test_as_many_no_ops_as_experts_halve_the_experts_at_even_load() -> None:
    def experts(no_ops: int) -> float:
        routing = RoutingConfig(num_experts=4, top_k=2, no_op_experts=no_ops)
        config = TransformerConfig(**SHAPE, routing=routing)
        rest = forward_pass(config, 1, 1, assignments=[0] * 4)
        return linear_flops(config) - (rest.total - rest.scores)

    assert experts(0) == 2 * experts(4) == 4 * 2 * 2 * expert_parameters(TransformerConfig(**SHAPE))


def test_nothing_costs_nothing() -> None:
    assert (
        forward_pass(TransformerConfig(**SHAPE), 0, 5)
        == forward_pass(TransformerConfig(**SHAPE), 5, 0)
        == ForwardPass()
    )


@pytest.mark.parametrize(("sequences", "length"), [(-1, 3), (3, -1)])
def test_fewer_than_no_tokens_are_refused(sequences: int, length: int) -> None:
    with pytest.raises(ValueError, match=f"sequences={sequences} and length={length} must not be negative"):
        forward_pass(TransformerConfig(**SHAPE), sequences, length)


def test_assignments_are_one_number_per_moe_block() -> None:
    config = TransformerConfig(**SHAPE, routing=RoutingConfig(num_experts=4, top_k=2), moe_every=2)
    with pytest.raises(ValueError, match="3 assignments given for 2 MoE blocks"):
        forward_pass(config, 1, 1, assignments=[1, 2, 3])


@pytest.mark.parametrize(("factor", "taken"), [(0.5, 3), (1.0, 5), (4.0, 9)])  # of 9 tokens; ceil(9 * factor / 2)
def test_an_expert_takes_its_places_and_never_more_than_there_are_tokens(factor: float, taken: int) -> None:
    routing = RoutingConfig(num_experts=2, top_k=1, router="expert-choice", capacity_factor=factor)
    assert assignments_known(routing, 3, 3) == 2 * taken
    config = TransformerConfig(**SHAPE, routing=routing)
    linear, scores, output = counted(config, 3, 3)
    assert assignments(config, output) == [2 * taken] * 4
    assert forward_pass(config, 3, 3).total == linear + scores
