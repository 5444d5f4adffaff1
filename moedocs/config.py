"""What a routing, a model and a training are: frozen descriptions that refuse nonsense when they are built."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

Balance = Literal["none", "auxiliary", "bias"]


@dataclass(frozen=True, kw_only=True)
class RoutingConfig:
    """Token choice: each token goes to its `top_k` of `num_experts`; a `capacity_factor` of None drops nobody."""

    num_experts: int
    top_k: int
    renormalise: bool = True
    capacity_factor: float | None = None
    balance: Balance = "none"
    auxiliary_weight: float = 0.0
    bias_rate: float = 0.0

    def __post_init__(self) -> None:
        _whole(self, "num_experts", "top_k")
        if self.top_k > self.num_experts:
            raise ValueError(f"top_k={self.top_k} must lie in 1..num_experts={self.num_experts}")
        if self.capacity_factor is not None:
            _not_negative(self, "capacity_factor")
        if self.balance not in get_args(Balance):
            raise ValueError(f"balance={self.balance!r} must be one of {', '.join(get_args(Balance))}")
        self._check_strength("auxiliary_weight", "auxiliary")
        self._check_strength("bias_rate", "bias")

    def _check_strength(self, name: str, balance: Balance) -> None:
        _not_negative(self, name)
        strength = getattr(self, name)
        if self.balance == balance and strength == 0:
            raise ValueError(f"balance={balance!r} balances nothing with {name}={strength}")
        if self.balance != balance and strength > 0:
            raise ValueError(f"{name}={strength} has no effect with balance={self.balance!r}")


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """A pre-norm decoder: RMSNorm, rotary positions, SwiGLU, no biases; `routing=None` is the dense model.

    One description serves the models trained here and published shapes alike. `d_ff` is the width of ONE expert.
    """

    vocab_size: int
    d_model: int
    num_layers: int
    num_heads: int
    num_kv_heads: int | None = None
    head_dim: int | None = None
    d_ff: int
    routing: RoutingConfig | None = None
    tied_embeddings: bool = False

    def __post_init__(self) -> None:
        _whole(self, "vocab_size", "d_model", "num_layers", "num_heads", "d_ff")
        if self.num_kv_heads is not None:
            _whole(self, "num_kv_heads")
        if self.head_dim is not None:
            _whole(self, "head_dim")
        elif self.d_model % self.num_heads:
            raise ValueError(f"d_model={self.d_model} is not a multiple of num_heads={self.num_heads}: give head_dim")
        if self.head_width % 2:
            raise ValueError(f"head_dim={self.head_width} must be even: rotary positions turn pairs")
        if self.num_heads % self.kv_heads:
            raise ValueError(f"num_heads={self.num_heads} is not a multiple of num_kv_heads={self.kv_heads}")

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values: as many as query heads unless `num_kv_heads` says otherwise."""
        return self.num_heads if self.num_kv_heads is None else self.num_kv_heads

    @property
    def head_width(self) -> int:
        """Width of one head: d_model / num_heads unless `head_dim` says otherwise."""
        return self.d_model // self.num_heads if self.head_dim is None else self.head_dim


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained: each of `steps` steps reads `sequences` stretches of `sequence_length` tokens."""

    steps: int
    sequences: int
    sequence_length: int
    learning_rate: float
    seed: int = 0
    warmup_steps: int = 0
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _whole(self, "steps", "sequences", "sequence_length")
        _whole(self, "seed", "warmup_steps", least=0)
        _not_negative(self, "weight_decay")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate} must be a positive number")
        if self.warmup_steps > self.steps:
            raise ValueError(f"warmup_steps={self.warmup_steps} must lie in 0..steps={self.steps}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas} must lie in 0..1, 1 excluded")


def capacity(num_tokens: int, config: RoutingConfig) -> int:
    """Slots per expert, ceil(factor * T * K / E) (Switch, eq. 3, for K assignments a token and rounded up).

    Dropless is T slots, as no expert can be chosen by more than T tokens. The factor is read as the decimal
    it is written as, so that 1.1 of 100 is 110 slots and not, by a rounding error, 111.
    """
    if num_tokens < 0:
        raise ValueError(f"num_tokens={num_tokens} must not be negative")
    if config.capacity_factor is None:
        return num_tokens
    return math.ceil(Fraction(str(config.capacity_factor)) * num_tokens * config.top_k / config.num_experts)


def _whole(config: object, *names: str, least: int = 1) -> None:
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name}={value!r} must be a whole number, at least {least}")


def _not_negative(config: object, name: str) -> None:
    value = getattr(config, name)
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}={value} must be a finite number, at least 0")
