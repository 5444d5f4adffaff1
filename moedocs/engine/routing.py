"""Token-choice routing: from router logits to one record of who goes where, with what weight.

Shapes: T tokens · E num_experts · K top_k
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from moedocs.config import RoutingConfig


@dataclass(frozen=True, eq=False)
class Routing:
    """The result of routing; every loss, dispatcher and figure reads only this.

    `weights_TE` is zero wherever `map_TE` is False. `index_TK` lists each token's choices, best first, and keeps those
    that capacity dropped afterwards: they are True in `dropped_TE` and False in `map_TE`.
    """

    logits_TE: Tensor
    probs_TE: Tensor
    map_TE: Tensor
    weights_TE: Tensor
    index_TK: Tensor
    dropped_TE: Tensor


def softmax_top_k(logits_TE: Tensor, config: RoutingConfig, *, bias_E: Tensor | None = None) -> Routing:
    """Each token takes its K most probable experts, weighted by probability.

    Without renormalising and with K = 1 that is Switch, renormalised and with K = 2 Mixtral. `bias_E` is added to the
    probabilities for the choice alone, never to the weights (DeepSeek-V3, eq. 16, where scores are sigmoids). Equal
    scores go to the lowest expert index. Renormalised weights are the softmax over the chosen logits, which equals
    dividing by the sum of the chosen probabilities but survives their underflow; for K = 1 they are always 1, so the
    router then learns nothing from them. All of it in float32. Raises ValueError for a logit that is not finite,
    naming its token, and for shapes that do not fit the configuration.
    """
    _check(logits_TE, config, bias_E)
    logits_TE = logits_TE.float()
    probs_TE = logits_TE.softmax(-1)
    # logits have the order of the probabilities, and do not tie where those underflow
    scores_TE = logits_TE if bias_E is None else probs_TE + bias_E.float()
    # topk() promises no order among equal scores, a stable sort does
    order_TE = scores_TE.detach().sort(dim=-1, descending=True, stable=True).indices
    index_TK = order_TE[:, : config.top_k]
    map_TE = torch.zeros_like(logits_TE, dtype=torch.bool).scatter(1, index_TK, True)
    chosen_TE = logits_TE.masked_fill(~map_TE, -torch.inf).softmax(-1) if config.renormalise else probs_TE
    weights_TE = chosen_TE.masked_fill(~map_TE, 0.0)
    return Routing(logits_TE, probs_TE, map_TE, weights_TE, index_TK, torch.zeros_like(map_TE))


def with_capacity(routing: Routing, capacity: int) -> Routing:
    """Keep at most `capacity` tokens per expert, first come first served; the rest are dropped (GShard, algorithm 1).

    GShard also skips some second choices at random; nothing is random here. All first choices are served, in token
    order, before any second choice: so for K > 1 a later token can displace an earlier one, which is not causal. What
    is kept keeps its weight, nothing is renormalised: a token with a dropped choice receives less, and one with none
    left only its residual.
    """
    if capacity < 0:
        raise ValueError(f"capacity={capacity} must not be negative")
    chosen_KTE = one_hot(routing.index_TK.T, routing.map_TE.shape[1]) * routing.map_TE
    place_KTE = chosen_KTE.flatten(0, 1).cumsum(0).view_as(chosen_KTE)
    map_TE = (chosen_KTE.bool() & (place_KTE <= capacity)).any(0)
    dropped_TE = routing.dropped_TE | (routing.map_TE & ~map_TE)
    weights_TE = routing.weights_TE.masked_fill(~map_TE, 0.0)
    return replace(routing, map_TE=map_TE, weights_TE=weights_TE, dropped_TE=dropped_TE)


def _check(logits_TE: Tensor, config: RoutingConfig, bias_E: Tensor | None) -> None:
    if logits_TE.ndim != 2 or logits_TE.shape[1] != config.num_experts:
        raise ValueError(f"router logits of shape {tuple(logits_TE.shape)} do not fit num_experts={config.num_experts}")
    if bias_E is not None and bias_E.shape != (config.num_experts,):
        raise ValueError(f"bias of shape {tuple(bias_E.shape)} does not fit num_experts={config.num_experts}")
    bad_TE = ~logits_TE.detach().isfinite()
    if bad_TE.any():
        token, expert = bad_TE.nonzero()[0].tolist()
        value = logits_TE[token, expert].item()
        raise ValueError(f"router logit of token {token} for expert {expert} is {value}, not a finite number")
