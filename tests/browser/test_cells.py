"""Cells in a real browser: real NumPy under Pyodide, in a worker that can be stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from moedocs.lab.fingerprint import ROOT
from moedocs.site.browser import runner
from tests.browser.acting import button, ended, live_cell, live_figure, marks, rows, run, write
from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.pages import CELLS, FIGURES

Visit = Callable[..., Page]
CODE = (ROOT / "figures/cells/capacity.py").read_text("utf-8")
HOME = CELLS["capacity"]
FIRST = """place => {
    const range = document.createRange();
    range.selectNodeContents(place.querySelector('.cm-line') ?? place.querySelector('code'));
    const [text, box] = [range.getClientRects()[0], place.getBoundingClientRect()];
    return [text.left - box.left, text.top - box.top];
}"""
LONGEST_TASK = """async () => {
    let longest = 0, before = performance.now();
    for (let turn = 0; turn < 60; turn++) {
        await new Promise(done => setTimeout(done, 16));
        const now = performance.now();
        [longest, before] = [Math.max(longest, now - before), now];
    }
    return longest;
}"""


def computed(code: str) -> tuple[str, list[dict[str, Any]]]:
    """What the code prints and the rows it gives under CPython."""
    printed: list[str] = []
    outcome = json.loads(runner.run(code, {}, lambda text, lines, characters: printed.append(text)))
    return "".join(printed), outcome["table"]


@pytest.fixture(scope="module")
def cell(browser: Browser, site: Site) -> Iterator[Locator]:
    """One cell whose Python is there already; its tests follow one another in one namespace."""
    with visiting(browser, site) as visitor:
        cell = live_cell(visitor(HOME))
        run(cell)
        yield cell


def test_the_recorded_output_stands_there_before_anything_is_loaded(visit: Visit) -> None:
    page = visit(HOME, java_script_enabled=False)
    text = page.locator("moe-cell[for]").inner_text()
    assert computed(CODE)[0].strip() in text
    recorded = live_cell(visit(HOME))
    expect(recorded.locator(".moe-cell__note")).to_contain_text("MB")


def test_the_cell_prints_what_cpython_prints_and_redraws_the_figure(cell: Locator) -> None:
    changed = CODE.replace("skew = 64, 0.0", "skew = 256, 1.0").replace("top_k=2", "top_k=1")
    assert changed != CODE
    printed, table = computed(changed)
    figure = live_figure(cell.page, "capacity")
    before = marks(figure)
    shown = run(cell, changed)
    assert printed.strip() in shown
    assert "shows your result" in shown
    drawn = rows(figure)
    for column in ("load", "expected_load", "expected_share"):
        assert [row[column] for row in drawn] == pytest.approx([row[column] for row in table])
    assert marks(figure) != before
    expect(figure.locator(".moe-badge")).to_have_text("your own run")
    expect(figure.locator("label", has_text="Tokens").locator("output")).to_have_text("256")


def test_values_that_no_control_offers_are_added_to_it(cell: Locator) -> None:
    run(cell, CODE.replace("num_experts=8", "num_experts=6"))
    figure = live_figure(cell.page, "capacity")
    expect(figure.locator("label", has_text="Experts").locator("output")).to_have_text("6")
    assert len(rows(figure)) == 6


def test_the_figures_reset_brings_the_recorded_result_back(cell: Locator) -> None:
    figure = live_figure(cell.page, "capacity")
    run(cell, CODE)
    figure.get_by_role("button", name="Reset").click()
    expect(figure.locator(".moe-badge")).to_contain_text("simulation")
    assert len(rows(figure)) > 100


@pytest.mark.parametrize(
    "table",
    [
        "[{'expert': 'a', 'load': 'x'}]",
        "[{}]",
        "{'expert': [1], 'load': [float('nan')], 'num_experts': ['many'], 'top_k': [True]}",
        "{'expert': range(1, 1001), 'load': range(1000), 'num_experts': [1000] * 1000}",
    ],
)
def test_whatever_table_is_drawn_reset_brings_the_recorded_picture_back(cell: Locator, table: str) -> None:
    figure = live_figure(cell.page, "capacity")
    figure.get_by_role("button", name="Reset").click()
    before = marks(figure)
    assert "The figure shows" in run(cell, f"table = {table}")
    figure.get_by_role("button", name="Reset").click()
    expect(figure.locator(".moe-badge")).to_contain_text("simulation")
    assert marks(figure) == before


def test_a_run_that_does_not_assign_the_table_leaves_the_figure_alone(cell: Locator) -> None:
    figure = live_figure(cell.page, "capacity")
    run(cell, CODE)
    figure.get_by_role("button", name="Reset").click()
    before = marks(figure)
    assert run(cell, "len(table['load'])").strip() == "8"
    assert marks(figure) == before


def test_an_error_shows_the_readers_line_and_the_reason(cell: Locator) -> None:
    shown = run(cell, "import numpy as np\nload = np.zeros(8)\n\nload[9] = 1\n", state="error")
    words = [line for line in shown.splitlines() if line]
    assert words == ["Line 4", "load[9] = 1", "IndexError: index 9 is out of bounds for axis 0 with size 8"]
    expect(cell.locator(".cm-line.moe-cell__faulty")).to_have_text("load[9] = 1")


def test_an_error_inside_our_own_code_points_to_the_readers_line(cell: Locator) -> None:
    shown = run(cell, "from moedocs.lite import RoutingConfig\nRoutingConfig(num_experts=4, top_k=5)", state="error")
    assert "Line 2" in shown
    assert "top_k=5" in shown
    assert "Traceback" not in shown
    assert "File" not in shown


def test_a_typing_error_shows_its_line(cell: Locator) -> None:
    shown = run(cell, "x = 1\nif x = 2:\n    pass", state="error")
    assert "Line 2" in shown
    assert "SyntaxError" in shown


def test_a_package_that_is_not_there_is_told_in_a_sentence(cell: Locator) -> None:
    assert "there is no 'pandas' here" in run(cell, "import pandas", state="error")


def test_the_last_expressions_value_is_shown_as_in_a_notebook(cell: Locator) -> None:
    assert run(cell, "import numpy as np\nnp.arange(4)").strip() == "array([0, 1, 2, 3])"
    assert "printed nothing" in run(cell, "x = 3")


def test_runs_share_their_names(cell: Locator) -> None:
    run(cell, "kept = 41")
    assert run(cell, "kept + 1").strip() == "42"


def test_much_print_is_cut_and_the_rest_counted(cell: Locator) -> None:
    shown = run(cell, "for i in range(1000): print(i)")
    assert "\n199\n" in shown
    assert "\n200\n" not in shown
    assert "800 more lines not shown" in shown


def test_a_table_that_cannot_be_drawn_is_told(cell: Locator) -> None:
    assert "columns differ in length" in run(cell, "table = {'expert': [1, 2], 'load': [3]}")


def test_keys_run_the_cell_and_leave_the_editor(cell: Locator) -> None:
    write(cell, "print('by keys')")
    for keys in ("ControlOrMeta+Enter", "Shift+Enter"):
        cell.locator(".cm-content").press(keys)
        assert ended(cell).strip() == "by keys"
    cell.locator(".cm-content").press("Escape")
    cell.page.keyboard.press("Tab")
    expect(button(cell, "Run")).to_be_focused()
    assert "Escape" in (cell.locator(".cm-content").get_attribute("aria-description") or "")


def test_tab_passes_through_the_editor_until_something_is_typed(visit: Visit) -> None:
    cell = live_cell(visit(HOME))
    cell.locator(".moe-cell__code pre").focus()
    editor = cell.locator(".cm-content")
    expect(editor).to_be_focused()
    editor.press("Tab")
    expect(button(cell, "Run")).to_be_focused()
    editor.press("ControlOrMeta+Home")
    cell.page.keyboard.type("#")
    editor.press("Tab")
    expect(editor).to_be_focused()
    expect(cell.locator(".cm-line").first).to_have_text("    #import numpy as np")


def test_reset_brings_back_code_and_recorded_output(cell: Locator) -> None:
    run(cell, "print('something else')")
    button(cell, "Reset").click()
    expect(cell.locator(".moe-cell__output")).to_contain_text("Recorded output")
    assert "\n".join(cell.locator(".cm-line").all_text_contents()).rstrip() == CODE.rstrip()


def test_the_editor_takes_exactly_the_place_of_the_code(visit: Visit) -> None:
    cell = live_cell(visit(HOME))
    code = cell.locator(".moe-cell__code")
    before, height = code.evaluate(FIRST), code.bounding_box()
    code.locator("pre").click()
    expect(cell.locator(".cm-content")).to_be_focused()
    assert code.evaluate(FIRST) == pytest.approx(before, abs=0.6)
    after = code.bounding_box()
    assert height
    assert after
    assert after["height"] == pytest.approx(height["height"], abs=0.6)


def test_an_endless_loop_is_stopped_and_the_next_run_starts_afresh(visit: Visit) -> None:
    cell = live_cell(visit(HOME))
    run(cell, "kept = 1")
    write(cell, "while True:\n    pass")
    button(cell, "Run").click()
    expect(cell).to_have_attribute("data-state", "running")
    button(cell, "Stop").click()
    assert "Stopped" in ended(cell, "stopped")
    shown = run(cell, "kept", state="error")
    assert "afresh" in shown
    assert "NameError" in shown


def test_a_run_that_takes_too_long_is_stopped_and_says_so(visit: Visit) -> None:
    cell = live_cell(visit(HOME))
    cell.evaluate("cell => cell.setAttribute('limit', '1')")
    assert "Stopped after 1 s" in run(cell, "while True:\n    pass", state="stopped")


def test_stop_also_ends_the_loading(visit: Visit) -> None:
    cell = live_cell(visit(HOME))
    button(cell, "Run").click()
    button(cell, "Stop").click()
    assert "Stopped" in ended(cell, "stopped")


def test_an_endless_print_neither_freezes_the_page_nor_fills_it(visit: Visit) -> None:
    page = visit(HOME)
    cell = live_cell(page)
    write(cell, "while True:\n    print('spam ' * 10)")
    button(cell, "Run").click()
    expect(cell.locator(".moe-cell__output")).to_contain_text("more lines not shown")
    assert page.evaluate(LONGEST_TASK) < 400
    assert len(cell.locator(".moe-cell__output").inner_text()) < 21_000
    button(cell, "Stop").click()
    ended(cell, "stopped")


def test_python_that_cannot_be_loaded_is_told_by_file(visit: Visitor) -> None:
    page = visit.context().new_page()
    page.route("**/python_stdlib.zip", lambda route: route.abort())
    page.goto(visit.site.address + HOME)
    assert "python_stdlib.zip could not be downloaded" in run(live_cell(page), state="error")
    visit.troubles.clear()  # the browser tells of the failed request as well


def test_cells_of_a_page_share_names_and_take_turns(visit: Visit) -> None:
    page = visit(HOME)
    first = live_cell(page)
    first.evaluate(
        """async cell => {
            const page = new DOMParser().parseFromString(await (await fetch(location)).text(), 'text/html');
            cell.after(document.adoptNode(page.querySelector('moe-cell[for]')));
        }"""
    )
    second = page.locator("moe-cell[for]").nth(1)
    run(first, "shared = 6 * 7")
    assert run(second, "shared").strip() == "42"
    write(first, "import time\ntime.sleep(2)")
    button(first, "Run").click()
    button(second, "Run").click()
    expect(second.locator(".moe-cell__note")).to_contain_text("Another cell")
    ended(first)


def test_figures_with_a_cell_are_on_the_cells_page() -> None:
    assert all(FIGURES[name] == page for name, page in CELLS.items())
