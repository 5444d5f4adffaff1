"""What is lost without an expert: the same model on the same text, with assignments taken away.

Shapes: B sequences · S sequence length · T = B * S tokens · E experts · X categories
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import fields, replace
from typing import cast

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from moedocs.config import RoutingConfig
from moedocs.engine import Output, Transformer
from moedocs.engine.record import Routing
from moedocs.engine.routers import route
from moedocs.engine.transformer import Block

Choice = Callable[[Routing], Tensor]  # which assignments are taken away (T, E)
Change = Callable[[Routing], Routing]


@torch.no_grad()
def losses(model: Transformer, bytes_BS: Tensor) -> Tensor:
    """Nats of each next byte (T,); the sequences are one byte longer than S."""
    output: Output = model(bytes_BS[:, :-1])
    return cross_entropy(output.logits_BSV.flatten(0, 1), bytes_BS[:, 1:].flatten().long(), reduction="none")


def changed(model: Transformer, layer: int, change: Change) -> Transformer:
    """A copy of the model in which the routing of one MoE layer goes through `change`; the model stays as it is."""
    copy = deepcopy(model)
    moe = copy.moe_layers()[layer]
    decide = moe.route
    moe.route = lambda x_TD, **more: change(decide(x_TD, **more))  # type: ignore[method-assign]
    return copy


def of_expert(routing: Routing, expert: int) -> Tensor:
    """All assignments to one expert (T, E)."""
    return routing.map_TE & (torch.arange(routing.map_TE.shape[1]) == expert)


def at_random(routing: Routing, count: int, generator: Generator) -> Tensor:
    """So many of all assignments, whoever has them (T, E)."""
    token_N, expert_N = routing.map_TE.nonzero(as_tuple=True)
    drawn_n = torch.randperm(len(token_N), generator=generator)[:count]
    lost_TE = torch.zeros_like(routing.map_TE)
    lost_TE[token_N[drawn_n], expert_N[drawn_n]] = True
    return lost_TE


def rerouted(routing: Routing, lost_TE: Tensor, config: RoutingConfig) -> Routing:
    """Tokens choose again without what they lost, as if its logit were minus infinity; the others keep their choice.

    Only for routers in which a token chooses by its own logits: what a capacity or a bias does to others is refused.
    """
    plain = config.router in ("softmax", "sigmoid") and config.capacity_factor is None and not config.balance.bias_rate
    if not plain or config.top_k >= config.choices or config.groups:
        raise ValueError(f"no other choice is defined for {config}")
    # the router accepts only finite numbers, and this one has the probability 0
    lowest = torch.finfo(routing.logits_TE.dtype).min
    again = route(routing.logits_TE.masked_fill(lost_TE, lowest), config, training=False)
    names = [field.name for field in fields(Routing) if getattr(routing, field.name) is not None]
    lost_T1 = lost_TE.any(1, keepdim=True)
    return replace(
        routing, **{name: torch.where(lost_T1, getattr(again, name), getattr(routing, name)) for name in names}
    )


def silenced(routing: Routing, lost_TE: Tensor) -> Routing:
    """What is lost adds nothing, and nobody takes its place: such tokens are dropped."""
    return replace(
        routing,
        map_TE=routing.map_TE & ~lost_TE,
        weights_TE=routing.weights_TE.masked_fill(lost_TE, 0.0),
        dropped_TE=routing.dropped_TE | lost_TE,
    )


@torch.no_grad()
def above(model: Transformer, block: int, bytes_BS: Tensor) -> Transformer:
    """A copy for these sequences alone, which starts from what comes out of one block's attention.

    The blocks below and that attention are done once: the same bits in less time. Refused for a model whose tokens may
    go past blocks.
    """
    if model.config.depth is not None:
        raise ValueError("tokens that go past a block are not followed here: give a model without depth")
    copy, ids_BS = deepcopy(model), bytes_BS[:, :-1].long()
    x_BSD = copy.embed(ids_BS)
    for below in copy.blocks[:block]:
        x_BSD, _ = below(x_BSD, ids_BS=ids_BS)
    copy.blocks = copy.blocks[block:]
    first = cast(Block, copy.blocks[0])
    residual_BSD = first.attend(x_BSD)
    first.attend = lambda x_BSD: residual_BSD  # type: ignore[method-assign]
    return copy


@torch.no_grad()
def ablations(model: Transformer, bytes_BS: Tensor, *, generator: Generator) -> Iterator[tuple[str, int, int, Tensor]]:
    """How many nats each next byte costs more (T,) without an expert: kind of loss, MoE layer, expert, difference.

    Four kinds: "rerouted" and "silenced", and for each the control in which as many assignments of the layer, drawn at
    random, are lost.
    """
    before_T = losses(model, bytes_BS)
    for layer, (moe, block) in enumerate(zip(model.moe_layers(), model.config.moe_blocks, strict=True)):
        upper = above(model, block, bytes_BS)
        for expert in range(len(moe.experts)):
            for kind, change in _changes(moe.config, expert, generator).items():
                yield kind, layer, expert, losses(changed(upper, 0, change), bytes_BS) - before_T


def _changes(config: RoutingConfig, expert: int, generator: Generator) -> dict[str, Change]:
    def random(routing: Routing) -> Tensor:
        return at_random(routing, int(routing.map_TE[:, expert].sum()), generator)

    return {
        "rerouted": lambda routing: rerouted(routing, of_expert(routing, expert), config),
        "silenced": lambda routing: silenced(routing, of_expert(routing, expert)),
        "rerouted_at_random": lambda routing: rerouted(routing, random(routing), config),
        "silenced_at_random": lambda routing: silenced(routing, random(routing)),
    }
