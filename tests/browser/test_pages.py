"""Whole pages: found by everyone, at every width, in both palettes, from one origin, with nothing in the console."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from moedocs.lab.fingerprint import ROOT
from tests.browser.acting import live_cell, live_figure, marks, run
from tests.browser.conftest import Site, Visitor
from tests.browser.pages import CELLS, FIGURES, PAGES

Visit = Callable[..., Page]
AXE = (ROOT / "node_modules/axe-core/axe.min.js").read_text("utf-8")

every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path or "home")


def wake_all(page: Page) -> None:
    """Bring every figure of the page to life."""
    for name in page.locator("moe-figure").evaluate_all("figures => figures.map(figure => figure.id)"):
        live_figure(page, name)


@every_page
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(visit: Visit, path: str, scheme: str) -> None:
    page = visit(path, color_scheme=scheme)
    wake_all(page)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
    told = [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]
    assert not told, "\n".join(told)


def test_a_formula_looks_the_same_to_who_comes_from_a_page_without_one(visit: Visit) -> None:
    """The style of formulae is sent to pages that have some; instant navigation brings it along."""
    look = "() => { const {font, color} = getComputedStyle(document.querySelector('.katex')); return [font, color]; }"
    direct = visit("cost/parameters/").evaluate(look)
    page = visit("reference/routing/")
    assert "katex" not in str(page.evaluate("[...document.styleSheets].map(sheet => sheet.href)"))
    page.evaluate("window.same = true")
    page.locator(".md-tabs").get_by_role("link", name="Why sparse?").click()
    page.locator(".katex").first.wait_for()
    page.locator("head link[href*='katex.min.css']").wait_for(state="attached")
    page.wait_for_load_state("networkidle")
    assert page.evaluate(look) == direct
    assert page.evaluate("window.same")


@every_page
@pytest.mark.parametrize("width", [360, 320])
def test_a_phone_never_scrolls_sideways(visit: Visit, path: str, width: int) -> None:
    page = visit(path, viewport={"width": width, "height": 740})
    wake_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@every_page
def test_what_is_pressed_is_large_enough(visit: Visit, path: str) -> None:
    page = visit(path, viewport={"width": 360, "height": 740})
    wake_all(page)
    small = page.evaluate(
        """() => [...document.querySelectorAll(
            ':is(moe-figure, moe-cell) :is(button, input, select, summary, .moe-actions a)')]
            .map(part => [part.outerHTML.slice(0, 90), part.getBoundingClientRect()])
            .filter(([, box]) => box.width && (box.height < 24 || box.width < 24))
            .map(([html, box]) => `${html} ${box.width} x ${box.height}`)"""
    )
    assert small == []


FOLLOW = "address => [...document.links].find(link => link.href === address).click()"


def test_going_on_and_back_without_a_reload_leaves_everything_working(visit: Visitor) -> None:
    home, other = CELLS["capacity"], FIGURES["collapse-lab"]
    page = visit(home)
    page.evaluate("window.neverReloaded = true")
    run(live_cell(page), "left = 1")
    page.evaluate(FOLLOW, visit.site.address + other)
    live_figure(page, "collapse-lab")
    page.evaluate(FOLLOW, visit.site.address + home)
    works_at(page, "capacity")
    page.go_back()
    live_figure(page, "collapse-lab")
    page.go_forward()
    works_at(page, "capacity")
    assert "NameError" in run(live_cell(page), "left", state="error")  # another visit, another Python
    assert page.evaluate("window.neverReloaded")


def works_at(page: Page, name: str) -> None:
    """The figure is live and its controls still lead to its chart."""
    figure = live_figure(page, name)
    before = marks(figure)
    slider = figure.locator(".moe-controls input[type=range]").first
    slider.press("End" if slider.input_value() != slider.get_attribute("max") else "Home")  # it stands as it was left
    assert marks(figure) != before


def test_a_text_page_loads_no_chart_library(visit: Visit) -> None:
    page = visit("")
    page.wait_for_load_state("networkidle")
    loaded = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    if not page.locator("moe-figure").count():
        assert not [name for name in loaded if "/chunks/" in name]


def test_search_finds_what_a_figure_says_and_not_its_inner_workings(site: Site) -> None:
    index = json.loads((site.folder / "search" / "search_index.json").read_text("utf-8"))
    text = " ".join(part["text"] for part in index["docs"] if part["location"].startswith("training/capacity/"))
    assert "A bar for each of 8 experts" in text  # the description
    assert "in this draw" in text  # the caption
    for inner in ("Capacity factor1.0", "12345678expert", "Spec (Vega-Lite)", "Engine fingerprint", "expected dropped"):
        assert inner not in text
