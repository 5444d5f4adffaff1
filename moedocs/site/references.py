"""References in pages: `{{ kind name … }}` outside of code, each found with its line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

KINDS = (
    "figure",
    "cell",
    "bill",
    "value",
    "cite",
    "code",
    "atlas",
    "card",
    "exercise",
    "term",
    "glossary",
    "claim",
    "claims",
)
NAMELESS = ("atlas", "glossary", "claims")
OPTIONS = {"value": ("as", "digits"), "exercise": ("number",)}

# Fenced blocks, HTML comments and code spans are skipped; what is left may hold references. No span goes on
# beyond an empty line, so that a single stray tick hides nothing.
PATTERN = re.compile(
    r"(?P<fence>^[ \t]*(?P<mark>`{3,}|~{3,})[^\n]*\n.*?^[ \t]*(?P=mark)[ \t]*$)"
    r"|(?P<comment><!--.*?-->)"
    r"|(?P<span>(?<![`\\])(?P<ticks>`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)(?P=ticks)(?!`))"
    r"|\{\{[ \t]*(?P<words>[^{}\n]*?)[ \t]*\}\}",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Reference:
    """`{{ value mixtral-8x7b active digits=3 }}`: its kind, its names, its options and the line it stands on."""

    kind: str
    names: tuple[str, ...]
    options: dict[str, str]
    line: int

    @property
    def text(self) -> str:
        return " ".join((self.kind, *self.names))


def _reference(words: str, line: int) -> Reference:
    kind, *rest = words.split() or [""]
    options = dict(word.split("=", 1) for word in rest if "=" in word)
    return Reference(kind, tuple(word for word in rest if "=" not in word), options, line)


def references(text: str) -> Iterator[Reference]:
    """Every reference of a page, in order."""
    for match in PATTERN.finditer(text):
        if match["words"] is not None:
            yield _reference(match["words"], text.count("\n", 0, match.start()) + 1)


def replaced(text: str, replacement: Callable[[Reference], str]) -> str:
    """The page with `replacement(reference)` in the place of every reference."""

    def one(match: re.Match[str]) -> str:
        if match["words"] is None:
            return match[0]
        return replacement(_reference(match["words"], text.count("\n", 0, match.start()) + 1))

    return PATTERN.sub(one, text)
