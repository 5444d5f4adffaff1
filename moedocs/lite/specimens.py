"""Specimens in NumPy, the twin of moedocs.engine.specimens: two "balancing losses" of tutorials that balance nothing.

Shapes: B sequences · S sequence length · E num_experts
"""

import numpy as np
from numpy.typing import ArrayLike


def constant_sum(probs_BSE: ArrayLike) -> float:
    """Sum of importance * load, both means over the first axis alone: always S, the sequence length.

    Every softmax probability is above 0, so this load is 1 whoever was chosen (unless one underflows to 0).
    """
    probs_BSE = np.asarray(probs_BSE)
    importance_SE = probs_BSE.mean(0)
    load_SE = (probs_BSE > 0).mean(0)
    return float((importance_SE * load_SE).sum())


def constant_mean(probs_BSE: ArrayLike) -> float:
    """Mean over experts of importance * load, both means over all tokens: always 1 / E.

    Every softmax probability is above 0, so this load is 1 whoever was chosen (unless one underflows to 0).
    """
    probs_BSE = np.asarray(probs_BSE)
    importance_E = probs_BSE.mean((0, 1))
    load_E = (probs_BSE > 0).mean((0, 1))
    return float((importance_E * load_E).mean())
