"""Text written byte by byte with what was read kept, against the whole forward pass over it each time."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from moedocs import lite
from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TransformerConfig
from moedocs.engine import Transformer
from moedocs.lite.generate import Reader, generate, sampled
from tests.strategies import mixed_transformers

SHAPE: dict[str, Any] = {"vocab_size": 256, "d_model": 32, "num_layers": 4, "num_heads": 4, "d_ff": 24}
BOTH = TransformerConfig(
    **SHAPE,
    num_kv_heads=2,
    routing=RoutingConfig(num_experts=4, top_k=2, shared_experts=1, balance=BalanceConfig(bias_rate=0.1)),
    depth=DepthConfig(capacity=0.5, sampling="predictor"),
)
TOLERANCE = 2e-5


def arrays_of(config: TransformerConfig, seed: int = 0) -> dict[str, NDArray[Any]]:
    model = Transformer(config, generator=torch.Generator().manual_seed(seed))
    return {name: weight.numpy(force=True) for name, weight in model.state_dict().items()}


def close(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * max(1.0, np.abs(expected).max(initial=0)))


def assert_same(ours: lite.Output, whole: lite.Output) -> None:
    close(ours.logits_BSV, whole.logits_BSV)
    for routing, expected in zip(ours.routings, whole.routings, strict=True):
        np.testing.assert_array_equal(routing.map_TE, expected.map_TE)
        close(routing.weights_TE, expected.weights_TE)
    for depth, other in zip(ours.depths, whole.depths, strict=True):
        np.testing.assert_array_equal(depth.index_BC, other.index_BC)
        close(depth.weights_BS, other.weights_BS)


@given(mixed_transformers(("softmax", "sigmoid", "noisy", "gshard", "hash", "relu")), st.integers(0, 99), st.data())
@settings(max_examples=80)
def test_read_in_pieces_gives_what_the_forward_pass_gives(
    config: TransformerConfig, seed: int, data: st.DataObject
) -> None:
    assume(config.routing is None or config.routing.capacity_factor is None)
    assume(config.depth is None or config.depth.sampling != "none")
    assume(config.d_model > 2)  # one or two numbers near 0 are normalised to about 1: rounding grows without bound
    config = replace(config, vocab_size=min(config.vocab_size, 256))
    arrays = arrays_of(config, seed)
    text = data.draw(st.lists(st.integers(0, config.vocab_size - 1), min_size=1, max_size=20))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text) - 1))) | {0})
    reader = Reader(arrays, config)
    for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True):
        last_V = reader.read(bytes(text[start:end]))
    output = reader.output()
    assert_same(output, lite.forward_pass(arrays, config, [text], causal=True))
    np.testing.assert_array_equal(last_V, output.logits_BSV[0, -1])


@pytest.mark.parametrize("seed", range(3))
def test_the_likeliest_byte_each_time_is_what_a_forward_pass_from_the_start_says(seed: int) -> None:
    arrays, text = arrays_of(BOTH, seed), b"def route("
    written = generate(arrays, BOTH, text, 24, temperature=0, generator=np.random.default_rng(0))
    for byte in written.text:
        logits_V = lite.forward_pass(arrays, BOTH, [list(text)], causal=True).logits_BSV[0, -1]
        assert byte == logits_V.argmax()
        text += bytes([byte])
    assert_same(written.output, lite.forward_pass(arrays, BOTH, [list(text)], causal=True))


def test_the_same_seed_writes_the_same_text_and_another_one_another() -> None:
    arrays = arrays_of(BOTH)
    texts = [
        generate(arrays, BOTH, b"a", 16, temperature=1, generator=np.random.default_rng(seed)).text
        for seed in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("temperature", [0.5, 1, 2])
def test_bytes_are_drawn_as_often_as_the_temperature_says(temperature: float) -> None:
    logits_V = np.array([0, 1, -np.inf, 2], dtype=np.float32)
    generator = np.random.default_rng(0)
    counts_V = np.bincount([sampled(logits_V, temperature, generator) for _ in range(20_000)], minlength=4)
    powers_V = np.exp(logits_V / temperature)
    # five standard deviations of a share
    np.testing.assert_allclose(counts_V / 20_000, powers_V / powers_V.sum(), atol=5 * 0.5 / 20_000**0.5)
    assert counts_V[2] == 0


def test_logits_however_large_overflow_nothing() -> None:
    logits_V = np.array([-3e38, 3e38], dtype=np.float32)
    assert sampled(logits_V, 0.01, np.random.default_rng(0)) == 1


@pytest.mark.parametrize("temperature", [-1.0, float("nan")])
def test_a_temperature_below_zero_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="must be at least 0"):
        sampled(np.zeros(2, np.float32), temperature, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("routing", "depth", "reason"),
    [
        (RoutingConfig(num_experts=4, top_k=1, router="base"), None, "router='base' looks at all tokens"),
        (RoutingConfig(num_experts=4, top_k=1, capacity_factor=1.25), None, "capacity_factor=1.25"),
        (None, DepthConfig(capacity=0.5), "sampling='none'"),
    ],
)
def test_a_routing_that_is_not_causal_cannot_write(
    routing: RoutingConfig | None, depth: DepthConfig | None, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Reader({}, TransformerConfig(**SHAPE, routing=routing, depth=depth))


def test_a_vocabulary_of_more_than_bytes_and_a_text_of_none_are_refused() -> None:
    with pytest.raises(ValueError, match="vocab_size=257 is more than the 256 bytes"):
        Reader({}, TransformerConfig(**SHAPE | {"vocab_size": 257}))
    with pytest.raises(ValueError, match="count=0 must be at least 1"):
        generate(arrays_of(BOTH), BOTH, b"a", 0, temperature=1, generator=np.random.default_rng(0))


def test_an_empty_prompt_and_a_byte_beyond_the_vocabulary_are_refused() -> None:
    config = TransformerConfig(**SHAPE | {"vocab_size": 100})
    for text in (b"", b"xyz"):
        with pytest.raises(ValueError, match=r"only bytes in 0\.\.99"):
            Reader(arrays_of(config), config).read(text)
