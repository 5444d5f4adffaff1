"""Terms and symbols as readers meet them: by pointer, keyboard and touch, without scripts; and what symbols light."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from moedocs.lab.fingerprint import ROOT
from moedocs.site.symbols import symbols
from moedocs.site.terms import terms
from tests import copies
from tests.browser.acting import live_figure
from tests.browser.conftest import PHONE, Site, Visitor, visiting
from tests.browser.serving import serving

Visit = Callable[..., Page]
AXE = (ROOT / "node_modules/axe-core/axe.min.js").read_text("utf-8")
GLOSSARY = "reference/glossary/"

FIGURE = '''"""Load and probability."""

import altair as alt

from moedocs.charts import Chart, Size, colour
from moedocs.site.figure import Rows, Words

title = "Load beside probability"
badge = "formula"


def data() -> Rows:
    return [{"expert": expert, "share": 0.1 * expert, "even": 0.25} for expert in (1, 2, 3, 4)]


def words(rows: Rows) -> Words:
    return Words("The fourth expert has most.", "Four bars and a line.")


def chart(rows: Rows, size: Size) -> Chart:
    base = alt.Chart(alt.NamedData("table")).transform_calculate(high="datum.share * times")
    bars = base.mark_bar(color=colour("active")).encode(x="expert:O", y="high:Q").properties(name="part_load")
    dots = base.mark_line(color=colour("router")).encode(x="expert:O", y="even:Q").properties(name="part_probability")
    rule = base.mark_rule().encode(y="even:Q") + base.mark_text(text="said").properties(name="readout")
    times = alt.param(name="times", value=1, bind=alt.binding_range(min=1, max=3, step=1, name="Times"))
    return alt.layer(bars, dots, rule).add_params(times).properties(width=size.width - 80, height=120)
'''
PAGE = r"""# A page

Some experts {{ term drop: are dropped }} at a {{ term capacity-factor }} $\sym{factor}{c}$ below 1,
says the {{ term router }}.

$$
\sym{aux}{\mathcal{L}} = \sym{weight}{\alpha} \sum_i \sym{share}{f_i}\, \sym{probability}{\router{P_i}}
$$

{{ figure lit }}

Here $\sym{share}{f_2}$ is the share of the second.
"""
FADED = """(figure, where) => [...figure.querySelectorAll(`${where} g[class*="role-mark"]`)]
    .filter(group => getComputedStyle(group).opacity < 0.5).map(group => group.getAttribute('class'))"""
FOLLOW = "address => [...document.links].find(link => link.href === address).click()"
LIT = "() => [...document.querySelectorAll('.is-lit')].map(one => one.dataset.sym)"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of three pages with the glossary, and one figure whose parts have names."""
    glossary = "# Glossary\n\n$$\\sym{share}{f_i}$$\n\n{{ glossary }}\n"
    pages = {"index.md": PAGE, "reference/glossary.md": glossary, "training/capacity.md": "# Full experts\n"}
    root = copies.copied(tmp_path_factory.mktemp("terms") / "copy", (), pages)
    (root / "figures" / "lit.py").write_text(FIGURE)
    shutil.copytree(ROOT / "docs/stylesheets", root / "docs/stylesheets")
    with serving(root / "site") as address:
        settings = (root / "mkdocs.yml").read_text("utf-8").replace("http://127.0.0.1:8000/", address)
        (root / "mkdocs.yml").write_text(settings.replace("training/", "Full experts: training/"), "utf-8")
        status, said = copies.run(root, "mkdocs", "build")
        assert status == 0, said
        yield Site(root / "site", address)


@pytest.fixture
def visit_small(browser: Browser, small: Site) -> Iterator[Visitor]:
    with visiting(browser, small) as visitor:
        yield visitor


def tip(page: Page) -> Locator:
    """The tip that is open, if one is."""
    return page.locator(".moe-tip:popover-open")


def term(page: Page, name: str) -> Locator:
    """The first use of a term, come to life."""
    link = page.locator(f'a.moe-term[href$="#{name}"]').first
    link.scroll_into_view_if_needed()
    expect(link).to_have_attribute("aria-describedby", re.compile("moe-tip-"))
    return link


def sign(page: Page, name: str) -> Locator:
    """A symbol in the list below the formula, come to life."""
    page.locator(f".moe-where__sign[data-sym={name}]").evaluate("sign => sign.scrollIntoView({block: 'center'})")
    button = page.locator(f"button.moe-where__sign[data-sym={name}]")
    expect(button).to_have_count(1)
    return button


def in_formula(page: Page, name: str) -> Locator:
    sign(page, name)
    return page.locator(f".moe-formula .katex-html [data-sym={name}]").first


def faded(figure: Locator, where: str) -> list[str]:
    """Groups of marks that stand back, by the names of their layers."""
    found: list[str] = figure.evaluate(FADED, where)
    return found


def expect_inside(page: Page, box: Locator) -> None:
    """Nothing of it is outside of the window, and the page is as wide as before."""
    place = box.bounding_box()
    assert place
    viewport = page.viewport_size
    assert viewport
    assert place["x"] >= 0
    assert place["y"] >= 0
    assert place["x"] + place["width"] <= viewport["width"]
    assert place["y"] + place["height"] <= viewport["height"]
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]


def test_pointing_at_a_term_shows_what_it_means_and_the_tip_can_be_pointed_at(visit_small: Visit) -> None:
    page = visit_small("")
    link = term(page, "drop")
    link.hover()
    expect(tip(page)).to_contain_text(terms()["drop"].text)
    box = tip(page).bounding_box()
    assert box
    page.mouse.move(box["x"] + 30, box["y"] + box["height"] / 2, steps=8)
    page.wait_for_timeout(600)  # longer than it takes to close
    expect(tip(page)).to_contain_text(terms()["drop"].text)
    page.mouse.move(1, 1)
    expect(tip(page)).to_have_count(0)


def test_by_keyboard_a_term_shows_its_tip_and_leads_to_the_glossary(visit_small: Visit) -> None:
    page = visit_small("")
    link = term(page, "drop")
    link.evaluate("link => link.closest('p').insertAdjacentHTML('beforebegin', '<button id=before>before</button>')")
    page.locator("#before").focus()
    page.keyboard.press("Tab")
    expect(link).to_be_focused()
    expect(tip(page)).to_be_visible()
    expect(link).to_have_accessible_description(f"Dropped token. {terms()['drop'].text}")
    page.keyboard.press("Tab")  # into the tip
    expect(tip(page).get_by_role("link", name="Full experts")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"{GLOSSARY}#drop$"))
    expect(page.locator("#drop dd")).to_contain_text(terms()["drop"].text)


def test_escape_closes_a_tip_and_leaves_the_focus_where_it_is(visit_small: Visit) -> None:
    page = visit_small("")
    link = term(page, "drop")
    page.keyboard.press("Tab")  # from here on focus is seen
    link.focus()
    expect(tip(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip(page)).to_have_count(0)
    expect(link).to_be_focused()


@pytest.mark.parametrize("width", [360, 320])
def test_a_first_tap_shows_a_tip_inside_of_the_window_and_its_link_leads_on(visit_small: Visit, width: int) -> None:
    page = visit_small("", viewport={"width": width, "height": 740}, has_touch=True, is_mobile=True)
    link = term(page, "capacity-factor")
    link.tap()
    expect(tip(page)).to_contain_text(terms()["capacity-factor"].text)
    expect_inside(page, tip(page))
    assert GLOSSARY not in page.url
    expect(tip(page).get_by_role("link")).to_have_text(["Full experts", "In the glossary"])  # the page by its title
    tip(page).get_by_role("link", name="In the glossary").tap()
    expect(page).to_have_url(re.compile(f"{GLOSSARY}#capacity-factor$"))


def test_a_tap_elsewhere_closes_the_tip_and_a_second_one_on_the_term_follows_it(visit_small: Visit) -> None:
    page = visit_small("", viewport=PHONE, has_touch=True, is_mobile=True)
    link = term(page, "drop")
    link.tap()
    expect(tip(page)).to_be_visible()
    page.locator("h1").tap()
    expect(tip(page)).to_have_count(0)
    link.tap()
    expect(tip(page)).to_be_visible()
    link.tap()
    expect(page).to_have_url(re.compile(f"{GLOSSARY}#drop$"))


def test_without_scripts_terms_are_links_and_symbols_a_list(visit_small: Visit) -> None:
    page = visit_small("", java_script_enabled=False)
    expect(page.locator(".moe-where").first).to_contain_text(symbols()["weight"].words)
    expect(page.locator(".moe-where button, .moe-tip")).to_have_count(0)
    page.locator("a.moe-term").first.click()
    expect(page).to_have_url(re.compile(f"{GLOSSARY}#drop$"))


def test_on_paper_there_is_the_list_and_no_tip(visit_small: Visit) -> None:
    page = visit_small("")
    term(page, "drop").hover()
    expect(tip(page)).to_be_visible()
    page.emulate_media(media="print")
    expect(tip(page)).to_be_hidden()
    expect(page.locator(".moe-where").first).to_be_visible()


def test_pointing_at_a_symbol_says_what_it_is_and_lights_it_in_formulae_list_and_figure(visit_small: Visit) -> None:
    page = visit_small("", reduced_motion="reduce")
    figure = live_figure(page, "lit")
    in_formula(page, "share").hover()
    expect(tip(page)).to_contain_text("share of the choices that fell on expert")
    expect(tip(page).get_by_role("link", name="Load beside probability")).to_have_attribute("href", "#lit")
    assert page.evaluate(LIT) == ["share", "share", "share"]  # here, in the list, and in the last paragraph
    layers = faded(figure, ".is-live .moe-chart svg")
    assert layers
    assert not [one for one in layers if "part_load" in one]
    assert [one for one in layers if "part_probability" in one]
    assert not [one for one in layers if "readout" in one]  # what the figure says in words stays readable
    page.keyboard.press("Escape")
    expect(tip(page)).to_have_count(0)
    assert page.evaluate(LIT) == []
    assert faded(figure, "svg") == []


def test_a_symbol_of_the_list_lights_while_it_has_the_focus_and_stays_lit_when_pressed(visit_small: Visit) -> None:
    page = visit_small("", reduced_motion="reduce")
    figure = live_figure(page, "lit")
    chart = ".is-live .moe-chart svg"
    button = sign(page, "probability")
    assert button.get_attribute("tabindex") is None  # every button is reached by Tab
    button.focus()
    assert [one for one in faded(figure, chart) if "part_load" in one]
    button.blur()
    assert faded(figure, chart) == []
    button.focus()
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.locator("moe-symbols [role=status]").first).to_have_text("Lit in the figure Load beside probability")
    button.blur()
    assert not [one for one in faded(figure, chart) if "part_probability" in one]
    figure.locator("[data-param=times]").press("End")  # the chart is drawn anew
    expect(figure.locator(".is-live .moe-chart")).to_contain_text("1.0")
    assert [one for one in faded(figure, chart) if "part_load" in one]
    button.press(" ")
    expect(button).to_have_attribute("aria-pressed", "false")
    assert faded(figure, chart) == []


def test_a_symbol_lights_the_picture_that_stands_before_the_chart_does(visit_small: Visitor) -> None:
    page = visit_small.context(reduced_motion="reduce").new_page()
    page.route("**/figure*.js", lambda route: route.abort())
    page.goto(visit_small.site.address)
    sign(page, "share").focus()
    figure = page.locator("moe-figure#lit")
    assert figure.locator(".moe-chart").count() == 0
    layers = faded(figure, ".moe-picture > svg")
    assert [one for one in layers if "part_probability" in one]
    assert not [one for one in layers if "part_load" in one]
    visit_small.troubles.clear()  # the script that was kept away


def test_only_the_list_can_be_focused_and_its_buttons_are_told_with_their_words(visit_small: Visit) -> None:
    page = visit_small("")
    sign(page, "share")
    expect(page.get_by_role("button", name="share of the choices that fell on expert i")).to_have_count(1)
    expect(page.locator(".katex-html").locator("button, a, [tabindex]")).to_have_count(0)
    for box in (button.bounding_box() for button in page.locator("button.moe-where__sign").all()):
        assert box
        assert min(box["width"], box["height"]) >= 24


def test_a_tap_on_a_symbol_shows_what_it_is_and_a_second_one_closes_it(visit_small: Visit) -> None:
    page = visit_small("", viewport=PHONE, has_touch=True, is_mobile=True)
    symbol = in_formula(page, "share")
    symbol.tap()
    expect(tip(page)).to_contain_text("share of the choices")
    expect_inside(page, tip(page))
    symbol.tap()
    expect(tip(page)).to_have_count(0)


def test_with_reduced_motion_parts_change_at_once(visit_small: Visit) -> None:
    durations = {}
    for motion in ("reduce", "no-preference"):
        figure = live_figure(visit_small("", reduced_motion=motion), "lit")
        group = figure.locator('.is-live .moe-chart g[class*="part_load_"]').first
        durations[motion] = group.evaluate("group => parseFloat(getComputedStyle(group).transitionDuration)")
    assert durations["reduce"] < 0.001 < durations["no-preference"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_an_open_tip_or_a_lit_page(visit_small: Visit, scheme: str) -> None:
    page = visit_small("", color_scheme=scheme, reduced_motion="reduce")
    live_figure(page, "lit")
    for show in (term(page, "capacity-factor"), in_formula(page, "share")):
        show.hover()
        expect(tip(page)).to_be_visible()
        assert violations(page) == []
    sign(page, "share").click()
    assert violations(page) == []


def violations(page: Page) -> list[str]:
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


def test_going_on_and_back_without_a_reload_leaves_nothing_lit_and_all_alive(visit_small: Visitor) -> None:
    page = visit_small("")
    sign(page, "share").click()
    assert set(page.evaluate(LIT)) == {"share"}
    page.evaluate("window.same = true")
    page.evaluate(FOLLOW, visit_small.site.address + GLOSSARY)
    expect(page.locator("h1")).to_contain_text("Glossary")
    sign(page, "share")
    assert page.evaluate(LIT) == []
    page.go_back()
    expect(page.locator("h1")).to_contain_text("A page")
    term(page, "drop").hover()
    expect(tip(page)).to_contain_text(terms()["drop"].text)
    sign(page, "probability").click()
    assert set(page.evaluate(LIT)) == {"probability"}
    assert page.evaluate("window.same")


def test_a_page_of_the_chapter_lights_its_figure_and_the_glossary_leads_to_its_terms(visit: Visit) -> None:
    page = visit("training/balancing-losses/", reduced_motion="reduce")
    sign(page, "share").click()
    assert set(page.evaluate(LIT)) == {"share"}
    layers = faded(live_figure(page, "auxiliary-loss"), ".is-live .moe-chart svg")
    assert [one for one in layers if "part_probability" in one]
    assert not [one for one in layers if "part_load" in one]
    page = visit(GLOSSARY)
    link = term(page, "auxiliary-loss")
    link.hover()
    expect(tip(page)).to_contain_text(terms()["auxiliary-loss"].text)
    link.click()
    expect(page.locator("#auxiliary-loss")).to_be_in_viewport()
