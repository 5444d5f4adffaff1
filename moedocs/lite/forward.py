"""The forward pass of a small trained model in NumPy, from arrays named as in the state_dict of the torch Transformer.

Shapes: B sequences · S sequence length · C tokens of a sequence that pass a block · T tokens of all sequences ·
        P those and the ones before · D d_model · H heads · W width of a head · F d_ff of one expert · E num_experts ·
        V vocab_size · X of any shape
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from moedocs.config import DepthConfig, RoutingConfig, TransformerConfig
from moedocs.config.model import NORM_EPSILON, ROTARY_BASE
from moedocs.lite.balance import pooled
from moedocs.lite.depth import DepthRouting, random_depth, through, top_c
from moedocs.lite.depth_sampling import causal_choice, predictor_logits
from moedocs.lite.record import Floats, Ints, Routing, sigmoid, softmax
from moedocs.lite.routers import route

Arrays = Mapping[str, ArrayLike]


@dataclass(frozen=True, eq=False)
class Output:
    """Logits (B, S, V) of each next byte, and from bottom to top the Routing of each MoE layer and of each depth."""

    logits_BSV: Floats
    routings: list[Routing]
    depths: list[DepthRouting]


@dataclass(frozen=True)
class Part:
    """The arrays whose names start with `prefix`, read without it."""

    arrays: Arrays
    prefix: str = ""

    def __getitem__(self, name: str) -> Floats:
        """The array in float32; raises ValueError if there is none."""
        if self.prefix + name not in self.arrays:
            raise ValueError(f"the arrays have no {self.prefix}{name}")
        return np.asarray(self.arrays[self.prefix + name], dtype=np.float32)

    def under(self, name: str) -> "Part":
        """The part of this part that bears a name."""
        return Part(self.arrays, f"{self.prefix}{name}.")


@dataclass(eq=False)
class Past:
    """Keys, values and positions of the tokens that went through a block before."""

    keys_BHPW: Floats | None = None
    values_BHPW: Floats | None = None
    positions_BP: Ints | None = None

    def grown(self, keys_BHCW: Floats, values_BHCW: Floats, positions_BC: Ints) -> tuple[Floats, Floats, Ints]:
        """Remember these tokens too; all keys, values and positions."""
        if self.keys_BHPW is None or self.values_BHPW is None or self.positions_BP is None:
            self.keys_BHPW, self.values_BHPW, self.positions_BP = keys_BHCW, values_BHCW, positions_BC
        else:
            self.keys_BHPW = np.concatenate([self.keys_BHPW, keys_BHCW], axis=2)
            self.values_BHPW = np.concatenate([self.values_BHPW, values_BHCW], axis=2)
            self.positions_BP = np.concatenate([self.positions_BP, positions_BC], axis=1)
        return self.keys_BHPW, self.values_BHPW, self.positions_BP


@dataclass(frozen=True)
class Block:
    """One block's arrays, and what it is: with `experts`, or dense."""

    part: Part
    config: TransformerConfig
    experts: RoutingConfig | None

    def delta(
        self, x_BCD: Floats, positions_BC: Ints, ids_BC: Ints, past: Past | None = None
    ) -> tuple[Floats, Routing | None]:
        """What it adds to its input, attention and feed-forward together, and the Routing of its experts.

        With a `past` these tokens attend to those in it too, and are in it from now on.
        """
        part = self.part
        normed_BCD = _normed(x_BCD, part["attention_norm.weight"])
        mixed_BCD = _attention(part.under("attention"), self.config, normed_BCD, positions_BC, past)
        normed_BCD = _normed(x_BCD + mixed_BCD, part["feed_forward_norm.weight"])
        part = part.under("feed_forward")
        if self.experts is None:
            return mixed_BCD + _swiglu(normed_BCD, part["gate_DF"], part["up_DF"], part["down_FD"]), None
        length, d_model = normed_BCD.shape[1:]
        out_TD, routing = _experts(part, self.experts, normed_BCD.reshape(-1, d_model), ids_BC.ravel(), length)
        return mixed_BCD + out_TD.reshape(x_BCD.shape), routing


def forward_pass(
    arrays: Arrays,
    config: TransformerConfig,
    bytes_BS: ArrayLike,
    *,
    causal: bool = False,
    generator: Generator | None = None,
) -> Output:
    """Logits of each next byte and who went where: what the torch model computes in evaluation mode.

    Equal but for the order of float32 sums, about 1e-5 of the largest number; a choice between logits closer than that
    may fall otherwise. Nothing is drawn but a random depth, which needs the `generator`; BASE and Sinkhorn take the
    best experts. causal=True chooses in depth as sampling must. Raises ValueError for a byte beyond the vocabulary and
    for an array that is missing, naming it.
    """
    ids_BS = np.asarray(bytes_BS, dtype=np.int64)
    if ids_BS.ndim != 2 or ((ids_BS < 0) | (ids_BS >= config.vocab_size)).any():
        raise ValueError(f"bytes must be (B, S) numbers in 0..{config.vocab_size - 1}")
    model = Part(arrays)
    x_BSD = model["embedding_VD"][ids_BS]
    routings: list[Routing] = []
    depths: list[DepthRouting] = []
    for number in range(config.num_layers):
        part, experts = model.under(f"blocks.{number}"), config.routing if number in config.moe_blocks else None
        if config.depth is not None and number in config.depth_blocks:
            depth = depth_choice(part, config.depth, x_BSD, causal=causal, generator=generator)
            x_BSD, routing = _passed(Block(part.under("block"), config, experts), x_BSD, ids_BS, depth)
            depths.append(depth)
        else:
            positions_BS = np.broadcast_to(np.arange(ids_BS.shape[1]), ids_BS.shape)
            delta_BSD, routing = Block(part, config, experts).delta(x_BSD, positions_BS, ids_BS)
            x_BSD = x_BSD + delta_BSD
        routings.extend([] if routing is None else [routing])
    return Output(logits(model, config, x_BSD), routings, depths)


def logits(model: Part, config: TransformerConfig, x_BSD: Floats) -> Floats:
    """What the residual stream after the last block says of each next byte."""
    head_VD = model["embedding_VD" if config.tied_embeddings else "head_VD"]
    return np.asarray(_normed(x_BSD, model["norm.weight"]) @ head_VD.T)


def depth_choice(
    part: Part, config: DepthConfig, x_BSD: Floats, *, causal: bool, generator: Generator | None
) -> DepthRouting:
    """Which tokens pass a block."""
    capacity = config.slots(x_BSD.shape[1])
    if config.router == "random":
        if generator is None:
            raise ValueError("router='random' needs a generator")
        return random_depth((x_BSD.shape[0], x_BSD.shape[1]), capacity, generator=generator)
    logits_BS = x_BSD @ part["router_D"]
    predicted_BS = None
    if config.sampling == "predictor":
        predictor = part.under("predictor")
        predicted_BS = predictor_logits(x_BSD, predictor["hidden_HD"], predictor["output_H"])
    if not causal:
        return replace(top_c(logits_BS, capacity, weight=config.weight), predicted_BS=predicted_BS)
    if config.sampling == "none":
        raise ValueError("sampling='none' has learned no causal choice")
    return causal_choice(logits_BS, predicted_BS, weight=config.weight)


def _passed(block: Block, x_BSD: Floats, ids_BS: Ints, depth: DepthRouting) -> tuple[Floats, Routing | None]:
    """The residual stream after a block that only some tokens pass."""
    routings: list[Routing] = []

    def delta(x_BCD: Floats, positions_BC: Ints, ids_BC: Ints) -> Floats:
        delta_BCD, routing = block.delta(x_BCD, positions_BC, ids_BC)
        routings.extend([] if routing is None else [routing])
        return delta_BCD

    out_BSD = through(x_BSD, depth, delta, ids_BS)
    return out_BSD, pooled(routings) if routings else None


def _attention(
    part: Part, config: TransformerConfig, x_BCD: Floats, positions_BC: Ints, past: Past | None = None
) -> Floats:
    """Causal attention with rotary positions, to those of the past too; tokens are in the order of their positions."""
    heads, kv_heads, width = config.num_heads, config.kv_heads, config.head_width

    def split(name: str, count: int) -> Floats:
        x_BCHW = (x_BCD @ part[name].T).reshape(*x_BCD.shape[:2], count, width)
        return np.repeat(x_BCHW.transpose(0, 2, 1, 3), heads // count, axis=1)

    query_BHCW = _rotated(split("query_QD", heads), positions_BC)
    new = _rotated(split("key_PD", kv_heads), positions_BC), split("value_PD", kv_heads), positions_BC
    key_BHPW, value_BHPW, positions_BP = (past or Past()).grown(*new)
    scores_BHCP = query_BHCW @ key_BHPW.swapaxes(2, 3) / np.float32(np.sqrt(width))
    later_B1CP = (positions_BP[:, None, :] > positions_BC[:, :, None])[:, None]
    mixed_BHCW = softmax(np.where(later_B1CP, np.float32(-np.inf), scores_BHCP)) @ value_BHPW
    mixed_BCQ = mixed_BHCW.transpose(0, 2, 1, 3).reshape(*x_BCD.shape[:2], heads * width)
    return np.asarray(mixed_BCQ @ part["output_DQ"].T)


def _rotated(x_BHCW: Floats, positions_BC: Ints) -> Floats:
    """Turn the pair (i, i + W/2) at position p by the angle p * base^(-2i/W) (RoFormer, eq. 15)."""
    width = x_BHCW.shape[-1]
    frequency_W = np.float32(ROTARY_BASE) ** (-np.arange(0, width, 2, dtype=np.float32) / np.float32(width))
    angle_B1CW = positions_BC[:, None, :, None].astype(np.float32) * frequency_W
    cos_B1CW, sin_B1CW = np.cos(angle_B1CW), np.sin(angle_B1CW)
    a, b = np.split(x_BHCW, 2, axis=-1)
    return np.concatenate([a * cos_B1CW - b * sin_B1CW, b * cos_B1CW + a * sin_B1CW], axis=-1)


def _experts(part: Part, config: RoutingConfig, x_TD: Floats, ids_T: Ints, length: int) -> tuple[Floats, Routing]:
    """Router, chosen experts and weighted sum, and the shared experts."""
    routing = route(
        x_TD @ part["router_ED"].T,
        config,
        bias_E=part["bias_E"] if config.balance.bias_rate else None,
        ids_T=ids_T,
        table_VK=part["table_VK"].astype(np.int64) if config.router == "hash" else None,
        sequence_length=length,
        training=False,
    )
    matrices = [part.under("experts")[name] for name in ("gate_EDF", "up_EDF", "down_EFD")]
    out_TD = np.zeros_like(x_TD)
    for expert in range(config.num_experts):
        token_N = np.flatnonzero(routing.map_TE[:, expert])
        made_ND = _swiglu(x_TD[token_N], *(matrix[expert] for matrix in matrices))
        out_TD[token_N] += routing.weights_TE[token_N, expert, None] * made_ND
    if config.shared_experts:
        shared = part.under("shared")
        shared_TD = _swiglu(x_TD, shared["gate_DF"], shared["up_DF"], shared["down_FD"])
        out_TD += shared_TD * sigmoid(x_TD @ part["shared_gate_1D"].T) if config.shared_gate else shared_TD
    return out_TD, routing


def _normed(x_XD: Floats, weight_D: Floats) -> Floats:
    """x divided by its root mean square, times a learned weight per number (RMSNorm)."""
    return np.asarray(x_XD / np.sqrt(np.square(x_XD).mean(-1, keepdims=True) + np.float32(NORM_EPSILON)) * weight_D)


def _swiglu(x_XD: Floats, gate_DF: Floats, up_DF: Floats, down_FD: Floats) -> Floats:
    return np.asarray((_silu(x_XD @ gate_DF) * (x_XD @ up_DF)) @ down_FD)


def _silu(x: Floats) -> Floats:
    return np.asarray(x * sigmoid(x))
