"""The Markdown extension: puts what a reference names in its place, on any builder that runs Python-Markdown."""

from __future__ import annotations

import ast
import json
import logging
import posixpath
from html import escape
from pathlib import Path
from typing import Any

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor

from moedocs.claims import results
from moedocs.cost import wording
from moedocs.lab.fingerprint import ROOT
from moedocs.problem import Problem
from moedocs.site import atlas, bibliography, bills, cards, claims, exercises, figures, frames, terms, values
from moedocs.site.browser import desk
from moedocs.site.references import KINDS, NAMELESS, OPTIONS, Reference, replaced

log = logging.getLogger("mkdocs.moedocs.pages")  # below "mkdocs" a strict build counts errors and ends in failure

ASSETS = "assets"
CLAIMS = results.FILE


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
        md.block_level_elements += [
            "moe-figure",
            "moe-cell",
            "moe-bill",
            "moe-table",
            "moe-symbols",
        ]  # else Markdown puts them into a paragraph
        # before superfences (25), which would take the code blocks away, and after whitespace is normalised (30)
        md.preprocessors.register(References(md, self.getConfig("source")), "moedocs", 28)


class References(Preprocessor):
    """Replaces every reference of a page; one that names nothing shows why, and fails a strict build."""

    def __init__(self, md: Markdown, source: str) -> None:
        super().__init__(md)
        self.source = source

    def run(self, lines: list[str]) -> list[str]:
        return replaced("\n".join(lines), self._shown).split("\n")

    def _shown(self, reference: Reference) -> str:
        try:
            if reference.kind == "exercise":
                return self._exercise(reference)
            html = self._html(reference)
        except Problem as problem:
            log.error("%s: {{ %s }}: %s", getattr(_file(self.md), "src_uri", "a page"), reference.text, problem)
            html = frames.error(str(problem))
        if reference.kind == "claims" or (reference.kind == "code" and html.startswith("```")):
            return html
        return self.md.htmlStash.store(html)

    def _html(self, reference: Reference) -> str:
        check(reference)
        assets = f"{_to_root(self.md)}{ASSETS}/"
        if reference.kind == "atlas":
            return _styled(assets, "atlas", atlas.table(f"{assets}{atlas.CSV}", _card_addresses(self.md)))
        if reference.kind == "claims":
            return self._all_claims(assets)
        if reference.kind == "glossary":
            return terms.glossary(_links(self.md))
        if reference.kind == "term":
            return terms.marked(reference.names, _links(self.md))
        name = reference.names[0]
        if reference.kind == "claim":
            return _styled(assets, "claim", claims.block(name, _claims_address(self.md), CLAIMS))
        if reference.kind == "card":
            return _styled(assets, "card", cards.card(name))
        if reference.kind == "figure":
            return frames.figure(name, figures.FOLDER / name, f"{assets}figures/{name}/", self.source)
        if reference.kind == "cell":
            return frames.cell(name, figures.FOLDER / name, f"{assets}pyodide/", _megabytes("first_run"))
        if reference.kind == "bill":
            return _styled(assets, "bill", bills.html(name, figures.FOLDER, assets, _megabytes("first_count")))
        if reference.kind == "cite":
            return bibliography.citation(name)
        if reference.kind == "code":
            return f"```python\n{code(name)}\n```"
        quantity = values.look_up(reference.names, figures.FOLDER, reference.options.get("as"))
        text = wording.shown(quantity, int(reference.options.get("digits", "3")))
        title = escape(f"{wording.exact(quantity)}: {quantity.formula}", quote=True)
        return f'<data class="moe-value" value="{quantity.value}" title="{title}">{escape(text)}</data>'

    def _all_claims(self, assets: str) -> str:
        """Markdown: topics are headings of the page, and what stands under them is put aside as HTML."""
        docs = Path(links.config.docs_dir) if (links := _links(self.md)) else ROOT / "docs"
        head, *topics = claims.listing(docs, _addresses(self.md), CLAIMS)
        store = self.md.htmlStash.store
        headed = (f"## {title}\n\n{store(html)}" for title, html in topics)
        return "\n\n".join([store(_styled(assets, "claim", head[1])), *headed])

    def _exercise(self, reference: Reference) -> str:
        """Markdown, so that its words may use what a page may; its cell is put aside as HTML."""
        check(reference)
        exercise = exercises.proven(reference.names[0], ROOT)
        cell = exercises.cell(exercise, f"{_to_root(self.md)}{ASSETS}/pyodide/", _megabytes("first_run"))
        number = reference.options.get("number", "")
        return replaced(exercises.markdown(exercise, number, self.md.htmlStash.store(cell)), self._shown)


def _styled(assets: str, name: str, html: str) -> str:
    """With a style of its own, inside of the element so that it is there before it is shown; other pages go without."""
    start, rest = html.split(">", 1)
    return f'{start}><link rel="stylesheet" href="{assets}app/{name}.css">{rest}'


def check(reference: Reference) -> None:
    """Raise a Problem with the remedy when the reference names nothing."""
    if reference.kind not in KINDS:
        raise UnknownReference(f"unknown reference {reference.kind!r}; there are: {', '.join(KINDS)}")
    _check_words(reference)
    if reference.kind in NAMELESS:
        return
    name = reference.names[0]
    if reference.kind in ("figure", "cell", "bill"):
        _check_figure(reference.kind, name)
    elif reference.kind == "term":
        terms.asked(reference.names)
    elif reference.kind == "cite":
        bibliography.entry(name)
    elif reference.kind == "code":
        code(name)
    elif reference.kind == "card":
        values.model(name)
    elif reference.kind == "exercise":
        exercises.proven(name, ROOT)
    elif reference.kind == "claim":
        claims.check(name)
    else:
        values.look_up(reference.names, figures.FOLDER, reference.options.get("as"))


def _check_words(reference: Reference) -> None:
    """One name, save for values, and only options that there are."""
    if reference.kind in NAMELESS and reference.names:
        raise UnknownReference(f"{reference.kind} takes no name, and not {' '.join(reference.names)!r}")
    if reference.kind not in NAMELESS and not reference.names:
        raise UnknownReference(f"{{{{ {reference.kind} }}}} names nothing")
    if reference.kind not in ("value", "term") and len(reference.names) > 1:
        raise UnknownReference(f"{reference.kind} takes one name, and not {' '.join(reference.names)!r}")
    there = OPTIONS.get(reference.kind, ())
    for option in reference.options:
        if option not in there:
            raise UnknownReference(f"unknown option {option!r}; {reference.kind} has: {', '.join(there) or 'none'}")
    digits = reference.options.get("digits", "3")
    if not (digits.isdecimal() and 1 <= int(digits) <= values.MOST_DIGITS):
        raise UnknownReference(f"digits={digits} must be a whole number from 1 to {values.MOST_DIGITS}")


def code(name: str) -> str:
    """The source of `moedocs.engine.overflow.with_capacity`, or of a whole module, as it stands in the repository."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:cut]).with_suffix(".py")
        if path.is_file():
            text = path.read_text("utf-8")
            return _definition(text, parts[cut:], name).strip("\n")
    raise UnknownReference(f"no code named {name!r}; write it as moedocs.engine.token_choice.softmax_top_k")


def _definition(text: str, inner: list[str], name: str) -> str:
    if not inner:
        return text
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and [node.name] == inner:
            start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return "\n".join(text.splitlines()[start - 1 : node.end_lineno])
    there = ", ".join(node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    raise UnknownReference(f"no definition of {name!r}; the module has: {there or 'none'}")


def _check_figure(kind: str, name: str) -> None:
    page = figures.page(name, figures.FOLDER, ROOT)
    if kind == "bill" and name not in desk.ROWS:
        raise UnknownReference(f"figure {name!r} has no bill; those of {', '.join(desk.ROWS)} have one")
    if kind == "cell" and page["cell"] is None:
        raise UnknownReference(f"figure {name!r} has no cell; write one in figures/cells/{name.replace('-', '_')}.py")
    for key in page["sources"]:
        bibliography.entry(key)


def _to_root(md: Markdown) -> str:
    """The way from the page to the site's root, such as `../../`; MkDocs leaves the page on its link processor."""
    file = _file(md)
    return "" if file is None else posixpath.relpath(".", posixpath.dirname(file.url) or ".") + "/"


def _file(md: Markdown) -> Any:
    return getattr(_links(md), "file", None)


def _links(md: Markdown) -> Any:
    """MkDocs' processor of links, which knows the page, all files and the settings; None without MkDocs."""
    return next((processor for processor in md.treeprocessors if getattr(processor, "file", None)), None)


def _card_addresses(md: Markdown) -> dict[str, str]:
    """The way from the page to the card of every model that has one."""
    if (links := _links(md)) is None:
        return {}
    found = cards.pages(Path(links.config.docs_dir))
    files = {key: links.files.get_file_from_path(page) for key, page in found.items()}
    return {
        key: f"{file.url_relative_to(links.file)}#{cards.anchor(key)}"
        for key, file in files.items()
        if file is not None
    }


def _addresses(md: Markdown) -> dict[str, str]:
    """The way from the page to every page of the site, by its source."""
    if (links := _links(md)) is None:
        return {}
    return {file.src_uri: file.url_relative_to(links.file) for file in links.files.documentation_pages()}


def _claims_address(md: Markdown) -> str:
    """The way from the page to the one that lists all claims; "" without MkDocs, or without such a page."""
    links = _links(md)
    source = links and claims.list_page(Path(links.config.docs_dir))
    return _addresses(md).get(source, "") if source else ""


def _megabytes(of: str) -> float:
    """What the `first_run` of a cell, or the `first_count` of a model, downloads."""
    path = Path(figures.FOLDER).parent / "pyodide" / "sizes.json"
    if not path.is_file():
        raise UnknownReference("Python for the cells is not there yet; bring it with: moedocs build")
    return float(json.loads(path.read_text("utf-8"))[of]) / 1e6


def makeExtension(**settings: Any) -> MoedocsExtension:
    """Python-Markdown's entry point."""
    return MoedocsExtension(**settings)
