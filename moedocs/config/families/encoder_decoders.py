"""The families of an encoder and a decoder: those of T5's shape, and NLLB's."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from moedocs.config.architecture import Architecture, Dense, Experts, FeedForward, Layer
from moedocs.config.attention import GroupedQuery
from moedocs.config.families.family import Family
from moedocs.config.fields import MOST_LAYERS, Field, Fields

UNTIED = 3  # transformers then gives each stack an embedding beside the one they shared
UNGATED = {"is_gated_act": (False,), "feed_forward_proj": ("relu", "gelu"), "num_selected_experts": (1,)}
COMMON = frozenset({"router_dtype", "router_ignore_padding_tokens", "expert_capacity", "batch_prioritized_routing"})
NLLB_HARMLESS = frozenset(
    """encoder_layerdrop decoder_layerdrop scale_embedding second_expert_policy moe_token_dropout
    normalize_router_prob_before_dropping moe_eval_capacity_token_fraction router_type""".split()  # noqa: SIM905
)


@dataclass(frozen=True, kw_only=True)
class Switch:
    """Switch Transformers: T5 with experts in every so many layers of each stack; top 1, no biases.

    `num_sparse_encoder_layers` only sets that step, layers / number rounded down: the second layer of each step has
    experts. The first layer of a stack learns a bias by distance for all of its layers.
    """

    vocab_size: Field = Field("vocab_size")
    d_model: Field = Field("d_model", also=("hidden_size",))
    head_dim: Field = Field("d_kv")
    d_ff: Field = Field("d_ff")
    heads: Field = Field("num_heads", also=("num_attention_heads",))
    experts: Field = Field("num_experts")
    layers: Field = Field("num_layers", also=("num_hidden_layers",))
    decoder_layers: Field = Field("num_decoder_layers", None)
    sparse: Field = Field("num_sparse_encoder_layers")
    sparse_decoder: Field = Field("num_sparse_decoder_layers")
    step: Field = Field("encoder_sparse_step", None)
    decoder_step: Field = Field("decoder_sparse_step", None)
    router_bias: Field = Field("router_bias", False)
    buckets: Field = Field("relative_attention_num_buckets", 32)
    tied: Field = Field("tie_word_embeddings", True)
    harmless: frozenset[str] = COMMON | {
        "relative_attention_max_distance",
        "add_router_probs",
        "router_type",
        "n_positions",
        "output_past",
    }
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: UNGATED)
    blocks: tuple[str, ...] = ()
    encoder_decoder: bool = True

    def build(self, fields: Fields) -> Architecture:
        encoder = fields.size(self.layers, most=MOST_LAYERS)
        decoder = fields.size_or(self.decoder_layers, encoder, how="as many as num_layers", most=MOST_LAYERS)
        sparse_decoder = self._step(fields, self.decoder_step, self.sparse_decoder, decoder)
        return Architecture(
            name=fields.family,
            vocab_size=fields.size(self.vocab_size),
            d_model=fields.size(self.d_model),
            encoder=self._stack(fields, encoder, self._step(fields, self.step, self.sparse, encoder), crossed=False),
            layers=self._stack(fields, decoder, sparse_decoder, crossed=True),
            tied=(tied := fields.flag(self.tied)),
            embeddings=1 if tied else UNTIED,
            final_norms=2,
        )

    def _step(self, fields: Fields, step: Field, sparse: Field, count: int) -> int:
        """A step that the file gives holds, as older files do; else it follows from the number of sparse layers."""
        return fields.size_or(step, count // fields.size(sparse, most=count), how=f"layers / {sparse.name}")

    def _stack(self, fields: Fields, count: int, step: int, *, crossed: bool) -> tuple[Layer, ...]:
        attention = self._attention(fields, crossed=crossed)
        cross = (replace(attention, cross=True, bidirectional=True),) if crossed else ()
        first = replace(attention, buckets=fields.size(self.buckets))
        return tuple(
            Layer(
                attention=(attention if layer else first, *cross),
                feed_forward=(self._network(fields, sparse=step == 1 or layer % step == 1),),
                norms=3 if crossed else 2,
            )
            for layer in range(count)
        )

    def _attention(self, fields: Fields, *, crossed: bool) -> GroupedQuery:
        heads, width = fields.size(self.heads), fields.size(self.head_dim)
        return GroupedQuery(heads=heads, kv_heads=heads, head_dim=width, value_dim=width, bidirectional=not crossed)

    def _network(self, fields: Fields, *, sparse: bool) -> FeedForward:
        width = fields.size(self.d_ff)
        if not sparse:
            return Dense(width=width, matrices=2)
        bias = fields.flag(self.router_bias)
        return Experts(experts=fields.size(self.experts), top_k=1, width=width, matrices=2, router_bias=bias)


@dataclass(frozen=True, kw_only=True)
class Nllb:
    """NLLB-MoE: T5-like, with biases everywhere and fixed positions; the last layer of each step has experts, top 2."""

    vocab_size: Field = Field("vocab_size")
    d_model: Field = Field("d_model", also=("hidden_size",))
    experts: Field = Field("num_experts")
    router_bias: Field = Field("router_bias", False)
    tied: Field = Field("tie_word_embeddings", True)
    layers: tuple[Field, Field] = (Field("encoder_layers", also=("num_hidden_layers",)), Field("decoder_layers"))
    widths: tuple[Field, Field] = (Field("encoder_ffn_dim"), Field("decoder_ffn_dim"))
    heads: tuple[Field, Field] = (
        Field("encoder_attention_heads", also=("num_attention_heads",)),
        Field("decoder_attention_heads"),
    )
    steps: tuple[Field, Field] = (Field("encoder_sparse_step", 4), Field("decoder_sparse_step", 4))
    harmless: frozenset[str] = COMMON | NLLB_HARMLESS
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    encoder_decoder: bool = True

    def build(self, fields: Fields) -> Architecture:
        d_model = fields.size(self.d_model)
        return Architecture(
            name=fields.family,
            vocab_size=fields.size(self.vocab_size),
            d_model=d_model,
            encoder=self._stack(fields, d_model, 0),
            layers=self._stack(fields, d_model, 1),
            tied=(tied := fields.flag(self.tied)),
            embeddings=1 if tied else UNTIED,
            norm_bias=True,
            final_norms=2,
        )

    def _stack(self, fields: Fields, d_model: int, stack: int) -> tuple[Layer, ...]:
        heads, step = fields.size(self.heads[stack]), fields.size(self.steps[stack])
        if d_model % heads:
            raise ValueError(f"{fields.family}: d_model={d_model} is not a multiple of {heads} heads")
        attention = GroupedQuery(
            heads=heads,
            kv_heads=heads,
            head_dim=d_model // heads,
            value_dim=d_model // heads,
            qkv_bias=True,
            output_bias=True,
            bidirectional=not stack,
        )
        cross = (replace(attention, cross=True, bidirectional=True),) if stack else ()
        return tuple(
            Layer(
                attention=(attention, *cross),
                feed_forward=(self._network(fields, stack, sparse=(layer + 1) % step == 0),),
                norms=3 if stack else 2,
            )
            for layer in range(fields.size(self.layers[stack], most=MOST_LAYERS))
        )

    def _network(self, fields: Fields, stack: int, *, sparse: bool) -> FeedForward:
        width = fields.size(self.widths[stack])
        if not sparse:
            return Dense(width=width, matrices=2, bias=True)
        experts, router_bias = fields.size(self.experts, least=2), fields.flag(self.router_bias)
        return Experts(experts=experts, top_k=2, width=width, matrices=2, bias=True, router_bias=router_bias)


ENCODER_DECODERS: dict[str, Family] = {"nllb-moe": Nllb(), "switch_transformers": Switch()}
