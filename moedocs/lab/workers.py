"""Trainings side by side: on the cores of this machine, or on a Dask cluster. What they leave lies in the store."""

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from moedocs.lab import corpora
from moedocs.lab.orphans import end_with
from moedocs.lab.store import Store, code
from moedocs.lab.training import Run, TrainingError
from moedocs.problem import Problem

ATTEMPTS = 3
DASK_PATIENCE = 10  # seconds for a scheduler to answer, and for its first worker to join
KEPT = "what is done is kept: run again"
BAR: dict[str, Any] = {"smoothing": 0.05, "dynamic_ncols": True}
_parsing = threading.Lock()  # Python 3.11's ast.parse fails where two threads of a worker call it at once
Value = TypeVar("Value")
Work = Callable[[str, Mapping[str, Run], Store], None]


def available_cores() -> int:
    """Cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker(jobs: int | None, dask: str | None, *, anew: bool = False) -> Work:
    """Who does trainings: a cluster, `anew` whatever it has, or so many processes at a time, else one per core."""
    return partial(on_dask, dask, anew) if dask else partial(on_cores, jobs or available_cores())


def trained(
    work: Work, name: str, runs: Mapping[str, Run], store: Store, *, anew: set[Run] | None = None
) -> dict[str, float | None]:
    """Have all trainings done, those not yet in the store; their final validation loss, None where one failed.

    With `anew` what the store has is done again, but for the runs in that set, to which it is then added.
    """
    if anew is not None:
        for run in set(runs.values()) - anew:
            store.forget(run)
        anew.update(runs.values())
    missing = {key: run for key, run in runs.items() if not store.holds(run)}
    if missing:
        work(name, missing, store)
    return {key: _final_loss(store, run) for key, run in runs.items()}


def on_cores(jobs: int, name: str, runs: Mapping[str, Run], store: Store) -> None:
    """So many trainings at a time. One whose process dies is repeated from where it was; the others stay done."""
    with tempfile.TemporaryDirectory() as folder, _bar(name, runs, Path(folder)):

        def attempt() -> list[None]:
            left = [(number, run) for number, run in enumerate(runs.values()) if not store.holds(run)]
            return list(
                _parallel(jobs, [partial(_train, run, store, Path(folder) / str(number)) for number, run in left])
            )

        _insistently(name, attempt)


def measured(jobs: int, name: str, measures: Mapping[str, Callable[[], Value]]) -> dict[str, Value]:
    """What each of these gives, done side by side and again where a process dies."""

    def attempt() -> list[Value]:
        found = _parallel(jobs, list(measures.values()))
        return list(
            tqdm(found, desc=f"{name}, measuring", total=len(measures), unit="training", mininterval=_every(), **BAR)
        )

    return dict(zip(measures, _insistently(name, attempt), strict=True))


def on_dask(address: str, anew: bool, name: str, runs: Mapping[str, Run], store: Store) -> None:
    """Each training as a task of a cluster, whose workers must have the same code; what they leave is fetched here."""
    distributed = _distributed()
    with _client(distributed, address) as client, tqdm(total=_steps(runs), desc=name, unit="step", **BAR) as bar:
        tasks = {client.submit(_contents, run, code(), anew, pure=False): run for run in runs.values()}
        for task in distributed.as_completed(tasks):
            try:
                store.put(tasks[task], task.result())
            except distributed.KilledWorker:
                raise Problem(f"--dask {address}: workers died training {name} (out of memory?); {KEPT}") from None
            except (distributed.CancelledError, OSError):
                raise Problem(f"--dask {address}: the scheduler went away while training {name}; {KEPT}") from None
            bar.update(tasks[task].training.steps)


@contextmanager
def _client(distributed: Any, address: str) -> Iterator[Any]:
    try:
        client = distributed.Client(address, timeout=f"{DASK_PATIENCE}s")
    except (OSError, ValueError) as error:
        raise Problem(f"--dask {address}: no scheduler answers there ({type(error).__name__})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=DASK_PATIENCE)
        except OSError:
            raise Problem(f"--dask {address}: no worker has joined this scheduler; start some: dask worker") from None
        yield client


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise Problem("--dask needs Dask here and on the cluster: pip install 'moedocs[cluster]'") from None
    return distributed


def _contents(run: Run, expected: str, anew: bool) -> dict[str, Any]:
    """On a worker: do a training and hand over what it leaves. Its own store lets a repeated one go on."""
    with _parsing:
        alike = code() == expected
        for domain in run.domains:
            corpora.text(domain)  # kept from now on
    if not alike:
        raise Problem("a Dask worker has other code, another torch or another processor than this machine")
    torch.set_num_threads(1)  # for good: a worker may train several models at a time
    store = Store(Path(tempfile.gettempdir()) / "moedocs-lab")
    store.prune()
    if anew:
        store.forget(run)
    with suppress(TrainingError):  # kept in the store as the result it is
        store.train(run)
    return store.contents(run)


def _train(run: Run, store: Store, ticks: Path) -> None:
    """Do a training; the size of the file `ticks` is the number of steps done."""

    def on_step(step: int) -> None:
        with suppress(OSError):  # a bar that stands still is no reason to stop
            ticks.touch()
            os.truncate(ticks, step)

    with suppress(TrainingError):
        store.train(run, on_step=on_step)
    on_step(run.training.steps)  # one that left the finite numbers is done too


def _final_loss(store: Store, run: Run) -> float | None:
    try:
        done = store.get(run)
    except TrainingError:
        return None
    if done is None:
        raise Problem(f"{store.folder}: a training vanished while it was needed; run again")
    return done.looks[-1].validation_loss if done.looks else done.losses[-1]


def _insistently(name: str, attempt: Callable[[], Value]) -> Value:
    for _ in range(ATTEMPTS - 1):
        try:
            return attempt()
        except TerminatedWorkerError:
            tqdm.write(f"{name}: a process was killed; what it did goes on in another", file=sys.stderr)
    try:
        return attempt()
    except TerminatedWorkerError:
        raise Problem(
            f"processes of {name} were killed {ATTEMPTS} times (out of memory?); {KEPT} with fewer --jobs"
        ) from None


def _parallel(jobs: int, work: list[Callable[[], Value]]) -> Iterable[Value]:
    """What each gives, in order; one at a time is done in this process."""
    side_by_side = Parallel(
        max(1, min(jobs, len(work))), return_as="generator", initializer=end_with, initargs=(os.getpid(),)
    )
    found: Iterable[Value] = side_by_side(delayed(one)() for one in work)
    return found


@contextmanager
def _bar(name: str, runs: Mapping[str, Run], folder: Path) -> Iterator[None]:
    """One bar over the steps of all trainings, with those under way by name and the time left."""
    stop = threading.Event()
    with tqdm(total=_steps(runs), desc=name, unit="step", mininterval=_every(), **BAR) as bar:
        watcher = threading.Thread(target=_watch, args=(bar, runs, folder, stop), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()


def _watch(bar: Any, runs: Mapping[str, Run], folder: Path, stop: threading.Event) -> None:
    while True:
        last = stop.wait(0.5)
        done = {key: _size(folder / str(number)) for number, key in enumerate(runs)}
        under_way = [key for key, steps in done.items() if 0 < steps < runs[key].training.steps]
        bar.set_postfix_str(", ".join(islice(under_way, 4)), refresh=False)
        bar.update(sum(done.values()) - bar.n)
        if last:
            return


def _every() -> float:
    """Seconds between two redraws of a bar; a log keeps them all."""
    return 0.5 if sys.stderr.isatty() else 30.0


def _steps(runs: Mapping[str, Run]) -> int:
    return sum(run.training.steps for run in runs.values())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
