"""Load per expert while a model trains: without balancing, with the auxiliary loss, with the loss-free bias.

All else is equal: the three arms of one seed start from the same weights and read the same text.
"""

from statistics import mean
from typing import Any

from moedocs.config import BalanceConfig, RoutingConfig, TrainingConfig, TransformerConfig
from moedocs.lab.training import Run, Trained

ARMS = {
    "none": BalanceConfig(),
    "auxiliary": BalanceConfig(auxiliary_weight=0.01),
    "bias": BalanceConfig(bias_rate=0.01),
}
SEEDS = (0, 1, 2)
LOOK_AT = (0, 5, 10, 20, 40, 80, 160, 240, 320, 400)


def _run(arm: str, seed: int) -> Run:
    routing = RoutingConfig(num_experts=8, top_k=1, renormalise=False, balance=ARMS[arm])
    return Run(
        model=TransformerConfig(vocab_size=256, d_model=64, num_layers=4, num_heads=4, d_ff=128, routing=routing),
        training=TrainingConfig(steps=LOOK_AT[-1], sequences=16, sequence_length=128, learning_rate=4e-3, seed=seed),
        domains=("code", "headers", "latin", "cyrillic"),
        look_at=LOOK_AT,
    )


RUNS = {f"{arm}/{seed}": _run(arm, seed) for arm in ARMS for seed in SEEDS}


def measure(run: Run, trained: Trained) -> dict[str, Any]:
    """At each look: validation loss, load of every layer, and the largest share in a layer, averaged over layers."""
    return {
        "seed": run.training.seed,
        "validation_loss": [look.validation_loss for look in trained.looks],
        "largest_share": [mean(max(share_E) for share_E in look.share_LE) for look in trained.looks],
        "share": [look.share_LE for look in trained.looks],
    }


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Curves per arm and seed; `share` is indexed by look, layer, expert. The summary is of the last look."""
    arms = {arm: [measured[f"{arm}/{seed}"] for seed in SEEDS] for arm in ARMS}
    return {"steps": list(LOOK_AT), "arms": arms, "summary": {arm: _summary(runs) for arm, runs in arms.items()}}


def _summary(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {name: _spread([run[name][-1] for run in runs]) for name in ("largest_share", "validation_loss")}


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": mean(values), "least": min(values), "most": max(values)}
