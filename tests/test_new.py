"""`moedocs new`: what it starts builds as it is, looks like the rest of the project, and replaces nothing."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from moedocs.cli import main
from moedocs.lab.fingerprint import ROOT
from moedocs.site import starting
from tests import copies

NAME, PLACE = "load-over-time", "training/load-over-time"
NAVIGATION = """INHERIT: base.yml
site_url: http://127.0.0.1:8000/
nav:
  - Home: index.md
  - Training it:
      - Full experts: training/full.md
  - Other: other.md
plugins: []
"""
PAGES = dict.fromkeys(("index.md", "training/full.md", "other.md"), "# A page\n\nWords.\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with a figure and a page that the commands have started."""
    root = copies.copied(tmp_path_factory.mktemp("new") / "copy", (), PAGES)
    (root / "mkdocs.yml").write_text(NAVIGATION)
    for words in (["figure", NAME], ["page", PLACE, "--figure", NAME]):
        status, said = copies.run(root, "moedocs", "new", *words)
        assert status == 0, said
    return root


def test_a_figure_and_a_page_build_as_they_are_with_numbers_of_the_engine(root: Path) -> None:
    status, said = copies.run(root, "mkdocs", "build", "--strict")
    assert status == 0, said
    page = BeautifulSoup((root / "site" / PLACE / "index.html").read_text("utf-8"), "html.parser")
    headings = [heading.find(string=True) for heading in page.select("h2")]
    assert headings == ["See", "Count", "Formula", "Code", "What this does not show", "Exercises", "Sources"]
    assert page.select_one(f"moe-figure#{NAME} svg")
    with (root / "docs" / "assets" / "figures" / NAME / f"{NAME}.csv").open() as file:
        rows = list(csv.DictReader(file))
    for num_tokens in (64, 256, 1024):
        loads = [int(row["load"]) for row in rows if row["num_tokens"] == str(num_tokens)]
        assert sum(loads) == 2 * num_tokens  # two choices each, none dropped
        assert len(set(loads)) > 1  # drawn, not typed
    busiest = max(int(row["load"]) for row in rows if row["num_tokens"] == "64")
    assert f"{busiest / 128:.1%}" in page.select(f"moe-figure#{NAME} figcaption")[0].text


def test_the_figure_is_written_as_the_project_writes(root: Path) -> None:
    path = root / "figures" / "load_over_time.py"
    for words in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *words, "--config", str(ROOT / "pyproject.toml"), "--no-cache", str(path)]
        done = subprocess.run(ruff, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_page_stands_in_the_navigation_behind_those_of_its_folder(root: Path) -> None:
    line = f"      - Load over time: {PLACE}.md\n"
    full = "      - Full experts: training/full.md\n"
    assert (root / "mkdocs.yml").read_text() == NAVIGATION.replace(full, full + line)


@pytest.mark.parametrize("words", [["figure", NAME], ["page", PLACE]], ids=["figure", "page"])
def test_what_is_there_is_refused_and_left_alone(root: Path, words: list[str]) -> None:
    before = copies.hashes(root / "figures") | copies.hashes(root / "docs") | {"": (root / "mkdocs.yml").read_text()}
    status, said = copies.run(root, "moedocs", "new", *words)
    assert status == 2
    assert said.startswith("moedocs: ")
    assert said.endswith(" is there already\n")
    after = copies.hashes(root / "figures") | copies.hashes(root / "docs") | {"": (root / "mkdocs.yml").read_text()}
    assert after == before


def test_a_page_of_a_folder_that_is_new_leaves_the_navigation_to_its_author(tmp_path: Path) -> None:
    (tmp_path / "mkdocs.yml").write_text(NAVIGATION)
    _, line, inserted = starting.page("practice/serving", root=tmp_path)
    assert (line, inserted) == ("- Serving: practice/serving.md", False)
    assert (tmp_path / "mkdocs.yml").read_text() == NAVIGATION
    assert starting.NO_FIGURE in (tmp_path / "docs" / "practice" / "serving.md").read_text()


def test_a_page_of_no_folder_goes_behind_the_others_of_none(tmp_path: Path) -> None:
    (tmp_path / "mkdocs.yml").write_text(NAVIGATION)
    starting.page("docs/about.md", root=tmp_path)
    other = "  - Other: other.md\n"
    assert (tmp_path / "mkdocs.yml").read_text() == NAVIGATION.replace(other, f"{other}  - About: about.md\n")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["figure", "Load_Over Time"], "small letters, figures and hyphens, such as load-over-time"),
        (["figure", "../load"], "such as load"),
        (["figure", "7"], "such as load-over-time"),
        (["page", "training/../../secret"], "'..' cannot name a page"),
        (["page", "/etc/passwd"], "'' cannot name a page"),
        (["page", "training/x", "--figure", "nothing"], "start it with: moedocs new figure nothing"),
    ],
)
def test_other_names_are_refused_with_one_that_would_do(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *words]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["figure"], ["page"]])
def test_help_says_what_is_written(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["new", *words, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("usage: moedocs new")
