"""Token choice: each token takes the K experts that its router scores highest.

Shapes: T tokens · E num_experts · K top_k
"""

import torch
from torch import Tensor

from moedocs.engine.record import Routing, accepted, accepted_bias, best_first, routed


def softmax_top_k(logits_TE: Tensor, top_k: int, *, renormalise: bool = True, bias_E: Tensor | None = None) -> Routing:
    """Each token takes its K most probable experts, weighted by probability.

    Without renormalising and with K = 1 that is Switch, renormalised and with K = 2 Mixtral. `bias_E` is added to the
    probabilities for the choice alone, never to the weights (DeepSeek-V3, eq. 16, where scores are sigmoids). Equal
    scores go to the lowest expert index. Renormalised weights are the softmax over the chosen logits, which equals
    dividing by the sum of the chosen probabilities but survives their underflow; for K = 1 they are always 1, so the
    router then learns nothing from them. All of it in float32. Raises ValueError for a logit that is not finite,
    naming its token, and for a `top_k` or a bias that does not fit the experts.
    """
    logits_TE = accepted(logits_TE)
    probs_TE = logits_TE.softmax(-1)
    # logits have the order of the probabilities, and do not tie where those underflow
    scores_TE = logits_TE if bias_E is None else probs_TE + accepted_bias(bias_E, logits_TE.shape[1])
    index_TK = best_first(scores_TE, top_k)
    map_TE = torch.zeros_like(logits_TE, dtype=torch.bool).scatter(1, index_TK, True)
    chosen_TE = logits_TE.masked_fill(~map_TE, -torch.inf).softmax(-1) if renormalise else probs_TE
    return routed(logits_TE, probs_TE, chosen_TE, index_TK, map_TE)
