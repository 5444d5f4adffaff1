"""Token-choice routing in NumPy, the twin of moedocs.engine.routing: same names, same choices, same weights.

Shapes: T tokens · E num_experts · K top_k
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moedocs.config import RoutingConfig

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Routing:
    """The result of routing: `weights_TE` is zero wherever `map_TE` is False; `index_TK` keeps dropped choices too."""

    logits_TE: Floats
    probs_TE: Floats
    map_TE: Bools
    weights_TE: Floats
    index_TK: NDArray[np.intp]
    dropped_TE: Bools


def softmax_top_k(logits_TE: ArrayLike, config: RoutingConfig, *, bias_E: ArrayLike | None = None) -> Routing:
    """Each token takes its K most probable experts, weighted by probability.

    Without renormalising and with K = 1 that is Switch, renormalised and with K = 2 Mixtral. `bias_E` moves the choice,
    never the weight (DeepSeek-V3, eq. 16, where scores are sigmoids). Equal scores go to the lowest expert index.
    Raises ValueError for a logit that is not finite, naming its token, and for shapes that do not fit.
    """
    logits_TE = np.asarray(logits_TE, dtype=np.float32)
    _check(logits_TE, config)
    probs_TE = _softmax(logits_TE)
    scores_TE = logits_TE if bias_E is None else probs_TE + _bias(bias_E, config)
    index_TK = np.argsort(-scores_TE, axis=-1, kind="stable")[:, : config.top_k]
    map_TE = np.zeros(logits_TE.shape, dtype=bool)
    np.put_along_axis(map_TE, index_TK, True, axis=-1)
    chosen_TE = _softmax(np.where(map_TE, logits_TE, -np.inf)) if config.renormalise else probs_TE
    weights_TE = np.where(map_TE, chosen_TE, np.float32(0))
    return Routing(logits_TE, probs_TE, map_TE, weights_TE, index_TK, np.zeros_like(map_TE))


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


def _softmax(logits_TE: Floats) -> Floats:
    with np.errstate(over="ignore"):  # a gap beyond float32 becomes -inf, whose exponential is the 0 it should be
        powers_TE: Floats = np.exp(logits_TE - logits_TE.max(-1, keepdims=True))
    powers_TE /= powers_TE.sum(-1, keepdims=True)
    return powers_TE


def _bias(bias_E: ArrayLike, config: RoutingConfig) -> Floats:
    bias_E = np.asarray(bias_E, dtype=np.float32)
    if bias_E.shape != (config.num_experts,):
        raise ValueError(f"bias of shape {bias_E.shape} does not fit num_experts={config.num_experts}")
    return bias_E


def _check(logits_TE: Floats, config: RoutingConfig) -> None:
    if logits_TE.ndim != 2 or logits_TE.shape[1] != config.num_experts:
        raise ValueError(f"router logits of shape {logits_TE.shape} do not fit num_experts={config.num_experts}")
    bad_NX = np.argwhere(~np.isfinite(logits_TE))
    if len(bad_NX):
        token, expert = bad_NX[0]
        value = logits_TE[token, expert]
        raise ValueError(f"router logit of token {token} for expert {expert} is {value}, not a finite number")
