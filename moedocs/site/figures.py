"""The build of figures: each one brought up to date in a folder of its own, whole or not at all.

A folder's `manifest.json` names the hash of all that went in and of every file that came out. A figure is fresh when
both still hold, so changed code, a changed record and a damaged file are noticed alike.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
import traceback
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from moedocs import charts
from moedocs.lab import records
from moedocs.lab.fingerprint import ROOT, fingerprint
from moedocs.problem import Problem
from moedocs.site import cells, files, pictures
from moedocs.site.figure import FigureError, Rows, Words, cell_path, declared, load, paths

FOLDER = ROOT / "docs" / "assets" / "figures"
PACKAGES = ("torch", "numpy", "altair", "vl-convert-python")
SIGNIFICANT_DIGITS = 6
TABLE_ROWS = 60
FAILURE = "failure.txt"  # why the figure could not be made; what was there before stays beside it
# Far apart: two builds of one tree are the same bytes, so no figure may take about as long as a bound.
TIMES = ((60, "under a minute"), (600, "under 10 minutes"), (3600, "under an hour"))


@dataclass(frozen=True)
class Failure:
    """A figure that could not be made: where, and why, in one line."""

    name: str
    message: str


def out_of_date(names: tuple[str, ...] = (), folder: Path = FOLDER, root: Path = ROOT) -> dict[str, Path]:
    """The figures (all, or those named) whose folder does not hold what today's code and records give."""
    chosen = {name: path_of(name, root) for name in names or paths(root)}
    return {name: path for name, path in chosen.items() if not is_fresh(folder / name, path, root)}


def path_of(name: str, root: Path = ROOT) -> Path:
    """The figure's file; raises FigureError."""
    known = paths(root)
    if name not in known:
        raise FigureError(f"unknown figure {name!r}; there are: {', '.join(known)}")
    return known[name]


def page(name: str, folder: Path, root: Path = ROOT) -> dict[str, Any]:
    """What was made for the pages that show a figure; raises FigureError when it is unknown or not made."""
    path_of(name, root)
    if (folder / name / FAILURE).is_file():
        raise FigureError((folder / name / FAILURE).read_text("utf-8").strip())
    if not (folder / name / "page.json").is_file():
        raise FigureError(f"figure {name!r} is not built; build it with: moedocs build {name}")
    found: dict[str, Any] = json.loads((folder / name / "page.json").read_text("utf-8"))
    return found


def is_fresh(folder: Path, path: Path, root: Path = ROOT) -> bool:
    """Whether the folder's manifest holds: same inputs, and every file as it was written."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        outputs = {file.name: files.digest(file.read_bytes()) for file in folder.iterdir() if file.is_file()}
        del outputs["manifest.json"]
        return bool(manifest["outputs"] == outputs and manifest["inputs"] == inputs(path, root))
    except (OSError, ValueError, KeyError, AttributeError, TypeError, SyntaxError):
        return False


def inputs(path: Path, root: Path = ROOT) -> str:
    """Hash of all that a figure is made from: its code and its cell and what they import, its records, the versions."""
    cell = [cell_path(path)] if cell_path(path).is_file() else []
    parts: list[Any] = [fingerprint(path, *cell, "moedocs.site.figures", root=root), _versions()]
    read = declared(path, "records")
    parts += [fingerprint(records.module_of(name), root=root) for name in read]  # a record goes stale by its code
    beside = cell + [records.path_of(name, root / "figures" / "records") for name in read]
    parts += [file.read_text("utf-8") if file.is_file() else "" for file in beside]
    return files.digest(json.dumps(parts).encode())


def build(name: str, path: Path, folder: Path = FOLDER, root: Path = ROOT) -> Failure | None:
    """Make one figure; one that raises leaves what was there, and beside it which line of it failed, and why."""
    try:
        before = inputs(path, root)
        outputs = _made(name, path, root)
    except Exception as error:
        failure = Failure(name, f"{_place(error, path, root)}: {_reason(error)}")
        files.write(folder / name / FAILURE, f"{failure.message}\n")
        return failure
    for file, text in outputs.items():
        files.write(folder / name / file, text)
    for left in [file for file in (folder / name).iterdir() if file.is_file() and file.name not in outputs]:
        left.unlink()  # by older code, by a kill, by a failure
    hashes = {file: files.digest(text.encode()) for file, text in outputs.items()}
    files.write(folder / name / "manifest.json", files.dumps({"inputs": before, "outputs": hashes}))
    return None


def forget_removed(folder: Path = FOLDER, root: Path = ROOT) -> None:
    """Leave nothing of a figure whose file was removed or renamed: the site would go on publishing it."""
    for left in folder.iterdir() if folder.is_dir() else ():
        if left.is_dir() and left.name not in paths(root):
            shutil.rmtree(left)


def rounded(rows: Rows) -> Rows:
    """The rows as picture, page and download all have them: floats to six significant digits."""
    return [
        {
            key: float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value
            for key, value in row.items()
        }
        for row in rows
    ]


def as_csv(rows: Rows) -> str:
    """One table, one line per row; truth values as true and false, as JavaScript writes them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: str(value).lower() if isinstance(value, bool) else value for key, value in row.items()})
    return text.getvalue()


def _made(name: str, path: Path, root: Path) -> dict[str, str]:
    """Every file of a figure, by name."""
    figure = load(path)
    started = time.process_time()
    rows = rounded(figure.data())
    seconds = time.process_time() - started
    if not rows:
        raise FigureError("data() gave no rows")
    specs = {size.name: pictures.vega_lite(figure.chart(rows, size)) for size in charts.SIZES}
    svgs = {size: pictures.svg(spec, rows, f"{name}-{size}") for size, spec in specs.items()}
    outputs = {f"{size}.vg.json": files.dumps(pictures.vega(spec)) for size, spec in specs.items()}
    outputs |= {f"{size}.svg": picture for size, picture in svgs.items()}
    provenance = _provenance(name, path, figure, specs["wide"], seconds, root)
    return outputs | {
        f"{name}.csv": as_csv(rows),
        f"{name}.svg": pictures.for_download(svgs["wide"]),
        f"{name}.vl.json": files.dumps(pictures.spec_for_download(specs["wide"], f"{name}.csv", rows)),
        "provenance.json": files.dumps(provenance),
        "page.json": files.dumps(_page(name, path, figure, rows, specs["wide"], provenance)),
    }


def _page(
    name: str, path: Path, figure: ModuleType, rows: Rows, spec: dict[str, Any], provenance: dict[str, Any]
) -> dict[str, Any]:
    """What the page needs of the figure beside its pictures."""
    words: Words = figure.words(rows)
    if not (words.caption.strip() and words.description.strip()):
        raise FigureError("words() must give a caption and a description: they are what a screen reader tells")
    controls = pictures.controls(spec)
    cell = cell_path(path)
    return {
        "title": figure.title,
        "badge": figure.badge,
        "sources": list(getattr(figure, "sources", ())),
        "words": asdict(words),
        "controls": controls,
        **_aids(figure, controls),
        "steps": [asdict(step) for step in getattr(figure, "steps", ())],
        "facts": {key: asdict(fact) for key, fact in figure.facts(rows).items()} if hasattr(figure, "facts") else {},
        "table": _table(figure, rows, {control["name"]: control.get("value") for control in controls}),
        "num_rows": len(rows),
        "cell": asdict(cells.recorded(cell)) if cell.is_file() else None,
        "provenance": provenance,
    }


def _aids(figure: ModuleType, controls: list[dict[str, Any]]) -> dict[str, Any]:
    """What a figure may state of its controls: presets that set several at once, limits of those that take a number."""
    presets, limits = getattr(figure, "presets", {}), getattr(figure, "limits", {})
    kinds = {control["name"]: control["bind"]["input"] for control in controls}
    for name in [name for of in presets.values() for values in of.values() for name in values]:
        if name not in kinds:
            raise FigureError(f"presets set {name!r}, which is no control; there are: {', '.join(kinds)}")
    for name in limits:
        if kinds.get(name) != "number":
            raise FigureError(f'limits are stated for {name!r}, which is no control with input="number"')
    in_order = [[label, list(of.items())] for label, of in presets.items()]  # JSON is written with its keys sorted
    return {"presets": in_order, "limits": limits}


def _table(figure: ModuleType, rows: Rows, settings: dict[str, Any]) -> Rows:
    """The rows that the figure shows as it opens; a figure may choose them itself."""
    if hasattr(figure, "table"):
        chosen: Rows = figure.table(rows)
        return chosen
    shown = [row for row in rows if all(row[key] == value for key, value in settings.items() if key in row)]
    return shown[:TABLE_ROWS]


def _provenance(
    name: str, path: Path, figure: ModuleType, spec: dict[str, Any], seconds: float, root: Path
) -> dict[str, Any]:
    """How the figure was made. The time is a bound, not a reading: two builds of one tree are the same bytes."""
    read = {record: records.load(record, root / "figures" / "records") for record in declared(path, "records")}
    return {
        "command": f"moedocs build {name}",
        "source": path.relative_to(root).as_posix(),
        "settings": {control["name"]: control.get("value") for control in pictures.controls(spec)},
        "seed": getattr(figure, "seed", None),
        "engine": fingerprint(path, root=root),
        "versions": _versions(),
        "time": next((words for bound, words in TIMES if seconds < bound), "over an hour"),
        "records": {
            record: {
                "command": records.command(record),
                "fingerprint": read[record].fingerprint,
                "made": read[record].made,
            }
            for record in read
        },
    }


def _versions() -> dict[str, str]:
    return {package: version(package) for package in PACKAGES}


def _place(error: BaseException, path: Path, root: Path) -> str:
    """File and line: the last one of the figure on the way to the error, or that of its cell, or what is no Python."""
    if isinstance(error, cells.CellError):
        return error.place
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [(file, line) for file, line in frames if file == path]
    if isinstance(error, SyntaxError) and Path(error.filename or "").is_relative_to(root):
        own.append((Path(error.filename or ""), error.lineno))
    file, line = own[-1] if own else (path, 1)
    return f"{file.relative_to(root).as_posix()}:{line}"


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no reason given"
    return text if isinstance(error, Problem) else f"{type(error).__name__}: {text[:400]}"
