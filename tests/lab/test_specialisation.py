"""The experiment on specialisation: what it measures on trainings of a few steps is what loops find."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from moedocs.lab import ablation
from moedocs.lab.experiments import granularity, specialisation
from moedocs.lab.training import Run, Trained, train, validation

STEPS = 4


def test_the_trainings_are_those_of_granularity() -> None:
    assert set(specialisation.ARMS) <= set(granularity.ARMS)
    assert specialisation.run is granularity.run
    assert (specialisation.RATES, specialisation.SEEDS) == (granularity.RATES, granularity.SEEDS)


def small_run(arm: str, seed: int) -> Run:
    run = specialisation.run(arm, 4e-3, seed)
    assert run.model.routing is not None
    return replace(
        run,
        model=replace(run.model, num_layers=2, routing=replace(run.model.routing, num_experts=4)),
        training=replace(run.training, steps=STEPS, warmup_steps=0, sequence_length=24),
        domains=("code", "latin"),
        pieces=1,
        look_at=(0, 2, STEPS),
    )


@pytest.fixture(scope="module")
def trained() -> list[Trained]:
    return [train(small_run("single/global", seed)) for seed in specialisation.SEEDS]


@pytest.fixture(scope="module")
def measured(trained: list[Trained]) -> Iterator[dict[str, dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(specialisation, "ARMS", ("single/global",))
        patch.setattr(specialisation, "LOOK_AT", (0, 2, STEPS))
        patch.setattr(specialisation, "RESAMPLES", 5)
        patch.setattr(specialisation, "REPETITIONS", 3)
        yield {f"single/global/{one.run.training.seed}": specialisation.measure(one.run, one) for one in trained}


def test_results_are_plain_finite_and_small(measured: dict[str, dict[str, Any]]) -> None:
    results = specialisation.results(measured)
    written = json.dumps(results, allow_nan=False)
    assert json.loads(written) == results
    assert len(written) < 120_000
    assert [one["seed"] for one in results["arms"]["single/global"]] == list(specialisation.SEEDS)
    assert set(results["agreement"]["single/global"]) == {"0-1", "0-2", "1-2"}
    assert results["baselines"]["best_by_byte"]["information"] <= results["baselines"]["exact_byte"]["information"]


def test_tables_have_a_row_for_each_category_and_count_every_assignment(measured: dict[str, dict[str, Any]]) -> None:
    one = measured["single/global/0"]
    tokens = one["inputs"].size
    for name, names in one["categories"].items():
        table = np.array(one["results"]["last"][name]["table"])
        assert table.shape == (2, len(names), 4)
        assert table.sum((1, 2)).tolist() == [2 * tokens] * 2
    over_time = one["results"]["over_time"]
    assert {len(column) for column in over_time.values()} == {3}
    counts = np.array(over_time["table"], np.float64)
    np.testing.assert_allclose(np.array(over_time["load"]), counts.sum(2) / (2 * tokens))
    assert np.array_equal(counts[-1], one["results"]["last"]["domain"]["table"])


def test_what_changed_between_looks_is_what_a_loop_finds(
    trained: list[Trained], measured: dict[str, dict[str, Any]]
) -> None:
    over_time = measured["single/global/0"]["results"]["over_time"]
    assert over_time["changed"][0] is over_time["moved"][0] is None
    for number, (old, new) in enumerate(zip(trained[0].looks, trained[0].looks[1:], strict=False), 1):
        for layer in range(2):
            before, after = ([set(np.flatnonzero(row)) for row in look.maps[layer]] for look in (old, new))
            pairs = list(zip(before, after, strict=True))
            changed = sum(a != b for a, b in pairs) / len(pairs)
            moved = sum(len(b - a) for a, b in pairs) / (2 * len(pairs))
            assert over_time["changed"][number][layer] == pytest.approx(changed)
            assert over_time["moved"][number][layer] == pytest.approx(moved)


def test_losses_without_an_expert_are_means_over_the_tokens_of_a_category(
    trained: list[Trained], measured: dict[str, dict[str, Any]]
) -> None:
    one, bytes_BS = trained[0], validation(trained[0].run)
    found = measured["single/global/0"]["results"]["ablation"]
    assert one.run.model.routing is not None
    change = ablation._changes(one.run.model.routing, 2, Generator())
    for kind in ("rerouted", "silenced"):
        more_T = ablation.losses(ablation.changed(one.model, 1, change[kind]), bytes_BS) - ablation.losses(
            one.model, bytes_BS
        )
        expected = more_T.view(2, -1).mean(1).tolist()
        assert found[kind]["domain"][1][2] == pytest.approx(expected, abs=1e-4)
        digits_T = torch.from_numpy(np.isin(measured["single/global/0"]["inputs"], list(b"0123456789"))).flatten()
        assert found[kind]["kind of byte"][1][2][2] == pytest.approx(more_T[digits_T].mean().item(), abs=1e-4)


def test_an_interval_stands_around_the_corrected_value(measured: dict[str, dict[str, Any]]) -> None:
    for scheme in measured["single/global/0"]["results"]["last"].values():
        for layer in scheme["alone"]:
            low, high = layer["interval"]["corrected"]
            assert low <= layer["told"]["corrected"] <= high


def test_seeds_that_are_one_agree_wholly(trained: list[Trained], measured: dict[str, dict[str, Any]]) -> None:
    one = measured["single/global/0"]
    found = specialisation._agreement([one, one])["0-0"]
    assert found["overlap"] == [1, 1]
    assert max(found["shuffled"]) < 0.7
    assert all(byte < 1 for byte in found["shuffled_given_byte"])
