"""Row D6: what balance over a sequence, a micro-batch or a step does to specialisation, as a reader finds it."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

import pytest
from playwright.sync_api import Locator, Page, expect

from moedocs.lab import records
from tests.browser.acting import live_figure, marks
from tests.browser.conftest import PHONE
from tests.browser.pages import FIGURES

Visit = Callable[..., Page]
PAGE = FIGURES["balance-over"]
SCOPES = {"sequence": "sequence", "micro-batch": "micro-batch", "step": "global", "none": "none"}
READOUT = "async figure => (await figure.wake()).chart.readout()"


def told(text: str, measure: str, layer: int | None) -> str:
    """What the record says that the figure must read out: the mean of seeds, by what was balanced over."""
    arms = records.load("granularity").results["arms"]
    words = []
    for over, scope in SCOPES.items():
        last = [run["information"][measure][-1] for run in arms[f"{text}/{scope}"]]
        words += [over, f"{mean(mean(one) if layer is None else one[layer] for one in last):.3f}"]
    return "; ".join(words)


def choose(figure: Locator, param: str, value: str) -> None:
    figure.locator(f"[data-param={param}]").select_option(label=value)


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 900}, PHONE], ids=["desktop", "phone"])
def test_D6_a_reader_switches_text_byte_and_layer_and_sees_what_the_record_says(visit: Visit, viewport: object) -> None:
    figure = live_figure(visit(PAGE, viewport=viewport), "balance-over")
    heads = figure.locator('.is-live .moe-chart g[class*="readout"] text')
    for word in ("sequence", "micro-batch", "step", "none"):
        expect(heads.filter(has_text=word)).to_have_count(1)
    said = figure.locator(".moe-live")
    before = marks(figure)
    choose(figure, "text", "four kinds")
    expect(said).to_have_text(told("mixed", "corrected", None))
    choose(figure, "given", "the byte")
    expect(said).to_have_text(told("mixed", "given_byte", None))
    choose(figure, "layer", "4")
    expect(said).to_have_text(told("mixed", "given_byte", 3))
    choose(figure, "text", "one kind")
    choose(figure, "given", "nothing")
    expect(said).to_have_text(told("single", "corrected", 3))
    assert marks(figure) != before
    figure.get_by_role("button", name="Reset").click()
    expect(figure.locator("[data-param=layer]")).to_have_value('"mean"')
    assert marks(figure) == before


def test_D6_a_link_opens_the_figure_on_the_control_of_mixed_text(visit: Visit) -> None:
    figure = live_figure(visit(f"{PAGE}?balance-over.text=four+kinds"), "balance-over")
    assert figure.evaluate(READOUT) == told("mixed", "corrected", None)


def test_D6_with_scripts_off_the_caption_and_the_picture_tell_the_same(visit: Visit) -> None:
    figure = visit(PAGE, java_script_enabled=False).locator("moe-figure#balance-over")
    summary = records.load("granularity").results["summary"]
    caption = figure.locator("figcaption")
    picture = figure.locator('.moe-picture:visible > svg g[class*="readout"]')
    for scope in SCOPES.values():
        value = f"{summary[f'single/{scope}']['corrected']['mean']:.3f}"
        expect(caption).to_contain_text(value)
        assert value in "".join(picture.all_text_contents())


def test_the_guide_links_its_sick_routers_to_the_lab_that_shows_them(visit: Visit) -> None:
    """What a link asks of the lab is what the lab then stands at."""
    links = visit(FIGURES["health"]).locator('article a[href*="?collapse-lab."]')
    expect(links).to_have_count(3)
    for link in links.all():
        query = (link.get_attribute("href") or "").partition("?")[2]
        lab = live_figure(visit(f"{FIGURES['collapse-lab']}?{query}"), "collapse-lab")
        values = lab.evaluate("async figure => (await figure.wake()).values()")
        asked = dict(part.removeprefix("collapse-lab.").split("=") for part in query.split("&"))
        assert {key: str(values[key]) for key in asked} == asked


def test_a_symptom_leads_to_its_section_by_keyboard(visit: Visit) -> None:
    page = visit(FIGURES["health"])
    links = page.locator("article table").filter(has_text="what you see").locator("a")
    expect(links).to_have_count(7)
    for link in links.all():
        target = (link.get_attribute("href") or "").partition("#")[2]
        expect(page.locator(f"h3[id='{target}']")).to_have_count(1)
    links.first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#the-balancing-loss-stands-still")).to_be_in_viewport()
