"""The experiment behind the models of the page: what it measures, on models trained for a few steps."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moedocs.lab.experiments import browser
from moedocs.lab.exported import PROMPT, WRITTEN
from moedocs.lab.rounding import significant
from moedocs.lab.training import Trained, train
from moedocs.lite import forward_pass
from moedocs.lite.weights import load
from tests.lab.test_export import short


@pytest.fixture(scope="module")
def trained() -> dict[str, Trained]:
    return {key: train(short(run)) for key, run in browser.RUNS.items()}


@pytest.fixture(scope="module")
def both(trained: dict[str, Trained]) -> dict[str, Any]:
    return browser.measure(trained["mode"].run, trained["mode"], num_prompts=2)


def test_a_measurement_is_plain_and_is_summed_up(both: dict[str, Any]) -> None:
    found = browser.results({"mode": both})
    assert json.loads(json.dumps(found)) == found
    assert found["summary"]["mode"]["bits_per_byte"] == pytest.approx(np.mean(both["loss"]) / np.log(2))


def test_rounding_hardly_moves_the_loss(both: dict[str, Any]) -> None:
    np.testing.assert_allclose(both["loss_rounded"], both["loss"], rtol=2e-3)


def test_shares_sum_to_one_and_information_lies_between_none_and_all(both: dict[str, Any]) -> None:
    np.testing.assert_allclose(np.sum(both["share"], axis=1), 1)
    assert len(both["domain_information"]) == len(both["share"]) == 4
    assert all(0 <= one <= 1 for one in both["domain_information"])


def test_a_guess_of_who_passes_is_scored_beside_letting_nobody_pass(both: dict[str, Any]) -> None:
    assert [one["always_skip_accuracy"] for one in both["depth"]["predicted"]] == [0.875, 0.875]


def test_samples_are_whole_characters_after_a_prompt_and_one_of_each_kind(both: dict[str, Any]) -> None:
    assert [one["domain"] for one in both["samples"]] == ["code", "cyrillic"]
    for one in both["samples"]:
        assert "\N{REPLACEMENT CHARACTER}" not in one["prompt"]
        assert PROMPT - 3 <= len(one["prompt"].encode()) <= PROMPT + 3
        assert len(one["written"].encode(errors="replace")) >= WRITTEN


def test_real_text_is_recognised_and_has_more_grams_of_its_own_kind(both: dict[str, Any]) -> None:
    assert both["real"]["recognised"] == 1
    assert both["real"]["own_grams"] > both["real"]["other_grams"]


def test_numpy_finds_the_logits_that_the_record_has_of_torch(trained: dict[str, Trained], tmp_path: Path) -> None:
    assert len(browser.CHECK_TEXT) == 64
    exports = significant(browser.artefacts(trained, tmp_path), 4)  # as a record has it
    assert {*exports} == {*browser.RUNS}
    for key, one in exports.items():
        content = (tmp_path / one["file"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (one["bytes"], one["sha256"])
        model, check = load(tmp_path / one["file"]), one["check"]
        found = forward_pass(model.arrays, model.config, [list(check["text"].encode())], causal=True).logits_BSV[0]
        for place, bytes_, logits in zip(check["places"], check["bytes"], check["logits"], strict=True):
            expected = np.array(logits) * check["unit"]
            np.testing.assert_allclose(found[place, bytes_], expected, rtol=0, atol=1e-4, err_msg=key)
