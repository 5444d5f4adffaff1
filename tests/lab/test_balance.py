"""The experiment on balancing rules: its arms differ in what they are called by, and what it measures adds up."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from moedocs.config import BalanceConfig, RoutingConfig
from moedocs.engine import Transformer, load_imbalance
from moedocs.lab.experiments import balance
from moedocs.lab.looks import Look
from moedocs.lab.training import Trained, train

RATE = 4e-3


def routing(arm: str) -> RoutingConfig:
    found = balance.run(arm, RATE, 0).model.routing
    assert found is not None
    return found


def trained(arm: str, steps: int = 4, looks: tuple[int, ...] = (0, 4)) -> Trained:
    run = balance.run(arm, RATE, 0)
    short = replace(run.training, steps=steps, warmup_steps=0)
    return train(replace(run, training=short, look_at=looks))


@pytest.mark.parametrize("arm", balance.ARMS)
def test_an_arm_differs_from_none_of_the_same_k_only_in_router_and_balance(arm: str) -> None:
    run, none = balance.run(arm, RATE, 1), balance.run(f"none/{arm.partition('/')[2]}", RATE, 1)
    assert none.model.routing is not None
    same = replace(run, model=replace(run.model, routing=none.model.routing))
    assert same == none
    rest = {name: getattr(none.model.routing, name) for name in ("router", "renormalise", "capacity_factor", "balance")}
    assert replace(routing(arm), **rest) == none.model.routing


@pytest.mark.parametrize("top_k", [1, 2])
def test_each_rule_sets_its_own_weight_and_no_other(top_k: int) -> None:
    weights = {rule: routing(f"{rule}/k{top_k}").balance for rule in balance.RULES}
    for weight in (0.0001, 0.001, 0.01, 0.1, 1.0):
        assert weights.pop(f"auxiliary-{weight:g}") == BalanceConfig(auxiliary_weight=weight)
    assert weights == {
        "none": BalanceConfig(),
        "z": BalanceConfig(z_weight=0.001),
        "auxiliary+z": BalanceConfig(auxiliary_weight=0.01, z_weight=0.001),
        "importance+load": BalanceConfig(importance_weight=0.1, load_weight=0.1),
        "bias": BalanceConfig(bias_rate=0.01),
        "expert-choice": BalanceConfig(),
        "constant": BalanceConfig(constant_weight=0.01),
    }


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("rule", ["none", "auxiliary-0.01", "bias"])
def test_gate_and_rule_are_told_apart(rule: str, top_k: int) -> None:
    competing, single = routing(f"{rule}/k{top_k}"), routing(f"sigmoid-{rule}/k{top_k}")
    assert (competing.router, single.router) == ("softmax", "sigmoid")
    assert replace(single, router="softmax") == competing


def test_one_expert_of_128_and_two_of_64_are_as_many_products_a_token() -> None:
    for arm in balance.ARMS:
        config = balance.run(arm, RATE, 0).model
        assert config.routing is not None
        assert config.d_ff * config.routing.top_k == 128


def test_arms_of_one_seed_and_k_start_from_the_same_weights() -> None:
    for top_k in (1, 2):
        models = [
            Transformer(balance.run(arm, RATE, 2).model, generator=torch.Generator().manual_seed(2)).state_dict()
            for arm in balance.ARMS
            if arm.endswith(f"/k{top_k}")
        ]
        for name, weight in models[0].items():
            assert all(torch.equal(weight, model[name]) for model in models), name


@pytest.fixture(scope="module")
def some() -> dict[str, tuple[Trained, dict[str, Any]]]:
    arms = ("none/k1", "importance+load/k2", "expert-choice/k1", "constant/k1")
    done = {arm: trained(arm) for arm in arms}
    return {arm: (one, balance.measure(one.run, one)) for arm, one in done.items()}


def test_shares_and_probabilities_of_a_layer_sum_to_one(some: dict[str, tuple[Trained, dict[str, Any]]]) -> None:
    for arm, (_, measured) in some.items():
        share_NLE, probability_NLE = np.array(measured["share"]), np.array(measured["probability"])
        assert share_NLE.shape == (2, 4, 8), arm
        assert probability_NLE.shape == (1, 4, 8), arm  # of the looks here only that at step 0 is one of those kept
        np.testing.assert_allclose(share_NLE.sum(-1), 1)
        np.testing.assert_allclose(probability_NLE.sum(-1), 1, atol=1e-5)


def test_every_number_is_finite_and_there_is_one_a_look(some: dict[str, tuple[Trained, dict[str, Any]]]) -> None:
    for arm, (_, measured) in some.items():
        for name, values in measured.items():
            assert np.isfinite(values).all(), (arm, name)
            assert name in ("seed", "probability") or len(values) == 2, (arm, name)
        entropies = np.array([measured["load_entropy"], measured["router_entropy"]])
        assert ((entropies >= 0) & (entropies <= [[[1]], [[np.log(8)]]])).all(), arm


def test_the_largest_share_times_e_is_the_load_imbalance(some: dict[str, tuple[Trained, dict[str, Any]]]) -> None:
    done, measured = some["none/k1"]
    for look, largest in zip(done.looks, measured["largest_share"], strict=True):
        imbalance = [load_imbalance(torch.from_numpy(map_TE.sum(0))).item() for map_TE in look.maps]
        assert 8 * largest == pytest.approx(np.mean(imbalance))


def test_expert_choice_is_even_and_pays_in_tokens_that_nobody_takes(
    some: dict[str, tuple[Trained, dict[str, Any]]],
) -> None:
    done, measured = some["expert-choice/k1"]
    np.testing.assert_allclose(measured["share"], 1 / 8)
    for look, unserved_L in zip(done.looks, measured["unserved"], strict=True):
        lonely = [sum(not any(row) for row in map_TE.tolist()) / len(map_TE) for map_TE in look.maps]
        assert unserved_L == pytest.approx(lonely)
        assert min(lonely) > 0.02
    assert not any("unserved" in found for arm, (_, found) in some.items() if arm != "expert-choice/k1")


def test_the_constant_loss_is_constant_and_trains_as_no_rule_does(
    some: dict[str, tuple[Trained, dict[str, Any]]],
) -> None:
    constant, none = some["constant/k1"], some["none/k1"]
    np.testing.assert_allclose(constant[1]["balancing"], 4 * 0.01 / 8, rtol=1e-5)
    assert none[1]["balancing"] == [0, 0]
    np.testing.assert_allclose(constant[0].losses, none[0].losses, rtol=1e-4)


def test_an_expert_is_dead_where_no_byte_of_the_validation_text_goes_to_it() -> None:
    map_TE = np.zeros((5, 8), bool)
    map_TE[np.arange(5), [0, 0, 0, 3, 7]] = True
    real = trained("none/k1", steps=1, looks=(1,))
    numbers = np.zeros(8, np.float32)
    made = Look(1, loss_D=numbers, entropy_L=numbers[:1], probs_LE=numbers[None], maps=(map_TE,), passed=())
    assert balance.measure(real.run, replace(real, looks=[made]))["dead"] == [[5]]


def test_the_summary_is_the_end_of_the_curves_over_seeds(
    some: dict[str, tuple[Trained, dict[str, Any]]],
) -> None:
    _, measured = some["none/k1"]
    other = measured | {"validation_loss": [5.0, 1.0], "dead": [[0, 0, 0, 0], [1, 0, 2, 0]]}
    runs = {f"{arm}/{seed}": other if seed == 1 else measured for arm in balance.ARMS for seed in balance.SEEDS}
    found = balance.results(runs)
    assert found["steps"] == list(balance.LOOK_AT)
    assert set(found["summary"]) == set(balance.ARMS)
    summary, loss = found["summary"]["bias/k2"], measured["validation_loss"][-1]
    assert summary["validation_loss"] == pytest.approx({"least": 1.0, "most": loss, "mean": (2 * loss + 1) / 3})
    assert (summary["dead"]["least"], summary["dead"]["most"]) == (sum(measured["dead"][-1]), 3)
