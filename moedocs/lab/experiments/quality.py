"""Loss of dense and sparse models for the same training compute, at five budgets.

Sparse in width (experts), in depth, or in both. A token takes as many FLOPs through every mixture of experts as through
the dense model, routers on top; models sparse in depth take fewer, and spend what they save on more steps. As the rate
is constant, one training shows a model at every budget: it is the rate that was best at the largest one.
"""

from dataclasses import asdict
from itertools import accumulate, pairwise
from statistics import mean
from typing import Any

import numpy as np

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TransformerConfig
from moedocs.cost import forward_flops, forward_pass, parameters
from moedocs.cost.forward import TRAINING
from moedocs.lab import fits, small
from moedocs.lab.looks import Look
from moedocs.lab.training import Run, Trained

RATES = small.RATES
SEEDS = small.SEEDS
BUDGETS = (40, 80, 160, 320, 640)  # in steps of the dense model
LENGTH = small.training(RATES[0], SEEDS[0], BUDGETS[-1]).sequence_length
BALANCE = BalanceConfig(auxiliary_weight=0.01)
WIDTH = 128  # of the dense network, and of all experts of a token together
DEPTH = DepthConfig(capacity=0.125)
# 6 of 14 choices do nothing, 43 %: in the staged model 44 % of all (token, block) pairs are skipped.
NO_OPS = 6


def _experts(num_experts: int, top_k: int, no_op_experts: int = 0) -> RoutingConfig:
    return RoutingConfig(
        num_experts=num_experts,
        top_k=top_k,
        renormalise=top_k > 1,  # the weight of a single expert would always be 1, and teach the router nothing
        no_op_experts=no_op_experts,
        balance=BALANCE,
    )


MODELS: dict[str, TransformerConfig] = {
    "dense": small.model(d_ff=WIDTH),
    **{
        f"moe-{num_experts}/k{top_k}": small.model(d_ff=WIDTH // top_k, routing=_experts(num_experts, top_k))
        for top_k in (1, 2)
        for num_experts in (4, 8, 16, 32)
    },
    "mod": small.model(d_ff=WIDTH, depth=DEPTH),
    "staged": small.model(d_ff=WIDTH, routing=_experts(8, 1), depth=DEPTH),
    "integrated": small.model(d_ff=WIDTH, routing=_experts(8, 1, no_op_experts=NO_OPS)),
}
ARMS = tuple(MODELS)
PAIRS = (
    *((arm, "dense") for arm in ARMS if arm != "dense"),
    ("staged", "mod"),
    ("staged", "moe-8/k1"),
    ("integrated", "moe-8/k1"),
    ("integrated", "staged"),
)
BYTES = {"float32": 4, "bfloat16": 2}  # of one parameter
COLUMNS = ("losses", "training_flops", "cpu_seconds", "domain_losses", "no_op_shares")
# In a trial of the dense model each doubling of compute took off 0.23, 0.22, 0.24, 0.20 nats: no floor is in sight.
FLOOR = False


def relative_flops(arm: str) -> float:
    """FLOPs per token over those of the dense model, with no-ops chosen as often as experts."""
    return forward_flops(MODELS[arm], LENGTH) / forward_flops(MODELS["dense"], LENGTH)


def steps_of(arm: str) -> tuple[int, ...]:
    """After how many steps an arm has taken as many training FLOPs as the dense model at each budget."""
    return tuple(round(steps / relative_flops(arm)) for steps in BUDGETS)


def run(arm: str, learning_rate: float, seed: int) -> Run:
    """One training of an arm, looked at where it has read as many tokens as the dense one, and taken as many FLOPs."""
    look_at = tuple(sorted({*BUDGETS, *steps_of(arm)}))
    return Run(
        model=MODELS[arm],
        training=small.training(learning_rate, seed, look_at[-1]),
        domains=small.DOMAINS,
        look_at=look_at,
    )


def measure(run: Run, trained: Trained) -> dict[str, Any]:
    """At each look the loss, and what it had cost by then."""
    steps = [look.step for look in trained.looks]
    return {
        "steps": steps,
        "losses": [look.validation_loss for look in trained.looks],
        "tokens": [step * run.training.sequences * run.training.sequence_length for step in steps],
        "training_flops": training_flops(run, trained.looks),
        "cpu_seconds": [trained.cpu_seconds * step / run.training.steps for step in steps],
        "domain_losses": trained.looks[-1].loss_D.tolist(),
        "no_op_shares": [_no_op_share(run, look) for look in trained.looks],
    }


def training_flops(run: Run, looks: list[Look]) -> list[float]:
    """Forward and backward of all steps up to each look, by the cost model.

    Where the text decides who meets a no-op, the choices at the looks stand for those of the steps between them.
    """
    each = [TRAINING * _flops_of_step(run, look) for look in looks]
    steps = [0, *(look.step for look in looks)]
    between = [each[0], *((before + after) / 2 for before, after in pairwise(each))]
    return list(accumulate(of_step * taken for of_step, taken in zip(between, np.diff(steps).tolist(), strict=True)))


def _flops_of_step(run: Run, look: Look) -> float:
    """Forward, with validation text in the place of training text."""
    length, routing = run.training.sequence_length, run.model.routing
    tokens = run.training.sequences * length
    if routing is None or not routing.no_op_experts:
        return forward_pass(run.model, run.training.sequences, length).total
    computed = [int(map_TE[:, : routing.num_experts].sum()) for map_TE in look.maps]
    seen = len(look.maps[0])
    return forward_pass(run.model, seen // length, length, assignments=computed).total * tokens / seen


def _no_op_share(run: Run, look: Look) -> float:
    """Share of all choices that do nothing, mean over layers."""
    num_experts = run.model.routing.num_experts if run.model.routing else 0
    return float(look.share_LE[:, num_experts:].sum(1).mean()) if look.maps else 0.0


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Per arm its size, and losses and costs by seed and look; differences, by budget; fits over the budgets.

    FLOPs are of forward and backward. Bytes are of all weights. Active parameters are of a token that passes every
    block and meets no no-op. CPU seconds are of the whole training, scaled by steps. `at_flops` and `at_tokens` are
    losses by seed at each budget.
    """
    by_arm: dict[str, list[dict[str, Any]]] = {}
    for key, one in measured.items():
        by_arm.setdefault(key.rpartition("/")[0], []).append(one)
    arms = {arm: _arm(arm, runs) for arm, runs in by_arm.items()}
    return {
        "budgets": {name: by_arm["dense"][0][name] for name in ("steps", "tokens", "training_flops")},
        "arms": arms,
        "comparisons": {
            f"{arm} - {other}": _comparison(arms[arm], arms[other]) for arm, other in PAIRS if {arm, other} <= set(arms)
        },
        "summary": {arm: _summary(found, arms["dense"]) for arm, found in arms.items()},
    }


def _arm(arm: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    count, steps = parameters(MODELS[arm]), runs[0]["steps"]
    at_flops, at_tokens = ([steps.index(step) for step in chosen] for chosen in (steps_of(arm), BUDGETS))
    compute_N = np.array([one["training_flops"] for one in runs]).mean(0)[at_flops]
    losses_RN = np.array([one["losses"] for one in runs])[:, at_flops]
    return {
        "parameters": {"active": count.active, "total": count.total},
        "bytes": {name: size * count.total for name, size in BYTES.items()},
        "flops_per_token": TRAINING * forward_flops(MODELS[arm], LENGTH),
        "relative_flops": relative_flops(arm),
        **{name: runs[0][name] for name in ("steps", "tokens")},
        **{name: [one[name] for one in runs] for name in COLUMNS},
        "at_flops": losses_RN.tolist(),
        "at_tokens": [[one["losses"][look] for look in at_tokens] for one in runs],
        "fit": asdict(fits.fit(compute_N, losses_RN, floor=FLOOR)),
    }


def _comparison(arm: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Differences over seeds at each budget, for equal training FLOPs and for equal tokens."""
    return {
        name: [
            asdict(fits.difference(*losses))
            for losses in zip(zip(*arm[name], strict=True), zip(*other[name], strict=True), strict=True)
        ]
        for name in ("at_flops", "at_tokens")
    }


def _summary(arm: dict[str, Any], dense: dict[str, Any]) -> dict[str, Any]:
    """At the largest budget."""
    last = [losses[-1] for losses in arm["at_flops"]]
    verdict = fits.difference(last, [losses[-1] for losses in dense["at_flops"]]).verdict
    against = {} if arm is dense else {"against dense": verdict}
    return {
        "loss": mean(last),
        "least": min(last),
        "most": max(last),
        "exponent": arm["fit"]["law"]["exponent"],
    } | against
