"""Trainings side by side: a process that dies is replaced, what it began goes on, and the bar tells the truth."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from joblib.externals.loky import reusable_executor

from moedocs.lab import workers
from moedocs.lab.store import Store
from moedocs.lab.training import Run
from moedocs.problem import Problem
from tests.lab import tiny
from tests.lab.test_store import stopped_at
from tests.lab.test_training import same

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
STEPS = 150
LONG = {key: replace(run, training=tiny.training(steps=STEPS), look_at=(STEPS,)) for key, run in tiny.RUNS.items()}
WILD = replace(tiny.RUNS["dense"], training=tiny.training(1e30), look_at=(tiny.STEPS,))


def trained(jobs: int, runs: dict[str, Run], store: Store) -> dict[str, float | None]:
    return workers.trained(workers.worker(jobs, None), "tiny", runs, store)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("unbroken"))
    trained(1, LONG, store)
    return store


def equal(one: Store, other: Store) -> bool:
    return all(
        same(one.contents(run) | {"cpu_seconds": 0}, other.contents(run) | {"cpu_seconds": 0}) for run in LONG.values()
    )


def started() -> set[int]:
    """The processes of sweeps that this process has started."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text("utf-8").rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"popen_loky" in (path / "cmdline").read_bytes():
                found.add(int(path.name))
        except OSError:
            continue
    return found


@contextmanager
def killing(times: int, when: Callable[[], object] = lambda: True) -> Iterator[list[int]]:
    """Kill that many of the processes that are started, one of those there are at a time, once it is time to."""
    killed: list[int] = []
    stop, known = threading.Event(), set[int]()
    if reusable_executor._executor is not None:
        reusable_executor._executor.shutdown(wait=True, kill_workers=True)

    def kill() -> None:
        while len(killed) < times and not stop.wait(0.02):
            fresh = started() - known
            if fresh and when():
                killed.append(max(fresh))
                known.update(fresh)
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


@linux
def test_a_training_whose_process_dies_goes_on_in_another_and_the_others_are_kept(
    unbroken: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, one_done = Store(tmp_path, save_every=0.02), {}

    def one_is_done_and_another_begun() -> bool:
        if list(store.folder.glob("*.pt")) and list(store.folder.glob("*.begun")):
            one_done.update({path: path.stat().st_mtime_ns for path in store.folder.glob("*.pt")})
        return bool(one_done)

    with killing(1, one_is_done_and_another_begun) as killed:
        losses = trained(2, LONG, store)
    assert len(killed) == 1
    assert losses == trained(1, LONG, unbroken)
    assert equal(store, unbroken)
    assert one_done
    assert all(path.stat().st_mtime_ns == before for path, before in one_done.items())
    assert "tiny: a process was killed; what it did goes on in another" in capsys.readouterr().err


@linux
def test_processes_that_die_again_and_again_are_one_line_and_a_following_start_completes(
    unbroken: Store, tmp_path: Path
) -> None:
    store = Store(tmp_path, save_every=0.02)
    with (
        killing(99) as killed,
        pytest.raises(Problem, match=r"^processes of tiny were killed 3 times \(out of memory\?\); "),
    ):
        trained(2, LONG, store)
    assert len(killed) >= 3
    trained(2, LONG, store)
    assert equal(store, unbroken)


def deadly_once(mark: Path, value: int) -> int:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


@linux
def test_a_measure_whose_process_dies_is_taken_again(tmp_path: Path) -> None:
    measures = {str(number): partial(deadly_once, tmp_path / "mark", number) for number in range(3)}
    assert workers.measured(2, "tiny", measures) == {"0": 0, "1": 1, "2": 2}


def test_one_at_a_time_is_done_in_this_process(tmp_path: Path) -> None:
    assert workers.measured(1, "tiny", {"a": os.getpid, "b": os.getpid}) == {"a": os.getpid(), "b": os.getpid()}


def test_the_final_validation_loss_is_told_and_none_where_there_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    runs = {"dense": tiny.RUNS["dense"], "wild": WILD, "again": tiny.RUNS["dense"]}
    found = trained(1, runs, store)
    done = store.get(tiny.RUNS["dense"])
    assert done is not None
    assert found == {"dense": done.looks[-1].validation_loss, "wild": None, "again": done.looks[-1].validation_loss}


# the bar


def test_the_bar_counts_steps_and_ends_at_all_of_them_though_one_training_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(1, {"dense": tiny.RUNS["dense"], "wild": WILD}, Store(tmp_path))
    bars = capsys.readouterr().err.split("\r")
    assert "0/40" in bars[1]
    assert "100%" in bars[-1]
    assert "40/40" in bars[-1]


def test_the_bar_of_a_training_taken_up_starts_where_it_was(tmp_path: Path) -> None:
    store, ticks = Store(tmp_path, save_every=0.0), tmp_path / "ticks"
    stopped_at(store, 12, tiny.RUNS["dense"])
    told: list[int] = []

    class Telling(Store):
        def train(self, run: Run, *, on_step: Callable[[int], object] = lambda step: None):  # type: ignore[no-untyped-def]
            def both(step: int) -> None:
                on_step(step)
                told.append(ticks.stat().st_size)

            return super().train(run, on_step=both)

    workers._train(tiny.RUNS["dense"], Telling(tmp_path), ticks)
    assert told == list(range(12, tiny.STEPS + 1))


def test_what_is_done_already_has_no_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    trained(1, tiny.RUNS, store)
    capsys.readouterr()
    trained(1, tiny.RUNS, store)
    assert capsys.readouterr().err == ""


def test_a_bar_that_cannot_be_kept_stops_no_training(tmp_path: Path) -> None:
    workers._train(tiny.RUNS["dense"], Store(tmp_path), tmp_path / "no such folder" / "ticks")
    assert Store(tmp_path).holds(tiny.RUNS["dense"])
