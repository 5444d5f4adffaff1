"""What can be done with a figure and taken away from it: each file is what the reader sees, each button says it did."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Locator, Page, expect

from moedocs import charts
from moedocs.lab.fingerprint import ROOT
from moedocs.site.figure import name_of
from tests.browser.acting import button, ended, live_cell, live_figure, rows
from tests.browser.conftest import PHONE, WIDE, Site, Visitor
from tests.browser.pages import CELLS, FIGURES

Visit = Callable[..., Page]
CELLED = "capacity"  # which is hatched
CELLESS = next(name for name in FIGURES if name not in CELLS)
EDGE, SCALE = 16, 2
COLOURS = """async address => {
    const image = Object.assign(new Image(), {src: address});
    await image.decode();
    const {naturalWidth: width, naturalHeight: height} = image;
    const pen = new OffscreenCanvas(width, height).getContext('2d');
    pen.drawImage(image, 0, 0);
    const {data} = pen.getImageData(0, 0, width, height);
    const counts = {};
    for (let at = 0; at < data.length; at += 4) {
        const colour = '#' + [0, 1, 2].map(part => data[at + part].toString(16).padStart(2, '0')).join('');
        counts[colour] = (counts[colour] ?? 0) + 1;
    }
    return counts;
}"""
TABLE = """figure => {
    const texts = row => [...row.cells].map(cell => cell.textContent);
    const table = figure.querySelector('.moe-data table');
    return [texts(table.tHead.rows[0]), [...table.tBodies[0].rows].map(texts)];
}"""


def move(figure: Locator) -> None:
    """Bring the figure's first slider to its other end."""
    slider = figure.locator(".moe-controls input[type=range]").first
    slider.press("Home" if slider.input_value() == slider.get_attribute("max") else "End")


def saved(figure: Locator, folder: Path) -> bytes:
    """What the button gives to save, once it says that it has."""
    with figure.page.expect_download() as download:
        button(figure, "PNG").click()
    assert download.value.suggested_filename == f"{figure.get_attribute('id')}.png"
    download.value.save_as(folder / "figure.png")
    expect(button(figure, "Saved")).to_be_visible()
    expect(figure.locator(".moe-live")).to_have_text("Saved")
    return (folder / "figure.png").read_bytes()


def size(png: bytes) -> tuple[int, int]:
    """Width and height that the file states."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def near(found: dict[str, int], colour: str) -> int:
    """Pixels of a colour, as a pattern blurs it: no channel off by more than 16 of 255."""
    wanted = bytes.fromhex(colour[1:])
    return sum(
        count
        for one, count in found.items()
        if max(abs(mine - theirs) for mine, theirs in zip(bytes.fromhex(one[1:]), wanted, strict=True)) <= 16
    )


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", PHONE)], ids=["light", "dark phone"])
def test_a_png_is_the_picture_as_it_stands_at_twice_its_size_in_the_palette_of_the_page(
    visit: Visit, tmp_path: Path, scheme: str, viewport: object
) -> None:
    page = visit(FIGURES[CELLED], color_scheme=scheme, viewport=viewport)
    figure = live_figure(page, CELLED)
    before = saved(figure, tmp_path)
    box = figure.locator(".moe-chart svg.marks").evaluate("({viewBox: {baseVal: {width, height}}}) => [width, height]")
    assert size(before)[0] == SCALE * (box[0] + 2 * EDGE)
    assert size(before)[1] > SCALE * (box[1] + 2 * EDGE)  # a title above, a line below
    found: dict[str, int] = page.evaluate(COLOURS, f"data:image/png;base64,{base64.b64encode(before).decode()}")
    which = ("light", "dark").index(scheme)
    assert max(found, key=lambda colour: found[colour]) == charts.MEANINGS["paper"][which]
    assert near(found, charts.MEANINGS["ink"][which]) > 100  # the title
    assert near(found, charts.MEANINGS["active"][which]) > 100  # the bars
    assert near(found, charts.MEANINGS["dropped"][which]) > 1000  # and their hatch, which a picture alone would lose
    move(figure)
    expect(button(figure, "PNG")).to_be_visible()
    assert saved(figure, tmp_path) != before


def frames(site: Site) -> dict[str, Tag]:
    """The frame of every figure, as it stands on its page."""
    pages = {
        name: BeautifulSoup((site.folder / at / "index.html").read_text("utf-8"), "html.parser")
        for name, at in FIGURES.items()
    }
    found = {name: page.select_one(f"moe-figure#{name}") for name, page in pages.items()}
    return {name: frame for name, frame in found.items() if frame is not None}


def test_every_figure_links_to_its_source_in_the_repository_and_to_files_that_are_there(site: Site) -> None:
    assert frames(site).keys() == FIGURES.keys()
    for name, frame in frames(site).items():
        links = {link.text: str(link["href"]) for link in frame.select(".moe-take a")}
        assert list(links) == ["CSV", "SVG", "Spec", "Source"]
        path = ROOT / links.pop("Source").split("/blob/main/")[1]
        assert path.is_file()
        assert name_of(path) == name
        for href in links.values():
            assert (site.folder / FIGURES[name] / href).resolve().is_file(), href


def test_re_run_runs_the_figures_cell_and_leads_there(visit: Visit) -> None:
    page = visit(CELLS[CELLED])
    figure = live_figure(page, CELLED)
    button(figure, "Re-run").click()
    expect(figure.locator(".moe-live")).to_have_text("Running its cell")
    cell = live_cell(page)
    expect(cell).to_have_attribute("for", CELLED)
    expect(cell.locator("[data-do=run]")).to_be_focused()
    ended(cell)
    expect(figure.locator(".moe-badge")).to_have_text("your own run")
    expect(cell).to_be_in_viewport()


def test_re_run_of_a_figure_without_a_cell_shows_the_command_and_copies_it(visit: Visitor) -> None:
    page = visit(FIGURES[CELLESS])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    figure = live_figure(page, CELLESS)
    again = button(figure, "Re-run")
    again.click()
    expect(figure.locator(".moe-command code")).to_have_text(f"moedocs build {CELLESS}")
    expect(figure.locator(".moe-live")).to_have_text(f"In a checkout: moedocs build {CELLESS}")
    expect(again).to_have_attribute("aria-expanded", "true")
    button(figure, "Copy").click()
    expect(button(figure, "Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == f"moedocs build {CELLESS}"
    again.click()
    expect(figure.locator(".moe-command")).to_be_hidden()


def test_where_the_clipboard_is_closed_the_command_is_there_to_be_selected(visit: Visit) -> None:
    page = visit(FIGURES[CELLESS])
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new DOMException()) }")
    figure = live_figure(page, CELLESS)
    button(figure, "Re-run").click()
    button(figure, "Copy").click()
    expect(button(figure, "Select it to copy it")).to_be_visible()


def shown(figure: Locator) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the data table."""
    heads, body = figure.evaluate(TABLE)
    return heads, body


def as_text(value: Any) -> str:
    """As the browser writes it; what a row leaves out stays empty."""
    if value is None:
        return ""
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.15g}" if isinstance(value, float) else str(value)
    )


@pytest.mark.parametrize("name", ["capacity", "collapse-lab"])
def test_the_data_table_has_the_rows_of_what_the_figure_was_set_to_and_reset_brings_the_first_back(
    visit: Visit, name: str
) -> None:
    page = visit(FIGURES[name])
    figure = live_figure(page, name)
    figure.get_by_text("Data table", exact=True).click()
    first = shown(figure)
    move(figure)
    expect(figure.locator(".moe-data p")).to_contain_text("of the settings above; all are in the CSV")
    values: dict[str, Any] = figure.evaluate("async figure => (await figure.wake()).values()")
    everything = rows(figure)
    columns = [key for key in everything[0] if not key.startswith("Symbol(")]
    set_ = {key: value for key, value in values.items() if any(row.get(key) == value for row in everything)}
    fitting = [row for row in everything if all(row[key] in (value, None) for key, value in set_.items())]
    heads, body = shown(figure)
    assert heads == [key.replace("_", " ") for key in columns]
    assert [[row[place] for place, key in enumerate(columns) if key in set_] for row in body] == [
        [as_text(row[key]) for key in columns if key in set_] for row in fitting[:60]
    ]
    assert (heads, body) != first
    button(figure, "Reset").click()
    expect(figure.locator(".moe-data p")).to_contain_text("as the figure opens")
    assert shown(figure) == first


def test_a_table_that_is_opened_later_has_the_rows_of_ones_own_run(visit: Visit) -> None:
    page = visit(CELLS[CELLED])
    figure = live_figure(page, CELLED)
    figure.evaluate("figure => figure.setRows([{expert: 1, kept: 7, marker: 'mine'}])")
    figure.get_by_text("Data table", exact=True).click()
    expect(figure.locator(".moe-data p")).to_contain_text("1 of 1 rows, those of your own run")
    assert "mine" in shown(figure)[1][0]


def test_all_of_it_is_reached_and_worked_by_keyboard(visit: Visit) -> None:
    page = visit(FIGURES[CELLESS])
    figure = live_figure(page, CELLESS)
    button(figure, "Reset").focus()
    reached = []
    for _ in range(8):
        reached.append(page.evaluate("document.activeElement.textContent"))
        page.keyboard.press("Tab")
    assert reached == ["Reset", "Copy link", "Re-run", "CSV", "SVG", "PNG", "Spec", "Source"]
    button(figure, "PNG").focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == f"{CELLESS}.png"
    expect(figure.locator(".moe-live")).to_have_text("Saved")


def test_with_scripts_off_only_what_works_is_offered(visit: Visit) -> None:
    page = visit(FIGURES[CELLESS], java_script_enabled=False)
    actions = page.locator(f"moe-figure#{CELLESS} .moe-actions")
    expect(actions.locator("button:visible")).to_have_count(0)
    expect(actions.locator("a:visible")).to_have_text(["CSV", "SVG", "Spec", "Source"])
