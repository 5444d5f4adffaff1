"""The Markdown extension: puts what a reference names in its place, on any builder that runs Python-Markdown."""

from __future__ import annotations

import ast
import json
import posixpath
from html import escape
from pathlib import Path
from typing import Any

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor

from moedocs.lab.fingerprint import ROOT
from moedocs.problem import Problem
from moedocs.site import bibliography, figures, frames, values
from moedocs.site.figure import paths
from moedocs.site.references import KINDS, Reference, replaced

ASSETS = "assets"


class UnknownReference(Problem):
    """A reference that names nothing; the message says what there is."""


class MoedocsExtension(Extension):
    """Registers the references; `source` is where the repository's files can be read."""

    def __init__(self, **settings: Any) -> None:
        self.config = {
            "source": ["", "address under which the repository's files can be read, with a slash at the end"]
        }
        super().__init__(**settings)

    def extendMarkdown(self, md: Markdown) -> None:
        md.block_level_elements += ["moe-figure", "moe-cell"]  # else Markdown puts them into a paragraph
        # before superfences (25), which would take the code blocks away, and after whitespace is normalised (30)
        md.preprocessors.register(References(md, self.getConfig("source")), "moedocs", 28)


class References(Preprocessor):
    """Replaces every reference of a page; one that names nothing shows why (the check before it fails a build)."""

    def __init__(self, md: Markdown, source: str) -> None:
        super().__init__(md)
        self.source = source

    def run(self, lines: list[str]) -> list[str]:
        cited: dict[str, int] = {}
        return replaced("\n".join(lines), lambda reference: self._shown(reference, cited)).split("\n")

    def _shown(self, reference: Reference, cited: dict[str, int]) -> str:
        try:
            html = self._html(reference, cited)
        except Problem as problem:
            html = frames.error(str(problem))
        return html if reference.kind == "code" and html.startswith("```") else self.md.htmlStash.store(html)

    def _html(self, reference: Reference, cited: dict[str, int]) -> str:
        check(reference)
        assets, name = f"{_to_root(self.md)}{ASSETS}/", reference.names[0]
        if reference.kind == "figure":
            return frames.figure(name, figures.FOLDER / name, f"{assets}figures/{name}/", self.source)
        if reference.kind == "cell":
            return frames.cell(name, figures.FOLDER / name, f"{assets}pyodide/", _first_run_megabytes())
        if reference.kind == "cite":
            return bibliography.citation(name)
        if reference.kind == "code":
            return f"```python\n{code(name)}\n```"
        quantity = values.look_up(reference.names, figures.FOLDER, reference.options.get("as"))
        text = values.shown(quantity, int(reference.options.get("digits", "3")))
        exact = f"{quantity.value:,}" if isinstance(quantity.value, int) else f"{quantity.value:.6g}"
        title = escape(f"{exact} {quantity.unit}: {quantity.formula}", quote=True)
        return f'<data class="moe-value" value="{quantity.value}" title="{title}">{escape(text)}</data>'


def check(reference: Reference) -> None:
    """Raise a Problem with the remedy when the reference names nothing."""
    if reference.kind not in KINDS:
        raise UnknownReference(f"unknown reference {reference.kind!r}; there are: {', '.join(KINDS)}")
    if not reference.names:
        raise UnknownReference(f"{{{{ {reference.kind} }}}} names nothing")
    name = reference.names[0]
    if reference.kind in ("figure", "cell"):
        _check_figure(reference.kind, name)
    elif reference.kind == "cite":
        bibliography.entry(name)
    elif reference.kind == "code":
        code(name)
    else:
        values.look_up(reference.names, figures.FOLDER, reference.options.get("as"))
        if not reference.options.get("digits", "3").isdigit():
            raise UnknownReference(f"digits={reference.options['digits']} must be a whole number")


def code(name: str) -> str:
    """The source of `moedocs.engine.routing.softmax_top_k`, or of a whole module, as it stands in the repository."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:cut]).with_suffix(".py")
        if path.is_file():
            text = path.read_text("utf-8")
            return _definition(text, parts[cut:], name).strip("\n")
    raise UnknownReference(f"no code named {name!r}; write it as moedocs.engine.routing.softmax_top_k")


def _definition(text: str, inner: list[str], name: str) -> str:
    if not inner:
        return text
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and [node.name] == inner:
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "\n".join(text.splitlines()[start - 1 : node.end_lineno])
    raise UnknownReference(f"no definition of {name!r}")


def _check_figure(kind: str, name: str) -> None:
    known = paths(ROOT)
    if name not in known:
        raise UnknownReference(f"unknown figure {name!r}; there are: {', '.join(known)}")
    page = figures.FOLDER / name / "page.json"
    if not page.is_file():
        raise UnknownReference(f"figure {name!r} is not built; build it with: moedocs build {name}")
    if kind == "cell" and json.loads(page.read_text("utf-8"))["cell"] is None:
        raise UnknownReference(f"figure {name!r} has no cell; write one in figures/cells/{known[name].name}")


def _to_root(md: Markdown) -> str:
    """The way from the page to the site's root, such as `../../`; MkDocs leaves the page on its link processor."""
    for processor in md.treeprocessors:
        file = getattr(processor, "file", None)
        if file is not None:
            return posixpath.relpath(".", posixpath.dirname(file.url) or ".") + "/"
    return ""


def _first_run_megabytes() -> float:
    sizes = json.loads((Path(figures.FOLDER).parent / "pyodide" / "sizes.json").read_text("utf-8"))
    return float(sizes["first_run"]) / 1e6


def makeExtension(**settings: Any) -> MoedocsExtension:
    """Python-Markdown's entry point."""
    return MoedocsExtension(**settings)
