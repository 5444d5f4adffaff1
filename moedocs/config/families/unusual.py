"""Decoder families whose layers are not one attention and one feed-forward network each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moedocs.config.architecture import Architecture, Layer
from moedocs.config.families.family import Family
from moedocs.config.families.mixing import Grouped, LatentAttention
from moedocs.config.families.networks import DenseNames, ExpertNames
from moedocs.config.families.recurrent import MambaTwo
from moedocs.config.fields import MOST_LAYERS, Field, Fields

VOCABULARY, WIDTH, TIED = Field("vocab_size"), Field("hidden_size"), Field("tie_word_embeddings", False)
PATTERN = {"M": "linear", "E": "experts", "*": "full", "-": "dense"}
WORDS = {
    "linear_attention": "linear",
    "mamba": "linear",
    "full_attention": "full",
    "attention": "full",
    "moe": "experts",
    "mlp": "dense",
}
LONGCAT_LATENT = LatentAttention()
LONGCAT_DENSE = DenseNames(width=Field("ffn_hidden_size", also=("intermediate_size",)))
LONGCAT_EXPERTS = ExpertNames(
    experts=Field("n_routed_experts", also=("num_local_experts",)),
    top_k=Field("moe_topk", also=("num_experts_per_tok",)),
    width=Field("expert_ffn_hidden_size", also=("moe_intermediate_size",)),
    router_bias=Field("router_bias", False),
    selection_bias="buffer",
    no_ops=Field("zero_expert_num", 256),
)
NEMOTRON_MAMBA = MambaTwo(
    heads=Field("mamba_num_heads"),
    head_dim=Field("mamba_head_dim"),
    groups=Field("n_groups", 8, also=("mamba_n_groups",)),
    state=Field("ssm_state_size"),
    kernel=Field("conv_kernel", 4, also=("mamba_d_conv",)),
    conv_bias=Field("use_conv_bias", True, also=("mamba_conv_bias",)),
    bias=Field("use_bias", False),
)
MLP_BIAS = Field("mlp_bias", False)
NEMOTRON_ATTENTION = Grouped(
    head_dim=Field("head_dim", 128, also=("attention_head_dim",)), kv_heads=Field("num_key_value_heads", 8)
)
NEMOTRON_DENSE = DenseNames(matrices=2, bias=MLP_BIAS)
NEMOTRON_EXPERTS = ExpertNames(
    experts=Field("n_routed_experts", also=("num_local_experts",)),
    matrices=2,
    selection_bias="buffer",
    shared_width=Field("moe_shared_expert_intermediate_size"),
    shared_bias=MLP_BIAS,
    latent=Field("moe_latent_size", None),
)
NEMOTRON_ONLY: dict[str, tuple[Any, ...]] = {
    "attention_bias": (False,),
    "mamba_proj_bias": (False,),
    "n_shared_experts": (1,),
    "tie_word_embeddings": (False,),  # transformers keeps both matrices whatever it says
}
NO_NESTING: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Longcat:
    """LongCat-Flash: two attentions, two dense networks and one layer of experts beside them, in each layer.

    Some of a token's choices may fall on experts that do nothing: that it uses all of them is the most it can.
    """

    vocab_size: Field = VOCABULARY
    d_model: Field = WIDTH
    layers: Field = Field("num_layers", also=("num_hidden_layers",))
    tied: Field = TIED
    attention: LatentAttention = LONGCAT_LATENT
    dense: DenseNames = LONGCAT_DENSE
    experts: ExpertNames = LONGCAT_EXPERTS
    prediction: Field = Field("num_nextn_predict_layers", None)
    harmless: frozenset[str] = frozenset({"num_key_value_heads", "head_dim", "mla_scale_q_lora", "mla_scale_kv_lora"})
    only: Mapping[str, tuple[Any, ...]] = field(
        default_factory=lambda: {"zero_expert_type": ("identity",), "attention_method": ("MLA", "mla")}
    )
    blocks: tuple[str, ...] = NO_NESTING
    encoder_decoder: bool = False

    def build(self, fields: Fields) -> Architecture:
        d_model, count = fields.size(self.d_model), fields.size(self.layers, most=MOST_LAYERS)
        attention, dense = self.attention.read(fields, d_model), self.dense.read(fields, d_model)
        experts = self.experts.read(fields, d_model)
        layer = Layer(attention=(attention, attention), feed_forward=(dense, experts, dense), norms=4)
        return Architecture(
            name=fields.family,
            vocab_size=fields.size(self.vocab_size),
            d_model=d_model,
            layers=(layer,) * count,
            tied=fields.flag(self.tied),
        )


@dataclass(frozen=True, kw_only=True)
class NemotronH:
    """Nemotron-H: each layer is one of Mamba-2, attention, a dense network or experts, with one norm.

    Older files spell the layers as one string, of M, *, - and E.
    """

    vocab_size: Field = VOCABULARY
    d_model: Field = WIDTH
    tied: Field = TIED
    listed: Field = Field("layers_block_type", None, also=("layer_types",))
    spelt: Field = Field("hybrid_override_pattern", None)
    count: Field = Field("num_hidden_layers", None)
    mamba: MambaTwo = NEMOTRON_MAMBA
    attention: Grouped = NEMOTRON_ATTENTION
    dense: DenseNames = NEMOTRON_DENSE
    experts: ExpertNames = NEMOTRON_EXPERTS
    prediction: Field = Field("num_nextn_predict_layers", None)
    harmless: frozenset[str] = frozenset(
        """use_mamba_kernels num_logits_to_keep mamba_hidden_act mlp_hidden_act expand time_step_min time_step_max
        time_step_limit time_step_floor chunk_size mamba_ssm_cache_dtype moe_shared_expert_overlap mtp_layers_block_type
        mtp_hybrid_override_pattern residual_in_fp32 rescale_prenorm_residual time_step_rank""".split()  # noqa: SIM905
    )
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: NEMOTRON_ONLY)
    blocks: tuple[str, ...] = NO_NESTING
    encoder_decoder: bool = False

    def build(self, fields: Fields) -> Architecture:
        d_model, words = fields.size(self.d_model), self._words(fields)
        kinds = {word: self._layer(fields, d_model, word) for word in dict.fromkeys(words)}
        extra = fields.size_or_none(self.prediction, least=0)
        return Architecture(
            name=fields.family,
            vocab_size=fields.size(self.vocab_size),
            d_model=d_model,
            layers=tuple(kinds[word] for word in words),
            tied=fields.flag(self.tied),
            left_out=(f"{self.prediction.name}={extra}: what predicts further tokens",) if extra else (),
        )

    def _words(self, fields: Fields) -> tuple[str, ...]:
        listed, spelt = fields.value(self.listed), fields.value(self.spelt)
        if listed is None:
            if not isinstance(spelt, str) or not spelt or set(spelt) - set(PATTERN) or len(spelt) > MOST_LAYERS:
                raise fields.wrong(self.spelt, f"a word of {', '.join(PATTERN)}, one per layer")
            words = tuple(PATTERN[letter] for letter in spelt)
        else:
            length = len(listed) if isinstance(listed, list) else 0
            words = fields.words(self.listed, WORDS, length) or ()
        if (count := fields.size_or_none(self.count)) not in (None, len(words)):
            raise ValueError(f"{fields.family}: num_hidden_layers={count}, but {len(words)} layers are listed")
        return words

    def _layer(self, fields: Fields, d_model: int, word: str) -> Layer:
        if word in ("linear", "full"):
            mixing = (self.mamba if word == "linear" else self.attention).read(fields, d_model)
            return Layer(attention=(mixing,), feed_forward=(), norms=1)
        network = (self.experts if word == "experts" else self.dense).read(fields, d_model)
        return Layer(attention=(), feed_forward=(network,), norms=1)


UNUSUAL: dict[str, Family] = {"longcat_flash": Longcat(), "nemotron_h": NemotronH()}
