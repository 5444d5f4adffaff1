"""How even a load is, how sure a router is, and what capacity costs: numbers to report, not to train on.

Shapes: T tokens · E num_experts · K top_k · G groups
"""

import math

import torch
from torch import Tensor

from moedocs.engine.balance import load
from moedocs.engine.record import Routing


def load_share(load_E: Tensor) -> Tensor:
    """Each expert's share (E,) of all assignments, from its count: `load(routing)`, or a sum of several loads.

    Shares of the T * K assignments, which sum to 1; a share of the T tokens would sum to K. Raises ValueError for
    something that is no load, or one of 0 assignments.
    """
    counts_E = _counts(load_E)
    if not counts_E.any():
        raise ValueError(f"0 assignments to {len(counts_E)} experts have no shares")
    return counts_E / counts_E.sum()


def coefficient_of_variation(load_E: Tensor) -> Tensor:
    """Standard deviation over mean of the load (its square is Shazeer et al. 2017's CV²); 0 at perfect balance.

    sqrt(E - 1) if one expert takes all. The deviation divides by E, not E - 1: these are all experts, not a sample.
    """
    return load_share(load_E).std(correction=0) * len(load_E)


def load_imbalance(load_E: Tensor) -> Tensor:
    """Largest over mean load: how many times longer the busiest expert works; 1 at perfect balance, E at collapse.

    Wang et al. 2024 report it less 1, as MaxVio.
    """
    return load_share(load_E).max() * len(load_E)


def load_entropy(load_E: Tensor) -> Tensor:
    """Entropy of the load over its largest value, log E: 1 at perfect balance, 0 if one expert takes all.

    One expert alone counts as balanced: 1.
    """
    share_E = load_share(load_E)
    return _entropy(share_E) / math.log(len(share_E)) if len(share_E) > 1 else share_E.sum()


def dead_experts(load_E: Tensor) -> Tensor:
    """How many experts no token chose. A small batch leaves some without a token by chance: sum loads over many."""
    return (_counts(load_E) == 0).sum()


def router_entropy(routing: Routing) -> Tensor:
    """Entropy of a token's router probabilities in nats, mean over tokens: log E if undecided, 0 if sure.

    It says nothing about balance: a router that is sure of one expert for all tokens has 0, and so has one that is
    sure of another expert for each. A token that a router gave nothing counts as 0.
    """
    if len(routing.probs_TE) == 0:
        raise ValueError("the router entropy of 0 tokens is not defined")
    return _entropy(routing.probs_TE).mean()


def dropped_share(routing: Routing) -> Tensor:
    """Share of all assignments that capacity dropped; for K > 1 often far more than the tokens left with nothing."""
    assignments = load(routing).sum()
    if assignments == 0:
        raise ValueError("the dropped share of 0 assignments is not defined")
    return routing.dropped_TE.sum() / assignments.double()


def unserved_share(routing: Routing) -> Tensor:
    """Share of tokens that no expert computes, dropped by all they chose or, in expert choice, chosen by none."""
    if len(routing.map_TE) == 0:
        raise ValueError("the unserved share of 0 tokens is not defined")
    return (~routing.map_TE.any(1)).double().mean()


def padded_share(routing: Routing, capacity: int, *, group_size: int | None = None) -> Tensor:
    """Share of all slots that stay empty, and are computed for nothing where buffers have a fixed size.

    `capacity` slots per expert and group of `group_size` tokens, in order; without it, one group of all tokens.
    """
    num_tokens, num_experts = routing.map_TE.shape
    group_size = num_tokens if group_size is None else group_size
    if capacity < 1 or group_size < 1 or num_tokens % group_size:
        raise ValueError(f"capacity={capacity} for groups of {group_size} of {num_tokens} tokens leaves no share")
    kept_GE = routing.map_TE.view(-1, group_size, num_experts).sum(1)
    if kept_GE.max() > capacity:
        raise ValueError(f"an expert holds {kept_GE.max()} tokens of a group: more than capacity={capacity}")
    return (capacity - kept_GE).double().mean() / capacity


def _counts(load_E: Tensor) -> Tensor:
    if load_E.ndim != 1 or len(load_E) == 0 or not load_E.isfinite().all() or (load_E < 0).any():
        raise ValueError(f"a load must be one count, at least 0, per expert, not {load_E.tolist()}")
    return load_E.double()


def _entropy(shares: Tensor) -> Tensor:
    """In nats, over the last axis; a share of 0 adds 0 and spoils no gradient."""
    return -(shares * shares.clamp_min(torch.finfo(shares.dtype).tiny).log()).sum(-1)
