"""Memory beyond one device's weights: training states, what each of several devices holds, experts kept elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from moedocs.config.architecture import Architecture
from moedocs.cost.precision import Stored, precision, stored, summed
from moedocs.cost.quantity import Quantity, known, positive_numbers, total, whole_numbers, written
from moedocs.cost.weight import Weight
from moedocs.cost.weights import model_weights


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Bytes per parameter that training keeps: weights to compute with, gradients, and the optimizer's own.

    The optimizer has fp32 master weights where the weights are shorter, and AdamW's two moments.
    """

    weights: int
    gradients: int
    master: int
    moments: int
    source: str

    @property
    def optimizer(self) -> int:
        return self.master + self.moments

    @property
    def each(self) -> int:
        """All of them together."""
        return self.weights + self.gradients + self.optimizer


RECIPES = {
    "adamw-16": Recipe(
        weights=2,
        gradients=2,
        master=4,
        moments=8,
        source="ZeRO, Rajbhandari et al. 2020: 16 bytes, gradients in 16 bits",
    ),
    "adamw-18": Recipe(
        weights=2, gradients=4, master=4, moments=8, source="Megatron-LM with bf16: 18 bytes, gradients in fp32"
    ),
    "adamw-fp32": Recipe(weights=4, gradients=4, master=0, moments=8, source="everything in fp32: 16 bytes"),
    "adamw-bf16-moments": Recipe(
        weights=2,
        gradients=4,
        master=4,
        moments=4,
        source="DeepSeek-V3's moments in bf16, master weights and gradients in fp32; here with weights in bf16",
    ),
    "momentum": Recipe(
        weights=2, gradients=4, master=4, moments=4, source="one fp32 moment, as Muon keeps for matrices"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How `devices` share a model: routed experts divided as wholes, the rest on every device, or all of it evenly.

    Where the experts do not divide, the fullest device is the one that counts.
    """

    devices: int = 1
    divide: str = "experts"

    def __post_init__(self) -> None:
        whole_numbers(1, devices=self.devices)
        known("divide", self.divide, ("experts", "evenly"))

    @property
    def evenly(self) -> int:
        """By how much everything is divided."""
        return self.devices if self.divide == "evenly" else 1

    def held(self, weight: Weight) -> int:
        """Tensors of a weight on the fullest device, before anything is divided evenly."""
        if weight.stored <= 1 or self.divide == "evenly":
            return weight.stored
        return -(-weight.stored // self.devices)


def weight_bytes_per_device(model: Architecture, name: str, layout: Layout) -> Quantity:
    """Bytes of weights on the fullest device."""
    how = precision(name)
    tensors: dict[bool, list[tuple[int, Stored]]] = {True: [], False: []}
    for weight, layers in model_weights(model):
        tensors[weight.stored > 1].append((layers * layout.held(weight), stored(weight, how)))
    parts = [summed("experts", tensors[True]), summed("everything else", tensors[False])]
    if layout.evenly > 1:
        parts = [
            Quantity(-(-part.value // layout.evenly), "byte", f"({part.formula}) ÷ {layout.evenly}", part.name)
            for part in parts
        ]
    return total(parts, "byte", f"weights in {name} on one of {layout.devices} devices")


def training_bytes(
    model: Architecture, recipe: str = "adamw-18", layout: Layout | None = None, zero: int = 0
) -> Quantity:
    """Bytes of weights, gradients and optimizer on the fullest device; activations come on top.

    What every device holds alike is sharded by ZeRO: stage 1 the optimizer's, 2 also gradients, 3 also weights.
    """
    known("recipe", recipe, RECIPES)
    whole_numbers(0, 3, zero=zero)
    layout, how = layout or Layout(), RECIPES[recipe]
    counts = {True: 0, False: 0}
    for weight, layers in model_weights(model):
        counts[weight.stored > 1] += layers * layout.held(weight) * weight.size
    experts, rest = (-(-count // layout.evenly) for count in (counts[True], counts[False]))
    kinds = (("weights", how.weights, 3), ("gradients", how.gradients, 2), ("optimizer", how.optimizer, 1))
    parts = []
    for name, each, stage in kinds:
        shards = layout.devices if zero >= stage and layout.divide == "experts" else 1
        formula = f"{experts} × {each} + {rest} × {each}" + (f" ÷ {shards}" if shards > 1 else "")
        parts.append(Quantity(experts * each + -(-rest * each // shards), "byte", formula, name))
    return total(parts, "byte", f"training states with {recipe}")


@dataclass(frozen=True)
class Offloaded:
    """A model some of whose experts lie elsewhere: bytes on the device, bytes elsewhere, and what a token fetches."""

    resident: Quantity
    elsewhere: Quantity
    fetched: Quantity

    def seconds(self, bandwidth: float) -> Quantity:
        """Time to fetch what one token needs over a link of `bandwidth` bytes per second."""
        positive_numbers(bandwidth=bandwidth)
        value = self.fetched.value / bandwidth
        return Quantity(value, "second", f"{written(self.fetched.value)} ÷ {written(bandwidth)}")


def offloaded(model: Architecture, name: str, resident: int) -> Offloaded:
    """With at most `resident` experts of each layer on the device, and choices that do not favour them.

    Then each of a token's choices is elsewhere with the same chance. Real caches do better, where experts repeat.
    """
    whole_numbers(resident=resident)
    how = precision(name)
    here, there, missed = [], [], []
    for weight, layers in model_weights(model):
        held = weight.stored if weight.stored <= 1 else min(resident, weight.stored)
        tensor = stored(weight, how)
        here.append((layers * held, tensor))
        if held < weight.stored:
            there.append((layers * (weight.stored - held), tensor))
            used, away = min(weight.used, weight.stored), weight.stored - held
            value = layers * used * away / weight.stored * tensor.size
            formula = f"{layers} layers × {used} × {away} ÷ {weight.stored} × {tensor.size}"
            missed.append(Quantity(value, "byte", formula, weight.name))
    return Offloaded(
        summed("on the device", here), summed("elsewhere", there), total(missed, "byte", "fetched for a token")
    )
