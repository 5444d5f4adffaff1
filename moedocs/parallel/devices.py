"""Tensors on their way between a CPU and the device that a model computes on."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from moedocs.engine import Transformer


def at_home(model: Transformer) -> Transformer:
    """The model, which from now on takes tensors from the CPU and gives back tensors there."""
    device = next(model.parameters()).device
    model.register_forward_pre_hook(lambda _, given: moved(given, device))
    model.register_forward_hook(lambda _, given, output: moved(output, torch.device("cpu")))
    return model


def moved(value: Any, device: torch.device) -> Any:
    """The value with all tensors in it on the device: in dictionaries, lists, tuples and records."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(moved(item, device) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: moved(getattr(value, one.name), device) for one in fields(value)})
    return value
