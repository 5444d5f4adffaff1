"""What an exercise is: a file in `figures/exercises/` of a docstring and percent cells, read into its parts."""

from __future__ import annotations

import ast
import json
import re
import textwrap
from dataclasses import dataclass

from moedocs.problem import Problem
from moedocs.site.browser import checker

ONCE, SPOKEN = ("given", "check", "hint", "solution"), ("hint", "wrong")
KINDS = (*ONCE, "wrong")
MARK = re.compile(r"^# %%[ \t]*(.*?)[ \t]*$", re.MULTILINE)


class ExerciseError(Problem):
    """An exercise that cannot be shown; the message begins with its file and line."""


@dataclass(frozen=True)
class Part:
    """One percent cell: its code, what it says in comment lines, the lines of its marker and of its first word."""

    code: str
    comment: str
    line: int
    start: int

    @property
    def says(self) -> str:
        """The comment in one line, as a verdict shows it."""
        return " ".join(self.comment.split())


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
        wrong = [{"code": part.code, "says": part.says} for part in self.wrong]
        return json.dumps({"function": self.function, "check": self.check.code, "wrong": wrong}, ensure_ascii=False)


def read(name: str, text: str, place: str) -> Exercise:
    """The parts of a file; raises ExerciseError where one is missing or makes no sense."""
    title, task = _words(text, place)
    cells = _cells(text, place)
    given, check, hint, solution = (cells[kind][0] for kind in ONCE)
    line = _gap(given, place)
    filled = [_filled(given, part, line) for part in (solution, *cells["wrong"])]
    gap = (line, len(solution.code.splitlines()))
    return Exercise(name, title, task, _function(given, place), given, check, hint, filled[0], tuple(filled[1:]), gap)


def _words(text: str, place: str) -> tuple[str, str]:
    """Title and task."""
    try:
        title, _, task = (ast.get_docstring(ast.parse(text)) or "").partition("\n")
    except SyntaxError as error:
        raise ExerciseError(f"{place}:{error.lineno}: {error.msg}") from None
    if not (title and task.strip()):
        raise ExerciseError(f"{place}:1: it begins with a docstring: a line with the title, an empty one, the task")
    return title, task.strip()


def _cells(text: str, place: str) -> dict[str, list[Part]]:
    """The cells by kind, each kind there as often as it must be."""
    marks = list(MARK.finditer(text))
    found: dict[str, list[Part]] = {kind: [] for kind in KINDS}
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        line = text.count("\n", 0, mark.start()) + 1
        if mark[1] not in KINDS:
            raise ExerciseError(f"{place}:{line}: unknown cell {mark[1]!r}; there are: {', '.join(KINDS)}")
        part = _part(mark[1], text[mark.end() : after.start() if after else None], line)
        _accept(mark[1], part, place)
        found[mark[1]].append(part)
    for kind, parts in found.items():
        if not parts:
            raise ExerciseError(f"{place}:1: it has no cell `# %% {kind}`")
        if len(parts) > 1 and kind in ONCE:
            raise ExerciseError(f"{place}:{parts[1].line}: a second cell `# %% {kind}`")
    return found


def _part(kind: str, body: str, line: int) -> Part:
    """The cell behind a marker; what is said to the reader stands in the comment lines that it begins with."""
    start = line + body[: len(body) - len(body.lstrip())].count("\n")
    lines = body.strip().splitlines()
    if kind == "given":  # two empty lines are for formatters, one is for a small screen
        lines = "\n".join(lines).replace("\n\n\n", "\n\n").splitlines()
    code = next((n for n, text in enumerate(lines) if not text.startswith("#")), len(lines)) if kind in SPOKEN else 0
    comment = "\n".join(text.removeprefix("#").removeprefix(" ") for text in lines[:code])
    return Part("\n".join(lines[code:]).strip("\n"), comment, line, start)


def _accept(kind: str, part: Part, place: str) -> None:
    if kind in SPOKEN and not part.comment:
        raise ExerciseError(f"{place}:{part.line}: it begins with comment lines that say something to the reader")
    if kind == "wrong" and ("$" in part.comment or "**" in part.comment):
        raise ExerciseError(f"{place}:{part.line}: a verdict shows words and `names`, no formula and no Markdown")
    if kind != "hint" and not part.code:
        raise ExerciseError(f"{place}:{part.line}: it has no code")


def _gap(given: Part, place: str) -> int:
    """The line of the given code that is to be completed."""
    line = checker.unfinished(given.code)
    if line is None:
        raise ExerciseError(f"{place}:{given.line}: nothing is left to complete: one line of it must say `name = ...`")
    if checker.unfinished(_filled(given, Part("pass", "", 0, 0), line).code) is not None:
        raise ExerciseError(f"{place}:{given.line}: more than one line says `...`; a reader completes one")
    return line


def _filled(given: Part, part: Part, line: int) -> Part:
    """The given code with these lines in the place of its gap."""
    lines = given.code.splitlines()
    indent = lines[line - 1][: -len(lines[line - 1].lstrip())]
    lines[line - 1] = textwrap.indent(part.code, indent)
    return Part("\n".join(lines), part.comment, part.line, part.start)


def _function(given: Part, place: str) -> str:
    """The reader's function: the last that is given."""
    found = [node.name for node in ast.parse(given.code).body if isinstance(node, ast.FunctionDef)]
    if not found:
        raise ExerciseError(f"{place}:{given.line}: it defines no function for the check to call")
    return found[-1]
