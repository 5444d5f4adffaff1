"""Experiments at another size: what stays, what grows, and what they would take."""

import math
from dataclasses import asdict, replace
from importlib import import_module
from typing import Any

import pytest

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TrainingConfig
from moedocs.cost import parameters
from moedocs.lab import experiments, plan, small
from moedocs.lab.records import module_of
from moedocs.lab.scale import SCALES, Scale, refuse_too_little_text, scaled, tokens
from moedocs.lab.training import Run
from moedocs.problem import Problem

LARGE = SCALES["large"]
ROUTING = RoutingConfig(num_experts=8, top_k=2, balance=BalanceConfig(bias_rate=0.01, auxiliary_weight=0.1))


def run() -> Run:
    return Run(
        model=small.model(routing=ROUTING, first_dense=1, dense_d_ff=64, num_kv_heads=2),
        training=small.training(4e-3, 1, 300, decay_steps=30, micro_batches=4),
        domains=small.DOMAINS,
        pieces=2,
        look_at=(0, 10, 300),
    )


def test_the_small_scale_is_the_run_itself() -> None:
    assert scaled(run(), SCALES["small"]) == run()
    for name in experiments.names():
        for one in plan.listed(import_module(module_of(name))).values():
            assert scaled(one, SCALES["small"]) == one


def test_the_large_scale_changes_sizes_and_nothing_else() -> None:
    large, usual = asdict(scaled(run(), LARGE)), asdict(run())
    assert large["model"]["d_model"] == 512
    assert large["model"]["num_layers"] == 12
    assert (large["model"]["num_heads"], large["model"]["num_kv_heads"]) == (8, 4)
    assert (large["model"]["d_ff"], large["model"]["dense_d_ff"], large["model"]["first_dense"]) == (1024, 512, 3)
    assert large["look_at"] == (0, 1000, 30000)
    training = large["training"]
    assert (training["steps"], training["warmup_steps"], training["decay_steps"]) == (30000, 2000, 3000)
    assert (training["sequences"], training["sequence_length"], training["micro_batches"]) == (64, 1024, 4)
    assert (training["learning_rate"], training["seed"]) == (1e-3, 1)
    large["model"]["routing"]["balance"]["bias_rate"] *= 10
    assert large["model"]["routing"] == usual["model"]["routing"]
    assert (large["domains"], large["pieces"]) == (usual["domains"], usual["pieces"])


def test_a_shallow_control_stays_as_much_shallower_and_depth_keeps_its_share() -> None:
    shallow = replace(run(), model=small.model(num_layers=2))
    deep = replace(run(), model=small.model(depth=DepthConfig(capacity=0.125)))
    assert scaled(shallow, LARGE).model.num_layers == 6
    assert len(scaled(deep, LARGE).model.depth_blocks) == 6
    assert scaled(deep, LARGE).model.depth == deep.model.depth


@pytest.mark.parametrize("wrong", [{"width": 0}, {"layers": 1.5}, {"rate": -1.0}, {"rate": math.nan}, {"steps": True}])
def test_a_scale_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}="):
        Scale(**wrong)


def test_a_large_run_refuses_the_standard_text_in_one_line() -> None:
    one = replace(run(), domains=("headers",), pieces=1)
    refuse_too_little_text(one)
    said = r"^a run of 1,966,080,000 bytes would read the [\d,]+ bytes of headers [\d,]+ times, .* --text FOLDER$"
    with pytest.raises(Problem, match=said):
        refuse_too_little_text(scaled(one, LARGE))


@pytest.mark.parametrize("name", experiments.names())
def test_every_experiment_can_be_planned_at_the_large_scale(name: str) -> None:
    runs = {key: scaled(one, LARGE) for key, one in plan.listed(import_module(module_of(name))).items()}
    found = plan.plan(runs)
    assert found.runs.keys() == runs.keys()
    assert all(one.hours > 0 and one.state_bytes < found.device.memory for one in found.runs.values())
    assert f"{len(runs)} runs: " in plan.table(found)


def test_a_plan_counts_what_the_run_says() -> None:
    model = small.model()
    training = TrainingConfig(steps=10, sequences=2, sequence_length=64, learning_rate=1e-3)
    one = Run(model=model, training=training, domains=("code",))
    found = plan.plan({"one": one, "two": one}, "A100 80GB", utilisation=0.5)
    needs = found.runs["one"]
    assert needs.parameters == needs.active == parameters(model).total
    assert needs.tokens == tokens(one) == 10 * 2 * 64
    # 2 FLOPs for each weight but norms and embedding, and 4·D for each pair in attention's causal half; 3 times that
    weights = needs.parameters - 9 * 64 - 256 * 64
    forward = 128 * 2 * weights + 4 * 4 * 64 * 2 * (64 * 65 // 2)
    assert needs.flops == 10 * 3 * forward
    assert needs.state_bytes == 16 * needs.parameters
    assert needs.hours == pytest.approx(needs.flops / (0.5 * 312e12) / 3600)
    assert found.hours == pytest.approx(2 * needs.hours)


def test_devices_divide_the_states_of_experts_alone() -> None:
    one, four = (plan.plan({"a": run()}, devices=devices).runs["a"] for devices in (1, 4))
    experts = parameters(run().model).experts
    assert one.state_bytes - four.state_bytes == 16 * (experts - experts // 4)


def test_where_drops_decide_the_flops_they_are_those_of_an_even_load() -> None:
    dropless = RoutingConfig(num_experts=8, top_k=2)
    known, unknown = (
        plan.plan({"a": replace(run(), model=small.model(routing=routing))}).runs["a"].flops
        for routing in (dropless, replace(dropless, capacity_factor=1.25))
    )
    assert unknown == pytest.approx(known, rel=0.01)


def test_a_utilisation_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^utilisation=0 must lie above 0"):
        plan.plan({}, utilisation=0)
