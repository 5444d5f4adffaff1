"""A dry run of trainings: what they would take, with every model built, without memory, and counted."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Generator

from moedocs.config import TransformerConfig
from moedocs.cost import Quantity, forward_flops, forward_pass, parameters
from moedocs.cost.devices import Device, device
from moedocs.cost.forward import TRAINING
from moedocs.cost.memory import RECIPES
from moedocs.cost.wording import shown
from moedocs.engine import Transformer
from moedocs.lab.scale import tokens
from moedocs.lab.training import Run

UTILISATION = 0.2  # of the peak in bf16: assumed, not measured; models this narrow reach less than wide ones do
RECIPE = RECIPES["adamw-fp32"]  # autocast computes in bf16 from weights that are kept in float32


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What one run takes: parameters, FLOPs of its steps, bytes of states on a device (activations on top), hours."""

    parameters: int
    active: int
    tokens: int
    flops: float
    state_bytes: int
    hours: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What runs would take on devices of one kind, `devices` of them sharing each run, at a `utilisation`."""

    device: Device
    devices: int
    utilisation: float
    runs: dict[str, Needs]

    @property
    def hours(self) -> float:
        """Of one device, for all runs."""
        return math.fsum(one.hours for one in self.runs.values())


def plan(
    runs: Mapping[str, Run], device_name: str = "H100", *, devices: int = 1, utilisation: float = UTILISATION
) -> Plan:
    """Nothing is trained: a description that is not valid shows here, and a count that the cost model has otherwise."""
    if not 0 < utilisation <= 1:
        raise ValueError(f"utilisation={utilisation} must lie above 0 and be at most 1")
    on = device(device_name)
    needs: dict[TransformerConfig, int] = {}
    for run in runs.values():
        if run.model not in needs:
            needs[run.model] = _counted(run.model)
    speed = on.peak("bf16") * utilisation
    return Plan(
        device=on,
        devices=devices,
        utilisation=utilisation,
        runs={key: _needs(run, needs[run.model], devices, speed) for key, run in runs.items()},
    )


def _counted(config: TransformerConfig) -> int:
    """Parameters of the real model; raises AssertionError if the cost model has another number."""
    with torch.device("meta"):
        model = Transformer(config, generator=Generator())
    count = sum(weight.numel() for weight in model.parameters())
    if count != (expected := parameters(config).total):
        raise AssertionError(f"the model has {count:,} parameters, the cost model counts {expected:,}: {config}")
    return count


def _needs(run: Run, count: int, devices: int, speed: float) -> Needs:
    part = parameters(run.model)
    flops = run.training.steps * TRAINING * _forward(run)
    held = count - part.experts + -(-part.experts // devices)
    return Needs(
        parameters=count,
        active=part.active,
        tokens=tokens(run),
        flops=flops,
        state_bytes=RECIPE.each * held,
        hours=flops / speed / 3600,
    )


def _forward(run: Run) -> float:
    """FLOPs of a step's forward pass; on average where they depend on who is dropped."""
    config, sequences, length = run.model, run.training.sequences, run.training.sequence_length
    try:
        return forward_pass(config, sequences, length).total_causal
    except ValueError:
        return sequences * length * forward_flops(config, (length + 1) // 2)


def listed(experiment: ModuleType) -> dict[str, Run]:
    """The runs of an experiment before its learning rates are known: each rate once, the other seeds at the middle one.

    A grid that has to grow adds runs.
    """
    if hasattr(experiment, "RUNS"):
        return dict(experiment.RUNS)
    rates, (first, *others) = sorted(experiment.RATES), experiment.SEEDS
    describe: Callable[[str, float, int], Run] = experiment.run
    tried = [(arm, rate, first) for arm in experiment.ARMS for rate in rates]
    again = [(arm, rates[len(rates) // 2], seed) for arm in experiment.ARMS for seed in others]
    return {f"{arm}/{seed} at {rate:g}": describe(arm, rate, seed) for arm, rate, seed in (*tried, *again)}


def table(plan: Plan) -> str:
    """The plan for a terminal; runs that take the same stand in one line."""
    alike: dict[Needs, list[str]] = {}
    for key, needs in plan.runs.items():
        alike.setdefault(needs, []).append(key)
    head = ("runs", "first of them", "parameters", "active", "text", "compute each", "states", "hours each")
    rows = [head, *(_row(keys, needs) for needs, keys in alike.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    on, utilisation = plan.device.name, plan.utilisation
    lines.append(f"{len(plan.runs)} runs: {plan.hours:,.3g} hours of one {on} at {utilisation:.0%} of its peak in bf16")
    return "\n".join(lines)


def _row(keys: list[str], needs: Needs) -> tuple[str, ...]:
    return (
        str(len(keys)),
        keys[0],
        *(_told(count, "parameters") for count in (needs.parameters, needs.active)),
        _told(needs.tokens, "byte"),
        _told(needs.flops, "FLOP"),
        _told(needs.state_bytes, "byte"),
        f"{needs.hours:.3g}",
    )


def _told(value: float, unit: str) -> str:
    return shown(Quantity(value, unit, ""))


def _aligned(row: Iterable[str], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if column == 1 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
