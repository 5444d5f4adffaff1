"""Load and the rules that even it out, in NumPy: the twin of moedocs.engine.balance, for values alone.

Shapes: T tokens · G groups · S tokens of one group · E num_experts · K top_k
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moedocs.config import BalanceConfig
from moedocs.lite.grouping import in_groups
from moedocs.lite.record import Routing
from moedocs.lite.specimens import constant_mean

Layer = TypeVar("Layer")


def load(routing: Routing) -> NDArray[np.intp]:
    """Tokens that chose each expert (E,), whether or not capacity dropped them afterwards. K each make T * K."""
    return np.asarray(routing.chosen_TE.sum(0))


def auxiliary_loss(routing: Routing, *, group_size: int | None = None, share_E: ArrayLike | None = None) -> float:
    """E * sum_i f_i P_i (Switch, eq. 4, without its weight), f_i being expert i's share of the T * K assignments.

    Perfect balance gives 1. transformers' Mixtral loss takes f_i as a share of tokens and so is K times this one, of
    all layers `pooled`. With a `group_size` it is the mean over sequences of each one's loss; `share_E` takes f from
    elsewhere, as from the `assignment_share` of a global batch.
    """
    _some_tokens(routing, "auxiliary loss")
    probs_GSE = in_groups(routing.probs_TE, group_size)
    counts_GE = in_groups(routing.chosen_TE, group_size).sum(1)
    if share_E is None:
        share_GE = counts_GE / counts_GE.sum(1, keepdims=True).clip(min=1)
    else:
        share_GE = _accepted_share(share_E, *counts_GE.shape)
    return float(probs_GSE.shape[-1] * (share_GE * probs_GSE.mean(1)).sum(1).mean())


def assignment_share(routings: Sequence[Routing]) -> NDArray[np.float64]:
    """f (E,) over several routings, such as the micro-batches of a global batch: shares of all their assignments.

    Counts are added before they are divided: so a larger micro-batch weighs more. 0 where nothing was assigned.
    """
    counts_E = np.sum([load(routing) for routing in routings], axis=0)
    return np.asarray(counts_E / max(counts_E.sum(), 1))


def pooled(routings: Sequence[Routing]) -> Routing:
    """Several routings as one of all their tokens: layers that share a loss, or micro-batches."""
    choices = max((routing.index_TK.shape[1] for routing in routings), default=0)
    if len({routing.map_TE.shape[1] for routing in routings}) != 1:
        raise ValueError(f"routings over {[routing.map_TE.shape[1] for routing in routings]} experts cannot be pooled")
    missing = [((0, 0), (0, choices - routing.index_TK.shape[1])) for routing in routings]
    padded = [np.pad(one.index_TK, room, constant_values=-1) for one, room in zip(routings, missing, strict=True)]
    chances = [one.load_probability_TE for one in routings if one.load_probability_TE is not None]
    return Routing(
        logits_TE=np.concatenate([routing.logits_TE for routing in routings]),
        probs_TE=np.concatenate([routing.probs_TE for routing in routings]),
        map_TE=np.concatenate([routing.map_TE for routing in routings]),
        weights_TE=np.concatenate([routing.weights_TE for routing in routings]),
        index_TK=np.concatenate(padded),
        dropped_TE=np.concatenate([routing.dropped_TE for routing in routings]),
        load_probability_TE=np.concatenate(chances) if len(chances) == len(routings) else None,
    )


def z_loss(routing: Routing) -> float:
    """Mean over tokens of (log sum_i exp(logit_i))^2 (ST-MoE, eq. 5): keeps router logits small, and balances nothing.

    At perfect balance it may have any value: (log E)^2 if all logits are 0, and 0 where their exponentials sum to 1.
    """
    _some_tokens(routing, "z-loss")
    logits_TE = routing.logits_TE.astype(np.float64)
    top_T = logits_TE.max(-1)
    return float(np.square(top_T + np.log(np.exp(logits_TE - top_T[:, None]).sum(-1))).mean())


def importance_loss(routing: Routing) -> float:
    """CV^2 of the importance, each expert's sum of combine weights (Shazeer et al. 2017, eqs. 6 and 7).

    Perfect balance gives 0, all weight on one expert E - 1. What capacity dropped no longer counts.
    """
    return _squared_variation(routing.weights_TE.sum(0, dtype=np.float64))


def load_loss(routing: Routing) -> float:
    """CV^2 of the smooth load, each expert's sum over tokens of its chance to be chosen (Shazeer et al. 2017, app. A).

    Perfect balance gives 0, all load on one expert E - 1. Only noisy top-k has such a chance.
    """
    if routing.load_probability_TE is None:
        raise ValueError("the load loss needs a load probability, which this routing does not have")
    return _squared_variation(routing.load_probability_TE.sum(0, dtype=np.float64))


def l1_loss(routing: Routing, *, top_k: int | None = None) -> float:
    """Mean over tokens of sum_i f_i relu(logit_i): what makes a ReLU router sparse (ReMoE, Wang et al. 2024).

    Without `top_k` every f_i is 1; with it f_i = E / (K T) times the load, which presses more on busy experts. Perfect
    balance gives it no value of its own: it goes with the size of the weights.
    """
    _some_tokens(routing, "L1 loss")
    mean_E = np.maximum(routing.logits_TE, 0).mean(0, dtype=np.float64)
    if top_k is None:
        return float(mean_E.sum())
    num_tokens, num_experts = routing.logits_TE.shape
    return float(num_experts / (top_k * num_tokens) * (load(routing) * mean_E).sum())


def updated_l1_weight(weight: float, routing: Routing, top_k: int, rate: float = 1.2) -> float:
    """The weight times `rate` if tokens have more than K experts on average, divided by it if fewer (ReMoE).

    It steers sparsity, not balance: at T * K assignments it rests, however uneven.
    """
    assigned, wanted = int(load(routing).sum()), top_k * len(routing.map_TE)
    return weight * rate ** ((assigned > wanted) - (assigned < wanted))


def updated_bias(bias_E: ArrayLike, counts_E: ArrayLike, rate: float) -> NDArray[np.float64]:
    """b_i + rate * sign(mean load - load_i), the loss-free rule (Wang et al. 2024); perfect balance moves nothing."""
    counts_E = np.asarray(counts_E, dtype=np.float64)
    moved_E: NDArray[np.float64] = np.asarray(bias_E) + rate * np.sign(counts_E.mean() - counts_E)
    return moved_E


def balancing_loss(
    routings: Sequence[Routing],
    config: BalanceConfig,
    *,
    num_sequences: int | None = None,
    micro_batches: int | None = None,
    l1_weight: float | None = None,
    top_k: int | None = None,
) -> float:
    """The weighted sum, over layers, of every loss that a config asks for; 0 without any.

    Layers pooled for the auxiliary loss count as one, not as L. Where that loss is per sequence it needs to know
    `num_sequences`, where it is per micro-batch the number of `micro_batches`: each layer's tokens are cut into so many
    equal runs. Perfect balance gives each layer the auxiliary weight, and 0 for importance and load. Raises ValueError
    for a number or a load probability that is needed and missing, and for tokens that cannot be cut so.
    """

    def auxiliary(routing: Routing) -> float:
        group_size = config.auxiliary_group(len(routing.map_TE), num_sequences, micro_batches)
        return auxiliary_loss(routing, group_size=group_size)

    pools = [pooled(routings)] if config.auxiliary_pooled and routings else routings
    l1_weight = config.l1_weight if l1_weight is None else l1_weight
    return (
        _weighted(config.auxiliary_weight, auxiliary, pools)
        + _weighted(config.z_weight, z_loss, routings)
        + _weighted(config.importance_weight, importance_loss, routings)
        + _weighted(config.load_weight, load_loss, routings)
        + _weighted(l1_weight, partial(l1_loss, top_k=top_k), routings)
        + _weighted(config.constant_weight, _constant, routings)
    )


def _constant(routing: Routing) -> float:
    """The specimen: 1 / E whatever was routed, unless a probability underflows to 0."""
    _some_tokens(routing, "constant loss")
    return constant_mean(routing.probs_TE[None])


def _weighted(weight: float, loss: Callable[[Layer], float], layers: Sequence[Layer]) -> float:
    """A weight of 0 computes nothing, so that no infinity times 0 becomes a NaN."""
    return sum(weight * loss(layer) for layer in layers) if weight else 0.0


def _squared_variation(sum_E: NDArray[np.float64]) -> float:
    """Variance over squared mean, of the shares of the whole so that neither overflows; 0 where all is 0."""
    share_E = sum_E / max(sum_E.sum(), np.finfo(np.float32).tiny)
    return float(share_E.var() * len(share_E) ** 2)


def _some_tokens(routing: Routing, what: str) -> None:
    if len(routing.map_TE) == 0:
        raise ValueError(f"the {what} of 0 tokens is not defined")


def _accepted_share(share_E: ArrayLike, num_groups: int, num_experts: int) -> NDArray[np.float64]:
    share_E = np.asarray(share_E, dtype=np.float64)
    if num_groups != 1:
        raise ValueError(f"one share_E does not go with {num_groups} groups of tokens")
    if share_E.shape != (num_experts,):
        raise ValueError(f"share_E of shape {share_E.shape} does not fit num_experts={num_experts}")
    if (total := float(share_E.sum())) and not -1e-3 < total - 1 < 1e-3:
        raise ValueError(f"share_E sums to {total}, not to 1: give shares of all assignments, not counts")
    return share_E
