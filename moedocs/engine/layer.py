"""The MoE layer: a router, a stack of SwiGLU experts, and two dispatches that agree: the definition and the fast one.

Shapes: T tokens · D d_model · F d_ff of one expert · E num_experts · N assignments kept (at most T * K)
"""

from typing import Literal, get_args

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear, silu

from moedocs.config import RoutingConfig
from moedocs.engine.assignment import hash_table
from moedocs.engine.balance import load, updated_bias
from moedocs.engine.record import Routing
from moedocs.engine.routers import route

Dispatch = Literal["sorted", "dense"]


def fan_in(*shape: int, inputs: int, generator: Generator) -> nn.Parameter:
    """Normal weights of variance 1 / inputs: applied to `inputs` numbers of unit variance they give unit variance."""
    return nn.Parameter(torch.randn(shape, generator=generator) * inputs**-0.5)


def swiglu(x_TD: Tensor, gate_DF: Tensor, up_DF: Tensor, down_FD: Tensor) -> Tensor:
    """(silu(x G) * x U) W (Shazeer 2020): a gated feed-forward network of three matrices."""
    return (silu(x_TD @ gate_DF) * (x_TD @ up_DF)) @ down_FD


class SwiGLU(nn.Module):
    """One such network, which sees every token."""

    def __init__(self, d_model: int, d_ff: int, *, generator: Generator) -> None:
        super().__init__()
        self.gate_DF = fan_in(d_model, d_ff, inputs=d_model, generator=generator)
        self.up_DF = fan_in(d_model, d_ff, inputs=d_model, generator=generator)
        self.down_FD = fan_in(d_ff, d_model, inputs=d_ff, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return swiglu(x, self.gate_DF, self.up_DF, self.down_FD)


class Experts(nn.Module):
    """E feed-forward networks whose matrices are stacked along the first axis."""

    def __init__(self, num_experts: int, d_model: int, d_ff: int, *, generator: Generator) -> None:
        super().__init__()
        self.gate_EDF = fan_in(num_experts, d_model, d_ff, inputs=d_model, generator=generator)
        self.up_EDF = fan_in(num_experts, d_model, d_ff, inputs=d_model, generator=generator)
        self.down_EFD = fan_in(num_experts, d_ff, d_model, inputs=d_ff, generator=generator)

    def unbind(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """The three matrices of each expert; indexing inside a loop would fill a whole stack per expert backward."""
        return list(zip(self.gate_EDF.unbind(), self.up_EDF.unbind(), self.down_EFD.unbind(), strict=True))

    def forward(self, x_TD: Tensor) -> Tensor:
        """What every expert makes of every token (T, E, D)."""
        return torch.stack([swiglu(x_TD, *matrices) for matrices in self.unbind()], dim=1)


def dense_dispatch(x_TD: Tensor, routing: Routing, experts: Experts) -> Tensor:
    """The definition, y_t = sum_e w_te FFN_e(x_t): all experts see all tokens, and zero weights silence most."""
    weights_TE = routing.weights_TE[:, : len(experts.gate_EDF)]  # no-ops come after the experts, and add nothing
    return torch.einsum("te,ted->td", weights_TE.to(x_TD.dtype), experts(x_TD))


def sorted_dispatch(x_TD: Tensor, routing: Routing, experts: Experts) -> Tensor:
    """The same sum, where each expert computes only the tokens routed to it: permute, compute, unpermute."""
    map_TE = routing.map_TE[:, : len(experts.gate_EDF)]  # no-ops come after the experts, and add nothing
    expert_N, token_N = map_TE.T.nonzero(as_tuple=True)  # nonzero() lists row by row: sorted by expert
    counts = map_TE.sum(0).tolist()
    x_ND = x_TD.index_select(0, token_N)
    groups = zip(torch.split(x_ND, counts), experts.unbind(), strict=True)
    out_ND = torch.cat([swiglu(group_ND, *matrices) for group_ND, matrices in groups])
    weighted_ND = out_ND * routing.weights_TE[token_N, expert_N, None].to(x_TD.dtype)
    return torch.zeros_like(x_TD).index_add(0, token_N, weighted_ND)


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
        dispatch: Dispatch = "sorted",
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
        drawn = self.training and self.noise_ED is not None
        return route(
            linear(x_TD, self.router_ED.float()),
            self.config,
            bias_E=self.bias_E,
            noise_TE=linear(x_TD, self.noise_ED.float()) if drawn and self.noise_ED is not None else None,
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
        dispatch = dense_dispatch if self.dispatch == "dense" else sorted_dispatch
        out_TD = dispatch(x_TD, routing, self.experts)
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
