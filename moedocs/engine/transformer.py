"""A small decoder over bytes: pre-norm blocks of causal attention and a feed-forward network, dense or of experts.

Shapes: B sequences · S sequence length · T = B * S tokens · D d_model · H heads · W width of a head ·
        Q = H * W · P the same for heads of keys and values · E num_experts · K top_k · V vocab_size
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from moedocs.config import TransformerConfig
from moedocs.engine.layer import Dispatch, MoELayer, fan_in, swiglu
from moedocs.engine.record import Routing

ROTARY_BASE = 10_000.0
NORM_EPSILON = 1e-5


def rotated(x_BHSW: Tensor) -> Tensor:
    """Turn the pair (i, i + W/2) of position s by the angle s * base^(-2i/W) (RoFormer, eq. 15; halves as in Llama)."""
    length, width = x_BHSW.shape[-2:]
    frequency_W = ROTARY_BASE ** (-torch.arange(0, width, 2, device=x_BHSW.device) / width)
    angle_SW = torch.arange(length, device=x_BHSW.device)[:, None] * frequency_W
    cos_SW, sin_SW = angle_SW.cos().to(x_BHSW.dtype), angle_SW.sin().to(x_BHSW.dtype)
    a, b = x_BHSW.chunk(2, dim=-1)
    return torch.cat([a * cos_SW - b * sin_SW, b * cos_SW + a * sin_SW], dim=-1)


class Attention(nn.Module):
    """Causal attention with rotary positions; several query heads may share one head of keys and values."""

    def __init__(self, config: TransformerConfig, *, generator: Generator) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = config.num_heads, config.kv_heads, config.head_width
        queries, keys, d_model = self.heads * self.width, self.kv_heads * self.width, config.d_model
        self.query_QD = fan_in(queries, d_model, inputs=d_model, generator=generator)
        self.key_PD = fan_in(keys, d_model, inputs=d_model, generator=generator)
        self.value_PD = fan_in(keys, d_model, inputs=d_model, generator=generator)
        self.output_DQ = fan_in(d_model, queries, inputs=queries, generator=generator)

    def forward(self, x_BSD: Tensor) -> Tensor:
        query_BHSW = rotated(self._heads(x_BSD, self.query_QD, self.heads))
        key_BHSW = rotated(self._heads(x_BSD, self.key_PD, self.kv_heads))
        value_BHSW = self._heads(x_BSD, self.value_PD, self.kv_heads)
        mixed_BHSW = scaled_dot_product_attention(
            query_BHSW, key_BHSW, value_BHSW, is_causal=True, enable_gqa=self.kv_heads != self.heads
        )
        return linear(mixed_BHSW.transpose(1, 2).flatten(2), self.output_DQ)

    def _heads(self, x_BSD: Tensor, weight: Tensor, heads: int) -> Tensor:
        x_BSHW = linear(x_BSD, weight).view(*x_BSD.shape[:2], heads, self.width)
        return x_BSHW.transpose(1, 2)


class FeedForward(nn.Module):
    """The dense SwiGLU network that an MoE layer replaces."""

    def __init__(self, d_model: int, d_ff: int, *, generator: Generator) -> None:
        super().__init__()
        self.gate_DF = fan_in(d_model, d_ff, inputs=d_model, generator=generator)
        self.up_DF = fan_in(d_model, d_ff, inputs=d_model, generator=generator)
        self.down_FD = fan_in(d_ff, d_model, inputs=d_ff, generator=generator)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """The output, and None where an MoE layer would give its Routing."""
        return swiglu(x, self.gate_DF, self.up_DF, self.down_FD), None


class Block(nn.Module):
    """x + attention(norm(x)), then that + feed-forward(norm of that)."""

    def __init__(self, config: TransformerConfig, *, generator: Generator, dispatch: Dispatch) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.d_model, eps=NORM_EPSILON)
        self.attention = Attention(config, generator=generator)
        self.feed_forward_norm = nn.RMSNorm(config.d_model, eps=NORM_EPSILON)
        self.feed_forward: FeedForward | MoELayer
        if config.routing is None:
            self.feed_forward = FeedForward(config.d_model, config.d_ff, generator=generator)
        else:
            self.feed_forward = MoELayer(
                config.d_model, config.d_ff, config.routing, generator=generator, dispatch=dispatch
            )

    def attend(self, x_BSD: Tensor) -> Tensor:
        """The residual stream after attention: what the feed-forward half starts from."""
        mixed_BSD: Tensor = self.attention(self.attention_norm(x_BSD))
        return x_BSD + mixed_BSD

    def forward(self, x_BSD: Tensor) -> tuple[Tensor, Routing | None]:
        residual_BSD = self.attend(x_BSD)
        out_BSD, routing = self.feed_forward(self.feed_forward_norm(residual_BSD))
        return residual_BSD + out_BSD, routing


class Transformer(nn.Module):
    """The decoder that a TransformerConfig describes; built under `torch.device("meta")` it only counts."""

    def __init__(self, config: TransformerConfig, *, generator: Generator, dispatch: Dispatch = "sorted") -> None:
        super().__init__()
        self.config = config
        vocab, d_model = config.vocab_size, config.d_model
        # a lookup adds up one row, the tied head adds up d_model products: that is the fan-in of each
        inputs = d_model if config.tied_embeddings else 1
        self.embedding_VD = fan_in(vocab, d_model, inputs=inputs, generator=generator)
        blocks = [Block(config, generator=generator, dispatch=dispatch) for _ in range(config.num_layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(d_model, eps=NORM_EPSILON)
        if not config.tied_embeddings:
            self.head_VD = fan_in(vocab, d_model, inputs=d_model, generator=generator)

    def forward(self, bytes_BS: Tensor) -> tuple[Tensor, list[Routing]]:
        """Logits (B, S, V) of each next byte, and the Routing of each layer, none for a dense model."""
        x_BSD = self.embed(bytes_BS)
        routings = []
        for block in self.blocks:
            x_BSD, routing = block(x_BSD)
            if routing is not None:
                routings.append(routing)
        head_VD = self.embedding_VD if self.config.tied_embeddings else self.head_VD
        return linear(self.norm(x_BSD), head_VD), routings

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


@dataclass(frozen=True, eq=False)
class Trace:
    """Everything one token meets in one MoE layer: sum_D = sum_e weights_E outputs_ED, output_D = residual_D + sum_D.

    `x_D` is the normalised input that router and experts see, `residual_D` what passes around them; `outputs_ED` holds
    the idle experts' answers too, which the layer itself never computes.
    """

    residual_D: Tensor
    x_D: Tensor
    logits_E: Tensor
    probs_E: Tensor
    index_K: Tensor
    map_E: Tensor
    weights_E: Tensor
    dropped_E: Tensor
    outputs_ED: Tensor
    sum_D: Tensor
    output_D: Tensor


@torch.no_grad()
def trace(model: Transformer, bytes_S: Tensor, layer: int, position: int) -> Trace:
    """Follow the token at `position` of one sequence through MoE layer `layer`, both counted from 0.

    The whole sequence is routed, so a capacity drops what it would drop in a batch of this one sequence.
    """
    if not 0 <= position < len(bytes_S):
        raise ValueError(f"position={position} must lie in 0..{len(bytes_S) - 1}")
    block, moe = _moe_block(model, layer)
    x_BSD = model.embed(bytes_S[None])
    for below in model.blocks[:layer]:
        x_BSD, _ = below(x_BSD)
    residual_SD = block.attend(x_BSD)[0]
    x_SD = block.feed_forward_norm(residual_SD)
    sum_SD, routing = moe(x_SD)
    return Trace(
        residual_D=residual_SD[position],
        x_D=x_SD[position],
        logits_E=routing.logits_TE[position],
        probs_E=routing.probs_TE[position],
        index_K=routing.index_TK[position],
        map_E=routing.map_TE[position],
        weights_E=routing.weights_TE[position],
        dropped_E=routing.dropped_TE[position],
        outputs_ED=moe.experts(x_SD[[position]])[0],
        sum_D=sum_SD[position],
        output_D=residual_SD[position] + sum_SD[position],
    )


def _moe_block(model: Transformer, layer: int) -> tuple[Block, MoELayer]:
    if not 0 <= layer < len(model.blocks):
        raise ValueError(f"layer={layer} must lie in 0..{len(model.blocks) - 1}")
    block = model.blocks[layer]
    if not isinstance(block, Block) or not isinstance(block.feed_forward, MoELayer):
        raise ValueError(f"layer={layer} is dense: it has no experts to trace")
    return block, block.feed_forward
