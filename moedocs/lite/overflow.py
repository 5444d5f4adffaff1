"""Capacity in NumPy, the twin of moedocs.engine.overflow.

Shapes: T tokens · G groups · S tokens of one group · E num_experts · K top_k · C capacity
"""

from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from moedocs.config.routing import CapacityOrder
from moedocs.lite.grouping import in_groups
from moedocs.lite.record import Floats, Ints, Routing


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
    - "random": the same, with the tokens shuffled by `generator` (not the draws of the torch twin).
    - "batch-prioritized": the same, with the tokens sorted by their largest router probability (V-MoE).
    - "probability": each expert keeps the tokens that give it the highest weights, whatever their rank (Megatron-Core).

    What is equal goes to the earlier token, in both twins. With a `group_size` each run of so many tokens, such as a
    sequence, has a capacity of its own. What is kept keeps its weight. Raises ValueError for a negative capacity,
    tokens that do not fill the last group, and "random" without a generator.
    """
    if capacity < 0:
        raise ValueError(f"capacity={capacity} must not be negative")
    turn_GSE = _turns(routing, order, group_size, generator)
    served_GCE = turn_GSE.argsort(axis=1, kind="stable")[:, :capacity]
    served_GSE = np.zeros(turn_GSE.shape, dtype=bool)
    np.put_along_axis(served_GSE, served_GCE, True, axis=1)
    map_TE = routing.map_TE & served_GSE.reshape(routing.map_TE.shape)
    dropped_TE = routing.dropped_TE | (routing.map_TE & ~map_TE)
    weights_TE = np.where(map_TE, routing.weights_TE, np.float32(0))
    return replace(routing, map_TE=map_TE, weights_TE=weights_TE, dropped_TE=dropped_TE)


def queue_place(
    routing: Routing,
    *,
    order: CapacityOrder = "order",
    group_size: int | None = None,
    generator: Generator | None = None,
) -> Ints:
    """Each assignment's place (T, E) in the queue of its expert and group, from 0: `with_capacity` keeps those below C.

    What no token chose stands behind all that was chosen.
    """
    turn_GSE = _turns(routing, order, group_size, generator)
    place_GSE = turn_GSE.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return np.asarray(place_GSE.reshape(routing.map_TE.shape))


def _turns(
    routing: Routing, order: CapacityOrder, group_size: int | None, generator: Generator | None
) -> NDArray[np.float64]:
    """When an expert gets to each token (G, S, E), lowest first; infinity where the token did not choose it."""
    if order == "probability":
        turn_GSE = -in_groups(routing.weights_TE, group_size).astype(np.float64)
    else:
        rank_GSE = in_groups(_ranks(routing), group_size)
        queue_GS = _queue(in_groups(routing.probs_TE, group_size), order, generator)
        turn_GSE = (rank_GSE * queue_GS.shape[1] + queue_GS[..., None]).astype(np.float64)
    return np.where(in_groups(routing.map_TE, group_size), turn_GSE, np.inf)


def _queue(probs_GSE: Floats, order: CapacityOrder, generator: Generator | None) -> NDArray[np.intp]:
    """Each token's place (G, S) in the queue of its group, from 0."""
    shape = probs_GSE.shape[:2]
    if order == "order":
        return np.broadcast_to(np.arange(shape[1]), shape)
    if order == "batch-prioritized":
        key_GS = -probs_GSE.max(-1)
    elif order == "random":
        if generator is None:
            raise ValueError("order='random' needs a generator")
        key_GS = generator.random(shape, dtype=np.float32)
    else:
        raise ValueError(f"order={order!r} must be one of {', '.join(get_args(CapacityOrder))}")
    place_GS: NDArray[np.intp] = key_GS.argsort(axis=1, kind="stable").argsort(axis=1)
    return place_GS


def _ranks(routing: Routing) -> Ints:
    """At which place (T, E), from 0, a token named each expert; 0 too where it did not."""
    index_TK, (num_tokens, num_experts) = routing.index_TK, routing.map_TE.shape
    rank_TK = np.broadcast_to(np.arange(index_TK.shape[1]), index_TK.shape)
    # what a token did not use of its K is written into a column that is then cut off
    column_TK = np.where(index_TK < 0, num_experts, index_TK)
    rank_TX = np.zeros((num_tokens, num_experts + 1), dtype=np.int64)
    np.put_along_axis(rank_TX, column_TK, rank_TK, axis=1)
    return np.asarray(rank_TX[:, :-1])
