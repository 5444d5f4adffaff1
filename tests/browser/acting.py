"""What a reader does with figures and cells, and what is then to be seen of them."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

PATIENCE = 60_000  # ms: a loaded machine is slow, not wrong
expect.set_options(timeout=PATIENCE)

MARKS = """async figure => {
    await (await figure.wake()).chart.view.runAsync();
    const of = mark => ['d', 'transform', 'opacity', 'fill'].map(name => mark.getAttribute(name));
    const marks = figure.querySelectorAll('.is-live .moe-chart svg.marks :is(path, text)');
    return [...marks].map(mark => [...of(mark), mark.textContent].join()).join(';');
}"""
ROWS = "async figure => (await figure.wake()).chart.view.data('table').map(row => ({...row}))"


def live_figure(page: Page, name: str) -> Locator:
    """The figure, near enough to have come to life."""
    figure = page.locator(f"moe-figure#{name}")
    page.mouse.move(0, 0)  # the sign that pages wait for
    figure.scroll_into_view_if_needed()
    expect(figure.locator(".is-live .moe-chart svg.marks")).to_have_count(1)
    return figure


def marks(figure: Locator) -> str:
    """All that the live chart draws, as text to compare."""
    return str(figure.evaluate(MARKS))


def rows(figure: Locator) -> list[dict[str, Any]]:
    """The rows that the live chart holds."""
    found: list[dict[str, Any]] = figure.evaluate(ROWS)
    return found


def live_cell(page: Page, which: str = "[for]") -> Locator:
    """The page's first cell (of a figure, where nothing else is said), ready to be run."""
    cell = page.locator(f"moe-cell{which}").first
    page.mouse.move(0, 0)
    cell.scroll_into_view_if_needed()
    expect(cell.locator("[data-do=run]")).to_be_enabled(timeout=PATIENCE)
    return cell


def button(cell: Locator, name: str) -> Locator:
    return cell.get_by_role("button", name=name, exact=True)


def write(cell: Locator, code: str) -> None:
    """Put this code into the editor, by keyboard."""
    cell.locator(".cm-content, .moe-cell__code pre:visible").first.click()
    editor = cell.locator(".cm-content")
    editor.focus()
    editor.press("ControlOrMeta+a")
    cell.page.keyboard.insert_text(code)


def run(cell: Locator, code: str | None = None, state: str = "done") -> str:
    """Run the cell to its end, which must be `state`; gives what it shows then."""
    if code is not None:
        write(cell, code)
    button(cell, "Run").click()
    return ended(cell, state)


def ended(cell: Locator, state: str = "done") -> str:
    """What the cell shows once the run is over."""
    expect(cell.locator(".moe-cell__output")).not_to_have_attribute("aria-busy", "true")
    expect(cell).to_have_attribute("data-state", state)
    return cell.locator(".moe-cell__output").inner_text()
