"""A trained model from one file, with NumPy alone; `moedocs.lab.export` writes it.

The file is an .npz: a zip whose entries are stored as they are, in the order of their names, all dated 1980-01-01.
`model.json` says in JSON what the model is, and NAME.npy is each array of `forward_pass`, of type float16 where it
holds numbers with a fraction. The zip ends in a comment of 64 characters: the sha256 of all bytes before them.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TransformerConfig
from moedocs.problem import Problem

FORMAT = 1
ABOUT = "model.json"
DIGEST = 64
REMEDY = "fetch it again, or write it anew with: python -m moedocs lab run browser"


class WeightsError(Problem):
    """A file that no model can be read from; the message names the file and says what helps."""


@dataclass(frozen=True, eq=False)
class Model:
    """What `forward_pass` needs, and what the model was trained on: stretches of so many bytes of these domains."""

    name: str
    config: TransformerConfig
    arrays: Mapping[str, NDArray[Any]]
    sequence_length: int
    domains: tuple[str, ...]


def load(source: Path | bytes, *, name: str | None = None) -> Model:
    """The model in a file, or in the bytes of one; raises WeightsError unless they are exactly what was written.

    The file must bear the name of the model in it; of bytes, `name` may say which model they are to be.
    """
    label = str(source) if isinstance(source, Path) else f"{name or 'model'}.npz"
    content = _content(source) if isinstance(source, Path) else source
    if not content.startswith(b"PK"):
        raise _refused(label, "is not the file of a model")
    if content[-DIGEST:] != digest(content[:-DIGEST]):
        raise _refused(label, "is damaged or cut short, its content is not what its hash says")
    try:
        model = _model(label, content)
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile):
        raise _refused(label, "is not the file of a model") from None
    expected = source.stem if isinstance(source, Path) else name
    if expected is not None and model.name != expected:
        raise _refused(label, f"holds the model {model.name!r}, not {expected!r}")
    return model


def digest(content: bytes) -> bytes:
    """The sha256 of these bytes in 64 characters."""
    return hashlib.sha256(content).hexdigest().encode()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refused(str(path), f"cannot be read ({error.strerror})") from None


def _model(label: str, content: bytes) -> Model:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        about = json.loads(file.read(ABOUT))
        if about["format"] != FORMAT:
            raise _refused(label, f"is of format {about['format']}, and only format {FORMAT} is understood")
        names = [name for name in file.namelist() if name != ABOUT]
        arrays = {name.removesuffix(".npy"): _array(file.read(name)) for name in names}
    domains, config = tuple(about["domains"]), _config(about["config"])
    return Model(about["name"], config, arrays, about["sequence_length"], domains)


def _array(content: bytes) -> NDArray[Any]:
    """In float32 what has a fraction, so that no later step has to convert it."""
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _config(fields: dict[str, Any]) -> TransformerConfig:
    routing, depth = fields["routing"], fields["depth"]
    if routing is not None:
        routing = RoutingConfig(**routing | {"balance": BalanceConfig(**routing["balance"])})
    return TransformerConfig(**fields | {"routing": routing, "depth": None if depth is None else DepthConfig(**depth)})


def _refused(label: str, reason: str) -> WeightsError:
    return WeightsError(f"{label}: {reason}: {REMEDY}")
