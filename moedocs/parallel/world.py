"""Who takes part in a training: the processes that torchrun started, or this one alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist

from moedocs.problem import Problem

PATIENCE = 600.0  # seconds that a process waits for another one


class ParallelError(Problem):
    """Processes that cannot work together: one is missing, or what they talk through is."""


@dataclass(frozen=True)
class World:
    """This process: which of how many it is, and the device that it computes on."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def share(self, whole: int, what: str) -> int:
        """An equal part of `whole`; raises ParallelError where there is none."""
        if whole % self.size:
            raise ParallelError(f"{whole} {what} cannot be divided among {self.size} processes")
        return whole // self.size


@contextmanager
def joined(*, patience: float = PATIENCE, device: str | None = None) -> Iterator[World]:
    """The world that torchrun's environment describes, left again at the end; one process without it.

    On the GPU of this process's number on its machine where there are some, unless `device` says "cpu": processes talk
    through NCCL on GPUs, through Gloo on CPUs. Raises ParallelError if another one does not come within `patience`
    seconds.
    """
    rank, size, local = (_number(name, usual) for name, usual in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    if not 0 <= rank < size:
        raise ParallelError(f"RANK={rank} must lie in 0..{size - 1}, as WORLD_SIZE={size}")
    world = World(rank, size, _device(device, local))
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
    if size == 1:
        yield world
        return
    _join(world, patience)
    try:
        yield world
    finally:
        dist.destroy_process_group()


def _number(name: str, usual: int) -> int:
    text = os.environ.get(name, str(usual))
    if not text.isdecimal():
        raise ParallelError(f"{name}={text!r} is not a number: start the processes with torchrun")
    return int(text)


def _device(wanted: str | None, local: int) -> torch.device:
    if wanted is not None and wanted != "cuda":
        return torch.device(wanted)
    if not torch.cuda.is_available():
        if wanted:
            raise ParallelError("no GPU is to be had here: device='cpu' computes without")
        return torch.device("cpu")
    if local >= (found := torch.cuda.device_count()):
        raise ParallelError(f"process {local} of this machine finds {found} GPUs: start no more processes than those")
    return torch.device("cuda", local)


def _join(world: World, patience: float) -> None:
    backend = "nccl" if world.device.type == "cuda" else "gloo"
    if not dist.is_available() or not dist.is_backend_available(backend):
        raise ParallelError(f"this torch cannot talk through {backend}: {world.size} processes need it")
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ParallelError(f"{missing[0]} is not set: start the {world.size} processes with torchrun")
    try:
        dist.init_process_group(
            backend,
            rank=world.rank,
            world_size=world.size,
            timeout=timedelta(seconds=patience),
            device_id=world.device if backend == "nccl" else None,
        )
    except (RuntimeError, ValueError) as error:
        if dist.is_initialized():
            dist.destroy_process_group()
        reason = str(error).partition("\n")[0]
        raise ParallelError(
            f"process {world.rank} of {world.size}: the others did not come within {patience:g} seconds ({reason})"
        ) from None
