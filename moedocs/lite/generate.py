"""Text from a small trained model, byte by byte in NumPy; keys and values of what was read are kept.

Shapes: C tokens read at once · P tokens read by now · D d_model · V vocab_size
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.random import Generator

from moedocs.config import TransformerConfig
from moedocs.lite.balance import pooled
from moedocs.lite.depth import DepthRouting, through
from moedocs.lite.depth_sampling import causal_choice
from moedocs.lite.forward import Arrays, Block, Output, Part, Past, depth_choice, logits
from moedocs.lite.record import Floats, Ints, Routing

BYTES = 256
SEES_OTHERS = ("expert-choice", "base", "sinkhorn")


@dataclass(frozen=True, eq=False)
class Written:
    """The bytes that a model added to a prompt, and what it computed of both: logits, routings, depths."""

    text: bytes
    output: Output


def generate(
    arrays: Arrays, config: TransformerConfig, prompt: bytes, count: int, *, temperature: float, generator: Generator
) -> Written:
    """Go on from a prompt by `count` bytes, each sampled at a temperature; 0 takes the likeliest.

    Equal to a `forward_pass` with causal=True over the whole text for each byte, but for the order of float32 sums. A
    model is good at texts as long as the stretches that it was trained on, and no longer.
    """
    if count < 1:
        raise ValueError(f"count={count} must be at least 1")
    reader = Reader(arrays, config)
    text = bytes(islice(stream(reader, prompt, temperature=temperature, generator=generator), count))
    return Written(text, reader.output())


def stream(reader: "Reader", prompt: bytes, *, temperature: float, generator: Generator) -> Iterator[int]:
    """Byte after byte without an end; each was read by the reader when it comes out."""
    logits_V = reader.read(prompt)
    while True:
        byte = sampled(logits_V, temperature, generator)
        logits_V = reader.read(bytes([byte]))
        yield byte


def sampled(logits_V: Floats, temperature: float, generator: Generator) -> int:
    """One of the bytes with the probability softmax(logits / temperature), from one draw of the generator."""
    if not temperature >= 0:
        raise ValueError(f"temperature={temperature} must be at least 0")
    if temperature == 0:
        return int(logits_V.argmax())
    powers_V = np.exp((logits_V.astype(np.float64) - logits_V.max()) / temperature).cumsum()
    return int(np.searchsorted(powers_V[:-1], generator.random() * powers_V[-1], side="right"))


@dataclass(eq=False)
class Memory(Past):
    """What a block keeps of the tokens that went through it, and what was decided on all that came to it."""

    routings: list[Routing] = field(default_factory=list)
    depths: list[DepthRouting] = field(default_factory=list)


class Reader:
    """A model part-way through a text: it reads bytes as they come, and judges each by those before it alone.

    Raises ValueError for a config whose routing is not causal, and so cannot write text.
    """

    def __init__(self, arrays: Arrays, config: TransformerConfig) -> None:
        _check(config)
        self._model, self._config, self._length = Part(arrays), config, 0
        self._memories = [Memory() for _ in range(config.num_layers)]
        self._logits: list[Floats] = []

    def read(self, text: bytes) -> Floats:
        """Read on, at least one byte; the logits (V,) of what comes next."""
        ids_1C = np.frombuffer(text, dtype=np.uint8).astype(np.intp)[None]
        if not ids_1C.size or ids_1C.max() >= self._config.vocab_size:
            raise ValueError(f"a text must hold at least one byte, and only bytes in 0..{self._config.vocab_size - 1}")
        x_1CD = self._model["embedding_VD"][ids_1C]
        for number, memory in enumerate(self._memories):
            x_1CD = self._through(number, memory, x_1CD, ids_1C)
        logits_1CV = logits(self._model, self._config, x_1CD)
        self._logits.append(logits_1CV)
        self._length += len(text)
        return np.asarray(logits_1CV[0, -1])

    def output(self) -> Output:
        """Of all that was read, what `forward_pass` with causal=True gives."""
        routings = [pooled(memory.routings) for memory in self._memories if memory.routings]
        depths = [self._joined(memory.depths) for memory in self._memories if memory.depths]
        return Output(np.concatenate(self._logits, axis=1), routings, depths)

    def _through(self, number: int, memory: Memory, x_1CD: Floats, ids_1C: Ints) -> Floats:
        config, part = self._config, self._model.under(f"blocks.{number}")
        experts = config.routing if number in config.moe_blocks else None
        if config.depth is None or number not in config.depth_blocks:
            positions_1C = self._length + np.arange(ids_1C.shape[1])[None]
            return x_1CD + _delta(Block(part, config, experts), memory, x_1CD, positions_1C, ids_1C)
        block = Block(part.under("block"), config, experts)
        depth = depth_choice(part, config.depth, x_1CD, causal=True, generator=None)
        memory.depths.append(depth)

        def delta(x_1CD: Floats, places_1C: Ints, ids_1C: Ints) -> Floats:
            return _delta(block, memory, x_1CD, self._length + places_1C, ids_1C)

        return through(x_1CD, depth, delta, ids_1C)

    def _joined(self, depths: list[DepthRouting]) -> DepthRouting:
        """The choices in a row as one, which they are: each token was judged by itself."""
        assert self._config.depth is not None
        logits_1P = np.concatenate([depth.logits_BS for depth in depths], axis=1)
        predictions = [depth.predicted_BS for depth in depths if depth.predicted_BS is not None]
        predicted_1P = np.concatenate(predictions, axis=1) if predictions else None
        return causal_choice(logits_1P, predicted_1P, weight=self._config.depth.weight)


def _check(config: TransformerConfig) -> None:
    routing, depth = config.routing, config.depth
    if config.vocab_size > BYTES:
        raise ValueError(f"vocab_size={config.vocab_size} is more than the {BYTES} bytes there are")
    if routing is not None and routing.router in SEES_OTHERS:
        raise ValueError(f"router={routing.router!r} looks at all tokens at once: it cannot write text")
    if routing is not None and routing.capacity_factor is not None:
        raise ValueError(f"capacity_factor={routing.capacity_factor} lets tokens push each other out: give None")
    if depth is not None and depth.sampling == "none":
        raise ValueError("sampling='none' has learned no causal choice")


def _delta(block: Block, memory: Memory, x_1CD: Floats, positions_1C: Ints, ids_1C: Ints) -> Floats:
    """What a block adds to tokens, who also attend to those that it remembers."""
    delta_1CD, routing = block.delta(x_1CD, positions_1C, ids_1C, memory)
    memory.routings.extend([] if routing is None else [routing])
    return delta_1CD
