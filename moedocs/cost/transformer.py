"""Transformers of published shapes, and the numbers that a page may quote of any, each with its arithmetic."""

from __future__ import annotations

from moedocs.config import RoutingConfig, TransformerConfig
from moedocs.cost.flops import attention_flops, linear_flops
from moedocs.cost.quantity import Quantity
from moedocs.cost.size import attention_parameters, expert_parameters, parameters, router_parameters

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


def quantities(config: TransformerConfig) -> dict[str, Quantity]:
    """The numbers a page may quote of a model, by name."""
    part, d, layers = parameters(config), config.d_model, config.num_layers
    routing = config.routing
    sparse = len(config.moe_blocks) if routing else layers
    experts, top_k = (routing.num_experts, routing.top_k) if routing else (1, 1)
    each = expert_parameters(config)
    whole = f"{experts} experts × {sparse} layers × 3·{d}·{config.d_ff}"
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
        "routers": Quantity(part.routers, "parameters", f"{sparse} layers × {router_parameters(config)}"),
        "forward-flops": Quantity(linear_flops(config), "FLOP", "2 × active matrix parameters, context left out"),
        "attention-flops-4k": Quantity(
            attention_flops(config, 4096), "FLOP", f"4·{layers}·{config.num_heads}·{config.head_width}·4096"
        ),
        "weights-bf16": Quantity(2 * part.total, "byte", f"2 bytes × {part.total}"),
        "num-experts": Quantity(experts, "count", "from the configuration"),
        "top-k": Quantity(top_k, "count", "from the configuration"),
        "num-layers": Quantity(layers, "count", "from the configuration"),
    }
