"""Specimens: two "balancing losses" found in tutorials that balance nothing, kept to be looked at.

Both call `router_probs > 0` the load. A softmax gives every expert more than 0, so that load is 1 whoever was chosen,
and what is left is a sum of probabilities, which is the same for any router. For the loss that was meant see
`auxiliary_loss`: count the experts chosen, and multiply by E.

Shapes: B sequences · S sequence length · E num_experts
"""

from torch import Tensor


def constant_sum(probs_BSE: Tensor) -> Tensor:
    """Sum of importance * load, both means over the first axis alone: always S, the sequence length.

    The first axis of three is the sequences, not the tokens: so each position keeps a row of its own, whose importance
    sums to 1. Its gradient is the same for all experts of a token, and a softmax passes on differences only: it is
    exactly zero. True as long as no probability underflows to 0 (logits within about 85 of each other in float32).
    """
    importance_SE = probs_BSE.mean(0)
    load_SE = (probs_BSE > 0).float().mean(0)
    return (importance_SE * load_SE).sum()


def constant_mean(probs_BSE: Tensor) -> Tensor:
    """Mean over experts of importance * load, both means over all tokens: always 1 / E.

    Here the axes are right and the load still is not; nor would a mean, which divides by E, have been the sum that is
    multiplied by E. Its gradient is exactly zero, under the same condition as that of `constant_sum`.
    """
    importance_E = probs_BSE.mean((0, 1))
    load_E = (probs_BSE > 0).float().mean((0, 1))
    return (importance_E * load_E).mean()
