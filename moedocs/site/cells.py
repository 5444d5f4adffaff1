"""Cells: NumPy code under a figure whose result replaces the figure's table, run here as the browser runs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from moedocs.site.browser import runner
from moedocs.site.figure import FigureError, Rows


class CellError(FigureError):
    """A cell that cannot redraw its figure, and the place that says so."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place


@dataclass(frozen=True)
class Cell:
    """The code as the reader first sees it, what it printed when the site was built, and the rows it gave."""

    code: str
    output: str
    table: Rows


def recorded(path: Path) -> Cell:
    """The cell, run here under CPython; one that raises or gives no rows could not redraw its figure."""
    code = path.read_text("utf-8")
    printed: list[str] = []
    outcome = json.loads(runner.run(code, {}, lambda text, lines, characters: printed.append(text)))
    place = f"figures/cells/{path.name}"
    if outcome["error"]:
        raise CellError(f"{place}:{outcome['error']['line']}", outcome["error"]["reason"])
    if not outcome["table"]:
        raise CellError(f"{place}:1", f"it gives its figure no rows: {outcome['refused'] or 'it assigns no `table`'}")
    return Cell(code, "".join(printed), outcome["table"])
