"""`moedocs build`: figures and browser files brought up to date and pages checked, before any site builder runs."""

import argparse
import sys


def add_to(rooms: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Put the subcommand under `moedocs`."""
    build = rooms.add_parser(
        "build", help="bring figures and browser files up to date, check pages", description=__doc__
    )
    build.add_argument("names", nargs="*", metavar="FIGURE", help="only these figures (default: everything)")
    build.set_defaults(command=_build)


def _build(arguments: argparse.Namespace) -> int:
    from moedocs.site.build import bring_up_to_date

    problems = bring_up_to_date(tuple(arguments.names))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0
