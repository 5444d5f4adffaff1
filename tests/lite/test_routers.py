"""From a description to a routing in NumPy: what torch's twin makes of the same description and logits."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs import engine, lite
from moedocs.config import RoutingConfig
from tests.drawing import random_logits
from tests.strategies import routing_configs
from tests.twins import assert_same

DRAWING = ("noisy", "gshard")


@given(routing_configs(), st.integers(0, 3), st.integers(1, 6), st.integers(0, 99), st.booleans())
def test_the_same_description_and_logits_make_the_same_routing(
    config: RoutingConfig, sequences: int, length: int, seed: int, training: bool
) -> None:
    # NumPy draws other numbers than torch
    training = training and config.router not in DRAWING and config.capacity_order != "random"
    tokens = sequences * length
    table_VK = (torch.arange(4)[:, None] + torch.arange(config.top_k)) % config.choices
    bias_E = random_logits(config.choices, seed=seed + 1) if config.router in ("softmax", "sigmoid") else None
    tensors: dict[str, Any] = {"bias_E": bias_E, "ids_T": torch.arange(tokens) % 4, "table_VK": table_VK}
    logits_TE = random_logits(tokens, config.choices, seed=seed)
    more: dict[str, Any] = {"sequence_length": length, "training": training}
    arrays: dict[str, Any] = {name: one if one is None else one.numpy() for name, one in tensors.items()}
    assert_same(
        engine.route(logits_TE, config, **tensors, **more), lite.route(logits_TE.numpy(), config, **arrays, **more)
    )


def drawn(router: Any, **given: Any) -> lite.Routing:
    config = RoutingConfig(num_experts=4, top_k=2, router=router)
    return lite.route(np.zeros((500, 4)), config, generator=np.random.default_rng(0), **given)


def test_what_draws_draws_from_the_generator() -> None:
    noisy = drawn("noisy", noise_TE=np.zeros((500, 4)))
    again = lite.noisy_top_k(np.zeros((500, 4)), np.zeros((500, 4)), 2, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(noisy.logits_TE, again.logits_TE)
    assert not np.all(noisy.logits_TE == 0)
    second = lite.gshard_top_2(np.zeros((500, 4)), generator=np.random.default_rng(0))
    np.testing.assert_array_equal(drawn("gshard").index_TK, second.index_TK)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"router": "noisy"}, "router='noisy' draws in training: it needs a generator"),
        ({"router": "hash"}, "router='hash' needs the ids of the tokens and the table"),
        ({"capacity_factor": 1.0, "capacity_over": "sequence"}, "capacity_over='sequence' needs the sequence_length"),
        ({"no_op_experts": 2}, "4 logits a token do not fit 6 choices"),
    ],
)
def test_what_is_needed_and_missing_is_asked_for(given: dict[str, Any], missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        lite.route(np.zeros((3, 4)), RoutingConfig(**{"num_experts": 4, "top_k": 2} | given))


def test_noise_is_asked_for() -> None:
    with pytest.raises(ValueError, match="router='noisy' needs noise logits"):
        drawn("noisy")
