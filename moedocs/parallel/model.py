"""A transformer whose experts are divided over ranks, each with its share of a step's sequences.

Shapes: T tokens of this rank · R ranks · E choices of a router · B sequences of this rank · S sequence length ·
        D d_model
"""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear

from moedocs.engine import DepthBlock, DepthRouting, MoELayer, Routing, Transformer, random_depth
from moedocs.engine.routers import route
from moedocs.parallel.collectives import gathered, joint_sum, part, spread, whole
from moedocs.parallel.dispatch import LocalExperts, expert_parallel_dispatch
from moedocs.parallel.world import World

BUCKET = 64 * 2**20  # bytes of gradients that travel at once

Value = TypeVar("Value")
Table = TypeVar("Table", Routing, DepthRouting)


class JointMoELayer(MoELayer):
    """An MoE layer that routes the joint batch of all ranks and keeps a share of the experts.

    Router logits travel to every rank, and each works out the same Routing of all tokens: capacity, noise, assignment
    and the losses then are what one process would have. They are E numbers a token, where the token itself is D.
    """

    def __init__(self, layer: MoELayer, world: World) -> None:
        nn.Module.__init__(self)
        self.config, self.dispatch, self.world = layer.config, layer.dispatch, world
        self.router_ED, self.noise_ED = layer.router_ED, layer.noise_ED
        self.experts = LocalExperts(layer.experts, world)
        self.shared, self.shared_gate_1D = layer.shared, layer.shared_gate_1D
        self.register_buffer("bias_E", layer.bias_E)
        self.register_buffer("table_VK", layer.table_VK)

    def route(
        self,
        x_TD: Tensor,
        *,
        ids_T: Tensor | None = None,
        sequence_length: int | None = None,
        generator: Generator | None = None,
    ) -> Routing:
        """The Routing of the tokens of all ranks (R * T rows); a `generator` must stand alike on every rank."""
        with torch.autocast(x_TD.device.type, enabled=False):
            x_TD = x_TD.float()
            noise_TE = linear(x_TD, self.noise_ED.float()) if self.training and self.noise_ED is not None else None
            return route(
                gathered(linear(x_TD, self.router_ED.float()), self.world),
                self.config,
                bias_E=self.bias_E,
                noise_TE=None if noise_TE is None else gathered(noise_TE, self.world),
                ids_T=None if ids_T is None or self.table_VK is None else whole(ids_T, self.world),
                table_VK=self.table_VK,
                sequence_length=sequence_length,
                generator=generator,
                training=self.training,
            )

    def forward(
        self, x: Tensor, *, ids: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Routing]:
        """The output for this rank's tokens, and the Routing of those of all ranks."""
        x_TD = x.reshape(-1, x.shape[-1])
        ids_T = None if ids is None else ids.flatten()
        length = x.shape[-2] if x.ndim > 1 else 1
        routing = self.route(x_TD, ids_T=ids_T, sequence_length=length, generator=generator)
        out_TD = expert_parallel_dispatch(x_TD, own_rows(routing, self.world), self.experts, self.world)
        if self.shared is not None:
            out_TD = out_TD + self.shared_output(x_TD)
        return out_TD.view_as(x), routing


class JointDepthBlock(DepthBlock):
    """A depth block whose random choices are this rank's rows of those of the joint batch; a learned one needs none."""

    def __init__(self, block: DepthBlock, world: World) -> None:
        nn.Module.__init__(self)
        self.config, self.world = block.config, world
        self.block = block.block
        if self.config.router == "learned":
            self.router_D = block.router_D
        self.predictor = block.predictor

    def choose(self, x_BSD: Tensor, *, causal: bool = False, generator: Generator | None = None) -> DepthRouting:
        """The choice for this rank's sequences; a `generator` must stand alike on every rank.

        A logit that is not finite is refused on all ranks, so that none waits for another.
        """
        with torch.autocast(x_BSD.device.type, enabled=False):
            if self.config.router == "learned" or generator is None:
                return agreed(lambda: super(JointDepthBlock, self).choose(x_BSD, causal=causal), self.world)
            shape = (x_BSD.shape[0] * self.world.size, x_BSD.shape[1])
            capacity = self.config.slots(shape[1])
            return own_rows(random_depth(shape, capacity, generator=generator, device=x_BSD.device), self.world)


def agreed(work: Callable[[], Value], world: World) -> Value:
    """What `work` gives on this rank, if no rank's raises ValueError; else all raise it."""
    refused = None
    try:
        found = work()
    except ValueError as error:
        refused = error
    if not joint_sum(torch.tensor(float(refused is not None), device=world.device), world):
        return found
    raise refused or ValueError("another process had something to refuse")


def own_rows(table: Table, world: World) -> Table:
    """Of a record of the joint batch the rows of this rank."""
    columns = {field.name: getattr(table, field.name) for field in fields(table)}
    own: dict[str, Any] = {name: None if rows is None else part(rows, world) for name, rows in columns.items()}
    return replace(table, **own)


def divided(model: Transformer, world: World) -> Transformer:
    """The same model, changed in place, on this rank's device with its share of the experts and rank 0's weights.

    Parameters keep their names; of an expert stack a rank has its rows. Raises ParallelError for experts that cannot be
    divided equally.
    """
    _replace(model, world)
    model.to(world.device)
    local = {id(weight) for weight in local_parameters(model)}
    for tensor in (*model.parameters(), *model.buffers()):
        if id(tensor) not in local:
            spread(tensor.detach(), world)
    return model


def local_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """Those of which every rank has others: the experts'."""
    for module in model.modules():
        if isinstance(module, LocalExperts):
            yield from module.parameters()


def share_gradients(model: nn.Module, world: World) -> None:
    """Make of each rank's gradients those of the mean of the ranks' losses."""
    if world.size == 1:
        return
    local = {id(weight) for weight in local_parameters(model)}
    common = []
    for weight in model.parameters():
        if weight.grad is not None and id(weight) in local:
            weight.grad /= world.size  # the exchange has brought the gradients of all ranks' tokens
        elif weight.grad is not None:
            common.append(weight.grad)
    for bucket in _buckets(common):
        flat = joint_sum(torch.cat([grad.flatten() for grad in bucket]), world) / world.size
        for grad, mean in zip(bucket, torch.split(flat, [grad.numel() for grad in bucket]), strict=True):
            grad.copy_(mean.view_as(grad))


def gradient_norm(model: nn.Module, world: World) -> Tensor:
    """The norm of the gradient of the whole model, once gradients are shared: the same on every rank."""
    local = {id(weight) for weight in local_parameters(model)}
    squares = torch.zeros(2, device=world.device)
    for weight in model.parameters():
        if weight.grad is not None:
            squares[int(id(weight) in local)] += weight.grad.detach().float().square().sum()
    return (squares[0] + joint_sum(squares[1], world)).sqrt()


def whole_state(model: nn.Module, world: World) -> dict[str, Tensor]:
    """The state of the model that one process would have, on every rank; all must ask."""
    local = {name for name, weight in model.named_parameters() if id(weight) in set(map(id, local_parameters(model)))}
    return {name: whole(tensor, world) if name in local else tensor for name, tensor in model.state_dict().items()}


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and size + tensor.nbytes > BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket


def _replace(module: nn.Module, world: World) -> None:
    for name, child in module.named_children():
        _replace(child, world)
        if isinstance(child, MoELayer):
            setattr(module, name, JointMoELayer(child, world))
        elif isinstance(child, DepthBlock):
            setattr(module, name, JointDepthBlock(child, world))
