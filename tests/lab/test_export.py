"""Models for the page: small enough, the same bytes every time, and in NumPy what torch computes."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from moedocs.cost import parameters
from moedocs.engine import Output, Transformer
from moedocs.lab import export
from moedocs.lab.experiments import browser
from moedocs.lab.exported import torch_of
from moedocs.lab.training import Run, Trained, train, validation
from moedocs.lite import forward_pass
from moedocs.lite.generate import generate
from moedocs.lite.weights import Model, load

TOLERANCE = 2e-5  # of the largest logit; both sides sum in float32, in different orders
STEPS = 3


def short(run: Run) -> Run:
    """The run as it stands, for a few steps and on two kinds of text."""
    training = replace(run.training, steps=STEPS, warmup_steps=0, decay_steps=0)
    return replace(run, training=training, domains=("code", "cyrillic"), look_at=(STEPS,))


@pytest.fixture(scope="module")
def trained() -> dict[str, Trained]:
    return {key: train(short(run)) for key, run in browser.RUNS.items()}


@pytest.fixture(scope="module")
def models(trained: dict[str, Trained]) -> dict[str, Model]:
    return {key: load(export.packed(one, key), name=key) for key, one in trained.items()}


def test_each_file_is_at_most_two_and_a_half_megabytes_and_all_are_at_most_eight() -> None:
    # a twentieth more than two bytes a parameter, which the next test holds
    sizes = [2.05 * parameters(run.model).total for run in browser.RUNS.values()]
    assert max(sizes) <= 2_500_000
    assert sum(sizes) <= 8_000_000


@pytest.mark.parametrize("key", browser.RUNS)
def test_a_file_is_hardly_more_than_two_bytes_a_parameter(trained: dict[str, Trained], key: str) -> None:
    size, count = len(export.packed(trained[key], key)), parameters(trained[key].run.model).total
    assert 2 * count < size < 2.05 * count


@pytest.mark.parametrize("key", browser.RUNS)
@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_numpy_s_logits_are_torch_s_of_the_rounded_numbers(models: dict[str, Model], key: str, causal: bool) -> None:
    bytes_BS = validation(short(browser.RUNS[key]))[::8, :-1]
    theirs: Output = torch_of(models[key])(bytes_BS, causal=causal)
    ours = forward_pass(models[key].arrays, models[key].config, bytes_BS.numpy(), causal=causal)
    expected = theirs.logits_BSV.numpy()
    np.testing.assert_allclose(ours.logits_BSV, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("key", browser.RUNS)
@torch.no_grad()
def test_numpy_writes_the_bytes_that_torch_finds_likeliest(models: dict[str, Model], key: str) -> None:
    twin, text = torch_of(models[key]), b"def route(self, tokens):\n"
    written = generate(
        models[key].arrays, models[key].config, text, 40, temperature=0, generator=np.random.default_rng()
    )
    for byte in written.text:
        output: Output = twin(torch.tensor([list(text)]), causal=True)
        assert byte == output.logits_BSV[0, -1].argmax()
        text += bytes([byte])


def test_the_model_keeps_its_own_numbers_and_the_file_has_them_rounded(
    trained: dict[str, Trained], models: dict[str, Model]
) -> None:
    for name, weight in trained["mode"].model.state_dict().items():
        np.testing.assert_array_equal(models["mode"].arrays[name], weight.half().float().numpy())
        assert weight.dtype == torch.float32


def test_a_second_export_is_the_same_to_the_last_byte(trained: dict[str, Trained], tmp_path: Path) -> None:
    export.export(trained["mode"], tmp_path / "one" / "mode.npz")
    again = train(short(browser.RUNS["mode"]))
    export.export(again, tmp_path / "two" / "mode.npz")
    one, two = ((tmp_path / folder / "mode.npz").read_bytes() for folder in ("one", "two"))
    assert one == two


def test_a_reader_finds_the_old_file_or_the_new_one_and_never_half_a_file(
    trained: dict[str, Trained], tmp_path: Path
) -> None:
    path = tmp_path / "model.npz"
    export.export(trained["moe"], path)
    writer = threading.Thread(target=lambda: [export.export(trained[key], path) for key in ("mod", "moe") * 8])
    writer.start()
    found = set()
    while writer.is_alive():
        found.add(load(path).config)
    writer.join()
    assert found == {trained["mod"].run.model, trained["moe"].run.model}
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]


def test_what_cannot_be_written_leaves_nothing_behind_and_is_told_in_a_line(
    trained: dict[str, Trained], tmp_path: Path
) -> None:
    (tmp_path / "moe.npz").mkdir()
    with pytest.raises(export.ExportError, match=r"moe\.npz: cannot be written .Is a directory"):
        export.export(trained["moe"], tmp_path / "moe.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["moe.npz"]
    (tmp_path / "file").touch()
    with pytest.raises(export.ExportError, match=r"moe\.npz: cannot be written"):
        export.export(trained["moe"], tmp_path / "file" / "moe.npz")


@pytest.mark.parametrize("number", [1e6, float("nan")])
def test_a_number_that_float16_cannot_hold_is_named(trained: dict[str, Trained], number: float) -> None:
    model = Transformer(trained["mod"].run.model, generator=torch.Generator())
    model.norm.weight.data[3] = number
    with pytest.raises(export.ExportError, match=r"norm\.weight holds (1000000\.0|nan), which float16 cannot"):
        export.packed(replace(trained["mod"], model=model), "mod")


def test_a_folder_of_a_user_s_text_is_known_by_its_name_alone() -> None:
    assert export.called("/home/someone/my texts/letters/") == "letters"
    assert export.called("code") == "code"
