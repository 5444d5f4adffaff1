"""From a description to a routing: each name is its function, with capacity, and what is missing is asked for."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from moedocs.config import BalanceConfig, Groups, RoutingConfig, capacity
from moedocs.config.routing import Router
from moedocs.engine import (
    Routing,
    base_assignment,
    expert_choice,
    gshard_top_2,
    hash_routing,
    load_probability,
    noisy_top_k,
    relu_routing,
    route,
    sigmoid_top_k,
    sinkhorn,
    softmax_top_k,
    top_k_softmax,
    with_capacity,
)
from tests.drawing import random_logits
from tests.strategies import routing_configs

TOKENS, SEQUENCE = 24, 6
LOGITS_TE, NOISE_TE, BIAS_E = random_logits(TOKENS, 8), random_logits(TOKENS, 8, seed=1), random_logits(8, seed=2)
IDS_T = torch.arange(TOKENS) % 5
TABLE_VK = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7], [7, 0]])


def seeded() -> Generator:
    return Generator().manual_seed(7)


@dataclass(frozen=True)
class Named:
    """A description and the call it stands for."""

    described: dict[str, Any]
    call: Callable[[], Routing]
    given: dict[str, Any]


GROUPED = {"num_groups": 4, "top_groups": 2, "routed_scaling": 2.5, "renormalise": False}
NAMES = {
    "softmax": Named({}, lambda: softmax_top_k(LOGITS_TE, 2), {}),
    "softmax, all": Named(
        {"router": "softmax", **GROUPED},
        lambda: softmax_top_k(
            LOGITS_TE, 2, renormalise=False, bias_E=BIAS_E, groups=Groups(count=4, chosen=2), scaling=2.5
        ),
        {"bias_E": BIAS_E},
    ),
    "sigmoid, all": Named(
        {"router": "sigmoid", **GROUPED},
        lambda: sigmoid_top_k(
            LOGITS_TE, 2, renormalise=False, bias_E=BIAS_E, groups=Groups(count=4, chosen=2), scaling=2.5
        ),
        {"bias_E": BIAS_E},
    ),
    "noisy": Named(
        {"router": "noisy"},
        lambda: noisy_top_k(LOGITS_TE, NOISE_TE, 2, generator=seeded()),
        {"noise_TE": NOISE_TE, "generator": seeded},
    ),
    "noisy, generating": Named({"router": "noisy"}, lambda: top_k_softmax(LOGITS_TE, 2), {"training": False}),
    "gshard": Named({"router": "gshard"}, lambda: gshard_top_2(LOGITS_TE, generator=seeded()), {"generator": seeded}),
    "gshard, generating": Named({"router": "gshard"}, lambda: softmax_top_k(LOGITS_TE, 2), {"training": False}),
    "expert-choice": Named(
        {"router": "expert-choice", "capacity_factor": 1.0}, lambda: expert_choice(LOGITS_TE, 6), {}
    ),
    "expert-choice, per sequence": Named(
        {"router": "expert-choice", "capacity_factor": 1.0, "capacity_over": "sequence"},
        lambda: expert_choice(LOGITS_TE, 2, sequence_length=SEQUENCE),  # ceil(6 * 2 / 8)
        {"sequence_length": SEQUENCE},
    ),
    "hash": Named(
        {"router": "hash", "routed_scaling": 2.5},
        lambda: hash_routing(IDS_T, TABLE_VK, 8, LOGITS_TE, scaling=2.5),
        {"ids_T": IDS_T, "table_VK": TABLE_VK},
    ),
    "base": Named({"router": "base", "top_k": 1}, lambda: base_assignment(LOGITS_TE), {}),
    "base, generating": Named(
        {"router": "base", "top_k": 1}, lambda: base_assignment(LOGITS_TE, balanced=False), {"training": False}
    ),
    "sinkhorn": Named({"router": "sinkhorn"}, lambda: sinkhorn(LOGITS_TE, 2), {}),
    "sinkhorn, generating": Named(
        {"router": "sinkhorn"}, lambda: sinkhorn(LOGITS_TE, 2, balanced=False), {"training": False}
    ),
    "relu": Named({"router": "relu"}, lambda: relu_routing(LOGITS_TE), {}),
}


def described(**given: Any) -> RoutingConfig:
    return RoutingConfig(**{"num_experts": 8, "top_k": 2} | given)


def assert_equal(found: Routing, expected: Routing) -> None:
    for field in fields(Routing):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        assert (a is b is None) or a.equal(b), field.name


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_its_function(name: str) -> None:
    case = NAMES[name]
    given = {key: value() if callable(value) else value for key, value in case.given.items()}
    assert_equal(route(LOGITS_TE, described(**case.described), **given), case.call())


def test_no_router_is_forgotten() -> None:
    assert {case.described.get("router", "softmax") for case in NAMES.values()} == set(get_args(Router))


@pytest.mark.parametrize("order", ["order", "probability", "random", "batch-prioritized"])
@pytest.mark.parametrize("over", ["batch", "sequence"])
def test_capacity_is_served_in_the_order_and_over_the_tokens_described(order: Any, over: Any) -> None:
    config = described(capacity_factor=0.5, capacity_order=order, capacity_over=over)
    found = route(LOGITS_TE, config, sequence_length=SEQUENCE, generator=seeded())
    slots, group_size = (1, SEQUENCE) if over == "sequence" else (3, None)  # ceil(6 / 8) and 24 * 2 / 8 / 2
    chosen = softmax_top_k(LOGITS_TE, 2)
    assert_equal(found, with_capacity(chosen, slots, order=order, group_size=group_size, generator=seeded()))
    assert found.dropped_TE.any()


def test_generating_draws_no_order() -> None:
    config = described(capacity_factor=0.5, capacity_order="random")
    assert_equal(route(LOGITS_TE, config, training=False), with_capacity(softmax_top_k(LOGITS_TE, 2), 3))


def test_the_load_probability_comes_with_the_routing_only_where_it_is_weighed() -> None:
    def noisy(load_weight: float) -> Routing:
        config = described(router="noisy", balance=BalanceConfig(load_weight=load_weight))
        return route(LOGITS_TE, config, noise_TE=NOISE_TE, generator=seeded())

    weighed = noisy(0.1)
    assert weighed.load_probability_TE is not None
    assert weighed.load_probability_TE.equal(load_probability(LOGITS_TE, NOISE_TE, weighed))
    assert noisy(0.0).load_probability_TE is None


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        (described(router="noisy"), "router='noisy' draws in training: it needs a generator"),
        (described(router="gshard"), "router='gshard' draws in training: it needs a generator"),
        (described(router="hash"), "router='hash' needs the ids of the tokens and the table"),
        (
            described(capacity_factor=1.0, capacity_over="sequence"),
            "capacity_over='sequence' needs the sequence_length",
        ),
        (
            described(router="expert-choice", capacity_factor=1.0, capacity_over="sequence"),
            "capacity_over='sequence' needs the sequence_length",
        ),
        (described(capacity_factor=1.0, capacity_order="random"), "order='random' needs a generator"),
        (described(num_experts=7), "8 logits a token do not fit 7 choices"),
        (described(no_op_experts=2), "8 logits a token do not fit 10 choices"),
    ],
)
def test_what_is_needed_and_missing_is_asked_for(config: RoutingConfig, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        route(LOGITS_TE, config)


def test_noise_is_asked_for() -> None:
    with pytest.raises(ValueError, match="router='noisy' needs noise logits"):
        route(LOGITS_TE, described(router="noisy"), generator=seeded())


@pytest.mark.parametrize("alone", [{"ids_T": IDS_T}, {"table_VK": TABLE_VK}])
def test_a_table_alone_or_ids_alone_are_not_enough(alone: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs the ids of the tokens and the table"):
        route(LOGITS_TE, described(router="hash"), **alone)


def everything(config: RoutingConfig, tokens: int, seed: int) -> tuple[Tensor, dict[str, Any]]:
    """Logits and whatever any router may ask for."""
    table_VK = torch.arange(4)[:, None] + torch.arange(config.top_k)
    return random_logits(tokens, config.choices, seed=seed), {
        "noise_TE": random_logits(tokens, config.choices, seed=seed + 1),
        "ids_T": torch.arange(tokens) % 4,
        "table_VK": table_VK % config.choices,
        "generator": seeded(),
    }


@given(routing_configs(), st.integers(0, 3), st.integers(1, 6), st.integers(0, 99), st.booleans())
def test_every_routing_keeps_the_promises_of_the_record(
    config: RoutingConfig, sequences: int, length: int, seed: int, training: bool
) -> None:
    tokens = sequences * length
    logits_TE, given = everything(config, tokens, seed)
    routing = route(logits_TE, config, sequence_length=length, training=training, **given)
    shape = (tokens, config.choices)
    assert (
        routing.map_TE.shape == routing.weights_TE.shape == routing.probs_TE.shape == routing.dropped_TE.shape == shape
    )
    assert not (routing.map_TE & routing.dropped_TE).any()
    assert not routing.weights_TE[~routing.map_TE].any()
    column_TK = torch.where(routing.index_TK < 0, config.choices, routing.index_TK)
    named_TE = torch.zeros(tokens, config.choices + 1, dtype=torch.bool).scatter(1, column_TK, True)[:, :-1]
    assert named_TE.equal(routing.map_TE | routing.dropped_TE)
    if config.capacity_factor is not None:
        size = length if config.capacity_over == "sequence" else max(tokens, 1)
        loads_GE = routing.map_TE.view(-1, size, config.choices).sum(1) if tokens else routing.map_TE.sum(0)
        assert (loads_GE <= capacity(size if tokens else 0, config)).all()
