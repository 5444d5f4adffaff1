"""From an experiment to its record: all its trainings, side by side on the cores. And the check that it is true."""

import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from moedocs.lab import corpora
from moedocs.lab.fingerprint import fingerprint
from moedocs.lab.records import RECORDS, Record, command, load, module_of, path_of, save, significant
from moedocs.lab.training import Run, train
from moedocs.problem import Problem

FIRST_STEPS = 6
LOSS_DIGITS = 7
RESULT_DIGITS = 4
# Relative, on the first losses. Measured: 2e-7 between instruction sets and thread counts, 6e-4 between arms of
# one seed, 3e-2 and more between seeds. A token on the edge between two experts may fall the other way elsewhere.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Finished:
    """What comes back from one training."""

    measured: Any
    first_losses: list[float]
    cpu_seconds: float


def run(name: str, folder: Path = RECORDS, *, jobs: int | None = None) -> Record:
    """Do all trainings of an experiment and write its record; a second start on the same record is refused."""
    experiment = import_module(module_of(name))
    made_by = fingerprint(module_of(name))
    runs: dict[str, Run] = experiment.RUNS
    with _lock(name, folder):
        described = {domain: corpora.describe(domain) for domain in _domains(runs)}
        finished = _all(name, runs, jobs or available_cores())
        record = Record(
            name=name,
            fingerprint=made_by,
            settings=_settings(runs),
            made=_made(finished),
            corpora=described,
            first_losses={key: significant(one.first_losses, LOSS_DIGITS) for key, one in finished.items()},
            results=significant(
                experiment.results({key: one.measured for key, one in finished.items()}), RESULT_DIGITS
            ),
        )
        save(record, folder)
    return record


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
    runs: dict[str, Run] = import_module(module_of(name)).RUNS
    if set(runs) != set(record.first_losses):
        raise Problem(f"the record {name} is of other trainings than today's; recompute it with: {command(name)}")
    return (Check(key, difference(one, record.first_losses[key])) for key, one in runs.items())


def difference(run: Run, losses: list[float]) -> float:
    """How far the first losses of a run, done now, are from these; relative, the largest."""
    again = train(run, steps=len(losses)).losses
    return max(abs(new - old) / old for new, old in zip(again, losses, strict=True))


def available_cores() -> int:
    """Cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _all(name: str, runs: dict[str, Run], jobs: int) -> dict[str, Finished]:
    with tempfile.TemporaryDirectory() as folder, _bars(name, runs, Path(folder)):
        work = (delayed(_one)(name, key, Path(folder) / str(number)) for number, key in enumerate(runs))
        try:
            finished = Parallel(n_jobs=min(jobs, len(runs)))(work)
        except TerminatedWorkerError:
            raise Problem(f"a process training {name} was killed (out of memory?); no record was written") from None
    return dict(zip(runs, finished, strict=True))


def _one(name: str, key: str, ticks: Path) -> Finished:
    """One training and its measurement, in a process of its own; each step leaves a byte in `ticks`."""
    experiment = import_module(module_of(name))
    start = time.process_time()
    with ticks.open("wb", buffering=0) as file:
        trained = train(experiment.RUNS[key], on_step=lambda: file.write(b"."))
    measured = experiment.measure(experiment.RUNS[key], trained)
    return Finished(measured, trained.losses[:FIRST_STEPS], time.process_time() - start)


@contextmanager
def _bars(name: str, runs: dict[str, Run], folder: Path) -> Iterator[None]:
    """One bar over the steps of all trainings, with those under way by name and the time left."""
    stop = threading.Event()
    total = sum(run.training.steps for run in runs.values())
    every = 0.5 if sys.stderr.isatty() else 30.0  # a log keeps every redraw
    with tqdm(total=total, desc=name, unit="step", smoothing=0.05, mininterval=every, dynamic_ncols=True) as bar:
        watcher = threading.Thread(target=_watch, args=(bar, runs, folder, stop), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()


def _watch(bar: Any, runs: dict[str, Run], folder: Path, stop: threading.Event) -> None:
    while True:
        last = stop.wait(0.5)
        done = {key: _size(folder / str(number)) for number, key in enumerate(runs)}
        under_way = [key for key, steps in done.items() if 0 < steps < runs[key].training.steps]
        bar.set_postfix_str(", ".join(islice(under_way, 4)), refresh=False)
        bar.update(sum(done.values()) - bar.n)
        if last:
            return


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _lock(name: str, folder: Path) -> Iterator[None]:
    path = path_of(name, folder).with_suffix(".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise Problem(
            f"the record {name} is being computed by another process, which holds {path}: let it end"
        ) from None
    except OSError as error:
        raise Problem(f"{folder}: cannot write here ({error.strerror})") from None


def _domains(runs: dict[str, Run]) -> list[str]:
    return sorted({domain for run in runs.values() for domain in run.domains})


def _settings(runs: dict[str, Run]) -> dict[str, Any]:
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


def _made(finished: dict[str, Finished]) -> dict[str, Any]:
    processor = platform.machine().replace("x86_64", "x86-64").replace("AMD64", "x86-64")
    return {
        "torch": torch.__version__.partition("+")[0],
        "machine": f"{processor} CPU ({torch.backends.cpu.get_cpu_capability()}), 1 thread per training",
        "cpu_seconds": round(sum(one.cpu_seconds for one in finished.values())),
    }
