"""A sweep on a real Dask cluster of one scheduler and two workers: the record that this machine alone would leave."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moedocs.lab import records, sweep
from moedocs.lab.fingerprint import ROOT
from moedocs.lab.store import Store
from tests.lab import tiny
from tests.lab.forking import PATIENCE, left_of
from tests.lab.test_sweep import timeless

pytest.importorskip("distributed")
NAME = tiny.__name__
GRACE = 20  # seconds for a process of Dask to close


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Cluster:
    """A scheduler and workers, processes of sessions of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.processes = folder, list[subprocess.Popen[bytes]]()
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self._start("scheduler", "--host", self.address, "--no-dashboard", "--no-show")

    def worker(self, *, threads: int = 1) -> "subprocess.Popen[bytes]":
        return self._start("worker", self.address, "--nthreads", str(threads), "--no-dashboard", "--no-nanny")

    def trainings(self) -> list[Path]:
        """What the workers, of one machine here, have done."""
        return list(self._folder.glob("moedocs-lab/*/*.pt"))

    def _start(self, what: str, *words: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *words]
        if what == "worker":
            command += ["--local-directory", str(self._folder)]
        with (self._folder / f"{what}-{len(self.processes)}.log").open("wb") as log:
            environment = os.environ | {"TMPDIR": str(self._folder), "DASK_TEMPORARY_DIRECTORY": str(self._folder)}
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        return process

    def end(self) -> None:
        """Workers before the scheduler: one that loses its scheduler while it closes may wait for ever."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    one = Cluster(folder)
    try:
        yield one
    finally:
        one.end()
    assert not any(left_of(process.pid) for process in one.processes)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("local")
    return timeless(sweep.run(NAME, folder, jobs=1, store=Store(folder / "store")))


def command(folder: Path, *words: str) -> "subprocess.Popen[str]":
    arguments = ["lab", "run", NAME, "--records", str(folder / "records"), "--store", str(folder / "store"), *words]
    return subprocess.Popen(
        [sys.executable, "-m", "moedocs", *arguments],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit status and what was said on stderr; nobody is left."""
    _, said = process.communicate(timeout=PATIENCE)
    assert not left_of(process.pid)
    return process.returncode, said


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two workers, of one thread and of three."""
    with cluster(tmp_path_factory.mktemp("cluster")) as one:
        one.worker()
        one.worker(threads=3)
        yield one


def test_a_cluster_leaves_the_record_that_this_machine_leaves(local: str, two: Cluster, tmp_path: Path) -> None:
    status, said = ended(command(tmp_path, "--dask", two.address, "--jobs", "1"))
    assert status == 0, said
    assert "60/60" in said
    assert timeless(records.load(NAME, tmp_path / "records")) == local


def test_a_worker_killed_in_the_middle_of_a_new_start_changes_nothing(local: str, two: Cluster, tmp_path: Path) -> None:
    process = command(tmp_path, "--dask", two.address, "--jobs", "1", "--force")
    wait_for(lambda: len(two.trainings()) < len(tiny.RUNS))  # those of the test before are forgotten on the way
    two.processes[1].send_signal(signal.SIGKILL)
    status, said = ended(process)
    assert status == 0, said
    assert timeless(records.load(NAME, tmp_path / "records")) == local
    assert len(two.trainings()) == len(tiny.RUNS)


def test_an_address_where_nobody_answers_is_one_line_within_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    status, said = ended(command(tmp_path, "--dask", f"tcp://127.0.0.1:{free_port()}"))
    assert status == 2
    assert said.startswith("moedocs: --dask tcp://127.0.0.1:")
    assert "no scheduler answers there" in said
    assert said.count("\n") == 1
    assert time.monotonic() - started < 60  # ten of them waiting; starting up takes long where the machine is full


@pytest.mark.parametrize("address", ["nonsense://here", "127.0.0.1:not-a-port"])
def test_an_address_that_is_none_is_one_line(address: str, tmp_path: Path) -> None:
    status, said = ended(command(tmp_path, "--dask", address))
    assert (status, said.count("\n")) == (2, 1), said
    assert said.startswith(f"moedocs: --dask {address}: no scheduler answers there (")


def test_a_scheduler_without_workers_is_one_line(tmp_path: Path) -> None:
    with cluster(tmp_path) as one:
        status, said = ended(command(tmp_path, "--dask", one.address))
    assert (status, said.count("\n")) == (2, 1), said
    assert f"--dask {one.address}: no worker has joined this scheduler; start some: dask worker" in said


def wait_for(what: Any) -> None:
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)
