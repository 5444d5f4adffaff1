"""The debugging guide: its checks print what it says, its figure is the record's, its causes are the engine's."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from functools import cache
from math import log
from statistics import mean
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from moedocs import engine, lite
from moedocs.lab import records
from moedocs.lab.fingerprint import ROOT
from moedocs.lite import health
from moedocs.site import figure as site_figure
from moedocs.site import figures
from moedocs.site.figure import Rows, paths

PAGE = (ROOT / "docs" / "training" / "debugging.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
STATED = re.compile(r"^ *print\(.*\)  # (.*)$")


def printed(source: str) -> dict[int, list[str]]:
    """What each line of the code prints, in order."""
    found: dict[int, list[str]] = defaultdict(list)

    def note(value: object) -> None:
        found[sys._getframe(1).f_lineno].append(str(value))

    exec(compile(source, "debugging.md", "exec"), {"print": note})
    return found


@cache
def results() -> dict[str, Any]:
    found: dict[str, Any] = records.load("balance").results
    return found


@cache
def figure() -> ModuleType:
    return site_figure.load(paths(ROOT)["health"])


@cache
def rows() -> Rows:
    return figures.rounded(figure().data())


def test_every_check_on_the_page_prints_what_stands_beside_it() -> None:
    source = "\n".join(BLOCKS)
    found, lines = printed(source), source.splitlines()
    stated = {number: match[1] for number, line in enumerate(lines, 1) if (match := STATED.match(line))}
    assert len(stated) >= 11
    assert {number: ", ".join(found[number]) for number in stated} == stated


def test_the_report_on_the_page_is_what_the_code_prints() -> None:
    (shown,) = re.findall(r"^```text\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    ((told,),) = printed(BLOCKS[0]).values()
    assert told == shown


@pytest.mark.parametrize("top_k", [1, 3])
def test_the_vital_signs_are_those_that_the_engine_measures(top_k: int) -> None:
    logits_TE = torch.randn(96, 6, generator=torch.Generator().manual_seed(top_k))
    theirs = engine.with_capacity(engine.softmax_top_k(logits_TE, top_k), 96 * top_k // 6)
    ours = lite.with_capacity(lite.softmax_top_k(logits_TE.numpy(), top_k), 96 * top_k // 6)
    load_E = engine.load(theirs)
    assert health.vitals(ours) == pytest.approx(
        {
            "busiest share": engine.load_share(load_E).max().item(),
            "load entropy": engine.load_entropy(load_E).item(),
            "dead experts": engine.dead_experts(load_E).item(),
            "router entropy": engine.router_entropy(theirs).item() / log(6),
            "largest logit": logits_TE.abs().max().item(),
            "auxiliary loss": engine.auxiliary_loss(theirs).item(),
            "dropped share": engine.dropped_share(theirs).item(),
        },
        rel=1e-5,
    )


def test_a_report_has_a_line_for_each_layer_and_every_vital_sign() -> None:
    layers = [lite.softmax_top_k(np.eye(3) * size, 1) for size in (1, 2)]
    head, second, *lines = health.report(layers).splitlines()
    assert len(lines) == len(layers)
    words = [f"{upper} {lower}" for upper, lower in zip(head.split(), second.split()[1:], strict=True)]
    assert words == list(health.vitals(layers[0]))
    assert lines[1].split() == ["2", "0.33", "1.00", "0", *lines[1].split()[4:]]


@pytest.mark.parametrize(("router", "rule", "weight"), [
    ("healthy", "auxiliary-0.01", 0.01), ("no gradient", "constant", 0.01),
    ("too weak", "auxiliary-0.0001", 0.0001), ("too strong", "auxiliary-1", 1),
])  # fmt: skip
def test_the_figure_draws_the_runs_of_the_record(router: str, rule: str, weight: float) -> None:
    for top_k in (1, 2):
        for run in results()["arms"][f"{rule}/k{top_k}"]:
            drawn = [
                row for row in rows() if (row["router"], row["top_k"], row["seed"]) == (router, top_k, run["seed"])
            ]
            assert [row["step"] for row in drawn] == results()["steps"]
            for look, row in enumerate(drawn):
                assert row["logged"] * weight * 4 == pytest.approx(run["balancing"][look], rel=1e-3)
                assert row["busiest"] == pytest.approx(run["largest_share"][look], rel=1e-3)
                assert row["entropy"] * log(8) == pytest.approx(mean(run["router_entropy"][look]), rel=1e-3)
                assert row["loss"] == pytest.approx(run["validation_loss"][look], rel=1e-3)


def test_nothing_leaves_its_panel() -> None:
    for column, (_, _, _, (least, most), _) in figure().LOGGED.items():
        assert least <= min(row[column] for row in rows()) <= max(row[column] for row in rows()) <= most


def test_the_constant_loss_is_the_same_at_every_look_and_the_load_is_that_of_no_balancing() -> None:
    logged = [value for run in results()["arms"]["constant/k1"] for value in run["balancing"]]
    assert set(logged) == {0.01 * 4 / 8}
    facts, alone = figure().facts(rows()), results()["summary"]["none/k1"]["largest_share"]
    assert facts["constant-moves"].value == 0
    assert alone["least"] < facts["no-gradient-busiest"].value < alone["most"]


def test_only_the_weight_that_is_too_large_shows_in_the_loss_of_the_model() -> None:
    facts = figure().facts(rows())
    loss = {router: facts[f"{router.replace(' ', '-')}-loss"].value for router in figure().ARMS}
    assert loss["too strong"] - loss["healthy"] > facts["seeds-apart"].value
    assert max(loss["no gradient"], loss["too weak"]) <= loss["healthy"]


def test_no_expert_of_the_drawn_runs_died() -> None:
    assert figure().facts(rows())["dead"].value == 0


def test_renormalised_top_1_ends_behind_every_other_rule_in_every_seed_and_top_2_among_them() -> None:
    ends = {arm: [run["validation_loss"][-1] for run in runs] for arm, runs in results()["arms"].items()}
    behind = ends.pop("importance+load/k1")
    ones = [losses for arm, losses in ends.items() if arm.endswith("k1")]
    assert all(own > other for losses in ones for own, other in zip(behind, losses, strict=True))
    twos = {arm: mean(losses) for arm, losses in ends.items() if arm.endswith("k2")}
    assert min(twos.values()) < twos["importance+load/k2"] < max(twos.values())


def test_a_share_of_tokens_in_place_of_choices_makes_the_loss_k_at_perfect_balance() -> None:
    routing = engine.softmax_top_k(torch.eye(8).repeat(16, 1) + torch.eye(8).roll(1, 1).repeat(16, 1), 2)
    share_of_tokens_E = engine.load(routing) / len(routing.map_TE)
    assert (8 * (share_of_tokens_E * routing.probs_TE.mean(0)).sum()).item() == pytest.approx(2)
    assert engine.auxiliary_loss(routing).item() == pytest.approx(1)


def test_a_bias_in_the_weights_makes_the_unpopular_louder_and_one_for_the_choice_alone_does_not() -> None:
    logits_TE = torch.tensor([[2.0, 1.0, 0.0]])
    bias_E = torch.tensor([-0.1, 0.1, 0.0])
    plain, biased = (engine.softmax_top_k(logits_TE, 2, bias_E=bias) for bias in (None, bias_E))
    torch.testing.assert_close(biased.weights_TE, plain.weights_TE)
    louder_TE = (plain.probs_TE + bias_E) * plain.map_TE
    assert (louder_TE / louder_TE.sum())[0, 1] > plain.weights_TE[0, 1]


def test_a_loss_on_what_capacity_left_sees_less_of_the_excess() -> None:
    logits_TE = torch.randn(256, 8, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(8)[0]
    routing = engine.with_capacity(engine.switch_top_1(logits_TE), 32)
    kept_E = routing.map_TE.sum(0)
    assert engine.load_share(kept_E).max() < engine.load_share(engine.load(routing)).max() - 0.3


def test_a_common_offset_of_the_logits_changes_no_probability() -> None:
    logits_TE = torch.randn(64, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close((logits_TE + 50).softmax(-1), logits_TE.softmax(-1))
