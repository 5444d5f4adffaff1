"""Cells: NumPy code under a figure whose result replaces the figure's table, in the build and in the browser alike."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moedocs.site.figure import FigureError


@dataclass(frozen=True)
class Cell:
    """The code as the reader first sees it, and what it printed when the site was built."""

    code: str
    output: str


def run(code: str, name: str) -> tuple[str, dict[str, Any]]:
    """What the code prints, and the names it leaves behind."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, name, "exec"), namespace)
    return printed.getvalue(), namespace


def recorded(path: Path) -> Cell:
    """The cell with its output, run here under CPython; it must leave a `table` behind."""
    code = path.read_text("utf-8")
    output, namespace = run(code, str(path))
    if "table" not in namespace:
        raise FigureError(f"figures/cells/{path.name} leaves no `table` behind: it could not redraw its figure")
    return Cell(code, output)
