"""Finished and half-finished trainings on this machine, found again by what they are: no training is done twice.

Nothing here is committed, and all of it may be deleted at any time: it would be computed again. What is published is in
the records.
"""

import hashlib
import io
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Generator

from moedocs.engine import Transformer
from moedocs.files import write_whole
from moedocs.lab import corpora
from moedocs.lab.fingerprint import ROOT, fingerprint
from moedocs.lab.looks import packed, unpacked
from moedocs.lab.training import Run, Trained, Training, TrainingError
from moedocs.problem import Problem

FOLDER = ROOT / ".cache" / "lab"
SAVE_EVERY = 10.0  # seconds between two writings of a training under way
DAY = 86_400.0  # seconds
KEPT_DAYS = 30.0  # trainings by other code that nobody asked for
DIGEST_BYTES = 32


class Store:
    """A folder of trainings. A file is whole or does not count; two processes never do the same training at once."""

    def __init__(self, folder: Path = FOLDER, *, save_every: float = SAVE_EVERY) -> None:
        self.root, self.folder, self.save_every = folder, folder / code(), save_every

    def holds(self, run: Run) -> bool:
        """Whether the training is done, well or not."""
        return _read(self._file(run)) is not None

    def get(self, run: Run) -> Trained | None:
        """The finished training, None if there is none; raises TrainingError if it left the finite numbers."""
        content = _read(self._file(run))
        return None if content is None else _trained(run, content)

    def train(self, run: Run, *, on_step: Callable[[int], object] = lambda step: None) -> Trained:
        """The finished training, done now, or taken up where it was left, if it is not there.

        `on_step` is told how many steps are done, after each.
        """
        with self._alone(run):
            if self.holds(run):
                on_step(run.training.steps)
            else:
                self.put(run, self._finish(run, on_step))
                self._begun(run).unlink(missing_ok=True)
        done = self.get(run)
        if done is None:
            raise Problem(f"{self.folder}: a training written there cannot be read back; is the disk sound?")
        return done

    def put(self, run: Run, content: dict[str, Any]) -> None:
        """Keep what `contents` gave, here or on another machine."""
        _write(self._file(run), content)

    def contents(self, run: Run) -> dict[str, Any]:
        """A finished training as tensors and plain values."""
        content = _read(self._file(run))
        if content is None:
            raise KeyError(key(run))
        return content

    def cpu_seconds(self, run: Run) -> float:
        """What a finished training cost, one that failed too."""
        return float(self.contents(run)["cpu_seconds"])

    def forget(self, run: Run) -> None:
        """Do this training anew, next time."""
        for path in (self._file(run), self._begun(run)):
            path.unlink(missing_ok=True)

    def prune(self) -> None:
        """Delete trainings by other code that are older than a month, and what killed processes left half-written."""
        for folder in self.root.glob("*/"):
            if folder != self.folder and _age(folder) > KEPT_DAYS * DAY:
                shutil.rmtree(folder, ignore_errors=True)
        for path in self.folder.glob("*.tmp"):
            if _age(path) > DAY:
                path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self, run: Run) -> Iterator[None]:
        """While no other process does this training; waits for one that does."""
        lock = FileLock(self._file(run).with_suffix(".lock"))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        try:
            yield
        finally:
            lock.release()

    def _finish(self, run: Run, on_step: Callable[[int], object]) -> dict[str, Any]:
        training = Training(run)
        begun = _read(self._begun(run))
        if begun is not None:
            training.resume(begun)
        saved = time.monotonic()
        try:
            while training.step < run.training.steps:
                on_step(training.step)
                training.advance()
                if time.monotonic() - saved >= self.save_every:
                    _write(self._begun(run), training.state())
                    saved = time.monotonic()
            done = training.finish()
        except TrainingError as error:
            return {"failure": str(error), "cpu_seconds": training.cpu_seconds}
        on_step(training.step)
        return kept(done)

    def _file(self, run: Run) -> Path:
        return self.folder / f"{key(run)}.pt"

    def _begun(self, run: Run) -> Path:
        return self.folder / f"{key(run)}.begun"


@cache
def code() -> str:
    """What the bits of a training depend on beside its description: our code, torch, and the processor's abilities."""
    made_by = (
        fingerprint("moedocs.lab.training"),
        torch.__version__.partition("+")[0],
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
    )
    return hashlib.sha256(" ".join(made_by).encode()).hexdigest()[:16]


def key(run: Run) -> str:
    """A name for the run; texts of the user's are part of it by their content."""
    texts = [corpora.describe(domain) for domain in run.domains if "/" in domain]
    return hashlib.sha256(json.dumps([asdict(run), texts], sort_keys=True).encode()).hexdigest()[:32]


def kept(done: Trained) -> dict[str, Any]:
    """What a store keeps of a finished training, as tensors and plain values."""
    return {
        "weights": done.model.state_dict(),
        "losses": done.losses,
        "balancing": done.balancing,
        "looks": [packed(one) for one in done.looks],
        "cpu_seconds": done.cpu_seconds,
    }


def _trained(run: Run, content: dict[str, Any]) -> Trained:
    if "failure" in content:
        raise TrainingError(content["failure"])
    model = Transformer(run.model, generator=Generator().manual_seed(0))
    model.load_state_dict(content["weights"])
    looks = [unpacked(one) for one in content["looks"]]
    return Trained(run, model.eval(), content["losses"], content["balancing"], looks, content["cpu_seconds"])


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a file, None if it is absent, cut short or damaged."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    digest, payload = whole[:DIGEST_BYTES], whole[DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    content: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True)
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    try:
        write_whole(path, hashlib.sha256(payload).digest() + payload)
    except OSError as error:
        raise _unwritable(path.parent, error) from None


def _unwritable(folder: Path, error: OSError) -> Problem:
    return Problem(
        f"{folder}: trainings cannot be written there ({error.strerror}); make room, or name another --store"
    )


def _age(path: Path) -> float:
    """Seconds since the file or folder was changed; none where it has just gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
