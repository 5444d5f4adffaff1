"""The MoE layer: a router, a stack of experts, a dispatch between them, and what shared experts add.

Shapes: T tokens · D d_model · E num_experts · V vocab_size · K top_k
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear

from moedocs.config import RoutingConfig
from moedocs.engine.assignment import hash_table
from moedocs.engine.balance import load, updated_bias
from moedocs.engine.by_hand import fast_dispatch
from moedocs.engine.dispatch import buffer_dispatch, dense_dispatch, grouped_dispatch, sorted_dispatch
from moedocs.engine.experts import Experts, SwiGLU, fan_in
from moedocs.engine.record import Routing
from moedocs.engine.routers import route

Dispatch = Literal["fast", "sorted", "dense", "grouped", "buffers"]

DISPATCHES: dict[Dispatch, Callable[[Tensor, Routing, Experts], Tensor]] = {
    "fast": fast_dispatch,
    "sorted": sorted_dispatch,
    "dense": dense_dispatch,
    "grouped": grouped_dispatch,
    "buffers": buffer_dispatch,
}


class MoELayer(nn.Module):
    """Router, experts and weighted sum (Shazeer et al. 2017, eq. 1); returns the output and the Routing behind it.

    A token whose choices were all dropped comes out as exact zeros, or as what shared experts make of it: the residual
    around the layer carries it on.
    `bias_E` moves only when `update_bias` is called, after a step.
    """

    bias_E: Tensor | None
    table_VK: Tensor | None

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        config: RoutingConfig,
        *,
        generator: Generator,
        dispatch: Dispatch = "fast",
        vocab_size: int | None = None,
    ) -> None:
        super().__init__()
        if dispatch not in get_args(Dispatch):
            raise ValueError(f"dispatch={dispatch!r} must be one of {', '.join(get_args(Dispatch))}")
        self.config, self.dispatch = config, dispatch
        self.router_ED = fan_in(config.choices, d_model, inputs=d_model, generator=generator)
        # no noise is learned yet: softplus(0) = ln 2 for every expert
        self.noise_ED = nn.Parameter(torch.zeros(config.choices, d_model)) if config.router == "noisy" else None
        self.experts = Experts(config.num_experts, d_model, d_ff, generator=generator)
        shared = config.shared_experts
        self.shared = SwiGLU(d_model, shared * d_ff, generator=generator) if shared else None
        self.shared_gate_1D = fan_in(1, d_model, inputs=d_model, generator=generator) if config.shared_gate else None
        self.register_buffer("bias_E", torch.zeros(config.choices) if config.balance.bias_rate else None)
        self.register_buffer("table_VK", _table(config, vocab_size, generator))

    def route(
        self,
        x_TD: Tensor,
        *,
        ids_T: Tensor | None = None,
        sequence_length: int | None = None,
        generator: Generator | None = None,
    ) -> Routing:
        """Router logits in float32 whatever the model runs in, and the routing that the config describes.

        In evaluation mode it routes as text is generated, and needs no `generator`. Hash routing needs the tokens' ids.
        """
        x_TD = x_TD.float()
        return route(
            linear(x_TD, self.router_ED.float()),
            self.config,
            bias_E=self.bias_E,
            noise_TE=linear(x_TD, self.noise_ED.float()) if self.training and self.noise_ED is not None else None,
            ids_T=ids_T,
            table_VK=self.table_VK,
            sequence_length=sequence_length,
            generator=generator,
            training=self.training,
        )

    def forward(
        self, x: Tensor, *, ids: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Routing]:
        """Any leading shape (..., D): the tokens are routed as one flat batch, in order.

        The last but one axis is a sequence, where something is per sequence; `ids` has the leading shape alone.
        """
        x_TD = x.reshape(-1, x.shape[-1])
        routing = self.route(
            x_TD,
            ids_T=None if ids is None else ids.flatten(),
            sequence_length=x.shape[-2] if x.ndim > 1 else 1,
            generator=generator,
        )
        out_TD = DISPATCHES[self.dispatch](x_TD, routing, self.experts)
        if self.shared is not None:
            out_TD = out_TD + self.shared_output(x_TD)
        return out_TD.view_as(x), routing

    def shared_output(self, x_TD: Tensor) -> Tensor:
        """What the shared experts make of every token, one network of their joint width; 0 without any.

        With a gate (Qwen2) times the sigmoid of one more row's product with the token, without (DeepSeek) as it is.
        """
        if self.shared is None:
            return torch.zeros_like(x_TD)
        shared_TD: Tensor = self.shared(x_TD)
        return shared_TD if self.shared_gate_1D is None else linear(x_TD, self.shared_gate_1D).sigmoid() * shared_TD

    def update_bias(self, routing: Routing) -> None:
        """One step of the loss-free rule, from the load of `routing`; without a bias_rate there is none to move."""
        if self.bias_E is not None:
            self.bias_E = updated_bias(self.bias_E, load(routing), self.config.balance.bias_rate)


def _table(config: RoutingConfig, vocab_size: int | None, generator: Generator) -> Tensor | None:
    """The experts of each token of the vocabulary (V, K), where routing is by hash."""
    if config.router != "hash":
        return None
    if vocab_size is None:
        raise ValueError("router='hash' needs the vocab_size")
    with torch.device("cpu"):  # a table is looked up, even where a model on the meta device only counts
        return hash_table(vocab_size, config.choices, config.top_k, generator=generator)
