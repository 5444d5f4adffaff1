"""The build step before the pages: browser files, figures, then every reference checked. One at a time per checkout."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from moedocs import charts
from moedocs.claims import checking
from moedocs.lab.fingerprint import ROOT
from moedocs.problem import Problem
from moedocs.site import assets, figures, files, markdown, references

LOCK = ROOT / ".cache" / "build.lock"


def bring_up_to_date(names: tuple[str, ...] = ()) -> list[str]:
    """Make what is out of date (all, or the named figures); returns one line for everything that is wrong."""
    with files.alone(LOCK, "figures"):
        if not names:
            assets.bring_assets(ROOT)
        files.write(ROOT / "docs" / "assets" / "app" / "palette.css", charts.stylesheet())
        failures = make_figures(names)
        claims = [] if names else checking.bring_up_to_date()
    faults = [] if names else check_pages()
    told = [_told(failure) for failure in failures]
    return told + claims + [fault for fault in faults if not any(failure.message in fault for failure in failures)]


def make_figures(names: tuple[str, ...] = (), root: Path = ROOT) -> list[figures.Failure]:
    """Build every figure that is out of date, with a bar; one that fails does not keep the others."""
    if not names:
        figures.forget_removed(figures.FOLDER, root)
    stale = figures.out_of_date(names, figures.FOLDER, root)
    failures = []
    bar = tqdm(stale.items(), desc="figures", unit="figure", leave=False, disable=not stale)
    for name, path in bar:
        bar.set_postfix_str(name)
        failure = figures.build(name, path, figures.FOLDER, root)
        if failure:
            failures.append(failure)
    return failures


def check_pages(docs: Path = ROOT / "docs") -> list[str]:
    """One line for every reference on a page that names nothing: file, line, and what there is."""
    problems = []
    for page in sorted(docs.rglob("*.md")):
        for reference in references.references(page.read_text("utf-8")):
            try:
                markdown.check(reference)
            except Problem as problem:
                problems.append(f"{page.relative_to(docs.parent).as_posix()}:{reference.line}: {problem}")
    return problems


def pages_with(name: str, docs: Path = ROOT / "docs") -> list[str]:
    """Where a figure, its cell or a value of it stands: file and line."""
    return [
        f"{page.relative_to(docs.parent).as_posix()}:{reference.line}"
        for page in sorted(docs.rglob("*.md"))
        for reference in references.references(page.read_text("utf-8"))
        if {name, f"figure/{name}"} & set(reference.names)
    ]


def _told(failure: figures.Failure) -> str:
    pages = ", ".join(pages_with(failure.name)) or "no page"
    return f"{failure.message} (figure {failure.name!r}, on {pages})"
