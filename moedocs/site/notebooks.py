"""Notebook pages: mkdocs-jupyter runs them, MkDocs renders them like any page, and what a run gave is kept.

`keep` replaces the cache of mkdocs-jupyter, whose key knows neither the engine nor our template, and whose file a kill
can leave damaged. A run is kept under the hash of everything it depends on, and checked when it is read.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import jupytext
import mkdocs_jupyter.config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbclient.exceptions import CellExecutionError

from moedocs.lab.fingerprint import ROOT, fingerprint
from moedocs.site import files as writing

log = logging.getLogger("mkdocs.moedocs.notebooks")

TEMPLATES = Path(__file__).with_name("notebook")
KEPT = ROOT / ".cache" / "notebooks"
RUNS_ON = ("torch", "altair", "vl-convert-python", "ipykernel", "jupytext", "mkdocs-jupyter", "nbclient", "nbconvert")
OUTPUT = re.compile(r"<!--output-->(.*?)<!--/output-->", re.DOTALL)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Put both forms of each notebook beside its page, for a reader to take along."""
    mkdocs_jupyter.config.settings.templates_dir = str(TEMPLATES)  # theirs bring 574 kB of style and name a host
    for file in list(files):
        if is_notebook(file):
            source = Path(str(file.abs_src_path)).read_text("utf-8")
            for suffix, text in ((".py", source), (".ipynb", as_ipynb(source))):
                files.append(File.generated(config, f"{file.src_uri[:-3]}/{file.name}{suffix}", content=text))


def on_pre_page(page: Page, config: MkDocsConfig, files: Files) -> None:
    """After mkdocs-jupyter has put its own `render` on the page: let that run the notebook, and MkDocs render it."""
    if is_notebook(page.file) and isinstance(page.render, MethodType):
        run = page.render.__func__

        def render(config: MkDocsConfig, files: Files) -> None:
            def fresh() -> str:
                log.info("running %s", page.file.src_uri)
                return _run(run, Path(str(page.file.abs_src_path)), config, files)

            _render(page, keep(Path(str(page.file.abs_src_path)), fresh), config, files)

        page.render = render  # type: ignore[method-assign]


def is_notebook(file: File) -> bool:
    """A Python file that is a page of its own."""
    return file.src_uri.startswith("notebooks/") and file.src_uri.endswith(".py") and file.abs_src_path is not None


def _run(run: Callable[..., None], path: Path, config: MkDocsConfig, files: Files) -> str:
    """What the template made of the executed notebook; a cell that raises fails the build."""
    page = SimpleNamespace()  # mkdocs-jupyter writes its content, contents and title here
    # our settings, not those of whoever builds; talk to the kernel through files, not over the network
    with patch.dict(os.environ, {"JUPYTER_CONFIG_DIR": str(TEMPLATES)}):
        try:
            run(page, config, files)
        except CellExecutionError as error:
            raise PluginError(told(path, error)) from None
    return str(json.loads(page.content))


def _render(page: Page, text: str, config: MkDocsConfig, files: Files) -> None:
    """MkDocs' own rendering, with each output out of the way of every Markdown extension."""
    outputs = OUTPUT.findall(text)
    numbers = iter(range(len(outputs)))
    page.markdown = OUTPUT.sub(lambda _: f'<div class="moe-slot">{next(numbers)}</div>', text)
    Page.render(page, config, files)
    page.content = re.sub(r'<div class="moe-slot">(\d+)</div>', lambda slot: outputs[int(slot[1])], page.content or "")


def keep(path: Path, run: Callable[[], str], folder: Path = KEPT) -> str:
    """What a run of the notebook gave: from the file where nothing changed since, else from running it."""
    key, file = state_of(path), folder / f"{path.stem}.json"
    try:
        kept = json.loads(file.read_text("utf-8"))
        if kept["key"] == key and kept["hash"] == writing.digest(kept["text"].encode()):
            return str(kept["text"])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        log.info("%s is damaged: running the notebook again", file.name)
    text = run()
    writing.write(file, writing.dumps({"key": key, "text": text, "hash": writing.digest(text.encode())}))
    return text


def state_of(path: Path, root: Path = ROOT) -> str:
    """Hash of all that a run depends on: the notebook, the code it imports, the template, the programs that run it."""
    depends = {
        "notebook": writing.digest(path.read_bytes()),
        "code": fingerprint(path, "moedocs.site.notebooks", root=root),
        "template": [writing.digest(file.read_bytes()) for file in sorted(TEMPLATES.rglob("*.j2"))],
        "versions": {name: version(name) for name in RUNS_ON} | {"python": list(sys.version_info[:2])},
    }
    return writing.digest(writing.dumps(depends).encode())


def told(path: Path, error: CellExecutionError) -> str:
    """One line: file and line, cell and its line, and the reason."""
    trace = ANSI.sub("", error.traceback)
    cells = list(code_cells(path.read_text("utf-8")))
    reason = f"{error.ename}: {ANSI.sub('', error.evalue)}"
    found = re.findall(r"Cell In\[(\d+)\], line (\d+)", trace)
    if not found or int(found[0][0]) > len(cells):
        return f"{_name(path)}: {reason}"
    number, line = int(found[0][0]), int(found[0][1])
    return f"{_name(path)}:{cells[number - 1] + line - 1}: cell {number}, line {line}: {reason}"


def code_cells(text: str) -> Iterator[int]:
    """The line that each code cell of a percent-format file begins on, marker and empty lines left out."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("# %%")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        body = [number for number in range(start + 1, end) if lines[number].strip()]
        if body and "[markdown]" not in lines[start]:
            yield body[0] + 1


def as_ipynb(source: str) -> str:
    """The notebook for Jupyter, not yet run; its cells are numbered, so that two builds write the same bytes."""
    notebook: Any = jupytext.reads(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return str(jupytext.writes(notebook, fmt="ipynb"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
