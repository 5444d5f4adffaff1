"""How what stands in attention's place is read: which field holds which size.

A constant stands where a family leaves no choice.
"""

from dataclasses import dataclass

from moedocs.config.attention import Convolution, DeltaNet, KimiDelta, Lightning, Mamba, Mamba2
from moedocs.config.fields import Field, Fields


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
