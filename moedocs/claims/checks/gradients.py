"""Checks by backpropagation: what reaches an expert, the router, and a balancing loss."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.autograd import backward

from moedocs.claims.found import Found, number
from moedocs.config import RoutingConfig
from moedocs.engine import MoELayer, Routing

TOKENS, WIDTH, EXPERTS, SEED = 64, 16, 8, 0
IDLE = EXPERTS - 1


def unused_expert() -> Found:
    """The gradient of an expert that no token chose, and of its row in the router, with two kinds of weights."""
    plain, shares = _backward(renormalise=False)
    renormalised, _ = _backward(renormalise=True)
    idle = sum(float(_grad(matrix)[IDLE].abs().sum()) for matrix in plain.experts.parameters())
    others = sum(float(_grad(matrix)[:IDLE].abs().sum()) for matrix in plain.experts.parameters())
    row, row_renormalised = (float(_grad(layer.router_ED)[IDLE].abs().sum()) for layer in (plain, renormalised))
    chosen = int(shares.map_TE[:, IDLE].sum())
    said = f"sum of absolute values; {TOKENS} tokens, {EXPERTS} experts, top-2"
    return Found(
        holds=chosen == 0 and idle == 0 and others > 0 and row > 0 and row_renormalised == 0,
        sentence=(
            "An expert chosen by {chosen} of {tokens} tokens gets a gradient of exactly {idle}, the others "
            "together {others}. Its row in the router gets {row} if weights are shares of the softmax over all "
            "experts, and exactly {none} if they are renormalised."
        ),
        numbers={
            "chosen": number(chosen, "tokens that chose the last expert", "count"),
            "tokens": number(TOKENS, "tokens", "count"),
            "idle": number(idle, f"gradient of its three matrices, {said}"),
            "others": number(others, f"gradient of the other experts' matrices, {said}"),
            "row": number(row, f"gradient of its router row, weights not renormalised, {said}"),
            "none": number(row_renormalised, f"gradient of its router row, weights renormalised, {said}"),
        },
        seed=SEED,
    )


def without_straight_through() -> Found:
    """The router's gradient by plain backpropagation, beside the slope that a small step measures."""
    layer, x_TD, target_TD = _layer(), *_texts()
    direction_ED = torch.randn(layer.router_ED.shape, generator=Generator().manual_seed(SEED + 1), dtype=torch.float64)
    backward(_loss(layer, x_TD, target_TD))
    slope = float((_grad(layer.router_ED) * direction_ED).sum())
    step = 1e-4
    with torch.no_grad():
        layer.router_ED.add_(step * direction_ED)
        above = float(_loss(layer, x_TD, target_TD))
        layer.router_ED.sub_(2 * step * direction_ED)
        below = float(_loss(layer, x_TD, target_TD))
    measured = (above - below) / (2 * step)
    return Found(
        holds=slope != 0 and abs(slope - measured) < 0.01 * abs(slope),
        sentence=(
            "Plain backpropagation through a top-2 layer gives the router a slope of {slope:3}; the loss after "
            "a small step both ways has {measured:3}. No estimator was needed."
        ),
        numbers={
            "slope": number(slope, "gradient of the router times a random direction, by autograd"),
            "measured": number(float(f"{measured:.3g}"), f"(L(+h) - L(-h)) / 2h along it, h = {step:g}"),
        },
        seed=SEED,
    )


def renormalised_top_1() -> Found:
    """The task's gradient in the router with one expert per token, weights renormalised or not."""
    (plain, _), (renormalised, _) = (_backward(renormalise=yes, top_k=1) for yes in (False, True))
    return Found(
        holds=float(_grad(renormalised.router_ED).abs().max()) == 0 and float(_grad(plain.router_ED).abs().max()) > 0,
        sentence=(
            "With one expert per token the task's gradient in the router is {plain} as it stands and exactly "
            "{none} with renormalised weights."
        ),
        numbers={
            "plain": number(
                float(_grad(plain.router_ED).abs().sum()), "sum of absolute gradients, weights as they are"
            ),
            "none": number(float(_grad(renormalised.router_ED).abs().sum()), "the same, weights divided by their sum"),
        },
        seed=SEED,
    )


def router_without_labels() -> Found:
    """What the router learns does not depend on what experts that it did not choose would have said."""
    layer, changed = _layer(), _layer()
    x_TD, target_TD = _texts()
    x_TD, target_TD = x_TD[:1], target_TD[:1]  # of one token, so that six experts are not asked
    index_K = layer(x_TD)[1].index_TK[0]
    others_E = torch.ones(EXPERTS, dtype=torch.bool).index_fill(0, index_K, False)
    with torch.no_grad():
        changed.experts.down_EFD[others_E] *= -3.0
    for one in (layer, changed):
        backward(_loss(one, x_TD, target_TD))
    moved = float((_grad(layer.router_ED) - _grad(changed.router_ED)).abs().max())
    size = float(_grad(layer.router_ED).abs().max())
    return Found(
        holds=moved == 0 and size > 0,
        sentence=(
            "The answers of the {others} experts that a token did not choose were changed to something else: "
            "the router's gradient, {size} at its largest, moved by exactly {moved}. A classifier with labels "
            "would have been told."
        ),
        numbers={
            "others": number(int(others_E.sum()), f"experts of {EXPERTS} that were not chosen", "count"),
            "size": number(size, "largest absolute gradient of the router"),
            "moved": number(moved, "largest absolute change of it"),
        },
        seed=SEED,
    )


def _backward(*, renormalise: bool, top_k: int = 2) -> tuple[MoELayer, Routing]:
    """A layer after a backward pass of a task's loss, in which no token chose the last expert."""
    layer = _layer(renormalise=renormalise, top_k=top_k)
    x_TD, target_TD = _texts()
    x_TD[:, 0] = 1.0
    with torch.no_grad():
        layer.router_ED[IDLE] = 0.0
        layer.router_ED[IDLE, 0] = -3.0
    out_TD, routing = layer(x_TD)
    backward((out_TD - target_TD).square().mean())
    return layer, routing


def _layer(*, renormalise: bool = False, top_k: int = 2) -> MoELayer:
    config = RoutingConfig(num_experts=EXPERTS, top_k=top_k, renormalise=renormalise)
    return MoELayer(WIDTH, 2 * WIDTH, config, generator=Generator().manual_seed(SEED), dispatch="sorted").double()


def _texts() -> tuple[Tensor, Tensor]:
    generator = Generator().manual_seed(SEED + 2)
    x_TD, target_TD = torch.randn(2, TOKENS, WIDTH, generator=generator, dtype=torch.float64)
    return x_TD, target_TD


def _loss(layer: MoELayer, x_TD: Tensor, target_TD: Tensor) -> Tensor:
    out_TD: Tensor = layer(x_TD)[0]
    return (out_TD - target_TD).square().mean()


def _grad(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
