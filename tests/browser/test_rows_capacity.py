"""Rows D1 and D5: a reader fills experts, sees who is dropped and what slack costs; L4: the cell redraws the figure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from playwright.sync_api import Locator, Page, expect

from moedocs import engine, lite
from moedocs.config import RoutingConfig
from moedocs.lab import crowding
from moedocs.lab.crowding import BY_SKEW, TRAINED, Router
from moedocs.lab.fingerprint import ROOT
from moedocs.site.browser import runner
from tests.browser.acting import button, ended, live_cell, live_figure, marks, rows, write
from tests.browser.conftest import PHONE
from tests.browser.pages import CELLS, FIGURES

Visit = Callable[..., Page]
CODE = (ROOT / "figures/cells/capacity.py").read_text("utf-8")
ROUTERS = {(router.name, router.num_experts, router.skew): router for router in crowding.routers()}
OPENS = {"num_experts": 8, "top_k": 2, "num_tokens": 64, "capacity_factor": 1.0, "draw": 1}
HEIGHTS = """(figure, part) => {
    const marks = figure.querySelectorAll(`.is-live .moe-chart g[class*="${part}"] path`);
    return [...marks].map(mark => mark.getBBox().height);
}"""


def words(figure: Locator) -> str:
    return str(figure.evaluate("async figure => (await figure.wake()).chart.readout()"))


def heights(figure: Locator, part: str) -> list[float]:
    """How tall each mark of a part is, from left to right."""
    found: list[float] = figure.evaluate(HEIGHTS, part)
    return found


def slide(figure: Locator, param: str, value: float) -> None:
    """Move a slider over listed values by keyboard."""
    slider = figure.locator(f"[data-param={param}]")
    values = json.loads(slider.get_attribute("data-values") or "[]")
    slider.press("Home")
    for _ in range(values.index(value)):
        slider.press("ArrowRight")


def choose(figure: Locator, param: str, label: str) -> None:
    figure.locator(f"[data-param={param}]").select_option(label=label)


def drawn(
    router: Router, config: RoutingConfig, num_tokens: int, draw: int, group: int = 1
) -> tuple[int, engine.Routing]:
    """Capacity and routing of a draw of the figure, by the engine."""
    logits_TE = torch.from_numpy(router.logits_RTE[draw - 1, :num_tokens].copy())
    slots = engine.capacity(num_tokens // group, config)
    routing = engine.softmax_top_k(logits_TE, config.top_k, renormalise=False)
    return slots, engine.with_capacity(routing, slots, group_size=num_tokens // group)


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 900}, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize(
    ("moved", "skew"),
    [
        ({}, 0.0),
        ({"num_experts": 16, "capacity_factor": 1.25}, 0.5),
        ({"num_tokens": 1024, "top_k": 4, "draw": 2}, 1.0),
        ({"num_experts": 4, "top_k": 1, "num_tokens": 256, "draw": 3}, 0.0),
    ],
)
def test_D1_a_reader_moves_sliders_and_sees_loads_and_drops_of_the_engine(
    visit: Visit, viewport: object, moved: dict[str, Any], skew: float
) -> None:
    figure = live_figure(visit(FIGURES["capacity"], viewport=viewport), "capacity")
    for param, value in (moved | {"skew": skew}).items():
        slide(figure, param, value)
    at = OPENS | moved
    config = RoutingConfig(**{key: at[key] for key in ("num_experts", "top_k", "capacity_factor")})
    router = ROUTERS[BY_SKEW, at["num_experts"], skew]
    slots, routing = drawn(router, config, at["num_tokens"], at["draw"])
    said = words(figure)
    assert f"Dropped {engine.dropped_share(routing):.1%}" in said
    assert f"expected {crowding.expected_share(router, at['num_tokens'], config.top_k, slots):.1%}" in said
    assert f"{slots} slots an expert" in said
    assert f"{engine.padded_share(routing, slots):.1%}" in said
    kept_E, over = engine.load(routing) - routing.dropped_TE.sum(0), routing.dropped_TE.sum(0)
    tall = heights(figure, "part_kept")
    assert len(tall) == config.num_experts
    unit = sum(tall) / int(kept_E.sum())
    assert tall == pytest.approx([int(kept) * unit for kept in kept_E], rel=0.02, abs=1.5)
    hatched = heights(figure, "part_load_part_dropped")
    assert hatched == pytest.approx([int(one) * unit for one in over], rel=0.02, abs=1.5)
    fills = figure.locator('.is-live .moe-chart g[class*="part_load_part_dropped"] path').all()
    assert all("hatch" in str(mark.get_attribute("fill")) for mark in fills)


def test_D1_another_draw_is_announced_and_the_expectation_stays(visit: Visit) -> None:
    figure = live_figure(visit(FIGURES["capacity"]), "capacity")
    exact = re.compile(r"expected ([\d.]+%)")
    shares = []
    for draw in (1, 2, 3):
        slide(figure, "draw", draw)
        shares.append((re.findall(r"Dropped ([\d.]+%)", words(figure)), exact.findall(words(figure))))
    expect(figure.locator(".moe-live")).to_have_text(words(figure))
    assert len({tuple(share) for share, _ in shares}) > 1
    assert len({tuple(expected) for _, expected in shares}) == 1


def test_D1_who_is_served_moves_who_is_dropped_and_not_how_many(visit: Visit) -> None:
    figure = live_figure(visit(FIGURES["capacity"]), "capacity")
    before, many = words(figure), heights(figure, "part_load_part_dropped")
    place, weight = heights(figure, "by_place_layer_0"), heights(figure, "by_weight_layer_0")
    assert place == sorted(place)
    assert place[-1] > 5 * place[0]
    choose(figure, "policy", "by weight")
    assert words(figure) == before
    assert heights(figure, "part_load_part_dropped") == many
    even, unsure = heights(figure, "by_place_layer_0"), heights(figure, "by_weight_layer_0")
    assert max(even) == pytest.approx(min(even))
    assert unsure == sorted(unsure, reverse=True)
    assert unsure[0] / sum(unsure) > weight[0] / sum(weight) + 0.2
    choose(figure, "policy", "at random")
    even = heights(figure, "by_place_layer_0")
    assert max(even) == pytest.approx(min(even))


def test_D1_slots_for_each_sequence_drop_more_and_are_drawn_one_by_one(visit: Visit) -> None:
    figure = live_figure(visit(FIGURES["capacity"]), "capacity")
    choose(figure, "group", "each of 4 sequences")
    config = RoutingConfig(num_experts=8, top_k=2, capacity_factor=1.0)
    slots, routing = drawn(ROUTERS[BY_SKEW, 8, 0.0], config, 64, 1, group=4)
    _, whole = drawn(ROUTERS[BY_SKEW, 8, 0.0], config, 64, 1)
    assert engine.dropped_share(routing) > engine.dropped_share(whole)
    assert f"Dropped {engine.dropped_share(routing):.1%}" in words(figure)
    assert f"{slots} slots an expert and sequence" in words(figure)
    assert len(heights(figure, "part_kept")) == 8 * 4


@pytest.mark.parametrize("rounding", crowding.ROUNDINGS)
def test_D1_rounding_changes_the_slots_as_it_says(visit: Visit, rounding: str) -> None:
    figure = live_figure(visit(FIGURES["capacity"]), "capacity")
    slide(figure, "capacity_factor", 1.1)
    choose(figure, "rounding", rounding)
    slots = crowding.slots(64, 8, 2, 1.1, rounding)
    share = crowding.expected_share(ROUTERS[BY_SKEW, 8, 0.0], 64, 2, slots)
    assert f"{slots} slots an expert" in words(figure)
    assert f"expected {share:.1%}" in words(figure)


@pytest.mark.parametrize("name", TRAINED)
def test_D1_a_router_as_trained_says_which_it_is_and_drops_by_its_shares(visit: Visit, name: str) -> None:
    figure = live_figure(visit(FIGURES["capacity"]), "capacity")
    slide(figure, "num_tokens", 1024)
    choose(figure, "router", name)
    which, router = crowding.most_lopsided(TRAINED[name]), ROUTERS[name, 8, None]
    config = RoutingConfig(num_experts=8, top_k=2, capacity_factor=1.0)
    slots, routing = drawn(router, config, 1024, 1)
    assert f"{name}: layer {which.layer}, seed {which.seed}, 8 experts" in words(figure)
    assert f"Dropped {engine.dropped_share(routing):.1%}" in words(figure)
    assert f"expected {crowding.expected_share(router, 1024, 2, slots):.1%}" in words(figure)


@pytest.mark.parametrize(
    ("skew", "num_experts", "factor"), [(1.0, 8, 1.25), (0.0, 8, 1.0), (0.5, 16, 2.0), (1.0, 4, 4.0)]
)
def test_D5_a_reader_moves_the_factor_and_sees_what_is_dropped_and_empty(
    visit: Visit, skew: float, num_experts: int, factor: float
) -> None:
    figure = live_figure(visit(FIGURES["slack"]), "slack")
    for param, value in {"skew": skew, "num_experts": num_experts, "capacity_factor": factor}.items():
        slide(figure, param, value)
    config = RoutingConfig(num_experts=num_experts, top_k=2, capacity_factor=factor)
    slots, router = engine.capacity(256, config), ROUTERS[BY_SKEW, num_experts, skew]
    share = crowding.expected_share(router, 256, 2, slots)
    empty = 1 - (1 - share) * 512 / (num_experts * slots)
    assert f"Factor {factor:g}: {share:.1%} dropped, {empty:.1%} of the slots empty" in words(figure)
    assert empty >= 1 - 1 / factor - 1e-9


def test_D5_skew_moves_the_factor_that_is_enough_and_the_link_keeps_it(visit: Visit) -> None:
    page = visit(f"{FIGURES['slack']}?slack.skew=0")
    figure = live_figure(page, "slack")
    fair = float(re.findall(r"from factor ([\d.]+) on", words(figure))[0])
    before = marks(figure)
    slide(figure, "skew", 1.0)
    skewed = float(re.findall(r"from factor ([\d.]+) on", words(figure))[0])
    assert skewed >= 2 * fair
    assert marks(figure) != before
    expect(figure.locator(".moe-live")).to_have_text(words(figure))


def test_D5_with_scripts_off_the_caption_says_what_slack_does_not_cure(visit: Visit) -> None:
    figure = visit(FIGURES["slack"], java_script_enabled=False).locator("moe-figure#slack")
    expect(figure.locator("figcaption")).to_contain_text("At factor c at least 1 − 1/c", ignore_case=True)
    expect(figure.locator('.moe-picture:visible > svg g[class*="readout"] text')).not_to_have_count(0)


def test_L4_the_cell_redraws_the_figure_with_the_readers_own_router_and_policy(visit: Visit) -> None:
    page = visit(CELLS["capacity"])
    figure = live_figure(page, "capacity")
    cell = live_cell(page)
    changed = CODE.replace("64, 0.0", "256, 0.7").replace("num_experts=8", "num_experts=12")
    changed = changed.replace('capacity_order="order"', 'capacity_order="probability"')
    assert [part in changed for part in ("256, 0.7", "num_experts=12", '="probability"')] == [True] * 3
    write(cell, changed)
    button(cell, "Run").click()
    ended(cell)
    table = json.loads(runner.run(changed, {}, lambda *_: None))["table"]
    assert [row["load"] for row in rows(figure)] == [row["load"] for row in table]
    config = lite.RoutingConfig(num_experts=12, top_k=2, capacity_factor=1.0)
    slots = lite.capacity(256, config)
    dropped = sum(max(0, row["load"] - slots) for row in table) / 512
    assert f"Dropped {dropped:.1%}" in words(figure)
    assert f"{slots} slots an expert" in words(figure)
    assert "NaN" not in words(figure)
    unsure = heights(figure, "by_weight_layer_0")
    shares = [table[0][f"weight_{quarter}"] for quarter in (1, 2, 3, 4)]
    assert unsure[0] / sum(unsure) == pytest.approx(shares[0] / sum(shares), abs=0.05)
    expect(figure.locator("label", has_text="Experts").locator("output")).to_have_text("12")
    expect(figure.locator(".moe-badge")).to_have_text("your own run")
