"""Mixture of Depths without looking ahead: a causal choice for sampling, what teaches it, and how good it is.

Shapes: B sequences · S sequence length · C most tokens chosen of any sequence
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from moedocs.config import DepthConfig
from moedocs.config.model import DepthWeight
from moedocs.engine.depth import DepthRouting, accepted_depth, path_weights


def causal_choice(
    logits_BS: Tensor, predicted_BS: Tensor | None = None, *, weight: DepthWeight = "raw"
) -> DepthRouting:
    """A token passes if its sigmoid is above one half, judged by itself: what sampling does (Raposo et al. 2024, 3.5).

    Judged by the predictor's logits if they are given, else by the router's, which `depth_auxiliary_loss` taught to
    have the top C above one half; the weight is the router's in both cases. How many pass is no longer fixed: from none
    of a sequence to all of it. Raises ValueError for a logit that is not finite, naming its sequence and position.
    """
    logits_BS = accepted_depth(logits_BS)
    judged_BS = logits_BS if predicted_BS is None else accepted_depth(predicted_BS)
    if judged_BS.shape != logits_BS.shape:
        raise ValueError(f"predictions {tuple(judged_BS.shape)} do not fit router logits {tuple(logits_BS.shape)}")
    map_BS = judged_BS.detach() > 0
    return DepthRouting(logits_BS, path_weights(logits_BS, map_BS, weight), map_BS, _positions(map_BS), predicted_BS)


def _positions(map_BS: Tensor) -> Tensor:
    """The True positions of each row in order, then -1 up to the longest row."""
    longest = int(map_BS.sum(1).max()) if map_BS.numel() else 0
    # a stable sort keeps positions in order within the chosen and puts those before the others
    index_BC = map_BS.int().sort(dim=-1, descending=True, stable=True).indices[:, :longest]
    return index_BC.masked_fill(~map_BS.gather(1, index_BC), -1)


def depth_auxiliary_loss(routing: DepthRouting) -> Tensor:
    """Mean over all tokens of the cross-entropy of "is among the top C" under sigmoid(router logit), in nats.

    It moves the router itself, and with it the language model's weights (Raposo et al. 2024, section 3.5). All logits 0
    give ln 2; a router that knows nothing but the share C / S gives that share's entropy.
    """
    return _cross_entropy(routing.logits_BS, routing)


def predictor_loss(routing: DepthRouting) -> Tensor:
    """The same cross-entropy under the predictor's logits: it teaches the predictor alone, the router feels nothing."""
    if routing.predicted_BS is None:
        raise ValueError("this choice has no predictor: predicted_BS is None")
    return _cross_entropy(routing.predicted_BS.float(), routing)


def _cross_entropy(judged_BS: Tensor, routing: DepthRouting) -> Tensor:
    if routing.map_BS.numel() == 0:
        raise ValueError("the cross-entropy of 0 tokens is not defined")
    # -log sigmoid(x) where a token passes, -log sigmoid(-x) where not; torch's own function rounds small ones coarsely
    return softplus(torch.where(routing.map_BS, -judged_BS, judged_BS)).mean()


def sampling_loss(routings: list[DepthRouting], config: DepthConfig) -> Tensor:
    """What a config asks to add to the language model's loss so that text can be sampled, summed over the blocks."""
    if config.sampling == "none":
        return torch.zeros(())
    loss = depth_auxiliary_loss if config.sampling == "auxiliary" else predictor_loss
    return config.sampling_weight * torch.stack([loss(routing) for routing in routings]).sum()


def choice_accuracy(routing: DepthRouting, top: DepthRouting) -> Tensor:
    """Share of all tokens on whose fate a causal choice agrees with the top C; compare `always_skip_accuracy`."""
    return (_fates(routing, top) == top.map_BS).float().mean()


def choice_recall(routing: DepthRouting, top: DepthRouting) -> Tensor:
    """Share of the top C that a causal choice lets pass too: what accuracy hides when few pass."""
    passed = (_fates(routing, top) & top.map_BS).sum()
    if not top.map_BS.any():
        raise ValueError("recall is not defined where the top C are 0 tokens")
    return passed / top.map_BS.sum()


def always_skip_accuracy(top: DepthRouting) -> Tensor:
    """1 - C / S, the accuracy of letting nobody pass: 87.5 % at a capacity of 12.5 %, with a recall of 0."""
    return (~_fates(top, top)).float().mean()


def _fates(routing: DepthRouting, top: DepthRouting) -> Tensor:
    if (found := tuple(routing.map_BS.shape)) != (expected := tuple(top.map_BS.shape)):
        raise ValueError(f"a choice among {found} tokens cannot be compared with one among {expected}")
    if routing.map_BS.numel() == 0:
        raise ValueError("the agreement over 0 tokens is not defined")
    return routing.map_BS
