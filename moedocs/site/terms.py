"""Words of the field: `{{ term capacity-factor }}` in a page, and the glossary, both from `glossary.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import yaml

from moedocs.problem import Problem

FILE = Path(__file__).with_name("glossary.yaml")
PAGE = "reference/glossary.md"


class UnknownTerm(Problem):
    """A term that the glossary does not hold; the message says what is near."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One entry of the glossary."""

    key: str
    name: str
    text: str
    page: str = ""


@cache
def terms(file: Path = FILE) -> dict[str, Term]:
    """Every term by its key."""
    found = yaml.safe_load(file.read_text("utf-8"))
    return {key: _term(key, **said) for key, said in found.items()}


def _term(key: str, *, text: str, term: str = "", page: str = "") -> Term:
    return Term(key=key, name=term or key.replace("-", " "), text=text, page=page)


def asked(names: tuple[str, ...]) -> tuple[Term, str]:
    """The term of `{{ term drop: are dropped }}` and the words that stand for it; raises UnknownTerm."""
    key, _, words = " ".join(names).partition(":")
    if key not in terms():
        raise UnknownTerm(
            f"unknown term {key!r}; {_near(key)}. Other words for it come after a colon: “drop: are dropped”"
        )
    return terms()[key], words.strip() or terms()[key].name


def _near(key: str) -> str:
    """What the glossary has that looks like it, or all that it has."""
    close = get_close_matches(key, terms(), n=5) or [one for one in terms() if set(key.split()) & set(one.split("-"))]
    return f"near it: {', '.join(close)}" if close else f"there are: {', '.join(terms())}"


def marked(names: tuple[str, ...], links: Any) -> str:
    """The words as a link to the glossary, with what browser/tips.js shows of it; `links` is MkDocs' own processor."""
    term, words = asked(names)
    link = f'<a class="moe-term" href="{escape(_way(PAGE, links)[0])}#{term.key}">{escape(words)}</a>'
    told = {"name": term.name, "text": term.text}
    to, title = _way(term.page, links)
    if to not in ("", "./"):  # the reader is not there yet
        told |= {"page": to, "title": title}
    data = "".join(f' data-{key}="{escape(value)}"' for key, value in told.items())
    return f"<moe-term{data}>{link}</moe-term>"


def glossary(links: Any) -> str:
    """All terms as a list of definitions, in the order of the alphabet, each with an anchor."""
    entries = sorted(terms().values(), key=lambda term: term.name.casefold())
    return f'<dl class="moe-glossary">{"".join(_entry(term, links) for term in entries)}</dl>'


def _entry(term: Term, links: Any) -> str:
    to, title = _way(term.page, links)
    more = f' See <a href="{escape(to)}">{escape(title)}</a>.' if to else ""
    return f'<div id="{term.key}"><dt>{escape(term.name)}</dt><dd>{escape(term.text)}{more}</dd></div>'


def _way(source: str, links: Any) -> tuple[str, str]:
    """The way from the page to the one with this source below docs/, and its title; empty where there is none."""
    file = links.files.get_file_from_path(source) if links and source else None
    if file is None:
        return "", ""
    return file.url_relative_to(links.file), (file.page and file.page.title) or "Where it is explained"
