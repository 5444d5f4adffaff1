"""The claims, from `ledger.yaml` beside this file, each held to its form when it is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from moedocs.problem import Problem

FILE = Path(__file__).with_name("ledger.yaml")
VERDICTS = ("correct", "imprecise", "wrong", "outdated", "unsupported")
EVIDENCE = ("computed", "measured here", "read at first hand", "reported")


class LedgerError(Problem):
    """A claim that does not exist or is not whole; the message names it and what is the matter."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said, a verdict, what is right and how that is known; a `check` or, in `unchecked`, why there is none."""

    id: str
    topic: str
    claim: str
    verdict: str
    right: str
    evidence: tuple[str, ...]
    sources: dict[str, str] = field(default_factory=dict)
    check: str = ""
    unchecked: str = ""

    def __post_init__(self) -> None:
        for name in ("claim", "right"):
            if not getattr(self, name).strip():
                raise LedgerError(f"claim {self.id}: it lacks {name}")
        _known(self.id, "verdict", (self.verdict,), VERDICTS)
        _known(self.id, "evidence", self.evidence, EVIDENCE)
        if not self.evidence:
            raise LedgerError(f"claim {self.id}: how is it known? evidence is one of {', '.join(EVIDENCE)}")
        if self.check and self.unchecked:
            raise LedgerError(f"claim {self.id}: it has a check and a reason why it has none")


def _known(claim: str, name: str, values: Iterable[str], choices: tuple[str, ...]) -> None:
    for value in values:
        if value not in choices:
            raise LedgerError(f"claim {claim}: {name} {value!r} must be one of {', '.join(choices)}")


def parsed(text: str) -> tuple[dict[str, str], dict[str, Claim]]:
    """Titles of topics and claims, in the ledger's order. Raises LedgerError."""
    content: dict[str, Any] = yaml.safe_load(text)
    topics: dict[str, str] = content["topics"]
    claims = {}
    for key, entry in content["claims"].items():
        _known(key, "topic", (str(entry.get("topic")),), tuple(topics))
        try:
            claims[key] = Claim(id=key, **entry | {"evidence": tuple(entry.get("evidence", ()))})
        except TypeError as error:
            raise LedgerError(f"claim {key}: {str(error).replace('Claim.__init__() ', '')}") from None
    return topics, claims


@cache
def _ledger() -> tuple[dict[str, str], dict[str, Claim]]:
    return parsed(FILE.read_text("utf-8"))


def topics() -> dict[str, str]:
    """The title of each topic, in order."""
    return _ledger()[0]


def claims() -> dict[str, Claim]:
    """Every claim by its id, topic by topic."""
    order = list(topics())
    listed = sorted(_ledger()[1].items(), key=lambda item: order.index(item[1].topic))
    return dict(listed)


def claim(key: str) -> Claim:
    """One claim; raises LedgerError listing what there is."""
    if key not in claims():
        raise LedgerError(f"unknown claim {key!r}; there are: {', '.join(claims())}")
    return claims()[key]
