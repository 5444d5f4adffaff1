"""What checks found when the site was built: one file, which readers can download too."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from moedocs.claims.found import Found, from_json
from moedocs.claims.ledger import Claim, LedgerError
from moedocs.lab.fingerprint import ROOT

FILE = ROOT / "docs" / "assets" / "claims.json"


def found(claim: Claim, file: Path = FILE) -> Found:
    """What the check of a claim found. Raises LedgerError where it has not been run, or does not hold."""
    entry = entries(file).get(claim.id)
    if entry is None or entry.get("check") != claim.check:
        raise LedgerError(f"claim {claim.id}: its check has not been run; run it with: moedocs build")
    if "failure" in entry:
        raise LedgerError(entry["failure"])
    return from_json(entry["found"])


def entries(file: Path = FILE) -> dict[str, Any]:
    """All that the file holds, by claim; nothing where it is missing or damaged."""
    try:
        return _read(file, file.stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=4)
def _read(file: Path, time: int) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))["claims"]
    except (ValueError, KeyError, TypeError):
        return {}
    return content
