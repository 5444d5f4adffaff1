"""ReLU routing: a token goes to every expert with a positive logit.

Shapes: T tokens · E num_experts · K most experts of any token
"""

import torch
from torch import Tensor

from moedocs.engine.record import Routing, accepted, listed, routed


def relu_routing(logits_TE: Tensor) -> Routing:
    """Each token goes to the experts whose logit is above 0, and the logit is the weight (ReMoE, Wang et al. 2024).

    No top-k: a token may have any number of experts, none included, and only an L1 loss on the weights keeps that
    number near the one wanted. The weight starts from 0 where an expert is switched on, so the output has no jump; an
    expert that is off for every token gets no gradient from the output, nor from the L1 loss. `probs_TE` are each
    token's shares of its own weights, all 0 where it has no expert. Causal. Raises ValueError for a logit that is not
    finite, naming its token.
    """
    logits_TE = accepted(logits_TE)
    weights_TE = logits_TE.relu()
    map_TE = weights_TE.detach() > 0
    return routed(logits_TE, _shares(weights_TE), weights_TE, listed(logits_TE.detach(), map_TE), map_TE)


def _shares(weights_TE: Tensor) -> Tensor:
    """Each row divided by its sum; a large row is made smaller first, since sums near the end of float32 overflow."""
    weights_TE = weights_TE / weights_TE.detach().amax(1, keepdim=True).clamp(min=1)
    total_T1 = weights_TE.sum(1, keepdim=True)
    return weights_TE / torch.where(total_T1 > 0, total_T1, 1.0)
