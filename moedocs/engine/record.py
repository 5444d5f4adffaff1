"""The one result of every routing, and what a router accepts.

Shapes: T tokens · E choices of a router (num_experts, and the no-ops after them) · K most choices of any token
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Routing:
    """Who goes where, with what weight; every loss, dispatch and figure of experts reads only this.

    `probs_TE` are shares, each row sums to 1 (0 where a router gave a token nothing). `weights_TE` is zero wherever
    `map_TE` is False. `index_TK` lists each token's choices, best first, with -1 where it has fewer than K, and keeps
    those that capacity dropped afterwards: they are True in `dropped_TE` and False in `map_TE`. Where a load loss is to
    be taken, `load_probability_TE` is each choice's chance over noise drawn anew (noisy top-k).
    """

    logits_TE: Tensor
    probs_TE: Tensor
    map_TE: Tensor
    weights_TE: Tensor
    index_TK: Tensor
    dropped_TE: Tensor
    load_probability_TE: Tensor | None = None

    @property
    def chosen_TE(self) -> Tensor:
        """Who chose whom, whether or not capacity dropped the choice afterwards."""
        return self.map_TE | self.dropped_TE


def routed(
    logits_TE: Tensor, probs_TE: Tensor, weights_TE: Tensor, index_TK: Tensor, map_TE: Tensor | None = None
) -> Routing:
    """The record of a choice before capacity: where `weights_TE` is not chosen it becomes an exact zero."""
    if map_TE is None:
        map_TE = chosen_map(index_TK, logits_TE.shape[1])
    weights_TE = weights_TE.masked_fill(~map_TE, 0.0)
    return Routing(logits_TE, probs_TE, map_TE, weights_TE, index_TK, torch.zeros_like(map_TE))


def routed_to(logits_TE: Tensor, probs_TE: Tensor, index_TK: Tensor, weights_TK: Tensor) -> Routing:
    """The record of a choice before capacity in which every token has K experts, `weights_TK` being theirs in order."""
    weights_TE = torch.zeros_like(logits_TE).scatter_(1, index_TK, weights_TK)
    map_TE = chosen_map(index_TK, logits_TE.shape[1])
    return Routing(logits_TE, probs_TE, map_TE, weights_TE, index_TK, torch.zeros_like(map_TE))


def chosen_map(index_TK: Tensor, num_experts: int) -> Tensor:
    """True where a token chose an expert (T, E); every entry of `index_TK` is an expert."""
    map_TE = torch.zeros(len(index_TK), num_experts, dtype=torch.bool, device=index_TK.device)
    return map_TE.scatter_(1, index_TK, True)


def best_first(scores_TE: Tensor, top_k: int) -> Tensor:
    """The K highest of each row, best first; equal scores go to the lowest expert index, on every machine."""
    if not 1 <= top_k <= scores_TE.shape[1]:
        raise ValueError(f"top_k={top_k} must lie in 1..num_experts={scores_TE.shape[1]}")
    scores_TE = scores_TE.detach()
    if top_k == 1:
        return scores_TE.argmax(1, keepdim=True)  # of equal ones the first
    highest = scores_TE.topk(min(top_k + 1, scores_TE.shape[1]))
    index_TK = highest.indices[:, :top_k]
    # topk() promises no order among equal scores, a stable sort does, and takes twice as long
    tied_T = (highest.values[:, :-1] == highest.values[:, 1:]).any(1)
    index_TK[tied_T] = scores_TE[tied_T].sort(dim=1, descending=True, stable=True).indices[:, :top_k]
    return index_TK


def listed(scores_TE: Tensor, map_TE: Tensor) -> Tensor:
    """The chosen of each row of `map_TE`, best first as in `best_first`, with -1 where a token has fewer than others.

    K is the most that any token has, at least 1: for routings that leave the number of experts to each token.
    """
    most = max([1, *map_TE.sum(1).tolist()])
    index_TK = best_first(scores_TE.masked_fill(~map_TE, -torch.inf), most)
    return index_TK.masked_fill(~map_TE.gather(1, index_TK), -1)


def accepted(logits_TE: Tensor, name: str = "router logit") -> Tensor:
    """The router logits in float32, whatever the model runs in.

    Raises ValueError unless they are a table of numbers that are finite in float32, naming the token and the expert of
    the first that is not.
    """
    if logits_TE.ndim != 2 or logits_TE.shape[1] == 0:
        raise ValueError(f"{name}s must have one row per token and one column per expert, not {_shape(logits_TE)}")
    logits_TE = logits_TE.float()
    # the extremes of a table show what is not finite, and are found ten times faster
    if logits_TE.numel() and not torch.stack(logits_TE.detach().aminmax()).isfinite().all():
        token, expert = (~logits_TE.isfinite()).nonzero()[0].tolist()
        value = logits_TE[token, expert].item()
        raise ValueError(f"{name} of token {token} for expert {expert} is {value}, not a finite number in float32")
    return logits_TE


def accepted_bias(bias_E: Tensor, num_experts: int) -> Tensor:
    """The selection bias in float32; raises ValueError unless it is one finite number per expert."""
    if bias_E.shape != (num_experts,):
        raise ValueError(f"bias of shape {_shape(bias_E)} does not fit num_experts={num_experts}")
    bias_E = bias_E.float()
    if not (finite_E := bias_E.isfinite()).all():
        expert = int((~finite_E).nonzero()[0])
        raise ValueError(f"bias of expert {expert} is {bias_E[expert].item()}, not a finite number in float32")
    return bias_E


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
