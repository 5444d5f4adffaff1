"""Our training beside the same model of transformers' blocks; `make bench ONLY=train`.

A step is what the lab does: 16 sequences of 128 bytes, forward, loss, the auxiliary loss where there are experts,
backward, the finite check, AdamW. The peers are LlamaForCausalLM and MixtralForCausalLM of the same shape, with each of
their ways to run experts, the same optimiser and, for Mixtral, its own auxiliary loss; they make no finite check.
Mixture of Depths has no peer. Process CPU time on one thread: thousand tokens per second, and the ratio to the peer as
the median over pairs of steps taken in turns.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TransformerConfig
from moedocs.lab import batches, small
from moedocs.lab.training import Run, Training

WAYS = ("eager", "batched_mm", "grouped_mm")
SECONDS, MOST_PAIRS = 15.0, 60
Step = Callable[[], object]


def routed(num_experts: int, top_k: int) -> TransformerConfig:
    routing = RoutingConfig(num_experts=num_experts, top_k=top_k, balance=BalanceConfig(auxiliary_weight=0.01))
    return small.model(routing=routing, d_ff=128 // top_k)


MODELS = {
    "dense": small.model(),
    "MoE, 8 experts, k 1": routed(8, 1),
    "MoE, 8 experts, k 2": routed(8, 2),
    "MoE, 32 experts, k 2": routed(32, 2),
    "MoD, 12.5 %, every other": small.model(depth=DepthConfig(capacity=0.125)),
    "MoD, 12.5 %, every": small.model(depth=DepthConfig(capacity=0.125, every=1)),
}


def main() -> None:
    """A row per architecture and peer."""
    torch.set_num_threads(1)
    print(f"{'':<26} {'k tokens/CPU s':>14}   {'peer':<24} {'k tokens/CPU s':>14} {'ours is faster by':>18}")
    for name, config in MODELS.items():
        run = Run(
            model=config, training=small.training(4e-3, 0, 10_000), domains=("code", "headers", "latin", "cyrillic")
        )
        ours = Training(run).advance
        peers = {} if config.depth else theirs(run)
        for peer, step in peers.items():
            our_time, their_time, ratio = compare(ours, step)
            told(name, our_time, peer, f"{tokens(their_time):14.1f} {ratio:17.2f}x")
        if not peers:
            told(name, median(cost(ours) for _ in range(MOST_PAIRS)), "none", "")


def theirs(run: Run) -> dict[str, Step]:
    """The same shape of transformers' parts, one per way of running experts."""
    model = run.model
    shape: dict[str, Any] = {
        "vocab_size": model.vocab_size,
        "hidden_size": model.d_model,
        "intermediate_size": model.d_ff,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.kv_heads,
        "use_cache": False,
    }
    if model.routing is None:
        return {"Llama": stepping(LlamaForCausalLM(LlamaConfig(**shape)), run)}
    shape |= {"num_local_experts": model.routing.num_experts, "num_experts_per_tok": model.routing.top_k}
    shape |= {"output_router_logits": True, "router_aux_loss_coef": model.routing.balance.auxiliary_weight}
    return {
        f"Mixtral, {way}": stepping(MixtralForCausalLM(MixtralConfig(**shape | {"experts_implementation": way})), run)
        for way in WAYS
    }


def stepping(model: Any, run: Run) -> Step:
    """A step of a model of theirs on the lab's text."""
    config = run.training
    texts, draws = batches.training_texts(run.domains), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate, betas=config.betas, fused=True)
    model.train()

    def step() -> None:
        bytes_BS = batches.draw(texts, config.sequences, config.sequence_length, 1, draws).long()
        optimizer.zero_grad()
        model(input_ids=bytes_BS[:, :-1], labels=bytes_BS[:, :-1]).loss.backward()
        optimizer.step()

    return step


def compare(ours: Step, peer: Step) -> tuple[float, float, float]:
    """Median seconds of either, and the median of their ratios."""
    for step in (ours, peer, ours, peer):
        step()
    pairs: list[tuple[float, float]] = []
    end = time.perf_counter() + SECONDS
    while len(pairs) < 3 or (time.perf_counter() < end and len(pairs) < MOST_PAIRS):
        pairs.append((cost(ours), cost(peer)))
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(b / a for a, b in pairs)


def cost(step: Step) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started


def tokens(seconds: float) -> float:
    """Thousand tokens per second."""
    return 16 * 128 / seconds / 1e3


def told(name: str, seconds: float, peer: str, rest: str) -> None:
    print(f"{name:<26} {tokens(seconds):14.1f}   {peer:<24} {rest}", flush=True)


if __name__ == "__main__":
    main()
