"""What is lost without an expert: one that is taken away is really gone, and the model itself is left alone."""

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TransformerConfig
from moedocs.engine import Transformer
from moedocs.engine.record import Routing
from moedocs.engine.routers import route
from moedocs.lab import ablation

ROUTINGS = {
    "top-1": RoutingConfig(num_experts=4, top_k=1, renormalise=False),
    "top-2": RoutingConfig(num_experts=4, top_k=2),
    "sigmoid": RoutingConfig(num_experts=4, top_k=2, router="sigmoid"),
}


def model_of(routing: RoutingConfig, **changes: Any) -> Transformer:
    sizes = {"vocab_size": 256, "d_model": 16, "num_layers": 3, "num_heads": 2, "d_ff": 8}
    config = TransformerConfig(**(sizes | {"routing": routing} | changes))
    return Transformer(config, generator=Generator().manual_seed(0)).eval()


def text(rows: int = 4, length: int = 16) -> Tensor:
    return torch.randint(256, (rows, length + 1), dtype=torch.uint8, generator=Generator().manual_seed(1))


def routing_in(model: Transformer, bytes_BS: Tensor, layer: int) -> Routing:
    found: Routing = model(bytes_BS[:, :-1]).routings[layer]
    return found


@pytest.mark.parametrize("name", ROUTINGS)
def test_an_expert_that_no_token_chose_is_not_missed_by_a_single_bit(name: str) -> None:
    model, bytes_BS = model_of(ROUTINGS[name]), text(rows=1, length=1)
    before_T = ablation.losses(model, bytes_BS)
    for layer in range(3):
        chosen_E = routing_in(model, bytes_BS, layer).map_TE.any(0)
        assert not chosen_E.all()
        for expert in range(4):
            change = ablation._changes(ROUTINGS[name], expert, Generator().manual_seed(0))
            after = [ablation.losses(ablation.changed(model, layer, change[kind]), bytes_BS) for kind in change]
            assert all(torch.equal(after_T, before_T) for after_T in after) == (not chosen_E[expert])


@pytest.mark.parametrize("name", ROUTINGS)
def test_who_loses_an_expert_goes_to_the_next_best_and_nobody_else_moves(name: str) -> None:
    config = ROUTINGS[name]
    logits_TE = torch.randn(40, 4, generator=Generator().manual_seed(2))
    routing = route(logits_TE, config, training=False)
    lost_TE = ablation.at_random(routing, 25, Generator().manual_seed(0))
    after = ablation.rerouted(routing, lost_TE, config)
    for token, lost_E in enumerate(lost_TE):
        if not lost_E.any():
            assert torch.equal(after.weights_TE[token], routing.weights_TE[token])
            continue
        left = sorted((e for e in range(4) if not lost_E[e]), key=lambda e: -float(logits_TE[token, e]))
        chosen = left[: config.top_k]
        assert after.map_TE[token].nonzero().flatten().tolist() == sorted(chosen)
        score = {e: _score(config, float(logits_TE[token, e])) for e in left}
        whole = sum(score[e] for e in (chosen if config.renormalise else left))
        assert after.weights_TE[token, chosen].tolist() == pytest.approx([score[e] / whole for e in chosen])


def _score(config: RoutingConfig, logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if config.router == "sigmoid" else math.exp(logit)


def test_a_silenced_expert_is_one_whose_last_matrix_is_zero() -> None:
    model, bytes_BS = model_of(ROUTINGS["top-2"]), text()
    for layer, expert in ((0, 1), (1, 3), (2, 0)):
        change = ablation._changes(ROUTINGS["top-2"], expert, Generator())["silenced"]
        silent = ablation.changed(model, layer, change)
        zeroed = deepcopy(model)
        with torch.no_grad():
            zeroed.moe_layers()[layer].experts.down_EFD[expert] = 0
        torch.testing.assert_close(ablation.losses(silent, bytes_BS), ablation.losses(zeroed, bytes_BS))
        assert not torch.equal(ablation.losses(silent, bytes_BS), ablation.losses(model, bytes_BS))


def test_a_layer_without_all_its_experts_is_its_residual_alone() -> None:
    model, bytes_BS = model_of(ROUTINGS["top-1"]), text()
    empty = ablation.changed(model, 1, lambda routing: ablation.silenced(routing, routing.map_TE))
    skipped = deepcopy(model)
    with torch.no_grad():
        skipped.moe_layers()[1].experts.down_EFD.zero_()
    assert torch.equal(ablation.losses(empty, bytes_BS), ablation.losses(skipped, bytes_BS))


def test_random_losses_are_as_many_as_asked_and_of_assignments_there_are() -> None:
    routing = route(torch.randn(30, 4, generator=Generator().manual_seed(0)), ROUTINGS["top-2"], training=False)
    for count in (0, 1, 17, 60):
        lost_TE = ablation.at_random(routing, count, Generator().manual_seed(3))
        assert lost_TE.sum() == count
        assert not (lost_TE & ~routing.map_TE).any()


def test_the_model_stays_as_it_was() -> None:
    model, bytes_BS = model_of(ROUTINGS["top-2"]), text()
    weights, before_T = deepcopy(model.state_dict()), ablation.losses(model, bytes_BS)
    list(ablation.ablations(model, bytes_BS, generator=Generator().manual_seed(0)))
    assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
    assert torch.equal(ablation.losses(model, bytes_BS), before_T)


def test_every_expert_of_every_layer_is_taken_once_and_costs_what_the_whole_model_says() -> None:
    model, bytes_BS = model_of(ROUTINGS["top-2"], first_dense=1), text()
    found = {
        (kind, layer, expert): more_T
        for kind, layer, expert, more_T in ablation.ablations(model, bytes_BS, generator=Generator().manual_seed(0))
    }
    kinds = ("rerouted", "silenced", "rerouted_at_random", "silenced_at_random")
    assert list(found) == [(kind, layer, expert) for layer in range(2) for expert in range(4) for kind in kinds]
    before_T = ablation.losses(model, bytes_BS)
    for (kind, layer, expert), more_T in found.items():
        if not kind.endswith("random"):
            change = ablation._changes(ROUTINGS["top-2"], expert, Generator())[kind]
            assert torch.equal(more_T, ablation.losses(ablation.changed(model, layer, change), bytes_BS) - before_T)


@pytest.mark.parametrize(
    "config",
    [
        RoutingConfig(num_experts=4, top_k=4),
        RoutingConfig(num_experts=4, top_k=1, capacity_factor=1.0),
        RoutingConfig(num_experts=4, top_k=1, router="expert-choice", capacity_factor=1.0),
        RoutingConfig(num_experts=4, top_k=1, balance=BalanceConfig(bias_rate=0.1)),
    ],
)
def test_where_another_choice_is_not_the_tokens_own_it_is_refused(config: RoutingConfig) -> None:
    routing = route(torch.randn(8, 4, generator=Generator().manual_seed(0)), ROUTINGS["top-1"], training=False)
    with pytest.raises(ValueError, match="no other choice is defined"):
        ablation.rerouted(routing, routing.map_TE, config)


def test_a_model_with_depth_is_refused() -> None:
    model = model_of(ROUTINGS["top-1"], depth=DepthConfig(capacity=0.5))
    with pytest.raises(ValueError, match="give a model without depth"):
        ablation.above(model, 1, text())
