"""What figures stand at is in the address: kept, shared, followed back and forth, and never trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from moedocs.site import figures, frames
from tests import copies
from tests.browser.acting import live_figure, marks
from tests.browser.conftest import PHONE, WIDE, Visitor
from tests.browser.pages import FIGURES

Visit = Callable[..., Page]
CAPACITY, TOKEN, BALANCE = (FIGURES[name] for name in ("capacity", "one-token", "collapse-lab"))
VALUES = "async figure => (await figure.wake()).values()"
IN_VIEW = """figure => { const {top, bottom} = figure.getBoundingClientRect();
    return top >= 0 && top < innerHeight / 2 && bottom > 0 }"""
FOLLOW = "words => [...document.links].find(link => link.getAttribute('href').endsWith(words)).click()"
ADD_LINK = """address => document.querySelector('article').append(
    Object.assign(document.createElement('a'), {href: address, textContent: 'there'}))"""
LISTEN = """() => { window.heard = []; document.addEventListener('moe-change', ({target, detail}) => {
    window.heard.push([target.id, detail.values, detail.own]) }) }"""


def state(page: Page) -> dict[str, str]:
    """The query of the address in which the page now is."""
    return dict(parse_qsl(urlsplit(page.url).query, keep_blank_values=True))


def comes_to(page: Page, expected: dict[str, str]) -> None:
    """The address comes to hold this query and nothing else; it is written a moment after a change."""
    page.wait_for_function(
        "query => JSON.stringify([...new URLSearchParams(location.search)].sort()) === JSON.stringify(query)",
        arg=sorted([name, text] for name, text in expected.items()),
    )


def slide(figure: Locator, param: str, key: str) -> None:
    figure.locator(f".moe-controls [data-param={param}]").press(key)


def laid_out(figure: Locator) -> list[str]:
    """The marks, once room has been made afresh for what the axes say: a chart that only changed keeps the old room,
    and new marks come after the old ones."""
    figure.evaluate("async figure => (await figure.wake()).chart.view.resize().runAsync().then(() => null)")
    return sorted(marks(figure).split(";"))


def values(figure: Locator) -> dict[str, Any]:
    found: dict[str, Any] = figure.evaluate(VALUES)
    return found


def test_only_what_differs_from_the_opening_is_in_the_address_and_reset_takes_it_out(visit: Visit) -> None:
    page = visit(CAPACITY)
    figure = live_figure(page, "capacity")
    assert state(page) == {}
    slide(figure, "num_experts", "End")
    comes_to(page, {"capacity.num_experts": "16"})
    slide(figure, "skew", "ArrowRight")
    comes_to(page, {"capacity.num_experts": "16", "capacity.skew": "0.5"})
    slide(figure, "num_experts", "ArrowLeft")
    comes_to(page, {"capacity.skew": "0.5"})
    figure.get_by_role("button", name="Reset").click()
    comes_to(page, {})
    assert "?" not in page.url


@pytest.mark.parametrize(
    ("name", "viewport"),
    [*((name, WIDE) for name in FIGURES), ("capacity", PHONE), ("one-token", PHONE)],
    ids=lambda value: value if isinstance(value, str) else f"{value['width']}",
)
def test_a_reload_and_a_fresh_tab_open_every_figure_as_it_was_left(visit: Visitor, name: str, viewport: object) -> None:
    page = visit(FIGURES[name], viewport=viewport)
    figure = live_figure(page, name)
    opened = values(figure)
    move_everything(figure)
    left, drawn = values(figure), laid_out(figure)
    differing = {key: value for key, value in left.items() if value != opened[key]}
    assert len(differing) == len(left)
    comes_to(page, {f"{name}.{key}": as_text(value) for key, value in differing.items()})
    page.reload()
    again = live_figure(page, name)
    assert (values(again), laid_out(again)) == (left, drawn)
    tab = visit.context(viewport=viewport).new_page()
    tab.goto(page.url)
    again = live_figure(tab, name)
    assert (values(again), laid_out(again)) == (left, drawn)


def move_everything(figure: Locator) -> None:
    """Bring every control and the player to something else than they open with."""
    for slider in figure.locator(".moe-controls input[type=range]").all():
        slider.press("End" if slider.input_value() != slider.get_attribute("max") else "Home")
    for choice in figure.locator(".moe-controls select[data-param]").all():
        last = choice.locator("option").count() - 1
        choice.select_option(index=last if choice.evaluate("select => select.selectedIndex") != last else 0)
    for number in figure.locator(".moe-controls input[type=number]").all():
        number.fill(f"{2 * float(number.input_value()):g}")
    for box in figure.locator(".moe-controls input[type=checkbox]").all():
        box.set_checked(not box.is_checked())
    if figure.locator(".moe-player").count():
        figure.locator(".moe-player input").press("Home")
        figure.get_by_role("button", name="Next").click()


def as_text(value: object) -> str:
    """A value as JavaScript writes it."""
    return json.dumps(value) if isinstance(value, bool) else str(value)


def test_back_and_forward_within_a_page_bring_the_figure_along(visit: Visit) -> None:
    page = visit(CAPACITY)
    figure = live_figure(page, "capacity")
    slide(figure, "num_experts", "End")
    slide(figure, "num_tokens", "End")  # still to be written when the link is followed
    before = (values(figure), laid_out(figure))
    page.evaluate(FOLLOW, page.evaluate("`#${document.querySelector('article h2[id]').id}`"))
    page.wait_for_function("() => location.hash !== ''")
    figure.get_by_role("button", name="Reset").click()
    comes_to(page, {})
    page.go_back()
    comes_to(page, {"capacity.num_experts": "16", "capacity.num_tokens": "1024"})
    expect(figure.locator("label", has_text="Experts").locator("output")).to_have_text("16")
    assert (values(figure), laid_out(figure)) == before
    page.go_forward()
    comes_to(page, {})
    expect(figure.locator("label", has_text="Experts").locator("output")).to_have_text("8")


def test_a_page_left_for_another_and_come_back_to_has_its_figures_as_they_were(visit: Visitor) -> None:
    page = visit(CAPACITY)
    page.evaluate("window.neverReloaded = true")
    figure = live_figure(page, "capacity")
    slide(figure, "num_experts", "End")
    slide(figure, "top_k", "End")
    left = (values(figure), laid_out(figure))
    here = "address => [...document.links].find(link => link.href === address).click()"
    page.evaluate(here, visit.site.address + BALANCE)
    slide(live_figure(page, "collapse-lab"), "seed", "Home")
    comes_to(page, {"collapse-lab.seed": "0"})
    page.go_back()
    figure = live_figure(page, "capacity")
    comes_to(page, {"capacity.num_experts": "16", "capacity.top_k": "4"})
    assert (values(figure), laid_out(figure)) == left
    page.go_forward()
    assert values(live_figure(page, "collapse-lab"))["seed"] == 0
    assert page.evaluate("window.neverReloaded")


def test_what_else_is_in_the_query_stays_as_it_was_written(visit: Visit) -> None:
    page = visit(f"{CAPACITY}?a&capacity.num_experts=16&b=%20x")
    figure = live_figure(page, "capacity")
    place = page.evaluate("document.querySelector('article h2[id]').id")
    page.evaluate(FOLLOW, f"#{place}")
    page.wait_for_function("() => location.hash !== ''")
    assert urlsplit(page.url)[3:] == ("a&capacity.num_experts=16&b=%20x", place)
    slide(figure, "num_experts", "Home")
    comes_to(page, {"a": "", "b": " x", "capacity.num_experts": "4"})
    assert urlsplit(page.url)[3:] == ("a&capacity.num_experts=4&b=%20x", place)
    figure.get_by_role("button", name="Reset").click()
    comes_to(page, {"a": "", "b": " x"})
    assert urlsplit(page.url)[3:] == ("a&b=%20x", place)


@pytest.mark.parametrize(
    "query",
    [
        "num_experts=5",  # lies between what is offered
        "num_experts=",
        "num_experts=NaN&capacity.skew=%E0%A4%A",
        "num_experts=1e999&capacity.capacity_factor=-1",
        "num_experts=constructor&capacity.__proto__=8&capacity.nothing=16",
        "num_experts=<img src=x onerror=alert(1)>",
    ],
)
def test_what_no_control_offers_is_ignored(visit: Visit, query: str) -> None:
    page = visit(f"{CAPACITY}?capacity.{query}")
    figure = live_figure(page, "capacity")
    plain = live_figure(visit(CAPACITY), "capacity")
    assert values(figure) == values(plain)
    assert marks(figure) == marks(plain)
    assert page.evaluate("scrollY") == plain.page.evaluate("scrollY")


def test_a_good_value_beside_a_bad_one_is_taken_and_a_step_outside_is_not(visit: Visit) -> None:
    figure = live_figure(visit(f"{TOKEN}?one-token.step=99&one-token.top_k=1&one-token.token=x"), "one-token")
    found = values(figure)
    assert (found["step"], found["top_k"], found["token"]) == (7, 1, 1)


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 500}, PHONE], ids=["desktop", "phone"])
def test_a_figure_below_the_fold_wakes_and_comes_into_view_unless_the_address_names_a_place(
    visit: Visit, viewport: object
) -> None:
    page = visit(f"{BALANCE}?collapse-lab.seed=1", viewport=viewport)
    figure = page.locator("moe-figure#collapse-lab")
    expect(figure.locator(".is-live .moe-chart svg.marks")).to_have_count(1)
    page.wait_for_function(f"() => ({IN_VIEW})(document.querySelector('#collapse-lab'))")
    header = page.locator("header.md-header").bounding_box()
    box = figure.bounding_box()
    assert header
    assert box
    assert box["y"] >= header["height"]
    last = page.locator("article h2[id]").last.get_attribute("id")
    page = visit(f"{BALANCE}?collapse-lab.seed=1#{last}", viewport=viewport)
    figure = page.locator("moe-figure#collapse-lab")
    expect(figure.locator(".is-live .moe-chart svg.marks")).to_have_count(1)
    page.wait_for_timeout(300)
    assert not figure.evaluate(IN_VIEW)
    assert page.evaluate("name => document.getElementById(name).getBoundingClientRect().top < innerHeight", last)


def test_a_reload_leaves_the_page_where_it_was(visit: Visit) -> None:
    page = visit(f"{BALANCE}?collapse-lab.seed=1", viewport={"width": 1280, "height": 500})
    page.wait_for_function("() => scrollY > 0")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(600)
    page.reload()
    expect(page.locator("#collapse-lab .is-live .moe-chart svg.marks")).to_have_count(1)
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") == 0


def test_a_link_from_another_page_leads_to_the_figure_and_going_back_to_where_one_was(visit: Visitor) -> None:
    page = visit(CAPACITY, viewport={"width": 1280, "height": 500})
    page.evaluate("window.neverReloaded = true")
    slide(live_figure(page, "capacity"), "num_experts", "End")
    comes_to(page, {"capacity.num_experts": "16"})
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(400)
    page.evaluate(ADD_LINK, f"{visit.site.address}{BALANCE}?collapse-lab.seed=2")
    page.evaluate(FOLLOW, "?collapse-lab.seed=2")
    page.wait_for_function(
        f"() => document.querySelector('#collapse-lab') && ({IN_VIEW})(document.querySelector('#collapse-lab'))"
    )
    assert values(page.locator("#collapse-lab"))["seed"] == 2
    page.go_back()
    figure = page.locator("moe-figure#capacity")
    expect(figure.locator(".is-live .moe-chart svg.marks")).to_have_count(1)
    page.wait_for_timeout(300)
    assert values(figure)["num_experts"] == 16
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("window.neverReloaded")


def test_with_scripts_off_an_address_with_a_state_shows_the_page_as_it_opens(visit: Visit) -> None:
    page = visit(f"{CAPACITY}?capacity.num_experts=16", java_script_enabled=False)
    figure = page.locator("moe-figure#capacity")
    expect(figure.locator(".moe-picture:visible > svg")).to_be_visible()
    expect(figure.get_by_text("Copy link")).to_be_hidden()


def test_the_copied_link_leads_a_fresh_tab_to_the_figure_as_it_is(visit: Visitor) -> None:
    context = visit.context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{visit.site.address}{CAPACITY}?other=1")
    figure = live_figure(page, "capacity")
    slide(figure, "num_experts", "End")
    slide(figure, "num_tokens", "End")
    figure.get_by_role("button", name="Copy link").click()
    expect(figure.get_by_role("button", name="Link copied")).to_be_visible()
    expect(figure.locator(".moe-live")).to_have_text("Link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.split("?")[0] == visit.site.address + CAPACITY
    assert link.endswith("?other=1&capacity.num_experts=16&capacity.num_tokens=1024#capacity")
    expect(figure.get_by_role("button", name="Copy link")).to_be_visible()
    tab = visit.context().new_page()
    tab.goto(link)
    again = live_figure(tab, "capacity")
    assert again.evaluate(IN_VIEW)
    assert (values(again), laid_out(again)) == (values(figure), laid_out(figure))


def test_where_the_clipboard_is_closed_the_address_bar_is_named(visit: Visit) -> None:
    page = visit(CAPACITY)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new DOMException()) }")
    figure = live_figure(page, "capacity")
    figure.get_by_role("button", name="Copy link").click()
    expect(figure.get_by_role("button", name="Copy it from the address bar")).to_be_visible()
    expect(figure.locator(".moe-live")).to_have_text("Copy it from the address bar")


AIDS = (
    'badge = "formula"\nlimits = {"speed": (0.5, 9000, "any")}\n'
    'presets = {"Way": {"foot": {"speed": 1.5, "which": "b"}, "air": {"speed": 250}, "wing": {"speed": 250}}}'
)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a figure that takes a number and has a preset."""
    source = copies.NUMBERED.replace('badge = "formula"', AIDS)
    root = copies.small_root(tmp_path_factory.mktemp("numbered"), numbered=source)
    assert figures.build("numbered", root / "figures" / "numbered.py", root / "made", root) is None
    return root / "made" / "numbered"


@pytest.fixture
def two(visit: Visitor, numbered: Path) -> Callable[[str], Page]:
    """The page of one figure with a second one before it."""
    frame = frames.figure("numbered", numbered, "../../assets/figures/numbered/", "https://example.org/")

    def with_both(route: Route) -> None:
        answer = route.fetch()
        place = '<moe-figure id="capacity"'
        assert place in answer.text()
        route.fulfill(response=answer, body=answer.text().replace(place, frame + place, 1))

    def opened(query: str) -> Page:
        page = visit.context().new_page()
        page.route(lambda url: urlsplit(url).path.endswith(f"/{CAPACITY}"), with_both)
        page.route(
            "**/figures/numbered/*",
            lambda route: route.fulfill(path=numbered / urlsplit(route.request.url).path.split("/")[-1]),
        )
        page.goto(f"{visit.site.address}{CAPACITY}{query}")
        return page

    return opened


def test_two_figures_of_a_page_keep_their_states_apart(two: Callable[[str], Page]) -> None:
    page = two("")
    first, second = live_figure(page, "numbered"), live_figure(page, "capacity")
    slide(second, "num_experts", "End")
    first.locator("[data-param=which]").select_option("b")
    first.locator("[data-param=speed]").fill("40.25")
    expected = {"capacity.num_experts": "16", "numbered.which": "b", "numbered.speed": "40.25"}
    comes_to(page, expected)
    page = two(f"?{urlsplit(page.url).query}")
    first, second = live_figure(page, "numbered"), live_figure(page, "capacity")
    assert values(first) == {"speed": 40.25, "which": "b"}
    assert values(second)["num_experts"] == 16
    first.get_by_role("button", name="Reset").click()
    comes_to(page, {"capacity.num_experts": "16"})


@pytest.mark.parametrize("text", ["0.4", "9001", "", "-1", "12e"])
def test_a_number_outside_the_limits_is_marked_and_not_passed_on(two: Callable[[str], Page], text: str) -> None:
    page = two("?numbered.speed=0.49")
    figure = live_figure(page, "numbered")
    assert values(figure)["speed"] == 2.5
    before, speed = marks(figure), figure.locator("[data-param=speed]")
    speed.focus()
    speed.press("ControlOrMeta+a")
    page.keyboard.press("Delete") if not text else page.keyboard.insert_text(text)
    expect(speed).to_have_attribute("aria-invalid", "true")
    expect(figure.locator(".moe-limits")).to_be_visible()
    expect(figure.locator(".moe-live")).to_have_text("Speed (m/s): 0.5 to 9,000")
    assert values(figure)["speed"] == 2.5 or text.startswith("12")
    assert marks(figure) == before or text.startswith("12")
    speed.fill("9000")
    expect(speed).to_have_attribute("aria-invalid", "false")
    expect(figure.locator(".moe-limits")).to_be_hidden()
    comes_to(page, {"numbered.speed": "9000"})
    assert marks(figure) != before


def test_a_preset_sets_its_inputs_and_says_when_they_are_at_none_of_its_options(two: Callable[[str], Page]) -> None:
    page = two("")
    figure = live_figure(page, "numbered")
    preset, speed = figure.locator("[data-preset]"), figure.locator("[data-param=speed]")
    chosen = "select => select.selectedOptions[0].text"
    assert preset.evaluate(chosen) == "own values"
    before = marks(figure)
    preset.select_option("foot")
    assert values(figure) == {"speed": 1.5, "which": "b"}
    assert marks(figure) != before
    comes_to(page, {"numbered.speed": "1.5", "numbered.which": "b"})
    speed.fill("1.6")
    assert preset.evaluate(chosen) == "own values"
    preset.select_option("wing")
    assert preset.evaluate(chosen) == "wing"
    assert values(figure) == {"speed": 250, "which": "b"}
    page = two("?numbered.speed=250")
    assert live_figure(page, "numbered").locator("[data-preset]").evaluate(chosen) == "air"


def test_every_change_of_values_is_told_to_the_page(two: Callable[[str], Page]) -> None:
    page = two("")
    figure = live_figure(page, "numbered")
    page.evaluate(LISTEN)
    figure.locator("[data-param=which]").select_option("b")
    figure.locator("[data-preset]").select_option("air")
    figure.evaluate("figure => figure.setRows([{bar: 'mine', height: 4}], {badge: 'your model', put: {which: 'c'}})")
    expect(figure.locator(".moe-badge")).to_have_text("your model")
    figure.get_by_role("button", name="Reset").click()
    expect(figure.locator(".moe-badge")).to_have_text("formula")
    page.wait_for_function("() => window.heard.length === 4")
    assert page.evaluate("window.heard") == [
        ["numbered", {"speed": 2.5, "which": "b"}, False],
        ["numbered", {"speed": 250, "which": "b"}, False],
        ["numbered", {"speed": 250, "which": "c"}, True],
        ["numbered", {"speed": 2.5, "which": "a"}, False],
    ]


def test_rows_of_ones_own_are_not_in_the_address_and_the_link_says_so(two: Callable[[str], Page]) -> None:
    page = two("?numbered.speed=4")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    figure = live_figure(page, "numbered")
    figure.evaluate("figure => figure.setRows([{bar: 'mine', height: 4, speed: 20, which: 'c'}])")
    comes_to(page, {"numbered.speed": "20"})  # `which` offers no c
    figure.get_by_role("button", name="Copy link").click()
    expect(figure.get_by_role("button", name="Link copied, without your run")).to_be_visible()
