"""Small random models of each family, as the fields of its config.json, and other people's modules built from them."""

# mypy: disable-error-code="no-untyped-call"
# (transformers annotates its forward passes, not its constructors)

from random import Random
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

Drawn = dict[str, Any]


def built(model_type: str, fields: Drawn) -> nn.Module:
    """transformers' module, without memory: every tensor is on the meta device."""
    config = CONFIG_MAPPING[model_type](**fields)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.device("meta"):
        model: nn.Module = auto.from_config(config)
    return model


def sizes(model: nn.Module) -> int:
    """Parameters, each tied one once."""
    return sum(parameter.numel() for parameter in model.parameters())


def common(draw: Random) -> Drawn:
    """What most families call by the same names."""
    kv_heads = draw.randint(1, 3)
    heads = kv_heads * draw.randint(1, 3)
    return {
        "vocab_size": draw.randint(5, 90),
        "hidden_size": heads * 2 * draw.randint(2, 6),
        "num_hidden_layers": draw.randint(1, 6),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": draw.randint(3, 40),
        "tie_word_embeddings": draw.random() < 0.5,
        "pad_token_id": None,
    }


def with_experts(draw: Random, name: str, **more: Any) -> Drawn:
    experts = draw.randint(2, 9)
    return {**common(draw), name: experts, "num_experts_per_tok": draw.randint(1, experts), **more}


def head(draw: Random) -> int:
    return 2 * draw.randint(1, 6)


def flag(draw: Random) -> bool:
    return draw.random() < 0.5


def latent(draw: Random) -> Drawn:
    return {
        "q_lora_rank": draw.randint(2, 9),
        "kv_lora_rank": draw.randint(2, 9),
        "qk_nope_head_dim": draw.randint(1, 9),
        "qk_rope_head_dim": head(draw),
        "v_head_dim": draw.randint(1, 9),
        "attention_bias": flag(draw),
    }


def deepseek(draw: Random, *, direct: bool = True) -> Drawn:
    drawn = with_experts(
        draw,
        "n_routed_experts",
        moe_intermediate_size=draw.randint(2, 9),
        n_shared_experts=draw.randint(1, 3),
        first_k_dense_replace=draw.randint(0, 4),
        n_group=1,
        topk_group=1,
        **latent(draw),
    )
    drawn["num_key_value_heads"] = drawn["num_attention_heads"]
    if direct and flag(draw):
        drawn["q_lora_rank"] = None
    return drawn


def gpt2(draw: Random) -> Drawn:
    heads = draw.randint(1, 4)
    return {
        "vocab_size": draw.randint(5, 90),
        "n_embd": heads * draw.randint(1, 9),
        "n_layer": draw.randint(1, 6),
        "n_head": heads,
        "n_positions": draw.randint(1, 50),
        "n_inner": draw.choice([None, draw.randint(1, 50)]),
        "tie_word_embeddings": flag(draw),
        "bos_token_id": 0,
        "eos_token_id": 0,
    }


def switch(draw: Random) -> Drawn:
    encoder, decoder = draw.randint(1, 6), draw.randint(1, 6)
    return {
        "vocab_size": draw.randint(5, 90),
        "d_model": draw.randint(1, 20),
        "d_kv": draw.randint(1, 9),
        "d_ff": draw.randint(1, 30),
        "num_heads": draw.randint(1, 4),
        "num_layers": encoder,
        "num_decoder_layers": draw.choice([None, decoder]),
        "num_sparse_encoder_layers": draw.randint(1, encoder),
        "num_sparse_decoder_layers": draw.randint(1, min(encoder, decoder)),
        "num_experts": draw.randint(1, 5),
        "router_bias": flag(draw),
        "relative_attention_num_buckets": draw.randint(4, 40),
        "tie_word_embeddings": flag(draw),
    }


def qwen_moe(draw: Random, **more: Any) -> Drawn:
    drawn = with_experts(draw, "num_experts", moe_intermediate_size=draw.randint(2, 9), **more)
    step = {"decoder_sparse_step": draw.randint(1, 3), "mlp_only_layers": [0] if flag(draw) else []}
    return {**drawn, **step}


def llama4(draw: Random) -> Drawn:
    drawn = with_experts(draw, "num_local_experts", head_dim=head(draw), attention_bias=flag(draw))
    return {**drawn, "interleave_moe_layer_step": draw.randint(1, 3), "intermediate_size_mlp": draw.randint(2, 30)}


DRAWS = {
    "llama": lambda draw: {**common(draw), "attention_bias": flag(draw), "mlp_bias": flag(draw)},
    "mistral": lambda draw: {**common(draw), "head_dim": draw.choice([None, head(draw)])},
    "gpt2": gpt2,
    "qwen2": common,
    "qwen3": lambda draw: {**common(draw), "head_dim": head(draw), "attention_bias": flag(draw)},
    "mixtral": lambda draw: with_experts(draw, "num_local_experts", head_dim=draw.choice([None, head(draw)])),
    "qwen2_moe": lambda draw: qwen_moe(draw, shared_expert_intermediate_size=draw.randint(2, 9), qkv_bias=flag(draw)),
    "qwen3_moe": lambda draw: qwen_moe(draw, head_dim=head(draw), attention_bias=flag(draw)),
    "olmoe": lambda draw: with_experts(draw, "num_experts", attention_bias=flag(draw)),
    "deepseek_v2": lambda draw: {**deepseek(draw), "mlp_bias": flag(draw)},
    "deepseek_v3": deepseek,
    "gpt_oss": lambda draw: with_experts(draw, "num_local_experts", head_dim=head(draw), attention_bias=flag(draw)),
    "llama4_text": llama4,
    "switch_transformers": switch,
}
