"""The transformer around the layers: what it computes, stores and learns, and what one token meets on its way."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor

from moedocs.config import BalanceConfig, RoutingConfig, TransformerConfig
from moedocs.cost import PUBLISHED, parameters
from moedocs.engine import Transformer, auxiliary_loss, trace
from tests.strategies import transformers

SMALL: dict[str, Any] = {"vocab_size": 256, "d_model": 16, "num_layers": 3, "num_heads": 4, "d_ff": 24}
TOP_2_OF_4 = RoutingConfig(num_experts=4, top_k=2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(routing: RoutingConfig | None = TOP_2_OF_4, seed: int = 0, **changed: Any) -> Transformer:
    return Transformer(
        TransformerConfig(**SMALL | {"num_kv_heads": 2} | changed, routing=routing), generator=seeded(seed)
    )


def text(*shape: int, seed: int = 1) -> Tensor:
    return torch.randint(0, 256, shape, generator=seeded(seed), dtype=torch.uint8)


def test_a_block_passes_a_dropped_token_on_by_the_residual_alone() -> None:
    model = small(RoutingConfig(num_experts=4, top_k=2, capacity_factor=0.0))
    x_BSD = model.embed(text(2, 10))
    block = model.blocks[0]
    assert block(x_BSD)[0].equal(block.attend(x_BSD))  # type: ignore[operator]


def test_the_bias_moves_only_when_asked_and_only_where_there_is_one() -> None:
    biased = small(RoutingConfig(num_experts=4, top_k=2, balance=BalanceConfig(bias_rate=0.5)))
    routings = biased(text(2, 10)).routings
    assert not any(layer.bias_E.any() for layer in biased.moe_layers() if layer.bias_E is not None)
    biased.update_biases(routings)
    for layer, routing in zip(biased.moe_layers(), routings, strict=True):
        assert layer.bias_E is not None
        assert layer.bias_E.tolist() == (0.5 * (10 - routing.map_TE.sum(0)).sign()).tolist()  # 2 * 10 * 2 / 4 = 10
    plain = small()
    plain.update_biases(plain(text(2, 10)).routings)
    assert [layer.bias_E for layer in plain.moe_layers()] == [None] * 3


def test_the_same_seed_gives_the_same_model_and_no_other_randomness_is_touched() -> None:
    state = torch.get_rng_state()
    first, second, other = small(seed=7), small(seed=7), small(seed=8)
    assert torch.get_rng_state().equal(state)
    pairs = list(zip(first.parameters(), second.parameters(), strict=True))
    assert all(a.equal(b) for a, b in pairs)
    assert not first.embedding_VD.equal(other.embedding_VD)


@pytest.mark.parametrize("routing", [None, TOP_2_OF_4])
@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_of_a_model_learns(routing: RoutingConfig | None, tied: bool) -> None:
    model = small(routing, tied_embeddings=tied)
    output = model(text(2, 30))
    (output.logits_BSV.logsumexp(-1).mean() + sum(map(auxiliary_loss, output.routings))).backward()
    assert output.logits_BSV.shape == (2, 30, 256)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_byte_changes_no_logits_before_it() -> None:
    model = small()
    before_BS = text(1, 20)
    after_BS = before_BS.clone()
    after_BS[0, 12] += 1
    a, b = model(before_BS).logits_BSV[0], model(after_BS).logits_BSV[0]
    torch.testing.assert_close(a[:12], b[:12])
    assert not torch.allclose(a[12:], b[12:])


def built_parameters(config: TransformerConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Transformer(config, generator=seeded()).parameters())


@given(transformers() | transformers(sparse=False))
def test_the_built_model_has_as_many_parameters_as_the_cost_model_counts(config: TransformerConfig) -> None:
    assert built_parameters(config) == parameters(config).total


def test_a_model_of_mixtral_s_shape_has_46_7_billion_parameters() -> None:
    attention, expert = 2 * 4096 * 4096 + 2 * 4096 * 1024, 3 * 4096 * 14336
    expected = 2 * 32_000 * 4096 + 32 * (attention + 8 * expert + 8 * 4096 + 2 * 4096) + 4096
    assert built_parameters(PUBLISHED["mixtral-8x7b"]) == expected
    assert round(expected / 1e9, 1) == 46.7


@pytest.mark.parametrize("factor", [None, 0.5])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_trace_adds_up_to_what_the_model_computes(layer: int, factor: float | None) -> None:
    model = small(RoutingConfig(num_experts=4, top_k=2, capacity_factor=factor))
    bytes_S = text(15)
    x_BSD = model.embed(bytes_S[None])
    for block in model.blocks[: layer + 1]:
        x_BSD, routing = block(x_BSD)
    for position in range(15):
        seen = trace(model, bytes_S, layer, position)
        torch.testing.assert_close(seen.weights_E @ seen.outputs_ED, seen.sum_D)
        torch.testing.assert_close(seen.residual_D + seen.sum_D, seen.output_D)
        torch.testing.assert_close(seen.output_D, x_BSD[0, position].detach())
        torch.testing.assert_close(seen.probs_E, seen.logits_E.softmax(-1))
        assert seen.map_E.equal(routing.map_TE[position])
        assert seen.dropped_E.equal(routing.dropped_TE[position])
        assert sorted(seen.index_K.tolist()) == (seen.map_E | seen.dropped_E).nonzero().flatten().tolist()
        router_ED = model.moe_layers()[layer].router_ED
        torch.testing.assert_close(router_ED.detach() @ seen.x_D, seen.logits_E)
        assert not seen.output_D.requires_grad


def test_a_trace_refuses_places_that_are_not_there() -> None:
    with pytest.raises(ValueError, match=r"position=15 must lie in 0\.\.14"):
        trace(small(), text(15), 0, 15)
    with pytest.raises(ValueError, match=r"layer=3 must lie in 0\.\.2"):
        trace(small(), text(15), 3, 0)
    with pytest.raises(ValueError, match="layer=1 is dense"):
        trace(small(routing=None), text(15), 1, 0)


@pytest.mark.parametrize("tied", [False, True])
def test_a_fresh_model_is_nearly_as_unsure_as_a_uniform_guess(tied: bool) -> None:
    bytes_BS = text(4, 64)
    logits_BSV = small(d_model=64, tied_embeddings=tied)(bytes_BS).logits_BSV
    loss = torch.nn.functional.cross_entropy(logits_BSV[:, :-1].flatten(0, 1), bytes_BS[:, 1:].flatten().long())
    assert math.log(256) - 0.2 < loss.item() < math.log(256) + 1
