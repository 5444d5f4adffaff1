"""Claims on pages: one as a folded block, and the page of all of them, by topic, which is complete without scripts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup

from moedocs.claims import ledger, results
from moedocs.claims.found import Found
from moedocs.claims.ledger import VERDICTS, Claim
from moedocs.cost import wording
from moedocs.site import bibliography, frames
from moedocs.site.references import references

TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
SUBSCRIPT = re.compile(r"\b([A-Za-z])_([a-z])\b")
PLACE = re.compile(r"\{(\w+)(?::(\d+))?\}")


@dataclass(frozen=True)
class Stand:
    """A page that shows a claim: its source below docs/, and its title."""

    source: str
    title: str


def block(key: str, list_address: str, results_file: Path) -> str:
    """One claim, folded; `list_address` leads to the page of all, "" where there is none."""
    return frames.rendered("claim.html", **_parts(ledger.claim(key), results_file), list_address=list_address)


def listing(docs: Path, addresses: dict[str, str], results_file: Path) -> Iterator[tuple[str, str]]:
    """The head of the list of all, then each topic's title and its claims; `addresses` of pages that show claims."""
    listed, where = list(ledger.claims().values()), pages(docs)
    topics = {topic: title for topic, title in ledger.topics().items() if any(one.topic == topic for one in listed)}
    counts = Counter(claim.verdict for claim in listed)
    yield (
        "",
        frames.rendered(
            "claims-head.html",
            verdicts=[(verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]],
            topics=topics.items(),
            total=len(listed),
            checked=sum(bool(claim.check) for claim in listed),
        ),
    )
    for topic, title in topics.items():
        entries = [_entry(claim, where, addresses, results_file) for claim in listed if claim.topic == topic]
        yield title, frames.rendered("claims-topic.html", topic=topic, entries=entries)


def check(key: str) -> None:
    """Raise a Problem where the ledger has no such claim, or names a source that the bibliography has not."""
    for source in ledger.claim(key).sources:
        bibliography.entry(source)


def check_all() -> None:
    """The same of all claims."""
    for key in ledger.claims():
        check(key)


def anchor(key: str) -> str:
    """The id of a claim on the page of all."""
    return f"claim-{key}"


def list_page(docs: Path) -> str | None:
    """The page, below `docs`, that lists all claims."""
    return next((source for source, kinds in _references(docs) if any(kind == "claims" for kind, _ in kinds)), None)


def pages(docs: Path) -> dict[str, list[Stand]]:
    """The pages on which each claim stands."""
    found: dict[str, list[Stand]] = {}
    for source, kinds in _references(docs):
        title = TITLE.search((docs / source).read_text("utf-8"))
        stand = Stand(source, title[1] if title else source)
        for key in dict.fromkeys(name for kind, name in kinds if kind == "claim"):
            found.setdefault(key, []).append(stand)
    return found


def _references(docs: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for page in sorted(docs.rglob("*.md")):
        found = [(one.kind, one.names[0] if one.names else "") for one in references(page.read_text("utf-8"))]
        if kinds := [pair for pair in found if pair[0] in ("claim", "claims")]:
            yield page.relative_to(docs).as_posix(), kinds


def _entry(
    claim: Claim, where: dict[str, list[Stand]], addresses: dict[str, str], results_file: Path
) -> dict[str, Any]:
    there = [(addresses.get(stand.source, ""), stand.title) for stand in where.get(claim.id, ())]
    return _parts(claim, results_file) | {"where": [(address, title) for address, title in there if address]}


def _parts(claim: Claim, results_file: Path) -> dict[str, Any]:
    """What both forms show."""
    found = results.found(claim, results_file) if claim.check else None
    return {
        "key": claim.id,
        "anchor": anchor(claim.id),
        "claim": _inline(claim.claim),
        "verdict": claim.verdict,
        "right": _inline(claim.right),
        "evidence": ", ".join(claim.evidence),
        "found": found and sentence(found),
        "seed": found.seed if found else None,
        "unchecked": claim.unchecked,
        "sources": [_source(key, place) for key, place in claim.sources.items()],
    }


@cache
def _inline(text: str) -> Markup:
    """Plain words, in which `ticks` hold code and f_i is f with an index."""
    return Markup(_indexed(CODE.sub(r"<code>\1</code>", escape(text.strip(), quote=False))))


def _indexed(html: str) -> str:
    return SUBSCRIPT.sub(r"<i>\1<sub>\2</sub></i>", html)


def _source(key: str, place: str) -> Markup:
    return Markup(bibliography.citation(key) + (f", {escape(place)}" if place else ""))


def sentence(found: Found) -> Markup:
    """What a check found, each number with its unit and what it is."""

    def one(match: re.Match[str]) -> str:
        quantity = found.numbers[match[1]]
        text = wording.shown(quantity, int(match[2] or 3))
        title = escape(f"{wording.exact(quantity)}: {quantity.formula}", quote=True)
        return f'<data class="moe-value" value="{quantity.value}" title="{title}">{escape(text)}</data>'

    return Markup(PLACE.sub(one, _indexed(escape(found.sentence, quote=False))))
