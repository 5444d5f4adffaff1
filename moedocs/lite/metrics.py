"""How even a load is, how sure a router is, what capacity costs, in NumPy: the twin of moedocs.engine.metrics.

Shapes: T tokens · E num_experts · K top_k · G groups
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moedocs.lite.balance import load
from moedocs.lite.record import Routing

Doubles = NDArray[np.float64]


def load_share(load_E: ArrayLike) -> Doubles:
    """Each expert's share (E,) of all assignments, from its count: `load(routing)`, or a sum of several loads.

    Shares of the T * K assignments, which sum to 1. Raises ValueError for no load, or one of 0 assignments.
    """
    counts_E = _counts(load_E)
    if not counts_E.any():
        raise ValueError(f"0 assignments to {len(counts_E)} experts have no shares")
    share_E: Doubles = counts_E / counts_E.sum()
    return share_E


def coefficient_of_variation(load_E: ArrayLike) -> float:
    """Standard deviation over mean of the load; 0 at perfect balance, sqrt(E - 1) if one expert takes all."""
    share_E = load_share(load_E)
    return float(share_E.std() * len(share_E))


def load_imbalance(load_E: ArrayLike) -> float:
    """Largest over mean load: 1 at perfect balance, E if one expert takes all."""
    share_E = load_share(load_E)
    return float(share_E.max() * len(share_E))


def load_entropy(load_E: ArrayLike) -> float:
    """Entropy of the load over its largest value, log E: 1 at perfect balance (and for one expert), 0 at collapse."""
    share_E = load_share(load_E)
    return float(_entropy(share_E) / math.log(len(share_E))) if len(share_E) > 1 else 1.0


def dead_experts(load_E: ArrayLike) -> int:
    """How many experts no token chose. A small batch leaves some without a token by chance: sum loads over many."""
    return int((_counts(load_E) == 0).sum())


def router_entropy(routing: Routing) -> float:
    """Entropy of a token's router probabilities in nats, mean over tokens: log E if undecided, 0 if sure.

    It says nothing about balance. A token that a router gave nothing counts as 0.
    """
    if len(routing.probs_TE) == 0:
        raise ValueError("the router entropy of 0 tokens is not defined")
    return float(_entropy(routing.probs_TE).mean())


def dropped_share(routing: Routing) -> float:
    """Share of all assignments that capacity dropped; for K > 1 often far more than the tokens left with nothing."""
    assignments = load(routing).sum()
    if assignments == 0:
        raise ValueError("the dropped share of 0 assignments is not defined")
    return float(routing.dropped_TE.sum() / assignments)


def unserved_share(routing: Routing) -> float:
    """Share of tokens that no expert computes, dropped by all they chose or, in expert choice, chosen by none."""
    if len(routing.map_TE) == 0:
        raise ValueError("the unserved share of 0 tokens is not defined")
    return float((~routing.map_TE.any(1)).mean())


def padded_share(routing: Routing, capacity: int, *, group_size: int | None = None) -> float:
    """Share of all slots that stay empty, and are computed for nothing where buffers have a fixed size.

    `capacity` slots per expert and group of `group_size` tokens, in order; without it, one group of all tokens.
    """
    num_tokens, num_experts = routing.map_TE.shape
    group_size = num_tokens if group_size is None else group_size
    if capacity < 1 or group_size < 1 or num_tokens % group_size:
        raise ValueError(f"capacity={capacity} for groups of {group_size} of {num_tokens} tokens leaves no share")
    kept_GE = routing.map_TE.reshape(-1, group_size, num_experts).sum(1)
    if kept_GE.max() > capacity:
        raise ValueError(f"an expert holds {kept_GE.max()} tokens of a group: more than capacity={capacity}")
    return float((capacity - kept_GE).mean() / capacity)


def _counts(load_E: ArrayLike) -> Doubles:
    counts_E = np.asarray(load_E, dtype=np.float64)
    if counts_E.ndim != 1 or len(counts_E) == 0 or not np.isfinite(counts_E).all() or (counts_E < 0).any():
        raise ValueError(f"a load must be one count, at least 0, per expert, not {np.asarray(load_E).tolist()}")
    return counts_E


def _entropy(shares: NDArray[np.floating]) -> Doubles:
    """In nats, over the last axis; a share of 0 adds 0."""
    return np.asarray(-(shares * np.log(np.maximum(shares, np.finfo(shares.dtype).tiny))).sum(-1))
