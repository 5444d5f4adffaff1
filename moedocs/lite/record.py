"""The one result of every routing, in NumPy: the twin of moedocs.engine.record.

Shapes: T tokens · E choices of a router (num_experts, and the no-ops after them) · K most choices of any token
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]  # 32 bits wide in a browser


@dataclass(frozen=True, eq=False)
class Routing:
    """Who goes where, with what weight: the fields of the torch record, with the same meaning.

    `probs_TE` are shares, each row sums to 1 (0 where a router gave a token nothing); `weights_TE` is zero wherever
    `map_TE` is False; `index_TK` is best first, -1 where a token has fewer than K, and keeps dropped choices too.
    `load_probability_TE` is there where a load loss is to be taken (noisy top-k).
    """

    logits_TE: Floats
    probs_TE: Floats
    map_TE: Bools
    weights_TE: Floats
    index_TK: Ints
    dropped_TE: Bools
    load_probability_TE: Floats | None = None

    @property
    def chosen_TE(self) -> Bools:
        """Who chose whom, whether or not capacity dropped the choice afterwards."""
        return self.map_TE | self.dropped_TE


def routed(
    logits_TE: Floats, probs_TE: Floats, weights_TE: Floats, index_TK: Ints, map_TE: Bools | None = None
) -> Routing:
    """The record of a choice before capacity: where `weights_TE` is not chosen it becomes an exact zero."""
    if map_TE is None:
        map_TE = chosen_map(index_TK, logits_TE.shape[1])
    weights_TE = np.where(map_TE, weights_TE, np.float32(0))
    return Routing(logits_TE, probs_TE, map_TE, weights_TE, index_TK, np.zeros_like(map_TE))


def best_first(scores_TE: Floats, top_k: int) -> Ints:
    """The K highest of each row, best first; equal scores go to the lowest expert index, as in torch."""
    if not 1 <= top_k <= scores_TE.shape[1]:
        raise ValueError(f"top_k={top_k} must lie in 1..num_experts={scores_TE.shape[1]}")
    return np.argsort(-scores_TE, axis=-1, kind="stable")[:, :top_k]


def listed(scores_TE: Floats, map_TE: Bools) -> Ints:
    """The chosen of each row of `map_TE`, best first as in `best_first`, with -1 where a token has fewer than others.

    K is the most that any token has, at least 1.
    """
    most = int(map_TE.sum(1).max(initial=1))
    index_TK = best_first(np.where(map_TE, scores_TE, np.float32(-np.inf)), most)
    return np.where(np.take_along_axis(map_TE, index_TK, axis=1), index_TK, -1)


def accepted(logits_TE: ArrayLike, name: str = "router logit") -> Floats:
    """The router logits in float32; raises ValueError unless they are a table of finite numbers, naming the place."""
    logits_TE = _float32(logits_TE)
    if logits_TE.ndim != 2 or logits_TE.shape[1] == 0:
        raise ValueError(f"{name}s must have one row per token and one column per expert, not {logits_TE.shape}")
    bad_NX = np.argwhere(~np.isfinite(logits_TE))
    if len(bad_NX):
        token, expert = bad_NX[0]
        value = logits_TE[token, expert]
        raise ValueError(f"{name} of token {token} for expert {expert} is {value}, not a finite number in float32")
    return logits_TE


def accepted_bias(bias_E: ArrayLike, num_experts: int) -> Floats:
    """The selection bias in float32; raises ValueError unless it is one finite number per expert."""
    bias_E = _float32(bias_E)
    if bias_E.shape != (num_experts,):
        raise ValueError(f"bias of shape {bias_E.shape} does not fit num_experts={num_experts}")
    if not (finite_E := np.isfinite(bias_E)).all():
        expert = int(np.argmin(finite_E))
        raise ValueError(f"bias of expert {expert} is {bias_E[expert]}, not a finite number in float32")
    return bias_E


def _float32(numbers: ArrayLike) -> Floats:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        return np.asarray(numbers, dtype=np.float32)


def chosen_map(index_TK: Ints, num_experts: int) -> Bools:
    """True where a token chose an expert (T, E); every entry of `index_TK` is an expert."""
    map_TE = np.zeros((len(index_TK), num_experts), dtype=bool)
    np.put_along_axis(map_TE, index_TK, True, axis=-1)
    return map_TE


def softmax(logits: Floats, axis: int = -1) -> Floats:
    """Shares that sum to 1 along an axis, in float32."""
    with np.errstate(over="ignore"):  # a gap beyond float32 becomes -inf, whose exponential is the 0 it should be
        powers: Floats = np.exp(logits - logits.max(axis, keepdims=True))
    powers /= powers.sum(axis, keepdims=True)
    return powers


def log_sigmoid(logits: Floats) -> Floats:
    """The logarithm of the sigmoid in float32: close to the logit itself where the sigmoid underflows."""
    logs: Floats = np.minimum(logits, 0) - np.log1p(np.exp(-np.abs(logits)))
    return logs


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)) in float32, without overflow on either side."""
    powers = np.exp(-np.abs(logits))
    scores: Floats = np.where(logits >= 0, np.float32(1), powers) / (1 + powers)
    return scores
