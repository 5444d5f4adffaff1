"""Expert choice in NumPy, the twin of moedocs.engine.by_expert.

Shapes: T tokens · E num_experts · K most experts of any token · G groups of S tokens · C tokens an expert takes
"""

import numpy as np
from numpy.typing import ArrayLike

from moedocs.lite.grouping import in_groups
from moedocs.lite.record import Routing, accepted, listed, routed


def expert_choice(logits_TE: ArrayLike, capacity: int, *, sequence_length: int | None = None) -> Routing:
    """Each expert takes its `capacity` most probable tokens, weighted by probability (Zhou et al. 2022); not causal.

    With `sequence_length` each takes `capacity` tokens of every sequence, None means one flat batch. Equal
    probabilities go to the lowest token index, as in torch. Raises ValueError for a logit that is not finite, for a
    negative capacity, and for a `sequence_length` that does not divide the tokens.
    """
    logits_TE = accepted(logits_TE)
    if capacity < 0:
        raise ValueError(f"capacity={capacity} must not be negative")
    # rounded from float64 as in torch: there, too, what is equal on paper is equal
    powers_TE = np.exp(logits_TE.astype(np.float64) - logits_TE.max(1, keepdims=True))
    probs_TE = (powers_TE / powers_TE.sum(1, keepdims=True)).astype(np.float32)
    probs_GSE = in_groups(probs_TE, sequence_length)
    index_GCE = np.argsort(-probs_GSE, axis=1, kind="stable")[:, :capacity]
    map_GSE = np.zeros(probs_GSE.shape, dtype=bool)
    np.put_along_axis(map_GSE, index_GCE, True, axis=1)
    map_TE = map_GSE.reshape(logits_TE.shape)
    return routed(logits_TE, probs_TE, probs_TE, listed(logits_TE, map_TE), map_TE)
