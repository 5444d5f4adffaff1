"""Formulae rendered when the site is built, by KaTeX in V8: a page shows them with scripts off, on paper, read aloud.

As a Markdown extension it stands on pymdownx.arithmatex, which finds `$…$` and `$$…$$`. A wrong formula is logged with
page, line and KaTeX's own reason, which fails a strict build, and shows the reason where it stands.
"""

from __future__ import annotations

import atexit
import functools
import logging
import re
from collections.abc import Callable
from html import escape, unescape
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString
from py_mini_racer import MiniRacer

from moedocs.problem import Problem
from moedocs.site import symbols

log = logging.getLogger("mkdocs.moedocs.maths")  # below "mkdocs" a strict build counts errors and ends in failure

ROOT = Path(__file__).resolve().parents[2]
KATEX = ROOT / "node_modules" / "katex" / "dist" / "katex.min.js"

# One meaning, one colour, in formulae as in figures: \router{G(x)}, \active{…}, \idle{…}, \skipped{…}, \dropped{…}.
MEANINGS = ("router", "active", "idle", "skipped", "dropped")

_RENDER = """
const macros = Object.fromEntries(meanings.map(name => ["\\\\" + name, `\\\\htmlClass{moe-${name}}{#1}`]));
macros["\\\\sym"] = "\\\\htmlData{sym=#1}{#2}"; // \\sym{share}{f_i}
const marks = use => Object.keys(use.attributes).join() === "data-sym";
const ours = {
  output: "htmlAndMathml",
  throwOnError: true,
  strict: code => code === "htmlExtension" ? "ignore" : "error",
  trust: use => use.command === "\\\\htmlClass" || (use.command === "\\\\htmlData" && marks(use)),
};
const render = (tex, display) => {
  try {
    return {html: katex.renderToString(tex, {...ours, macros: {...macros}, displayMode: display})};
  } catch (error) {
    if (error instanceof katex.ParseError) return {reason: error.rawMessage, position: error.position};
    throw error;
  }
};
"""


class FormulaError(Problem):
    """TeX that KaTeX refuses; `position` counts characters of the formula from 1."""

    def __init__(self, tex: str, reason: str, position: int | None = None, place: str = "") -> None:
        self.tex, self.reason, self.position = tex, reason, position
        at = f" (at character {position})" if position else ""
        super().__init__(f"{place and place + ': '}formula “{' '.join(tex.split())}”: {reason}{at}")


characters: set[str] = set()  # what the formulae rendered so far are set from; fonts are cut down to it


@functools.cache
def render(tex: str, display: bool = False) -> str:
    """HTML that is seen and MathML that is read aloud; raises FormulaError. Displayed ones scroll in their own box."""
    answer = _katex()(tex, display)
    if "html" not in answer:
        position = answer["position"]
        raise FormulaError(tex, answer["reason"], None if position is None else int(position) + 1)
    if told := symbols.unknown(symbols.used(answer["html"])):
        name, reason = told
        raise FormulaError(tex, reason, tex.find(name) + 1 or None)
    seen = answer["html"].partition('class="katex-html" aria-hidden="true">')[2]
    characters.update(unescape(re.sub("<[^>]*>", "", seen)))
    html: str = answer["html"].replace('class="katex-mathml"', 'class="katex-mathml" data-search-exclude', 1)
    if not display:
        return html
    return f'<span class="moe-formula" role="group" aria-label="Formula" tabindex="0">{html}</span>'


@functools.cache
def _katex() -> Callable[[str, bool], dict[str, Any]]:
    if not KATEX.is_file():
        raise Problem(f"KaTeX is missing ({KATEX.relative_to(ROOT)}): run `make site`, or `npm ci` at the root")
    v8 = MiniRacer()
    atexit.register(v8.close)  # left to the interpreter's own end it may wait for ever for a thread that is gone
    v8.eval(KATEX.read_text("utf-8"))
    v8.eval(f"const meanings = {list(MEANINGS)!r};{_RENDER}")
    return functools.partial(v8.call, "render")


class MathsExtension(Extension):
    """`moedocs.site.maths` in mkdocs.yml; brings pymdownx.arithmatex along."""

    def extendMarkdown(self, md: Markdown) -> None:
        dollars = {"inline_syntax": ["dollar"], "block_syntax": ["dollar"], "generic": True}
        md.registerExtensions(["pymdownx.arithmatex"], {"pymdownx.arithmatex": dollars})
        source = _Source(md)
        md.preprocessors.register(source, "moe-source", 1_000)  # before anyone changes a line
        # after the table of contents (5) has read the headings: it lists a formula by its letters
        md.treeprocessors.register(_Formulae(md, source), "moe-maths", 4)


class _Source(Preprocessor):
    """Keeps the page as it was written, for the line numbers of messages."""

    text = ""

    def run(self, lines: list[str]) -> list[str]:
        self.text = "\n".join(lines)
        return lines


class _Formulae(Treeprocessor):
    def __init__(self, md: Markdown, source: _Source) -> None:
        super().__init__(md)
        self.source = source

    def run(self, root: Element) -> None:
        lists = symbols.Lists(render)
        for element in root.iter():
            if element.get("class") == "arithmatex" and element.text:
                tex, display = element.text[2:-2].strip(), element.tag == "div"
                tex = unescape(tex) if display else tex  # arithmatex escapes blocks, and not what stands in a line
                html = lists.explained(self.rendered(tex, display), display)
                element.text = AtomicString(self.md.htmlStash.store(html))
                del element.attrib["class"]
        if rest := lists.rest():
            SubElement(root, "div").text = AtomicString(self.md.htmlStash.store(rest))
        _plain_names(getattr(self.md, "toc_tokens", []))

    def rendered(self, tex: str, display: bool) -> str:
        try:
            return render(tex, display)
        except FormulaError as error:
            there = FormulaError(tex, error.reason, error.position, place(self.md, self.source.text, tex))
            log.error("%s", there)
            return f'<span class="moe-error" role="alert">{escape(str(there))}</span>'


def _plain_names(toc_tokens: list[dict[str, Any]]) -> None:
    for token in toc_tokens:
        token["name"] = re.sub(r"\\\((.*?)\\\)", lambda formula: symbols.plain(formula[1]), token["name"])
        _plain_names(token["children"])


def place(md: Markdown, text: str, needle: str) -> str:
    """`guide/router.md:12`: where `needle` stands on the page that `md` converts, as near as can be told.

    MkDocs hands an extension the page without its front matter; the file that it notes for its own links has all lines.
    """
    name, links = "line ", "relpath"
    if links in md.treeprocessors and (file := getattr(md.treeprocessors[links], "file", None)):
        name, text = f"{file.src_uri}:", Path(file.abs_src_path).read_text("utf-8-sig")
    # a formula over several lines may be quoted, indented, or a comment of a notebook
    words = r"[\s#>]+".join(re.escape(word) for word in needle.split())
    found = re.search(words, text)
    return f"{name}{text.count(chr(10), 0, found.start()) + 1}" if found else name.rstrip(": ")


def makeExtension(**options: Any) -> MathsExtension:
    """How Python-Markdown finds the extension by the name of this module."""
    return MathsExtension(**options)
