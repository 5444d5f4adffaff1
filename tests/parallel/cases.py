"""What ranks and one process both compute, from the same seeds: layers on a joint batch, and whole models.

Shapes: T tokens of the joint batch · D d_model · E num_experts · B sequences · S sequence length
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TransformerConfig
from moedocs.engine import Experts, Routing, Transformer, balancing_loss, sampling_loss, with_capacity
from moedocs.engine.record import routed_to

D_MODEL, D_FF, EXPERTS, TOKENS = 12, 20, 8, 48
SEQUENCES, LENGTH = 4, 16
BIASED = BalanceConfig(bias_rate=0.01, auxiliary_weight=0.1)


def generator(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def tokens() -> Tensor:
    return torch.randn(TOKENS, D_MODEL, generator=generator(1))


def experts() -> Experts:
    return Experts(EXPERTS, D_MODEL, D_FF, generator=generator(2))


def weights_of(tokens_out: int) -> Tensor:
    """What the output is multiplied by before it is summed: a gradient unlike any other."""
    return torch.randn(tokens_out, D_MODEL, generator=generator(3))


def _routing(index_TK: Tensor, choices: int = EXPERTS) -> Routing:
    logits_TE = torch.randn(len(index_TK), choices, generator=generator(4))
    weights_TK = torch.rand(index_TK.shape, generator=generator(5)) + 0.1
    return routed_to(logits_TE, logits_TE.softmax(-1), index_TK, weights_TK)


def routings() -> dict[str, Routing]:
    """Of the joint batch: K = 1 and 2, loads of every kind, drops and no-ops."""
    scores_TE = torch.randn(TOKENS, EXPERTS, generator=generator(6))
    two = _routing(scores_TE.topk(2).indices)
    nobody = replace(two, map_TE=torch.zeros_like(two.map_TE), weights_TE=torch.zeros_like(two.weights_TE))
    skewed_TE = scores_TE + torch.linspace(4, 0, EXPERTS)
    return {
        "one choice": _routing(scores_TE.topk(1).indices),
        "two choices": two,
        "uneven": _routing(skewed_TE.topk(2).indices),
        "all to the first expert": _routing(torch.zeros(TOKENS, 1, dtype=torch.int64)),
        "none to the last rank": _routing(scores_TE[:, : EXPERTS // 4].topk(2).indices),
        "drops": with_capacity(two, 5),
        "first half of the tokens dropped": _first_half_dropped(two),
        "nobody goes anywhere": nobody,
        "no-ops": _routing(torch.randn(TOKENS, EXPERTS + 3, generator=generator(7)).topk(2).indices, EXPERTS + 3),
    }


def _first_half_dropped(routing: Routing) -> Routing:
    kept_TE = routing.map_TE.clone()
    kept_TE[: TOKENS // 2] = False
    return replace(routing, map_TE=kept_TE, weights_TE=routing.weights_TE * kept_TE)


def models() -> dict[str, TransformerConfig]:
    """Every kind of coupling between the tokens of a batch."""
    shape: dict[str, Any] = {"vocab_size": 64, "d_model": 16, "num_layers": 2, "num_heads": 2, "d_ff": 16}

    def sparse(depth: DepthConfig | None = None, **changes: Any) -> TransformerConfig:
        routing = RoutingConfig(**{"num_experts": 4, "top_k": 2} | changes)
        return TransformerConfig(**shape, routing=routing, depth=depth)

    return {
        "dense": TransformerConfig(**shape),
        "auxiliary and bias": sparse(balance=BIASED, shared_experts=1, shared_gate=True),
        "per sequence": sparse(top_k=1, balance=BalanceConfig(auxiliary_weight=0.1, auxiliary_over="sequence")),
        "pooled": sparse(balance=BalanceConfig(auxiliary_weight=0.1, auxiliary_pooled=True, z_weight=0.01)),
        "noisy": sparse(router="noisy", balance=BalanceConfig(importance_weight=0.1, load_weight=0.1)),
        "relu": sparse(router="relu", balance=BalanceConfig(l1_weight=0.01)),
        "capacity": sparse(capacity_factor=0.6, capacity_order="batch-prioritized", no_op_experts=2),
        "random capacity": sparse(capacity_factor=0.6, capacity_order="random"),
        "gshard": sparse(router="gshard"),
        "expert choice": sparse(router="expert-choice", capacity_factor=1.0),
        "base": sparse(router="base", top_k=1),
        "sinkhorn": sparse(router="sinkhorn"),
        "hash": sparse(router="hash"),
        "depth": TransformerConfig(**shape, depth=DepthConfig(capacity=0.25, sampling="predictor")),
        "random depth": TransformerConfig(**shape, depth=DepthConfig(capacity=0.25, router="random")),
        "both": sparse(DepthConfig(capacity=0.5, every=1, sampling="auxiliary"), balance=BIASED),
    }


def text() -> Tensor:
    return torch.randint(64, (SEQUENCES, LENGTH), generator=generator(8))


def loss_of(model: Transformer, bytes_BS: Tensor) -> tuple[Tensor, list[Routing]]:
    """What a training would go down: the mean over tokens, and what the config adds."""
    output = model(bytes_BS, generator=generator(9))
    loss = output.logits_BSV.square().logsumexp(-1).mean()
    if model.config.depth:
        loss = loss + sampling_loss(output.depths, model.config.depth)
    if model.config.routing:
        balance = model.config.routing.balance
        loss = loss + balancing_loss(output.routings, balance, num_sequences=SEQUENCES, top_k=2)
    return loss, output.routings


def built(config: TransformerConfig) -> Transformer:
    return Transformer(config, generator=generator(10))
