r"""Where the auxiliary loss pushes

The loss is $\alpha N \sum_i f_i P_i$. Complete its gradient with respect to each mean probability $P_i$, as training
computes it. Mind what has a gradient and what has none: the shares $f_i$ come from counting choices.
"""


# %% given
# E experts
def gradient(share_E, mean_E, weight):
    num_experts = len(share_E)
    gradient_E = ...
    return gradient_E


# %% check
from dataclasses import replace

import numpy as np

from moedocs import lite


def cases():
    yield case("all 4 tokens at the first of 2 experts, weight 1", [[1, 0]] * 4, 1, 1.0)
    yield case("6 tokens and top-1 of 3 experts, weight 0.1", [[2, 1, 0]] * 4 + [[0, 1, 2], [0, 3, 0]], 1, 0.1)
    yield case("9 tokens and top-2 of 4 experts, weight 0.01", np.random.default_rng(3).normal(size=(9, 4)), 2, 0.01)


def case(words, logits_TE, top_k, weight):
    """What the loss gains for each unit of P, the choices being what they are; it is a straight line in P."""
    routing = lite.softmax_top_k(logits_TE, top_k)
    still = replace(routing, probs_TE=routing.probs_TE.astype(float))
    moved = [replace(still, probs_TE=still.probs_TE + unit_E) for unit_E in np.eye(len(logits_TE[0]))]
    gains = [weight * (lite.auxiliary_loss(one) - lite.auxiliary_loss(still)) for one in moved]
    share_E = lite.assignment_share([routing])
    words += f", so f = {np.round(share_E, 3).tolist()}"
    return words, (share_E, still.probs_TE.mean(0), weight), gains


# %% hint
# Hold every $f_i$ still. What is left is a sum of constants times $P_i$.

# %% solution
gradient_E = weight * num_experts * share_E

# %% wrong
# That would be the gradient with respect to `f`. But `f` is counted, and a count does not change when a router
# weight moves a little: it has no gradient.
gradient_E = weight * num_experts * mean_E

# %% wrong
# The product rule would be right if `f` followed the router smoothly. It is counted, so its part of the gradient is
# 0.
gradient_E = weight * num_experts * (share_E + mean_E)

# %% wrong
# These are the terms of the loss itself, not their slopes: P must be gone.
gradient_E = weight * num_experts * share_E * mean_E

# %% wrong
# The number of experts, which stands in front of the sum, is missing.
gradient_E = weight * share_E
