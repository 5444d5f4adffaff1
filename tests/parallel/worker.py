"""Worlds of so many processes: each rank computes its share of every case and leaves what it found in a file."""

import sys
from typing import Any

import torch
from torch import Tensor

from moedocs.engine import Experts
from moedocs.parallel import (
    LocalExperts,
    World,
    divided,
    expert_parallel_dispatch,
    gradient_norm,
    joined,
    joint_mean,
    own_rows,
    part,
    share_gradients,
    whole,
    whole_state,
)
from tests.parallel import cases
from tests.parallel.processes import forked


def dispatched(world: World) -> dict[str, Any]:
    return {name: _dispatched(name, world) for name in cases.routings()}


def _dispatched(name: str, world: World) -> dict[str, Tensor]:
    x_TD = part(cases.tokens(), world).requires_grad_()
    routing = own_rows(cases.routings()[name], world)
    routing.weights_TE.requires_grad_()
    experts = LocalExperts(cases.experts(), world)
    out_TD = expert_parallel_dispatch(x_TD, routing, experts, world)
    (out_TD * part(cases.weights_of(cases.TOKENS), world)).sum().backward()  # type: ignore[no-untyped-call]
    found = {"out": out_TD, "x": x_TD.grad, "weights": routing.weights_TE.grad} | _gradients(experts)
    return {name: whole(tensor, world) for name, tensor in found.items() if tensor is not None}


def _gradients(experts: Experts) -> dict[str, Tensor | None]:
    return {name: stack.grad for name, stack in experts.named_parameters()}


def trained(world: World) -> dict[str, Any]:
    return {name: _trained(name, world) for name in cases.models()}


def _trained(name: str, world: World) -> dict[str, Any]:
    model = divided(cases.built(cases.models()[name]), world)
    loss, routings = cases.loss_of(model, part(cases.text(), world))
    loss.backward()  # type: ignore[no-untyped-call]
    share_gradients(model, world)
    norm = gradient_norm(model, world)
    model.update_biases(routings)
    biases = [layer.bias_E for layer in model.moe_layers()]
    for weight in model.parameters():
        weight.data = torch.zeros_like(weight) if weight.grad is None else weight.grad
    gradients = whole_state(model, world)
    return {"loss": joint_mean(loss, world), "norm": norm, "bias": biases, "gradients": gradients}


def started(world: World) -> dict[str, Any]:
    """Models that differ before they are divided."""
    config = cases.models()["dense"]
    model = cases.built(config)
    for weight in model.parameters():
        weight.data += world.rank
    return {"state": divided(model, world).state_dict()}


WORK = {"dispatched": dispatched, "trained": trained, "started": started}


def rank(_: int, folder: str, size: int) -> None:
    torch.set_num_threads(1)
    with joined(patience=60, device="cpu") as world:
        found = {name: work(world) for name, work in WORK.items()}
        torch.save(found, f"{folder}/{size}.{world.rank}.pt")


if __name__ == "__main__":
    # one world after the other, forked off this process, which has only imported
    codes = [code for size in map(int, sys.argv[2:]) for code in forked(size, rank, sys.argv[1], size)]
    sys.exit(any(codes))
