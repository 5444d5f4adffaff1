"""Exercises: every solution passes its check, every known mistake is told by its own words, a bad file by its line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from markdown import Markdown

from moedocs.lab.fingerprint import ROOT
from moedocs.site import build, exercises, figures, markdown
from moedocs.site.browser import checker, runner
from moedocs.site.exercise import Exercise, ExerciseError, Part
from tests import copies

NAMES = exercises.names()
every_exercise = pytest.mark.parametrize("name", NAMES)

SMALL = '''"""Twice

Double it, like $2x$.
"""

# %% given
def twice(x):
    y = ...
    return y


# %% check
def cases():
    for number in (1, 2, 3):
        yield f"the number {number}", (number,), number + number


# %% hint
# Add it **to itself**.

# %% solution
y = 2 * x

# %% wrong
# That is one more, not twice as much.
y = x + 1
'''


def checked(source: str, exercise: str | None = None) -> dict[str, Any]:
    """What the browser is told of a reader's source: value, error, verdict."""
    check = checker.checking(exercise or small().as_json(), source)
    outcome: dict[str, Any] = json.loads(runner.run(source, {}, lambda text, lines, characters: None, check))
    return outcome


def small(text: str = SMALL) -> Exercise:
    return exercises._proven("small", text, "small.py")


def says(source: str) -> str:
    """The verdict on a reader's source, which must be a refusal."""
    verdict = checked(source)["verdict"]
    assert not verdict["right"]
    return str(verdict["says"])


def test_the_chapter_has_at_least_seven_exercises() -> None:
    assert len(NAMES) >= 7


@every_exercise
def test_the_solution_is_right_for_every_input(name: str) -> None:
    exercise = exercises.proven(name)
    inputs = len(checker.cases(exercise.as_json()))
    verdict = checked(exercise.solution.code, exercise.as_json())["verdict"]
    assert (verdict["right"], verdict["says"]) == (True, f"{inputs} of {inputs} inputs.")


@every_exercise
def test_what_is_given_is_refused_by_the_line_that_is_missing(name: str) -> None:
    exercise = exercises.proven(name)
    verdict = checked(exercise.given.code, exercise.as_json())["verdict"]
    assert not verdict["right"]
    assert verdict["says"].startswith(f"line {exercise.gap[0]} still says `...`")
    assert exercise.given.code.splitlines()[exercise.gap[0] - 1].rstrip().endswith("= ...")


@every_exercise
def test_every_mistake_is_refused_with_input_answer_and_words_of_its_own(name: str) -> None:
    exercise = exercises.proven(name)
    verdicts = [checked(part.code, exercise.as_json())["verdict"] for part in exercise.wrong]
    assert len(verdicts) >= 3
    for verdict, part in zip(verdicts, exercise.wrong, strict=True):
        assert not verdict["right"]
        assert re.fullmatch(rf"with .+, `{exercise.function}` gives .+; right is .+\.", verdict["says"])
        assert verdict["because"] == part.says
    assert len({verdict["because"] for verdict in verdicts}) == len(verdicts)


@every_exercise
def test_an_exercise_asks_for_one_line_or_two(name: str) -> None:
    assert exercises.proven(name).gap[1] <= 2


@every_exercise
def test_an_answer_may_change_its_arguments_and_print_without_spoiling_the_check(name: str) -> None:
    exercise = exercises.proven(name)
    spoilt = exercise.solution.code.replace(
        f"def {exercise.function}(",
        "def spoilt(function):\n    def call(*arguments):\n        answer = function(*arguments)\n"
        "        for one in arguments:\n            if hasattr(one, 'fill'):\n                one.fill(0)\n"
        "        print('with', arguments)\n        return answer\n    return call\n\n\n"
        f"@spoilt\ndef {exercise.function}(",
    )
    assert "@spoilt" in spoilt
    assert checked(spoilt, exercise.as_json())["verdict"]["right"]


WRONG_ANSWERS = {
    "return 2 * x + (x == 3)": "with the number 3, `twice` gives 7; right is 6.",
    "2 * x": "with the number 1, `twice` gives nothing back: is a `return` missing?",
    "return ...": "line 2 still says `...`: write there what is missing.",
    "return [2 * x]": "with the number 1, `twice` gives an array of shape (1,); right is one number.",
    "return str(2 * x)": "with the number 1, `twice` gives a text; right is 2.",
    "return [[1], [1, 2]]": "with the number 1, `twice` gives a list; right is 2.",
    "return 2.0000001 * x + 1e-3": "with the number 1, `twice` gives 2.001; right is 2.",
    "return float('nan')": "with the number 1, `twice` gives nan; right is 2.",
}


@pytest.mark.parametrize(("body", "told"), WRONG_ANSWERS.items())
def test_a_wrong_answer_is_told_by_input_and_what_came_and_what_is_right(body: str, told: str) -> None:
    assert says(f"def twice(x):\n    {body}") == told


def test_a_difference_too_small_for_a_few_digits_is_shown_with_more() -> None:
    assert says("def twice(x): return 2 * x + 2e-4") == "with the number 1, `twice` gives 2.0002; right is 2."


def test_a_lost_function_is_missed_by_its_name() -> None:
    assert says("def double(x): return 2 * x") == "there is no function `twice` in your code; its name must stay."


def test_an_index_of_dots_is_no_gap() -> None:
    assert checked("import numpy as np\ndef twice(x):\n    y = 2 * np.asarray(x)[..., None]\n    return y[..., 0]")[
        "verdict"
    ]["right"]


@pytest.mark.parametrize(
    ("source", "line", "code", "reason"),
    [
        (
            "def twice(x):\n    return [][x]",
            2,
            "return [][x]",
            "IndexError: list index out of range\nwith the number 1",
        ),
        ("def twice(x):\n    return y", 2, "return y", "NameError: name 'y' is not defined\nwith the number 1"),
        (
            "def twice(): return 2",
            None,
            "",
            "TypeError: twice() takes 0 positional arguments but 1 was given\nwith the",
        ),
    ],
)
def test_an_error_is_the_readers_own_line_and_the_input(source: str, line: int | None, code: str, reason: str) -> None:
    outcome = checked(source)
    assert outcome["verdict"] is None
    assert (outcome["error"]["line"], outcome["error"]["code"]) == (line, code)
    assert outcome["error"]["reason"].startswith(reason)


def test_a_source_that_is_no_python_is_told_before_any_check() -> None:
    outcome = checked("def twice(x):\n    return 2 *")
    assert outcome["verdict"] is None
    assert (outcome["error"]["line"], outcome["error"]["code"]) == (2, "return 2 *")


def test_a_long_answer_is_told_by_the_first_place_that_differs() -> None:
    text = SMALL.replace("(number,), number + number", "(list(range(20)),), [2 * one for one in range(20)]")
    text = text.replace("y = 2 * x", "y = [2 * one for one in x]").replace("y = x + 1", "y = [one + 1 for one in x]")
    verdict = checked("def twice(x):\n    return [2 * one + (one == 7) for one in x]", small(text).as_json())["verdict"]
    assert verdict["says"] == "with the number 1, `twice` gives 15 at [7]; right is 14."


FAULTS = {
    "a docstring": (SMALL.replace('"""Twice\n\nDouble it, like $2x$.\n"""', ""), 1, "it begins with a docstring"),
    "a task": (SMALL.replace("Double it, like $2x$.\n", ""), 1, "it begins with a docstring"),
    "its Python": (SMALL.replace("y = x + 1", "y = = 1"), 26, "invalid syntax"),
    "a kind": (SMALL.replace("%% hint", "%% hints"), 18, r"unknown cell 'hints'; there are: given, check, hint, sol"),
    "a hint": (SMALL.replace("# %% hint\n# Add it **to itself**.\n", ""), 1, "it has no cell `# %% hint`"),
    "mistakes": (SMALL.partition("# %% wrong")[0], 1, "it has no cell `# %% wrong`"),
    "one solution": (f"{SMALL}# %% solution\ny = x + x\n", 27, "a second cell `# %% solution`"),
    "words for a mistake": (SMALL.replace("# That is one", "one, two = 1, 2  # That is one"), 24, "comment lines"),
    "plain words": (SMALL.replace("one more", "$x + 1$"), 24, "no formula and no Markdown"),
    "a gap": (SMALL.replace("y = ...", "y = 2 * x"), 6, "nothing is left to complete"),
    "one gap": (SMALL.replace("return y", "return ..."), 6, r"more than one line says `\.\.\.`"),
    "a function": (SMALL.replace("def twice(x):\n    y = ...\n    return y", "y = ..."), 6, "it defines no function"),
    "a right solution": (SMALL.replace("y = 2 * x", "y = 3 * x"), 21, "refuses the solution: with the number 1, `twi"),
    "a wrong mistake": (SMALL.replace("y = x + 1", "y = x + x"), 24, "the check accepts this mistake"),
    "different mistakes": (f"{SMALL}\n# %% wrong\n# Again.\ny = 1 + x\n", 28, "tells this mistake from another one"),
    "a mistake that runs": (SMALL.replace("y = x + 1", "y = x[0]"), 24, "it raises TypeError: 'int' object is not"),
    "inputs": (SMALL.replace("(1, 2, 3)", "(1, 2)"), 12, "2 inputs; it needs 3 at least"),
    "sound inputs": (SMALL.replace("(1, 2, 3)", "(1, 2, 3 / 0)"), 14, "ZeroDivisionError: division by zero"),
    "cases": (SMALL.replace("def cases", "def inputs"), 13, "KeyError: 'cases'"),
    "arguments": (
        SMALL.replace("(number,), number", "number, number"),
        12,
        "`cases` yields words, a tuple of arguments",
    ),
}


@pytest.mark.parametrize("lacking", FAULTS)
def test_a_file_that_lacks_something_is_told_with_its_line(lacking: str) -> None:
    text, line, reason = FAULTS[lacking]
    assert text != SMALL
    with pytest.raises(ExerciseError, match=rf"^small\.py:{line}: .*{reason}"):
        small(text)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with one exercise of its own."""
    root = copies.small_root(tmp_path)
    (root / "figures" / "exercises").mkdir()
    (root / "figures" / "exercises" / "twice_it.py").write_text(SMALL, "utf-8")
    (root / "docs").mkdir()
    monkeypatch.setattr(markdown, "ROOT", root)
    monkeypatch.setattr(figures, "FOLDER", root / "docs" / "assets" / "figures")
    (root / "docs" / "assets" / "pyodide").mkdir(parents=True)
    (root / "docs" / "assets" / "pyodide" / "sizes.json").write_text('{"first_run": 8123456}')
    return root


def test_the_build_names_page_and_file_of_an_exercise_that_does_not_hold(place: Path) -> None:
    (place / "docs" / "page.md").write_text("# Page\n\n{{ exercise twice-it }}\n\n{{ exercise thrice }}\n")
    unknown = "docs/page.md:5: unknown exercise 'thrice'; there are: twice-it"
    assert build.check_pages(place / "docs") == [unknown]
    (place / "figures/exercises/twice_it.py").write_text(SMALL.replace("y = 2 * x", "y = x"))
    first, second = build.check_pages(place / "docs")
    assert first.startswith("docs/page.md:3: figures/exercises/twice_it.py:21: the check refuses the solution: with ")
    assert second == unknown


def shown(source: str) -> BeautifulSoup:
    """A page as the project's Markdown extensions make it, outside of any builder."""
    names = ["moedocs.site.markdown", "moedocs.site.maths", "admonition", "md_in_html", "pymdownx.details"]
    names += ["pymdownx.highlight", "pymdownx.superfences"]
    return BeautifulSoup(Markdown(extensions=names).convert(source), "html.parser")


def test_task_code_hint_and_solution_stand_in_the_page_without_scripts(place: Path) -> None:
    section = shown("Before.\n\n{{ exercise twice-it number=2 }}\n\nAfter.\n").select_one("section#exercise-twice-it")
    assert section is not None
    title = section.select_one(".admonition-title")
    assert title is not None
    assert title["id"] == section["aria-labelledby"]
    assert next(title.stripped_strings) == "2. Twice"
    assert section.select_one(".katex") is not None
    assert [code.text.strip() for code in section.select("moe-cell code")] == [
        "def twice(x):\n    y = ...\n    return y"
    ]
    assert [gap.text for gap in section.select(".moe-cell__gap")] == ["..."]
    assert [fold.text for fold in section.select("summary")] == ["Hint", "Solution"]
    assert [strong.text for strong in section.select("details strong")] == ["to itself"]
    assert [code.text.strip() for code in section.select("details code")] == [
        "def twice(x):\n    y = 2 * x\n    return y"
    ]
    assert [line.text.strip() for line in section.select("details .hll")] == ["y = 2 * x"]
    assert [button.text for button in section.select("moe-cell button")] == ["Check", "Stop", "Reset"]
    assert "The first check downloads 8.1 MB" in section.text


@pytest.mark.parametrize(("option", "title"), {"": "Exercise: Twice", " number=3": "3. Twice"}.items())
def test_an_exercise_is_named_as_one_or_by_its_number(option: str, title: str, place: Path) -> None:
    (shown_title,) = shown(f"{{{{ exercise twice-it{option} }}}}").select(".admonition-title")
    assert next(shown_title.stripped_strings) == title


def test_code_that_looks_like_html_stays_text_and_inside_its_attribute(place: Path) -> None:
    hostile = "'</script><img src=x onerror=\"y()\"> & {{ figure x }} $x^2$'"
    path = place / "figures/exercises/twice_it.py"
    path.write_text(SMALL.replace("return y", f"text = {hostile}\n    return y"), "utf-8")
    page = shown("{{ exercise twice-it }}\n")
    assert page.find(["img", "script"]) is None  # instant navigation would run a script, whatever its type
    (cell,) = page.find_all("moe-cell")
    assert hostile in json.loads(str(cell["check"]))["wrong"][0]["code"]
    assert all(hostile in code.text for code in page.select("moe-cell code, details code"))


def test_what_an_exercise_brings_to_a_page_is_small() -> None:
    for name in NAMES:
        assert len(exercises.proven(name).as_json().encode()) < 4_000


def test_an_exercise_needs_no_torch() -> None:
    for name in NAMES:
        text = (ROOT / exercises.FOLDER / f"{name.replace('-', '_')}.py").read_text("utf-8")
        imported = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
        assert imported <= {"numpy", "moedocs", "math", "dataclasses"}


def test_the_example_for_contributors_holds() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## An exercise")[2]
    example = section.partition("```python\n")[2].partition("```")[0]
    assert exercises._proven("even-share", example, "CONTRIBUTING.md").title == "An even share"


def test_a_part_says_its_comment_in_one_line() -> None:
    assert Part("", "Two\nlines.", 1, 2).says == "Two lines."
