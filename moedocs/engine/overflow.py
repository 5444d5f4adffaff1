"""Capacity: what happens when an expert is chosen by more tokens than it has slots for.

Shapes: T tokens · E num_experts · K top_k
"""

from dataclasses import replace

from torch.nn.functional import one_hot

from moedocs.engine.record import Routing


def with_capacity(routing: Routing, capacity: int) -> Routing:
    """Keep at most `capacity` tokens per expert, first come first served; the rest are dropped (GShard, algorithm 1).

    GShard also skips some second choices at random; nothing is random here. All first choices are served, in token
    order, before any second choice: so for K > 1 a later token can displace an earlier one, which is not causal. What
    is kept keeps its weight, nothing is renormalised: a token with a dropped choice receives less, and one with none
    left only its residual.
    """
    if capacity < 0:
        raise ValueError(f"capacity={capacity} must not be negative")
    chosen_KTE = one_hot(routing.index_TK.T, routing.map_TE.shape[1]) * routing.map_TE
    place_KTE = chosen_KTE.flatten(0, 1).cumsum(0).view_as(chosen_KTE)
    map_TE = (chosen_KTE.bool() & (place_KTE <= capacity)).any(0)
    dropped_TE = routing.dropped_TE | (routing.map_TE & ~map_TE)
    weights_TE = routing.weights_TE.masked_fill(~map_TE, 0.0)
    return replace(routing, map_TE=map_TE, weights_TE=weights_TE, dropped_TE=dropped_TE)
