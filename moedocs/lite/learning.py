"""A small MoE that learns in NumPy, its gradients by hand, under whichever balancing rule a config names.

Tokens come in as many kinds as there are experts, and each kind wants a matrix of its own, so that a token is well
served only by an expert that serves its kind alone. All tokens share a part, as hidden states do: that is what makes a
random router send most of them to few experts.

Shapes: T tokens · D numbers of a token · E num_experts · M kinds of token · S looks · n tokens of one expert
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from moedocs.config import BalanceConfig, RoutingConfig
from moedocs.lite.balance import updated_bias
from moedocs.lite.routers import route

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

RULES = ("none", "auxiliary", "z", "bias", "constant", "expert-choice")
LOOKS = (0, 5, 10, 20, 40, 80, 120, 200, 300)
BATCH, HELD_BACK = 128, 1024  # tokens of a step, and of what is looked at
WIDTH, NOISE = 16, 0.5


def config_of(rule: str, weight: float, top_k: int, num_experts: int = 8) -> RoutingConfig:
    """The routing under one of RULES; `weight` is the loss weight, or the bias update rate. Errors name the rules."""
    if rule not in RULES:
        raise ValueError(f"rule={rule!r} must be one of {', '.join(RULES)}")
    names = {"none": "", "expert-choice": "", "bias": "bias_rate"}
    balance: dict[str, Any] = {name: weight} if (name := names.get(rule, f"{rule}_weight")) else {}
    choice: dict[str, Any] = {"renormalise": top_k > 1}
    if rule == "expert-choice":
        choice = {"router": "expert-choice", "capacity_factor": 1.0}
    return RoutingConfig(num_experts=num_experts, top_k=top_k, balance=BalanceConfig(**balance), **choice)


@dataclass(frozen=True, eq=False)
class Weights:
    """What is learned: a router, and experts of one matrix each; gradients of them have the same shape."""

    router_DE: Doubles
    experts_EDD: Doubles

    @property
    def parts(self) -> tuple[Doubles, Doubles]:
        return self.router_DE, self.experts_EDD


@dataclass(frozen=True, eq=False)
class Pass:
    """One batch, forwards and backwards; `balancing` is what the rule adds to the task's loss."""

    loss: float
    balancing: float
    chosen_TE: Bools
    probs_TE: Doubles
    gradients: Weights


@dataclass(frozen=True, eq=False)
class Learned:
    """What was seen of tokens held back, at each look: shares f and mean probabilities P by expert, and the losses."""

    steps: tuple[int, ...]
    share_SE: Doubles
    probability_SE: Doubles
    router_entropy_S: Doubles
    loss_S: Doubles
    balancing_S: Doubles

    def rows(self, **same: Any) -> list[dict[str, Any]]:
        """A row for each look, with `same` in all of them: f and P of expert i are columns f1 … and p1 …."""
        return [
            same
            | {"training_step": step}
            | {f"f{expert}": share for expert, share in enumerate(self.share_SE[look], 1)}
            | {f"p{expert}": chance for expert, chance in enumerate(self.probability_SE[look], 1)}
            | {"dead": int((self.share_SE[look] == 0).sum()), "router_entropy": self.router_entropy_S[look]}
            | {"validation_loss": self.loss_S[look], "added": self.balancing_S[look]}
            for look, step in enumerate(self.steps)
        ]


def train(
    config: RoutingConfig, *, seed: int = 0, looks: Sequence[int] = LOOKS, learning_rate: float = 0.01
) -> Learned:
    """Train from a seed up to the last look, by Adam at a constant rate; equal seeds see equal tokens and weights."""
    generator = np.random.default_rng(seed)
    task = Task(config.num_experts, generator)
    weights, bias_E = _drawn(config.num_experts, generator), np.zeros(config.num_experts)
    held_back = task.draw(HELD_BACK, generator)
    optimiser, seen = Adam(weights, learning_rate), []
    for step in range(looks[-1] + 1):
        if step in looks:
            seen.append(passed(weights, *held_back, config, bias_E))
        one = passed(weights, *task.draw(BATCH, generator), config, bias_E)
        weights = optimiser.step(weights, one.gradients)
        bias_E = updated_bias(bias_E, one.chosen_TE.sum(0), config.balance.bias_rate)
    return _learned(looks, seen)


class Task:
    """Kinds of token around centres that share a part, each kind with the matrix that turns it into what is wanted."""

    def __init__(self, kinds: int, generator: Generator) -> None:
        self.centres_MD = generator.normal(size=(kinds, WIDTH)) + generator.normal(size=WIDTH)
        self.wanted_MDD = generator.normal(size=(kinds, WIDTH, WIDTH)) * WIDTH**-0.5

    def draw(self, tokens: int, generator: Generator) -> tuple[Doubles, Doubles]:
        """Tokens (T, D), every kind equally likely, and what they are to become (T, D)."""
        kind_T = generator.integers(len(self.centres_MD), size=tokens)
        x_TD = self.centres_MD[kind_T] + NOISE * generator.normal(size=(tokens, WIDTH))
        return x_TD, np.einsum("td,tdf->tf", x_TD, self.wanted_MDD[kind_T])


def _drawn(num_experts: int, generator: Generator) -> Weights:
    router_DE = generator.normal(size=(WIDTH, num_experts)) * WIDTH**-0.5
    return Weights(router_DE, generator.normal(size=(num_experts, WIDTH, WIDTH)) * WIDTH**-0.5)


def passed(weights: Weights, x_TD: Doubles, wanted_TD: Doubles, config: RoutingConfig, bias_E: Doubles) -> Pass:
    """Squared error of the weighted sum of experts, plus the balancing loss, and the gradient of both.

    Each expert computes its own tokens and no others, so that one nobody chose costs nothing, and learns nothing.
    """
    logits_TE = x_TD @ weights.router_DE
    probs_TE = _softmax(logits_TE)
    chosen_TE = route(logits_TE, config, bias_E=bias_E if config.balance.bias_rate else None).map_TE
    shared = config.renormalise and config.router != "expert-choice"
    weights_TE = _softmax(np.where(chosen_TE, logits_TE, -np.inf)) if shared else probs_TE * chosen_TE

    tokens = [np.flatnonzero(chosen_T) for chosen_T in chosen_TE.T]
    answers = [x_TD[own] @ expert_DD for own, expert_DD in zip(tokens, weights.experts_EDD, strict=True)]
    error_TD = -wanted_TD
    for expert, (own, answer_nD) in enumerate(zip(tokens, answers, strict=True)):
        error_TD[own] += weights_TE[own, expert, None] * answer_nD

    slope_TD, slope_TE = 2 * error_TD / error_TD.size, np.zeros_like(probs_TE)  # by answer, and by weight
    experts_EDD = np.zeros_like(weights.experts_EDD)
    for expert, (own, answer_nD) in enumerate(zip(tokens, answers, strict=True)):
        slope_nD = slope_TD[own]
        slope_TE[own, expert] = (answer_nD * slope_nD).sum(1)
        experts_EDD[expert] = x_TD[own].T @ (weights_TE[own, expert, None] * slope_nD)
    through_TE = _through_softmax(weights_TE if shared else probs_TE, slope_TE)
    balancing, balance_TE = balanced(logits_TE, probs_TE, chosen_TE, config.balance)
    gradients = Weights(x_TD.T @ (through_TE + balance_TE), experts_EDD)
    return Pass(float(np.square(error_TD).mean()), balancing, chosen_TE, probs_TE, gradients)


def balanced(
    logits_TE: Doubles, probs_TE: Doubles, chosen_TE: Bools, balance: BalanceConfig
) -> tuple[float, Doubles | float]:
    """What a rule adds to the loss, and its gradient by logit: the auxiliary loss, the z-loss, the constant one."""
    num_tokens, num_experts = probs_TE.shape
    loss, slope_TE = balance.constant_weight / num_experts, np.zeros_like(probs_TE)
    if balance.auxiliary_weight:
        share_E = chosen_TE.sum(0) / chosen_TE.sum()
        pressure_E = balance.auxiliary_weight * num_experts * share_E  # its gradient by P
        loss += float(pressure_E @ probs_TE.mean(0))
        slope_TE += _through_softmax(probs_TE, pressure_E / num_tokens)
    if balance.z_weight:
        size_T = np.log(np.exp(logits_TE).sum(1))
        loss += balance.z_weight * float(np.square(size_T).mean())
        slope_TE += balance.z_weight * 2 / num_tokens * size_T[:, None] * probs_TE
    return loss, slope_TE


class Adam:
    """Kingma and Ba's optimiser with its usual decays, one mean and one mean square for each number."""

    def __init__(self, weights: Weights, learning_rate: float) -> None:
        self.learning_rate, self.steps = learning_rate, 0
        self.means = [np.zeros_like(part) for part in weights.parts]
        self.squares = [np.zeros_like(part) for part in weights.parts]

    def step(self, weights: Weights, gradients: Weights) -> Weights:
        self.steps += 1
        self.means = [0.9 * mean + 0.1 * slope for mean, slope in zip(self.means, gradients.parts, strict=True)]
        squares = zip(self.squares, gradients.parts, strict=True)
        self.squares = [0.999 * square + 0.001 * slope**2 for square, slope in squares]
        moves = zip(weights.parts, self.means, self.squares, strict=True)
        return Weights(*(part - self.learning_rate * self._direction(mean, square) for part, mean, square in moves))

    def _direction(self, mean: Doubles, square: Doubles) -> Doubles:
        """The mean over the root of the mean square, both corrected for having begun at 0."""
        root = np.sqrt(square / (1 - 0.999**self.steps)) + 1e-8
        return np.asarray(mean / (1 - 0.9**self.steps) / root)


def _learned(looks: Sequence[int], seen: Iterable[Pass]) -> Learned:
    passes = list(seen)
    return Learned(
        steps=tuple(looks),
        share_SE=np.array([one.chosen_TE.sum(0) / one.chosen_TE.sum() for one in passes]),
        probability_SE=np.array([one.probs_TE.mean(0) for one in passes]),
        router_entropy_S=np.array([_entropy(one.probs_TE).mean() for one in passes]),
        loss_S=np.array([one.loss for one in passes]),
        balancing_S=np.array([one.balancing for one in passes]),
    )


def _softmax(logits_TE: Doubles) -> Doubles:
    powers_TE = np.exp(logits_TE - logits_TE.max(1, keepdims=True))
    return np.asarray(powers_TE / powers_TE.sum(1, keepdims=True))


def _through_softmax(shares_TE: Doubles, slope_TE: Doubles) -> Doubles:
    """The gradient by logit, from the one by share."""
    return np.asarray(shares_TE * (slope_TE - (shares_TE * slope_TE).sum(1, keepdims=True)))


def _entropy(shares_SE: Doubles) -> Doubles:
    return np.asarray(-(shares_SE * np.log(np.maximum(shares_SE, 1e-300))).sum(-1))
