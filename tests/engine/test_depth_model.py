"""Mixture of Depths in the transformer's own blocks: original positions, placement, staged MoDE, who sees whom."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

from moedocs.config import DepthConfig, RoutingConfig, TransformerConfig
from moedocs.engine import DepthBlock, DepthRouting, Transformer, sampling_loss, through, top_c
from moedocs.engine.transformer import Block, rotated, rotation
from tests.drawing import random_logits

LENGTH = 16
EXPERTS = RoutingConfig(num_experts=4, top_k=2)


def config(depth: DepthConfig | None, routing: RoutingConfig | None = None, layers: int = 4) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=256,
        d_model=16,
        num_layers=layers,
        num_heads=4,
        num_kv_heads=2,
        d_ff=24,
        routing=routing,
        depth=depth,
    )


def model(depth: DepthConfig | None, routing: RoutingConfig | None = None) -> Transformer:
    return Transformer(config(depth, routing), generator=torch.Generator().manual_seed(0))


def text(seed: int = 0, sequences: int = 3) -> Tensor:
    return torch.randint(256, (sequences, LENGTH), generator=torch.Generator().manual_seed(seed))


def masked(block: Block, x_BSD: Tensor, depth: DepthRouting) -> Tensor:
    """The block over the whole sequence, where tokens look only at those that pass: a mask instead of a gather."""
    attention, heads = block.attention, block.attention._heads
    normed_BSD = block.attention_norm(x_BSD)
    turn = rotation(torch.arange(x_BSD.shape[1])[None], attention.width)
    query_BHSW = rotated(heads(normed_BSD, attention.query_QD, attention.heads), turn)
    key_BHSW = rotated(heads(normed_BSD, attention.key_PD, attention.kv_heads), turn)
    value_BHSW = heads(normed_BSD, attention.value_PD, attention.kv_heads)
    itself_SS = torch.eye(x_BSD.shape[1], dtype=torch.bool)  # who does not pass looks at itself, for want of others
    seen_BSS = (depth.map_BS[:, None, :] | itself_SS).tril()
    mixed_BHSW = scaled_dot_product_attention(
        query_BHSW, key_BHSW, value_BHSW, attn_mask=seen_BSS[:, None], enable_gqa=True
    )
    mixed_BSD = linear(mixed_BHSW.transpose(1, 2).flatten(2), attention.output_DQ)
    out_BSD: Tensor = block.feed_forward(block.feed_forward_norm(x_BSD + mixed_BSD))[0]
    return x_BSD + depth.weights_BS[..., None] * (mixed_BSD + out_BSD)


@pytest.mark.parametrize("routing", [None, EXPERTS])
@pytest.mark.parametrize("seed", range(4))
def test_gathering_at_original_positions_equals_masking_in_values_and_gradients(
    routing: RoutingConfig | None, seed: int
) -> None:
    block = Block(config(None, routing), sparse=routing is not None, generator=torch.Generator().manual_seed(seed))
    x_BSD = random_logits(3, LENGTH, 16, seed=seed).requires_grad_()
    logits_BS = random_logits(3, LENGTH, seed=seed + 50).requires_grad_()
    depth = top_c(logits_BS, 1 + 3 * seed, weight="sigmoid")
    gathered_BSD = through(x_BSD, depth, lambda x_BCD, positions_BC: block.delta(x_BCD, positions_BC)[0])
    masked_BSD = masked(block, x_BSD, depth)
    torch.testing.assert_close(gathered_BSD, masked_BSD, rtol=1e-4, atol=1e-5)
    learning = [x_BSD, logits_BS, *block.parameters()]
    pull_BSD = random_logits(*x_BSD.shape, seed=seed + 90)
    found = torch.autograd.grad(gathered_BSD, learning, pull_BSD, retain_graph=True)
    expected = torch.autograd.grad(masked_BSD, learning, pull_BSD)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("routing", [None, EXPERTS])
@pytest.mark.parametrize("every", [1, 2])
def test_a_place_for_everybody_and_weight_1_is_the_dense_model(routing: RoutingConfig | None, every: int) -> None:
    # a random choice has weight 1 and no parameters, so the same seed gives both models the same weights
    everybody = DepthConfig(capacity=1.0, every=every, router="random")
    routed = model(everybody, routing)(text(), generator=torch.Generator())
    torch.testing.assert_close(routed.logits_BSV, model(None, routing)(text()).logits_BSV, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_every_block_or_every_other_routes_its_tokens_in_depth(every: int) -> None:
    built = model(DepthConfig(capacity=0.25, every=every), EXPERTS)
    routed = [number for number, block in enumerate(built.blocks) if isinstance(block, DepthBlock)]
    assert routed == [number for number in range(4) if (number + 1) % every == 0]
    out = built(text())
    assert [depth.index_BC.shape for depth in out.depths] == [(3, 4)] * len(routed)
    rows = [3 * 4 if number in routed else 3 * LENGTH for number in range(4)]
    assert [len(routing.map_TE) for routing in out.routings] == rows


@pytest.mark.parametrize("sampling", ["none", "auxiliary", "predictor"])
@pytest.mark.parametrize("routing", [None, EXPERTS])
def test_every_parameter_of_a_model_learns(routing: RoutingConfig | None, sampling: str) -> None:
    depth = DepthConfig(capacity=0.5, sampling=sampling)  # type: ignore[arg-type]
    built = model(depth, routing)
    out = built(text())
    loss = out.logits_BSV.square().mean() + sampling_loss(out.depths, depth)
    names = [name for name, _ in built.named_parameters()]
    for name, gradient in zip(names, torch.autograd.grad(loss, list(built.parameters())), strict=True):
        assert gradient.any(), name


@pytest.mark.parametrize("routing", [None, EXPERTS])
@pytest.mark.parametrize("sampling", ["auxiliary", "predictor"])
def test_a_later_byte_changes_nothing_before_it_in_sampling_but_in_training_it_may(
    sampling: str, routing: RoutingConfig | None
) -> None:
    built, leaks = model(DepthConfig(capacity=0.25, every=1, sampling=sampling), routing), 0  # type: ignore[arg-type]
    for seed in range(3):
        bytes_BS = text(seed, sequences=1)
        changed_BS = bytes_BS.clone()
        changed_BS[:, -1] = (bytes_BS[:, -1] + 1 + seed) % 256
        sampled, other = (built(one, causal=True).logits_BSV[:, :-1] for one in (bytes_BS, changed_BS))
        torch.testing.assert_close(sampled, other)
        shorter = built(bytes_BS[:, :-1], causal=True).logits_BSV
        torch.testing.assert_close(shorter, sampled, rtol=1e-4, atol=1e-5)
        trained, other = (built(one).logits_BSV[:, :-1] for one in (bytes_BS, changed_BS))
        leaks += not trained.allclose(other)
    assert leaks > 0


def test_sampling_gives_each_layer_of_experts_one_record_of_those_that_pass() -> None:
    built = model(DepthConfig(capacity=0.25, every=1, sampling="auxiliary"), EXPERTS)
    out = built(text(), causal=True)
    passing = [int(depth.map_BS.sum()) for depth in out.depths]
    assert [len(routing.map_TE) for routing in out.routings] == [number for number in passing if number]
