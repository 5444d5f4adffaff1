"""Somebody else's whole block beside our layer: shapes, parameters under our names, and what both must agree on.

Shapes: B sequences · S their length · D d_model · F d_ff of one expert · E num_experts
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from moedocs.config import RoutingConfig
from moedocs.engine import MoELayer
from moedocs.engine.layer import Dispatch
from tests.drawing import random_logits

Block = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Shape:
    """Widths in fours, as a grouped product wants them."""

    sequences: int
    length: int
    d_model: int
    d_ff: int
    group_size: int
    groups: int
    top_groups: int
    top_k: int
    shared: int
    renormalise: bool
    seed: int

    @property
    def num_experts(self) -> int:
        return self.groups * self.group_size

    @property
    def x_BSD(self) -> Tensor:
        return random_logits(self.sequences, self.length, self.d_model, seed=self.seed)

    @property
    def theirs(self) -> Any:
        """Whatever any of their blocks asks its configuration for."""
        return SimpleNamespace(
            hidden_size=self.d_model,
            intermediate_size=self.d_ff,
            moe_intermediate_size=self.d_ff,
            shared_expert_intermediate_size=self.shared * self.d_ff,
            hidden_act="silu",
            mlp_bias=False,
            num_experts=self.num_experts,
            num_local_experts=self.num_experts,
            num_experts_per_tok=self.top_k,
            norm_topk_prob=self.renormalise,
            n_shared_experts=self.shared,
            n_group=self.groups,
            topk_group=self.top_groups,
            topk_method="group_limited_greedy",
            routed_scaling_factor=2.5,
            router_jitter_noise=0.0,
            _experts_implementation="eager",
        )

    def layer(self, dispatch: Dispatch, **routing: Any) -> MoELayer:
        config = RoutingConfig(num_experts=self.num_experts, top_k=self.top_k, **routing)
        return MoELayer(self.d_model, self.d_ff, config, generator=torch.Generator(), dispatch=dispatch)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    group_size, groups = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    top_groups = draw(st.integers(1, groups))
    return Shape(
        sequences=draw(st.integers(1, 3)),
        length=draw(st.integers(1, 12)),
        d_model=4 * draw(st.integers(1, 4)),
        d_ff=4 * draw(st.integers(1, 4)),
        group_size=group_size,
        groups=groups,
        top_groups=top_groups,
        top_k=draw(st.integers(1, group_size * top_groups)),
        shared=draw(st.integers(1, 3)),
        renormalise=draw(st.booleans()),
        seed=draw(st.integers(0, 10**6)),
    )


Table = dict[str, Tensor]


def as_ours(theirs: Table, shared: str = "shared_experts") -> Table:
    """Their parameters, or the gradients of these, under our names: they stack (out, in), gate and up in one."""
    gate_EFD, up_EFD = theirs["experts.gate_up_proj"].chunk(2, dim=1)
    ours = {
        "router_ED": theirs["gate.weight"],
        "experts.gate_EDF": gate_EFD.mT,
        "experts.up_EDF": up_EFD.mT,
        "experts.down_EFD": theirs["experts.down_proj"].mT,
    }
    if "shared_expert_gate.weight" in theirs:
        ours["shared_gate_1D"] = theirs["shared_expert_gate.weight"]
    return ours | shared_as_ours(theirs, shared)


def shared_as_ours(theirs: Table, name: str) -> Table:
    names = (("gate_DF", "gate_proj"), ("up_DF", "up_proj"), ("down_FD", "down_proj"))
    return {
        f"shared.{mine}": theirs[f"{name}.{other}.weight"].T
        for mine, other in names
        if f"{name}.{other}.weight" in theirs
    }


def assert_same_block(
    shape: Shape, theirs: nn.Module, ours: nn.Module, as_ours: Callable[[Table], Table], run: Block | None = None
) -> None:
    """The same output, and the same gradients for tokens and every parameter, from their parameters and an uneven
    gradient of the output."""
    with torch.no_grad():
        for place, parameter in enumerate(theirs.parameters()):  # they start empty
            drawn = random_logits(*parameter.shape, seed=shape.seed + place + 1)
            parameter.copy_(drawn * parameter.shape[-1] ** -0.5)
        for name, value in as_ours(dict(theirs.named_parameters())).items():
            ours.get_parameter(name).copy_(value)
    outcomes = []
    for block in (theirs, run or ours):
        x_BSD = shape.x_BSD.requires_grad_()
        out = block(x_BSD)
        y_BSD = (out[0] if isinstance(out, tuple) else out).view_as(x_BSD)
        torch.autograd.backward(y_BSD, random_logits(*y_BSD.shape, seed=shape.seed + 99))
        assert x_BSD.grad is not None
        outcomes.append((y_BSD, x_BSD.grad))
    torch.testing.assert_close(outcomes[1], outcomes[0], rtol=1e-4, atol=1e-5)
    expected = as_ours({name: gradient(one) for name, one in theirs.named_parameters()})
    assert expected.keys() == dict(ours.named_parameters()).keys()
    for name, theirs_grad in expected.items():
        torch.testing.assert_close(gradient(ours.get_parameter(name)), theirs_grad, rtol=1e-4, atol=1e-5, msg=name)


def gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
