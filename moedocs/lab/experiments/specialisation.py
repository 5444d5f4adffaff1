"""What experts prefer, and since when: kinds of text, of byte, of place and of difficulty, with what chance would give.

The trainings are some of those of `granularity`, at each look and, at the last, in more ways. Everything is measured on
the same validation text, each of its sequences of one kind.
"""

from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from moedocs.engine import Transformer, shuffled
from moedocs.engine.record import Routing
from moedocs.lab import ablation, categories, preferences
from moedocs.lab.categories import Categories
from moedocs.lab.decoding import read
from moedocs.lab.experiments.granularity import LOOK_AT, RATES, SEEDS, run
from moedocs.lab.looks import Look
from moedocs.lab.preferences import table
from moedocs.lab.training import Run, Trained, one_thread, validation

__all__ = ["ARMS", "RATES", "SEEDS", "measure", "results", "run"]

ARMS = ("single/none", "single/sequence", "single/global", "mixed/global")
DOMAIN = "domain"
KIND = "kind of byte"  # given the byte there is nothing left to tell of it
REPETITIONS = 10  # of what is drawn as a control
RESAMPLES = 100
DIGITS = 4  # decimals of a difference in loss: a ten-thousandth of a nat


def measure(run: Run, trained: Trained) -> dict[str, Any]:
    """Tables and mutual information at each look; all categories, controls and ablations at the last."""
    with one_thread():
        bytes_BS = validation(run)
        schemes = _schemes(run, trained.model, bytes_BS)
        return {
            "inputs": bytes_BS[:, :-1].numpy(),
            "maps": trained.looks[-1].maps,
            "categories": {name: list(one.names) for name, one in schemes.items()},
            "results": {
                "seed": run.training.seed,
                "over_time": _over_time(trained.looks, schemes, bytes_BS[:, :-1]),
                "last": _last(trained.looks[-1], schemes, bytes_BS[:, :-1]),
                "ablation": _ablation(trained.model, bytes_BS, schemes),
            },
        }


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Everything by arm and seed; lists are by look and layer, tables (categories by experts) count assignments.

    `over_time` has what experts tell of domains, of domains given the byte, of kinds of byte, and of domains dealt out
    among the sequences; `changed` is the share of tokens whose set of experts is another than at the look before,
    `moved` the share of assignments that are new since. `agreement` is between seeds. Baselines know the byte alone.
    """
    arms = {arm: [measured[f"{arm}/{seed}"] for seed in SEEDS] for arm in ARMS}
    shown = {arm: [one["results"] for one in runs] for arm, runs in arms.items()}
    first = arms[ARMS[0]][0]
    with one_thread():
        agreement = {arm: _agreement(runs) for arm, runs in arms.items()}
        baselines = _baselines(first)
    return {
        "steps": list(LOOK_AT),
        "categories": first["categories"],
        "arms": shown,
        "agreement": agreement,
        "baselines": baselines,
        "summary": {arm: _summary(runs, agreement[arm]) for arm, runs in shown.items()},
    }


def _schemes(run: Run, model: Transformer, bytes_BS: Tensor) -> dict[str, Categories]:
    inputs_BS = bytes_BS[:, :-1]
    return {
        DOMAIN: categories.by_domain([Path(domain).name for domain in run.domains], inputs_BS),
        KIND: categories.by_kind(inputs_BS),
        "position": categories.by_position(inputs_BS),
        "place in word": categories.by_place_in_word(inputs_BS),
        "difficulty": categories.by_difficulty(torch.from_numpy(read(model, bytes_BS).entropy_BS.ravel())),
    }


def _routings(maps: tuple[NDArray[np.bool_], ...], order_T: Tensor | None = None) -> list[Routing]:
    tables = map(torch.from_numpy, maps)
    return [preferences.routing_of(map_TE if order_T is None else map_TE[order_T]) for map_TE in tables]


def _over_time(looks: list[Look], schemes: dict[str, Categories], inputs_BS: Tensor) -> dict[str, list[Any]]:
    draws = Generator().manual_seed(0)
    found: dict[str, list[Any]] = {}
    for look, before in zip(looks, [None, *looks], strict=False):
        routings = _routings(look.maps)
        now = {
            "loss": look.loss_D.tolist(),
            "router_entropy": look.entropy_L.tolist(),
            "load": look.share_LE.tolist(),
            "table": [table(routing, schemes[DOMAIN]).tolist() for routing in routings],
            **_told_at(routings, schemes, inputs_BS, draws),
            **_changes(look, before),
        }
        for name, value in now.items():
            found.setdefault(name, []).append(value)
    return found


def _told_at(
    routings: list[Routing], schemes: dict[str, Categories], inputs_BS: Tensor, draws: Generator
) -> dict[str, preferences.Columns]:
    byte_T, domain = inputs_BS.flatten().long(), schemes[DOMAIN]
    dealt = partial(preferences.dealt_to_sequences, categories=domain, rows=len(inputs_BS), generator=draws)
    tables = {
        "domain": [table(routing, domain) for routing in routings],
        "domain_given_byte": [table(routing, domain, byte_T) for routing in routings],
        "domain_dealt_to_sequences": [dealt(routing) for routing in routings],
        "kind_of_byte": [table(routing, schemes[KIND]) for routing in routings],
    }
    return {name: preferences.columns(map(preferences.told, layers)) for name, layers in tables.items()}


def _changes(look: Look, before: Look | None) -> dict[str, list[float] | None]:
    """By layer, since the look before; a look keeps the set of a token's experts, not their order."""
    if before is None:
        return {"changed": None, "moved": None}
    pairs = list(zip(look.maps, before.maps, strict=True))
    return {
        "changed": [float((new != old).any(1).mean()) for new, old in pairs],
        "moved": [float((new & ~old).sum() / new.sum()) for new, old in pairs],
    }


def _last(look: Look, schemes: dict[str, Categories], inputs_BS: Tensor) -> dict[str, Any]:
    """By scheme: table of each layer, and what it tells alone and given the byte, with intervals and controls."""
    byte_T, strata = inputs_BS.flatten().long(), len(schemes[DOMAIN].names)
    routings = _routings(look.maps)
    found: dict[str, Any] = {}
    for name, scheme in schemes.items():
        told = partial(_told, scheme=scheme, rows=len(inputs_BS), strata=strata)
        found[name] = {"table": [table(routing, scheme).tolist() for routing in routings]}
        found[name]["alone"] = [told(routing) for routing in routings]
        if name != KIND:
            found[name]["given_byte"] = [told(routing, byte_T=byte_T) for routing in routings]
    found[DOMAIN]["dealt_to_sequences"] = [
        _repeated(partial(preferences.dealt_to_sequences, routing, schemes[DOMAIN], len(inputs_BS)))
        for routing in routings
    ]
    return found


def _told(
    routing: Routing, *, scheme: Categories, rows: int, strata: int, byte_T: Tensor | None = None
) -> dict[str, Any]:
    tables = preferences.sequence_tables(routing, scheme, rows, byte_T)
    return {
        "told": preferences.told(tables.sum(0)),
        "interval": preferences.interval(tables, strata, times=RESAMPLES, generator=Generator().manual_seed(0)),
        "shuffled": _repeated(partial(preferences.dealt, routing, scheme, byte_T=byte_T)),
    }


def _repeated(draw: Callable[[Generator], Tensor]) -> dict[str, dict[str, float]]:
    return preferences.repeated(draw, REPETITIONS, Generator().manual_seed(0))


def _ablation(model: Transformer, bytes_BS: Tensor, schemes: dict[str, Categories]) -> dict[str, Any]:
    """Nats more per byte without an expert, by kind of loss, scheme, layer, expert and category of the byte read.

    None where a category has no tokens. The loss is that of predicting the byte after it.
    """
    found: dict[str, Any] = {}
    for kind, layer, _, more_T in ablation.ablations(model, bytes_BS, generator=Generator().manual_seed(0)):
        for name in (DOMAIN, KIND):
            layers = found.setdefault(kind, {}).setdefault(name, [])
            if layer == len(layers):
                layers.append([])
            layers[layer].append(_means(more_T, schemes[name]))
    return found


def _means(value_T: Tensor, scheme: Categories) -> list[float | None]:
    num = len(scheme.names)
    sum_X = torch.zeros(num, dtype=torch.double).index_add_(0, scheme.label_T, value_T.double())
    count_X = scheme.label_T.bincount(minlength=num)
    return [
        round(total / count, DIGITS) if count else None
        for total, count in zip(sum_X.tolist(), count_X.tolist(), strict=True)
    ]


def _agreement(runs: list[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """For each pair of seeds and each layer, over the odd sequences, experts being matched on the even ones.

    Controls: the tokens of the second dealt out anew among all, and among those of the same byte.
    """
    inputs_BS, draws = torch.from_numpy(runs[0]["inputs"]), Generator().manual_seed(0)
    byte_T = inputs_BS.flatten().long()
    fit_T = (torch.arange(len(inputs_BS)) % 2 == 0).repeat_interleave(inputs_BS.shape[1])
    dealt_T = {
        "overlap": torch.arange(len(byte_T)),
        "shuffled": shuffled(torch.arange(len(byte_T)), generator=draws),
        "shuffled_given_byte": shuffled(torch.arange(len(byte_T)), generator=draws, byte_T=byte_T),
    }
    return {
        f"{one['results']['seed']}-{other['results']['seed']}": {
            name: [
                preferences.agreement(a, b, fit_T)
                for a, b in zip(_routings(one["maps"]), _routings(other["maps"], order_T), strict=True)
            ]
            for name, order_T in dealt_T.items()
        }
        for one, other in combinations(runs, 2)
    }


def _baselines(one: dict[str, Any]) -> dict[str, Any]:
    """What routings by the byte alone tell of the domain: at random, the best found, and the bound, the byte itself.

    The bound holds in nats; over the mean of the entropies it is less, as a byte has a greater entropy than an expert.
    """
    inputs_BS, map_TE = torch.from_numpy(one["inputs"]), one["maps"][-1]
    byte_T, domain = inputs_BS.flatten().long(), categories.by_domain(one["categories"][DOMAIN], inputs_BS)
    num_experts, top_k = map_TE.shape[1], int(map_TE[0].sum())
    return {
        "random_hash": _repeated(partial(preferences.by_hash, byte_T, domain, num_experts, top_k)),
        "best_by_byte": preferences.told(preferences.by_best_byte(byte_T, domain, num_experts)),
        "exact_byte": preferences.told(preferences.byte_table(byte_T, domain)),
    }


def _summary(runs: list[dict[str, Any]], agreement: dict[str, Any]) -> dict[str, Any]:
    """Of the last look, mean over layers: mean, least and most of the seeds."""
    told = {
        f"domain_{given}": [
            mean(layer["told"]["normalised_corrected"] for layer in one["last"][DOMAIN][given]) for one in runs
        ]
        for given in ("alone", "given_byte")
    }
    overlap = {name: [mean(pair[name]) for pair in agreement.values()] for name in ("overlap", "shuffled_given_byte")}
    return {name: _spread(values) for name, values in (told | overlap).items()}


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": mean(values), "least": min(values), "most": max(values)}
