"""Expert parallelism: each rank keeps a share of the experts, and tokens travel to them and back (GShard; all-to-all).

Shapes: T tokens of this rank · D d_model · F d_ff of one expert · E experts of all ranks · L those of this rank ·
        N assignments of this rank's tokens · M assignments of this rank's experts · R ranks
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import grouped_mm, silu

from moedocs.engine.dispatch import Assignments, combined
from moedocs.engine.experts import Experts, swiglu
from moedocs.engine.record import Routing
from moedocs.parallel.collectives import exchanged, part
from moedocs.parallel.world import World

ALIGNED = 16  # bytes that rows of D and of F must be a multiple of for grouped products


class LocalExperts(Experts):
    """This rank's equal share of the experts of all ranks: with R ranks the first E / R of them on rank 0."""

    def __init__(self, experts: Experts, world: World) -> None:
        nn.Module.__init__(self)
        world.share(len(experts), "experts")
        for name, stack in experts.named_parameters():
            setattr(self, name, nn.Parameter(part(stack.detach(), world).clone()))


def expert_parallel_dispatch(x_TD: Tensor, routing: Routing, experts: Experts, world: World) -> Tensor:
    """y_t = sum_e w_te FFN_e(x_t) as every dispatch has it, of this rank's tokens and the experts of all ranks.

    `experts` are this rank's equal share. Every rank must call it, whether or not it has tokens. Where losses are
    averaged over ranks, a gradient that arrives in `experts` is of all tokens and R times too large: `share_gradients`
    knows. Under autocast tokens travel and experts compute in its format; the weighted sum stays in that of `x_TD`.
    """
    form = torch.get_autocast_dtype(x_TD.device.type) if torch.is_autocast_enabled(x_TD.device.type) else x_TD.dtype
    with torch.autocast(x_TD.device.type, enabled=False):
        kept = _assignments(routing, len(experts) * world.size)
        counts_RL = kept.counts_E.view(world.size, -1)
        theirs_RL = exchanged(counts_RL, [1] * world.size, [1] * world.size, world)
        sent, received = torch.stack([counts_RL.sum(1), theirs_RL.sum(1)]).tolist()
        rows_MD = exchanged(x_TD.to(form).index_select(0, kept.token_N), sent, received, world)
        out_ND = exchanged(_computed(rows_MD, theirs_RL, experts), received, sent, world)
        return combined(x_TD, out_ND.to(x_TD.dtype), kept)


def _assignments(routing: Routing, num_experts: int) -> Assignments:
    """Those kept, expert by expert and so rank by rank; no-ops, which come after the experts, are left out."""
    map_TE = routing.map_TE[:, :num_experts]
    expert_N, token_N = map_TE.T.nonzero(as_tuple=True)
    return Assignments(token_N, expert_N, routing.weights_TE[token_N, expert_N], map_TE.sum(0))


def _computed(rows_MD: Tensor, counts_RL: Tensor, experts: Experts) -> Tensor:
    """What this rank's experts make of rows that lie rank by rank, and within a rank expert by expert."""
    num_ranks, num_experts = counts_RL.shape
    if num_ranks == 1:
        return _by_expert(rows_MD, counts_RL[0], experts)
    expert_RL = torch.arange(num_experts, device=rows_MD.device).expand(num_ranks, -1)
    order_M = expert_RL.flatten().repeat_interleave(counts_RL.flatten()).argsort(stable=True)
    out_MD = _by_expert(rows_MD.index_select(0, order_M), counts_RL.sum(0), experts)
    return out_MD.index_select(0, order_M.argsort())


def _by_expert(rows_MD: Tensor, counts_L: Tensor, experts: Experts) -> Tensor:
    """The same of rows that lie expert by expert: one product per matrix on a GPU, one expert after the other else."""
    gate_LDF, up_LDF, down_LFD = (
        stack.to(rows_MD.dtype) for stack in (experts.gate_EDF, experts.up_EDF, experts.down_EFD)
    )
    if rows_MD.is_cuda and not any(size * rows_MD.element_size() % ALIGNED for size in gate_LDF.shape[1:]):
        ends_L = counts_L.cumsum(0, dtype=torch.int32)
        hidden_MF = silu(grouped_mm(rows_MD, gate_LDF, offs=ends_L)) * grouped_mm(rows_MD, up_LDF, offs=ends_L)
        return grouped_mm(hidden_MF, down_LFD, offs=ends_L)
    groups = zip(
        torch.split(rows_MD, counts_L.tolist()), gate_LDF.unbind(), up_LDF.unbind(), down_LFD.unbind(), strict=True
    )
    return torch.cat([swiglu(*group) for group in groups])
