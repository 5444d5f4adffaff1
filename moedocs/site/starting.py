"""A new figure or page, from a template that builds as it is: something to change rather than something to invent."""

from __future__ import annotations

import re
from pathlib import Path

from moedocs.lab.fingerprint import ROOT
from moedocs.problem import Problem
from moedocs.site.figure import paths

TEMPLATES = Path(__file__).with_name("templates")
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NO_FIGURE = "<!-- {{ figure NAME }} -->"


class Refused(Problem):
    """What cannot be started, with the reason."""


def figure(name: str, root: Path = ROOT) -> Path:
    """Write figures/NAME.py; refuses a name that is taken or not in the project's style."""
    checked(name, "a figure")
    path = root / "figures" / f"{name.replace('-', '_')}.py"
    return written(path, "new_figure.py.txt", root, TITLE=titled(name), NAME=name)


def page(place: str, figure: str | None = None, root: Path = ROOT) -> tuple[Path, str, bool]:
    """Write docs/PLACE.md; also gives its line for the navigation, and whether that could be put in.

    It goes behind the last page of the same folder. A folder that is new there belongs to a section that only the
    author can name.
    """
    place = place.removeprefix("docs/").removesuffix(".md")
    for word in place.split("/"):
        checked(word, "a page")
    if figure is not None and figure not in paths(root):
        raise Refused(f"no figure is called {figure!r}; start it with: moedocs new figure {figure}")
    title = titled(place.split("/")[-1])
    shown = NO_FIGURE if figure is None else f"{{{{ figure {figure} }}}}"
    path = written(
        root / "docs" / f"{place}.md", "new_page.md.txt", root, TITLE=title, FIGURE=shown, NAME=figure or "NAME"
    )
    line = f"- {title}: {place}.md"
    return path, line, put_in_navigation(line, place, root / "mkdocs.yml")


def put_in_navigation(line: str, place: str, settings: Path) -> bool:
    """Insert the line behind the last page of the folder that it lies in, if any page there has one."""
    folder = place.rpartition("/")[0]
    beside = re.compile(rf"( +)- [^\n]*?:? ?{re.escape(folder + '/' if folder else '')}[\w.-]+\.(md|py)\n?")
    lines = settings.read_text("utf-8").splitlines(keepends=True)
    found = [(index, match[1]) for index, text in enumerate(lines) if (match := beside.fullmatch(text))]
    if not found:
        return False
    index, indent = found[-1]
    lines.insert(index + 1, f"{indent}{line}\n")
    settings.write_text("".join(lines), "utf-8")
    return True


def checked(name: str, what: str) -> None:
    """Raise Refused for a name in another style, with one in ours."""
    if not NAME.fullmatch(name):
        ours = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789") or "load-over-time"
        raise Refused(f"{name!r} cannot name {what}: small letters, figures and hyphens, such as {ours}")


def titled(name: str) -> str:
    """`load-over-time` is "Load over time"."""
    return name.replace("-", " ").capitalize()


def written(path: Path, template: str, root: Path, **words: str) -> Path:
    """The template with these words in it, as a file that was not there before."""
    text = (TEMPLATES / template).read_text("utf-8")
    for word, value in words.items():
        text = re.sub(rf"\b{word}\b", lambda _, value=value: value, text)  # type: ignore[misc]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Refused(f"{path.relative_to(root).as_posix()} is there already") from None
    return path
