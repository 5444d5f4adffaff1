"""Load and the two rules that even it out, in NumPy: the twin of moedocs.engine.balance.

Shapes: T tokens · E num_experts · K top_k
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moedocs.lite.record import Routing


def load(routing: Routing) -> NDArray[np.intp]:
    """Tokens that chose each expert (E,), whether or not capacity dropped them afterwards; sums to T * K."""
    return np.asarray((routing.map_TE | routing.dropped_TE).sum(0))


def auxiliary_loss(routing: Routing) -> float:
    """E * sum_i f_i P_i (Switch, eq. 4, without its weight), f_i being expert i's share of the T * K assignments.

    Perfect balance gives 1. transformers' Mixtral loss takes f_i as a share of tokens and so is K times this one.
    """
    num_tokens, num_experts = routing.probs_TE.shape
    if num_tokens == 0:
        raise ValueError("the auxiliary loss of 0 tokens is not defined")
    counts_E = load(routing)
    return float(num_experts * (counts_E / counts_E.sum()) @ routing.probs_TE.mean(0))


def updated_bias(bias_E: ArrayLike, counts_E: ArrayLike, rate: float) -> NDArray[np.float64]:
    """b_i + rate * sign(mean load - load_i), the loss-free rule (Wang et al. 2024); perfect balance moves nothing."""
    counts_E = np.asarray(counts_E, dtype=np.float64)
    moved_E: NDArray[np.float64] = np.asarray(bias_E) + rate * np.sign(counts_E.mean() - counts_E)
    return moved_E
