"""When figures come to life: with the reader's first sign, or after a while for one who gives none."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.pages import FIGURES

Visit = Callable[..., Page]
NAME = next(iter(FIGURES))
LIVE = f"moe-figure#{NAME} .is-live .moe-chart svg.marks"
LOADED = "performance.getEntriesByType('resource').filter(({name}) => /chart-\\w+\\.js/.test(name)).length"


def test_no_chart_is_loaded_before_a_sign_of_the_reader_and_then_those_in_view(visit: Visit) -> None:
    page = visit(FIGURES[NAME], viewport={"width": 1280, "height": 4000})
    page.wait_for_load_state("networkidle")
    assert page.evaluate(LOADED) == 0
    page.mouse.move(5, 5)
    expect(page.locator(LIVE)).to_have_count(1)
    assert page.evaluate(LOADED) == 1


def test_a_reader_who_gives_no_sign_finds_what_is_in_view_alive_after_a_while(visit: Visit) -> None:
    page = visit(FIGURES[NAME], viewport={"width": 1280, "height": 4000})
    expect(page.locator(LIVE)).to_have_count(1)
