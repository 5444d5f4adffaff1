"""Worlds of two processes that train: each rank leaves what it found in a file."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # an optimizer needs it: loaded once, for all that fork off

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TrainingConfig, TransformerConfig
from moedocs.lab import corpora
from moedocs.lab.large import LargeTraining, trained
from moedocs.lab.store import Store
from moedocs.lab.training import Run
from moedocs.parallel import Channel, ParallelError, World, joined
from tests.parallel.processes import forked

DOMAINS = ("latin", "cyrillic")  # headers have runs of spaces: tokens so alike that rounding chooses
STEPS, BROKEN_OFF = 5, 3
WILD = ("dense", "both")


def run(depth: DepthConfig | None = None, **routing: Any) -> Run:
    shape: dict[str, Any] = {"vocab_size": 256, "d_model": 16, "num_layers": 2, "num_heads": 2, "d_ff": 16}
    described = RoutingConfig(**{"num_experts": 4, "top_k": 2} | routing) if routing else None
    schedule = TrainingConfig(
        steps=STEPS, sequences=4, sequence_length=32, learning_rate=2e-3, warmup_steps=1, micro_batches=2
    )
    model = TransformerConfig(**shape, routing=described, depth=depth)
    return Run(model=model, training=schedule, domains=DOMAINS, look_at=(0, STEPS))


BALANCE = BalanceConfig(auxiliary_weight=0.1, auxiliary_over="micro-batch", bias_rate=0.01)
RUNS = {
    "dense": run(),
    "experts": run(balance=BALANCE),
    "relu": run(router="relu", balance=BalanceConfig(l1_weight=1e-2)),
    "both": run(
        DepthConfig(capacity=0.5, weight="sigmoid", sampling="predictor"), balance=BALANCE, capacity_factor=1.0
    ),
    "random": run(DepthConfig(capacity=0.5, router="random"), router="noisy"),
}


def too_fast(run: Run) -> Run:
    return replace(run, training=replace(run.training, learning_rate=1e30))


def trains(_: int, folder: Path) -> None:
    torch.set_num_threads(1)
    with joined(patience=60, device="cpu") as world:
        channel = Channel(world)
        found: dict[str, Any] = {name: trained(run, world, channel) for name, run in RUNS.items()}
        found["wild"] = {name: trained(too_fast(RUNS[name]), world, channel) for name in WILD}
        found["begun"] = _begun(world, channel)
        found["resumed"] = _resumed(world, channel, torch.load(folder / "alone.pt"))
        torch.save(found, folder / f"{world.rank}.pt")


def _begun(world: World, channel: Channel) -> dict[str, Any]:
    training = LargeTraining(RUNS["experts"], world, channel)
    for _ in range(BROKEN_OFF):
        training.advance()
    return training.state()


def _resumed(world: World, channel: Channel, state: dict[str, Any]) -> list[float]:
    training = LargeTraining(RUNS["experts"], world, channel)
    training.resume(state)
    while training.step < STEPS:
        training.advance()
    return training.losses


def dies(_: int, folder: Path) -> None:
    """Rank 1 ends without a word before the fourth step; rank 0 says so."""

    def on_step(step: int) -> None:
        if step == BROKEN_OFF and world.rank:
            os._exit(9)

    torch.set_num_threads(1)
    with joined(patience=5, device="cpu") as world:
        try:
            trained(RUNS["experts"], world, Channel(world), _store(folder), save_every=2, on_step=on_step)
        except ParallelError as problem:
            (folder / "said").write_text(str(problem))


def goes_on(_: int, folder: Path) -> None:
    steps: list[int] = []
    torch.set_num_threads(1)
    with joined(patience=60, device="cpu") as world:
        store = _store(folder) if world.rank == 0 else None
        found = trained(RUNS["experts"], world, Channel(world), store, on_step=steps.append)
        torch.save(found | {"steps": steps}, folder / f"{world.rank}.after.pt")


def _store(folder: Path) -> Store:
    return Store(folder / "begun")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for domain in DOMAINS:
        corpora.text(domain)  # read once, too
    assert forked(2, trains, place) == [0, 0]
    assert forked(2, dies, place) == [0, 9]
    assert forked(2, goes_on, place) == [0, 0]
