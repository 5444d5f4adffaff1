"""The forward pass in NumPy against the torch model whose arrays it reads: logits, routings, depths."""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from moedocs import engine, lite
from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TransformerConfig
from moedocs.config.routing import Router
from tests.strategies import mixed_transformers

SHAPE: dict[str, Any] = {"vocab_size": 256, "d_model": 32, "num_layers": 4, "num_heads": 4, "d_ff": 48}
TOP_2 = RoutingConfig(num_experts=6, top_k=2)
# of 1 or the largest number; both sides sum in float32, in different orders
TOLERANCE = 2e-5


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(config: TransformerConfig, seed: int = 0) -> tuple[engine.Transformer, dict[str, NDArray[Any]]]:
    model = engine.Transformer(config, generator=seeded(seed)).eval()
    return model, {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def text(config: TransformerConfig, sequences: int, length: int, seed: int = 1) -> Tensor:
    return torch.randint(0, config.vocab_size, (sequences, length), generator=seeded(seed))


def assert_same(theirs: engine.Output, ours: lite.Output) -> None:
    """Choices exactly, numbers within the tolerance."""
    for routing, twin in zip(theirs.routings, ours.routings, strict=True):
        for name in ("map_TE", "dropped_TE"):
            np.testing.assert_array_equal(getattr(twin, name), getattr(routing, name).numpy(), err_msg=name)
        for name in ("logits_TE", "probs_TE", "weights_TE"):
            close(getattr(twin, name), getattr(routing, name))
    for depth, other in zip(theirs.depths, ours.depths, strict=True):
        np.testing.assert_array_equal(other.index_BC, depth.index_BC.numpy())
        close(other.weights_BS, depth.weights_BS)
        if depth.predicted_BS is not None and other.predicted_BS is not None:
            close(other.predicted_BS, depth.predicted_BS)
        assert (depth.predicted_BS is None) == (other.predicted_BS is None)
    close(ours.logits_BSV, theirs.logits_BSV)


def close(found: NDArray[np.float32], expected: Tensor) -> None:
    assert found.dtype == np.float32
    scale = max(1.0, expected.abs().max().item())
    np.testing.assert_allclose(found, expected.numpy(), rtol=TOLERANCE, atol=TOLERANCE * scale)


ROUTERS: dict[Router, dict[str, Any]] = {
    "softmax": {"renormalise": False, "balance": BalanceConfig(bias_rate=0.1)},
    "sigmoid": {"num_groups": 3, "top_groups": 2, "routed_scaling": 2.5},
    "noisy": {},
    "gshard": {},
    "expert-choice": {"capacity_factor": 1.0, "capacity_over": "sequence"},
    "hash": {},
    "base": {"top_k": 1},
    "sinkhorn": {},
    "relu": {},
}


@pytest.mark.parametrize("router", get_args(Router))
@torch.no_grad()
def test_logits_and_routings_are_torch_s_with_every_router(router: Router) -> None:
    routing = RoutingConfig(**{"num_experts": 6, "top_k": 2, "router": router} | ROUTERS[router])
    config = TransformerConfig(**SHAPE, routing=routing, moe_every=2)
    model, arrays = built(config)
    for layer in model.moe_layers():
        if layer.bias_E is not None:
            layer.bias_E[0] = 0.5
    bytes_BS = text(config, 3, 20)
    assert_same(model(bytes_BS), lite.forward_pass(arrays, config, bytes_BS.numpy()))


@pytest.mark.parametrize("weight", ["raw", "sigmoid"])
@pytest.mark.parametrize("routing", [None, TOP_2, RoutingConfig(num_experts=4, top_k=2, router="hash")])
@torch.no_grad()
def test_logits_and_depths_are_torch_s_in_training_and_in_sampling(weight: Any, routing: RoutingConfig | None) -> None:
    for sampling in ("auxiliary", "predictor"):
        depth = DepthConfig(capacity=0.25, weight=weight, sampling=sampling)
        config = TransformerConfig(**SHAPE, routing=routing, depth=depth)
        model, arrays = built(config)
        bytes_BS = text(config, 3, 20)
        for causal in (False, True):
            theirs = model(bytes_BS, causal=causal)
            assert_same(theirs, lite.forward_pass(arrays, config, bytes_BS.numpy(), causal=causal))
        assert len({int(count) for count in theirs.depths[0].map_BS.sum(1)}) > 1  # of varying size


@torch.no_grad()
def clear(output: engine.Output) -> bool:
    """No choice so close that rounding may turn it."""
    tables = [routing.logits_TE for routing in output.routings] + [depth.logits_BS for depth in output.depths]
    return all(table.sort().values.diff().amin() > 1e-4 for table in tables if table.numel() and table.shape[1] > 1)


@settings(max_examples=50)
@given(mixed_transformers(), st.integers(1, 2), st.integers(1, 9), st.integers(0, 99))
@torch.no_grad()
def test_logits_are_torch_s_whatever_the_blocks(
    config: TransformerConfig, sequences: int, length: int, seed: int
) -> None:
    assume(config.depth is None or config.depth.router == "learned")  # NumPy draws other tokens
    model, arrays = built(config, seed)
    bytes_BS = text(config, sequences, length, seed)
    theirs = model(bytes_BS)
    assume(clear(theirs))
    assert_same(theirs, lite.forward_pass(arrays, config, bytes_BS.numpy()))


def test_a_random_depth_draws_its_tokens_from_the_generator() -> None:
    config = TransformerConfig(**SHAPE, depth=DepthConfig(capacity=0.25, router="random"))
    _, arrays = built(config)
    first, again, other = (
        lite.forward_pass(arrays, config, text(config, 2, 20).numpy(), generator=np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.logits_BSV, again.logits_BSV)
    assert not np.array_equal(first.depths[0].index_BC, other.depths[0].index_BC)
    assert first.depths[0].index_BC.shape == (2, 5)
    with pytest.raises(ValueError, match="router='random' needs a generator"):
        lite.forward_pass(arrays, config, text(config, 2, 20).numpy())


def test_a_causal_choice_that_was_never_taught_is_refused() -> None:
    config = TransformerConfig(**SHAPE, depth=DepthConfig(capacity=0.25))
    _, arrays = built(config)
    with pytest.raises(ValueError, match="sampling='none' has learned no causal choice"):
        lite.forward_pass(arrays, config, text(config, 2, 20).numpy(), causal=True)


@pytest.mark.parametrize("name", ["embedding_VD", "blocks.1.feed_forward.router_ED", "blocks.0.attention.key_PD"])
def test_a_missing_array_is_named(name: str) -> None:
    config = TransformerConfig(**SHAPE, routing=TOP_2)
    _, arrays = built(config)
    del arrays[name]
    with pytest.raises(ValueError, match=f"the arrays have no {name}"):
        lite.forward_pass(arrays, config, np.zeros((1, 3)))


@pytest.mark.parametrize("bytes_BS", [[[0, 256]], [[-1, 0]], [0, 1]])
def test_what_is_no_text_is_refused(bytes_BS: Any) -> None:
    config = TransformerConfig(**SHAPE)
    with pytest.raises(ValueError, match=r"bytes must be \(B, S\) numbers in 0\.\.255"):
        lite.forward_pass(built(config)[1], config, bytes_BS)
