"""Places where tests may break things: a small root with figures of its own, and a copy of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from moedocs.lab.fingerprint import ROOT
from moedocs.site import files

FIGURE = '''"""Two bars."""

import altair as alt

from moedocs.charts import Chart, Size, colour
from moedocs.site.figure import Rows, Words

title = "Two bars"
badge = "formula"


def data() -> Rows:
    return [{"bar": "first", "height": 1.0}, {"bar": "second", "height": 2.5}]


def words(rows: Rows) -> Words:
    return Words("The second bar is taller.", "Two bars, of which the second is taller.")


def chart(rows: Rows, size: Size) -> Chart:
    bars = alt.Chart(alt.NamedData("table")).mark_bar(color=colour("active"))
    return bars.encode(x="bar:N", y="height:Q").properties(width=size.width - 80, height=120)
'''

# With a number to enter and a choice, for what no figure of the project may have at the time.
NUMBERED = FIGURE.replace(
    ".properties(",
    """.transform_calculate(times="datum.height * speed").encode(y="times:Q").add_params(
        alt.param(name="speed", value=2.5, bind=alt.binding(input="number", name="Speed (m/s)")),
        alt.param(name="which", value="a", bind=alt.binding_select(options=["a", "b"], name="Which")),
    ).properties(""",
)

SITE = """INHERIT: base.yml
site_url: http://127.0.0.1:8000/
nav: [{nav}]
plugins: []
"""


def small_root(folder: Path, **figures: str) -> Path:
    """A root that has this checkout's code and figures of its own, by the stem of their file."""
    (folder / "figures" / "cells").mkdir(parents=True)
    (folder / "moedocs").symlink_to(ROOT / "moedocs")
    for name, source in figures.items():
        (folder / "figures" / f"{name}.py").write_text(source, "utf-8")
    return folder


def copied(folder: Path, figures: tuple[str, ...], pages: dict[str, str]) -> Path:
    """The repository with these of its figures and pages of its own; what was fetched for it is shared."""
    shutil.copytree(ROOT / "moedocs", folder / "moedocs", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("package-lock.json", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copyfile(ROOT / "mkdocs.yml", folder / "base.yml")
    (folder / "mkdocs.yml").write_text(SITE.format(nav=", ".join(pages)))
    for name in ("records", "exercises"):
        shutil.copytree(ROOT / "figures" / name, folder / "figures" / name)
    for name in figures:
        shutil.copyfile(ROOT / "figures" / f"{name}.py", folder / "figures" / f"{name}.py")
    for name, text in pages.items():
        files.write(folder / "docs" / name, text)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    (ROOT / ".cache" / "pyodide").mkdir(parents=True, exist_ok=True)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "pyodide").symlink_to(ROOT / ".cache" / "pyodide")
    return folder


def start(root: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """`python -m` these words with the code of that copy, in a process group of its own."""
    settings = {"PYTHONPATH": str(root), "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"} | environment
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=root,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(root: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit status and all that was said."""
    process = start(root, *words, **environment)
    said, _ = process.communicate()
    return process.returncode, said


def hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): files.digest(path.read_bytes()) for path in found}
