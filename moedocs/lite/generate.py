"""Text from a small trained model, byte by byte in NumPy; keys and values of what was read are kept.

Shapes: C tokens read at once · P tokens read by now · D d_model · H heads · W width of a head · V vocab_size
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
from moedocs.lite.forward import Arrays, Block, Output, Part, _choice, _experts, _normed, _rotated, _swiglu
from moedocs.lite.record import Floats, Ints, Routing, softmax

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
class Memory:
    """What a block keeps of the tokens that went through it, and what was decided on all that came to it."""

    keys_1HPW: Floats | None = None
    values_1HPW: Floats | None = None
    positions_1P: Ints | None = None
    routings: list[Routing] = field(default_factory=list)
    depths: list[DepthRouting] = field(default_factory=list)

    def grown(self, keys_1HCW: Floats, values_1HCW: Floats, positions_1C: Ints) -> tuple[Floats, Floats, Ints]:
        """Remember these tokens too; all keys, values and positions."""
        if self.keys_1HPW is None or self.values_1HPW is None or self.positions_1P is None:
            self.keys_1HPW, self.values_1HPW, self.positions_1P = keys_1HCW, values_1HCW, positions_1C
        else:
            self.keys_1HPW = np.concatenate([self.keys_1HPW, keys_1HCW], axis=2)
            self.values_1HPW = np.concatenate([self.values_1HPW, values_1HCW], axis=2)
            self.positions_1P = np.concatenate([self.positions_1P, positions_1C], axis=1)
        return self.keys_1HPW, self.values_1HPW, self.positions_1P


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
        head_VD = self._model["embedding_VD" if self._config.tied_embeddings else "head_VD"]
        logits_1CV: Floats = _normed(x_1CD, self._model["norm.weight"]) @ head_VD.T
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
        depth = _choice(part, config.depth, x_1CD, causal=True, generator=None)
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
    part = block.part
    normed_1CD = _normed(x_1CD, part["attention_norm.weight"])
    mixed_1CD = _attention(part.under("attention"), block.config, memory, normed_1CD, positions_1C)
    normed_1CD = _normed(x_1CD + mixed_1CD, part["feed_forward_norm.weight"])
    part = part.under("feed_forward")
    if block.experts is None:
        return mixed_1CD + _swiglu(normed_1CD, part["gate_DF"], part["up_DF"], part["down_FD"])
    out_CD, routing = _experts(part, block.experts, normed_1CD[0], ids_1C[0], ids_1C.shape[1])
    memory.routings.append(routing)
    return mixed_1CD + out_CD


def _attention(part: Part, config: TransformerConfig, memory: Memory, x_1CD: Floats, positions_1C: Ints) -> Floats:
    """Causal attention with rotary positions to the tokens remembered and to these, which are remembered from now."""
    heads, kv_heads, width = config.num_heads, config.kv_heads, config.head_width

    def split(name: str, count: int) -> Floats:
        x_1CHW = (x_1CD @ part[name].T).reshape(*x_1CD.shape[:2], count, width)
        return np.repeat(x_1CHW.transpose(0, 2, 1, 3), heads // count, axis=1)

    query_1HCW = _rotated(split("query_QD", heads), positions_1C)
    key_1HPW, value_1HPW, positions_1P = memory.grown(
        _rotated(split("key_PD", kv_heads), positions_1C), split("value_PD", kv_heads), positions_1C
    )
    later_CP = positions_1P > positions_1C.T
    scores_1HCP = query_1HCW @ key_1HPW.swapaxes(2, 3) / np.float32(np.sqrt(width))
    mixed_1HCW = softmax(np.where(later_CP, np.float32(-np.inf), scores_1HCP)) @ value_1HPW
    mixed_1CQ = mixed_1HCW.transpose(0, 2, 1, 3).reshape(*x_1CD.shape[:2], heads * width)
    return np.asarray(mixed_1CQ @ part["output_DQ"].T)
