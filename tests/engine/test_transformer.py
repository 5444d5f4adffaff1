"""The transformer around the layers: what it computes, stores and learns, and what one token meets on its way."""

import cmath
import math
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TransformerConfig
from moedocs.config.routing import Router
from moedocs.cost import PUBLISHED
from moedocs.engine import MoELayer, Transformer, auxiliary_loss, trace, z_loss
from moedocs.engine.transformer import Block, FeedForward, rotated, rotation

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


def every_router(**changed: Any) -> dict[Router, RoutingConfig]:
    """One description of each, dropless but where room is what it is made of."""
    plain: dict[str, Any] = {"num_experts": 4, "top_k": 2} | changed
    special: dict[Router, dict[str, Any]] = {"base": {"top_k": 1}, "expert-choice": {"capacity_factor": 1.0}}
    return {name: RoutingConfig(**plain | {"router": name} | special.get(name, {})) for name in get_args(Router)}


LOOKING_AHEAD: tuple[Router, ...] = ("expert-choice", "base", "sinkhorn")  # in training, and the first always


def before_and_after(model: Transformer, length: int = 20, place: int = 12) -> tuple[Tensor, Tensor]:
    """Logits of a text and of the same text with another byte at one place, drawn with equal noise."""
    before_BS = text(1, length)
    after_BS = before_BS.clone()
    after_BS[0, place] += 1
    a, b = (model(bytes_BS, generator=seeded(5)).logits_BSV[0] for bytes_BS in (before_BS, after_BS))
    return a, b


@pytest.mark.parametrize("name", [name for name in get_args(Router) if name != "expert-choice"])
def test_where_text_is_generated_a_byte_changes_no_logits_before_it(name: Router) -> None:
    a, b = before_and_after(small(every_router()[name]).eval())
    torch.testing.assert_close(a[:12], b[:12])
    assert not torch.allclose(a[12:], b[12:])


@pytest.mark.parametrize("name", get_args(Router))
def test_in_training_a_byte_changes_logits_before_it_where_a_choice_depends_on_all_tokens(name: Router) -> None:
    a, b = before_and_after(small(every_router()[name]))
    assert torch.allclose(a[:12], b[:12], atol=1e-5) is (name not in LOOKING_AHEAD)


@pytest.mark.parametrize("routing", every_router().values(), ids=every_router())
def test_every_parameter_learns_with_every_router(routing: RoutingConfig) -> None:
    model = small(routing)
    output = model(text(2, 30), generator=seeded())
    (output.logits_BSV.logsumexp(-1).mean() + sum(map(z_loss, output.routings))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("name", ["noisy", "gshard"])
def test_what_draws_draws_from_the_generator_in_training_alone(name: Router) -> None:
    model = small(every_router()[name])
    one, same, other = (model(text(2, 30), generator=seeded(seed)).logits_BSV for seed in (0, 0, 1))
    assert one.equal(same)
    assert not one.equal(other)
    with pytest.raises(ValueError, match=f"router='{name}' draws in training: it needs a generator"):
        model(text(2, 30))
    model.eval()
    assert model(text(2, 30)).logits_BSV.equal(model(text(2, 30), generator=seeded()).logits_BSV)


@pytest.mark.parametrize("every", [1, 2])
def test_the_ids_of_the_tokens_reach_the_table_through_a_depth_too(every: int) -> None:
    depth = DepthConfig(capacity=0.3, every=every, sampling="auxiliary")
    model, bytes_BS = small(every_router()["hash"], depth=depth), text(3, 20)
    for causal in (False, True):
        output = model(bytes_BS, causal=causal)
        depths = iter(output.depths)
        for number, (layer, routing) in enumerate(zip(model.moe_layers(), output.routings, strict=True)):
            passed_BS = next(depths).map_BS if (number + 1) % every == 0 else torch.ones_like(bytes_BS).bool()
            assert layer.table_VK is not None
            expected_TK = layer.table_VK[bytes_BS[passed_BS].long()]
            assert routing.index_TK.sort().values.equal(expected_TK.sort().values)


@pytest.mark.parametrize(
    "routing",
    [
        RoutingConfig(num_experts=4, top_k=2, capacity_factor=0.5, capacity_over="sequence"),
        RoutingConfig(num_experts=4, top_k=2, capacity_factor=1.0, capacity_over="sequence", router="expert-choice"),
    ],
)
@pytest.mark.parametrize("depth", [None, DepthConfig(capacity=0.5)])
def test_what_is_per_sequence_does_not_depend_on_the_other_sequences(
    routing: RoutingConfig, depth: DepthConfig | None
) -> None:
    model, bytes_BS = small(routing, depth=depth), text(3, 20)
    alone_BSV = torch.cat([model(bytes_S[None]).logits_BSV for bytes_S in bytes_BS])
    torch.testing.assert_close(model(bytes_BS).logits_BSV, alone_BSV)


def test_experts_stand_where_the_description_says_and_dense_blocks_have_their_own_width() -> None:
    model = small(num_layers=6, first_dense=1, moe_every=2, dense_d_ff=40)
    experts = [isinstance(block.feed_forward, MoELayer) for block in model.blocks if isinstance(block, Block)]
    assert experts == [False, False, True, False, True, False]
    assert len(model(text(2, 10)).routings) == len(model.moe_layers()) == 2
    first = model.blocks[0]
    assert isinstance(first, Block)
    assert isinstance(first.feed_forward, FeedForward)
    assert first.feed_forward.up_DF.shape == (16, 40)


@pytest.mark.parametrize("routing", [None, TOP_2_OF_4])
def test_a_block_adds_its_delta_to_its_input(routing: RoutingConfig | None) -> None:
    model = small(routing)
    x_BSD, positions_BS = model.embed(text(2, 10)), torch.arange(10).expand(2, 10)
    block = model.blocks[0]
    assert isinstance(block, Block)
    torch.testing.assert_close(x_BSD + block.delta(x_BSD, positions_BS)[0], block(x_BSD)[0])


def test_attention_knows_distances_and_no_absolute_places() -> None:
    block = small().blocks[0]
    assert isinstance(block, Block)
    x_BSD, places_BS = small().embed(text(2, 6)), torch.tensor([[0, 1, 2, 3, 4, 5], [3, 4, 9, 11, 12, 40]])
    there = block.attention(x_BSD, places_BS)
    torch.testing.assert_close(block.attention(x_BSD, places_BS + 17), there)
    torch.testing.assert_close(block.attention(x_BSD)[0], there[0])
    assert not torch.allclose(block.attention(x_BSD)[1], there[1])


def test_rotating_turns_each_pair_by_its_place_times_its_frequency() -> None:
    x_BHSW = torch.randn(2, 3, 4, 6, generator=seeded())
    positions_BS = torch.tensor([[0, 1, 5, 6], [2, 3, 4, 90]])
    turned_BHSW = rotated(x_BHSW, rotation(positions_BS, x_BHSW.shape[-1]))
    for b, h, s, w in product(range(2), range(3), range(4), range(3)):
        angle = positions_BS[b, s].item() * 10_000 ** (-2 * w / 6)
        pair = complex(x_BHSW[b, h, s, w], x_BHSW[b, h, s, w + 3]) * cmath.exp(1j * angle)
        found = complex(turned_BHSW[b, h, s, w], turned_BHSW[b, h, s, w + 3])
        assert found == pytest.approx(pair, abs=1e-4)


def built_parameters(config: TransformerConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Transformer(config, generator=seeded()).parameters())


def test_a_model_of_mixtral_s_shape_has_46_7_billion_parameters() -> None:
    attention, expert = 2 * 4096 * 4096 + 2 * 4096 * 1024, 3 * 4096 * 14336
    expected = 2 * 32_000 * 4096 + 32 * (attention + 8 * expert + 8 * 4096 + 2 * 4096) + 4096
    assert built_parameters(PUBLISHED["mixtral-8x7b"]) == expected
    assert round(expected / 1e9, 1) == 46.7


@pytest.mark.parametrize(
    "changed", [{}, {"capacity_factor": 0.5}, {"shared_experts": 1, "shared_gate": True, "no_op_experts": 2}]
)
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_trace_adds_up_to_what_the_model_computes(layer: int, changed: dict[str, Any]) -> None:
    model = small(RoutingConfig(num_experts=4, top_k=2, **changed))
    bytes_S = text(15)
    x_BSD = model.embed(bytes_S[None])
    for block in model.blocks[: layer + 1]:
        x_BSD, routing = block(x_BSD)
    for position in range(15):
        seen = trace(model, bytes_S, layer, position)
        torch.testing.assert_close(seen.weights_E[:4] @ seen.outputs_ED + seen.shared_D, seen.sum_D)
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
    with pytest.raises(ValueError, match="layer=1 is routed in depth: a token may go past it"):
        trace(small(depth=DepthConfig(capacity=0.5)), text(15), 1, 0)


@pytest.mark.parametrize("name", ["hash", "gshard"])
def test_a_trace_hands_on_ids_and_draws_through_whatever_is_below(name: Router) -> None:
    model, bytes_S = small(every_router()[name], depth=DepthConfig(capacity=0.5)), text(15)
    routing = model(bytes_S[None], generator=seeded(3)).routings[2]
    for position in range(15):
        seen = trace(model, bytes_S, 2, position, generator=seeded(3))
        assert seen.map_E.equal(routing.map_TE[position])
        torch.testing.assert_close(seen.weights_E, routing.weights_TE[position].detach())


@pytest.mark.parametrize("tied", [False, True])
def test_a_fresh_model_is_nearly_as_unsure_as_a_uniform_guess(tied: bool) -> None:
    bytes_BS = text(4, 64)
    logits_BSV = small(d_model=64, tied_embeddings=tied)(bytes_BS).logits_BSV
    loss = torch.nn.functional.cross_entropy(logits_BSV[:, :-1].flatten(0, 1), bytes_BS[:, 1:].flatten().long())
    assert math.log(256) - 0.2 < loss.item() < math.log(256) + 1
