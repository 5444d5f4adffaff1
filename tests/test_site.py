"""Pages: what a reference is and what it becomes, numbers in prose, and frames that are whole without scripts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from moedocs.lab.fingerprint import ROOT
from moedocs.site import figures
from moedocs.site.build import check_pages, pages_with
from moedocs.site.figure import paths
from moedocs.site.references import Reference, references, replaced

NAMES = tuple(paths(ROOT))
BODY = "{{ figure %s }}"


@dataclass(frozen=True)
class Block:
    """Lines of a page, and at which of them (from 0) stands which reference that counts."""

    lines: tuple[str, ...]
    found: tuple[tuple[int, str], ...] = ()


def prose(name: str) -> Block:
    return Block(("Words {{ value a %s }} and" % name, "{{cite %s}}, {x}, {{x" % name), ((0, name), (1, name)))  # noqa: UP031


def fenced(mark: str, indent: str, name: str) -> Block:
    inner = f"{{{{ figure {name} }}}}"
    return Block(tuple(f"{indent}{line}" for line in (f"{mark}python", inner, "", f"`{inner}", mark)))


def comment(name: str) -> Block:
    return Block((f"<!-- {{{{ figure {name} }}}}", "", f"--> {{{{ figure {name} }}}} <!-- -->"), ((2, name),))


def span(ticks: str, name: str) -> Block:
    inner = f"{ticks} {{{{ cell {name}}}}} {ticks}"
    return Block((f"A span {inner} and {{{{ cell {name} }}}}", f"{ticks} over", f"a line {ticks}"), ((0, name),))


def stray(name: str) -> Block:
    """A tick without its counterpart hides nothing; neither does an escaped one."""
    line = f"{{{{ figure {name} }}}}"
    return Block((f"\\`{line}\\` it's 5` {line}", "", line), ((0, name), (0, name), (2, name)))


def indented(name: str) -> Block:
    """The body of an admonition is no code."""
    return Block(("!!! note", "", f"    {{{{ figure {name} }}}}"), ((2, name),))


NAME = st.sampled_from("abcdefgh")
BLOCKS = st.one_of(
    NAME.map(prose),
    st.builds(fenced, st.sampled_from(["```", "~~~", "`````"]), st.sampled_from(["", "  ", "    ", "\t"]), NAME),
    NAME.map(comment),
    st.builds(span, st.sampled_from(["`", "``"]), NAME),
    NAME.map(stray),
    NAME.map(indented),
)


@given(st.lists(BLOCKS, max_size=8))
def test_references_are_found_outside_of_code_and_comments_alone_each_with_its_line(blocks: list[Block]) -> None:
    expected, lines = [], list[str]()
    for block in blocks:
        expected += [(len(lines) + at + 1, name) for at, name in block.found]
        lines += [*block.lines, ""]
    text = "\n".join(lines)
    assert [(found.line, found.names[-1]) for found in references(text)] == expected
    seen: list[Reference] = []
    kept = replaced(text, lambda reference: seen.append(reference) or "")  # type: ignore[func-returns-value]
    assert seen == list(references(text))
    assert re.sub(r"\{\{.*?\}\}", "", text) == re.sub(r"\{\{.*?\}\}", "", kept)


def test_a_reference_has_a_kind_names_and_options() -> None:
    (found,) = references("\n{{ value record/balance steps.-1 as=count digits=2 }}")
    assert found == Reference("value", ("record/balance", "steps.-1"), {"as": "count", "digits": "2"}, 2)


WRONG = {
    "nonsense x": r"unknown reference 'nonsense'; there are: figure, cell, bill, value, cite, code, atlas, card",
    "": r"unknown reference ''; there are: figure",
    "figure": r"\{\{ figure \}\} names nothing",
    "figure nonsense": rf"unknown figure 'nonsense'; there are: {', '.join(NAMES)}",
    "figure cost balance": r"figure takes one name, and not 'cost balance'",
    "figure cost width=3": r"unknown option 'width'; figure has: none",
    "cell nonsense": rf"unknown figure 'nonsense'; there are: {NAMES[0]}",
    "cell cost": r"figure 'cost' has no cell; write one in figures/cells/cost\.py",
    "value mixtral-8x7b": r"value needs a source and a name, such as 'mixtral-8x7b active'; it has 'mixtral-8x7b'",
    "value mixtral-9x9b active": r"unknown model 'mixtral-9x9b'; near are: mixtral-8x7b, mixtral-8x22b",
    "value mixtral-8x7b weight": r"mixtral-8x7b has no quantity 'weight'; it has: total, active",
    "value mixtral-8x7b active as=share": r"mixtral-8x7b active has a unit, parameters: as=share is for",
    "value mixtral-8x7b active digit=3": r"unknown option 'digit'; value has: as, digits",
    "value mixtral-8x7b active digits=many": r"digits=many must be a whole number from 1 to 15",
    "value mixtral-8x7b active digits=0": r"digits=0 must be",
    "value mixtral-8x7b active digits=16": r"digits=16 must be",
    "value mixtral-8x7b total over llama-2-70b routers": r"llama-2-70b routers is 0",
    "value mixtral-8x7b total over mixtral-8x7b weight": r"mixtral-8x7b has no quantity 'weight'",
    "value mixtral-8x7b total over mixtral-8x7b active as=pounds": r"unknown unit 'pounds'; there are: parameters",
    "value record/nonsense x": r"\S+/nonsense\.json: there is no such record; .*; there are: balance, ",
    "value record/balance steps.-1 as=pounds": r"unknown unit 'pounds'; there are: parameters, FLOP",
    "value record/balance summary.all": r"record balance has no 'all' in 'summary\.all'; there: auxiliary\+z/k1, ",
    "value record/balance steps.99": r"record balance has no '99' in 'steps\.99'; there: list",
    "value record/balance summary": r"record balance: 'summary' is no number",
    "value figure/nonsense x": rf"unknown figure 'nonsense'; there are: {NAMES[0]}",
    "value figure/collapse-lab nonsense": r"figure/collapse-lab has no quantity 'nonsense'; it has: apart, behind, ",
    "value figure/cost nonsense": r"figure/cost has no quantity 'nonsense'; it has: ",
    "atlas mixtral-8x7b": r"atlas takes no name, and not 'mixtral-8x7b'",
    "card": r"\{\{ card \}\} names nothing",
    "card mixtral-9x9b": r"unknown model 'mixtral-9x9b'; near are: mixtral-8x7b",
    "cite nobody-1900": r"unknown citation 'nobody-1900'; the bibliography has: shazeer-2017",
    "code moedocs.nonsense.x": r"no code named 'moedocs\.nonsense\.x'; write it as moedocs\.",
    "code moedocs.cost.size.nonsense": r"no definition of 'moedocs\.cost\.size\.nonsense'; the module has: Parameters,",
}


@pytest.fixture
def shown(built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The built figures in the place where pages look for them; beside them what a cell's first run brings."""
    monkeypatch.setattr(figures, "FOLDER", built)
    (built.parent / "pyodide").mkdir(exist_ok=True)
    (built.parent / "pyodide" / "sizes.json").write_text('{"first_run": 8123456}')
    return built


@pytest.mark.parametrize("words", WRONG)
@pytest.mark.usefixtures("shown")
def test_what_names_nothing_is_told_in_one_line_with_file_and_line_and_what_there_is(
    words: str, tmp_path: Path
) -> None:
    page = tmp_path / "docs" / "folder" / "page.md"
    page.parent.mkdir(parents=True)
    page.write_text(f"---\ntitle: A page\n---\n\nWords, and {{{{ {words} }}}}.\n")
    (told,) = check_pages(tmp_path / "docs")
    assert re.fullmatch(rf"docs/folder/page\.md:5: {WRONG[words]}.*", told)


@pytest.mark.usefixtures("shown")
def test_the_pages_of_the_project_name_only_what_there_is() -> None:
    assert check_pages(ROOT / "docs") == []


def test_it_is_known_on_which_pages_a_figure_a_cell_or_a_value_of_it_stands(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("{{ figure cost }}\n\n`{{ figure cost }}`\n{{ figure collapse-lab }}\n")
    (tmp_path / "docs" / "b.md").write_text("\n{{ cell cost }}, {{ value figure/cost x }}, {{ cite cost-2024 }}\n")
    assert pages_with("cost", tmp_path / "docs") == ["docs/a.md:1", "docs/b.md:2", "docs/b.md:2"]


PAGES = {
    "index.md": "# Home\n\n{{ figure cost }}\n",
    "near.md": ("# Near {{ value mixtral-8x7b num-experts }}\n\n{{ figure capacity }}\n\n{{ cell capacity }}\n"),
    "deep/down/here.md": (
        "# Deep\n\nStores {{ value mixtral-8x7b total }} {{ cite mixtral-2024 }}.\n\n"
        "| a | b |\n|---|---|\n| {{ value mixtral-8x7b active }} | `{{ value mixtral-8x7b active }}` |\n\n"
        "!!! note\n\n    {{ figure collapse-lab }}\n\n{{ figure one-token }}\n\n"
        "```text\n{{ figure cost }}\n```\n\n{{ code moedocs.cost.size.expert_parameters }}\n"
    ),
}


def made(docs: Path, site: Path, pages: dict[str, str], directories: bool = True) -> dict[str, BeautifulSoup]:
    """The pages after a real strict MkDocs build with the project's own Markdown extensions, by their address."""
    for name, text in pages.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text, "utf-8")
    project = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), yaml.BaseLoader)
    settings = {
        "site_name": "small",
        "site_url": "https://example.org/some/where/",
        "docs_dir": str(docs),
        "site_dir": str(site),
        "use_directory_urls": directories,
        "markdown_extensions": project["markdown_extensions"],
        "plugins": [],
        "strict": True,
        "theme": {"name": None, "custom_dir": str(docs.parent / "theme")},
    }
    (docs.parent / "theme").mkdir(exist_ok=True)
    (docs.parent / "theme" / "main.html").write_text("<title>{{ page.title }}</title>{{ page.content }}")
    (docs.parent / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    build(load_config(str(docs.parent / "mkdocs.yml")))
    return {path.relative_to(site).as_posix(): soup(path) for path in sorted(site.rglob("*.html"))}


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


@pytest.fixture
def docs(shown: Path, tmp_path: Path) -> Path:
    """A docs folder that has the built figures."""
    return Path(shutil.copytree(shown.parent, tmp_path / "docs" / "assets")).parent


@pytest.mark.parametrize("directories", [True, False])
def test_every_address_in_a_page_leads_to_a_file_of_the_site_wherever_the_page_lies(
    directories: bool, docs: Path, tmp_path: Path
) -> None:
    pages = made(docs, tmp_path / "site", PAGES, directories)
    assert set(pages) == (
        {"index.html", "near/index.html", "deep/down/here/index.html"}
        if directories
        else {"index.html", "near.html", "deep/down/here.html"}
    )
    seen = 0
    for page, html in pages.items():
        for address in addresses(html):
            assert not urlsplit(address).scheme, address
            assert not address.startswith("/"), address
            place = tmp_path / "site" / page
            target = (place.parent / address).resolve()
            assert target.is_relative_to(tmp_path / "site"), f"{address} leads out of the site from {page}"
            assert (
                urljoin(f"https://host/{page}", address)
                == f"https://host/{target.relative_to(tmp_path / 'site').as_posix()}"
            )
            assert target.is_file(), f"{page}: {address}"
            seen += 1
    assert seen == 4 * (2 + 4) + 1


def addresses(html: BeautifulSoup) -> Iterator[str]:
    """What a page's figures and cells name of the site: downloads, the live chart's files, Python's."""
    for figure in html.find_all("moe-figure"):
        yield from (f"{figure['src']}{size}.vg.json" for size in ("wide", "narrow"))
        yield from (str(link["href"]) for link in figure.find_all("a", download=True))
    yield from (f"{cell['src']}sizes.json" for cell in html.find_all("moe-cell"))


def test_references_become_what_they_name_in_prose_headings_tables_and_admonitions(docs: Path, tmp_path: Path) -> None:
    pages = made(docs, tmp_path / "site", PAGES)
    deep = pages["deep/down/here/index.html"]
    total, active = deep.find_all("data")
    assert (total.text, total["value"]) == ("46.7 billion", "46702792704")
    assert str(total["title"]).startswith("46,702,792,704 parameters: 131072000 + 1342177280 + ")
    assert [cell.text for cell in deep.select("td")[:2]] == [active.text, "{{ value mixtral-8x7b active }}"]
    cited = deep.select_one("a.moe-cite")
    assert cited is not None
    assert (cited.text, cited["href"]) == ("Jiang et al., 2024", "https://arxiv.org/abs/2401.04088")
    assert "def expert_parameters(config: TransformerConfig) -> int:" in deep.text
    assert "{{ figure cost }}" in deep.text
    assert deep.select_one(".admonition moe-figure#collapse-lab") is not None
    near = pages["near/index.html"]
    assert near.select_one("h1 data") is not None
    assert not [page for page, html in pages.items() if html.select("p moe-figure, p moe-cell")]
    assert "The first run downloads 8.1 MB" in near.text


@pytest.mark.usefixtures("shown")
def test_a_reference_that_names_nothing_shows_its_reason_and_fails_a_strict_build(
    docs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Abort, match="strict mode"):
        made(docs, tmp_path / "site", {"index.md": "# Home\n\n{{ figure <b>none</b> }}\n\n{{ figure cost }}\n"})
    page = soup(tmp_path / "site" / "index.html")
    (box,) = page.select("p.moe-error[role=alert]")
    assert f"unknown figure '<b>none</b>'; there are: {NAMES[0]}" in box.text
    assert box.find("b") is None
    assert page.find(id="cost") is not None
    assert "index.md: {{ figure <b>none</b> }}: unknown figure" in caplog.text
