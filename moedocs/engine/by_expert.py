"""Expert choice: each expert takes the tokens that want it most, instead of each token its experts.

Shapes: T tokens · E num_experts · K most experts of any token · G groups of S tokens · C tokens an expert takes
"""

import torch
from torch import Tensor

from moedocs.engine.grouping import in_groups
from moedocs.engine.record import Routing, accepted, listed, routed


def expert_choice(logits_TE: Tensor, capacity: int, *, sequence_length: int | None = None) -> Routing:
    """Each expert takes its `capacity` most probable tokens, weighted by probability (Zhou et al. 2022).

    Every expert is full, so the load is even by construction, but a token may have many experts or none. NOT causal:
    whether a token is taken depends on the tokens after it, which a decoder does not know when it generates. With
    `sequence_length` each expert takes `capacity` tokens of every sequence (of all, where a sequence has fewer), and
    no sequence can crowd out another; None means one flat batch. Probabilities are the softmax over experts, not
    renormalised over the chosen; equal ones go to the lowest token index, in NumPy too. Nothing is dropped: a token
    that nobody takes never chose. Raises ValueError for a logit that is not finite, naming its token, for a negative
    capacity, and for a `sequence_length` that does not divide the tokens.
    """
    logits_TE = accepted(logits_TE)
    if capacity < 0:
        raise ValueError(f"capacity={capacity} must not be negative")
    # rounded from float64, so that what is equal on paper is equal here, whatever order the experts are summed in
    probs_TE = logits_TE.double().softmax(-1).float()
    probs_GSE = in_groups(probs_TE.detach(), sequence_length)
    index_GCE = probs_GSE.sort(dim=1, descending=True, stable=True).indices[:, :capacity]
    map_TE = torch.zeros_like(probs_GSE, dtype=torch.bool).scatter(1, index_GCE, True).flatten(0, 1)
    return routed(logits_TE, probs_TE, probs_TE, listed(logits_TE.detach(), map_TE), map_TE)
