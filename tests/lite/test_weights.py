"""A model read from its file with NumPy alone: what was written, or one line that says what is wrong."""

import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from moedocs.config import RoutingConfig, TrainingConfig, TransformerConfig
from moedocs.engine import Transformer
from moedocs.lab import export
from moedocs.lab.training import Run, Trained
from moedocs.lite.weights import ABOUT, WeightsError, load
from tests.strategies import mixed_transformers

HASHED = TransformerConfig(
    vocab_size=256,
    d_model=8,
    num_layers=2,
    num_heads=2,
    d_ff=8,
    routing=RoutingConfig(num_experts=4, top_k=2, router="hash"),
)


def untrained(config: TransformerConfig) -> Trained:
    training = TrainingConfig(steps=1, sequences=1, sequence_length=32, learning_rate=1e-3)
    model = Transformer(config, generator=torch.Generator().manual_seed(0)).eval()
    return Trained(Run(model=config, training=training, domains=("code",)), model, [], [], [], 0.0)


CONTENT = export.packed(untrained(HASHED), "hashed")


def entries() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as file:
        return {name: file.read(name) for name in file.namelist()}


def about(**changes: Any) -> bytes:
    """The file with other words about the model, and a hash that fits."""
    found = entries()
    return export.sealed(found | {ABOUT: json.dumps(json.loads(found[ABOUT]) | changes).encode()})


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert line.endswith("write it anew with: python -m moedocs lab run browser")
    assert "\n" not in line
    return line


@given(mixed_transformers())
@settings(max_examples=60)
def test_every_config_and_every_array_come_back(config: TransformerConfig) -> None:
    trained = untrained(config)
    model = load(export.packed(trained, "any"), name="any")
    assert (model.config, model.domains, model.sequence_length) == (config, ("code",), 32)
    state = trained.model.state_dict()
    assert model.arrays.keys() == state.keys()
    for name, weight in state.items():
        expected = weight.half().float() if weight.is_floating_point() else weight
        np.testing.assert_array_equal(model.arrays[name], expected.numpy())
        assert model.arrays[name].dtype == expected.numpy().dtype


def test_bytes_and_file_give_the_same_model(tmp_path: Path) -> None:
    (tmp_path / "hashed.npz").write_bytes(CONTENT)
    one, two = load(tmp_path / "hashed.npz"), load(CONTENT, name="hashed")
    assert (one.name, one.config) == (two.name, two.config) == ("hashed", HASHED)
    assert all(np.array_equal(one.arrays[name], two.arrays[name]) for name in one.arrays)


def test_numpy_s_own_reader_reads_the_arrays() -> None:
    model = load(CONTENT)
    with np.load(io.BytesIO(CONTENT), allow_pickle=False) as arrays:
        assert {*arrays.files} == {*model.arrays, ABOUT}
        for name, array in model.arrays.items():
            np.testing.assert_array_equal(arrays[name], array)


def test_the_entries_are_stored_sorted_and_bear_one_date() -> None:
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as file:
        found = file.infolist()
    assert [one.filename for one in found] == sorted(one.filename for one in found)
    assert {one.date_time for one in found} == {(1980, 1, 1, 0, 0, 0)}
    assert {one.compress_type for one in found} == {zipfile.ZIP_STORED}


def test_one_wrong_byte_anywhere_is_refused(tmp_path: Path) -> None:
    draws = random.Random(0)
    for place in [*range(8), *draws.sample(range(len(CONTENT)), 200), *range(len(CONTENT) - 90, len(CONTENT))]:
        damaged = bytearray(CONTENT)
        damaged[place] ^= 1 << draws.randrange(8)
        refusal(tmp_path / "hashed.npz", bytes(damaged))


def test_a_file_cut_short_or_made_longer_is_refused(tmp_path: Path) -> None:
    draws = random.Random(1)
    for length in [0, 1, 2, 63, 64, 65, *draws.sample(range(len(CONTENT)), 100), len(CONTENT) - 1]:
        refusal(tmp_path / "hashed.npz", CONTENT[:length])
    assert "damaged or cut short" in refusal(tmp_path / "hashed.npz", CONTENT[:-1])
    assert "damaged" in refusal(tmp_path / "hashed.npz", CONTENT + b"\n")


@pytest.mark.parametrize("content", [b"", b"<!doctype html><title>Not found</title>", b"\x93NUMPY", b"\x1f\x8b"])
def test_what_is_no_model_is_called_so(tmp_path: Path, content: bytes) -> None:
    assert "is not the file of a model" in refusal(tmp_path / "hashed.npz", content)


@pytest.mark.parametrize(
    "content",
    [
        export.sealed({"a.npy": b"no array"}),
        export.sealed({ABOUT: b"[]"}),
        export.sealed({ABOUT: b"{"}),
        export.sealed({ABOUT: b'{"format": 1}'}),
        about(config={"vocab_size": 256}),
        about(config=None),
    ],
)
def test_a_whole_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "is not the file of a model" in refusal(tmp_path / "hashed.npz", content)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    content = export.sealed(entries() | {"norm.weight.npy": buffer.getvalue()})
    assert "is not the file of a model" in refusal(tmp_path / "hashed.npz", content)


def test_another_format_is_named(tmp_path: Path) -> None:
    line = refusal(tmp_path / "hashed.npz", about(format=2))
    assert "is of format 2, and only format 1 is understood" in line


def test_a_file_under_another_model_s_name_is_refused(tmp_path: Path) -> None:
    assert "holds the model 'hashed', not 'moe'" in refusal(tmp_path / "moe.npz", CONTENT)
    with pytest.raises(WeightsError, match=r"moe\.npz: holds the model 'hashed', not 'moe'"):
        load(CONTENT, name="moe")


def test_a_file_that_is_not_there_or_a_folder_is_told_in_a_line(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.npz", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(WeightsError, match=f"{path}: cannot be read .{reason}"):
            load(path)
