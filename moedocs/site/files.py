"""Writing files so that a kill leaves the old one or the new one, and nothing is touched that did not change."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from moedocs.files import write_whole


def digest(content: bytes) -> str:
    """sha256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def dumps(value: Any) -> str:
    """JSON as the build writes it: keys sorted, no NaN."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def alone(lock: Path, what: str) -> BaseFileLock:
    """A lock for one process at a time; when another holds it, says so before waiting. A killed holder lets go."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
        held.release()
    except Timeout:
        print(f"{what}: another process is at it; waiting for it", file=sys.stderr, flush=True)
    return held


def write(path: Path, text: str) -> None:
    """Bring the file to this text; a file that has it already keeps its time stamp."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Bring the file to these bytes, as `write` does."""
    if path.is_file() and path.read_bytes() == content:
        return
    write_whole(path, content)
