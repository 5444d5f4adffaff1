"""Two arms whose rate is tuned, for tests: dense and with experts.

The greatest rate leaves the finite numbers.
"""

from typing import Any

from moedocs.lab.training import Run, Trained
from tests.lab import tiny

ARMS = ("dense", "experts")
RATES = (1e-3, 1e-2, 1e30)
SEEDS = (0, 1)
STEPS = 8


def run(arm: str, learning_rate: float, seed: int) -> Run:
    return tiny.run(model=tiny.RUNS[arm].model, training=tiny.training(learning_rate, seed, STEPS), look_at=(STEPS,))


def measure(run: Run, trained: Trained) -> dict[str, Any]:
    return {"loss": trained.looks[-1].validation_loss}


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"arms": measured, "summary": {key: one["loss"] for key, one in measured.items()}}
