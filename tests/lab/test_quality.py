"""The quality experiment: equal FLOPs, arms that differ in what their name says, and what is made of their losses."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from moedocs.config import RoutingConfig, TransformerConfig
from moedocs.cost import forward_flops, forward_pass, parameters
from moedocs.engine import Transformer
from moedocs.lab.experiments import quality
from moedocs.lab.rounding import significant
from moedocs.lab.training import Run, Trained, train

LENGTH = 128
EXPERTS = [arm for arm in quality.ARMS if arm.startswith("moe")]
SPARSE_IN_DEPTH = {"mod": 0.578, "staged": 0.582, "integrated": 0.843}
BUDGETS = (4, 6, 9)
TRAINED = ("dense", "moe-4/k2", "staged", "integrated")


@pytest.fixture(scope="module")
def trained() -> dict[str, Trained]:
    return {f"{arm}/{seed}": train(short(arm, seed)) for arm in TRAINED for seed in (0, 1)}


@pytest.fixture(scope="module")
def results(trained: dict[str, Trained]) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "BUDGETS", BUDGETS)
        found = quality.results({key: quality.measure(one.run, one) for key, one in trained.items()})
    read: dict[str, Any] = json.loads(json.dumps(significant(found, 4), allow_nan=False))
    return read


def short(arm: str, seed: int) -> Run:
    """The run of an arm with smaller budgets and less text."""
    run = quality.run(arm, 4e-3, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "BUDGETS", BUDGETS)
        look_at = tuple(sorted({*BUDGETS, *quality.steps_of(arm)}))
    training = replace(run.training, steps=look_at[-1], warmup_steps=0, sequences=2)
    return replace(run, training=training, domains=("headers", "latin"), look_at=look_at)


@pytest.mark.parametrize("arm", EXPERTS)
def test_experts_take_as_many_flops_per_token_as_the_dense_model_and_their_routers(arm: str) -> None:
    model, dense = quality.MODELS[arm], quality.MODELS["dense"]
    assert model.routing is not None
    routers = 2 * 4 * 64 * model.routing.num_experts
    assert forward_flops(model, LENGTH) == forward_flops(dense, LENGTH) + routers
    assert 1 < quality.relative_flops(arm) < 1.034


@pytest.mark.parametrize("arm", SPARSE_IN_DEPTH)
def test_what_is_sparse_in_depth_takes_fewer_flops_and_so_more_steps(arm: str) -> None:
    assert quality.relative_flops(arm) == pytest.approx(SPARSE_IN_DEPTH[arm], abs=1e-3)
    for budget, steps in zip(quality.BUDGETS, quality.steps_of(arm), strict=True):
        assert steps > budget
        assert steps * quality.relative_flops(arm) == pytest.approx(budget, abs=0.5)


@pytest.mark.parametrize("arm", EXPERTS)
def test_an_arm_of_experts_is_the_dense_model_with_its_network_cut_and_multiplied(arm: str) -> None:
    model = quality.MODELS[arm]
    num_experts, top_k = map(int, arm.removeprefix("moe-").split("/k"))
    assert replace(model, routing=None, d_ff=model.d_ff * top_k) == quality.MODELS["dense"]
    expected = RoutingConfig(num_experts=num_experts, top_k=top_k, renormalise=top_k == 2, balance=quality.BALANCE)
    assert model.routing == expected


def test_staged_and_integrated_differ_from_the_experts_in_depth_alone() -> None:
    experts, integrated = quality.MODELS["moe-8/k1"], quality.MODELS["integrated"].routing
    assert integrated is not None
    assert replace(quality.MODELS["staged"], depth=None) == experts
    assert replace(quality.MODELS["staged"], routing=None) == quality.MODELS["mod"]
    assert replace(integrated, no_op_experts=0) == experts.routing
    skipped = 0.875 * len(quality.MODELS["staged"].depth_blocks) / 4
    assert integrated.no_op_experts / integrated.choices == pytest.approx(skipped, abs=0.01)


def test_a_run_is_looked_at_at_every_budget_in_tokens_and_in_flops() -> None:
    for arm in quality.ARMS:
        assert set(quality.run(arm, 4e-3, 0).look_at) == {*quality.BUDGETS, *quality.steps_of(arm)}
    assert quality.run("dense", 4e-3, 0).look_at == quality.BUDGETS


def test_training_flops_are_three_passes_over_every_token_read(trained: dict[str, Trained]) -> None:
    for arm in ("dense", "moe-4/k2", "staged"):
        one = trained[f"{arm}/0"]
        per_token = 3 * forward_flops(one.run.model, LENGTH)
        steps = np.array([look.step for look in one.looks])
        assert quality.training_flops(one.run, one.looks) == pytest.approx(per_token * steps * 2 * LENGTH)


def test_flops_with_no_ops_are_those_of_the_experts_that_were_really_met(trained: dict[str, Trained]) -> None:
    one = trained["integrated/0"]
    found = np.array(quality.training_flops(one.run, one.looks))
    all_meet, none_meets = (_per_step(one.run.model, share) * np.array(one.run.look_at) for share in (1, 0))
    assert (found < all_meet).all()
    assert (found > none_meets).all()
    saved = (all_meet - found) / (all_meet - none_meets)
    shares = quality.measure(one.run, one)["no_op_shares"]
    assert saved[0] == pytest.approx(shares[0], rel=1e-3)
    assert min(shares) - 1e-3 <= saved[-1] <= max(shares) + 1e-3


def _per_step(model: TransformerConfig, share: int) -> int:
    return 3 * forward_pass(model, 2, LENGTH, assignments=[share * 2 * LENGTH] * 4).total


def test_parameters_and_bytes_are_those_of_the_model(results: dict[str, Any]) -> None:
    for arm in TRAINED:
        weights = Transformer(quality.MODELS[arm], generator=torch.Generator()).state_dict().values()
        total = sum(one.numel() for one in weights if one.is_floating_point())
        assert parameters(quality.MODELS[arm]).total == total, arm
        assert results["arms"][arm]["bytes"] == {"float32": 4 * total, "bfloat16": 2 * total}


def test_results_are_whole(results: dict[str, Any]) -> None:
    assert results["budgets"]["steps"] == list(BUDGETS)
    for arm in TRAINED:
        found, looks = results["arms"][arm], len(results["arms"][arm]["steps"])
        for name in ("losses", "training_flops", "cpu_seconds", "no_op_shares"):
            assert np.array(found[name]).shape == (2, looks)
        assert np.array(found["at_flops"]).shape == np.array(found["at_tokens"]).shape == (2, len(BUDGETS))
        assert np.isfinite(found["fit"]["law"]["exponent"])


def test_losses_at_equal_flops_were_reached_with_equal_flops(results: dict[str, Any]) -> None:
    budgets = np.array(results["budgets"]["training_flops"])
    for arm in TRAINED:
        found = results["arms"][arm]
        at = [found["losses"][0].index(loss) for loss in found["at_flops"][0]]
        spent = np.array(found["training_flops"][0])[at]
        # integrated: no-ops are met more or less often than experts are
        assert spent == pytest.approx(budgets, rel=0.15 if arm == "integrated" else 0.04), arm


def test_differences_are_of_losses_at_the_same_budget(results: dict[str, Any]) -> None:
    arm, dense = (np.array(results["arms"][name]["at_flops"]) for name in ("staged", "dense"))
    found = [one["mean"] for one in results["comparisons"]["staged - dense"]["at_flops"]]
    assert found == pytest.approx((arm - dense).mean(0), abs=2e-3)
    words = {one["verdict"] for pair in results["comparisons"].values() for side in pair.values() for one in side}
    assert words <= {"better", "worse", "within noise"}
