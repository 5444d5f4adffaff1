"""What a training adds to its loss, draws and updates, for descriptions of every kind."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TrainingConfig, TransformerConfig
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

SHAPE: dict[str, Any] = {"vocab_size": 256, "d_model": 16, "num_layers": 2, "num_heads": 2, "d_ff": 16}
SCHEDULE = TrainingConfig(steps=3, sequences=2, sequence_length=16, learning_rate=1e-2)
DEPTH = DepthConfig(capacity=0.25, sampling="predictor", sampling_weight=0.5)


def routing(**changed: Any) -> RoutingConfig:
    return RoutingConfig(**{"num_experts": 4, "top_k": 2} | changed)


def balanced(router: str = "softmax", **weights: Any) -> RoutingConfig:
    return routing(router=router, balance=BalanceConfig(**weights))


def run(routing: RoutingConfig | None, depth: DepthConfig | None = None) -> training.Run:
    model = TransformerConfig(**SHAPE, routing=routing, depth=depth)
    return training.Run(model=model, training=SCHEDULE, domains=("headers",), look_at=(0, 3))


KINDS = {
    "dense": run(None),
    "depth": run(None, DEPTH),
    "random depth": run(None, DepthConfig(capacity=0.25, router="random")),
    "staged": run(balanced(auxiliary_weight=0.1, auxiliary_over="sequence"), DEPTH),
    "integrated": run(routing(no_op_experts=2)),
    "noisy": run(balanced("noisy", importance_weight=0.1, load_weight=0.1)),
    "gshard": run(balanced("gshard", auxiliary_weight=0.1)),
    "relu": run(balanced("relu", l1_weight=1e-3)),
    "base": run(routing(router="base", top_k=1)),
    "hash": run(routing(router="hash"), DEPTH),
    "random capacity": run(routing(capacity_factor=0.5, capacity_order="random")),
    "pooled": run(balanced(auxiliary_weight=0.1, auxiliary_pooled=True, z_weight=0.1)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_trains_and_its_draws_come_from_the_seed(kind: str) -> None:
    first, again = (training.train(KINDS[kind]) for _ in range(2))
    assert first.losses == again.losses
    assert [look.share_LE for look in first.looks] == [look.share_LE for look in again.looks]
    assert first.looks[1].validation_loss < first.looks[0].validation_loss
    assert all(sum(share_E) == pytest.approx(1) for look in first.looks for share_E in look.share_LE)


def test_a_look_changes_nothing_that_comes_after() -> None:
    for kind in ("noisy", "random depth"):
        seen, unseen = (training.train(replace(KINDS[kind], look_at=steps)).losses for steps in ((0, 1, 2), ()))
        assert seen == unseen


def passed(config: TransformerConfig, sequences: int = 3) -> Output:
    model = Transformer(config, generator=torch.Generator().manual_seed(0))
    text_BS = torch.randint(0, 256, (sequences, 16), generator=torch.Generator().manual_seed(1))
    output: Output = model(text_BS, generator=torch.Generator().manual_seed(2))
    return output


def added(routing: RoutingConfig | None, depth: DepthConfig | None = None) -> tuple[Tensor, Output]:
    config = run(routing, depth).model
    output = passed(config)
    return training._balancing(config, output, config.routing.balance.l1_weight if config.routing else 0.0), output


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
    assert (len(whole.map_TE), len(short.map_TE)) == (3 * 16, 3 * 4)
    sequences = auxiliary_loss(whole, group_size=16) + auxiliary_loss(short, group_size=4)
    torch.testing.assert_close(found, 0.1 * sequences + sampling_loss(output.depths, DEPTH))


def test_a_dense_model_adds_nothing() -> None:
    assert added(None)[0] == 0


@pytest.mark.parametrize(("top_k", "factor"), [(1, 1.2), (4, 1 / 1.2)])
def test_the_l1_weight_follows_the_experts_that_tokens_have(top_k: int, factor: float) -> None:
    config = run(balanced("relu", l1_weight=0.1)).model
    output = passed(config)
    assert 1 < load(pooled(output.routings)).sum() / (2 * 48) < 4
    wanted = replace(config, routing=routing(top_k=top_k))
    assert training._next_l1_weight(0.1, wanted, output) == pytest.approx(0.1 * factor)
    assert training._next_l1_weight(0.0, wanted, output) == 0
