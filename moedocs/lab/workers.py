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

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from moedocs.lab.store import Store, code
from moedocs.lab.training import Run, TrainingError
from moedocs.problem import Problem

ATTEMPTS = 3
Value = TypeVar("Value")
Work = Callable[[str, Mapping[str, Run], Store], None]


def available_cores() -> int:
    """Cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker(jobs: int | None, dask: str | None) -> Work:
    """Who does trainings: a cluster, or so many processes at a time, by default one per core."""
    return partial(on_dask, dask) if dask else partial(on_cores, jobs or available_cores())


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
    """Each training in a process of its own. One that dies is repeated from where it was; the others stay done."""
    with tempfile.TemporaryDirectory() as folder, _bar(name, runs, Path(folder)):
        for attempt in range(1, ATTEMPTS + 1):
            left = [(number, run) for number, run in enumerate(runs.values()) if not store.holds(run)]
            try:
                _parallel(jobs, [delayed(_train)(run, store, Path(folder) / str(number)) for number, run in left])
                return
            except TerminatedWorkerError:
                if attempt == ATTEMPTS:
                    raise Problem(
                        f"processes training {name} were killed {ATTEMPTS} times (out of memory?); what is done is "
                        "kept: run again with fewer --jobs"
                    ) from None
                tqdm.write(f"{name}: a process was killed; its training goes on in another", file=sys.stderr)


def measured(jobs: int, measures: Iterable[Callable[[], Value]]) -> list[Value]:
    """Call each, in processes of their own, and give what they give, in order."""
    return _parallel(jobs, [delayed(_alone)(one) for one in measures])


def on_dask(address: str, name: str, runs: Mapping[str, Run], store: Store) -> None:
    """Each training as a task of a cluster, whose workers must have the same code; what they leave is fetched here."""
    distributed = _distributed()
    try:
        client = distributed.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise Problem(f"--dask {address}: no scheduler answers there ({type(error).__name__})") from None
    with client, tqdm(total=_steps(runs), desc=name, unit="step", smoothing=0.05, dynamic_ncols=True) as bar:
        tasks = {client.submit(_contents, run, code(), retries=ATTEMPTS - 1, pure=False): run for run in runs.values()}
        for task in distributed.as_completed(tasks):
            try:
                store.put(tasks[task], task.result())
            except distributed.KilledWorker:
                raise Problem(
                    f"--dask {address}: workers died training {name} (out of memory?); the rest is kept"
                ) from None
            bar.update(tasks[task].training.steps)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise Problem("--dask needs Dask here and on the cluster: pip install 'moedocs[cluster]'") from None
    return distributed


def _contents(run: Run, expected: str) -> dict[str, Any]:
    """On a worker: do a training and hand over what it leaves. Its own store lets a repeated one go on."""
    if code() != expected:
        raise Problem("a Dask worker has other code, another torch or another processor than this machine")
    store = Store(Path(tempfile.gettempdir()) / "moedocs-lab")
    with suppress(TrainingError):  # kept in the store as the result it is
        store.train(run)
    return store.contents(run)


def _train(run: Run, store: Store, ticks: Path) -> None:
    """In a process of its own: do a training; each step leaves a byte in `ticks`. Ends when nobody waits for it."""
    parent = os.getppid()
    with ticks.open("wb", buffering=0) as file:

        def on_step(step: int) -> None:
            if os.getppid() != parent:
                os._exit(1)
            file.write(b"." * (step - file.tell()))

        with suppress(TrainingError):
            store.train(run, on_step=on_step)


def _alone(work: Callable[[], Value]) -> Value:
    return work()


def _final_loss(store: Store, run: Run) -> float | None:
    try:
        done = store.get(run)
    except TrainingError:
        return None
    if done is None:
        raise Problem(f"{store.folder}: a training vanished while it was needed; run again")
    return done.looks[-1].validation_loss if done.looks else done.losses[-1]


def _parallel(jobs: int, work: list[Any]) -> list[Any]:
    results: list[Any] = Parallel(n_jobs=max(1, min(jobs, len(work))))(work)
    return results


@contextmanager
def _bar(name: str, runs: Mapping[str, Run], folder: Path) -> Iterator[None]:
    """One bar over the steps of all trainings, with those under way by name and the time left."""
    stop = threading.Event()
    every = 0.5 if sys.stderr.isatty() else 30.0  # a log keeps every redraw
    with tqdm(total=_steps(runs), desc=name, unit="step", smoothing=0.05, mininterval=every, dynamic_ncols=True) as bar:
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


def _steps(runs: Mapping[str, Run]) -> int:
    return sum(run.training.steps for run in runs.values())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
