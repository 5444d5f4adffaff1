"""Sweeps in processes of their own, to be killed: forked from one that has imported torch and read the text already."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from moedocs.lab.fingerprint import ROOT

PATIENCE = 120.0  # seconds for what takes one or two; other work may fill the machine


class Forks:
    """One sweep at a time: `start` it, then `ended` waits for its exit status."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def start(self, **arguments: Any) -> int:
        """The process, leader of a session and of a group of its own."""
        assert self._process.stdin
        self._process.stdin.write(f"{json.dumps(arguments)}\n")
        self._process.stdin.flush()
        return int(self._line())

    def ended(self) -> int:
        """As `os.waitpid` gives it: the exit status times 256, or the signal that ended it."""
        return int(self._line())

    def run(self, **arguments: Any) -> float:
        """A whole sweep; the seconds it took."""
        started = time.monotonic()
        self.start(**arguments)
        assert self.ended() == 0, Path(arguments["log"]).read_text("utf-8")
        return time.monotonic() - started

    def killed_after(self, seconds: float, *, alone: bool, **arguments: Any) -> tuple[int, bool]:
        """Start a sweep and kill its main process after so long, alone or with all others; its id, and was it alive."""
        pid = self.start(**arguments)
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            (os.kill if alone else os.killpg)(pid, signal.SIGKILL)
        return pid, self.ended() == signal.SIGKILL

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()


@contextmanager
def forking() -> Iterator[Forks]:
    command = [sys.executable, "-m", "tests.lab.forking"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        forks = Forks(process)
        assert forks._line() == "ready\n"
        yield forks


def left_of(session: int) -> set[int]:
    """The processes of a session that still run."""
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _alive_in(int(path.name), session)}


def _alive_in(pid: int, session: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
        return os.getsid(pid) == session and state != "Z"
    except OSError:
        return False


def main() -> None:
    from moedocs.lab import corpora, fingerprint, sweep
    from moedocs.lab.store import Store, code
    from tests.lab import tiny

    for domain in tiny.DOMAINS:
        corpora.text(domain)
    import_module("torch._dynamo")  # as the first step of any optimizer does
    code()
    fingerprint.fingerprint(tiny.__name__)
    print("ready", flush=True)
    for line in sys.stdin:
        arguments = json.loads(line)
        pid = os.fork()
        if not pid:
            os.setsid()
            log = os.open(arguments["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            store = Store(Path(arguments["store"]), save_every=0.0)
            sweep.run(arguments["name"], Path(arguments["records"]), jobs=arguments["jobs"], store=store)
            sys.exit()
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
