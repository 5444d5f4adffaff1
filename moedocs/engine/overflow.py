"""Capacity: what happens when an expert is chosen by more tokens than it has slots for.

Shapes: T tokens · G groups · S tokens of one group · E num_experts · K top_k · C capacity
"""

from dataclasses import replace
from typing import get_args

import torch
from torch import Generator, Tensor

from moedocs.config.routing import CapacityOrder
from moedocs.engine.grouping import in_groups
from moedocs.engine.record import Routing


def with_capacity(
    routing: Routing,
    capacity: int,
    *,
    order: CapacityOrder = "order",
    group_size: int | None = None,
    generator: Generator | None = None,
) -> Routing:
    """Keep at most `capacity` tokens per expert, the first by `order`; the rest are dropped.

    - "order": all first choices in token order, then all second ones (GShard, algorithm 1, but for its random skips).
    - "random": the same, with the tokens shuffled by `generator`.
    - "batch-prioritized": the same, with the tokens sorted by their largest router probability (V-MoE).
    - "probability": each expert keeps the tokens that give it the highest weights, whatever their rank (Megatron-Core).

    What is equal goes to the earlier token. With a `group_size` each run of so many tokens, such as a sequence, has a
    capacity of its own. None of it is causal: a later token can displace an earlier one, except for K = 1 in "order".
    What is kept keeps its weight, nothing is renormalised: a token with a dropped choice receives less, and one with
    none left only its residual. Raises ValueError for a negative capacity, tokens that do not fill the last group, and
    "random" without a generator.
    """
    if capacity < 0:
        raise ValueError(f"capacity={capacity} must not be negative")
    turn_GSE = _turns(routing, order, group_size, generator)
    served_GCE = turn_GSE.argsort(dim=1, stable=True)[:, :capacity]
    served_GSE = torch.zeros_like(turn_GSE, dtype=torch.bool).scatter(1, served_GCE, True)
    map_TE = routing.map_TE & served_GSE.flatten(0, 1)
    dropped_TE = routing.dropped_TE | (routing.map_TE & ~map_TE)
    weights_TE = routing.weights_TE.masked_fill(~map_TE, 0.0)
    return replace(routing, map_TE=map_TE, weights_TE=weights_TE, dropped_TE=dropped_TE)


def _turns(routing: Routing, order: CapacityOrder, group_size: int | None, generator: Generator | None) -> Tensor:
    """When an expert gets to each token (G, S, E), lowest first; infinity where the token did not choose it."""
    if order == "probability":
        turn_GSE = -in_groups(routing.weights_TE.detach(), group_size).double()
    else:
        rank_GSE = in_groups(_ranks(routing), group_size)
        queue_GS = _queue(in_groups(routing.probs_TE.detach(), group_size), order, generator)
        turn_GSE = (rank_GSE * queue_GS.shape[1] + queue_GS[..., None]).double()
    return turn_GSE.masked_fill(~in_groups(routing.map_TE, group_size), torch.inf)


def _queue(probs_GSE: Tensor, order: CapacityOrder, generator: Generator | None) -> Tensor:
    """Each token's place (G, S) in the queue of its group, from 0."""
    shape = probs_GSE.shape[:2]
    if order == "order":
        return torch.arange(shape[1], device=probs_GSE.device).expand(shape)
    if order == "batch-prioritized":
        key_GS = -probs_GSE.amax(-1)
    elif order == "random":
        if generator is None:
            raise ValueError("order='random' needs a generator")
        key_GS = torch.rand(shape, generator=generator, device=generator.device).to(probs_GSE.device)
    else:
        raise ValueError(f"order={order!r} must be one of {', '.join(get_args(CapacityOrder))}")
    return key_GS.argsort(dim=1, stable=True).argsort(dim=1)


def _ranks(routing: Routing) -> Tensor:
    """At which place (T, E), from 0, a token named each expert; 0 too where it did not."""
    index_TK, (num_tokens, num_experts) = routing.index_TK, routing.map_TE.shape
    rank_TK = torch.arange(index_TK.shape[1], device=index_TK.device).expand_as(index_TK)
    # what a token did not use of its K is written into a column that is then cut off
    column_TK = torch.where(index_TK < 0, num_experts, index_TK)
    return rank_TK.new_zeros(num_tokens, num_experts + 1).scatter(1, column_TK, rank_TK)[:, :-1]
