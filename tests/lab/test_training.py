"""A training: the same bits from the same description, taken up anywhere, stopped where its numbers end."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig
from moedocs.engine import (
    Output,
    Transformer,
    auxiliary_loss,
    importance_loss,
    l1_loss,
    load,
    load_loss,
    pooled,
    sampling_loss,
    z_loss,
)
from moedocs.lab import training
from tests.lab import tiny

DEPTH = DepthConfig(capacity=0.25, sampling="predictor", sampling_weight=0.5)
STEPS = 6


def routing(**changed: Any) -> RoutingConfig:
    return RoutingConfig(**{"num_experts": 4, "top_k": 2} | changed)


def balanced(router: str = "softmax", **weights: Any) -> RoutingConfig:
    return routing(router=router, balance=BalanceConfig(**weights))


def run(routing: RoutingConfig | None = None, depth: DepthConfig | None = None, **changed: Any) -> training.Run:
    steps = changed.pop("steps", STEPS)
    given = {
        "model": tiny.model(routing=routing, depth=depth),
        "training": tiny.training(steps=steps),
        "look_at": (0, steps),
    }
    return tiny.run(**(given | changed))


KINDS = {
    "dense": run(),
    "depth": run(None, DEPTH),
    "random depth": run(None, DepthConfig(capacity=0.25, router="random")),
    "staged": run(balanced(auxiliary_weight=0.1, auxiliary_over="sequence"), DEPTH),
    "integrated": run(routing(no_op_experts=2)),
    "bias": run(balanced(bias_rate=0.01)),
    "noisy": run(balanced("noisy", importance_weight=0.1, load_weight=0.1)),
    "gshard": run(balanced("gshard", auxiliary_weight=0.1)),
    "relu": run(balanced("relu", l1_weight=1e-3)),
    "base": run(routing(router="base", top_k=1)),
    "hash": run(routing(router="hash"), DEPTH),
    "random capacity": run(routing(capacity_factor=0.5, capacity_order="random")),
    "pooled": run(balanced(auxiliary_weight=0.1, auxiliary_pooled=True, z_weight=0.1)),
    "micro-batches": run(
        balanced(auxiliary_weight=0.1, auxiliary_over="micro-batch"),
        training=replace(tiny.training(steps=STEPS), micro_batches=2),
        pieces=2,
    ),
}


# the same bits


@pytest.mark.parametrize("kind", KINDS)
def test_two_trainings_of_one_description_are_equal_to_the_last_bit(kind: str) -> None:
    assert same(contents(training.Training(KINDS[kind])), contents(training.Training(KINDS[kind])))


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_taken_up_between_any_two_steps_ends_as_if_it_had_never_stopped(kind: str) -> None:
    whole = contents(training.Training(KINDS[kind]))
    for cut in (0, 1, 3, STEPS):
        begun = training.Training(KINDS[kind])
        advance(begun, cut)
        again = training.Training(KINDS[kind])
        again.resume(written_and_read(begun.state()))
        assert again.step == cut
        assert same(contents(again), whole), cut


def test_a_training_does_not_depend_on_the_threads_it_finds_and_leaves_them_alone() -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(contents(training.Training(KINDS["staged"])))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_arms_of_one_seed_start_from_the_same_weights_and_text_and_then_part() -> None:
    rules = (BalanceConfig(), BalanceConfig(auxiliary_weight=0.1), BalanceConfig(bias_rate=0.1))
    arms = [training.train(run(routing(balance=rule))).losses for rule in rules]
    other = training.train(run(routing(), training=tiny.training(seed=1, steps=STEPS))).losses
    assert len({losses[0] for losses in arms}) == 1
    assert len({losses[-1] for losses in arms}) == 3
    assert other[0] != arms[0][0]


def test_the_first_steps_alone_are_the_first_steps_of_the_whole() -> None:
    for kind in ("noisy", "bias"):
        assert training.train(KINDS[kind], steps=3).losses == training.train(KINDS[kind]).losses[:3]


def test_a_look_changes_nothing_that_comes_after() -> None:
    for kind in ("noisy", "random depth"):
        seen, unseen = (training.train(replace(KINDS[kind], look_at=steps)).losses for steps in ((0, 1, 2, 6), ()))
        assert seen == unseen


# learning


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_learns(kind: str) -> None:
    first, last = training.train(KINDS[kind]).looks
    assert (first.step, last.step) == (0, STEPS)
    assert last.validation_loss < first.validation_loss


def test_the_bias_evens_out_the_load_of_a_longer_training() -> None:
    last = {}
    for rule in (BalanceConfig(), BalanceConfig(bias_rate=0.03)):
        last[rule] = training.train(run(routing(top_k=1, renormalise=False, balance=rule), steps=60)).looks[-1]
    none, bias = (float(look.share_LE.max(1).mean()) for look in last.values())
    assert bias < none - 0.05


# stopping


def wild(rate: float, steps: int, **changed: Any) -> training.Run:
    return run(training=tiny.training(rate, steps=steps), look_at=(0, steps), steps=steps, **changed)


@pytest.mark.parametrize("rate", [1e30, 1e38])
@pytest.mark.parametrize("experts", [None, routing()])
def test_a_loss_that_is_not_finite_stops_the_training_at_its_step(experts: RoutingConfig | None, rate: float) -> None:
    with pytest.raises(training.TrainingError, match=r"^training stopped at step 1: .*(nan|inf)"):
        training.train(wild(rate, 3, model=tiny.model(routing=experts)))


@pytest.mark.parametrize("experts", [None, routing()])
def test_a_model_broken_by_the_last_step_is_noticed_when_it_is_looked_at(experts: RoutingConfig | None) -> None:
    with pytest.raises(training.TrainingError, match=r"^training stopped at step 1: .*(nan|inf)"):
        training.train(wild(1e30, 1, model=tiny.model(routing=experts)))


def test_a_gradient_that_is_not_finite_stops_the_training_though_its_loss_is() -> None:
    enormous = balanced(auxiliary_weight=1e38)
    with pytest.raises(
        training.TrainingError, match=r"step 0: loss \d\.\d+, balancing \d\.\d+e\+38, gradient norm (inf|nan)"
    ):
        training.train(run(enormous))


# descriptions


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"pieces": 3}, "pieces=3 must lie in 1..2"),
        ({"pieces": 0}, "pieces=0 must lie in 1..2"),
        ({"look_at": (0, 7)}, r"look_at=\(0, 7\) must lie in 0..steps=6"),
        ({"look_at": (-1,)}, r"look_at=\(-1,\) must lie in"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_with_its_numbers(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        run(**changed)


# what a training adds to its loss


def passed(one: training.Run) -> Output:
    model = Transformer(one.model, generator=torch.Generator().manual_seed(0))
    shape = (one.training.sequences, one.training.sequence_length)
    text_BS = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1))
    output: Output = model(text_BS, generator=torch.Generator().manual_seed(2))
    return output


def added(routing: RoutingConfig | None, depth: DepthConfig | None = None) -> tuple[Tensor, Output]:
    one = run(routing, depth)
    output = passed(one)
    return training.balancing(one, output, routing.balance.l1_weight if routing else 0.0), output


def total(losses: Any) -> Tensor:
    return torch.stack(list(losses)).sum()


def test_each_loss_is_summed_over_layers_with_its_weight() -> None:
    found, output = added(balanced(auxiliary_weight=0.1, z_weight=0.2, importance_weight=0.3))
    weighted = [0.1 * auxiliary_loss(one) + 0.2 * z_loss(one) + 0.3 * importance_loss(one) for one in output.routings]
    torch.testing.assert_close(found, total(weighted))


def test_pooled_layers_share_one_auxiliary_loss() -> None:
    found, output = added(balanced(auxiliary_weight=0.1, auxiliary_pooled=True))
    torch.testing.assert_close(found, 0.1 * auxiliary_loss(pooled(output.routings)))


def test_load_and_l1_losses_read_what_their_routers_leave() -> None:
    found, output = added(balanced("noisy", load_weight=0.1))
    torch.testing.assert_close(found, total(0.1 * load_loss(one) for one in output.routings))
    found, output = added(balanced("relu", l1_weight=0.1))
    torch.testing.assert_close(found, total(0.1 * l1_loss(one, top_k=2) for one in output.routings))


def test_within_a_block_that_few_pass_a_sequence_is_what_passes() -> None:
    found, output = added(balanced(auxiliary_weight=0.1, auxiliary_over="sequence"), DEPTH)
    whole, short = output.routings
    assert (len(whole.map_TE), len(short.map_TE)) == (2 * 32, 2 * 8)
    sequences = auxiliary_loss(whole, group_size=32) + auxiliary_loss(short, group_size=8)
    torch.testing.assert_close(found, 0.1 * sequences + sampling_loss(output.depths, DEPTH))


def test_a_step_is_cut_into_micro_batches_only_for_the_loss_over_them() -> None:
    cut = replace(tiny.training(), sequences=4, micro_batches=2)
    for over, group_size in (("micro-batch", 64), ("sequence", 32), ("batch", 128)):
        one = run(balanced(auxiliary_weight=0.1, auxiliary_over=over), training=cut)
        output = passed(one)
        expected = total(0.1 * auxiliary_loss(routing, group_size=group_size) for routing in output.routings)
        torch.testing.assert_close(training.balancing(one, output, 0.0), expected)


def test_a_dense_model_adds_nothing() -> None:
    assert added(None)[0] == 0


@pytest.mark.parametrize(("top_k", "factor"), [(1, 1.2), (4, 1 / 1.2)])
def test_the_l1_weight_follows_the_experts_that_tokens_have(top_k: int, factor: float) -> None:
    one = run(balanced("relu", l1_weight=0.1))
    output = passed(one)
    assert 1 < load(pooled(output.routings)).sum() / (2 * 64) < 4
    wanted = replace(one.model, routing=routing(top_k=top_k))
    assert training._next_l1_weight(0.1, wanted, output) == pytest.approx(0.1 * factor)
    assert training._next_l1_weight(0.0, wanted, output) == 0


# helpers


def advance(one: training.Training, steps: int) -> None:
    while one.step < steps:
        one.advance()


def contents(one: training.Training) -> dict[str, Any]:
    """All that a training leaves, but for the time it took."""
    advance(one, STEPS)
    one.finish()
    return one.state() | {"cpu_seconds": 0.0}


def written_and_read(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    read: dict[str, Any] = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    return read


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, at any depth."""
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other))
