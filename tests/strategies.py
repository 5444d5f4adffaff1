"""What hypothesis draws: routings and transformers of small shapes, with every extreme among them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from moedocs.config import DepthConfig, Groups, RoutingConfig, TransformerConfig
from moedocs.config.model import DepthRouter, DepthWeight, Sampling
from moedocs.config.routing import CapacityOrder, Over, Router

# ties, signed zeros and the ends of float32 among ordinary logits
LOGITS = st.floats(-8, 8, width=32) | st.sampled_from([0.0, -0.0, 1.0, 1e4, -1e4, 3e38, -3e38])


@dataclass(frozen=True)
class Case:
    logits_TE: NDArray[np.float32]
    top_k: int
    renormalise: bool

    @property
    def num_experts(self) -> int:
        return int(self.logits_TE.shape[1])


@st.composite
def cases(draw: st.DrawFn, least_tokens: int = 0, elements: st.SearchStrategy[float] = LOGITS) -> Case:
    shape = (draw(st.integers(least_tokens, 9)), draw(st.integers(1, 7)))
    logits_TE = draw(arrays(np.float32, shape, elements=elements))
    return Case(logits_TE, draw(st.integers(1, shape[1])), draw(st.booleans()))


@dataclass(frozen=True)
class Choice(Case):
    bias_E: NDArray[np.float32] | None
    groups: Groups | None
    scaling: float


@st.composite
def choices(draw: st.DrawFn, apart: bool = False) -> Choice:
    """Logits and all that moves a choice by score; `apart` keeps what could tie within rounding from being drawn."""
    count, size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    groups = Groups(count, draw(st.integers(1, count)))
    shape = draw(st.integers(0, 5)), count * size
    logits = st.integers(-128, 128).map(lambda n: n / 64) if apart else LOGITS
    biases = st.floats(-1, 1, width=32) | (st.nothing() if apart else st.sampled_from([3e38, -3e38]))
    return Choice(
        logits_TE=draw(arrays(np.float32, shape, elements=logits, unique=apart)),
        top_k=draw(st.integers(1, groups.chosen * size)),
        renormalise=draw(st.booleans()),
        bias_E=draw(st.none() | arrays(np.float32, shape[1], elements=biases)),
        groups=draw(st.none() | st.just(groups)),
        scaling=draw(st.sampled_from([1.0, 2.5, 0.0])),
    )


CAPACITY_FACTORS = [0.0, 0.5, 1.0, 1.25, 4.0]


@st.composite
def routing_configs(draw: st.DrawFn, routers: Sequence[Router] = get_args(Router)) -> RoutingConfig:
    """Every router with everything that goes with it."""
    router = draw(st.sampled_from(routers))
    scored, choosy = router in ("softmax", "sigmoid"), router == "expert-choice"
    num_experts = draw(st.integers(2 if router == "gshard" else 1, 9))
    no_ops = draw(st.just(0) | st.integers(1, 3))
    num_groups = draw(st.sampled_from(divisors(num_experts + no_ops))) if scored else 1
    top_groups = draw(st.integers(1, num_groups))
    most = min(num_experts, (num_experts + no_ops) // num_groups * top_groups)
    factor = draw(st.sampled_from(CAPACITY_FACTORS if choosy else [None, *CAPACITY_FACTORS]))
    orders = ("order",) if choosy or factor is None else get_args(CapacityOrder)
    shared = draw(st.integers(0, 2))
    return RoutingConfig(
        num_experts=num_experts,
        top_k={"gshard": 2, "base": 1}.get(router) or draw(st.integers(1, most)),
        router=router,
        renormalise=draw(st.booleans()) if scored else True,
        routed_scaling=draw(st.sampled_from([1.0, 2.5])) if scored or router == "hash" else 1.0,
        num_groups=num_groups,
        top_groups=top_groups,
        capacity_factor=factor,
        capacity_order=draw(st.sampled_from(orders)),
        capacity_over="batch" if factor is None else draw(st.sampled_from(get_args(Over))),
        shared_experts=shared,
        shared_gate=shared > 0 and draw(st.booleans()),
        no_op_experts=no_ops,
    )


def divisors(number: int) -> list[int]:
    return [one for one in range(1, number + 1) if number % one == 0]


@st.composite
def transformers(draw: st.DrawFn, sparse: bool = True) -> TransformerConfig:
    """Dense, or with the same number of like experts in every block."""
    num_experts = draw(st.integers(1, 9))
    routing = RoutingConfig(num_experts=num_experts, top_k=draw(st.integers(1, num_experts)))
    return TransformerConfig(**draw(shapes()), routing=routing if sparse else None)


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    kv_heads = draw(st.integers(1, 3))
    return {
        "vocab_size": draw(st.integers(1, 300)),
        "d_model": draw(st.integers(1, 40)),
        "num_layers": draw(st.integers(1, 3)),
        "num_heads": kv_heads * draw(st.integers(1, 3)),
        "num_kv_heads": kv_heads,
        "head_dim": 2 * draw(st.integers(1, 8)),
        "d_ff": draw(st.integers(1, 40)),
        "tied_embeddings": draw(st.booleans()),
    }


@st.composite
def depth_configs(draw: st.DrawFn, most_every: int) -> DepthConfig:
    router = draw(st.sampled_from(get_args(DepthRouter)))
    return DepthConfig(
        capacity=draw(st.sampled_from([0.05, 0.125, 0.3, 0.5, 1.0])),
        every=draw(st.integers(1, most_every)),
        router=router,
        weight=draw(st.sampled_from(get_args(DepthWeight))) if router == "learned" else "raw",
        sampling=draw(st.sampled_from(get_args(Sampling))) if router == "learned" else "none",
    )


@st.composite
def mixed_transformers(draw: st.DrawFn, routers: Sequence[Router] = get_args(Router)) -> TransformerConfig:
    """Blocks of every kind in every placement: dense, of experts, routed in depth, or both."""
    shape = draw(shapes())
    layers, width = shape["num_layers"], draw(st.none() | st.integers(1, 40))
    depth = draw(st.none() | depth_configs(layers))
    routing = draw(st.none() | routing_configs(routers))
    if routing is None:
        return TransformerConfig(**shape, depth=depth)
    every = draw(st.integers(1, layers))
    first = draw(st.integers(0, layers - every))
    placed = TransformerConfig(**shape, depth=depth, routing=routing, moe_every=every, first_dense=first)
    return placed if len(placed.moe_blocks) == layers else replace(placed, dense_d_ff=width)


@dataclass(frozen=True)
class DepthCase:
    logits_BS: NDArray[np.float32]
    capacity: int
    weight: DepthWeight


@st.composite
def depth_cases(draw: st.DrawFn, least: int = 0, elements: st.SearchStrategy[float] = LOGITS) -> DepthCase:
    shape = (draw(st.integers(least, 4)), draw(st.integers(least, 9)))
    logits_BS = draw(arrays(np.float32, shape, elements=elements))
    return DepthCase(logits_BS, draw(st.integers(least, shape[1])), draw(st.sampled_from(get_args(DepthWeight))))
