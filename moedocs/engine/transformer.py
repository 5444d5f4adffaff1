"""A small decoder over bytes: pre-norm blocks of causal attention and a feed-forward network, dense or of experts.

Any of its blocks may be one that only some tokens pass through.

Shapes: B sequences · S sequence length · T = B * S tokens · D d_model · H heads · W width of a head ·
        Q = H * W · P the same for heads of keys and values · E num_experts · K top_k · V vocab_size
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from moedocs.config import TransformerConfig
from moedocs.config.model import NORM_EPSILON, ROTARY_BASE
from moedocs.engine.depth import DepthRouting
from moedocs.engine.depth_block import DepthBlock
from moedocs.engine.experts import SwiGLU, fan_in
from moedocs.engine.layer import Dispatch, MoELayer
from moedocs.engine.norm import Norm
from moedocs.engine.record import Routing


def rotation(positions_BS: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, 1, S, W) of the angles p * base^(-2i/W) by which pair i at position p is turned.

    The pairs are (i, i + W/2), as in Llama (RoFormer, eq. 15, has neighbours); the first sine of a pair is negated.
    """
    frequency_W = ROTARY_BASE ** (-torch.arange(0, width, 2, device=positions_BS.device) / width)
    angle_B1SW = positions_BS[:, None, :, None] * frequency_W
    cos_B1SW, sin_B1SW = angle_B1SW.cos(), angle_B1SW.sin()
    return torch.cat([cos_B1SW, cos_B1SW], dim=-1), torch.cat([-sin_B1SW, sin_B1SW], dim=-1)


def rotated(x_BHSW: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair of a token by the angle of its position; `turn` is from `rotation`."""
    cos_B1SW, sin_B1SW = (table_B1SW.to(x_BHSW.dtype) for table_B1SW in turn)
    return x_BHSW * cos_B1SW + x_BHSW.roll(x_BHSW.shape[-1] // 2, dims=-1) * sin_B1SW


class Attention(nn.Module):
    """Causal attention with rotary positions; several query heads may share one head of keys and values.

    The tokens come in the order of their positions, which need not follow each other: where some tokens go past a
    block, the others attend to one another at the positions that they have in the whole sequence.
    """

    def __init__(self, config: TransformerConfig, *, generator: Generator) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = config.num_heads, config.kv_heads, config.head_width
        queries, keys, d_model = self.heads * self.width, self.kv_heads * self.width, config.d_model
        self.query_QD = fan_in(queries, d_model, inputs=d_model, generator=generator)
        self.key_PD = fan_in(keys, d_model, inputs=d_model, generator=generator)
        self.value_PD = fan_in(keys, d_model, inputs=d_model, generator=generator)
        self.output_DQ = fan_in(d_model, queries, inputs=queries, generator=generator)

    def forward(self, x_BSD: Tensor, positions_BS: Tensor | None = None) -> Tensor:
        """What each token gathers from itself and those before it; no positions given are 0, 1, 2, …"""
        if positions_BS is None:
            positions_BS = torch.arange(x_BSD.shape[1], device=x_BSD.device)[None]
        turn = rotation(positions_BS, self.width)
        query_BHSW = rotated(self._heads(x_BSD, self.query_QD, self.heads), turn)
        key_BHSW = rotated(self._heads(x_BSD, self.key_PD, self.kv_heads), turn)
        value_BHSW = self._heads(x_BSD, self.value_PD, self.kv_heads)
        mixed_BHSW = scaled_dot_product_attention(
            query_BHSW, key_BHSW, value_BHSW, is_causal=True, enable_gqa=self.kv_heads != self.heads
        )
        return linear(mixed_BHSW.transpose(1, 2).flatten(2), self.output_DQ)

    def _heads(self, x_BSD: Tensor, weight: Tensor, heads: int) -> Tensor:
        x_BSHW = linear(x_BSD, weight).view(*x_BSD.shape[:2], heads, self.width)
        return x_BSHW.transpose(1, 2)


class FeedForward(SwiGLU):
    """The dense network that an MoE layer replaces."""

    def forward(self, x: Tensor, **_: object) -> tuple[Tensor, None]:  # type: ignore[override]
        """The output, and None where an MoE layer would give its Routing, whatever more such a layer is told."""
        return super().forward(x), None


class Block(nn.Module):
    """x + attention(norm(x)), then that + feed-forward(norm of that)."""

    def __init__(
        self, config: TransformerConfig, *, sparse: bool, generator: Generator, dispatch: Dispatch = "fast"
    ) -> None:
        super().__init__()
        self.attention_norm = Norm(config.d_model, eps=NORM_EPSILON)
        self.attention = Attention(config, generator=generator)
        self.feed_forward_norm = Norm(config.d_model, eps=NORM_EPSILON)
        self.feed_forward: FeedForward | MoELayer
        if sparse and config.routing is not None:
            self.feed_forward = MoELayer(
                config.d_model,
                config.d_ff,
                config.routing,
                generator=generator,
                dispatch=dispatch,
                vocab_size=config.vocab_size,
            )
        else:
            self.feed_forward = FeedForward(config.d_model, config.dense_width, generator=generator)

    def attend(self, x_BSD: Tensor) -> Tensor:
        """The residual stream after attention: what the feed-forward half starts from."""
        mixed_BSD: Tensor = self.attention(self.attention_norm(x_BSD))
        return x_BSD + mixed_BSD

    def forward(
        self, x_BSD: Tensor, *, ids_BS: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Routing | None]:
        """The residual stream after the block, and the Routing of its experts if it has any."""
        residual_BSD = self.attend(x_BSD)
        out_BSD, routing = self.feed_forward(self.feed_forward_norm(residual_BSD), ids=ids_BS, generator=generator)
        return residual_BSD + out_BSD, routing

    def delta(
        self, x_BCD: Tensor, positions_BC: Tensor, *, ids_BC: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Routing | None]:
        """What the block adds to tokens at these positions, attention and feed-forward together."""
        mixed_BCD: Tensor = self.attention(self.attention_norm(x_BCD), positions_BC)
        x_BCD = self.feed_forward_norm(x_BCD + mixed_BCD)
        out_BCD, routing = self.feed_forward(x_BCD, ids=ids_BC, generator=generator)
        return mixed_BCD + out_BCD, routing


@dataclass(frozen=True, eq=False)
class Output:
    """Logits (B, S, V) of each next byte, and from bottom to top the Routing of each MoE layer and of each depth.

    A dense model has neither. Experts inside a block that tokens may go past see only those that pass: their Routing
    has B * C rows.
    """

    logits_BSV: Tensor
    routings: list[Routing]
    depths: list[DepthRouting]


class Transformer(nn.Module):
    """The decoder that a TransformerConfig describes; built under `torch.device("meta")` it only counts."""

    def __init__(self, config: TransformerConfig, *, generator: Generator, dispatch: Dispatch = "fast") -> None:
        super().__init__()
        self.config = config
        vocab, d_model = config.vocab_size, config.d_model
        # a lookup adds up one row, the tied head adds up d_model products: that is the fan-in of each
        inputs = d_model if config.tied_embeddings else 1
        self.embedding_VD = fan_in(vocab, d_model, inputs=inputs, generator=generator)
        self.blocks = nn.ModuleList(_block(config, n, generator, dispatch) for n in range(config.num_layers))
        self.norm = Norm(d_model, eps=NORM_EPSILON)
        if not config.tied_embeddings:
            self.head_VD = fan_in(vocab, d_model, inputs=d_model, generator=generator)

    def forward(self, bytes_BS: Tensor, *, causal: bool = False, generator: Generator | None = None) -> Output:
        """Logits of each next byte and who went where.

        The top C of a sequence that pass a block are not causal, nor are some routings of experts: such logits are for
        training. causal=True chooses in depth as sampling must, each token judged by itself. The `generator` is for
        what draws: a random depth, and noise in training mode; in evaluation mode experts are chosen as in sampling.
        """
        ids_BS = bytes_BS.long()
        x_BSD = self.embed(ids_BS)
        routings: list[Routing] = []
        depths: list[DepthRouting] = []
        for block in self.blocks:
            if isinstance(block, DepthBlock):
                x_BSD, routing, depth = block(x_BSD, ids_BS=ids_BS, causal=causal, generator=generator)
                depths.append(depth)
            else:
                x_BSD, routing = block(x_BSD, ids_BS=ids_BS, generator=generator)
            routings.extend([] if routing is None else [routing])
        head_VD = self.embedding_VD if self.config.tied_embeddings else self.head_VD
        return Output(linear(self.norm(x_BSD), head_VD), routings, depths)

    def embed(self, bytes_BS: Tensor) -> Tensor:
        """The residual stream (B, S, D) before the first block; bytes may come as uint8."""
        return nn.functional.embedding(bytes_BS.long(), self.embedding_VD)

    def moe_layers(self) -> list[MoELayer]:
        """The MoE layers from bottom to top, none in a dense model."""
        return [module for module in self.modules() if isinstance(module, MoELayer)]

    def update_biases(self, routings: list[Routing]) -> None:
        """One step of the loss-free rule in every layer, from that layer's own load."""
        for layer, routing in zip(self.moe_layers(), routings, strict=True):
            layer.update_bias(routing)


def _block(config: TransformerConfig, number: int, generator: Generator, dispatch: Dispatch) -> Block | DepthBlock:
    block = Block(config, sparse=number in config.moe_blocks, generator=generator, dispatch=dispatch)
    if config.depth is None or number not in config.depth_blocks:
        return block
    return DepthBlock(block, config.d_model, config.depth, generator=generator)
