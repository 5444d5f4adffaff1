"""`moedocs build`: figures and browser files brought up to date and pages checked, before any site builder runs.
`moedocs new`: a figure or a page started from a template that builds as it is."""

import argparse
import sys

BUILD = "Figures and browser files brought up to date and pages checked, before any site builder runs."
NEW = "A figure or a page started from a template that builds as it is. What is there already is never overwritten."


def add_to(rooms: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Put the subcommands under `moedocs`."""
    build = rooms.add_parser("build", help="bring figures and browser files up to date, check pages", description=BUILD)
    build.add_argument("names", nargs="*", metavar="FIGURE", help="only these figures (default: everything)")
    build.set_defaults(command=_build)
    new = rooms.add_parser("new", help="start a figure or a page", description=NEW)
    kinds = new.add_subparsers(metavar="KIND", required=True)
    figure = kinds.add_parser("figure", help="start a figure", description="Write figures/NAME.py.")
    figure.add_argument("name", metavar="NAME", help="such as load-over-time")
    figure.set_defaults(command=_figure)
    page = kinds.add_parser("page", help="start a page", description="Write docs/PATH.md and its line in mkdocs.yml.")
    page.add_argument("path", metavar="PATH", help="such as training/load-over-time")
    page.add_argument("--figure", metavar="NAME", help="a figure to show on it")
    page.set_defaults(command=_page)


def _build(arguments: argparse.Namespace) -> int:
    from moedocs.site.build import bring_up_to_date

    problems = bring_up_to_date(tuple(arguments.names))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _figure(arguments: argparse.Namespace) -> int:
    from moedocs.lab.fingerprint import ROOT
    from moedocs.site import starting

    path = starting.figure(arguments.name)
    print(f"{path.relative_to(ROOT)} is there. Make it with: moedocs build {arguments.name}")
    print(f"Show it on a page with: {{{{ figure {arguments.name} }}}}")
    return 0


def _page(arguments: argparse.Namespace) -> int:
    from moedocs.lab.fingerprint import ROOT
    from moedocs.site import starting

    path, line, inserted = starting.page(arguments.path, arguments.figure)
    print(f"{path.relative_to(ROOT)} is there.")
    if inserted:
        print(f"mkdocs.yml has under nav: {line}")
    else:
        print(
            f"The navigation has no page of its folder yet: put this under nav in mkdocs.yml, else builds fail: {line}"
        )
    return 0
