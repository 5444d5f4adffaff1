"""Sweeps killed at random moments and started again: the record of an unbroken run, and nobody left behind."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moedocs.lab import records, store
from moedocs.lab.fingerprint import ROOT
from moedocs.lab.store import Store
from tests.lab import tiny
from tests.lab.forking import PATIENCE, Forks, forking, left_of
from tests.lab.test_sweep import timeless

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
KILLS = 50
KILLS_OF_MANY = 4  # each takes the seconds in which workers import torch
SECONDS_LEFT = 30.0  # within which nothing computes any more, on a full machine too


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with forking() as forks:
        yield forks


def places(folder: Path, jobs: int) -> dict[str, Any]:
    names = {name: str(folder / name) for name in ("records", "store", "log")}
    folder.mkdir(exist_ok=True)
    return {"name": tiny.__name__, "jobs": jobs, **names}


def record_in(folder: Path) -> str:
    return timeless(records.load(tiny.__name__, folder / "records"))


def nothing_is_half_written(folder: Path) -> None:
    """Files are whole under their names, whenever a process was killed; what is torn has another name."""
    for path in [*folder.glob("store/*/*.pt"), *folder.glob("store/*/*.begun")]:
        assert store._read(path) is not None, path
    for path in folder.glob("records/*.json"):
        records.load(path.stem, path.parent)


def nobody_is_left_of(session: int) -> None:
    until = time.monotonic() + SECONDS_LEFT
    while left_of(session) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left_of(session)


@pytest.fixture(scope="module")
def unbroken(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """The record of a sweep that nobody killed, and the seconds it took."""
    folder = tmp_path_factory.mktemp("unbroken")
    seconds = forks.run(**places(folder, jobs=1))
    return record_in(folder), seconds


def test_killed_at_fifty_moments_and_gone_on_with_a_sweep_leaves_the_record_of_an_unbroken_one(
    forks: Forks, unbroken: tuple[str, float], tmp_path: Path
) -> None:
    whole, seconds = unbroken
    chance, given, kills, completed = random.Random(0), places(tmp_path, jobs=1), 0, 0
    while kills < KILLS:
        kills += forks.killed_after(chance.uniform(0, seconds / 2), alone=True, **given)[1]
        nothing_is_half_written(tmp_path)
        if records.path_of(tiny.__name__, tmp_path / "records").exists():
            assert record_in(tmp_path) == whole
            completed += 1
            shutil.rmtree(tmp_path / "records")
            shutil.rmtree(tmp_path / "store")
    forks.run(**given)
    assert record_in(tmp_path) == whole
    assert not list(tmp_path.glob("records/*.tmp"))
    assert completed < KILLS * 0.8  # many kills hit a sweep that had begun before; how many, the machine's load decides


def test_killed_with_its_workers_or_alone_a_sweep_of_many_leaves_that_record_and_nobody(
    forks: Forks, unbroken: tuple[str, float], tmp_path: Path
) -> None:
    chance, given = random.Random(1), places(tmp_path, jobs=2)
    seconds = forks.run(**given)
    assert record_in(tmp_path) == unbroken[0]
    shutil.rmtree(tmp_path / "store")
    for kill in range(KILLS_OF_MANY):
        pid, _ = forks.killed_after(chance.uniform(0.1, 1.0) * seconds, alone=kill % 2 == 1, **given)
        nobody_is_left_of(pid)
        nothing_is_half_written(tmp_path)
    forks.run(**given)
    assert record_in(tmp_path) == unbroken[0]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_the_command_ended_by_a_signal_leaves_nobody_and_a_line_and_what_it_did(
    number: signal.Signals, status: int, unbroken: tuple[str, float], tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "moedocs", "lab", "run", tiny.__name__, "--jobs", "2"]
    words += ["--records", str(tmp_path / "records"), "--store", str(tmp_path / "store")]
    given: dict[str, Any] = {"cwd": ROOT, "text": True, "start_new_session": True, "stderr": subprocess.PIPE}
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(words, env=environment, **given) as process:
        until = time.monotonic() + PATIENCE
        while not list(tmp_path.glob("store/*/*.lock")) and time.monotonic() < until:
            time.sleep(0.02)
        assert len(left_of(process.pid)) >= 3  # the main process and two workers
        os.kill(process.pid, number)
        assert process.wait(PATIENCE) == status
        nobody_is_left_of(process.pid)
        assert process.stderr
        said = process.stderr.read()
    if number != signal.SIGKILL:
        assert said.endswith("moedocs: interrupted\n")
        assert "Traceback" not in said
        assert "leaked" not in said
        assert {path.name for path in tmp_path.iterdir()} <= {"records", "store"}


def test_two_experiments_that_share_trainings_may_run_at_the_same_time(
    forks: Forks, unbroken: tuple[str, float], tmp_path: Path
) -> None:
    given = places(tmp_path, jobs=1)
    forks.start(**given)
    with forking() as others:
        others.run(**(given | {"records": str(tmp_path / "other"), "log": str(tmp_path / "other.log")}))
    assert forks.ended() == 0
    assert record_in(tmp_path) == unbroken[0]
    assert len(list(Store(tmp_path / "store").folder.glob("*.pt"))) == len(tiny.RUNS)
    both = [records.load(tiny.__name__, tmp_path / name) for name in ("records", "other")]
    assert both[0].results == both[1].results
