"""Token choice: each token takes the K experts that its router scores highest.

Shapes: T tokens · E num_experts · K top_k · G groups · X experts of one group
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from moedocs.config import Groups
from moedocs.engine.record import Routing, accepted, accepted_bias, best_first, chosen_map, routed_to


def softmax_top_k(
    logits_TE: Tensor,
    top_k: int,
    *,
    renormalise: bool = True,
    bias_E: Tensor | None = None,
    groups: Groups | None = None,
    scaling: float = 1.0,
) -> Routing:
    """Each token takes its K most probable experts, weighted by probability.

    Renormalised and with K = 2 that is Mixtral, not renormalised OLMoE, and Switch with K = 1. `bias_E` is added to the
    probabilities for the choice alone, never to the weights (DeepSeek-V3, eq. 16, where scores are sigmoids). `groups`
    restrict a token to those whose best expert scores highest (DeepSeek-V2, device-limited routing). `scaling`
    multiplies the finished weights. Equal scores, of experts or of groups, go to the lowest index. Renormalised weights
    are the softmax over the chosen logits, which equals dividing by the sum of the chosen probabilities but survives
    their underflow; for K = 1 they are all equal, so the router then learns nothing from them. All of it in float32.
    Raises ValueError for a logit that is not finite, naming its token, and for a `top_k`, a bias or groups that do not
    fit the experts.
    """
    logits_TE = accepted(logits_TE)
    probs_TE = logits_TE.softmax(-1)
    # logits have the order of the probabilities, and do not tie where those underflow
    scores_TE = logits_TE if bias_E is None else probs_TE + accepted_bias(bias_E, logits_TE.shape[1])
    if groups is not None:
        scores_TE = scores_TE.masked_fill(~_open(scores_TE, groups, top_k, best=1), -torch.inf)
    index_TK = best_first(scores_TE, top_k)
    weights_TK = logits_TE.gather(1, index_TK).softmax(-1) if renormalise else probs_TE.gather(1, index_TK)
    return routed_to(logits_TE, probs_TE, index_TK, scaling * weights_TK)


def sigmoid_top_k(
    logits_TE: Tensor,
    top_k: int,
    *,
    renormalise: bool = True,
    bias_E: Tensor | None = None,
    groups: Groups | None = None,
    scaling: float = 1.0,
) -> Routing:
    """Each token takes the K experts of highest score sigmoid(logit), weighted by score (DeepSeek-V3, eqs. 12 to 16).

    Scores do not compete: each of a row may be near 1. `bias_E` moves the choice, never the weight. `groups` restrict a
    token to those with the highest sum of their best two biased scores (V3), not the best one (V2); of groups of one
    expert, that one's. `scaling` multiplies the finished weights. `probs_TE` is each score's share of its row, which
    V3's sequence-wise loss reads. Llama 4 is `renormalise=False`, but there the weight multiplies the expert's INPUT,
    so that a dispatch which weights outputs does not reproduce it. Ties and errors are those of `softmax_top_k`.
    """
    logits_TE = accepted(logits_TE)
    scores_TE, logs_TE = logits_TE.sigmoid(), logsigmoid(logits_TE)
    biased_TE = scores_TE if bias_E is None else scores_TE + accepted_bias(bias_E, logits_TE.shape[1])
    # logits have the order of the scores, and do not tie where those are all 0 or all 1
    ranked_TE = logits_TE if bias_E is None else biased_TE
    if groups is not None:
        ranked_TE = ranked_TE.masked_fill(~_open(biased_TE, groups, top_k, best=2), -torch.inf)
    index_TK = best_first(ranked_TE, top_k)
    # the softmax of logarithms divides by the sum, and survives the underflow of all scores
    weights_TK = logs_TE.gather(1, index_TK).softmax(-1) if renormalise else scores_TE.gather(1, index_TK)
    return routed_to(logits_TE, logs_TE.softmax(-1), index_TK, scaling * weights_TK)


def top_k_softmax(logits_TE: Tensor, top_k: int) -> Routing:
    """Each token takes the K highest logits first, then the softmax over those K alone (gpt-oss, JetMoe).

    The order of the two steps makes no difference to renormalised `softmax_top_k`: they are the same routing.
    `probs_TE` is the softmax over all experts, which balancing losses read. Ties and errors are the same too.
    """
    logits_TE = accepted(logits_TE)
    index_TK = best_first(logits_TE, top_k)
    return routed_to(logits_TE, logits_TE.softmax(-1), index_TK, logits_TE.gather(1, index_TK).softmax(-1))


def switch_top_1(logits_TE: Tensor) -> Routing:
    """Each token takes its most probable expert, weighted by that probability (Switch, section 2.1).

    The weight stays below 1: renormalised it would be 1 whatever the logits, and the router would learn nothing.
    """
    return softmax_top_k(logits_TE, 1, renormalise=False)


def _open(scores_TE: Tensor, groups: Groups, top_k: int, *, best: int) -> Tensor:
    """True for the experts (T, E) of each token's chosen groups: those whose `best` highest scores sum to the most."""
    size = groups.size(scores_TE.shape[1], top_k)
    scores_TGX = scores_TE.reshape(len(scores_TE), groups.count, size)
    scores_TG = scores_TGX.topk(min(best, size), dim=-1).values.sum(-1)
    open_TG = chosen_map(best_first(scores_TG, groups.chosen), groups.count)
    return open_TG.repeat_interleave(size, dim=1)
