"""Rows L1, L2, L7 and L8 over the whole chapter on training: what holds for each of its figures and pages."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import Locator, Page, expect

from moedocs.cost import wording
from moedocs.lab.fingerprint import ROOT
from moedocs.site import figures, values
from moedocs.site.references import references
from tests.browser.acting import live_figure, rows
from tests.browser.conftest import Site, Visitor
from tests.browser.pages import FIGURES

Visit = Callable[..., Page]
CHAPTER = ["assignments", "balancing-losses", "capacity", "collapse", "debugging", "granularity"]
DRAWN = {name: path for name, path in FIGURES.items() if path.startswith("training/")}
VALUES = "async figure => (await figure.wake()).values()"

every_page = pytest.mark.parametrize("name", CHAPTER)
every_figure = pytest.mark.parametrize("name", DRAWN)


def test_the_chapter_is_these_pages() -> None:
    assert sorted(path.stem for path in (ROOT / "docs" / "training").glob("*.md")) == CHAPTER


@every_figure
def test_L1_a_figure_says_how_it_was_made_and_hands_over_the_data_that_it_draws(visit: Visit, name: str) -> None:
    figure = live_figure(visit(DRAWN[name]), name)
    figure.get_by_text("How this was made", exact=True).click()
    made = dict(
        zip(
            figure.locator(".moe-made dt").all_inner_texts(),
            figure.locator(".moe-made dd").all_inner_texts(),
            strict=True,
        )
    )
    assert made["Command"] == f"moedocs build {name}"
    assert (ROOT / made["Source"]).is_file()
    assert {"Settings as it opens", "Engine fingerprint", "Versions", "CPU time of this step"} <= made.keys()
    assert "torch" in made["Versions"]
    badge = figure.locator(".moe-badge").inner_text()
    assert ("Record" in made) == ("trained model" in badge) or name in ("capacity", "slack")  # simulate a trained load
    text = figure.page.request.get(str(figure.get_by_role("link", name="CSV").evaluate("link => link.href"))).text()
    assert len(list(csv.DictReader(io.StringIO(text)))) == len(rows(figure))
    spec = figure.page.request.get(str(figure.get_by_role("link", name="Spec").evaluate("link => link.href"))).json()
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")


@every_page
def test_L2_every_number_of_the_prose_is_what_is_computed_now(site: Site, name: str) -> None:
    page = BeautifulSoup((site.folder / "training" / name / "index.html").read_text("utf-8"), "html.parser")
    numbers = [one for one in page.select("article data.moe-value") if one.find_parent(class_="moe-claim") is None]
    source = (ROOT / "docs" / "training" / f"{name}.md").read_text("utf-8")
    asked = [one for one in references(source) if one.kind == "value"]
    assert asked
    expected = [
        wording.shown(
            values.look_up(one.names, figures.FOLDER, one.options.get("as")), int(one.options.get("digits", "3"))
        )
        for one in asked
    ]
    assert [one.text for one in numbers] == expected
    assert all(one["title"] for one in numbers)


def moved(figure: Locator) -> None:
    """The first slider or select at another of its values."""
    control = figure.locator(".moe-controls [data-param]").first
    if control.evaluate("input => input.tagName") == "SELECT":
        control.select_option(index=1 if control.evaluate("input => input.selectedIndex") == 0 else 0)
    else:
        control.press("Home" if control.input_value() == control.get_attribute("max") else "End")


@every_figure
def test_L7_a_figure_opens_from_its_address_as_it_was_left(visit: Visitor, name: str) -> None:
    page = visit(DRAWN[name])
    figure = live_figure(page, name)
    before: dict[str, Any] = figure.evaluate(VALUES)
    moved(figure)
    page.wait_for_function(f"location.search.includes('{name}.')")
    left: dict[str, Any] = figure.evaluate(VALUES)
    assert left != before
    again = visit(page.url.removeprefix(visit.site.address))
    assert live_figure(again, name).evaluate(VALUES) == left


@every_page
def test_L8_a_page_is_whole_without_scripts(visit: Visit, name: str) -> None:
    page = visit(f"training/{name}/", java_script_enabled=False)
    for figure in page.locator("moe-figure").all():
        expect(figure.locator(".moe-picture:visible > svg")).to_have_count(1)
        assert len(figure.locator("figcaption").inner_text()) > 100
        figure.get_by_text("Description", exact=True).click()
        assert len(figure.locator(".moe-description p").inner_text()) > 100
    assert page.locator(".katex-html").count() == 0 or page.locator(".moe-where dd").first.is_visible()
    for claim in page.locator("details:has(.moe-verdict)").all():
        claim.locator("summary").click()
        expect(claim.get_by_text("Run it again")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


@every_page
def test_L8_a_page_takes_nothing_from_another_host(visit: Visitor, name: str) -> None:
    page = visit(f"training/{name}/")
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    page.reload()
    for one in (figure for figure, path in DRAWN.items() if path == f"training/{name}/"):
        live_figure(page, one)
    assert asked
    host = page.evaluate("location.origin")
    assert [url for url in asked if not url.startswith((host, "data:", "blob:"))] == []


@every_page
def test_L8_with_reduced_motion_nothing_moves_by_itself(visit: Visit, name: str) -> None:
    page = visit(f"training/{name}/", reduced_motion="reduce")
    moving = page.evaluate("document.getAnimations().filter(one => one.playState === 'running').length")
    assert moving == 0
