"""Checks run where something that they depend on has changed, and kept with the hash of all that went in.

torch is loaded by the checks alone, so where all of them are up to date it is not loaded at all.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from moedocs.claims import ledger, results
from moedocs.claims.found import Found, as_json
from moedocs.claims.ledger import Claim, LedgerError
from moedocs.files import write_whole
from moedocs.lab import records
from moedocs.lab.fingerprint import ROOT, fingerprint, sources

PACKAGES = ("torch", "numpy")


def bring_up_to_date(file: Path = results.FILE) -> list[str]:
    """Run the checks that are out of date, write what all found; one line for each that no longer holds."""
    before, after = results.entries(file), {}
    for claim in ledger.claims().values():
        kept = before.get(claim.id, {})
        key = inputs(claim) if claim.check else None
        fresh = kept.get("inputs") == key and "found" in kept
        outcome = {"found": kept["found"]} if fresh else _outcome(claim)
        after[claim.id] = _entry(claim) | ({"inputs": key} | outcome if claim.check else {})
    text = json.dumps({"topics": ledger.topics(), "claims": after}, ensure_ascii=False, indent=1) + "\n"
    if not file.is_file() or file.read_text("utf-8") != text:
        write_whole(file, text.encode())
    return [entry["failure"] for entry in after.values() if "failure" in entry]


def run(claim: Claim) -> Found:
    """What the claim's check finds now. Raises LedgerError where it has none."""
    if not claim.check:
        raise LedgerError(f"claim {claim.id} has no check: {claim.unchecked}")
    found = _function(claim)()
    if not isinstance(found, Found):
        raise LedgerError(f"claim {claim.id}: its check {claim.check} must return a Found, not {type(found).__name__}")
    return found


def inputs(claim: Claim) -> str:
    """Hash of the check's code and of all that it imports, of the records it reads, and of the versions."""
    path = _path(claim)
    read = recorded(path)
    parts = [claim.check, fingerprint(path, "moedocs.claims.found"), *(version(package) for package in PACKAGES)]
    parts += [fingerprint(records.module_of(name)) for name in read]
    texts = [records.path_of(name) for name in read]
    parts += [text.read_text("utf-8") if text.is_file() else "" for text in texts]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def closure_of(claim: Claim) -> list[Path]:
    """The files whose change makes the claim's check run again, records aside."""
    return sources(_path(claim), "moedocs.claims.found")


def recorded(path: Path) -> tuple[str, ...]:
    """The records that a module of checks says it reads, in RECORDS, without running it."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "RECORDS" for t in node.targets):
            return tuple(ast.literal_eval(node.value))
    return ()


def _outcome(claim: Claim) -> dict[str, Any]:
    """What the check found, or the line that says why the claim cannot be published."""
    try:
        found = run(claim)
        content = as_json(found)
    except Exception as error:
        reason = " ".join(str(error).split()) or "no reason given"
        return {"failure": f"claim {claim.id}: its check {claim.check} failed: {type(error).__name__}: {reason[:300]}"}
    if found.holds is not True:
        return {"failure": f"claim {claim.id}: its check {claim.check} no longer holds; it found: {content['told']}"}
    return {"found": content}


def _entry(claim: Claim) -> dict[str, Any]:
    """The claim itself, as readers download it."""
    kept = ("topic", "claim", "verdict", "right", "evidence", "sources", "check", "unchecked")
    return {name: value for name in kept if (value := getattr(claim, name))}


def _function(claim: Claim) -> Callable[[], Any]:
    _path(claim)
    module, _, name = claim.check.partition(".")
    function = getattr(importlib.import_module(f"moedocs.claims.checks.{module}"), name, None)
    if not callable(function):
        raise LedgerError(f"claim {claim.id}: moedocs/claims/checks/{module}.py has no function {name!r}")
    checked: Callable[[], Any] = function
    return checked


def _path(claim: Claim) -> Path:
    """The file of the check; raises LedgerError."""
    module, _, name = claim.check.partition(".")
    path = ROOT / "moedocs" / "claims" / "checks" / f"{module}.py"
    if not (name and path.is_file()):
        raise LedgerError(f"claim {claim.id}: check {claim.check!r} must be module.function in moedocs/claims/checks")
    return path
