"""Token choice in NumPy, the twin of moedocs.engine.token_choice: same names, same choices, same weights.

Shapes: T tokens · E num_experts · K top_k
"""

import numpy as np
from numpy.typing import ArrayLike

from moedocs.lite.record import Routing, accepted, accepted_bias, best_first, routed, softmax


def softmax_top_k(
    logits_TE: ArrayLike, top_k: int, *, renormalise: bool = True, bias_E: ArrayLike | None = None
) -> Routing:
    """Each token takes its K most probable experts, weighted by probability.

    Without renormalising and with K = 1 that is Switch, renormalised and with K = 2 Mixtral. `bias_E` moves the choice,
    never the weight (DeepSeek-V3, eq. 16, where scores are sigmoids). Equal scores go to the lowest expert index.
    Raises ValueError for a logit that is not finite, naming its token, and for a `top_k` or bias that does not fit.
    """
    logits_TE = accepted(logits_TE)
    probs_TE = softmax(logits_TE)
    scores_TE = logits_TE if bias_E is None else probs_TE + accepted_bias(bias_E, logits_TE.shape[1])
    index_TK = best_first(scores_TE, top_k)
    map_TE = np.zeros(logits_TE.shape, dtype=bool)
    np.put_along_axis(map_TE, index_TK, True, axis=-1)
    chosen_TE = softmax(np.where(map_TE, logits_TE, np.float32(-np.inf))) if renormalise else probs_TE
    return routed(logits_TE, probs_TE, chosen_TE, index_TK, map_TE)
