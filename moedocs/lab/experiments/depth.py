"""Which tokens pass through a block, and what is lost by letting the others go past it.

Mixture of Depths at three capacities, in every block and in every other, beside dense models of full and of less depth
and beside a choice at random, which has nothing to learn. All else is equal: arms of one seed read the same text.
"""

from dataclasses import asdict
from itertools import pairwise
from statistics import mean
from typing import Any

import numpy as np

from moedocs.config import DepthConfig
from moedocs.cost import forward_flops
from moedocs.cost.forward import TRAINING
from moedocs.lab import decoding, small
from moedocs.lab.categories import KINDS, by_kind
from moedocs.lab.fits import difference
from moedocs.lab.passing import Map, Tokens, correlations, described, in_common, rules
from moedocs.lab.training import Run, Trained, validation

RATES = small.RATES
SEEDS = small.SEEDS
LOOK_AT = (0, 60, 120, 240, 480)
LAYERS = {"dense": 4, "shallow-3": 3, "shallow-2": 2, "shallow-1": 1}


def _depth(percent: float, every: int, router: str) -> DepthConfig:
    # Raw weights, as in the paper. In trials of 240 steps at three rates they trained as well as sigmoids: better by up
    # to 0.05 nats in every block, worse by up to 0.006 in every other.
    if router == "random":
        return DepthConfig(capacity=percent / 100, every=every, router="random")
    return DepthConfig(capacity=percent / 100, every=every, sampling="predictor")


DEPTHS = {
    f"{router}-{percent:g}/every-{every}": _depth(percent, every, router)
    for router, choices in (
        ("mod", ((12.5, 1), (25, 1), (50, 1), (12.5, 2), (25, 2), (50, 2))),
        ("random", ((12.5, 1), (12.5, 2), (25, 2), (50, 2))),
    )
    for percent, every in choices
}
ARMS = (*LAYERS, *DEPTHS)


def run(arm: str, learning_rate: float, seed: int) -> Run:
    """One training of an arm: a dense model of some layers, or the full one with a depth."""
    return Run(
        model=small.model(num_layers=LAYERS.get(arm, LAYERS["dense"]), depth=DEPTHS.get(arm)),
        training=small.training(learning_rate, seed, LOOK_AT[-1]),
        domains=small.DOMAINS,
        look_at=LOOK_AT,
    )


def measure(run: Run, trained: Trained) -> dict[str, Any]:
    """Losses and costs; of the final model the entropy of its predictions, and both choices of who passes."""
    bytes_BS = validation(run)
    reading = decoding.read(trained.model, bytes_BS)
    measured = {
        "steps": [look.step for look in trained.looks],
        "losses": [look.validation_loss for look in trained.looks],
        "domain_losses": trained.looks[-1].loss_D.tolist(),
        "tokens": [look.step * run.training.sequences * run.training.sequence_length for look in trained.looks],
        "flops_per_token": TRAINING * forward_flops(run.model, run.training.sequence_length),
        "cpu_seconds": trained.cpu_seconds,
        "domains": run.domains,
        "bytes_BS": bytes_BS[:, :-1],
        "entropy_BS": reading.entropy_BS,
        "passed": [look.passed for look in trained.looks],
    }
    if run.model.depth is not None and run.model.depth.sampling == "predictor":
        causal = decoding.read(trained.model, bytes_BS, causal=True)
        measured["sampling"] = decoding.sampled(reading, causal)
        measured["sampled"] = [depth.map_BS.numpy() for depth in causal.depths]
    return measured


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Per arm its costs, its losses by seed and look, and who passes each routed block of the final model.

    FLOPs are of forward and backward. The shown text has one character per byte, its maps one digit: 1 passes. The
    maps in training are by look, those in sampling of the final model. Comparisons are of the last look, for equal
    steps: what either arm costs stands with it.
    """
    by_arm: dict[str, list[dict[str, Any]]] = {}
    for key, one in measured.items():
        by_arm.setdefault(key.rpartition("/")[0], []).append(one)
    arms = {arm: _arm(arm, runs, by_arm["dense"]) for arm, runs in by_arm.items()}
    first = by_arm["dense"][0]
    return {
        **{name: first[name] for name in ("steps", "tokens")},
        "kinds": list(KINDS),
        "domains": list(first["domains"]),
        "text": [bytes(first["bytes_BS"][row].tolist()).decode("latin-1") for row in _shown(first)],
        "arms": arms,
        "comparisons": {arm: _comparisons(arm, arms) for arm in arms if arm != "dense"},
        "summary": {arm: _summary(one) for arm, one in arms.items()},
    }


def _arm(arm: str, runs: list[dict[str, Any]], dense: list[dict[str, Any]]) -> dict[str, Any]:
    flops = runs[0]["flops_per_token"]
    found = {
        "flops_per_token": flops,
        "relative_flops": flops / dense[0]["flops_per_token"],
        "training_flops": [flops * tokens for tokens in runs[0]["tokens"]],
        **{name: [one[name] for one in runs] for name in ("losses", "domain_losses", "cpu_seconds")},
    }
    if arm in DEPTHS:
        found["passing"] = [_passing(*pair) for pair in zip(runs, dense, strict=True)]
        found["shown"] = _maps(runs[0])
    if "sampling" in runs[0]:
        found["sampling"] = [one["sampling"] for one in runs]
    return found


def _passing(run: dict[str, Any], dense: dict[str, Any]) -> dict[str, Any]:
    """Who passes, by block; what the next block has in common with it; and in how many blocks tokens pass."""
    tokens, maps = _tokens(run, dense), run["passed"][-1]
    fixed = rules(tokens, int(maps[0][0].sum()))
    times_BS = np.sum(maps, axis=0)
    return {
        "blocks": [_block(map_BS, tokens, fixed) for map_BS in maps],
        "next_block": [in_common(map_BS, after_BS) for map_BS, after_BS in pairwise(maps)],
        "times": [float((times_BS == times).mean()) for times in range(len(maps) + 1)],
        "rules": {name: correlations(map_BS, tokens) for name, map_BS in fixed.items()},
    }


def _block(map_BS: Map, tokens: Tokens, fixed: dict[str, Map]) -> dict[str, Any]:
    common = {name: in_common(map_BS, other_BS) for name, other_BS in fixed.items()}
    return described(map_BS, tokens, len(KINDS)) | {"share": float(map_BS.mean()), "in_common": common}


def _tokens(run: dict[str, Any], dense: dict[str, Any]) -> Tokens:
    bytes_BS = run["bytes_BS"]
    return Tokens(
        bytes_BS=bytes_BS.numpy(),
        kind_BS=by_kind(bytes_BS).label_T.view(bytes_BS.shape).numpy(),
        entropy_BS=run["entropy_BS"],
        dense_entropy_BS=dense["entropy_BS"],
    )


def _shown(run: dict[str, Any]) -> tuple[int, int]:
    """Two sequences to look at: the first, and one of a domain further on (of the small experiments', Latin)."""
    num_sequences, num_domains = len(run["bytes_BS"]), len(run["domains"])
    return 0, num_sequences // num_domains * (num_domains * 5 // 8) + 1


def _maps(run: dict[str, Any]) -> dict[str, Any]:
    """Of the shown sequences, the entropy of every prediction, and who passes: a string per routed block."""

    def of(maps: list[Map]) -> list[list[str]]:
        return [["".join("01"[int(one)] for one in map_BS[row]) for map_BS in maps] for row in _shown(run)]

    found = {"training": [of(maps) for maps in run["passed"]], "entropy": run["entropy_BS"][list(_shown(run))].tolist()}
    return found | ({"sampling": of(run["sampled"])} if "sampled" in run else {})


def _comparisons(arm: str, arms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Against the dense model, the shallow one that costs most nearly as much, and the random choice of as many."""
    others = ["dense"]
    if arm in DEPTHS:
        shallow = [name for name in LAYERS if name != "dense"]
        others += [min(shallow, key=lambda name: abs(arms[name]["relative_flops"] - arms[arm]["relative_flops"]))]
        others += [name for name in arms if name != arm and name == arm.replace("mod", "random")]
    last = {name: [losses[-1] for losses in arms[name]["losses"]] for name in (arm, *others)}
    return {name: asdict(difference(last[arm], last[name])) for name in others}


def _summary(arm: dict[str, Any]) -> dict[str, Any]:
    last = [losses[-1] for losses in arm["losses"]]
    found = {"relative_flops": arm["relative_flops"], "loss": mean(last), "least": min(last), "most": max(last)}
    if "sampling" in arm:
        blocks = [block for seed in arm["sampling"] for block in seed["predicted"]]
        found |= {name: mean(block[name] for block in blocks) for name in ("accuracy", "recall")}
        found["sampling_loss"] = mean(seed["sampling_loss"] for seed in arm["sampling"])
    return found
