"""Load per expert while a model trains, under each rule that is to keep it even, and under none.

Arms are "RULE/kK", K experts a token of equal FLOPs in all, and "sigmoid-RULE/kK": scores that do not compete, as in
DeepSeek-V3, so that the gate can be told from the rule. All arms of one seed start from the same weights and read the
same text. Of K = 1 two things are peculiar: weights are not renormalised, where the router can say so, since the router
would learn nothing from a weight of 1; noisy top-k renormalises always, so that there only the load loss teaches it.
"""

from collections.abc import Callable
from statistics import mean
from typing import Any

import torch

from moedocs.config import BalanceConfig, RoutingConfig
from moedocs.engine import dead_experts, load_entropy
from moedocs.lab import small
from moedocs.lab.looks import Look
from moedocs.lab.training import Run, Trained

RATES, SEEDS = small.RATES, small.SEEDS
LOOK_AT = (0, 5, 10, 20, 40, 80, 120, 160, 200, 250, 300)
PROBABILITY_AT = (0, 10, 40, 120, 300)
WIDTH = {1: 128, 2: 64}  # of an expert, by K
RULES: dict[str, dict[str, Any]] = {
    "none": {},
    **{f"auxiliary-{weight:g}": {"auxiliary_weight": weight} for weight in (0.0001, 0.001, 0.01, 0.1, 1.0)},
    "z": {"z_weight": 0.001},
    "auxiliary+z": {"auxiliary_weight": 0.01, "z_weight": 0.001},
    "importance+load": {"importance_weight": 0.1, "load_weight": 0.1},  # as Shazeer et al. 2017 weigh them
    "bias": {"bias_rate": 0.01},
    "expert-choice": {},
    "constant": {"constant_weight": 0.01},
}
ROUTERS: dict[str, dict[str, Any]] = {
    "importance+load": {"router": "noisy"},
    "expert-choice": {"router": "expert-choice", "capacity_factor": 1.0},
}
SIGMOID = tuple(f"sigmoid-{rule}" for rule in ("none", "auxiliary-0.01", "bias"))
ARMS = tuple(f"{rule}/k{top_k}" for rule in (*RULES, *SIGMOID) for top_k in WIDTH)


def run(arm: str, learning_rate: float, seed: int) -> Run:
    """Steps of 8 sequences, one of each kind of text."""
    rule, _, digit = arm.rpartition("/k")
    top_k = int(digit)
    return Run(
        model=small.model(routing=_routing(rule, top_k), d_ff=WIDTH[top_k]),
        training=small.training(learning_rate, seed, LOOK_AT[-1], sequences=8),
        domains=small.DOMAINS,
        look_at=LOOK_AT,
    )


def _routing(rule: str, top_k: int) -> RoutingConfig:
    plain = rule.removeprefix("sigmoid-")
    scores = {"router": "softmax" if plain == rule else "sigmoid", "renormalise": top_k > 1}
    options = ROUTERS.get(plain, scores)
    return RoutingConfig(num_experts=8, top_k=top_k, balance=BalanceConfig(**RULES[plain]), **options)


def measure(run: Run, trained: Trained) -> dict[str, Any]:
    """At each look, by layer: each expert's share of the assignments, experts without any, entropies; and the loss.

    An expert is dead at a look if none of the validation text goes to it: it may live at the next look, and while noise
    is drawn in training. `load_entropy` is 1 at perfect balance, `router_entropy` in nats. `largest_share` is the mean
    over layers; times E it is the imbalance, largest load over mean. `balancing` is what the rule added to the training
    loss at the step of the look, of the last step at the end. Expert choice is even by construction, and its loss looks
    ahead: its price is the share of tokens `unserved`, which no expert took.
    """
    looks = trained.looks
    last = len(trained.balancing) - 1
    found = {
        "seed": run.training.seed,
        "validation_loss": [look.validation_loss for look in looks],
        "balancing": [trained.balancing[min(look.step, last)] for look in looks],
        "largest_share": [float(look.share_LE.max(1).mean()) for look in looks],
        "dead": [_by_layer(look, dead_experts) for look in looks],
        "load_entropy": [_by_layer(look, load_entropy) for look in looks],
        "router_entropy": [look.entropy_L.tolist() for look in looks],
        "share": [look.share_LE.tolist() for look in looks],
        "probability": [look.probs_LE.tolist() for look in looks if look.step in PROBABILITY_AT],
    }
    if run.model.routing and run.model.routing.router == "expert-choice":
        found["unserved"] = [[float(1 - map_TE.any(1).mean()) for map_TE in look.maps] for look in looks]
    return found


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Curves per arm and seed; `share` is indexed by look, layer, expert. The summary is of the last look."""
    arms = {arm: [measured[f"{arm}/{seed}"] for seed in SEEDS] for arm in ARMS}
    return {
        "steps": list(LOOK_AT),
        "probability_steps": list(PROBABILITY_AT),
        "arms": arms,
        "summary": {arm: _summary(runs) for arm, runs in arms.items()},
    }


def _by_layer(look: Look, of_load: Callable[[torch.Tensor], torch.Tensor]) -> list[float]:
    return [of_load(torch.from_numpy(map_TE.sum(0))).item() for map_TE in look.maps]


def _summary(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and range over seeds; dead experts are those of all layers together."""
    ends = {name: [run[name][-1] for run in runs] for name in ("largest_share", "validation_loss")}
    ends["dead"] = [sum(run["dead"][-1]) for run in runs]
    return {name: {"mean": mean(values), "least": min(values), "most": max(values)} for name, values in ends.items()}
