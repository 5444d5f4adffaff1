"""How each kind of attention is read: which field holds which size.

A constant stands where a family leaves no choice.
"""

from dataclasses import dataclass
from typing import Protocol

from moedocs.config.attention import (
    Attention,
    AttentionExperts,
    Compressed,
    Convolution,
    DeltaNet,
    Gate,
    GroupedQuery,
    Indexer,
    KimiDelta,
    Latent,
    Lightning,
    Mamba,
    Mamba2,
    QKNorm,
)
from moedocs.config.fields import Field, Fields

BIAS = Field("attention_bias", False)


class AttentionPart(Protocol):
    """Reads one kind of attention."""

    def read(self, fields: Fields, d_model: int) -> Attention: ...


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """Attention with heads of queries and of keys; `normed` and `windowed` say whether norm and window are used.

    There are `kv_times` as many heads of keys and values as the field says.
    """

    heads: Field = Field("num_attention_heads")
    kv_heads: Field | None = Field("num_key_value_heads", None)
    head_dim: Field | None = Field("head_dim", None)
    value_dim: Field | None = None
    kv_times: int = 1
    qkv_bias: Field | bool = False
    output_bias: Field | bool = False
    qk_norm: QKNorm = "none"
    normed: Field | bool = True
    gate: Gate = "none"
    gate_bias: Field | bool = False
    sinks: Field | bool = False
    window: Field | None = None
    windowed: Field | bool = True
    chunk: Field | None = None

    def read(self, fields: Fields, d_model: int) -> GroupedQuery:
        heads = fields.size(self.heads)
        even = None if d_model % heads else d_model // heads
        head_dim = fields.size_or(self.head_dim, even, how="hidden_size / num_attention_heads")
        return GroupedQuery(
            heads=heads,
            kv_heads=self.kv_times * fields.size_or(self.kv_heads, heads, how="as many as num_attention_heads"),
            head_dim=head_dim,
            value_dim=fields.size_or(self.value_dim, head_dim, how="as wide as head_dim"),
            qkv_bias=fields.flag(self.qkv_bias),
            output_bias=fields.flag(self.output_bias),
            qk_norm=self.qk_norm if fields.flag(self.normed) else "none",
            gate=self.gate,
            gate_bias=fields.flag(self.gate_bias),
            sinks=fields.flag(self.sinks),
            window=fields.size_or_none(self.window) if fields.flag(self.windowed) else None,
            chunk=fields.size_or_none(self.chunk),
        )


@dataclass(frozen=True, kw_only=True)
class LatentAttention:
    """Multi-head latent attention; with an indexer where `indexed`, of the layer's `own` or an earlier one's."""

    query_rank: Field | None = Field("q_lora_rank")
    bias: Field | bool = BIAS
    gate: Gate = "none"
    indexed: bool = False
    own: bool = True
    heads: Field = Field("num_attention_heads")
    kv_rank: Field = Field("kv_lora_rank")
    nope_dim: Field = Field("qk_nope_head_dim")
    rope_dim: Field = Field("qk_rope_head_dim")
    value_dim: Field = Field("v_head_dim")
    query_dim: Field = Field("qk_head_dim", None)
    index_heads: Field = Field("index_n_heads")
    index_dim: Field = Field("index_head_dim")
    index_top_k: Field = Field("index_topk")

    def read(self, fields: Fields, d_model: int) -> Latent:
        nope_dim, rope_dim = fields.size(self.nope_dim), fields.size(self.rope_dim)
        if fields.size_or_none(self.query_dim) not in (None, nope_dim + rope_dim):
            raise fields.wrong(self.query_dim, f"{nope_dim} + {rope_dim}, its two parts together")
        return Latent(
            heads=fields.size(self.heads),
            query_rank=fields.size_or_none(self.query_rank),
            kv_rank=fields.size(self.kv_rank),
            nope_dim=nope_dim,
            rope_dim=rope_dim,
            value_dim=fields.size(self.value_dim),
            bias=fields.flag(self.bias),
            gate=self.gate,
            indexer=self._indexer(fields) if self.indexed else None,
        )

    def _indexer(self, fields: Fields) -> Indexer:
        heads, width, top_k = (fields.size(one) for one in (self.index_heads, self.index_dim, self.index_top_k))
        return Indexer(heads=heads, head_dim=width, top_k=top_k, own=self.own)


@dataclass(frozen=True, kw_only=True)
class CompressedAttention:
    """DeepSeek-V4's; the summaries of a layer without `rate` are none, and with `indexed` they are chosen from."""

    rate: Field | None = None
    indexed: bool = False
    heads: Field = Field("num_attention_heads")
    head_dim: Field = Field("head_dim")
    query_rank: Field = Field("q_lora_rank")
    groups: Field = Field("o_groups")
    output_rank: Field = Field("o_lora_rank")
    window: Field = Field("sliding_window", 128)
    index_heads: Field = Field("index_n_heads")
    index_dim: Field = Field("index_head_dim")
    index_top_k: Field = Field("index_topk")

    def read(self, fields: Fields, d_model: int) -> Compressed:
        index = (self.index_heads, self.index_dim, self.index_top_k)
        heads, width, top_k = (fields.size(one) for one in index) if self.indexed else (1, 1, 1)
        return Compressed(
            heads=fields.size(self.heads),
            head_dim=fields.size(self.head_dim),
            query_rank=fields.size(self.query_rank),
            groups=fields.size(self.groups),
            output_rank=fields.size(self.output_rank),
            window=fields.size(self.window),
            rate=fields.size_or_none(self.rate),
            indexer=Indexer(heads=heads, head_dim=width, top_k=top_k) if self.indexed else None,
        )


@dataclass(frozen=True, kw_only=True)
class LightningAttention:
    heads: Field = Field("num_attention_heads")
    head_dim: Field = Field("head_dim", None)

    def read(self, fields: Fields, d_model: int) -> Lightning:
        heads = fields.size(self.heads)
        even = None if d_model % heads else d_model // heads
        head_dim = fields.size_or(self.head_dim, even, how="hidden_size / num_attention_heads")
        return Lightning(heads=heads, head_dim=head_dim)


@dataclass(frozen=True, kw_only=True)
class GatedDeltaNet:
    key_heads: Field = Field("linear_num_key_heads")
    value_heads: Field = Field("linear_num_value_heads")
    key_dim: Field = Field("linear_key_head_dim")
    value_dim: Field = Field("linear_value_head_dim")
    kernel: Field = Field("linear_conv_kernel_dim", 4)

    def read(self, fields: Fields, d_model: int) -> DeltaNet:
        return DeltaNet(
            key_heads=fields.size(self.key_heads),
            value_heads=fields.size(self.value_heads),
            key_dim=fields.size(self.key_dim),
            value_dim=fields.size(self.value_dim),
            kernel=fields.size(self.kernel),
        )


@dataclass(frozen=True, kw_only=True)
class KimiDeltaAttention:
    """Decay and gate go through as many numbers as a head has, or are projected `directly`.

    Where the file has no sizes of its own for them, those of the other attention hold.
    """

    heads: Field
    head_dim: Field
    kernel: Field
    other_heads: Field | None = None
    other_dim: Field | None = None
    directly: bool = False

    def read(self, fields: Fields, d_model: int) -> KimiDelta:
        other_heads, other_dim = fields.size_or_none(self.other_heads), fields.size_or_none(self.other_dim)
        heads = fields.size_or(self.heads, other_heads, how="as many as num_attention_heads")
        head_dim = fields.size_or(self.head_dim, other_dim, how="as wide as head_dim")
        rank = None if self.directly else head_dim
        return KimiDelta(heads=heads, head_dim=head_dim, kernel=fields.size(self.kernel), rank=rank)


@dataclass(frozen=True, kw_only=True)
class MambaOne:
    expand: Field = Field("mamba_expand", 2)
    state: Field = Field("mamba_d_state", 16)
    kernel: Field = Field("mamba_d_conv", 4)
    step_rank: Field = Field("mamba_dt_rank", "auto")
    conv_bias: Field = Field("mamba_conv_bias", True)
    bias: Field = Field("mamba_proj_bias", False)

    def read(self, fields: Fields, d_model: int) -> Mamba:
        automatic = fields.value(self.step_rank) == "auto"
        return Mamba(
            inner=fields.size(self.expand) * d_model,
            state=fields.size(self.state),
            kernel=fields.size(self.kernel),
            step_rank=-(-d_model // 16) if automatic else fields.size(self.step_rank),
            conv_bias=fields.flag(self.conv_bias),
            bias=fields.flag(self.bias),
        )


@dataclass(frozen=True, kw_only=True)
class MambaTwo:
    heads: Field
    head_dim: Field
    groups: Field
    state: Field
    kernel: Field
    conv_bias: Field
    bias: Field
    expand: Field | None = None

    def read(self, fields: Fields, d_model: int) -> Mamba2:
        heads = fields.size(self.heads)
        inner = None if self.expand is None else fields.size(self.expand) * d_model
        if fields.value(self.head_dim) == "auto" and inner is not None and inner % heads == 0:
            head_dim = inner // heads
        else:
            head_dim = fields.size(self.head_dim)
        if inner is not None and heads * head_dim != inner:
            raise fields.wrong(self.head_dim, f"{inner} channels shared by {heads} heads")
        return Mamba2(
            heads=heads,
            head_dim=head_dim,
            groups=fields.size(self.groups),
            state=fields.size(self.state),
            kernel=fields.size(self.kernel),
            conv_bias=fields.flag(self.conv_bias),
            bias=fields.flag(self.bias),
        )


@dataclass(frozen=True, kw_only=True)
class ShortConvolution:
    kernel: Field
    bias: Field

    def read(self, fields: Fields, d_model: int) -> Convolution:
        return Convolution(kernel=fields.size(self.kernel), bias=fields.flag(self.bias))


@dataclass(frozen=True, kw_only=True)
class AttentionExpertNames:
    experts: Field
    top_k: Field
    kv_heads: Field
    head_dim: Field

    def read(self, fields: Fields, d_model: int) -> AttentionExperts:
        experts, top_k, kv_heads, head_dim = (
            fields.size(one) for one in (self.experts, self.top_k, self.kv_heads, self.head_dim)
        )
        return AttentionExperts(experts=experts, top_k=top_k, kv_heads=kv_heads, head_dim=head_dim)
