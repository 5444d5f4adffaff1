"""What processes say to one another, each differentiable where a gradient has to travel back.

Shapes: N rows that this rank has · M rows that come to it · R ranks
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from moedocs.parallel.world import ParallelError, World

MOST_DAYS = 7  # that the others wait for rank 0 to tell them something


def exchanged(rows_ND: Tensor, sent: list[int], received: list[int], world: World) -> Tensor:
    """Rows sent to each rank in turn, `sent[r]` of them to rank r; comes back with those `received` from each (M, D).

    The gradient goes the way back. Every rank must call it, those without rows too.
    """
    if world.size == 1:
        return rows_ND
    out_MD: Tensor = _Exchange.apply(rows_ND, sent, received, world)  # type: ignore[no-untyped-call]
    return out_MD


def gathered(rows_ND: Tensor, world: World) -> Tensor:
    """The equally many rows of every rank (R * N, …), in the order of the ranks.

    Each rank's gradient is the sum over ranks of what they make of its rows: where each computes the same joint loss,
    R times that loss's, and so the loss's own once gradients are averaged.
    """
    if world.size == 1:
        return rows_ND
    out: Tensor = _Gather.apply(rows_ND, world)  # type: ignore[no-untyped-call]
    return out


def whole(part_N: Tensor, world: World) -> Tensor:
    """The same without a gradient."""
    return gathered(part_N.detach(), world)


def part(rows: Tensor, world: World) -> Tensor:
    """This rank's equal share of the rows, the inverse of `whole`."""
    share = world.share(len(rows), "rows")
    return rows[world.rank * share : (world.rank + 1) * share]


def joint_sum(value: Tensor, world: World) -> Tensor:
    """The sum over ranks, without a gradient."""
    if world.size == 1:
        return value.detach()
    total = value.detach().clone()
    _told(world, lambda: dist.all_reduce(total))
    return total


def joint_mean(value: Tensor, world: World) -> Tensor:
    """The mean over ranks, without a gradient."""
    return joint_sum(value, world) / world.size


def spread(value: Tensor, world: World) -> None:
    """Write rank 0's value into that of every rank."""
    if world.size > 1:
        _told(world, lambda: dist.broadcast(value, src=0))


class Channel:
    """What rank 0 tells the others while it leads: any value that can be pickled, however long they wait for it."""

    def __init__(self, world: World) -> None:
        self.world = world
        patience = timedelta(days=MOST_DAYS)
        self._group = dist.new_group(backend="gloo", timeout=patience) if world.size > 1 else None

    def told(self, value: Any = None) -> Any:
        """Rank 0's `value`, on every rank; all must ask."""
        box = [value]
        if self._group is not None:
            group = self._group
            _told(self.world, lambda: dist.broadcast_object_list(box, src=0, group=group))
        return box[0]


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor, sent: list[int], received: list[int], world: World) -> Tensor:
        ctx.sizes, ctx.world = (sent, received), world
        return _all_to_all(rows_ND, sent, received, world)

    @staticmethod
    def backward(ctx: Any, dout_MD: Tensor) -> tuple[Tensor | None, ...]:
        sent, received = ctx.sizes
        return _all_to_all(dout_MD, received, sent, ctx.world), None, None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor, world: World) -> Tensor:
        ctx.world = world
        parts = [torch.empty_like(rows_ND, memory_format=torch.contiguous_format) for _ in range(world.size)]
        _told(world, lambda: dist.all_gather(parts, rows_ND.contiguous()))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        return part(joint_sum(dout, ctx.world), ctx.world), None


def _all_to_all(rows_ND: Tensor, sent: list[int], received: list[int], world: World) -> Tensor:
    out_MD = rows_ND.new_empty(sum(received), *rows_ND.shape[1:])
    _told(world, lambda: dist.all_to_all_single(out_MD, rows_ND.contiguous(), received, sent))
    return out_MD


def _told(world: World, talk: Callable[[], object]) -> None:
    try:
        talk()
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ParallelError(
            f"process {world.rank} of {world.size}: another one is gone or does not answer ({reason})"
        ) from None
