"""Token choice in NumPy, the twin of moedocs.engine.token_choice: same names, same choices, same weights.

Shapes: T tokens · E num_experts · K top_k · G groups · X experts of one group
"""

import numpy as np
from numpy.typing import ArrayLike

from moedocs.config import Groups
from moedocs.lite.record import (
    Bools,
    Floats,
    Routing,
    accepted,
    accepted_bias,
    best_first,
    chosen_map,
    log_sigmoid,
    routed,
    sigmoid,
    softmax,
)


def softmax_top_k(
    logits_TE: ArrayLike,
    top_k: int,
    *,
    renormalise: bool = True,
    bias_E: ArrayLike | None = None,
    groups: Groups | None = None,
    scaling: float = 1.0,
) -> Routing:
    """Each token takes its K most probable experts, weighted by probability.

    Renormalised and with K = 2 that is Mixtral, not renormalised OLMoE, and Switch with K = 1. `bias_E` moves the
    choice, never the weight. `groups` restrict a token to those whose best expert scores highest (DeepSeek-V2).
    `scaling` multiplies the finished weights. Equal scores go to the lowest index. Raises ValueError for a logit that
    is not finite, naming its token, and for a `top_k`, a bias or groups that do not fit the experts.
    """
    logits_TE = accepted(logits_TE)
    probs_TE = softmax(logits_TE)
    scores_TE = logits_TE if bias_E is None else probs_TE + accepted_bias(bias_E, logits_TE.shape[1])
    if groups is not None:
        scores_TE = _limited(scores_TE, _open(scores_TE, groups, top_k, best=1))
    index_TK = best_first(scores_TE, top_k)
    map_TE = chosen_map(index_TK, logits_TE.shape[1])
    weights_TE = softmax(_limited(logits_TE, map_TE)) if renormalise else probs_TE
    return routed(logits_TE, probs_TE, np.float32(scaling) * weights_TE, index_TK, map_TE)


def sigmoid_top_k(
    logits_TE: ArrayLike,
    top_k: int,
    *,
    renormalise: bool = True,
    bias_E: ArrayLike | None = None,
    groups: Groups | None = None,
    scaling: float = 1.0,
) -> Routing:
    """Each token takes the K experts of highest score sigmoid(logit), weighted by score (DeepSeek-V3, eqs. 12 to 16).

    `bias_E` moves the choice, never the weight; `groups` restrict a token to those with the highest sum of their best
    two biased scores. `probs_TE` is each score's share of its row. Llama 4 is `renormalise=False`, but there the weight
    multiplies the expert's INPUT. Ties and errors are those of `softmax_top_k`.
    """
    logits_TE = accepted(logits_TE)
    scores_TE, logs_TE = sigmoid(logits_TE), log_sigmoid(logits_TE)
    biased_TE = scores_TE if bias_E is None else scores_TE + accepted_bias(bias_E, logits_TE.shape[1])
    ranked_TE = logits_TE if bias_E is None else biased_TE
    if groups is not None:
        ranked_TE = _limited(ranked_TE, _open(biased_TE, groups, top_k, best=2))
    index_TK = best_first(ranked_TE, top_k)
    map_TE = chosen_map(index_TK, logits_TE.shape[1])
    weights_TE = softmax(_limited(logs_TE, map_TE)) if renormalise else scores_TE
    return routed(logits_TE, softmax(logs_TE), np.float32(scaling) * weights_TE, index_TK, map_TE)


def top_k_softmax(logits_TE: ArrayLike, top_k: int) -> Routing:
    """Each token takes the K highest logits first, then the softmax over those K alone (gpt-oss, JetMoe).

    The same routing as renormalised `softmax_top_k`. `probs_TE` is the softmax over all experts.
    """
    logits_TE = accepted(logits_TE)
    index_TK = best_first(logits_TE, top_k)
    weights_TE = np.zeros_like(logits_TE)
    np.put_along_axis(weights_TE, index_TK, softmax(np.take_along_axis(logits_TE, index_TK, axis=-1)), axis=-1)
    return routed(logits_TE, softmax(logits_TE), weights_TE, index_TK)


def switch_top_1(logits_TE: ArrayLike) -> Routing:
    """Each token takes its most probable expert, weighted by that probability, not by 1 (Switch, section 2.1)."""
    return softmax_top_k(logits_TE, 1, renormalise=False)


def _limited(scores_TE: Floats, map_TE: Bools) -> Floats:
    return np.where(map_TE, scores_TE, np.float32(-np.inf))


def _open(scores_TE: Floats, groups: Groups, top_k: int, *, best: int) -> Bools:
    """True for the experts (T, E) of each token's chosen groups: those whose `best` highest scores sum to the most."""
    size = groups.size(scores_TE.shape[1], top_k)
    scores_TGX = np.sort(scores_TE.reshape(len(scores_TE), groups.count, size), axis=-1)
    with np.errstate(over="ignore"):  # two biases near the end of float32 sum to infinity, as they do in torch
        scores_TG = scores_TGX[:, :, -best:].sum(-1)
    open_TG = chosen_map(best_first(scores_TG, groups.chosen), groups.count)
    return np.repeat(open_TG, size, axis=1)
