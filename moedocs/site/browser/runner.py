"""Runs a reader's cell: prints that cannot flood the page, errors in the reader's own lines, rows for the figure.

The browser's worker loads this file into Pyodide; it needs nothing but the standard library, so CPython tests it too.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import math
import symtable
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

CELL = "<cell>"
MAX_LINES, MAX_CHARACTERS = 200, 20_000  # of what a run prints, and of characters in the value it ends with
MAX_ROWS = 20_000
SECONDS_BETWEEN = 0.1

Send = Callable[[str, int, int], None]  # what was printed, then lines and characters left out so far
Check = Callable[[dict[str, Any]], dict[str, Any]]


class Printer(io.TextIOBase):
    """Passes on what is printed, a few times a second and up to a cap; beyond it, only counts."""

    def __init__(self, send: Send, clock: Callable[[], float] = time.monotonic) -> None:
        self._send, self._clock = send, clock
        self._waiting: list[str] = []
        self._lines, self._characters = MAX_LINES, MAX_CHARACTERS
        self._cut_lines = self._cut_characters = 0
        self._last = -math.inf

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        kept = self._kept(text)
        if kept:
            self._waiting.append(kept)
        self._cut_lines += text.count("\n", len(kept))
        self._cut_characters += len(text) - len(kept)
        if self._clock() - self._last >= SECONDS_BETWEEN:
            self.flush()
        return len(text)

    def flush(self) -> None:
        self._last = self._clock()
        self._send("".join(self._waiting), self._cut_lines, self._cut_characters)
        self._waiting.clear()

    def _kept(self, text: str) -> str:
        """The part of the text for which there is room."""
        if self._cut_characters or not self._lines:
            return ""
        kept = text[: self._characters]
        if kept.count("\n") >= self._lines:
            kept = "".join(kept.splitlines(keepends=True)[: self._lines])
        self._lines -= kept.count("\n")
        self._characters -= len(kept)
        return kept


def run(source: str, namespace: dict[str, Any], send: Send, check: Check | None = None) -> str:
    """Run the cell in the namespace; as JSON its value, its error, and the rows when this run assigned `table`.

    A `check` is given the namespace and says what it finds there: the verdict.
    """
    namespace.setdefault("__name__", "__main__")
    before = namespace.get("table")
    outcome: dict[str, Any] = {"value": None, "error": None, "table": None, "refused": None, "verdict": None}
    printer = Printer(send)
    with contextlib.redirect_stdout(printer), contextlib.redirect_stderr(printer):
        try:
            outcome["value"] = _shortened(_execute(source, namespace))
            outcome["verdict"] = check and check(namespace)
        except BaseException as error:  # SystemExit and KeyboardInterrupt are the reader's as well
            outcome["error"] = explained(error, source)
    printer.flush()
    if outcome["error"] is None and _assigns_table(source, before, namespace.get("table")):
        try:
            outcome["table"] = rows_of(namespace["table"])
        except (TypeError, ValueError) as error:
            outcome["refused"] = str(error)
    return json.dumps(outcome)


def explained(error: BaseException, source: str) -> dict[str, Any]:
    """The reader's line number, that line and the reason, whatever lay between."""
    line = _line(error)
    lines = source.splitlines()
    code = lines[line - 1].strip()[:200] if line and line <= len(lines) else ""
    return {"line": line, "code": code, "reason": _reason(error)}


def rows_of(table: Any) -> list[dict[str, Any]]:
    """A list of dicts, or a dict of columns and single values, as rows of plain numbers, truth values and words."""
    rows = _from_columns(table) if isinstance(table, dict) else _from_records(table)
    if not rows:
        raise ValueError("it has no rows")
    if len(rows) > MAX_ROWS:
        raise ValueError(f"it has {len(rows):,} rows; the figure takes {MAX_ROWS:,} at most")
    return [{str(name): _plain(value, name) for name, value in row.items()} for row in rows]


def _execute(source: str, namespace: dict[str, Any]) -> Any:
    """The value of the last expression, as in a notebook."""
    tree = ast.parse(source, CELL)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, CELL, "exec"), namespace)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), CELL, "eval"), namespace)


def _shortened(value: Any) -> str | None:
    if value is None:
        return None
    text = repr(value)
    rest = len(text) - MAX_CHARACTERS
    return text if rest <= 0 else f"{text[:MAX_CHARACTERS]}… and {rest:,} more characters"


def _assigns_table(source: str, before: Any, after: Any) -> bool:
    if after is None:
        return False
    names = symtable.symtable(source, CELL, "exec")
    return after is not before or ("table" in names.get_identifiers() and names.lookup("table").is_assigned())


def _line(error: BaseException) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == CELL:
        return error.lineno
    frames = [number for frame, number in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == CELL]
    return frames[-1] if frames else None


def _reason(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        here = "a cell has Python's own modules, numpy and moedocs.lite"
        return f"ModuleNotFoundError: there is no {error.name!r} here; {here}"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    return "".join(traceback.format_exception_only(error)).strip()[:2000]


def _from_columns(table: dict[Any, Any]) -> list[dict[Any, Any]]:
    """A single value is a column that is the same in all rows."""
    single = {name: value for name, value in table.items() if isinstance(value, str) or not hasattr(value, "__len__")}
    columns = {name: list(values) for name, values in table.items() if name not in single}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"its columns differ in length: {', '.join(f'{name} {n}' for name, n in lengths.items())}")
    length = max(lengths.values(), default=1)
    columns = {name: [table[name]] * length if name in single else columns[name] for name in table}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _from_records(table: Iterable[Any]) -> list[dict[Any, Any]]:
    rows = list(table)
    if not all(isinstance(row, dict) for row in rows):
        raise TypeError("it must be a list of dicts, or a dict of columns")
    return rows


def _plain(value: Any, name: Any) -> Any:
    value = value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN and no infinity; the chart leaves a gap
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"column {name!r} holds a {type(value).__name__}; numbers, truth values and words can be drawn")
