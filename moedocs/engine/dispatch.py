"""From a routing to the weighted sum of what the experts make of their tokens: the definition, and three ways round it.

All four compute y_t = sum_e w_te FFN_e(x_t), in values and in gradients; a fifth, for training, is in `by_hand`. What
capacity dropped and what went to a no-op expert adds nothing. The weight multiplies an expert's output. Llama 4 weights
its input: with one expert per token that is any dispatch of w_t x_t under weights of 1.

Shapes: T tokens · D d_model · F d_ff of one expert · E num_experts · N assignments kept (at most T * K) ·
        n those of one expert · C slots of one expert · S = E * C
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grouped_mm, silu

from moedocs.engine.experts import Experts, swiglu
from moedocs.engine.record import Routing


def dense_dispatch(x_TD: Tensor, routing: Routing, experts: Experts) -> Tensor:
    """The definition: all experts see all tokens, and zero weights silence most."""
    weights_TE = routing.weights_TE[:, : len(experts)]  # no-ops come after the experts
    return torch.einsum("te,ted->td", weights_TE.to(x_TD.dtype), experts(x_TD))


def sorted_dispatch(x_TD: Tensor, routing: Routing, experts: Experts) -> Tensor:
    """Each expert computes the tokens routed to it and no others: permute, compute one by one, unpermute."""
    kept = assignments(routing, experts)
    groups = torch.split(x_TD.index_select(0, kept.token_N), kept.counts_E.tolist())
    pairs = zip(groups, experts.unbind(), strict=True)
    return combined(x_TD, torch.cat([swiglu(group_nD, *matrices) for group_nD, matrices in pairs]), kept)


def grouped_dispatch(x_TD: Tensor, routing: Routing, experts: Experts) -> Tensor:
    """The same without a loop, by grouped matrix products (MegaBlocks, Gale et al. 2022): one per matrix of an expert.

    torch's work in float32, bfloat16 and float16 where rows of D and of F are multiples of 16 bytes, and refuse what is
    not. On a CPU they are slow in bfloat16.
    """
    kept = assignments(routing, experts)
    ends_E = kept.counts_E.cumsum(0, dtype=torch.int32)
    x_ND = x_TD.index_select(0, kept.token_N)
    up_NF = grouped_mm(x_ND, experts.up_EDF, offs=ends_E)
    hidden_NF = silu(grouped_mm(x_ND, experts.gate_EDF, offs=ends_E)) * up_NF
    return combined(x_TD, grouped_mm(hidden_NF, experts.down_EFD, offs=ends_E), kept)


def buffer_dispatch(x_TD: Tensor, routing: Routing, experts: Experts) -> Tensor:
    """Equal buffers of C slots per expert, and one batched product per matrix (GShard): empty slots are computed too.

    C is the largest load, so that nothing is lost here: what a capacity drops, the routing has dropped already.
    """
    kept = assignments(routing, experts)
    slots, d_model = int(kept.counts_E.max()), x_TD.shape[1]
    first_E = kept.counts_E.cumsum(0) - kept.counts_E  # where each expert's assignments begin
    place_N = torch.arange(len(kept.expert_N), device=x_TD.device) - first_E[kept.expert_N]
    slot_N = kept.expert_N * slots + place_N
    empty_SD = x_TD.new_zeros(len(experts) * slots, d_model)
    buffer_ECD = empty_SD.index_copy(0, slot_N, x_TD.index_select(0, kept.token_N)).view(len(experts), slots, d_model)
    out_ECD = swiglu(buffer_ECD, experts.gate_EDF, experts.up_EDF, experts.down_EFD)
    return combined(x_TD, out_ECD.flatten(0, 1).index_select(0, slot_N), kept)


@dataclass(frozen=True, eq=False)
class Assignments:
    """Who works for whom, expert by expert and in token order within: token and expert, weight; and how many (E,)."""

    token_N: Tensor
    expert_N: Tensor
    weights_N: Tensor
    counts_E: Tensor


def assignments(routing: Routing, experts: Experts) -> Assignments:
    """The assignments that were kept; those to no-ops, which come after the experts, are left out."""
    map_TE = routing.map_TE[:, : len(experts)]
    expert_N, token_N = map_TE.T.nonzero(as_tuple=True)  # nonzero() lists row by row
    return Assignments(token_N, expert_N, routing.weights_TE[token_N, expert_N], map_TE.sum(0))


def combined(x_TD: Tensor, out_ND: Tensor, kept: Assignments) -> Tensor:
    """Each token's weighted sum; zeros for a token without any."""
    weighted_ND = out_ND * kept.weights_N[:, None].to(x_TD.dtype)
    return torch.zeros_like(x_TD).index_add(0, kept.token_N, weighted_ND)
