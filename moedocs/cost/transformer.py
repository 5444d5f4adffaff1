"""What a transformer costs, counted from its configuration: parameters, and FLOPs per token.

Plain Python on plain numbers, so that the build, the prompt and the reader's browser count the same way. Dimensions:
L layers, D d_model, F d_ff of one expert, E experts, K top-k, H heads, V vocabulary, S context length in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from moedocs.config import RoutingConfig, TransformerConfig

MATRICES_PER_FFN = 3  # SwiGLU: gate, up and down

# Shapes as published: Mixtral, arXiv:2401.04088, table 1; Llama 2, arXiv:2307.09288, and its config.json.
PUBLISHED = {
    "mixtral-8x7b": TransformerConfig(
        vocab_size=32_000,
        d_model=4_096,
        num_layers=32,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        d_ff=14_336,
        routing=RoutingConfig(num_experts=8, top_k=2),
    ),
    "llama-2-70b": TransformerConfig(
        vocab_size=32_000, d_model=8_192, num_layers=80, num_heads=64, num_kv_heads=8, head_dim=128, d_ff=28_672
    ),
}


@dataclass(frozen=True)
class Parameters:
    """Parameters of the whole model by part; `active` are those that one token uses.

    Counting rules differ between laboratories: Mixtral's 12.9 billion include both vocabulary matrices; other reports
    leave out the input embedding (it is looked up, not multiplied) or both.
    """

    embedding: int
    attention: int
    routers: int
    experts: int
    dense_ffn: int
    norms: int
    head: int
    active_experts: int

    @property
    def total(self) -> int:
        return self.experts + self._always_used

    @property
    def active(self) -> int:
        return self.active_experts + self._always_used

    @property
    def active_without_input_embedding(self) -> int:
        """With tied embeddings the one matrix is still multiplied as the head, so it stays."""
        return self.active - (self.embedding if self.head else 0)

    @property
    def active_without_embeddings(self) -> int:
        return self.active - self.embedding - self.head

    @property
    def _always_used(self) -> int:
        return self.embedding + self.attention + self.routers + self.dense_ffn + self.norms + self.head


def expert_parameters(config: TransformerConfig) -> int:
    """Parameters of one expert (or of the dense FFN) in one layer: 3·D·F."""
    return MATRICES_PER_FFN * config.d_model * config.d_ff


def attention_parameters(config: TransformerConfig) -> int:
    """Parameters of one layer's attention: query and output are D × H·head_dim, key and value D × H_kv·head_dim."""
    return 2 * config.d_model * config.head_width * (config.num_heads + config.kv_heads)


def parameters(config: TransformerConfig) -> Parameters:
    """Exact count by part; equal to the sum of the tensor sizes of `moedocs.engine.Transformer`."""
    routing, layers, vocabulary = config.routing, config.num_layers, config.vocab_size * config.d_model
    num_experts, top_k = (routing.num_experts, routing.top_k) if routing else (0, 0)
    return Parameters(
        embedding=vocabulary,
        attention=layers * attention_parameters(config),
        routers=layers * config.d_model * num_experts,
        experts=layers * num_experts * expert_parameters(config),
        dense_ffn=0 if routing else layers * expert_parameters(config),
        norms=(2 * layers + 1) * config.d_model,
        head=0 if config.tied_embeddings else vocabulary,
        active_experts=layers * top_k * expert_parameters(config),
    )


def linear_flops(config: TransformerConfig) -> int:
    """Forward FLOPs per token in matrix products with weights: 2 for every active matrix parameter.

    The embedding is a lookup and the norms are no matrices: neither counts. The head does, tied or not.
    """
    part = parameters(config)
    head = config.vocab_size * config.d_model
    return 2 * (part.attention + part.routers + part.active_experts + part.dense_ffn + head)


def attention_flops(config: TransformerConfig, context: int) -> int:
    """Forward FLOPs of one token that attends to `context` tokens (scores and mix): 4·L·H·head_dim·S."""
    if context < 0:
        raise ValueError(f"context={context} must not be negative")
    return 4 * config.num_layers * config.num_heads * config.head_width * context


def forward_flops(config: TransformerConfig, context: int = 0) -> int:
    """Forward FLOPs per token, the last of `context` tokens; a training step takes about three times as many."""
    return linear_flops(config) + attention_flops(config, context)


@dataclass(frozen=True)
class Quantity:
    """A number with its unit (`parameters`, `FLOP`, `share`) and the arithmetic behind it."""

    value: float
    unit: str
    formula: str


def quantities(config: TransformerConfig) -> dict[str, Quantity]:
    """The numbers a page may quote of a model, by name."""
    part, d, layers = parameters(config), config.d_model, config.num_layers
    routing = config.routing
    experts, top_k = (routing.num_experts, routing.top_k) if routing else (1, 1)
    each = expert_parameters(config)
    whole = f"{experts} experts × {layers} layers × 3·{d}·{config.d_ff}"
    return {
        "total": Quantity(part.total, "parameters", f"all parts, of which {whole}"),
        "active": Quantity(part.active, "parameters", f"all parts, but {top_k} of {experts} experts"),
        "active-share": Quantity(part.active / part.total, "share", f"{part.active} ÷ {part.total}"),
        "without-input-embedding": Quantity(
            part.active_without_input_embedding, "parameters", f"active less {config.vocab_size}·{d} of the embedding"
        ),
        "without-embeddings": Quantity(
            part.active_without_embeddings, "parameters", "active less the embedding and the head"
        ),
        "expert": Quantity(each, "parameters", f"3·{d}·{config.d_ff}"),
        "experts": Quantity(part.experts or part.dense_ffn, "parameters", whole),
        "everything-else": Quantity(part.total - (part.experts or part.dense_ffn), "parameters", "total less experts"),
        "attention": Quantity(part.attention, "parameters", f"{layers} layers × {attention_parameters(config)}"),
        "routers": Quantity(part.routers, "parameters", f"{layers} layers × {d}·{experts}"),
        "forward-flops": Quantity(linear_flops(config), "FLOP", "2 × active matrix parameters, context left out"),
        "attention-flops-4k": Quantity(
            attention_flops(config, 4096), "FLOP", f"4·{layers}·{config.num_heads}·{config.head_width}·4096"
        ),
        "weights-bf16": Quantity(2 * part.total, "byte", f"2 bytes × {part.total}"),
        "num-experts": Quantity(experts, "count", "from the configuration"),
        "top-k": Quantity(top_k, "count", "from the configuration"),
        "num-layers": Quantity(layers, "count", "from the configuration"),
    }
