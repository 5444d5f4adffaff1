"""Three trainings of a second, for tests: dense, with experts, with depth.

An experiment like those in `moedocs/lab/experiments`, named by its module: `tests.lab.tiny`.
"""

from typing import Any

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TrainingConfig, TransformerConfig
from moedocs.lab.training import Run, Trained

STEPS = 20
DOMAINS = ("headers", "json")
EXPERTS = RoutingConfig(num_experts=4, top_k=2, balance=BalanceConfig(bias_rate=0.01))
DEPTH = DepthConfig(capacity=0.25, every=2)


def training(rate: float = 1e-2, seed: int = 0, steps: int = STEPS) -> TrainingConfig:
    return TrainingConfig(steps=steps, sequences=2, sequence_length=32, learning_rate=rate, seed=seed)


def model(**changes: Any) -> TransformerConfig:
    return TransformerConfig(vocab_size=256, d_model=16, num_layers=2, num_heads=2, d_ff=16, **changes)


def run(**changes: Any) -> Run:
    given: dict[str, Any] = {
        "model": model(),
        "training": training(),
        "domains": DOMAINS,
        "look_at": (0, STEPS // 2, STEPS),
    }
    return Run(**(given | changes))


RUNS = {"dense": run(), "experts": run(model=model(routing=EXPERTS)), "depth": run(model=model(depth=DEPTH))}


def measure(run: Run, trained: Trained) -> dict[str, Any]:
    return {
        "validation_loss": [look.validation_loss for look in trained.looks],
        "passed": [[float(passed_BS.mean()) for passed_BS in look.passed] for look in trained.looks],
        "weights": sum(weight.detach().double().sum().item() for weight in trained.model.parameters()),
    }


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"arms": measured, "summary": {key: one["validation_loss"][-1] for key, one in measured.items()}}
