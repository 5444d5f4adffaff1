"""Notebook pages: mkdocs-jupyter runs them, MkDocs renders them like any page, and what a run gave is kept.

`keep` replaces the cache of mkdocs-jupyter, whose key knows neither the engine nor our template, and whose file a kill
can leave damaged. A run is kept under the hash of everything it depends on, and checked when it is read.
"""

from __future__ import annotations

import ast
import functools
import json
import logging
import os
import posixpath
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import MethodType, SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import urljoin

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
KEPT = Path(".cache", "notebooks")  # beside mkdocs.yml
RUNS_ON = ("torch", "altair", "vl-convert-python", "ipykernel", "jupytext", "mkdocs-jupyter", "nbclient", "nbconvert")
OUTPUT = re.compile(r"<!--output-->(.*?)<!--/output-->", re.DOTALL)
RELATIVE = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Put both forms of each notebook beside its page, for a reader to take along."""
    mkdocs_jupyter.config.settings.templates_dir = str(TEMPLATES)  # theirs bring 574 kB of style and name a host
    for file in [file for file in files if is_notebook(file)]:
        source = Path(str(file.abs_src_path)).read_text("utf-8")
        address = functools.partial(_address, files, posixpath.dirname(file.src_uri), config.site_url or "")
        for suffix, text in ((".py", source), (".ipynb", as_ipynb(source, address))):
            files.append(File.generated(config, f"{file.src_uri[:-3]}/{file.name}{suffix}", content=text))


def on_pre_page(page: Page, config: MkDocsConfig, files: Files) -> None:
    """After mkdocs-jupyter has put its own `render` on the page: let that run the notebook, and MkDocs render it."""
    if is_notebook(page.file) and isinstance(page.render, MethodType):
        run = page.render.__func__
        path, home = Path(str(page.file.abs_src_path)), Path(config.config_file_path).parent

        def render(config: MkDocsConfig, files: Files) -> None:
            _render(page, keep(path, lambda: _run(run, path, config, files), home / KEPT), config, files)

        page.render = render  # type: ignore[method-assign]


def is_notebook(file: File) -> bool:
    """A Python file that is a page of its own."""
    return file.src_uri.startswith("notebooks/") and file.src_uri.endswith(".py") and file.abs_src_path is not None


def _run(run: Callable[..., None], path: Path, config: MkDocsConfig, files: Files) -> str:
    """What the template made of the executed notebook; a cell that raises fails the build."""
    log.info("running %s", path.name)
    page = SimpleNamespace()  # mkdocs-jupyter writes its content, contents and title here
    # our settings, not those of whoever builds; talk to the kernel through files, not over the network
    with patch.dict(os.environ, {"JUPYTER_CONFIG_DIR": str(TEMPLATES)}):
        try:
            run(page, config, files)
        except CellExecutionError as error:
            raise PluginError(told(path, error, Path(config.config_file_path).parent)) from None
    return str(json.loads(page.content))


def _render(page: Page, text: str, config: MkDocsConfig, files: Files) -> None:
    """MkDocs' own rendering, with each output out of the way of every Markdown extension."""
    outputs = OUTPUT.findall(text)
    numbers = iter(range(len(outputs)))
    page.markdown = OUTPUT.sub(lambda _: f'<div class="moe-slot">{next(numbers)}</div>', text)
    Page.render(page, config, files)
    page.content = re.sub(r'<div class="moe-slot">(\d+)</div>', lambda slot: outputs[int(slot[1])], page.content or "")


def keep(path: Path, run: Callable[[], str], folder: Path) -> str:
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
        "code": fingerprint(*sorted(modules(path.read_text("utf-8"), root)), root=root),
        "ours": fingerprint("moedocs.site.notebooks"),
        "template": [writing.digest(file.read_bytes()) for file in sorted(TEMPLATES.rglob("*.*"))],
        "versions": {name: version(name) for name in RUNS_ON} | {"python": list(sys.version_info[:2])},
    }
    return writing.digest(writing.dumps(depends).encode())


def modules(source: str, root: Path = ROOT) -> set[str]:
    """The modules of this repository that a notebook imports by name."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    places = {name: root.joinpath(*name.split(".")) for name in names}
    return {name for name, place in places.items() if (place / "__init__.py").is_file() or _module(place).is_file()}


def _module(place: Path) -> Path:
    return place.with_name(f"{place.name}.py")


def told(path: Path, error: CellExecutionError, home: Path) -> str:
    """One line: file and line, cell and its line, and the reason."""
    name = path.relative_to(home).as_posix() if path.is_relative_to(home) else path.name
    reason = f"{error.ename}: {ANSI.sub('', error.evalue)}"
    lines = list(code_cells(path.read_text("utf-8")))
    found = re.search(r"Cell In\[(\d+)\], line (\d+)", ANSI.sub("", error.traceback))
    if found is None or int(found[1]) > len(lines):
        return f"{name}: {reason}"
    number, line = int(found[1]), int(found[2])
    return f"{name}:{lines[number - 1] + line - 1}: cell {number}, line {line}: {reason}"


def code_cells(text: str) -> Iterator[int]:
    """The line that each code cell of a percent-format file begins on, marker and empty lines left out."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("# %%")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        body = [number for number in range(start + 1, end) if lines[number].strip()]
        if body and "[markdown]" not in lines[start]:
            yield body[0] + 1


def as_ipynb(source: str, address: Callable[[str], str] = str) -> str:
    """The notebook for Jupyter, not yet run; its cells are numbered, so that two builds write the same bytes.

    `address` turns a link as it stands in the notebook into one that works elsewhere.
    """
    notebook: Any = jupytext.reads(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        if cell["cell_type"] == "markdown":
            cell["source"] = RELATIVE.sub(lambda link: f"]({address(link[1])}", cell["source"])
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return str(jupytext.writes(notebook, fmt="ipynb"))


def _address(files: Files, folder: str, site: str, link: str) -> str:
    """Where on the public site a link leads that is relative to `folder` of the docs."""
    target = posixpath.normpath(posixpath.join(folder, link))
    file = files.get_file_from_path(target)
    return urljoin(site, file.url if file else target)
