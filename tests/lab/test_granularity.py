"""The experiment on the scope of balance: its arms cut a step as they say, and what it measures means what it says."""

from dataclasses import replace
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Generator

from moedocs.config import BalanceConfig, RoutingConfig
from moedocs.engine import Output, category_load, normalised_mutual_information
from moedocs.lab.experiments import granularity
from moedocs.lab.training import Run, Trained, balancing, train, validation

RATE = 4e-3
PARTS = {"sequence": 16, "micro-batch": 4, "global": 1}


def routing(run: Run) -> RoutingConfig:
    assert run.model.routing is not None
    return run.model.routing


@pytest.mark.parametrize("text", granularity.PIECES)
@pytest.mark.parametrize("scope", granularity.SCOPES)
def test_scopes_differ_in_the_balance_alone_and_texts_in_the_pieces_alone(text: str, scope: str) -> None:
    run, none = granularity.run(f"{text}/{scope}", RATE, 1), granularity.run(f"{text}/none", RATE, 1)
    unbalanced = replace(run.model, routing=replace(routing(run), balance=BalanceConfig()))
    assert replace(run, model=unbalanced) == none
    assert replace(run, pieces=4) == granularity.run(f"mixed/{scope}", RATE, 1)


@pytest.fixture(scope="module")
def done() -> Trained:
    """A real training of a few steps: both ends of it are looked at."""
    run = granularity.run("mixed/sequence", RATE, 0)
    short = replace(run.training, steps=4, warmup_steps=0)
    return train(replace(run, training=short, look_at=(0, 4)))


@pytest.fixture(scope="module")
def output(done: Trained) -> Output:
    """What the model makes of 16 sequences, two of each kind of text."""
    found: Output = done.model(validation(done.run)[::8, :-1], generator=Generator().manual_seed(0))
    return found


@pytest.mark.parametrize("scope", PARTS)
def test_a_scope_asks_for_balance_in_each_of_its_parts(scope: str, output: Output) -> None:
    expected = 0.0
    for one in output.routings:
        parts = zip(one.chosen_TE.float().chunk(PARTS[scope]), one.probs_TE.chunk(PARTS[scope]), strict=True)
        losses = [8 * (chosen_TE.mean(0) / 2 * probs_TE.mean(0)).sum().item() for chosen_TE, probs_TE in parts]
        assert len(losses) == PARTS[scope]
        expected += granularity.WEIGHT * mean(losses)
    added = balancing(granularity.run(f"single/{scope}", RATE, 0), output, 0.0)
    assert added.item() == pytest.approx(expected, rel=1e-5)


def test_a_smaller_scope_finds_more_to_balance(output: Output) -> None:
    added = [balancing(granularity.run(f"single/{scope}", RATE, 0), output, 0.0).item() for scope in PARTS]
    assert added == sorted(added, reverse=True)
    assert len(set(added)) == 3
    assert balancing(granularity.run("single/none", RATE, 0), output, 0.0) == 0


def test_there_is_a_finite_number_for_each_look_and_layer(done: Trained) -> None:
    measured = granularity.measure(done.run, done)
    tables = [measured["largest_share"], measured["sequence_share"], *measured["information"].values()]
    assert np.shape(tables) == (7, 2, 4)
    assert np.isfinite(tables).all()
    assert (np.array(measured["sequence_share"]) > measured["largest_share"]).all()
    assert measured["validation_loss"][-1] == pytest.approx(mean(measured["domain_loss"]), rel=1e-6)
    assert len(measured["domain_loss"]) == 8


def test_information_is_that_of_the_engines_own_counts(done: Trained) -> None:
    inputs_BS = validation(done.run)[:, :-1]
    routings = done.model(inputs_BS, generator=Generator().manual_seed(0)).routings
    domain_T = torch.arange(8).repeat_interleave(inputs_BS.numel() // 8)
    found = granularity.measure(done.run, done)["information"]
    for name, corrected in (("raw", False), ("corrected", True)):
        expected = [
            normalised_mutual_information(category_load(one, domain_T, 8), corrected=corrected).item()
            for one in routings
        ]
        assert found[name][-1] == pytest.approx(expected, rel=1e-3), name


def told(done: Trained, expert_T: NDArray[np.int64]) -> dict[str, Any]:
    """What is measured where every layer sends each token to this one expert."""
    map_TE = np.eye(8, dtype=bool)[expert_T]
    one = replace(done.looks[0], maps=(map_TE,))
    measured = granularity.measure(done.run, replace(done, looks=[one]))
    information = {name: values[0][0] for name, values in measured["information"].items()}
    return information | {name: measured[name][0][0] for name in ("largest_share", "sequence_share")}


def test_an_expert_for_each_kind_of_text_is_even_over_all_and_uneven_in_every_sequence(done: Trained) -> None:
    found = told(done, np.arange(8).repeat(len(done.looks[0].maps[0]) // 8))
    assert (found["largest_share"], found["sequence_share"]) == pytest.approx((1 / 8, 1))
    assert found["raw"] == pytest.approx(1)
    assert found["shuffled"] < 0.01


def test_experts_that_are_dealt_out_tell_no_more_than_kinds_that_are(done: Trained) -> None:
    found = told(done, np.random.default_rng(0).integers(8, size=len(done.looks[0].maps[0])))
    assert 0 < found["raw"] < 0.01
    assert abs(found["corrected"]) < found["raw"] / 2
    # of bytes that are rare the correction leaves some chance over: hence the baseline
    assert abs(found["given_byte"] - found["given_byte_shuffled"]) < 0.01


def test_experts_that_know_the_byte_alone_tell_of_the_kind_of_text_but_nothing_given_the_byte(done: Trained) -> None:
    byte_T = validation(done.run)[:, :-1].flatten().numpy()
    found = told(done, np.random.default_rng(0).integers(8, size=256)[byte_T])
    assert found["corrected"] > 0.02
    assert (found["given_byte"], found["given_byte_shuffled"]) == pytest.approx((0, 0), abs=1e-12)


def test_the_summary_is_the_end_of_the_curves_and_differences_are_of_the_same_seed(done: Trained) -> None:
    real = granularity.measure(done.run, done)
    losses = {("single/none", 0): 3.0, ("single/none", 1): 2.0, ("single/global", 1): 2.5, ("single/global", 2): 0.5}
    measured = {
        f"{arm}/{seed}": real | {"validation_loss": [9.0, losses.get((arm, seed), 1.0)]}
        for arm in granularity.ARMS
        for seed in granularity.SEEDS
    }
    found = granularity.results(measured)
    none_less_global = {"each": [2.0, -0.5, 0.5], "mean": pytest.approx(2 / 3), "least": -0.5, "most": 2.0}
    assert found["differences"]["single"]["none"]["global"] == none_less_global
    assert found["differences"]["mixed"]["sequence"]["micro-batch"]["each"] == [0, 0, 0]
    summary = found["summary"]["single/none"]
    assert summary["validation_loss"] == {"mean": 2.0, "least": 1.0, "most": 3.0}
    for name, values in (("corrected", real["information"]["corrected"]), ("sequence_share", real["sequence_share"])):
        assert summary[name]["mean"] == pytest.approx(mean(values[-1])), name
