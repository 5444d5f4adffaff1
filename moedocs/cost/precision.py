"""Bytes that weights take in the number formats in use, scales included.

Which weights keep 16 bits is each precision's own choice, and part of its description.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from moedocs.config.architecture import Architecture
from moedocs.cost.quantity import Quantity, known, total, written
from moedocs.cost.weight import ATTENTION, DENSE, PARTS, ROUTED, SHARED, Weight
from moedocs.cost.weights import model_weights


@dataclass(frozen=True, kw_only=True)
class Format:
    """Numbers of `bits`; with a `block`, one scale of `scale_bits` for so many inputs × so many outputs."""

    bits: int
    block: tuple[int, int] | None = None
    scale_bits: int = 0


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Matrices of `parts` in one format, everything else in another; `source` says whose choice it is."""

    format: Format
    parts: tuple[str, ...] = PARTS
    others: Format = Format(bits=16)
    source: str

    def of(self, weight: Weight) -> Format:
        """The format of a weight; with scales only matrices as long and as wide as one block, so no convolution."""
        block = self.format.block
        if block is None:
            return self.format
        large = weight.matrix and len(weight.shape) == 2 and min(weight.shape) >= max(block)
        return self.format if large and weight.part in self.parts else self.others


PRODUCTS = (ATTENTION, ROUTED, SHARED, DENSE)
PRECISIONS = {
    "fp32": Precision(format=Format(bits=32), source="four bytes for every weight"),
    "bf16": Precision(format=Format(bits=16), source="two bytes for every weight, as fp16"),
    "fp8": Precision(
        format=Format(bits=8, block=(128, 128), scale_bits=32),
        parts=PRODUCTS,
        source="DeepSeek-V3's weights: an fp32 scale for 128 × 128, matrices of attention and feed-forward networks; "
        "embedding, head, routers and norms in 16 bits",
    ),
    "mxfp8": Precision(
        format=Format(bits=8, block=(32, 1), scale_bits=8),
        parts=PRODUCTS,
        source="OCP Microscaling Formats 1.0: an e8m0 scale for 32; the same matrices as fp8",
    ),
    "mxfp4": Precision(
        format=Format(bits=4, block=(32, 1), scale_bits=8),
        parts=(ROUTED,),
        source="gpt-oss: an e8m0 scale for 32, so 4.25 bits, routed experts alone; everything else in 16 bits",
    ),
    "nvfp4": Precision(
        format=Format(bits=4, block=(16, 1), scale_bits=8),
        parts=PRODUCTS,
        source="NVFP4: an e4m3 scale for 16, so 4.5 bits, one more number per tensor left out; the matrices of fp8",
    ),
    "int4": Precision(
        format=Format(bits=4, block=(128, 1), scale_bits=16),
        parts=PRODUCTS,
        source="GPTQ and AWQ as usual: a 16-bit scale for 128, no zero points; the same matrices as fp8",
    ),
}


def precision(name: str) -> Precision:
    """The precision of that name. Raises ValueError naming those there are."""
    known("precision", name, PRECISIONS)
    return PRECISIONS[name]


@dataclass(frozen=True)
class Stored:
    """How one tensor lies in memory: numbers, padded to whole bytes, and scales."""

    numbers: int
    bits: int
    scales: int
    scale_bits: int

    @property
    def size(self) -> int:
        """Bytes."""
        return (self.numbers * self.bits + self.scales * self.scale_bits) // 8


def stored(weight: Weight, how: Precision) -> Stored:
    """One tensor of a weight in a precision."""
    form = how.of(weight)
    packed = max(1, 8 // form.bits)
    numbers = -(-weight.size // packed) * packed
    if form.block is None:
        return Stored(numbers, form.bits, 0, 0)
    (inputs, outputs), (rows, columns) = weight.shape, form.block
    return Stored(numbers, form.bits, -(-inputs // rows) * -(-outputs // columns), form.scale_bits)


def weight_bytes(model: Architecture, name: str) -> Quantity:
    """Bytes of all weights by part: a tied head takes none, buffers and extra prediction layers are left out."""
    how = precision(name)
    parts: dict[str, list[tuple[int, Stored]]] = {part: [] for part in PARTS}
    for weight, layers in model_weights(model):
        parts[weight.part].append((layers * weight.stored, stored(weight, how)))
    return total((summed(part, tensors) for part, tensors in parts.items()), "byte", f"weights in {name}")


def summed(name: str, tensors: list[tuple[int, Stored]]) -> Quantity:
    """The bytes of so many tensors of each kind."""
    counts: dict[int, int] = {}
    for times, tensor in tensors:
        for number, bits in ((tensor.numbers, tensor.bits), (tensor.scales, tensor.scale_bits)):
            counts[bits] = counts.get(bits, 0) + times * number
    terms = [f"{count} × {written(Fraction(bits, 8))}" for bits, count in counts.items() if count * bits]
    return Quantity(sum(times * tensor.size for times, tensor in tensors), "byte", " + ".join(terms) or "0", name)
