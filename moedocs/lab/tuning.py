"""Which trainings an experiment needs: those it lists, or arms of which each gets the learning rate that suits it.

Every rate is tried with the first seed; the least validation loss at the end wins. While the best is the least or the
greatest of those tried, the grid grows by a factor of 2, twice at most. The other seeds then run at that rate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType

from moedocs.lab.training import Run
from moedocs.problem import Problem

GROWTH = 2.0
MOST_GROWTHS = 2

# trains what it is given, by name, and says the final validation loss of each: None where the training left the numbers
Train = Callable[[Mapping[str, Run]], Mapping[str, float | None]]


@dataclass(frozen=True)
class Plan:
    """The trainings that count, by their key in the record, and what tuning tried: loss by rate, as text, by arm."""

    runs: dict[str, Run]
    learning_rates: dict[str, float] = field(default_factory=dict)
    tuning: dict[str, dict[str, float | None]] = field(default_factory=dict)
    tried: dict[str, Run] = field(default_factory=dict)


def planned(experiment: ModuleType, train: Train, change: Callable[[Run], Run] = lambda run: run) -> Plan:
    """All trainings of the experiment, each done; `change` makes of each run the one that is really wanted."""
    if hasattr(experiment, "RUNS"):
        runs = {key: change(run) for key, run in experiment.RUNS.items()}
        train(runs)
        return Plan(runs)
    return _tuned(experiment, train, change)


def chosen(experiment: ModuleType, learning_rates: Mapping[str, float]) -> dict[str, Run]:
    """The trainings that count, once the rates are known."""
    if hasattr(experiment, "RUNS"):
        return dict(experiment.RUNS)
    return {
        f"{arm}/{seed}": experiment.run(arm, learning_rates[arm], seed)
        for arm in experiment.ARMS
        for seed in experiment.SEEDS
    }


def _tuned(experiment: ModuleType, train: Train, change: Callable[[Run], Run]) -> Plan:
    losses: dict[str, dict[float, float | None]] = {arm: {} for arm in experiment.ARMS}
    tried: dict[str, Run] = {}
    seed = experiment.SEEDS[0]
    new = {arm: list(experiment.RATES) for arm in experiment.ARMS}
    for _ in range(1 + MOST_GROWTHS):
        names = {(arm, rate): f"{arm}/{seed} at {rate:g}" for arm, rates in new.items() for rate in rates}
        runs = {name: change(experiment.run(arm, rate, seed)) for (arm, rate), name in names.items()}
        tried |= runs
        found = train(runs)
        for (arm, rate), name in names.items():
            losses[arm][rate] = found[name]
        new = {arm: beyond(tried_rates) for arm, tried_rates in losses.items()}
        if not any(new.values()):
            break
    rates = {arm: best(arm, of_arm) for arm, of_arm in losses.items()}
    runs = {key: change(run) for key, run in chosen(experiment, rates).items()}
    train(runs)
    tuning = {arm: {f"{rate:g}": of_arm[rate] for rate in sorted(of_arm)} for arm, of_arm in losses.items()}
    return Plan(runs, rates, tuning, tried)


def best(arm: str, losses: Mapping[float, float | None]) -> float:
    """The rate with the least loss, the lower of two that tie."""
    finite = {rate: loss for rate, loss in losses.items() if loss is not None}
    if not finite:
        raise Problem(f"{arm}: every learning rate tried left the finite numbers: {sorted(losses)}; lower RATES")
    return min(sorted(finite), key=lambda rate: finite[rate])


def beyond(losses: Mapping[float, float | None]) -> list[float]:
    """The next rate to try, if the best of these stands at an edge; a rate that failed is no edge to go beyond."""
    finite = {rate: loss for rate, loss in losses.items() if loss is not None}
    if not finite:
        return [min(losses) / GROWTH]
    winner = min(sorted(finite), key=lambda rate: finite[rate])
    if winner == min(losses):
        return [winner / GROWTH]
    return [winner * GROWTH] if winner == max(losses) else []
