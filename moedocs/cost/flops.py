"""What a transformer computes: FLOPs per token on average, and of one forward pass exactly.

Two per multiplication with its addition, in matrix products alone: an embedding is a lookup, and norms, rotations,
softmaxes and the weighted sum of experts are no matrix products. Attention is counted in full, S keys for each of S
tokens, as PyTorch's counter does and as kernels without a causal shortcut compute it; its causal half stands beside.
Dimensions: L layers, D d_model, F d_ff of one expert, E experts, K top-k, H heads, V vocabulary, S tokens of a
sequence, B sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from moedocs.config import RoutingConfig, TransformerConfig, capacity
from moedocs.cost.size import (
    attention_parameters,
    dense_parameters,
    depth_parameters,
    expert_parameters,
    router_parameters,
    shared_parameters,
)

K_EACH = ("softmax", "sigmoid", "noisy", "hash", "base", "sinkhorn")  # routers that give every token K experts


def linear_flops(config: TransformerConfig) -> float:
    """Forward FLOPs per token in matrix products with weights: 2 for every active matrix parameter.

    The head counts, tied or not; the embedding and the norms are no matrix products. It is the mean over tokens: a
    block routed in depth counts for the share of tokens that pass it, and with no-op experts K choices are
    K * E / (E + no-ops) experts, as when the load is even. Drops by capacity are not counted.
    """
    share, sparse, routed = _share(config), set(config.moe_blocks), set(config.depth_blocks)
    flops = Fraction(2 * config.vocab_size * config.d_model)
    for block in range(config.num_layers):
        passing = attention_parameters(config) + (_sparse(config) if block in sparse else dense_parameters(config))
        flops += 2 * (share * passing + depth_parameters(config)) if block in routed else 2 * passing
    return _plain(flops)


def attention_flops(config: TransformerConfig, context: int) -> float:
    """Forward FLOPs of one token that attends to `context` tokens (scores and mix): 4·L·H·head_dim·S.

    The mean over tokens: where a share c of them passes a block routed in depth, they attend to a share c, so that such
    a block counts c² times.
    """
    if context < 0:
        raise ValueError(f"context={context} must not be negative")
    routed = len(config.depth_blocks)
    blocks = config.num_layers - routed + _share(config) ** 2 * routed
    return _plain(4 * blocks * config.num_heads * config.head_width * context)


def forward_flops(config: TransformerConfig, context: int = 0) -> float:
    """Forward FLOPs per token, the last of `context` tokens; a training step takes about three times as many."""
    return linear_flops(config) + attention_flops(config, context)


@dataclass(frozen=True, kw_only=True)
class ForwardPass:
    """FLOPs of one forward pass by part: what `moedocs.engine.Transformer` computes, to the last one.

    `attention` is its four projections, `scores` its scores and mix in full, of which `scores_causal` are with keys
    that a token may see. `depth` is the routers and predictors of Mixture of Depths.
    """

    attention: int = 0
    scores: int = 0
    scores_causal: int = 0
    routers: int = 0
    experts: int = 0
    shared: int = 0
    dense_ffn: int = 0
    depth: int = 0
    head: int = 0

    @property
    def total(self) -> int:
        """All parts, attention in full."""
        return self.total_causal - self.scores_causal + self.scores

    @property
    def total_causal(self) -> int:
        """All parts, attention with the keys up to each token alone."""
        feed_forward = self.routers + self.experts + self.shared + self.dense_ffn
        return self.attention + self.scores_causal + feed_forward + self.depth + self.head


def forward_pass(
    config: TransformerConfig, sequences: int, length: int, *, assignments: Sequence[int] | None = None
) -> ForwardPass:
    """FLOPs of `sequences` times `length` tokens, as in training: learned noise and predictors included.

    `assignments` are the pairs of token and expert that each MoE block computes. They need not be given where they are
    known beforehand: K a token if nothing is dropped, or what the experts take in expert choice. With no-op experts,
    capacity and routers that skip choices they depend on the text: count them in the Routing. The padding that capacity
    buffers compute too is not counted. Raises ValueError if they are needed and absent, or do not fit the MoE blocks.
    """
    if sequences < 0 or length < 0:
        raise ValueError(f"sequences={sequences} and length={length} must not be negative")
    if assignments is not None and len(assignments) != len(config.moe_blocks):
        raise ValueError(f"{len(assignments)} assignments given for {len(config.moe_blocks)} MoE blocks")
    given = iter([None] * len(config.moe_blocks) if assignments is None else assignments)
    parts = ForwardPass(head=2 * sequences * length * config.vocab_size * config.d_model)
    for block in range(config.num_layers):
        passing = length
        if config.depth is not None and block in config.depth_blocks:
            passing = config.depth.slots(length)
            parts = replace(parts, depth=parts.depth + 2 * sequences * length * depth_parameters(config))
        parts = _attended(parts, config, sequences, passing)
        parts = (
            _routed(parts, config, sequences, passing, next(given))
            if block in config.moe_blocks
            else replace(parts, dense_ffn=parts.dense_ffn + 2 * sequences * passing * dense_parameters(config))
        )
    return parts


def assignments_known(routing: RoutingConfig, sequences: int, length: int) -> int | None:
    """Pairs of token and expert that a layer computes whatever the text; None where it depends on the text."""
    tokens = sequences * length
    if routing.no_op_experts:
        return None
    if routing.router == "expert-choice":
        per_sequence = routing.capacity_over == "sequence"
        groups, size = (sequences, length) if per_sequence else (1, tokens)
        return groups * routing.num_experts * min(size, capacity(size, routing))
    if routing.capacity_factor is None and routing.router in K_EACH:
        return tokens * routing.top_k
    return None


def _attended(parts: ForwardPass, config: TransformerConfig, sequences: int, length: int) -> ForwardPass:
    """With one block's attention: per pair of tokens and head, 2 FLOPs a number for the score and 2 for the mix."""
    pair = 4 * config.num_heads * config.head_width * sequences
    return replace(
        parts,
        attention=parts.attention + 2 * sequences * length * attention_parameters(config),
        scores=parts.scores + pair * length**2,
        scores_causal=parts.scores_causal + pair * length * (length + 1) // 2,
    )


def _routed(
    parts: ForwardPass, config: TransformerConfig, sequences: int, length: int, assignments: int | None
) -> ForwardPass:
    """With one MoE layer."""
    assert config.routing is not None
    if assignments is None:
        assignments = assignments_known(config.routing, sequences, length)
    if assignments is None:
        raise ValueError(f"how many assignments are computed depends on the text here, give them: {config.routing}")
    tokens = sequences * length
    return replace(
        parts,
        routers=parts.routers + 2 * tokens * router_parameters(config),
        shared=parts.shared + 2 * tokens * shared_parameters(config),
        experts=parts.experts + 2 * assignments * expert_parameters(config),
    )


def _share(config: TransformerConfig) -> Fraction:
    """Share of tokens that pass a routed block, read as the decimal it is written as."""
    return Fraction(1) if config.depth is None else Fraction(str(config.depth.capacity))


def _sparse(config: TransformerConfig) -> Fraction:
    """Matrix parameters of a layer of experts that a token uses on average, at even load."""
    assert config.routing is not None
    experts = Fraction(config.routing.top_k * config.routing.num_experts, config.routing.choices)
    return experts * expert_parameters(config) + router_parameters(config) + shared_parameters(config)


def _plain(number: Fraction) -> float:
    """A whole number as one, anything else as the nearest float."""
    return number.numerator if number.denominator == 1 else float(number)
