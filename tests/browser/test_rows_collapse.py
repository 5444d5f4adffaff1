"""Rows D2 and D4, part of D6, and L4 for the collapse lab: what a reader sees is what was recorded, or just trained."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from statistics import mean
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from moedocs.lab import records
from moedocs.lab.fingerprint import ROOT
from moedocs.lite import learning
from tests.browser.acting import live_cell, live_figure, rows, run
from tests.browser.pages import CELLS, FIGURES

Visit = Callable[..., Page]
PAGE = FIGURES["collapse-lab"]
CODE = (ROOT / "figures/cells/collapse_lab.py").read_text("utf-8")
HEIGHT, BARS, SMALL, MOST = 180, 100, 84, 0.9  # px of the wide picture's charts, and the end of an axis of shares
NEAR = 0.012  # a share, read off the picture: two and a half pixels
ARMS = {
    "none": "none",
    "auxiliary": "auxiliary-0.01",
    "z": "z",
    "bias": "bias",
    "expert-choice": "expert-choice",
    "importance+load": "importance+load",
    "constant": "constant",
    "sigmoid-none": "sigmoid-none",
    "sigmoid-auxiliary": "sigmoid-auxiliary-0.01",
    "sigmoid-bias": "sigmoid-bias",
}


def recorded(rule: str, top_k: int = 1) -> list[dict[str, Any]]:
    """The record's three runs of a rule."""
    runs: list[dict[str, Any]] = records.load("balance").results["arms"][f"{ARMS.get(rule, rule)}/k{top_k}"]
    return runs


def choose(figure: Locator, **settings: Any) -> None:
    """Set selects by what they hold, and sliders by the keyboard."""
    for name, value in settings.items():
        control = figure.locator(f".moe-controls [data-param={name}]")
        if control.evaluate("input => input.tagName") == "SELECT":
            control.select_option(value=f'"{value}"')
            continue
        control.press("Home")
        while control.evaluate("input => JSON.parse(input.dataset.values)[input.value]") != value:
            control.press("ArrowRight")


def told(figure: Locator) -> list[str]:
    """What the words above the two columns say, and a screen reader is told."""
    words = str(figure.evaluate("async figure => (await figure.wake()).chart.readout()"))
    return words.split("; ")


def heights(figure: Locator, part: str, height: int, most: float) -> list[list[float]]:
    """By line of a part, what its points stand for, from left to right."""
    told(figure)  # which waits until all is drawn
    found = []
    for path in figure.locator(f".is-live .moe-chart svg.marks g.mark-line[class*={part}] path").all():
        numbers = re.findall(r"-?[\d.]+,(-?[\d.]+)", str(path.get_attribute("d")))
        found.append([most * (1 - float(y) / height) for y in numbers])
    return found


def bars(figure: Locator, part: str) -> list[float]:
    """What the bars of a part stand for, from left to right."""
    told(figure)
    paths = figure.locator(f".is-live .moe-chart svg.marks g.mark-rect[class*={part}] path").all()
    found = [re.match(r"M([\d.]+),([\d.]+)h[\d.]+v(-?[\d.]+)", str(path.get_attribute("d"))) for path in paths]
    sizes = sorted((float(one[1]), abs(float(one[3]))) for one in found if one)
    assert len(sizes) == len(paths)
    return [MOST * size / BARS for _, size in sizes]


def percent(share: float) -> str:
    """As the page rounds it: a half goes up."""
    return f"{math.floor(100 * share + 0.5)}%"


def words_of(runs: list[dict[str, Any]], look: int, layer: int, seed: int) -> list[str]:
    shares = [round(max(run["share"][look][layer]), 3) for run in runs]  # as the table holds them
    losses = [run["validation_loss"][look] for run in runs]
    return [
        f"busiest expert {percent(shares[seed])}, seeds {percent(min(shares))} to {percent(max(shares))}",
        f"validation loss {losses[seed]:.3f}, seeds {min(losses):.3f} to {max(losses):.3f}",
    ]


def test_D2_without_and_with_an_auxiliary_loss_each_experts_share_over_training_is_the_records(visit: Visit) -> None:
    figure = live_figure(visit(PAGE), "collapse-lab")
    steps, drawn = records.load("balance").results["steps"], (0, 5, 10, 20, 40, 120, 200, 300)
    for number, (side, rule) in enumerate((("left", "none"), ("right", "auxiliary"))):
        share_XLE = recorded(rule)[2]["share"]
        expected = [[share_XLE[steps.index(step)][1][expert] for step in drawn] for expert in range(8)]
        found = heights(figure, f"{side}_part_load_{number}_", HEIGHT, MOST)
        assert len(found) == 8
        for mine, theirs in zip(found, expected, strict=True):
            assert mine == pytest.approx(theirs, abs=NEAR)
        assert bars(figure, f"{side}_part_load_bars") == pytest.approx(share_XLE[-1][1], abs=NEAR)
        assert bars(figure, f"{side}_part_probability") == pytest.approx(
            recorded(rule)[2]["probability"][-1][1], abs=NEAR
        )
    left, right = words_of(recorded("none"), -1, 1, 2), words_of(recorded("auxiliary"), -1, 1, 2)
    assert told(figure) == ["no balancing", *left, "auxiliary loss 0.01", *right]


def test_D2_the_player_shows_f_and_P_of_the_step_that_it_stands_at(visit: Visit) -> None:
    figure = live_figure(visit(PAGE), "collapse-lab")
    figure.locator(".moe-player input").press("Home")
    figure.get_by_role("button", name="Next").click()
    look = records.load("balance").results["steps"].index(10)
    expect(figure.locator(".moe-live")).to_contain_text(words_of(recorded("none"), look, 1, 2)[0])
    for side, rule in (("left", "none"), ("right", "auxiliary")):
        run = recorded(rule)[2]
        assert bars(figure, f"{side}_part_load_bars") == pytest.approx(run["share"][look][1], abs=NEAR)
        assert bars(figure, f"{side}_part_probability") == pytest.approx(run["probability"][1][1], abs=NEAR)


@pytest.mark.parametrize("top_k", [1, 2])
def test_D4_every_rule_shows_the_load_and_the_loss_that_were_recorded_with_their_range_over_seeds(
    visit: Visit, top_k: int
) -> None:
    figure = live_figure(visit(PAGE), "collapse-lab")
    choose(figure, layer=4, seed=1, top_k=top_k)
    offered = figure.locator("[data-param=right] option").evaluate_all("all => all.map(one => JSON.parse(one.value))")
    assert set(ARMS) <= set(offered)
    for rule in ARMS:
        choose(figure, right=rule)
        assert told(figure)[4:] == words_of(recorded(rule, top_k), -1, 3, 1), rule
    choose(figure, right="expert-choice")
    assert told(figure)[4] == "busiest expert 13%, seeds 13% to 13%"  # an eighth


@pytest.mark.parametrize("weight", [0.0001, 0.001, 0.1, 1])
def test_D4_the_weight_chooses_the_training_with_that_weight(visit: Visit, weight: float) -> None:
    figure = live_figure(visit(PAGE), "collapse-lab")
    choose(figure, weight=weight)
    runs = recorded(f"auxiliary-{weight:g}")
    assert told(figure)[3:] == [f"auxiliary loss {weight:g}", *words_of(runs, -1, 1, 2)]


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("weight", [0.0001, 0.01, 1])
def test_D4_what_a_weight_does_to_load_and_to_quality_is_told_with_its_range_over_seeds(
    visit: Visit, weight: float, top_k: int
) -> None:
    figure = live_figure(visit(PAGE), "weight-of-the-loss")
    choose(figure, weight=weight, top_k=top_k)
    expected = []
    for measure, written in (("largest_share", ".0%"), ("validation_loss", ".3f")):
        for name, rule in (("none", "none"), (f"weight {weight:g}", f"auxiliary-{weight:g}")):
            ends = [round(run[measure][-1], 4) for run in recorded(rule, top_k)]
            least, middle, most = (format(value, written) for value in (min(ends), mean(ends), max(ends)))
            expected.append(f"{name}: {middle}, seeds {least} to {most}")
    assert told(figure) == expected


def test_D4_the_loss_found_in_tutorials_stays_flat_while_the_load_goes_where_it_goes_without_it(visit: Visit) -> None:
    figure = live_figure(visit(PAGE), "collapse-lab")
    figure.locator("[data-preset]").select_option(label="nothing, and the loss found in tutorials")
    assert told(figure)[3] == "the loss found in tutorials"
    (flat,) = heights(figure, "part_loss_relative", SMALL, 2.2)
    assert flat == pytest.approx([1.0] * 8, abs=1e-4)
    left, right = (
        heights(figure, f"{side}_part_load_{number}_", HEIGHT, MOST) for number, side in enumerate(("left", "right"))
    )
    for alone, beside in zip(left, right, strict=True):
        assert beside[:6] == pytest.approx(alone[:6], abs=0.005)  # to step 120; then rounding has grown to a difference
        assert beside == pytest.approx(alone, abs=0.1)
    assert max(max(line) for line in right) > 0.5


def test_D6_balance_in_each_sequence_beside_balance_over_the_step_as_recorded(visit: Visit) -> None:
    figure = live_figure(visit(PAGE), "collapse-lab")
    figure.locator("[data-preset]").select_option(label="balance in each sequence, and over the step")
    found = records.load("granularity").results
    looks = [found["steps"].index(step) for step in (0, 5, 10, 20, 40, 160, 240, 400)]
    for side, arm in (("left", "sequence"), ("right", "global")):
        run = found["arms"][f"single/{arm}"][2]
        for part, key in (("busiest", "largest_share"), ("within", "sequence_share")):
            (line,) = heights(figure, f"{side}_part_load_{part}", HEIGHT, MOST)
            assert line == pytest.approx([run[key][look][1] for look in looks], abs=NEAR)
    assert told(figure)[0] == "auxiliary loss in each sequence"
    assert told(figure)[3] == "auxiliary loss over the whole step"


@pytest.mark.parametrize(("rule", "weight", "top_k"), [("auxiliary", 0.1, 1), ("bias", 0.02, 2)])
def test_L4_the_cell_trains_anew_and_the_lab_draws_what_it_gave(
    visit: Visit, rule: str, weight: float, top_k: int
) -> None:
    assert CELLS["collapse-lab"] == PAGE
    page = visit(PAGE)
    code = CODE.replace('rule = "auxiliary"', f'rule = "{rule}"').replace("weight = 0.1", f"weight = {weight}")
    code = code.replace("top_k, seeds, learning_rate = 1,", f"top_k, seeds, learning_rate = {top_k},")
    shown = run(live_cell(page, "[for=collapse-lab]"), code)
    assert "shows your result" in shown
    figure = live_figure(page, "collapse-lab")
    learned = learning.train(learning.config_of(rule, weight, top_k), seed=2).rows()[-1]
    (drawn,) = [row for row in rows(figure) if (row["rule"], row["seed"], row["training_step"]) == (rule, 2, 300)]
    for name in ("f1", "f8", "p3", "validation_loss", "dead"):
        assert drawn[name] == pytest.approx(learned[name], rel=1e-6), name
    assert f"busiest expert {max(learned[f'f{expert}'] for expert in range(1, 9)):.0%}" in told(figure)[4]
    expect(figure.locator(".moe-badge")).to_have_text("your own run")
    assert bars(figure, "right_part_load_bars") == pytest.approx(
        [learned[f"f{expert}"] for expert in range(1, 9)], abs=NEAR
    )
