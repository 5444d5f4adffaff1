"""The two ways a domain comes about: collected from the files of wheels, or generated with what a wheel brings."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from moedocs.lab.corpora.wheels import files, installed

KEPT = Path(__file__).resolve().parents[3] / ".cache" / "lab" / "text"


@dataclass(frozen=True, kw_only=True)
class Text:
    """The bytes of one domain, and the files they come from."""

    train: bytes
    validation: bytes
    train_files: tuple[str, ...] = ()
    validation_files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files of one wheel: `fnmatch` patterns to take and to leave, and what is read from each file."""

    wheel: str
    take: tuple[str, ...]
    leave: tuple[str, ...] = ()
    read: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True, kw_only=True)
class Collected:
    """Text from files; `validation` names the groups of files held out; the hashes are of the assembled bytes."""

    sources: tuple[Source, ...]
    group: Callable[[str], str]
    validation: frozenset[str]
    train_sha256: str
    validation_sha256: str

    @property
    def wheels(self) -> list[str]:
        return sorted({source.wheel for source in self.sources})

    def assemble(self) -> Text:
        """Read the files in the order of their paths and put each whole on its side."""
        parts: dict[bool, list[bytes]] = {False: [], True: []}
        names: dict[bool, list[str]] = {False: [], True: []}
        for source in self.sources:
            for path, content in files(source.wheel, source.take, source.leave):
                held_out = self.group(path) in self.validation
                parts[held_out].append(source.read(content))
                names[held_out].append(path)
        return Text(
            train=b"".join(parts[False]),
            validation=b"".join(parts[True]),
            train_files=tuple(names[False]),
            validation_files=tuple(names[True]),
        )


@dataclass(frozen=True, kw_only=True)
class Generated:
    """Text that takes seconds to make: `make` gives both sides, which are then kept under their hashes."""

    wheel: str
    make: Callable[[], tuple[bytes, bytes]]
    train_sha256: str
    validation_sha256: str

    @property
    def wheels(self) -> list[str]:
        return [self.wheel]

    def assemble(self) -> Text:
        train, validation = _kept(self.train_sha256), _kept(self.validation_sha256)
        if train is None or validation is None:
            installed(self.wheel)
            train, validation = self.make()
            _keep(train)
            _keep(validation)
        return Text(train=train, validation=validation)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _kept(name: str) -> bytes | None:
    """The bytes kept under their hash; None where they are absent or damaged."""
    with suppress(OSError):
        content = (KEPT / name).read_bytes()
        return content if sha256(content) == name else None
    return None


def _keep(content: bytes) -> None:
    """Spare the next process the work; where nothing can be written, it does it again."""
    temporary = KEPT / f"{sha256(content)}.{os.getpid()}"
    try:
        KEPT.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(KEPT / sha256(content))
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
