"""Exercises: one line to complete, a check with several inputs, hint and solution, all in one file of percent cells.

The file is proven before it is shown: the solution passes its check, what is given and every known mistake do not.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from moedocs.lab.fingerprint import ROOT
from moedocs.problem import Problem
from moedocs.site import frames
from moedocs.site.browser import checker, runner

FOLDER = Path("figures", "exercises")
CELL = re.compile(r"^# %%[ \t]*(.*?)[ \t]*$", re.MULTILINE)
ONCE, KINDS = ("given", "check", "hint", "solution"), ("given", "check", "hint", "solution", "wrong")
GAP = '<span class="o">...</span>'


class ExerciseError(Problem):
    """An exercise that cannot be shown; the message begins with its file and line."""


@dataclass(frozen=True)
class Part:
    """One percent cell: its code, its leading comment, and the line of the file that its marker stands on."""

    code: str
    comment: str
    line: int


@dataclass(frozen=True)
class Exercise:
    """What a file says; `solution` and the code of every known mistake are the given code with its gap filled."""

    name: str
    title: str
    task: str
    function: str
    given: Part
    check: Part
    hint: Part
    solution: Part
    wrong: tuple[Part, ...]
    gap: tuple[int, int]  # the line of the gap in the given code, and how many lines fill it

    def as_json(self) -> str:
        """What the check needs in the reader's browser."""
        wrong = [{"code": part.code, "says": " ".join(part.comment.split())} for part in self.wrong]
        return json.dumps({"function": self.function, "check": self.check.code, "wrong": wrong}, ensure_ascii=False)


def names(root: Path = ROOT) -> list[str]:
    """All exercises: `figures/exercises/drop_order.py` is `drop-order`."""
    return [path.stem.replace("_", "-") for path in sorted((root / FOLDER).glob("*.py"))]


def proven(name: str, root: Path = ROOT) -> Exercise:
    """The exercise, whose check holds what it should; raises ExerciseError with file and line."""
    if name not in names(root):
        raise ExerciseError(f"unknown exercise {name!r}; there are: {', '.join(names(root)) or 'none'}")
    path = root / FOLDER / f"{name.replace('-', '_')}.py"
    return _proven(name, path.read_text("utf-8"), path.relative_to(root).as_posix())


@cache
def _proven(name: str, text: str, place: str) -> Exercise:
    exercise = read(name, text, place)
    prove(exercise, place)
    return exercise


def read(name: str, text: str, place: str) -> Exercise:
    """The parts of a file; raises ExerciseError where one is missing or has no sense."""
    try:
        title, _, task = (ast.get_docstring(ast.parse(text)) or "").partition("\n")
    except SyntaxError as error:
        raise ExerciseError(f"{place}:{error.lineno}: {error.msg}") from None
    if not (title and task.strip()):
        raise ExerciseError(f"{place}:1: it begins with a docstring: a line with the title, an empty one, the task")
    cells = _cells(text, place)
    single = {kind: cells[kind][0] for kind in ONCE}
    given = single["given"]
    line = _gap(given, place)
    whole = [_filled(given, part, line) for part in (single["solution"], *cells["wrong"])]
    gap = (line, len(whole[0].code.splitlines()) - len(given.code.splitlines()) + 1)
    return Exercise(
        name, title, task.strip(), _function(given, place), given, single["check"], single["hint"], whole[0],
        tuple(whole[1:]), gap,
    )  # fmt: skip


def _cells(text: str, place: str) -> dict[str, list[Part]]:
    """The cells by kind, each kind there as often as it must be."""
    marks = list(CELL.finditer(text))
    found: dict[str, list[Part]] = {kind: [] for kind in KINDS}
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        line = text.count("\n", 0, mark.start()) + 1
        if mark[1] not in KINDS:
            raise ExerciseError(f"{place}:{line}: unknown cell {mark[1]!r}; there are: {', '.join(KINDS)}")
        found[mark[1]].append(_part(text[mark.end() : after.start() if after else None].strip("\n"), line))
    for kind, parts in found.items():
        if not parts:
            raise ExerciseError(f"{place}:1: it has no cell `# %% {kind}`")
        if len(parts) > 1 and kind in ONCE:
            raise ExerciseError(f"{place}:{parts[1].line}: a second cell `# %% {kind}`")
    for part in (*found["hint"], *found["wrong"]):
        if not part.comment:
            raise ExerciseError(f"{place}:{part.line}: it begins with comment lines that say something to the reader")
    for part in found["wrong"]:
        if "$" in part.comment or "**" in part.comment:
            raise ExerciseError(f"{place}:{part.line}: a verdict shows words and `names`, no formula and no Markdown")
    return found


def _part(body: str, line: int) -> Part:
    """Leading comments apart from the code."""
    lines = body.strip().splitlines()
    first = next((number for number, text in enumerate(lines) if not text.startswith("#")), len(lines))
    comment = "\n".join(text.removeprefix("#").removeprefix(" ") for text in lines[:first])
    return Part("\n".join(lines[first:]).strip("\n"), comment, line)


def _gap(given: Part, place: str) -> int:
    line = checker.unfinished(given.code)
    if line is None:
        raise ExerciseError(f"{place}:{given.line}: nothing is left to complete: one line of it must say `name = ...`")
    rest = given.code.splitlines()
    rest[line - 1] = rest[line - 1].replace("...", "0")
    if checker.unfinished("\n".join(rest)) is not None:
        raise ExerciseError(f"{place}:{given.line}: more than one line says `...`; a reader completes one")
    return line


def _filled(given: Part, part: Part, line: int) -> Part:
    """The given code with these lines in the place of its gap."""
    lines = given.code.splitlines()
    indent = lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
    lines[line - 1] = textwrap.indent(part.code, indent)
    return Part("\n".join(lines), part.comment, part.line)


def _function(given: Part, place: str) -> str:
    """The reader's function: the last that is given."""
    found = [node.name for node in ast.parse(given.code).body if isinstance(node, ast.FunctionDef)]
    if not found:
        raise ExerciseError(f"{place}:{given.line}: it defines no function for the check to call")
    return found[-1]


def prove(exercise: Exercise, place: str) -> None:
    """Run the check as the browser does: on the solution, on what is given, on every known mistake."""
    solution = _outcome(exercise, exercise.solution, place)
    if not solution["right"]:
        raise ExerciseError(f"{place}:{exercise.solution.line}: the check refuses the solution: {solution['says']}")
    if _outcome(exercise, exercise.given, place)["right"]:
        raise ExerciseError(f"{place}:{exercise.given.line}: the check accepts the given code as it stands")
    for part in exercise.wrong:
        verdict = _outcome(exercise, part, place)
        if verdict["right"]:
            raise ExerciseError(f"{place}:{part.line}: the check accepts this mistake; it needs an input more")
        if verdict["because"] != " ".join(part.comment.split()):
            raise ExerciseError(f"{place}:{part.line}: no input of the check tells this mistake from another one")


def _outcome(exercise: Exercise, part: Part, place: str) -> dict[str, Any]:
    """The verdict; an exception in the check's own lines or in a completion fails the build."""
    check = checker.checking(exercise.as_json(), part.code)
    outcome = json.loads(runner.run(part.code, {}, lambda text, lines, characters: None, check))
    if error := outcome["error"]:
        raise ExerciseError(f"{place}:{part.line}: it raises {error['reason']}".replace("\n", " "))
    verdict: dict[str, Any] = outcome["verdict"]
    return verdict


def markdown(exercise: Exercise, number: str, cell: str) -> str:
    """The whole exercise as Markdown, with `cell` in the place of its cell."""
    start, count = exercise.gap
    return frames.rendered(
        "exercise.md",
        name=exercise.name,
        title=Markup(f"{number}. {exercise.title}" if number else exercise.title),
        task=Markup(exercise.task),
        hint=Markup(exercise.hint.comment),
        solution=Markup(exercise.solution.code),
        lines=" ".join(str(line) for line in range(start, start + count)),
        cell=Markup(cell),
    )


def cell(exercise: Exercise, src: str, megabytes: float) -> str:
    """The cell as HTML: whole without scripts, its gap marked, with what the check needs beside it."""
    lines = highlight(exercise.given.code, PythonLexer(), HtmlFormatter(nowrap=True)).splitlines()
    at = exercise.gap[0] - 1
    lines[at] = lines[at].replace(GAP, GAP.replace('"o"', '"o moe-cell__gap"'))
    data = exercise.as_json().replace("<", "\\u003c")
    return frames.rendered(
        "exercise.html",
        name=exercise.name,
        src=src,
        code=Markup("\n".join(lines) + "\n"),
        data=Markup(data),
        megabytes=f"{megabytes:.1f}",
    )
