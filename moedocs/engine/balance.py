"""Load and the rules that even it out: losses with a gradient, and a bias without one.

Shapes: T tokens · G groups · S tokens of one group · E num_experts · K top_k
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from moedocs.config import BalanceConfig
from moedocs.engine.grouping import in_groups
from moedocs.engine.record import Routing
from moedocs.engine.specimens import constant_mean

Layer = TypeVar("Layer")


def load(routing: Routing) -> Tensor:
    """Tokens that chose each expert (E,), whether or not capacity dropped them afterwards. K each make T * K."""
    return routing.chosen_TE.sum(0)


def auxiliary_loss(routing: Routing, *, group_size: int | None = None, share_E: Tensor | None = None) -> Tensor:
    """E * sum_i f_i P_i (Switch, eq. 4, without its weight), f_i being expert i's share of the T * K assignments.

    Perfect balance gives 1 (as in Switch, Megatron-Core and DeepSeek-V3), but 1 is not the least value: f and P may
    differ. f_i counts choices before capacity drops any, and carries no gradient: the router learns through P_i, its
    mean probability, alone. transformers' Mixtral loss takes f_i as a share of tokens and so is K times this one, of
    all layers `pooled`. With a `group_size` it is the mean over sequences of each one's loss (DeepSeek-V3, eqs. 17-20,
    where f is of the choice without the bias; transformers' function for Switch). `share_E` takes f from elsewhere, as
    from the `assignment_share` of a global batch (Qiu et al. 2025). Raises ValueError for 0 tokens, a group that is not
    full, and an f that is none or comes with groups.
    """
    _some_tokens(routing, "auxiliary loss")
    probs_GSE = in_groups(routing.probs_TE, group_size)
    counts_GE = in_groups(routing.chosen_TE, group_size).sum(1)
    if share_E is None:
        share_GE = counts_GE / counts_GE.sum(1, keepdim=True).clamp(min=1)
    else:
        share_GE = _accepted_share(share_E, *counts_GE.shape)
    return probs_GSE.shape[-1] * (share_GE * probs_GSE.mean(1)).sum(1).mean()


def assignment_share(routings: Sequence[Routing]) -> Tensor:
    """f (E,) over several routings, such as the micro-batches of a global batch: shares of all their assignments.

    Counts are added before they are divided: so a larger micro-batch weighs more. 0 where nothing was assigned.
    """
    counts_E = torch.stack([load(routing) for routing in routings]).sum(0)
    return counts_E / counts_E.sum().clamp(min=1)


def pooled(routings: Sequence[Routing]) -> Routing:
    """Several routings as one of all their tokens: layers that share a loss (transformers' Mixtral), or micro-batches.

    The auxiliary loss of layers pooled is less strict than the mean of theirs: one layer's excess of an expert can make
    up for another layer's want of the expert of the same index, with which it shares nothing but the index.
    """
    choices = max((routing.index_TK.shape[1] for routing in routings), default=0)
    if len({routing.map_TE.shape[1] for routing in routings}) != 1:
        raise ValueError(f"routings over {[routing.map_TE.shape[1] for routing in routings]} experts cannot be pooled")
    chances = [one.load_probability_TE for one in routings if one.load_probability_TE is not None]
    return Routing(
        logits_TE=torch.cat([routing.logits_TE for routing in routings]),
        probs_TE=torch.cat([routing.probs_TE for routing in routings]),
        map_TE=torch.cat([routing.map_TE for routing in routings]),
        weights_TE=torch.cat([routing.weights_TE for routing in routings]),
        index_TK=torch.cat([pad(one.index_TK, (0, choices - one.index_TK.shape[1]), value=-1) for one in routings]),
        dropped_TE=torch.cat([routing.dropped_TE for routing in routings]),
        load_probability_TE=torch.cat(chances) if len(chances) == len(routings) else None,
    )


def z_loss(routing: Routing) -> Tensor:
    """Mean over tokens of (log sum_i exp(logit_i))^2 (ST-MoE, eq. 5): keeps router logits small, and balances nothing.

    At perfect balance it may have any value: (log E)^2 if all logits are 0, and 0 where their exponentials sum to 1.
    The same in ST-MoE, transformers and Megatron-Core. Beyond logits of about 1e19 it is infinite in float32.
    """
    _some_tokens(routing, "z-loss")
    return routing.logits_TE.logsumexp(-1).square().mean()


def importance_loss(routing: Routing) -> Tensor:
    """CV^2 of the importance, each expert's sum of combine weights (Shazeer et al. 2017, eqs. 6 and 7).

    Perfect balance gives 0, all weight on one expert E - 1: with the variance of all E, where ports to torch often
    divide by E - 1. Weights are read as they stand: what capacity dropped no longer counts. Even importance is not even
    load: a few tokens of large weight weigh as much as many of small. With K = 1 renormalised weights have no gradient.
    """
    return _squared_variation(routing.weights_TE.sum(0))


def load_loss(routing: Routing) -> Tensor:
    """CV^2 of the smooth load, each expert's sum over tokens of its chance to be chosen (Shazeer et al. 2017, app. A).

    Perfect balance gives 0, all load on one expert E - 1. Counts have no gradient, these chances have one: they are the
    record's `load_probability_TE`, which only noisy top-k has. Raises ValueError where it is missing.
    """
    if routing.load_probability_TE is None:
        raise ValueError("the load loss needs a load probability, which this routing does not have")
    return _squared_variation(routing.load_probability_TE.sum(0))


def l1_loss(routing: Routing, *, top_k: int | None = None) -> Tensor:
    """Mean over tokens of sum_i f_i relu(logit_i): what makes a ReLU router sparse (ReMoE, Wang et al. 2024).

    Without `top_k` every f_i is 1: the plain L1 norm. With it f_i = E / (K T) times the load, ReMoE's refinement, which
    presses more on busy experts and so balances too; where each has its T * K / E tokens every f_i is 1 again. Perfect
    balance gives it no value of its own: it goes with the size of the weights. Raises ValueError for 0 tokens.
    """
    _some_tokens(routing, "L1 loss")
    weights_TE = routing.logits_TE.relu()
    if top_k is None:
        return weights_TE.sum(1).mean()
    num_tokens, num_experts = weights_TE.shape
    return num_experts / (top_k * num_tokens) * (load(routing) * weights_TE.mean(0)).sum()


def updated_l1_weight(weight: float, routing: Routing, top_k: int, rate: float = 1.2) -> float:
    """The weight times `rate` if tokens have more than K experts on average, divided by it if fewer (ReMoE).

    It steers sparsity, not balance: at T * K assignments it rests, however uneven. ReMoE starts at 1e-8, with one
    weight for all layers: give it those `pooled`.
    """
    assigned, wanted = int(load(routing).sum()), top_k * len(routing.map_TE)
    return weight * rate ** ((assigned > wanted) - (assigned < wanted))


def updated_bias(bias_E: Tensor, counts_E: Tensor, rate: float) -> Tensor:
    """b_i + rate * sign(mean load - load_i): up by `rate` if expert i was short of tokens, down if it had too many.

    The loss-free rule (Wang et al. 2024, algorithm 1; used in DeepSeek-V3), applied after a step. At perfect balance
    nothing moves; the size of an imbalance does not matter, only its sign.
    """
    counts_E = counts_E.double()
    return bias_E + rate * (counts_E.mean() - counts_E).sign().to(bias_E.dtype)


def balancing_loss(
    routings: Sequence[Routing],
    config: BalanceConfig,
    *,
    num_sequences: int | None = None,
    micro_batches: int | None = None,
    l1_weight: float | None = None,
    top_k: int | None = None,
) -> Tensor:
    """The weighted sum, over layers, of every loss that a config asks for; 0 without any.

    Layers pooled for the auxiliary loss count as one, not as L. Where that loss is per sequence it needs to know
    `num_sequences`, where it is per micro-batch the number of `micro_batches`: each layer's tokens are cut into so many
    equal runs, shorter ones inside a block that only some tokens pass. `l1_weight` stands in for the config's once it
    has been updated, and with `top_k` the L1 loss balances too; ReMoE takes its mean over layers, not this sum. Perfect
    balance gives each layer the auxiliary weight, and 0 for importance and load. Raises ValueError for a number or a
    load probability that is needed and missing, and for tokens that cannot be cut so.
    """

    def auxiliary(routing: Routing) -> Tensor:
        group_size = config.auxiliary_group(len(routing.map_TE), num_sequences, micro_batches)
        return auxiliary_loss(routing, group_size=group_size)

    pools = [pooled(routings)] if config.auxiliary_pooled and routings else routings
    l1_weight = config.l1_weight if l1_weight is None else l1_weight
    terms = [
        *_weighted(config.auxiliary_weight, auxiliary, pools),
        *_weighted(config.z_weight, z_loss, routings),
        *_weighted(config.importance_weight, importance_loss, routings),
        *_weighted(config.load_weight, load_loss, routings),
        *_weighted(l1_weight, partial(l1_loss, top_k=top_k), routings),
        *_weighted(config.constant_weight, _constant, routings),
    ]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def _constant(routing: Routing) -> Tensor:
    """The specimen: 1 / E whatever was routed, and no gradient, unless a probability underflows to 0."""
    _some_tokens(routing, "constant loss")
    return constant_mean(routing.probs_TE[None])


def _weighted(weight: float, loss: Callable[[Layer], Tensor], layers: Sequence[Layer]) -> list[Tensor]:
    """Each layer's part; a weight of 0 computes nothing, so that no infinity times 0 becomes a NaN."""
    return [weight * loss(layer) for layer in layers] if weight else []


def _squared_variation(sum_E: Tensor) -> Tensor:
    """Variance over squared mean, of the shares of the whole so that neither overflows; 0 where all is 0."""
    share_E = sum_E / sum_E.sum().clamp(min=torch.finfo(sum_E.dtype).tiny)
    return share_E.var(correction=0) * len(share_E) ** 2


def _some_tokens(routing: Routing, what: str) -> None:
    if len(routing.map_TE) == 0:
        raise ValueError(f"the {what} of 0 tokens is not defined")


def _accepted_share(share_E: Tensor, num_groups: int, num_experts: int) -> Tensor:
    if num_groups != 1:
        raise ValueError(f"one share_E does not go with {num_groups} groups of tokens")
    if share_E.shape != (num_experts,):
        raise ValueError(f"share_E of shape {tuple(share_E.shape)} does not fit num_experts={num_experts}")
    if (total := share_E.sum().item()) and not -1e-3 < total - 1 < 1e-3:
        raise ValueError(f"share_E sums to {total}, not to 1: give shares of all assignments, not counts")
    return share_E.detach()
