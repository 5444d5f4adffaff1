"""What the site consists of, read from its sources: pages and the figures on them."""

from __future__ import annotations

from moedocs.lab.fingerprint import ROOT
from moedocs.site.references import references

DOCS = ROOT / "docs"


def address(source: str) -> str:
    """`training/capacity.md` is served as `training/capacity/`."""
    path = source.rsplit(".", 1)[0]
    return path.removesuffix("index") if path.endswith("index") else f"{path}/"


def sources() -> list[str]:
    """Every page's source below docs/."""
    found = [*DOCS.rglob("*.md"), *DOCS.glob("notebooks/*.py")]
    return sorted(path.relative_to(DOCS).as_posix() for path in found)


def places(kind: str) -> dict[str, str]:
    """The page of every figure (or cell), by the figure's name."""
    return {
        reference.names[0]: address(source)
        for source in sources()
        if source.endswith(".md")
        for reference in references((DOCS / source).read_text("utf-8"))
        if reference.kind == kind
    }


PAGES = [address(source) for source in sources()]
FIGURES = places("figure")
CELLS = places("cell")
BILLS = places("bill")
EXERCISES = places("exercise")
