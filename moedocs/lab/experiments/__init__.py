"""One file per experiment: the trainings it needs (`RUNS`), what is measured on each, and what they show together.

A file here is an experiment by being here. Listing them imports none of them.
"""

import ast
from pathlib import Path

from moedocs.problem import Problem


def names() -> list[str]:
    """The experiments there are; an experiment, its file and its record have one name."""
    return sorted(path.stem.replace("_", "-") for path in Path(__file__).parent.glob("[a-z]*.py"))


def known(name: str) -> str:
    """The name itself, refused when there is no such experiment."""
    if name not in names():
        raise Problem(f"no experiment is called {name!r}; there are: {', '.join(names())}")
    return name


def title(name: str) -> str:
    """The first line of the experiment's docstring."""
    source = Path(__file__).with_name(f"{known(name).replace('-', '_')}.py").read_text("utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
