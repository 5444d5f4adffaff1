"""Real processes for a test, started as torchrun starts them, on this machine alone; none outlives its time."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 150.0  # a busy machine takes ten times as long as a quiet one


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun tells a process, and one thread for each."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return os.environ | {name: str(value) for name, value in told.items()} | {"OMP_NUM_THREADS": "1"}


def forked(size: int, work: Callable[..., None], *arguments: object, seconds: float = 100) -> list[int | None]:
    """The exit codes of so many processes that fork off this one, each doing `work(rank, …)` in its environment."""
    port = free_port()

    def one(rank: int) -> None:
        os.environ |= environment(rank, size, port)
        work(rank, *arguments)

    processes = [get_context("fork").Process(target=one, args=(rank,), daemon=True) for rank in range(size)]
    for process in processes:
        process.start()
    until = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.1, until - time.monotonic()))
        process.kill()
    return [process.exitcode for process in processes]


def start(arguments: list[str], rank: int = 0, size: int = 1, port: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(rank, size, port),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(processes: list[subprocess.Popen[str]], seconds: float = SECONDS) -> list[str]:
    """What each process said, once all have ended; those that have not in time are killed."""
    until = time.monotonic() + seconds
    try:
        return [process.communicate(timeout=max(0.1, until - time.monotonic()))[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            if process.stdout and not process.stdout.closed:
                process.communicate()
