"""`moedocs claim [ID]`: what is commonly said of sparse models, with verdicts, and the checks behind them.

Without an id every claim is listed. With one, its check is run now, by the engine: the verdict, the right statement,
what the check found, the sources. `all` runs every check and prints those that do not hold.
"""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moedocs.claims.ledger import Claim

WIDTH = 100


def add_to(rooms: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Put the subcommand under `moedocs`."""
    claim = rooms.add_parser(
        "claim", help="what is commonly said, with verdicts; runs the check behind one", description=__doc__
    )
    claim.formatter_class = argparse.RawDescriptionHelpFormatter
    claim.add_argument("id", nargs="?", metavar="ID", help="a claim, as laux-min-uniform, or all (default: list them)")
    claim.set_defaults(command=_claim)


def _claim(arguments: argparse.Namespace) -> int:
    from moedocs.claims import ledger

    if arguments.id is None:
        return _list()
    if arguments.id == "all":
        return _all()
    return _show(ledger.claim(arguments.id))


def _list() -> int:
    from moedocs.claims import ledger

    claims = ledger.claims()
    width = max(map(len, claims))
    for topic, title in ledger.topics().items():
        print(title)
        for claim in (claim for claim in claims.values() if claim.topic == topic):
            print(f"  {claim.id:<{width}} {claim.verdict:<12} {claim.claim}")
    return 0


def _all() -> int:
    from moedocs.claims import checking, ledger

    wrong = [claim for claim in ledger.claims().values() if claim.check and not checking.run(claim).holds]
    for claim in wrong:
        print(f"{claim.id}: {claim.check} does not hold")
    checked = sum(bool(claim.check) for claim in ledger.claims().values())
    print(f"{checked - len(wrong)} of {checked} checks hold")
    return 1 if wrong else 0


def _show(claim: Claim) -> int:
    from moedocs.claims import checking

    _say("said", f"“{claim.claim.strip()}”")
    _say("verdict", claim.verdict)
    _say("right", claim.right.strip())
    _say("known how", ", ".join(claim.evidence))
    _say("sources", "; ".join(f"{key}{', ' if place else ''}{place}" for key, place in claim.sources.items()))
    if not claim.check:
        _say("no check", claim.unchecked)
        return 0
    found = checking.run(claim)
    _say("check", f"{claim.check}, {'holds' if found.holds else 'DOES NOT HOLD'}")
    _say("found", found.told)
    for name, quantity in found.numbers.items():
        _say(name, f"{quantity.value:,} {quantity.unit}: {quantity.formula}")
    _say("seed", "" if found.seed is None else str(found.seed))
    return 0 if found.holds else 1


def _say(name: str, text: str) -> None:
    if text:
        print(textwrap.fill(text, WIDTH, initial_indent=f"{name:<11} ", subsequent_indent=" " * 12))
