"""What hypothesis draws: routings and transformers of small shapes, with every extreme among them."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from moedocs.config import Groups, RoutingConfig, TransformerConfig
from moedocs.config.model import DepthWeight

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


@st.composite
def transformers(draw: st.DrawFn, sparse: bool = True) -> TransformerConfig:
    kv_heads, num_experts = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    routing = RoutingConfig(num_experts=num_experts, top_k=draw(st.integers(1, num_experts)))
    return TransformerConfig(
        vocab_size=draw(st.integers(1, 300)),
        d_model=draw(st.integers(1, 40)),
        num_layers=draw(st.integers(1, 3)),
        num_heads=kv_heads * draw(st.integers(1, 3)),
        num_kv_heads=kv_heads,
        head_dim=2 * draw(st.integers(1, 8)),
        d_ff=draw(st.integers(1, 40)),
        routing=routing if sparse else None,
        tied_embeddings=draw(st.booleans()),
    )


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
