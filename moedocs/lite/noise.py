"""Routing that draws, in NumPy: the twin of moedocs.engine.noise.

NumPy's draws are not torch's, whatever the seed: functions that take drawn numbers agree exactly, those that draw agree
in distribution.

Shapes: T tokens · D d_model · E num_experts · K top_k · J the K + 1 best
"""

import math
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from moedocs.lite.record import Floats, Routing, accepted, best_first, chosen_map, log_sigmoid
from moedocs.lite.token_choice import softmax_top_k, top_k_softmax


def noisy_logits(clean_TE: ArrayLike, noise_logits_TE: ArrayLike, normal_TE: ArrayLike) -> Floats:
    """clean + normal * softplus(noise logits): how much noise each logit gets is learned (Shazeer et al. 2017, eq. 4).

    Raises ValueError for a clean or noise logit that is not finite, naming its token, and for shapes that differ.
    """
    clean_TE, noise_logits_TE = _both(clean_TE, noise_logits_TE)
    noise_TE: Floats = np.asarray(normal_TE, dtype=np.float32)
    _check_shape("noise", noise_TE, clean_TE.shape)
    softplus_TE = -log_sigmoid(-noise_logits_TE)
    with np.errstate(over="ignore"):  # a noisy logit beyond float32 is infinite, and refused when it is used
        return clean_TE + noise_TE * softplus_TE


def noisy_top_k(clean_TE: ArrayLike, noise_logits_TE: ArrayLike, top_k: int, *, generator: Generator) -> Routing:
    """Each token takes the K highest of its noisy logits, weighted by the softmax over those K (Shazeer et al. 2017).

    Equations 3 to 5 of the paper. `logits_TE` and `probs_TE` of the record are the noisy ones, by which the choice was
    made.
    """
    normal_TE = generator.standard_normal(np.shape(clean_TE), dtype=np.float32)
    return top_k_softmax(noisy_logits(clean_TE, noise_logits_TE, normal_TE), top_k)


def load_probability(clean_TE: ArrayLike, noise_logits_TE: ArrayLike, routing: Routing) -> Floats:
    """P(expert e is among token t's K if e's noise alone is drawn anew) (Shazeer et al. 2017, appendix A, eqs. 8, 9).

    (T, E) in 0..1; its sum over the tokens is the smooth load of each expert (eq. 10). A row sums to K only on average
    over the noise. `routing` is what `noisy_top_k` made of the same two tables.
    """
    clean_TE, noise_logits_TE = _both(clean_TE, noise_logits_TE)
    _check_shape("a routing", routing.logits_TE, clean_TE.shape)
    top_k, num_experts = routing.index_TK.shape[1], clean_TE.shape[1]
    if top_k == num_experts:
        return np.ones_like(clean_TE)
    best_TJ = np.take_along_axis(routing.logits_TE, best_first(routing.logits_TE, top_k + 1), axis=-1)
    # the K-th highest of the OTHERS: one further down for an expert that is itself among the K
    bound_TE = np.where(routing.chosen_TE, best_TJ[:, top_k:], best_TJ[:, top_k - 1 : top_k])
    deviation_TE = np.logaddexp(0, noise_logits_TE.astype(np.float64)).clip(np.finfo(np.float32).tiny)
    short_TE = (bound_TE - clean_TE.astype(np.float64)) / deviation_TE
    return _upper_tail(short_TE).astype(np.float32)


def gshard_top_2(logits_TE: ArrayLike, *, generator: Generator, threshold: float = 0.5) -> Routing:
    """Each token takes its best expert, and its second best with chance min(1, w / threshold) (GShard, algorithm 1).

    w is the second's share of the two probabilities; the weights are shares of the two whatever the draw says. A
    skipped choice is -1 in `index_TK`. threshold=0 keeps every second.
    """
    routing = softmax_top_k(logits_TE, 2)
    uniform_T = generator.random(len(routing.index_TK), dtype=np.float32)
    return with_random_second(routing, uniform_T, threshold=threshold)


def with_random_second(routing: Routing, uniform_T: ArrayLike, *, threshold: float = 0.5) -> Routing:
    """A top-2 routing, before any capacity, without the second choices of weight at most threshold * `uniform_T`.

    `uniform_T` lies in 0..1, 1 excluded, one number per token: what `gshard_top_2` draws. threshold=0 keeps all.
    """
    if routing.index_TK.shape[1] != 2:
        raise ValueError(f"a random second needs top_k=2, not {routing.index_TK.shape[1]}")
    if not 0 <= threshold < math.inf:
        raise ValueError(f"threshold={threshold} must be a finite number, at least 0")
    uniform_T = np.asarray(uniform_T, dtype=np.float64)
    if uniform_T.shape != routing.index_TK.shape[:1]:
        raise ValueError(f"draws of shape {uniform_T.shape} do not fit {len(routing.index_TK)} tokens")
    if threshold == 0:
        return routing
    first_T1, second_T1 = routing.index_TK[:, :1], routing.index_TK[:, 1:]
    skipped_T1 = uniform_T[:, None] * threshold >= np.take_along_axis(routing.weights_TE, second_T1, axis=1)
    skipped_TE = skipped_T1 & chosen_map(second_T1, routing.map_TE.shape[1])
    return replace(
        routing,
        map_TE=routing.map_TE & ~skipped_TE,
        weights_TE=np.where(skipped_TE, np.float32(0), routing.weights_TE),
        index_TK=np.concatenate([first_T1, np.where(skipped_T1, -1, second_T1)], axis=1),
    )


def jittered(x_TD: ArrayLike, epsilon: float, *, generator: Generator) -> Floats:
    """x with every number multiplied by its own draw from 1 - epsilon .. 1 + epsilon.

    Switch's input jitter (appendix C). For the router's input in training; the experts see x as it was.
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon={epsilon} must lie in 0..1")
    x_TD = np.asarray(x_TD, dtype=np.float32)
    uniform_TD = generator.random(x_TD.shape, dtype=np.float32)
    jittered_TD: Floats = x_TD * (1 + np.float32(epsilon) * (2 * uniform_TD - 1))
    return jittered_TD


def _both(clean_TE: ArrayLike, noise_logits_TE: ArrayLike) -> tuple[Floats, Floats]:
    clean_TE, noise_logits_TE = accepted(clean_TE), accepted(noise_logits_TE, "noise logit")
    _check_shape("a table of noise logits", noise_logits_TE, clean_TE.shape)
    return clean_TE, noise_logits_TE


def _check_shape(name: str, table: Floats, shape: tuple[int, ...]) -> None:
    if table.shape != shape:
        raise ValueError(f"{name} of shape {table.shape} does not fit router logits of shape {shape}")


def _upper_tail(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(a normal draw exceeds x), by erfc, which keeps the digits of a small one; NumPy has none: one at a time."""
    doubles: NDArray[np.float64] = np.vectorize(math.erfc, otypes=[np.float64])(x / math.sqrt(2))
    return doubles / 2
