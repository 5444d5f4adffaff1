"""Capacity in NumPy, the twin of moedocs.engine.overflow.

Shapes: T tokens · E num_experts · K top_k
"""

from dataclasses import replace

import numpy as np

from moedocs.lite.record import Routing


def with_capacity(routing: Routing, capacity: int) -> Routing:
    """Keep at most `capacity` tokens per expert, first come first served; the rest are dropped (GShard, algorithm 1).

    All first choices are served, in token order, before any second choice. What is kept keeps its weight. GShard also
    skips some second choices at random; nothing is random here.
    """
    if capacity < 0:
        raise ValueError(f"capacity={capacity} must not be negative")
    experts_E = np.arange(routing.map_TE.shape[1])
    chosen_KTE = (routing.index_TK.T[:, :, None] == experts_E) & routing.map_TE
    place_KTE = chosen_KTE.reshape(-1, len(experts_E)).cumsum(0).reshape(chosen_KTE.shape)
    map_TE = (chosen_KTE & (place_KTE <= capacity)).any(0)
    dropped_TE = routing.dropped_TE | (routing.map_TE & ~map_TE)
    weights_TE = np.where(map_TE, routing.weights_TE, np.float32(0))
    return replace(routing, map_TE=map_TE, weights_TE=weights_TE, dropped_TE=dropped_TE)
