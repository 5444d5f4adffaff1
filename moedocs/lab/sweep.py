"""From an experiment to its record: all its trainings, what is measured on them, and the check that it is true."""

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from filelock import FileLock, Timeout

from moedocs.lab import corpora, tuning, workers
from moedocs.lab.fingerprint import fingerprint
from moedocs.lab.records import RECORDS, Record, command, load, module_of, path_of, save, tidy
from moedocs.lab.rounding import significant
from moedocs.lab.store import Store
from moedocs.lab.training import Run, TrainingError, train
from moedocs.problem import Problem

FIRST_STEPS = 6
LOSS_DIGITS = 7
RESULT_DIGITS = 4
# Relative, on the first losses. Measured: 2e-7 between instruction sets and thread counts, 6e-4 between arms of
# one seed, 3e-2 and more between seeds. A token on the edge between two experts may fall the other way elsewhere.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Measured:
    """What comes back from one training."""

    values: Any
    first_losses: list[float]
    measuring_seconds: float


def run(
    name: str,
    folder: Path = RECORDS,
    *,
    jobs: int | None = None,
    dask: str | None = None,
    domains: tuple[str, ...] | None = None,
    anew: set[Run] | None = None,
    store: Store | None = None,
    scale: Callable[[Run], Run] = lambda run: run,
    worker: workers.Work | None = None,
    machine: str | None = None,
) -> Record:
    """Do all trainings of an experiment and write its record; a second start on the same record is refused.

    Trainings lie in `store`, so that a run that was killed goes on where it was; given `anew`, all are done again but
    those in that set, to which they are added. `domains` replaces the text of every training. `dask` is the address of
    a cluster's scheduler. At another `scale` each run is made larger, and another `worker` on another `machine` may do
    it.
    """
    _refuse_other_torch(folder)
    experiment, store = import_module(module_of(name)), store or Store()
    made_by = fingerprint(module_of(name))
    with _lock(name, folder):
        store.prune()
        worker = worker or workers.worker(jobs, dask, anew=anew is not None)
        train_all = partial(workers.trained, worker, name, store=store, anew=anew)
        plan = tuning.planned(experiment, train_all, lambda run: _on_text(domains, scale(run)))
        _refuse_failed(name, plan, store)
        found = _measured(name, plan.runs, store, jobs)
        record = Record(
            name=name,
            fingerprint=made_by,
            settings=_settings(plan.runs),
            made=_made(plan, found, store) | ({"machine": machine} if machine else {}),
            corpora={_shown(domain): corpora.describe(domain) for domain in _domains(plan.runs)},
            first_losses={key: significant(one.first_losses, LOSS_DIGITS) for key, one in found.items()},
            results=significant(_results(experiment, plan, found, store, folder), RESULT_DIGITS),
            learning_rates=plan.learning_rates,
            tuning=significant(plan.tuning, RESULT_DIGITS),
        )
        save(record, folder)
    return record


def _refuse_other_torch(folder: Path) -> None:
    """Published records are made with one torch: another rounds differently."""
    found, pinned = torch_version(), pinned_torch()
    if folder.resolve() == RECORDS and found != pinned:
        raise Problem(
            f"this is torch {found}, and the published records are made with {pinned}: pip install torch=={pinned}, or "
            "name another folder with --records"
        )


def torch_version() -> str:
    """The version in use, whatever it was built for."""
    return torch.__version__.partition("+")[0]


def pinned_torch() -> str:
    """The version that this project asks for."""
    (asked,) = (one for one in metadata.requires("moedocs") or () if one.startswith("torch=="))
    return asked.partition(";")[0].removeprefix("torch==").strip()


@dataclass(frozen=True)
class Check:
    """The first steps of one training, again: the largest difference from the record, as a share of the loss."""

    key: str
    difference: float

    @property
    def agrees(self) -> bool:
        return self.difference <= TOLERANCE


def check(name: str, folder: Path = RECORDS) -> Iterator[Check]:
    """Re-run the first steps of every training of a record, which may be stale but not damaged."""
    record = load(name, folder, stale=True)
    try:
        runs = tuning.chosen(import_module(module_of(name)), record.learning_rates)
    except KeyError:
        runs = {}
    if set(runs) != set(record.first_losses):
        raise Problem(f"the record {name} is of other trainings than today's; recompute it with: {command(name)}")
    return (
        Check(key, difference(_as_recorded(record, key, one), record.first_losses[key])) for key, one in runs.items()
    )


def difference(run: Run, losses: list[float]) -> float:
    """How far the first losses of a run, done now, are from these; relative, the largest."""
    again = train(run, steps=len(losses)).losses
    return max(abs(new - old) / old for new, old in zip(again, losses, strict=True))


def _on_text(domains: tuple[str, ...] | None, run: Run) -> Run:
    """The run on the user's own text, if there is any."""
    return run if domains is None else replace(run, domains=domains, pieces=min(run.pieces, len(domains)))


def _as_recorded(record: Record, key: str, run: Run) -> Run:
    """The run on the text that the record names, where that is the user's own."""
    settings = record.settings["shared"] | record.settings["runs"][key]
    domains = tuple(settings["domains"])
    return _on_text(domains, run) if any("/" in domain for domain in domains) else run


def _refuse_failed(name: str, plan: tuning.Plan, store: Store) -> None:
    for key, run in plan.runs.items():
        try:
            store.get(run)
        except TrainingError as error:
            rate = run.training.learning_rate
            raise Problem(f"{name}, {key}: {error}, at learning rate {rate:g}; lower it") from None


def _measured(name: str, runs: Mapping[str, Run], store: Store, jobs: int | None) -> dict[str, Measured]:
    measures = {key: partial(_measure, module_of(name), run, store) for key, run in runs.items()}
    return workers.measured(jobs or workers.available_cores(), name, measures)


def _measure(module: str, run: Run, store: Store) -> Measured:
    """In a process of its own: all that the experiment wants to know of one training."""
    done = store.train(run)
    start = time.process_time()
    values = import_module(module).measure(run, done)
    return Measured(values, done.losses[:FIRST_STEPS], time.process_time() - start)


def _results(
    experiment: ModuleType, plan: tuning.Plan, found: Mapping[str, Measured], store: Store, folder: Path
) -> dict[str, Any]:
    results: dict[str, Any] = experiment.results({key: one.values for key, one in found.items()})
    if hasattr(experiment, "artefacts"):
        trained = {key: store.train(run) for key, run in plan.runs.items()}
        results["exports"] = experiment.artefacts(trained, folder.parent / "models")
    return results


@contextmanager
def _lock(name: str, folder: Path) -> Iterator[None]:
    path = path_of(name, folder).with_suffix(".lock")
    lock = FileLock(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise Problem(
            f"the record {name} is being computed by another process, which holds {path}: let it end"
        ) from None
    except OSError as error:
        raise Problem(f"{folder}: cannot write records here ({error.strerror})") from None
    try:
        tidy(name, folder)
        yield
    finally:
        lock.release()


def _domains(runs: Mapping[str, Run]) -> list[str]:
    return sorted({domain for run in runs.values() for domain in run.domains})


def _settings(runs: Mapping[str, Run]) -> dict[str, Any]:
    """Dotted names and values: those that all trainings share once, then what sets each apart."""
    flat = {key: dict(_flat("", asdict(run))) for key, run in runs.items()}
    first = next(iter(flat.values()))
    shared = {name: value for name, value in first.items() if all(one.get(name) == value for one in flat.values())}
    return {
        "shared": shared,
        "runs": {key: {name: value for name, value in one.items() if name not in shared} for key, one in flat.items()},
    }


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, item)
    else:
        yield prefix, list(value) if isinstance(value, tuple) else value


def _shown(domain: str) -> str:
    """A domain by its name; of a user's folder its own name, not where it lies."""
    return Path(domain).name


def _made(plan: tuning.Plan, found: Mapping[str, Measured], store: Store) -> dict[str, Any]:
    processor = platform.machine().replace("x86_64", "x86-64").replace("AMD64", "x86-64")
    trained = sum(store.cpu_seconds(run) for run in {*plan.tried.values(), *plan.runs.values()})
    return {
        "torch": torch_version(),
        "machine": f"{processor} CPU ({torch.backends.cpu.get_cpu_capability()}), 1 thread per training",
        "cpu_seconds": round(trained + sum(one.measuring_seconds for one in found.values())),
        "trainings": len({*plan.tried.values(), *plan.runs.values()}),
    }
