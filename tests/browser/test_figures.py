"""Figures in a real browser: a picture first, then a live chart in its very place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acting import live_figure, marks
from tests.browser.conftest import PHONE, Visitor
from tests.browser.pages import FIGURES

Visit = Callable[..., Page]
BOX = """figure => { const box = [...figure.querySelectorAll('.moe-picture')].find(p => p.getClientRects().length)
    .getBoundingClientRect(); return [box.left + scrollX, box.top + scrollY, box.width, box.height] }"""
SHIFTS = """() => new Promise(tell => new PerformanceObserver(list => tell(
    list.getEntries()
        .filter(shift => shift.sources.some(source => !source.node?.closest?.('.md-header'))) // the theme's own start
        .map(shift => [shift.value, ...shift.sources.map(source => source.node?.className ?? '')])
)).observe({type: 'layout-shift', buffered: true}) || setTimeout(() => tell([]), 500))"""

WHITE = "rgb(255, 255, 255)"

every_figure = pytest.mark.parametrize("name", FIGURES)


@every_figure
@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 900}, PHONE], ids=["desktop", "phone"])
def test_with_scripts_off_a_figure_is_a_picture_with_words_and_data(visit: Visit, name: str, viewport: object) -> None:
    page = visit(FIGURES[name], java_script_enabled=False, viewport=viewport)
    figure = page.locator(f"moe-figure#{name}")
    expect(figure.locator(".moe-picture:visible")).to_have_count(1)
    expect(figure.locator(".moe-picture:visible > svg")).to_be_visible()
    expect(figure.locator("figcaption")).to_be_visible()
    for step in figure.locator(".moe-steps li").all():
        expect(step).to_be_visible()
    expect(figure.locator("button:visible, input:visible, select:visible")).to_have_count(0)
    figure.get_by_text("Description").click()
    expect(figure.locator(".moe-description p")).to_be_visible()


@every_figure
@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 900}, PHONE], ids=["desktop", "phone"])
def test_the_live_chart_takes_exactly_the_place_of_the_picture(visit: Visit, name: str, viewport: object) -> None:
    page = visit(FIGURES[name], viewport=viewport)
    still = visit(FIGURES[name], viewport=viewport, java_script_enabled=False)
    figure = live_figure(page, name)
    before = still.locator(f"moe-figure#{name} .moe-picture:visible").bounding_box()
    after = figure.evaluate(BOX)
    assert before
    assert after[2:] == pytest.approx([before["width"], before["height"]], abs=0.5)
    chart = figure.locator(".is-live .moe-chart svg.marks").bounding_box()
    assert chart
    assert [chart["width"], chart["height"]] == pytest.approx(after[2:], abs=0.5)


@every_figure
def test_the_live_chart_says_what_the_picture_says(visit: Visit, name: str) -> None:
    figure = live_figure(visit(FIGURES[name]), name)
    texts = "(figure, svg) => [...figure.querySelectorAll(`.is-live ${svg} text`)].map(t => t.textContent).sort()"
    live, still = (
        figure.evaluate(f"figure => ({texts})(figure, '{svg}')") for svg in (".moe-chart svg.marks", "> svg")
    )
    assert live == still


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_moves_while_charts_come_to_life(visit: Visit, name: str) -> None:
    page = visit(FIGURES[name])
    live_figure(page, name)
    page.wait_for_timeout(300)
    assert page.evaluate(SHIFTS) == []


def test_moving_a_slider_changes_the_marks_and_is_announced(visit: Visit) -> None:
    figure = live_figure(visit(FIGURES["capacity"]), "capacity")
    before = marks(figure)
    slider = figure.locator("[data-param=num_experts]")
    slider.focus()
    slider.press("ArrowRight")
    expect(figure.locator("label", has_text="Experts").locator("output")).to_have_text("16")
    page_says = figure.locator(".moe-live")
    expect(page_says).to_contain_text("ropped")
    assert marks(figure) != before
    assert page_says.inner_text() == figure.evaluate("async figure => (await figure.wake()).chart.readout()")


def test_every_control_changes_what_is_drawn(visit: Visit) -> None:
    for name in ("capacity", "cost", "savings"):
        figure = live_figure(visit(FIGURES[name]), name)
        for slider in figure.locator(".moe-controls input[type=range]").all():
            before = marks(figure)
            slider.press("End" if slider.input_value() != slider.get_attribute("max") else "Home")
            assert marks(figure) != before, f"{name}: {slider.get_attribute('data-param')}"


def test_a_model_beside_another_is_drawn_and_announced(visit: Visit) -> None:
    figure = live_figure(visit(FIGURES["cost-of-a-model"]), "cost-of-a-model")
    before = marks(figure)
    figure.locator("[data-param=model]").select_option(label="DeepSeek-V3")
    figure.locator("[data-param=beside]").select_option(label="dense twin, equal active")
    said = figure.locator(".moe-live")
    expect(said).to_contain_text("DeepSeek-V3: 671 billion stored")
    expect(said).to_contain_text("dense twin, equal active: 37.4 billion stored")
    assert marks(figure) != before


@pytest.mark.parametrize("state", ["memory=0.1", "bandwidth=0.01&roofline.peak=1000000&roofline.memory=1000000"])
def test_a_curve_without_room_or_crossing_is_drawn_without_a_warning(visit: Visit, state: str) -> None:
    figure = live_figure(visit(f"{FIGURES['roofline']}?roofline.{state}"), "roofline")
    figure.locator("[data-param=batch]").press("End")
    expect(figure.locator(".moe-live")).to_contain_text("tokens/s")


def test_reset_brings_the_figure_back(visit: Visit) -> None:
    figure = live_figure(visit(FIGURES["capacity"]), "capacity")
    before = marks(figure)
    figure.locator("[data-param=num_tokens]").press("End")
    assert marks(figure) != before
    figure.get_by_role("button", name="Reset").click()
    expect(figure.locator("[data-param=num_tokens]")).to_have_value("0")
    assert marks(figure) == before


def test_the_player_steps_by_button_and_by_key(visit: Visit) -> None:
    figure = live_figure(visit(FIGURES["one-token"]), "one-token")
    current = figure.locator(".moe-steps .is-current")
    last = figure.locator(".moe-steps li").count() - 1
    figure.locator(".moe-player input").press("Home")
    expect(current).to_have_attribute("data-step", "0")
    drawn = [marks(figure)]
    figure.get_by_role("button", name="Next").click()
    expect(current).to_have_attribute("data-step", "1")
    drawn.append(marks(figure))
    figure.get_by_role("button", name="Next").press("ArrowRight")
    expect(current).to_have_attribute("data-step", "2")
    drawn.append(marks(figure))
    assert len(set(drawn)) == 3
    figure.locator(".moe-player input").press("End")
    expect(current).to_have_attribute("data-step", str(last))
    expect(figure.locator(".moe-live")).to_contain_text(f"Step {last + 1} of {last + 1}")
    figure.get_by_role("button", name="Back").press("Home")
    expect(current).to_have_attribute("data-step", "0")
    assert marks(figure) == drawn[0]


def test_play_reaches_the_last_step_and_pauses(visit: Visitor) -> None:
    page = visit.context(reduced_motion="reduce").new_page()
    page.clock.install()
    page.goto(visit.site.address + FIGURES["one-token"])
    figure = live_figure(page, "one-token")
    figure.get_by_role("button", name="Play").click()
    expect(figure.get_by_role("button", name="Pause")).to_be_visible()
    expect(figure.locator(".is-current")).to_have_attribute("data-step", "0")  # it opened at the last one
    page.clock.fast_forward(4_000)
    expect(figure.locator(".is-current")).to_have_attribute("data-step", "1")
    for _ in range(figure.locator(".moe-steps li").count()):
        page.clock.fast_forward(4_000)
    expect(figure.get_by_role("button", name="Play")).to_be_visible()
    expect(figure.get_by_role("button", name="Next")).to_have_attribute("aria-disabled", "true")


def test_a_palette_is_followed_without_drawing_again(visit: Visit) -> None:
    page = visit(FIGURES["capacity"], color_scheme="light")
    figure = live_figure(page, "capacity")
    fill = "figure => getComputedStyle(figure.querySelector('.moe-chart [fill*=\"--moe-active\"]')).fill"
    figure.evaluate("figure => { figure.querySelector('.moe-chart svg.marks').drawnOnce = true }")
    light = figure.evaluate(fill)
    page.locator("label.md-header__button[for=__palette_1]").click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    assert figure.evaluate(fill) != light
    assert figure.evaluate("figure => figure.querySelector('.moe-chart svg.marks').drawnOnce")


def test_a_figure_that_becomes_narrow_is_drawn_for_a_phone(visit: Visit) -> None:
    page = visit(FIGURES["capacity"])
    figure = live_figure(page, "capacity")
    figure.locator("[data-param=num_experts]").press("End")
    page.set_viewport_size(PHONE)
    expect(figure.locator("[data-size=narrow].is-live")).to_be_visible()
    expect(figure.locator("[data-size=wide].is-live")).to_have_count(0)
    expect(figure.locator(".moe-chart").get_by_text("16", exact=True).first).to_be_visible()  # what was set stays set
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(figure.locator("[data-size=wide].is-live")).to_be_visible()


def test_a_chart_that_cannot_be_drawn_leaves_the_picture_and_a_line(visit: Visitor) -> None:
    page = visit.context().new_page()
    page.route("**/capacity/wide.vg.json", lambda route: route.fulfill(body='{"marks": [{"type": "rect"'))
    page.goto(visit.site.address + FIGURES["capacity"])
    figure = page.locator("moe-figure#capacity")
    expect(figure.locator(".moe-problem")).to_contain_text("could not be drawn")
    expect(figure.locator(".moe-picture > svg:visible")).to_have_count(1)
    expect(figure.locator("[data-param=num_experts]")).to_be_disabled()
    assert [trouble for trouble in visit.troubles if "SyntaxError" in trouble] == visit.troubles != []
    visit.troubles.clear()


def test_steps_unfold_when_the_script_does_not_come(visit: Visitor) -> None:
    page = visit.context().new_page()
    page.route("**/moedocs.js", lambda route: route.abort())
    page.goto(visit.site.address + FIGURES["one-token"])
    steps = page.locator("moe-figure#one-token .moe-steps li")
    for step in steps.all():
        expect(step).to_be_visible()
    tops = [box["y"] for step in steps.all() if (box := step.bounding_box())]
    assert tops == sorted(set(tops))
    visit.troubles.clear()  # the browser tells of the missing script


@every_figure
def test_on_paper_there_is_the_picture_and_nothing_to_press(visit: Visit, name: str) -> None:
    page = visit(FIGURES[name])
    page.emulate_media(media="print", color_scheme="dark")
    figure = page.locator(f"moe-figure#{name}")
    expect(figure.locator(".moe-picture:visible")).to_have_count(1)
    expect(figure.locator("button:visible, input:visible, select:visible")).to_have_count(0)
    assert figure.evaluate("figure => getComputedStyle(figure.querySelector('figure')).backgroundColor") == WHITE
