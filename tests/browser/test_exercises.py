"""L9, exercises: the reader completes a line of a router, and the cell checks it, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from moedocs.lab.fingerprint import ROOT
from moedocs.site import exercises
from tests.browser.acting import button, live_cell, write
from tests.browser.conftest import PHONE, Visitor
from tests.browser.pages import EXERCISES

Visit = Callable[..., Page]
AXE = (ROOT / "node_modules/axe-core/axe.min.js").read_text("utf-8")
NAME = next(name for name in sorted(EXERCISES) if exercises.proven(name).gap[1] == 1)  # one line to type
HOME = EXERCISES[NAME]
EXERCISE = exercises.proven(NAME)

pages = pytest.mark.parametrize("path", sorted(set(EXERCISES.values())))


def section(page: Page, name: str = NAME) -> Locator:
    return page.locator(f"section#exercise-{name}")


def exercise_cell(page: Page, name: str = NAME) -> Locator:
    return live_cell(page, f"[exercise={name}]")


def completed(name: str) -> str:
    """The lines that complete an exercise, as a reader types them."""
    exercise = exercises.proven(name)
    start, count = exercise.gap
    lines = exercise.solution.code.splitlines()[start - 1 : start - 1 + count]
    return "\n".join(line.strip() for line in lines)


def verdict(cell: Locator, right: bool) -> str:
    """What the verdict says in the end."""
    expect(cell).to_have_attribute("data-state", "done" if right else "wrong")
    expect(cell.locator(".moe-verdict")).to_have_count(1)
    return cell.locator(".moe-verdict").inner_text()


def check(cell: Locator, code: str, right: bool) -> str:
    write(cell, code)
    button(cell, "Check").click()
    return verdict(cell, right)


def test_l9_the_missing_line_is_completed_and_checked_by_keyboard_alone(visit: Visit) -> None:
    page = visit(HOME)
    cell = exercise_cell(page)
    expect(section(page).locator(".moe-exercise__solved")).to_be_hidden()
    page.locator(f"moe-cell[exercise={NAME}] pre").first.focus()
    expect(cell.locator(".cm-content")).to_be_focused()
    expect(cell.locator(".cm-selectionBackground")).to_have_count(1)
    assert page.evaluate("getSelection().toString()") == "..."
    assert "\n" not in completed(NAME)
    page.keyboard.type(completed(NAME).partition("= ")[2])
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(button(cell, "Check")).to_be_focused()
    page.keyboard.press("Enter")
    assert verdict(cell, right=True).startswith("Right: ")
    expect(section(page).locator(".moe-exercise__solved")).to_have_text("Solved on this device")


@pages
def test_l9_every_exercise_takes_its_solution_and_tells_each_mistake_in_its_own_words(visit: Visit, path: str) -> None:
    page = visit(path)
    for name in (name for name, home in EXERCISES.items() if home == path):
        exercise, cell = exercises.proven(name), exercise_cell(page, name)
        for part in exercise.wrong:
            told = check(cell, part.code, right=False)
            assert told.startswith("Not yet: with ")
            assert part.says.replace("`", "") in told
        assert "inputs." in check(cell, exercise.solution.code, right=True)


def test_l9_an_untouched_exercise_says_which_line_is_missing(visit: Visit) -> None:
    cell = exercise_cell(visit(HOME))
    button(cell, "Check").click()
    assert f"Not yet: line {EXERCISE.gap[0]} still says ..." in verdict(cell, right=False)


def test_l9_an_error_is_one_sentence_with_the_readers_own_line(visit: Visit) -> None:
    cell = exercise_cell(visit(HOME))
    told = check(cell, EXERCISE.solution.code.replace("= ", "= nowhere + ", 1), right=False)
    assert "stops with NameError: name 'nowhere' is not defined" in told
    expect(cell.locator(".moe-cell__faulty")).to_contain_text("= nowhere + ")
    told = check(cell, "def broken(:\n    pass", right=False)
    assert "Not yet: line 1, def broken(:, stops with SyntaxError: " in told


def test_l9_prints_stand_below_the_verdict_and_names_of_other_runs_do_not_help(visit: Visit) -> None:
    cell = exercise_cell(visit(HOME))
    code = EXERCISE.solution.code.replace("    return ", "    print('seen', 1 + 1)\n    return ")
    check(cell, f"helper = 1\n{code}", right=True)
    below = cell.locator(".moe-verdict + .moe-cell__printed")
    expect(below).to_contain_text("seen 2")
    assert "NameError" in check(cell, f"helper\n{code}", right=False)


def test_l9_an_endless_loop_is_stopped_and_the_next_check_works(visit: Visit) -> None:
    cell = exercise_cell(visit(HOME))
    write(cell, EXERCISE.solution.code.replace("    return ", "    while True: pass\n    return "))
    button(cell, "Check").click()
    expect(cell).to_have_attribute("data-state", "running")
    button(cell, "Stop").click()
    expect(cell).to_have_attribute("data-state", "stopped")
    expect(cell.locator(".moe-cell__output")).to_contain_text("Stopped.")
    check(cell, EXERCISE.solution.code, right=True)


def test_l9_what_is_solved_is_remembered_on_this_device_alone(visit: Visitor) -> None:
    context = visit.context()
    page = context.new_page()
    page.goto(visit.site.address + HOME)
    check(exercise_cell(page), EXERCISE.solution.code, right=True)
    again = context.new_page()
    again.goto(visit.site.address + HOME)
    exercise_cell(again)
    expect(section(again).locator(".moe-exercise__solved")).to_be_visible()
    button(exercise_cell(page), "Reset").click()
    expect(section(page).locator(".moe-exercise__solved")).to_be_visible()
    expect(page.locator(".moe-verdict")).to_have_count(0)
    other = visit(HOME)
    exercise_cell(other)
    expect(section(other).locator(".moe-exercise__solved")).to_be_hidden()


def test_l9_where_nothing_more_can_be_stored_an_exercise_works_all_the_same(visit: Visitor) -> None:
    page = visit.context().new_page()
    page.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }")
    page.goto(visit.site.address + HOME)
    check(exercise_cell(page), EXERCISE.solution.code, right=True)
    expect(section(page).locator(".moe-exercise__solved")).to_be_visible()


def test_l9_the_verdict_is_told_to_who_listens_and_not_by_colour_alone(visit: Visit) -> None:
    cell = exercise_cell(visit(HOME))
    check(cell, EXERCISE.wrong[0].code, right=False)
    region = cell.locator(".moe-cell__output[aria-live=polite]")
    expect(region.locator(".moe-verdict strong")).to_have_text("Not yet:")
    expect(region).not_to_have_attribute("aria-busy", "true")
    sign = "verdict => getComputedStyle(verdict, '::before').content"
    wrong = cell.locator(".moe-verdict").evaluate(sign)
    check(cell, EXERCISE.solution.code, right=True)
    assert cell.locator(".moe-verdict").evaluate(sign) != wrong


def test_l9_without_scripts_task_code_hint_and_solution_can_be_read(visit: Visit) -> None:
    exercise = section(visit(HOME, java_script_enabled=False))
    assert EXERCISE.title in exercise.locator(".admonition-title").inner_text()
    expect(exercise.locator("moe-cell code").first).to_contain_text("...")
    expect(exercise.get_by_role("button")).to_have_count(0)
    for name in ("Hint", "Solution"):
        exercise.locator("summary", has_text=name).click()
    expect(exercise.locator("details code").last).to_contain_text(completed(NAME))
    expect(exercise.locator("details code").last).to_be_visible()


def test_l9_nothing_of_an_editor_or_of_python_is_loaded_before_a_touch(visit: Visitor) -> None:
    page = visit.context().new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(visit.site.address + HOME)
    expect(page.locator("moe-cell[exercise] [data-do=run]").first).to_be_attached()
    page.wait_for_load_state("networkidle")
    before = {address.rsplit("/", 1)[-1].partition("-")[0] for address in asked}
    assert not before & {"editor", "worker.js", "pyodide.mjs"}
    exercise_cell(page).locator("pre").first.click()
    expect(page.locator(".cm-content")).to_have_count(1)
    after = {address.rsplit("/", 1)[-1].partition("-")[0] for address in asked}
    assert "editor" in after


def test_l9_an_exercise_works_after_going_on_and_back_without_a_reload(visit: Visitor) -> None:
    page = visit(HOME)
    page.evaluate("window.neverReloaded = true")
    follow = "address => [...document.links].find(link => link.href === address).click()"
    page.evaluate(follow, visit.site.address)
    expect(page.locator("moe-cell[exercise]")).to_have_count(0)
    page.go_back()
    assert "Not yet: with " in check(exercise_cell(page), EXERCISE.wrong[0].code, right=False)
    assert page.evaluate("window.neverReloaded")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_l9_axe_finds_nothing_in_either_verdict(visit: Visit, scheme: str) -> None:
    page = visit(HOME, color_scheme=scheme)
    cell = exercise_cell(page)
    section(page).locator("details").evaluate_all("folds => folds.forEach(fold => { fold.open = true })")
    page.evaluate(AXE)
    for part, right in ((EXERCISE.wrong[0], False), (EXERCISE.solution, True)):
        check(cell, part.code, right)
        found: list[dict[str, Any]] = page.evaluate(
            "async () => (await axe.run('.moe-exercise', {resultTypes: ['violations']})).violations"
        )
        told = [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]
        assert not told, "\n".join(told)


def test_l9_on_a_phone_a_verdict_makes_nothing_scroll_sideways(visit: Visit) -> None:
    page = visit(HOME, viewport=PHONE)
    cell = exercise_cell(page)
    for part in EXERCISE.wrong:
        check(cell, part.code, right=False)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_l9_paper_shows_hint_and_solution_and_nothing_to_press(visit: Visit) -> None:
    page = visit(HOME)
    page.emulate_media(media="print")
    expect(section(page).locator("details code").last).to_contain_text(completed(NAME))
    assert section(page).locator("details .highlight").last.evaluate("code => code.getBoundingClientRect().height") > 20
    expect(section(page).locator(".moe-cell__bar")).to_be_hidden()
