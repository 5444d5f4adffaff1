"""One file per experiment: the trainings it needs (`RUNS`), what is measured on each, and what they show together.

A file here is an experiment by being here. Listing them imports none of them.
"""

import ast
from pathlib import Path

from moedocs.lab.fingerprint import ROOT
from moedocs.lab.records import module_of
from moedocs.problem import Problem


def names() -> list[str]:
    """The experiments there are; an experiment, its file and its record have one name."""
    return sorted(path.stem.replace("_", "-") for path in Path(__file__).parent.glob("[a-z]*.py"))


def known(name: str) -> str:
    """The name itself, refused when there is no such experiment; a dotted one is that of a module elsewhere."""
    if name not in names() and not ("." in name and _source(name).is_file()):
        raise Problem(f"no experiment is called {name!r}; there are: {', '.join(names())}")
    return name


def title(name: str) -> str:
    """The first line of the experiment's docstring."""
    return (ast.get_docstring(ast.parse(_source(known(name)).read_text("utf-8"))) or "").partition("\n")[0]


def _source(name: str) -> Path:
    parts = module_of(name).split(".")
    return ROOT.joinpath(*parts).with_suffix(".py") if all(map(str.isidentifier, parts)) else ROOT
