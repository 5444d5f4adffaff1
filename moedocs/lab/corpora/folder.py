"""A user's own text: a folder is a domain, split into training and validation text by whole files."""

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from moedocs.lab.corpora.kinds import Text, sha256
from moedocs.lab.corpora.wheels import CorpusError

LARGEST = 16 * 2**20  # bytes of a file that is still read
SHORTEST = 512  # bytes of either side: two of the longest sequences
ONE_IN = 10

Files = list[tuple[str, bytes]]  # path inside the folder, content


def folder_domains(path: str) -> tuple[str, ...]:
    """The subfolders as one domain each, sorted; or the folder itself, when it has none."""
    folder = _existing(path)
    try:
        inside = sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from None
    return tuple(map(_domain, inside or [folder]))


def _domain(folder: Path) -> str:
    """A path with a slash in it, which tells a folder from the kinds of text that have names."""
    path = folder.as_posix()
    return path if "/" in path else f"./{path}"


def folder_text(path: str) -> Text:
    """All text files under the folder, in the order of their paths, each whole on its side."""
    files = _files(_existing(path))
    if not files:
        raise CorpusError(f"{path}: there is no text file in this folder")
    train, validation = _sides(files)
    text = Text(
        train=b"".join(content for _, content in train),
        validation=b"".join(content for _, content in validation),
        train_files=tuple(name for name, _ in train),
        validation_files=tuple(name for name, _ in validation),
    )
    for side, content in (("training", text.train), ("validation", text.validation)):
        if len(content) < SHORTEST:
            raise CorpusError(f"{path}: {len(content)} bytes of {side} text are too short, {SHORTEST} are the least")
    return text


def _existing(path: str) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise CorpusError(f"{path}: {'not a folder' if folder.exists() else 'there is no such folder'}")
    return folder


def _files(folder: Path) -> Files:
    """What is neither hidden nor empty nor very large, and has no zero byte, which text has not."""
    found = []
    try:
        for path in _visible(folder):
            content = path.read_bytes() if path.stat().st_size <= LARGEST else b""
            if content and b"\0" not in content:
                found.append((path.relative_to(folder).as_posix(), content))
    except OSError as error:
        raise _unreadable(error) from None
    return sorted(found)


def _visible(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in names if not name.startswith(".") and (path := Path(root, name)).is_file())


def _raise(error: OSError) -> None:
    raise error


def _unreadable(error: OSError) -> CorpusError:
    return CorpusError(f"{error.filename}: cannot be read ({error.strerror})")


def _sides(files: Files) -> tuple[Files, Files]:
    """About one file in ten is held out, by the hash of its path; never the largest; files of the same bytes together.

    More are held out while those are too short to look at a model by. The order of hashes, not of paths, decides, so
    that a file added to the folder moves few others.
    """
    groups: dict[bytes, Files] = {}
    for name, content in files:
        groups.setdefault(content, []).append((name, content))
    if len(groups) == 1:
        return _cut(files[0])
    ordered = sorted(groups.values(), key=lambda group: _place(group[0][0]))
    largest = max(ordered, key=lambda group: len(group[0][1]))
    others = [group for group in ordered if group is not largest]
    number = max(1, sum(_place(group[0][0]) < 2**32 // ONE_IN for group in others))
    while number < len(others) and _size(others[:number]) < SHORTEST:
        number += 1
    return sorted(chain(largest, *others[number:])), sorted(chain(*others[:number]))


def _cut(file: tuple[str, bytes]) -> tuple[Files, Files]:
    name, content = file
    end = len(content) - len(content) // ONE_IN
    return [(name, content[:end])], [(name, content[end:])]


def _place(name: str) -> int:
    """Where a path stands among all, from 0 to 2**32."""
    return int(sha256(name.encode(errors="surrogateescape"))[:8], 16)


def _size(groups: list[Files]) -> int:
    return sum(len(content) for group in groups for _, content in group)
