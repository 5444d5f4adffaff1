"""`moedocs …`: one subcommand per room that has something to do at the prompt."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from moedocs import __version__
from moedocs.claims import commands as claims
from moedocs.cost import commands as cost
from moedocs.lab import commands as lab
from moedocs.problem import Problem
from moedocs.site import commands as site

# Each has `add_to(subparsers)`, whose parsers set the default `command`: a function from the parsed arguments to the
# exit status. They import what is heavy only when a command runs, so that --help is quick.
ROOMS = (cost, lab, claims, site)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> Parser:
    """All commands of all rooms."""
    top = Parser(prog="moedocs", description="Mixture of Experts, every figure computed by a tested engine.")
    top.add_argument("--version", action="version", version=__version__)
    rooms = top.add_subparsers(metavar="COMMAND", required=True)
    for room in ROOMS:
        room.add_to(rooms)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 checked and found wrong, 2 refused with one line that says why."""
    parsed = parser().parse_args(arguments)
    try:
        status: int = parsed.command(parsed)
        sys.stdout.flush()
        return status
    except Problem as problem:
        print(f"moedocs: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("moedocs: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in `moedocs lab show balance | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
