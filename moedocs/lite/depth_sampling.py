"""A causal choice for Mixture of Depths in NumPy, the twin of moedocs.engine.depth_sampling.

Shapes: B sequences · S sequence length · D d_model · H width of the predictor · C most tokens chosen of any sequence
"""

import numpy as np
from numpy.typing import ArrayLike

from moedocs.config.model import DepthWeight
from moedocs.lite.depth import DepthRouting, accepted_depth, path_weights
from moedocs.lite.record import Bools, Floats, Ints, sigmoid


def causal_choice(
    logits_BS: ArrayLike, predicted_BS: ArrayLike | None = None, *, weight: DepthWeight = "raw"
) -> DepthRouting:
    """A token passes if its sigmoid is above one half, judged by itself: what sampling does (Raposo et al. 2024, 3.5).

    Judged by the predictor's logits if they are given, else by the router's; the weight is the router's in both cases.
    How many pass is not fixed. Raises ValueError for a logit that is not finite, naming its sequence and position.
    """
    logits_BS = accepted_depth(logits_BS)
    judged_BS = logits_BS if predicted_BS is None else accepted_depth(predicted_BS)
    if judged_BS.shape != logits_BS.shape:
        raise ValueError(f"predictions {judged_BS.shape} do not fit router logits {logits_BS.shape}")
    map_BS = judged_BS > 0
    predicted_BS = None if predicted_BS is None else judged_BS
    return DepthRouting(logits_BS, path_weights(logits_BS, map_BS, weight), map_BS, _positions(map_BS), predicted_BS)


def _positions(map_BS: Bools) -> Ints:
    """The True positions of each row in order, then -1 up to the longest row."""
    longest = int(map_BS.sum(1).max()) if map_BS.size else 0
    index_BC = np.argsort(~map_BS, axis=-1, kind="stable")[:, :longest]
    return np.where(np.take_along_axis(map_BS, index_BC, axis=-1), index_BC, -1)


def predictor_logits(x_BSD: Floats, hidden_HD: Floats, output_H: Floats) -> Floats:
    """Logits (B, S) of a trained Predictor, silu(x W1) w2: above 0 means "passes"."""
    hidden_BSH = x_BSD @ hidden_HD.T
    return np.asarray((hidden_BSH * sigmoid(hidden_BSH)) @ output_H, dtype=np.float32)


def depth_auxiliary_loss(routing: DepthRouting) -> float:
    """Mean over all tokens of the cross-entropy of "is among the top C" under sigmoid(router logit), in nats.

    All logits 0 give ln 2; a router that knows nothing but the share C / S gives that share's entropy.
    """
    return _cross_entropy(routing.logits_BS, routing.map_BS)


def predictor_loss(routing: DepthRouting) -> float:
    """The same cross-entropy under the predictor's logits."""
    if routing.predicted_BS is None:
        raise ValueError("this choice has no predictor: predicted_BS is None")
    return _cross_entropy(routing.predicted_BS, routing.map_BS)


def _cross_entropy(judged_BS: Floats, map_BS: Bools) -> float:
    if map_BS.size == 0:
        raise ValueError("the cross-entropy of 0 tokens is not defined")
    # -log sigmoid(x) where a token passes, -log sigmoid(-x) where not, with no exponential that can overflow
    against_BS = np.where(map_BS, -judged_BS, judged_BS).astype(np.float64)
    return float((np.maximum(against_BS, 0) + np.log1p(np.exp(-np.abs(against_BS)))).mean())


def choice_accuracy(routing: DepthRouting, top: DepthRouting) -> float:
    """Share of all tokens on whose fate a causal choice agrees with the top C; compare `always_skip_accuracy`."""
    return float((_fates(routing, top) == top.map_BS).mean())


def choice_recall(routing: DepthRouting, top: DepthRouting) -> float:
    """Share of the top C that a causal choice lets pass too: what accuracy hides when few pass."""
    passed = (_fates(routing, top) & top.map_BS).sum()
    if not top.map_BS.any():
        raise ValueError("recall is not defined where the top C are 0 tokens")
    return float(passed / top.map_BS.sum())


def always_skip_accuracy(top: DepthRouting) -> float:
    """1 - C / S, the accuracy of letting nobody pass: 87.5 % at a capacity of 12.5 %, with a recall of 0."""
    return float((~_fates(top, top)).mean())


def _fates(routing: DepthRouting, top: DepthRouting) -> Bools:
    if (found := routing.map_BS.shape) != (expected := top.map_BS.shape):
        raise ValueError(f"a choice among {found} tokens cannot be compared with one among {expected}")
    if routing.map_BS.size == 0:
        raise ValueError("the agreement over 0 tokens is not defined")
    return routing.map_BS
