"""The depth experiment: its arms, its controls, and what it says of who passes."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from moedocs.config import TrainingConfig
from moedocs.cost import forward_flops, forward_pass, parameters
from moedocs.engine import DepthRouting, top_c
from moedocs.lab import decoding, passing
from moedocs.lab.experiments import depth
from moedocs.lab.passing import Tokens
from moedocs.lab.rounding import significant
from moedocs.lab.training import Run, Trained, train

LENGTH = 128
LEARNED = [arm for arm in depth.ARMS if arm.startswith("mod")]
TRAINED = (*depth.LAYERS, "mod-50/every-1", "mod-12.5/every-2", "random-12.5/every-2")
RANDOM = [arm for arm in depth.ARMS if arm.startswith("random")]


def short(arm: str, seed: int = 0) -> Run:
    """The run of an arm, of two steps and less text."""
    run = depth.run(arm, 4e-3, seed)
    training = TrainingConfig(steps=2, sequences=2, sequence_length=LENGTH, learning_rate=4e-3, seed=seed)
    return replace(run, training=training, domains=("headers", "latin"), look_at=(0, 2))


@pytest.fixture(scope="module")
def trained() -> dict[str, Trained]:
    return {f"{arm}/{seed}": train(short(arm, seed)) for arm in TRAINED for seed in (0, 1)}


@pytest.fixture(scope="module")
def results(trained: dict[str, Trained]) -> dict[str, Any]:
    found = depth.results({key: depth.measure(one.run, one) for key, one in trained.items()})
    read: dict[str, Any] = json.loads(json.dumps(significant(found, 4), allow_nan=False))
    return read


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    rng = np.random.default_rng(0)
    return Tokens(
        bytes_BS=rng.integers(0, 256, (40, LENGTH)),
        kind_BS=rng.integers(0, 5, (40, LENGTH)),
        entropy_BS=rng.random((40, LENGTH)),
        dense_entropy_BS=rng.random((40, LENGTH)),
    )


@pytest.mark.parametrize("arm", depth.ARMS)
def test_an_arm_differs_from_the_dense_model_in_nothing_but_its_depth(arm: str) -> None:
    run, dense = depth.run(arm, 4e-3, 1), depth.run("dense", 4e-3, 1)
    assert replace(run, model=replace(run.model, depth=None, num_layers=dense.model.num_layers)) == dense
    assert run.model.num_layers == depth.LAYERS.get(arm, 4)
    if arm in depth.DEPTHS:
        router, capacity, every = arm.replace("/every", "").split("-")
        assert depth.DEPTHS[arm].router == ("random" if router == "random" else "learned")
        assert (depth.DEPTHS[arm].capacity, depth.DEPTHS[arm].every) == (float(capacity) / 100, int(every))


@pytest.mark.parametrize("arm", RANDOM)
def test_a_random_control_has_nothing_to_learn_that_the_dense_model_has_not(arm: str) -> None:
    assert parameters(short(arm).model) == parameters(short("dense").model)
    assert arm.replace("random", "mod") in LEARNED


@pytest.mark.parametrize("arm", depth.ARMS)
def test_flops_per_token_are_those_of_a_whole_pass(arm: str) -> None:
    model = depth.run(arm, 4e-3, 0).model
    assert forward_flops(model, LENGTH) * 16 * LENGTH == forward_pass(model, 16, LENGTH).total


def test_every_choice_has_a_shallow_model_of_nearly_its_flops() -> None:
    flops = {arm: forward_flops(depth.run(arm, 4e-3, 0).model, LENGTH) for arm in depth.ARMS}
    for arm in LEARNED:
        nearest = min(abs(flops[f"shallow-{layers}"] - flops[arm]) for layers in (1, 2, 3))
        assert nearest < 0.14 * flops["dense"], arm


@pytest.mark.parametrize("capacity", [16, 32, 64, 13])
def test_a_fixed_rule_passes_as_many_tokens_of_each_sequence_as_the_router(tokens: Tokens, capacity: int) -> None:
    for name, map_BS in passing.rules(tokens, capacity).items():
        assert (map_BS.sum(1) == capacity).all(), name


def test_evenly_spaced_is_every_eighth_token_at_one_eighth() -> None:
    assert np.flatnonzero(passing.evenly_spaced((1, 32), 4)[0]).tolist() == [7, 15, 23, 31]


def test_the_highest_are_found_row_by_row_and_ties_go_to_the_earlier() -> None:
    map_BS = passing.highest(np.array([[1.0, 3.0, 3.0, 3.0], [9.0, 8.0, 7.0, 6.0]]), 2)
    assert map_BS.tolist() == [[False, True, True, False], [True, True, False, False]]


def test_what_decides_a_choice_explains_all_of_it_and_what_does_not_next_to_nothing(tokens: Tokens) -> None:
    by_byte_BS = tokens.bytes_BS % 3 == 0
    found = passing.described(by_byte_BS, tokens, 5)["explained"]
    assert found["byte"] == pytest.approx(1)
    assert max(found[name] for name in ("kind", "position", "entropy", "dense entropy")) < 0.01


def test_within_a_byte_only_what_differs_between_equal_bytes_counts(tokens: Tokens) -> None:
    hard_bytes = replace(tokens, entropy_BS=tokens.bytes_BS + 0.001 * tokens.entropy_BS)
    by_byte_BS, by_both_BS = tokens.bytes_BS > 127, tokens.entropy_BS > 0.5
    found = passing.described(by_byte_BS, hard_bytes, 5)
    assert found["correlation"]["entropy"] > 0.8
    assert found["within_byte"]["entropy"] is None or abs(found["within_byte"]["entropy"]) < 0.05
    assert passing.described(by_both_BS, hard_bytes, 5)["within_byte"]["entropy"] > 0.8


def test_a_rule_correlates_with_what_it_goes_by(tokens: Tokens) -> None:
    by_entropy = passing.rules(tokens, 16)["highest entropy"]
    found = passing.described(by_entropy, tokens, 5)
    assert found["share_by"]["entropy"][:4] == [0, 0, 0, 0]
    assert found["share_by"]["entropy"][7] > 0.6
    assert found["correlation"]["entropy"] > 0.5
    assert abs(found["correlation"]["position"]) < 0.05
    assert found["correlation"]["entropy"] == pytest.approx(
        np.corrcoef(by_entropy.ravel(), tokens.entropy_BS.ravel())[0, 1]
    )


def test_choices_without_relation_have_their_budget_in_common(tokens: Tokens) -> None:
    first, _, other = passing.rules(tokens, 32).values()
    assert passing.in_common(first, other) == pytest.approx(0.25, abs=0.05)
    assert passing.in_common(first, first) == 1.0


def test_where_all_or_none_pass_there_is_nothing_to_correlate_or_explain(tokens: Tokens) -> None:
    for map_BS in (np.ones((40, LENGTH), dtype=bool), np.zeros((40, LENGTH), dtype=bool)):
        found = passing.described(map_BS, tokens, 5)
        for name in ("correlation", "within_byte", "explained"):
            assert set(found[name].values()) == {None}


def test_agreement_counts_what_it_says() -> None:
    top = top_c(torch.tensor([[4.0, 3.0, 2.0, 1.0]]), 2)
    found = replace(top, map_BS=torch.tensor([[True, False, True, True]]))
    assert decoding.agreement(found, top) == pytest.approx(
        {"accuracy": 0.25, "always_skip_accuracy": 0.5, "recall": 0.5, "precision": 1 / 3, "share": 0.75}
    )
    nobody: DepthRouting = replace(top, map_BS=torch.zeros(1, 4, dtype=torch.bool))
    assert decoding.agreement(nobody, top)["precision"] is None


def test_the_two_readings_of_a_model_are_its_look_and_its_sampling(trained: dict[str, Trained]) -> None:
    one = trained["mod-12.5/every-2/0"]
    measured = depth.measure(one.run, one)
    assert measured["sampling"]["training_loss"] == pytest.approx(one.looks[-1].validation_loss, rel=1e-5)
    bytes_BS = measured["bytes_BS"]
    alone = torch.cat([one.model(row[None], causal=True).depths[0].map_BS for row in bytes_BS[:3]])
    assert torch.equal(alone, torch.tensor(measured["sampled"][0][:3]))
    cut = one.model(bytes_BS[:3, :50], causal=True)
    assert torch.equal(cut.depths[-1].map_BS, torch.tensor(measured["sampled"][-1][:3, :50])), "it looks ahead"


def test_results_are_whole(results: dict[str, Any]) -> None:
    assert results["steps"] == [0, 2]
    assert [len(text) for text in results["text"]] == [LENGTH, LENGTH]
    assert set(results["arms"]) == set(results["summary"]) == set(TRAINED)
    for arm in set(TRAINED) - set(depth.LAYERS):
        config = depth.DEPTHS[arm]
        found, blocks = results["arms"][arm], 4 // config.every
        assert np.array(found["losses"]).shape == (2, 2)
        assert len(found["passing"]) == 2
        assert [block["share"] for block in found["passing"][0]["blocks"]] == [config.capacity] * blocks
        assert sum(found["passing"][0]["times"]) == pytest.approx(1, abs=1e-3)
        shown = np.array(found["shown"]["training"])
        assert shown.shape == (2, 2, blocks)
        assert {row.count("1") for row in shown.flatten()} == {config.slots(LENGTH)}
        assert ("sampling" in found) == (arm in LEARNED)


def test_a_learned_arm_is_compared_with_its_random_twin(results: dict[str, Any]) -> None:
    assert list(results["comparisons"]["mod-12.5/every-2"]) == ["dense", "shallow-2", "random-12.5/every-2"]
    assert list(results["comparisons"]["shallow-1"]) == ["dense"]


def test_a_random_choice_follows_nothing_but_changes_the_entropy_of_its_own_model(results: dict[str, Any]) -> None:
    for block in results["arms"]["random-12.5/every-2"]["passing"][0]["blocks"]:
        assert abs(block["correlation"]["position"]) < 0.06
        assert abs(block["correlation"]["dense entropy"]) < 0.06
        assert abs(block["correlation"]["entropy"]) > 0.06
        assert max(block["explained"][name] for name in ("kind", "dense entropy")) < 0.02
