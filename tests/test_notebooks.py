"""Notebook pages: run once, rendered like any page, kept as long as nothing they depend on changes."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from moedocs import charts
from moedocs.lab.fingerprint import ROOT
from moedocs.site import notebooks

LAYER = ROOT / "docs/notebooks/moe-layer-from-scratch.py"
SMALL = """\
# %% [markdown]
# # A small one
#
# The weight $w < 1$ of [the other page](../other.md).
#
# ## Second part

# %%
from pathlib import Path

with Path("{runs}").open("a") as file:
    file.write("run\\n")
print("a <b>", flush=True)
print("&c")

# %% tags=["answer"] title="What is it?"
from IPython.display import Markdown

Markdown("It is **{answer}**.")
"""
FAILING = """\
# %% [markdown]
# # A failing one

# %%
number = 1

# %%
# a remark
number += 1
raise ValueError(f"number is {number}")
"""


def project(folder: Path, pages: dict[str, str]) -> Path:
    """A site of our theme and hooks around the given notebooks; returns where it is built."""
    docs = folder / "docs"
    (docs / "notebooks").mkdir(parents=True)
    for name, text in pages.items():
        (docs / "notebooks" / f"{name}.py").write_text(text)
    for name in ("index", "other", "training/collapse", "training/capacity"):
        (docs / f"{name}.md").parent.mkdir(exist_ok=True)
        (docs / f"{name}.md").write_text(f"# {name}\n")
    settings = {
        "site_name": "test",
        "site_url": "https://example.org/sub/",
        "docs_dir": str(docs),
        "site_dir": str(folder / "site"),
        "strict": True,
        "theme": {"name": "material", "custom_dir": str(ROOT / "moedocs/site/theme"), "font": False},
        "hooks": [str(ROOT / "moedocs/site/notebooks.py")],
        "plugins": [
            {"mkdocs-jupyter": {"execute": True, "allow_errors": False, "include": ["notebooks/*.py"], "cache": False}}
        ],
        "markdown_extensions": [
            "moedocs.site.maths",
            "attr_list",
            "md_in_html",
            {"toc": {"permalink": True}},
            "pymdownx.highlight",
            "pymdownx.superfences",
        ],
    }
    (folder / "mkdocs.yml").write_text(json.dumps(settings))
    return folder


def built(folder: Path) -> Path:
    """Build it as `mkdocs build` does."""
    config = load_config(str(folder / "mkdocs.yml"))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder / "site" / "notebooks"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real notebook and a small one that counts its runs, built."""
    folder = tmp_path_factory.mktemp("site")
    small = SMALL.format(runs=folder / "runs.txt", answer=42)
    project(folder, {"small": small, LAYER.stem: LAYER.read_text("utf-8")})
    built(folder)
    return folder


def page(folder: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((folder / "site/notebooks" / name / "index.html").read_text("utf-8"), "html.parser")


def test_a_notebook_is_rendered_like_any_other_page(site: Path) -> None:
    small = page(site, "small")
    assert small.find("title", string="A small one - test")
    assert small.select_one("a[href='../../other/']"), "links are resolved"
    assert small.select_one("p .katex annotation"), "formulae are rendered"
    assert {link["href"] for link in small.select(".md-nav--secondary a")} == {"#second-part"}, "it has contents"
    assert small.select_one(".highlight code span.kn"), "code is highlighted as everywhere"


def test_outputs_come_out_as_they_were_printed_and_have_a_name(site: Path) -> None:
    (output,) = page(site, "small").select(".moe-output")
    assert (output["role"], output["aria-label"]) == ("group", "Output 1")
    (box,) = output.find_all("pre")
    assert box.get_text() == "a <b>\n&c\n", "one box, however often it was flushed"
    assert box["tabindex"] == "0", "what may scroll takes focus"


def test_an_answer_is_folded_and_speaks_before_its_code(site: Path) -> None:
    (answer,) = page(site, "small").select("details.answer")
    assert not answer.has_attr("open")
    summary, spoken, code = answer.find_all(recursive=False)
    assert (summary.get_text(), spoken.get_text()) == ("What is it?", "It is 42.")
    assert "Markdown(" in code.get_text()


def test_a_second_build_runs_nothing_and_writes_the_same(site: Path) -> None:
    before = {path: path.read_bytes() for path in (site / "site/notebooks").rglob("*") if path.is_file()}
    built(site)
    assert (site / "runs.txt").read_text().count("run") == 1
    assert before == {path: path.read_bytes() for path in (site / "site/notebooks").rglob("*") if path.is_file()}


def test_a_changed_notebook_is_run_again(tmp_path: Path) -> None:
    folder = project(tmp_path, {"small": SMALL.format(runs=tmp_path / "runs.txt", answer=41)})
    built(folder)
    (folder / "docs/notebooks/small.py").write_text(SMALL.format(runs=tmp_path / "runs.txt", answer=43))
    built(folder)
    assert (folder / "runs.txt").read_text().count("run") == 2
    assert "It is 43." in page(folder, "small").get_text()


def test_a_cell_that_raises_fails_the_build_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = project(tmp_path, {"failing": FAILING})
    with pytest.raises(Abort):
        built(folder)
    assert caplog.messages[-1] == "docs/notebooks/failing.py:10: cell 2, line 3: ValueError: number is 2"
    assert not list(folder.glob(".cache/notebooks/*")), "nothing is kept of a run that failed"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A notebook that imports a module that imports another."""
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine/__init__.py").write_text("from engine.routing import route\n")
    (tmp_path / "engine/routing.py").write_text("def route():\n    return 1\n")
    (tmp_path / "apart.py").write_text("x = 1\n")
    (tmp_path / "notebook.py").write_text("# %% [markdown]\n# Words\n\n# %%\nfrom engine import route\n")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "runs_again"),
    [
        ("engine/routing.py", "def route():\n    return 2\n", True),
        ("engine/routing.py", "def route():\n    return 1  # a remark\n", False),
        ("apart.py", "x = 2\n", False),
        ("notebook.py", "# %% [markdown]\n# Other words\n\n# %%\nfrom engine import route\n", True),
    ],
)
def test_a_run_is_kept_until_something_it_depends_on_changes(
    package: Path, file: str, text: str, runs_again: bool
) -> None:
    before = notebooks.state_of(package / "notebook.py", root=package)
    (package / file).write_text(text)
    assert (notebooks.state_of(package / "notebook.py", root=package) != before) is runs_again


def test_the_template_is_among_what_a_run_depends_on(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = notebooks.state_of(package / "notebook.py", root=package)
    shutil.copytree(notebooks.TEMPLATES, tmp_path / "templates")
    monkeypatch.setattr(notebooks, "TEMPLATES", tmp_path / "templates")
    assert notebooks.state_of(package / "notebook.py", root=package) == before
    with (tmp_path / "templates/mkdocs_html/notebook.html.j2").open("a") as file:
        file.write("more")
    assert notebooks.state_of(package / "notebook.py", root=package) != before


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": 1}', None])
def test_a_damaged_run_is_noticed_and_made_again(tmp_path: Path, damage: str | None) -> None:
    assert notebooks.keep(LAYER, lambda: "good", tmp_path) == "good"
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace("good", "evil") if damage is None else damage)
    assert notebooks.keep(LAYER, lambda: "again", tmp_path) == "again"
    assert notebooks.keep(LAYER, lambda: "not run", tmp_path) == "again"


def test_the_page_of_the_layer_is_light_and_asks_no_other_host_for_anything(site: Path) -> None:
    path = site / "site/notebooks" / LAYER.stem / "index.html"
    soup = page(site, LAYER.stem)
    assert len(gzip.compress(path.read_bytes())) < 50_000
    assert not soup.find_all("style")
    loaded = [str(tag.get("src") or tag["href"]) for tag in soup.select("script[src], img[src], link[href]")]
    assert not [address for address in loaded if re.match("(https?:)?//", address) and "example.org" not in address]


def test_every_picture_says_what_it_shows_in_both_sizes(site: Path) -> None:
    pictures = page(site, LAYER.stem).select(".moe-picture")
    assert [picture["data-size"] for picture in pictures] == ["wide", "narrow"] * 2
    for picture in pictures:
        assert picture["role"] == "img"
        assert len(picture["aria-label"]) > 80
        assert [svg["aria-hidden"] for svg in picture.find_all("svg")] == ["true"]
        assert "var(--moe-" in str(picture.svg), "it follows the palette"
        assert not set(re.findall(r"var\(--moe-([\w-]+)", str(picture.svg))) - set(charts.PALETTE)


def test_ids_are_unique_on_the_page_of_the_layer(site: Path) -> None:
    ids = [tag["id"] for tag in page(site, LAYER.stem).select("[id]")]
    assert len(ids) == len(set(ids))


def test_the_notebook_to_take_along_is_a_valid_one_whose_links_lead_to_the_site(site: Path) -> None:
    notebook = json.loads((site / "site/notebooks" / LAYER.stem / f"{LAYER.stem}.ipynb").read_text("utf-8"))
    nbformat.validate(notebook)
    words = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)]*)\)", words)
    assert "https://example.org/sub/training/collapse/" in links
    assert not [link for link in links if not link.startswith("https://")]
    assert (site / "site/notebooks" / LAYER.stem / LAYER.name).read_bytes() == LAYER.read_bytes()


def test_the_page_of_the_layer_keeps_its_measure() -> None:
    cells = json.loads(notebooks.as_ipynb(LAYER.read_text("utf-8")))["cells"]
    prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    words = sum(len(re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL).split()) for text in prose)
    assert 900 <= words <= 1500
    open_code = [cell["source"] for cell in cells if cell["cell_type"] == "code" and not cell["metadata"].get("tags")]
    longest = max(len(line.rstrip()) for lines in open_code for line in lines)
    assert longest <= 83, "what the page shows without scrolling"
