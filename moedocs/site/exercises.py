"""Exercises on pages: proven before they are shown, so that a solution passes its check and no known mistake does."""

from __future__ import annotations

import json
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from moedocs.lab.fingerprint import ROOT
from moedocs.site import frames
from moedocs.site.browser import checker, runner
from moedocs.site.exercise import Exercise, ExerciseError, Part, read

FOLDER = Path("figures", "exercises")
FEWEST = 3  # inputs: with fewer, a wrong answer is right by luck too often
GAP = '<span class="o">...</span>'


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
    _prove_cases(exercise, place)
    solution = verdict(exercise, exercise.solution, place)
    if not solution["right"]:
        raise ExerciseError(f"{place}:{exercise.solution.line}: the check refuses the solution: {solution['says']}")
    for part in exercise.wrong:
        _prove_refused(exercise, part, place)
    return exercise


def _prove_cases(exercise: Exercise, place: str) -> None:
    """The check by itself: its inputs, each with words, arguments and what is to come."""
    try:
        cases = checker.cases(exercise.as_json())
    except Exception as error:
        lines = [step.lineno for step in traceback.extract_tb(error.__traceback__) if step.filename == checker.CHECK]
        at = exercise.check.start + ((lines or [1])[-1] or 1) - 1
        raise ExerciseError(f"{place}:{at}: {type(error).__name__}: {error}") from None
    if len(cases) < FEWEST:
        raise ExerciseError(f"{place}:{exercise.check.line}: {len(cases)} inputs; it needs {FEWEST} at least")
    for case in cases:
        if not (isinstance(case, tuple) and len(case) == 3 and isinstance(case[0], str) and isinstance(case[1], tuple)):
            raise ExerciseError(
                f"{place}:{exercise.check.line}: `cases` yields words, a tuple of arguments, the answer"
            )


def _prove_refused(exercise: Exercise, part: Part, place: str) -> None:
    found = verdict(exercise, part, place)
    if found["right"]:
        raise ExerciseError(f"{place}:{part.line}: the check accepts this mistake; it needs one more input")
    if found["because"] != part.says:
        raise ExerciseError(f"{place}:{part.line}: no input of the check tells this mistake from another one")


def verdict(exercise: Exercise, part: Part, place: str) -> dict[str, Any]:
    """What the check says of a completion, run as the browser does it; one that raises fails the build."""
    check = checker.checking(exercise.as_json(), part.code)
    outcome = json.loads(runner.run(part.code, {}, lambda text, lines, characters: None, check))
    if error := outcome["error"]:
        raise ExerciseError(f"{place}:{part.line}: it raises {error['reason']}".replace("\n", " "))
    found: dict[str, Any] = outcome["verdict"]
    return found


def markdown(exercise: Exercise, number: str, cell: str) -> str:
    """The whole exercise as Markdown, with `cell` in the place of its cell."""
    start, count = exercise.gap
    return frames.rendered(
        "exercise.md",
        name=exercise.name,
        title=Markup(f"{number}. {exercise.title}" if number else f"Exercise: {exercise.title}"),
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
    return frames.rendered(
        "exercise.html",
        name=exercise.name,
        src=src,
        code=Markup("\n".join(lines) + "\n"),
        data=exercise.as_json(),
        megabytes=f"{megabytes:.1f}",
    )
