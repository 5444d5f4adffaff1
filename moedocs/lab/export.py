"""A trained model as one file that `moedocs.lite` reads: rounded to float16, the same bytes every time."""

import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moedocs.engine import Transformer
from moedocs.files import write_whole
from moedocs.lab.training import Trained
from moedocs.lite.weights import ABOUT, DIGEST, FORMAT, digest
from moedocs.problem import Problem

DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold


class ExportError(Problem):
    """A model that cannot be written; the message names it and says why."""


def export(trained: Trained, path: Path) -> bytes:
    """Write the file whole or not at all, and return its content; the model gets the file's name."""
    content = packed(trained, path.stem)
    try:
        write_whole(path, content, durable=True)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error.strerror})") from None
    return content


def packed(trained: Trained, name: str) -> bytes:
    """The content of the file; `moedocs.lite.weights` says how it is laid out."""
    about = {
        "format": FORMAT,
        "name": name,
        "config": asdict(trained.run.model),
        "domains": [called(domain) for domain in trained.run.domains],
        "sequence_length": trained.run.training.sequence_length,
    }
    entries = {f"{key}.npy": _npy(array) for key, array in rounded(trained.model).items()}
    entries[ABOUT] = json.dumps(about, sort_keys=True, indent=1).encode()
    return sealed(entries)


def called(domain: str) -> str:
    """The name of a kind of text; of a user's folder its last part only."""
    return Path(domain).resolve().name if "/" in domain else domain


def sealed(entries: dict[str, bytes]) -> bytes:
    """A zip of these files with fixed dates and order, that ends in the sha256 of all before it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, DATE)
            entry.create_system = 3  # or the bytes would tell the platform
            file.writestr(entry, entries[name])
        file.comment = b"0" * DIGEST
    content = buffer.getvalue()[:-DIGEST]
    return content + digest(content)


def rounded(model: Transformer) -> dict[str, NDArray[Any]]:
    """The arrays of a model as they are written: numbers with a fraction in float16, others as they are."""
    arrays = {name: weight.numpy(force=True) for name, weight in model.state_dict().items()}
    return {name: _rounded(name, array) for name, array in arrays.items()}


def _rounded(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):  # told in words below
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise ExportError(f"{name} holds {array[~np.isfinite(half)].flat[0]}, which float16 cannot")
    return half


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    little = array.astype(array.dtype.newbyteorder("<"))
    np.lib.format.write_array(buffer, np.ascontiguousarray(little), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
