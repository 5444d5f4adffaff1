"""Symbols of formulae: `\\sym{share}{f_i}` names one of `symbols.yaml`; below the formula stands what it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from html import escape
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("symbols.yaml")
MARK = "data-sym"  # KaTeX puts it around what the symbol stands for
Render = Callable[[str], str]  # from TeX to HTML


@dataclass(frozen=True, kw_only=True)
class Symbol:
    """What a formula means by a letter, and which parts of figures show it."""

    name: str
    tex: str
    words: str
    lights: tuple[str, ...] = ()


@cache
def symbols(file: Path = FILE) -> dict[str, Symbol]:
    """Every symbol by its name."""
    found = yaml.safe_load(file.read_text("utf-8"))
    return {name: _symbol(name, **told) for name, told in found.items()}


def _symbol(name: str, *, tex: str, words: str, lights: Iterable[str] = ()) -> Symbol:
    return Symbol(name=name, tex=tex, words=words, lights=tuple(lights))


def used(html: str) -> list[str]:
    """Names of the symbols that a rendered formula marks, each once, in the order of its TeX, which stands in it."""
    names = set(re.findall(rf'{MARK}="([^"]*)"', html))
    return sorted(names, key=lambda name: (html.find(f"\\sym{{{name}}}"), name))


def unknown(names: Iterable[str]) -> tuple[str, str] | None:
    """The first name that there is no symbol of, and what to say of it; None if all are known."""
    name = next((name for name in names if name not in symbols()), None)
    if name is None:
        return None
    close = get_close_matches(name, symbols(), n=3)
    near = f"near it: {', '.join(close)}; " if close else ""
    return name, f"unknown symbol {name!r}; {near}there are: {', '.join(symbols())}"


def plain(tex: str) -> str:
    """The formula without the names of its symbols, for a table of contents."""
    return re.sub(r"\\sym\{[^{}]*\}\{([^{}]*)\}", r"\1", tex)


class Lists:
    """The symbols of one page, each explained once: under the first displayed formula that has it.

    A symbol that stands in running text alone is explained there by its sentence, and on hover; so that the keyboard
    reaches it too, it comes in one list at the end of the page.
    """

    def __init__(self, render: Render) -> None:
        self.render = render
        self.listed: set[str] = set()
        self.in_text: dict[str, None] = {}

    def explained(self, html: str, display: bool) -> str:
        """A rendered formula with the list of what is new in it."""
        names = used(html)
        if not names:
            return html
        if not display:
            self.in_text.update(dict.fromkeys(names))
            return f"<moe-symbols>{html}</moe-symbols>"
        new = [name for name in names if name not in self.listed]
        self.listed.update(new)
        return f"<moe-symbols>{html}{where(new, 'where', self.render) if new else ''}</moe-symbols>"

    def rest(self) -> str:
        """The list of what stands in running text alone; empty if nothing does."""
        names = [name for name in self.in_text if name not in self.listed]
        return f"<moe-symbols>{where(names, 'Symbols in the text', self.render)}</moe-symbols>" if names else ""


def where(names: Iterable[str], head: str, render: Render) -> str:
    """The list of these symbols: a list of definitions, which browser/tips.js makes buttons of."""
    rows = "".join(_row(symbols()[name], render) for name in names)
    return f'<div class="moe-where"><p>{escape(head)}</p><dl>{rows}</dl></div>'


def _row(symbol: Symbol, render: Render) -> str:
    pieces = symbol.words.replace(" $", "\N{NO-BREAK SPACE}$").split("$")  # every second one is a formula
    words = "".join(render(piece) if odd % 2 else escape(piece, quote=False) for odd, piece in enumerate(pieces))
    lights = f' data-lights="{escape(" ".join(symbol.lights))}"' if symbol.lights else ""
    told = f'{MARK}="{symbol.name}" data-said="{escape(symbol.words.replace("$", ""))}"{lights}'
    sign = f'<span class="moe-where__sign" {told}>{render(symbol.tex)}</span>'
    return f"<div><dt>{sign}</dt><dd>{words}</dd></div>"
