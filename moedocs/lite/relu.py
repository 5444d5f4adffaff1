"""ReLU routing in NumPy, the twin of moedocs.engine.relu.

Shapes: T tokens · E num_experts · K most experts of any token
"""

import numpy as np
from numpy.typing import ArrayLike

from moedocs.lite.record import Floats, Routing, accepted, listed, routed


def relu_routing(logits_TE: ArrayLike) -> Routing:
    """Each token goes to the experts whose logit is above 0, and the logit is the weight (ReMoE, Wang et al. 2024).

    A token may have any number of experts, none included. `probs_TE` are each token's shares of its own weights, all 0
    where it has no expert. Raises ValueError for a logit that is not finite, naming its token.
    """
    logits_TE = accepted(logits_TE)
    weights_TE = np.maximum(logits_TE, np.float32(0))
    map_TE = weights_TE > 0
    return routed(logits_TE, _shares(weights_TE), weights_TE, listed(logits_TE, map_TE), map_TE)


def _shares(weights_TE: Floats) -> Floats:
    """Each row divided by its sum; a large row is made smaller first, since sums near the end of float32 overflow."""
    weights_TE = weights_TE / np.maximum(weights_TE.max(1, keepdims=True), np.float32(1))
    total_T1 = weights_TE.sum(1, keepdims=True)
    shares_TE: Floats = np.divide(weights_TE, total_T1, out=np.zeros_like(weights_TE), where=total_T1 > 0)
    return shares_TE
