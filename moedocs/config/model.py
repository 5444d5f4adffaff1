"""What a model is: a decoder whose blocks are dense, sparse in width (experts), sparse in depth, or both."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from moedocs.config.checks import not_negative, one_of, whole
from moedocs.config.routing import RoutingConfig

DepthRouter = Literal["learned", "random"]
DepthWeight = Literal["raw", "sigmoid"]
Sampling = Literal["none", "auxiliary", "predictor"]

# as in Llama
ROTARY_BASE = 10_000.0
NORM_EPSILON = 1e-5


@dataclass(frozen=True, kw_only=True)
class DepthConfig:
    """Mixture of Depths: only a `capacity` share of a sequence's tokens pass through a routed block.

    Every `every`-th block is routed: with 2 the blocks 1, 3, 5, … counted from 0. router="random" is the control that
    has nothing to learn. `weight` is what multiplies the block's output: the router's logit as it is (Raposo et al.
    2024, section 3.4) or its sigmoid. `sampling` is how the choice is made causal when text is generated.
    """

    capacity: float
    every: int = 2
    router: DepthRouter = "learned"
    weight: DepthWeight = "raw"
    sampling: Sampling = "none"
    sampling_weight: float = 0.01

    def __post_init__(self) -> None:
        if isinstance(self.capacity, bool) or not isinstance(self.capacity, int | float) or not 0 < self.capacity <= 1:
            raise ValueError(f"capacity={self.capacity!r} must be a share above 0 and at most 1")
        whole(self, "every")
        one_of(self, "router", get_args(DepthRouter))
        one_of(self, "weight", get_args(DepthWeight))
        one_of(self, "sampling", get_args(Sampling))
        not_negative(self, "sampling_weight")
        if self.router == "random" and self.sampling != "none":
            raise ValueError(f"sampling={self.sampling!r} has nothing to learn from router='random'")
        if self.router == "random" and self.weight != "raw":
            raise ValueError(f"weight={self.weight!r} has no effect with router='random', where it is always 1")

    def slots(self, length: int) -> int:
        """Tokens of a sequence of `length` that pass, ceil(capacity * length): at least one of any."""
        if length < 0:
            raise ValueError(f"length={length} must not be negative")
        return math.ceil(Fraction(str(self.capacity)) * length)

    @staticmethod
    def predictor_width(d_model: int) -> int:
        """Numbers in the predictor's one hidden layer: the paper calls it small without giving a width."""
        return max(1, d_model // 4)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """A pre-norm decoder: RMSNorm, rotary positions, SwiGLU, no biases; `routing=None` is the dense model.

    One description serves the models trained here and published shapes alike. `d_ff` is the width of ONE expert, and of
    the dense networks too unless `dense_d_ff` says otherwise. The first `first_dense` blocks have no experts, and after
    them every `moe_every`-th has: with 2 the second, fourth, … of them. With `depth` and `routing` both, tokens that
    skip a block skip its experts too (staged MoDE).
    """

    vocab_size: int
    d_model: int
    num_layers: int
    num_heads: int
    num_kv_heads: int | None = None
    head_dim: int | None = None
    d_ff: int
    dense_d_ff: int | None = None
    routing: RoutingConfig | None = None
    moe_every: int = 1
    first_dense: int = 0
    depth: DepthConfig | None = None
    tied_embeddings: bool = False

    def __post_init__(self) -> None:
        whole(self, "vocab_size", "d_model", "num_layers", "num_heads", "d_ff", "moe_every")
        whole(self, "first_dense", least=0)
        whole(self, *(name for name in ("num_kv_heads", "head_dim", "dense_d_ff") if getattr(self, name) is not None))
        if self.head_dim is None and self.d_model % self.num_heads:
            raise ValueError(f"d_model={self.d_model} is not a multiple of num_heads={self.num_heads}: give head_dim")
        if self.head_width % 2:
            raise ValueError(f"head_dim={self.head_width} must be even: rotary positions turn pairs")
        if self.num_heads % self.kv_heads:
            raise ValueError(f"num_heads={self.num_heads} is not a multiple of num_kv_heads={self.kv_heads}")
        self._check_placement()

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values: as many as query heads unless `num_kv_heads` says otherwise."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def head_width(self) -> int:
        """Width of one head: d_model / num_heads unless `head_dim` says otherwise."""
        return self.d_model // self.num_heads if self.head_dim is None else self.head_dim

    @property
    def dense_width(self) -> int:
        """Width of the feed-forward network of a block without experts."""
        return self.d_ff if self.dense_d_ff is None else self.dense_d_ff

    @property
    def moe_blocks(self) -> tuple[int, ...]:
        """The blocks, counted from 0, whose feed-forward network is a layer of experts."""
        if self.routing is None:
            return ()
        return tuple(range(self.first_dense + self.moe_every - 1, self.num_layers, self.moe_every))

    @property
    def depth_blocks(self) -> tuple[int, ...]:
        """The blocks, counted from 0, that only some tokens pass through."""
        return () if self.depth is None else tuple(range(self.depth.every - 1, self.num_layers, self.depth.every))

    def _check_placement(self) -> None:
        if self.routing is None:
            for name, plain in (("moe_every", 1), ("first_dense", 0), ("dense_d_ff", None)):
                if getattr(self, name) != plain:
                    raise ValueError(f"{name}={getattr(self, name)} has no effect with routing=None")
        elif not self.moe_blocks:
            raise ValueError(
                f"first_dense={self.first_dense} and moe_every={self.moe_every} leave none of "
                f"num_layers={self.num_layers} with experts: give routing=None for a dense model"
            )
        elif self.dense_d_ff is not None and len(self.moe_blocks) == self.num_layers:
            raise ValueError(
                f"dense_d_ff={self.dense_d_ff} has no effect: all num_layers={self.num_layers} have experts"
            )
        if self.depth is not None and not self.depth_blocks:
            raise ValueError(f"depth.every={self.depth.every} routes none of num_layers={self.num_layers}")
