"""Who goes to which expert, with how much room, and what keeps the load even."""

import math
from dataclasses import dataclass, field, fields
from fractions import Fraction
from operator import attrgetter
from typing import Literal, get_args

from moedocs.config.checks import not_negative, one_of, whole, yes_or_no
from moedocs.config.groups import Groups

Router = Literal["softmax", "sigmoid", "noisy", "gshard", "expert-choice", "hash", "base", "sinkhorn", "relu"]
CapacityOrder = Literal["order", "probability", "random", "batch-prioritized"]
Over = Literal["batch", "sequence"]
AuxiliaryOver = Literal["batch", "micro-batch", "sequence"]


@dataclass(frozen=True, kw_only=True)
class BalanceConfig:
    """The weight of each balancing loss and the rate of each rule without one; all 0 balances nothing.

    `auxiliary_over` says within what the auxiliary loss asks for balance: the whole batch of a step (the global batch
    of Qiu et al. 2025), each of the micro-batches that it is cut into (what frameworks do where every device counts
    for itself), or each sequence (DeepSeek-V3); the smaller, the less room is left for experts of one kind of text.
    `auxiliary_pooled` says whether all layers share one loss (transformers' Mixtral) or each has its own.
    `constant_weight` is that of the specimen `constant_mean`, a loss of tutorials whose value is 1 / E whatever the
    router does: it balances nothing and is there to be shown.
    """

    auxiliary_weight: float = 0.0
    auxiliary_over: AuxiliaryOver = "batch"
    auxiliary_pooled: bool = False
    z_weight: float = 0.0
    importance_weight: float = 0.0
    load_weight: float = 0.0
    bias_rate: float = 0.0
    l1_weight: float = 0.0
    constant_weight: float = 0.0

    def __post_init__(self) -> None:
        not_negative(self, *(one.name for one in fields(self) if one.name.endswith(("_weight", "_rate"))))
        one_of(self, "auxiliary_over", get_args(AuxiliaryOver))
        yes_or_no(self, "auxiliary_pooled")
        for name, plain in (("auxiliary_over", "batch"), ("auxiliary_pooled", False)):
            if self.auxiliary_weight == 0 and getattr(self, name) != plain:
                raise ValueError(f"{name}={getattr(self, name)!r} has no effect with auxiliary_weight=0.0")
        if self.auxiliary_pooled and self.auxiliary_over != "batch":
            raise ValueError(
                f"auxiliary_pooled=True pools whole batches: it does not go with auxiliary_over={self.auxiliary_over!r}"
            )

    def auxiliary_group(self, num_tokens: int, num_sequences: int | None, micro_batches: int | None) -> int | None:
        """Tokens that share one auxiliary loss, of `num_tokens` in equal parts; None for all of them."""
        if self.auxiliary_over == "batch":
            return None
        per_sequence = self.auxiliary_over == "sequence"
        name, parts = ("num_sequences", num_sequences) if per_sequence else ("micro_batches", micro_batches)
        if parts is None:
            raise ValueError(f"auxiliary_over={self.auxiliary_over!r} needs {name}")
        if parts < 1 or num_tokens % parts:
            raise ValueError(f"{num_tokens} tokens cannot be cut into {name}={parts} equal parts")
        return num_tokens // parts


@dataclass(frozen=True, kw_only=True)
class RoutingConfig:
    """Each token goes to `top_k` of `num_experts`; a `capacity_factor` of None drops nobody.

    With router="expert-choice" a token has `capacity_factor` * `top_k` experts on average, with "relu" one for each
    positive logit: `top_k` is then the mean that the L1 weight steers to. `routed_scaling` multiplies the weights of
    the routed experts (DeepSeek); `num_groups` and `top_groups` restrict a token to the experts of its best groups.
    The `shared_experts` see every token, as one network of their joint width. The `no_op_experts` come after the others
    and do nothing: what is routed there takes the residual alone (integrated MoDE).
    """

    num_experts: int
    top_k: int
    router: Router = "softmax"
    renormalise: bool = True
    routed_scaling: float = 1.0
    num_groups: int = 1
    top_groups: int = 1
    capacity_factor: float | None = None
    capacity_order: CapacityOrder = "order"
    capacity_over: Over = "batch"
    shared_experts: int = 0
    shared_gate: bool = False
    no_op_experts: int = 0
    balance: BalanceConfig = field(default_factory=BalanceConfig)

    def __post_init__(self) -> None:
        whole(self, "num_experts", "top_k", "num_groups", "top_groups")
        whole(self, "shared_experts", "no_op_experts", least=0)
        yes_or_no(self, "renormalise", "shared_gate")
        one_of(self, "router", get_args(Router))
        one_of(self, "capacity_order", get_args(CapacityOrder))
        one_of(self, "capacity_over", get_args(Over))
        not_negative(self, "routed_scaling")
        if self.top_k > self.num_experts:
            raise ValueError(f"top_k={self.top_k} must lie in 1..num_experts={self.num_experts}")
        if self.capacity_factor is not None:
            not_negative(self, "capacity_factor")
        self._check_router()
        self._check_groups()
        self._check_effects()
        if self.router == "relu" and self.balance.constant_weight:
            raise ValueError(
                f"balance.constant_weight={self.balance.constant_weight} is of a loss that is constant where every "
                "probability is above 0: router='relu' leaves most at 0"
            )

    @property
    def choices(self) -> int:
        """What a router chooses among: the experts and the no-ops after them."""
        return self.num_experts + self.no_op_experts

    @property
    def groups(self) -> Groups | None:
        """The groups that limit a token's choice, None if nothing does."""
        return Groups(self.num_groups, self.top_groups) if self.num_groups > 1 else None

    def _check_router(self) -> None:
        if self.router == "gshard" and self.top_k != 2:
            raise ValueError(f"top_k={self.top_k}: router='gshard' always looks at two experts")
        if self.router == "base" and self.top_k != 1:
            raise ValueError(f"top_k={self.top_k}: router='base' gives each token one expert")
        if self.router == "expert-choice" and self.capacity_factor is None:
            raise ValueError("router='expert-choice' needs a capacity_factor: it is how many tokens an expert takes")

    def _check_groups(self) -> None:
        if self.choices % self.num_groups:
            no_ops = f" + no_op_experts={self.no_op_experts}" if self.no_op_experts else ""
            raise ValueError(
                f"num_experts={self.num_experts}{no_ops} is not a multiple of num_groups={self.num_groups}"
            )
        if self.top_groups > self.num_groups:
            raise ValueError(f"top_groups={self.top_groups} must lie in 1..num_groups={self.num_groups}")
        if (open_to := self.choices // self.num_groups * self.top_groups) < self.top_k:
            raise ValueError(f"top_groups={self.top_groups} leaves {open_to} experts, fewer than top_k={self.top_k}")

    def _check_effects(self) -> None:
        """What would silently do nothing is refused."""
        score_based = self.router in ("softmax", "sigmoid")
        effects = {
            "num_groups": (self.num_groups > 1, score_based),
            "renormalise": (not self.renormalise, score_based),
            "routed_scaling": (self.routed_scaling != 1, score_based or self.router == "hash"),
            "capacity_order": (self.capacity_order != "order", self.router != "expert-choice"),
            "balance.bias_rate": (self.balance.bias_rate > 0, score_based),
            "balance.load_weight": (self.balance.load_weight > 0, self.router == "noisy"),
            "balance.l1_weight": (self.balance.l1_weight > 0, self.router == "relu"),
        }
        for name, (given, works) in effects.items():
            if given and not works:
                value = attrgetter(name)(self)
                raise ValueError(f"{name}={value!r} has no effect with router={self.router!r}")
        if self.shared_gate and not self.shared_experts:
            raise ValueError("shared_gate=True has no effect with shared_experts=0")
        for name, plain in (("capacity_order", "order"), ("capacity_over", "batch")):
            if self.capacity_factor is None and (value := getattr(self, name)) != plain:
                raise ValueError(f"{name}={value!r} has no effect with capacity_factor=None")


def capacity(num_tokens: int, config: RoutingConfig) -> int:
    """Slots per expert, ceil(factor * T * K / E) (Switch, eq. 3, for K assignments a token and rounded up).

    Dropless is T slots, as no expert can be chosen by more than T tokens. The factor is read as the decimal
    it is written as, so that 1.1 of 100 is 110 slots and not, by a rounding error, 111.
    """
    if num_tokens < 0:
        raise ValueError(f"num_tokens={num_tokens} must not be negative")
    if config.capacity_factor is None:
        return num_tokens
    return math.ceil(Fraction(str(config.capacity_factor)) * num_tokens * config.top_k / config.choices)


def slots_of(num_tokens: int, config: RoutingConfig, sequence_length: int | None) -> tuple[int, int | None]:
    """Slots of each expert, and the tokens that share them: a sequence's, or None for the whole batch."""
    if config.capacity_over == "batch":
        return capacity(num_tokens, config), None
    if sequence_length is None:
        raise ValueError("capacity_over='sequence' needs the sequence_length")
    return capacity(sequence_length, config), sequence_length
