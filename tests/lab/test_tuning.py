"""Learning rates: the best of those tried, looked for beyond the edge, on losses that are made up here."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import pytest

from moedocs.lab import tuning
from moedocs.lab.training import Run
from moedocs.problem import Problem
from tests.lab import tiny, tiny_tuned

RATES = (2e-3, 4e-3, 8e-3)


def experiment(rates: tuple[float, ...] = RATES, arms: tuple[str, ...] = ("dense",), seeds: Any = (5, 6, 7)) -> Any:
    """One whose runs are those of the tiny experiment, at these rates."""
    module = ModuleType("made_up")
    module.__dict__.update(ARMS=arms, RATES=rates, SEEDS=seeds, run=tiny_tuned.run)
    return module


@dataclass
class Losses:
    """Trains nothing: the loss is a function of the run; keeps what was asked for, in rounds."""

    of: Callable[[Run], float | None]
    rounds: list[dict[str, Run]] = field(default_factory=list)

    def __call__(self, runs: Mapping[str, Run]) -> dict[str, float | None]:
        self.rounds.append(dict(runs))
        return {key: self.of(run) for key, run in runs.items()}

    def rates(self) -> list[list[float]]:
        return [[run.training.learning_rate for run in one.values()] for one in self.rounds]


def best_at(rate: float) -> Losses:
    return Losses(lambda run: abs(math.log(run.training.learning_rate / rate)))


def test_the_rate_with_the_least_loss_of_the_first_seed_is_taken_for_all_seeds() -> None:
    train = Losses(lambda run: abs(math.log(run.training.learning_rate / 4e-3)) + (run.training.seed != 5))
    plan = tuning.planned(experiment(), train)
    assert plan.learning_rates == {"dense": 4e-3}
    assert list(plan.runs) == ["dense/5", "dense/6", "dense/7"]
    assert [(run.training.learning_rate, run.training.seed) for run in plan.runs.values()] == [
        (4e-3, 5),
        (4e-3, 6),
        (4e-3, 7),
    ]
    assert {run.training.seed for run in train.rounds[0].values()} == {5}
    assert train.rates() == [[2e-3, 4e-3, 8e-3], [4e-3] * 3]
    assert plan.tuning == {
        "dense": {"0.002": pytest.approx(math.log(2)), "0.004": 0.0, "0.008": pytest.approx(math.log(2))}
    }


@pytest.mark.parametrize(
    ("best", "tried", "chosen"),
    [
        (4e-3, [2e-3, 4e-3, 8e-3], 4e-3),
        (16e-3, [2e-3, 4e-3, 8e-3, 16e-3, 32e-3], 16e-3),
        (8e-3, [2e-3, 4e-3, 8e-3, 16e-3], 8e-3),
        (1.0, [2e-3, 4e-3, 8e-3, 16e-3, 32e-3], 32e-3),
        (1e-3, [0.5e-3, 1e-3, 2e-3, 4e-3, 8e-3], 1e-3),
        (1e-9, [0.5e-3, 1e-3, 2e-3, 4e-3, 8e-3], 0.5e-3),
    ],
)
def test_beyond_an_edge_the_grid_grows_by_factors_of_two_and_twice_at_most(
    best: float, tried: list[float], chosen: float
) -> None:
    plan = tuning.planned(experiment(), best_at(best))
    assert [float(rate) for rate in plan.tuning["dense"]] == tried
    assert plan.learning_rates == {"dense": chosen}
    assert len(plan.tried) == len(tried)


def test_each_arm_grows_by_itself() -> None:
    def loss(run: Run) -> float:
        rate = run.training.learning_rate
        return abs(math.log(rate / 4e-3)) if run.model.routing is None else -rate

    train = Losses(loss)
    plan = tuning.planned(experiment(arms=("dense", "experts")), train)
    assert plan.learning_rates == {"dense": 4e-3, "experts": 32e-3}
    assert train.rates() == [[*RATES, *RATES], [16e-3], [32e-3], [4e-3] * 3 + [32e-3] * 3]
    assert list(plan.tried) == [
        *(f"{arm}/5 at {rate:g}" for arm in ("dense", "experts") for rate in RATES),
        "experts/5 at 0.016",
        "experts/5 at 0.032",
    ]


def test_of_two_rates_that_tie_the_lower_is_taken() -> None:
    assert tuning.best("dense", {8e-3: 1.0, 2e-3: 2.0, 4e-3: 1.0}) == 4e-3
    plan = tuning.planned(experiment(), Losses(lambda run: 1.0))
    assert plan.learning_rates == {"dense": 0.5e-3}


def test_a_rate_that_left_the_finite_numbers_is_the_worst_and_no_edge_to_go_beyond() -> None:
    plan = tuning.planned(
        experiment(), Losses(lambda run: 1 / rate if (rate := run.training.learning_rate) < 8e-3 else None)
    )
    assert plan.learning_rates == {"dense": 4e-3}
    assert plan.tuning == {"dense": {"0.002": 500.0, "0.004": 250.0, "0.008": None}}


def test_where_all_rates_fail_lower_ones_are_tried() -> None:
    plan = tuning.planned(experiment(), Losses(lambda run: 1.0 if run.training.learning_rate < 1e-3 else None))
    assert plan.learning_rates == {"dense": 0.5e-3}
    assert plan.tuning["dense"] == {"0.0005": 1.0, "0.001": None, "0.002": None, "0.004": None, "0.008": None}


def test_where_lower_ones_fail_too_the_arm_is_refused_in_one_line() -> None:
    with pytest.raises(
        Problem, match=r"^experts: every learning rate tried left the finite numbers: \[0\.0005, 0\.001"
    ):
        tuning.planned(experiment(arms=("experts",)), Losses(lambda run: None))


def test_fixed_trainings_are_done_as_they_are() -> None:
    train = best_at(1.0)
    plan = tuning.planned(tiny, train)
    assert plan == tuning.Plan(tiny.RUNS)
    assert train.rounds == [tiny.RUNS]


@pytest.mark.parametrize("module", [tiny, tiny_tuned])
def test_a_change_is_made_of_every_training(module: ModuleType) -> None:
    train = best_at(1e-2)
    plan = tuning.planned(module, train, lambda run: replace(run, domains=("latin",)))
    assert {run.domains for one in [*train.rounds, plan.runs, plan.tried] for run in one.values()} == {("latin",)}


def test_the_trainings_of_a_record_follow_from_its_rates() -> None:
    assert tuning.chosen(tiny, {}) == tiny.RUNS
    plan = tuning.planned(tiny_tuned, best_at(1e-2))
    assert tuning.chosen(tiny_tuned, plan.learning_rates) == plan.runs
    with pytest.raises(KeyError, match="experts"):
        tuning.chosen(tiny_tuned, {"dense": 1e-2})
