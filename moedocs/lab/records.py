"""What a training left behind: a small text file, committed, readable in a diff, that notices its own damage."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from moedocs.files import write_whole
from moedocs.lab.fingerprint import ROOT, fingerprint
from moedocs.problem import Problem

RECORDS = ROOT / "figures" / "records"
WIDTH = 100
SEAL = ',\n "sha256": "'


class RecordError(Problem):
    """A record that cannot be used: its state in a word or two, and a line naming the file and what recomputes it."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(state, message)
        self.state = state

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True, kw_only=True)
class Record:
    """One experiment: what was set, what it ran on, what came out.

    Where learning rates were tuned, `tuning` has the loss of each rate tried by arm, `learning_rates` those chosen.
    """

    name: str
    fingerprint: str
    settings: dict[str, Any]
    made: dict[str, Any]
    corpora: dict[str, Any]
    first_losses: dict[str, list[float]]
    results: dict[str, Any]
    learning_rates: dict[str, float] = field(default_factory=dict)
    tuning: dict[str, dict[str, float | None]] = field(default_factory=dict)


def module_of(name: str) -> str:
    """The module that defines the experiment of this name; a dotted name is that of a module somewhere else."""
    return name if "." in name else f"moedocs.lab.experiments.{name.replace('-', '_')}"


def command(name: str) -> str:
    """What recomputes a record."""
    return f"python -m moedocs lab run {name}"


def path_of(name: str, folder: Path = RECORDS) -> Path:
    return folder / f"{name}.json"


def load(name: str, folder: Path = RECORDS, *, stale: bool = False) -> Record:
    """The record, refused when missing, damaged or, unless `stale` is allowed, made by other code than today's."""
    path = path_of(name, folder)
    try:
        record = _parsed(path.read_text("utf-8", errors="replace"))
    except FileNotFoundError:
        raise _refused(name, path, "missing", "there is no such record; compute it") from None
    except OSError as error:
        raise _refused(name, path, "unreadable", f"unreadable ({error.strerror}); recompute it") from None
    if record is None or record.name != name:
        raise _refused(name, path, "damaged", "damaged, its content is not what its hash says; recompute it")
    if not stale and not is_current(record):
        raise _refused(name, path, "stale", "stale, the code that made it has changed since; recompute it")
    return record


def is_current(record: Record) -> bool:
    """Whether today's code is the code that made the record."""
    return record.fingerprint == fingerprint(module_of(record.name))


def save(record: Record, folder: Path = RECORDS) -> Path:
    """Write the record whole or not at all: a kill at any moment leaves the old file or the new one."""
    path = path_of(record.name, folder)
    try:
        text = dumps(record)
    except (ValueError, TypeError) as error:
        raise RecordError("not written", f"{_shown(path)}: cannot hold what was found ({error})") from None
    try:
        write_whole(path, text.encode(), durable=True)
    except OSError as error:
        raise RecordError("not written", f"{_shown(path)}: cannot be written ({error.strerror})") from None
    return path


def tidy(name: str, folder: Path) -> None:
    """Delete what writers of this record left half-written when they were killed; nobody may be writing it now."""
    for path in folder.glob(f".{name}-????????.tmp"):
        path.unlink(missing_ok=True)


def dumps(record: Record) -> str:
    """Sorted keys, a list of plain values on one line, and the hash of all the text before it as the last entry."""
    body = _block(asdict(record), "").removesuffix("\n}")
    return f"{body}{SEAL}{_seal(body)}"


def _refused(name: str, path: Path, state: str, reason: str) -> RecordError:
    return RecordError(state, f"{_shown(path)}: {reason} with: {command(name)}")


def _parsed(text: str) -> Record | None:
    """The record whose text is exactly this; None when a single character differs. A new one each time."""
    body, _, end = text.rpartition(SEAL)
    if end != _seal(body):
        return None
    try:
        content = json.loads(text)
        content.pop("sha256")
        return Record(**content)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _seal(body: str) -> str:
    return f'{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'


def _block(value: Any, indent: str) -> str:
    inner = f"{indent} "
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    nested = any(isinstance(item, list | dict) for item in items)
    if not nested:
        line = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)
        if not isinstance(value, dict) or len(indent) + len(line) <= WIDTH:
            return line
    if isinstance(value, dict):
        rows = [f"{inner}{json.dumps(key)}: {_block(value[key], inner)}" for key in sorted(value)]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return "[\n" + ",\n".join(f"{inner}{_block(item, inner)}" for item in value) + f"\n{indent}]"


def _shown(path: Path) -> str:
    """The path as seen from the repository, where it lies inside it."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
