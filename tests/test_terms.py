"""Terms and symbols in the build: what pages get of them, and what is told of a name that is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from markdown import Markdown

from moedocs.lab.fingerprint import ROOT
from moedocs.site import build, maths, symbols, terms
from moedocs.site.references import references

BOTH = ["moedocs.site.markdown", "moedocs.site.maths", "admonition", "toc"]
PARTS = {"load", "probability", "capacity", "dropped", "kept", "empty", "expected", "even", "gradient", "loss", "bias"}
PARTS |= {"entropy"}


def converted(text: str) -> BeautifulSoup:
    return BeautifulSoup(Markdown(extensions=BOTH).convert(text), "html.parser")


def listed(soup: BeautifulSoup) -> list[list[str]]:
    """The symbols of every list of the page, in order."""
    return [[str(sign["data-sym"]) for sign in where.select(".moe-where__sign")] for where in soup.select(".moe-where")]


def links(soup: BeautifulSoup) -> list[Tag]:
    return soup.select("moe-term > a.moe-term")


def test_a_term_is_a_link_to_the_glossary_in_its_own_or_in_other_words() -> None:
    soup = converted("A {{ term capacity-factor }} of 1: some {{ term drop: are <b>dropped</b> }}.")
    assert [(link.text, link["href"]) for link in links(soup)] == [
        ("capacity factor", "#capacity-factor"),
        ("are <b>dropped</b>", "#drop"),
    ]
    assert [term["data-text"] for term in soup.select("moe-term")] == [
        terms.terms()["capacity-factor"].text,
        terms.terms()["drop"].text,
    ]


def test_a_term_is_marked_as_often_as_it_is_written() -> None:
    assert len(links(converted("{{ term load }} and {{ term load }}\n\n- {{ term load: loads }}\n"))) == 3


def test_terms_stand_in_headings_lists_tables_and_boxes() -> None:
    soup = converted('# A {{ term load }}\n\n!!! takeaway "T"\n\n    - {{ term router }}\n')
    assert soup.select_one("h1 > moe-term") is not None
    assert soup.select_one(".takeaway li > moe-term") is not None


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("term capacity-facto", "unknown term 'capacity-facto'; near it: capacity-factor"),
        ("term drop are dropped", "unknown term 'drop are dropped'; near it: "),
        ("term xyzzy", "unknown term 'xyzzy'; there are: active-parameters, "),
        ("term", "names nothing"),
        ("glossary load", "glossary takes no name"),
    ],
)
def test_a_term_that_is_none_is_told_with_file_and_line_and_what_is_near(
    written: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# Page\n\nWords, {{ term load }},\nand {{ %s }}.\n" % written)  # noqa: UP031
    (problem,) = build.check_pages(tmp_path / "docs")
    assert problem.startswith("docs/page.md:4: ")
    assert told in problem


def test_the_glossary_lists_every_term_once_in_order_under_its_anchor() -> None:
    soup = converted("# Glossary\n\n{{ glossary }}\n")
    (glossary,) = soup.select("dl.moe-glossary")
    entries = glossary.find_all("div", recursive=False)
    assert sorted(str(entry["id"]) for entry in entries) == sorted(terms.terms())
    names = [entry.dt.text for entry in entries if entry.dt]
    assert names == sorted(names, key=str.casefold)
    assert all(entry.dd.text.startswith(terms.terms()[str(entry["id"])].text) for entry in entries if entry.dd)


def test_every_entry_of_the_glossary_is_a_sentence_or_two_and_its_page_exists() -> None:
    for term in terms.terms().values():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", term.key)
        assert re.fullmatch(r"[A-Z][^{}<>$`*]+\.", term.text), term.key
        assert 1 <= len(re.findall(r"[.](?: |$)", term.text)) <= 2, term.key
        assert not term.page or (ROOT / "docs" / term.page).is_file(), term.key


@pytest.mark.parametrize("file", [terms.FILE, symbols.FILE], ids=lambda file: file.stem)
def test_no_name_is_given_twice(file: Path) -> None:
    names = re.findall(r"^([\w-]+):", file.read_text("utf-8"), re.MULTILINE)
    assert set(names) == set(yaml.safe_load(file.read_text("utf-8")))
    assert len(names) == len(set(names))


def test_a_displayed_formula_is_followed_by_the_symbols_that_are_new_in_it() -> None:
    first = r"$$\sym{weight}{\alpha} \sum_i \sym{share}{f_i} \sym{share}{f_i}$$"
    second = r"$$\sym{share}{f_i} / \sym{experts}{N}$$"
    third = r"$$\sym{experts}{N}$$"
    soup = converted(f"Here $\\sym{{share}}{{f}}$.\n\n{first}\n\n{second}\n\n{third}\n")
    assert listed(soup) == [["weight", "share"], ["experts"]]
    formula, where = soup.select("moe-symbols > .moe-formula, moe-symbols > .moe-where")[:2]
    assert formula.find_next_sibling() is where
    assert next(words.text for words in where.select("dd")) == symbols.symbols()["weight"].words
    assert where.select_one(".moe-where__sign")["data-said"] == symbols.symbols()["weight"].words  # type: ignore[index]


def test_symbols_of_running_text_alone_are_listed_at_the_end_of_the_page() -> None:
    text = "In $\\sym{rate}{\\gamma}$ and $\\sym{bias}{b_i}$.\n\n$$\\sym{bias}{b_i}$$\n\nThe last words.\n"
    soup = converted(text)
    assert listed(soup) == [["bias"], ["rate"]]
    *_, last = soup.find_all(recursive=False)
    assert [head.text for head in last.select(".moe-where p")] == ["Symbols in the text"]
    assert converted("No $x$ has a name.").select(".moe-where, moe-symbols") == []


def test_a_list_has_its_symbols_in_the_order_in_which_they_are_written() -> None:
    soup = converted(r"$$\sym{capacity}{C} = \frac{\sym{tokens}{T}\,\sym{top-k}{k}}{\sym{experts}{N}}$$")
    assert listed(soup) == [["capacity", "tokens", "top-k", "experts"]]


def test_a_symbol_of_a_list_names_the_parts_that_it_lights() -> None:
    soup = converted(r"$$\sym{share}{f_i} \sym{experts}{N}$$")
    share, experts = soup.select(".moe-where__sign")
    assert share["data-lights"] == "part_load"
    assert "data-lights" not in experts.attrs


@pytest.mark.parametrize("display", [False, True])
def test_a_symbol_changes_nothing_of_how_a_formula_is_set(display: bool) -> None:
    named = maths.render(r"a + \sym{share}{f}_i \sym{probability}{\router{P_i}} = \sym{top-k}{k} - 1", display)
    plain = maths.render(r"a + f_i \router{P_i} = k - 1", display)
    assert named.count("data-sym=") == 3
    assert set_as(named) == set_as(plain)


def set_as(html: str) -> tuple[str, list[str]]:
    """What is seen of a formula: its letters, and the room between them."""
    (seen,) = BeautifulSoup(html, "html.parser").select(".katex-html")
    return seen.text, [str(gap["style"]) for gap in seen.select(".mspace")]


def test_nothing_inside_of_a_formula_can_be_focused() -> None:
    soup = converted(r"$\sym{share}{f_i}$ and $$\sym{share}{f_i}$$")
    assert soup.select(".katex-html") != []
    assert soup.select(".katex :is(a, button, [tabindex], [role=button])") == []


@pytest.mark.parametrize(
    ("tex", "told"),
    [
        (r"\sym{shar}{f_i}", "unknown symbol 'shar'; near it: share; there are: share, probability, "),
        (r"a + \sym{xyzzy}{f_i}", "unknown symbol 'xyzzy'; there are: share, "),
        (r"\sym{}{f_i}", ""),
    ],
)
def test_a_symbol_that_is_none_is_refused_with_what_there_is(tex: str, told: str) -> None:
    with pytest.raises(maths.FormulaError) as error:
        maths.render(tex)
    assert told in str(error.value)


def test_a_symbol_that_is_none_is_told_with_page_and_line(caplog: pytest.LogCaptureFixture) -> None:
    soup = converted("# Page\n\nRight: $\\sym{share}{f}$,\nwrong: $\\sym{shar}{f}$.\n")
    assert "line 4: formula" in caplog.text
    assert soup.select_one(".moe-error") is not None


@pytest.mark.parametrize("tex", [r"\htmlData{name=x}{y}", r"\htmlData{sym=share, name=x}{y}", r"\htmlId{x}{y}"])
def test_katex_may_write_no_other_attribute(tex: str) -> None:
    assert 'name="x"' not in maths.render(tex)
    assert 'data-name="x"' not in maths.render(tex)
    assert 'id="x"' not in maths.render(tex)


def test_the_contents_name_a_formula_without_the_names_of_its_symbols() -> None:
    md = Markdown(extensions=BOTH)
    md.convert("# One\n\n## The share $\\sym{share}{f_i}$ of it\n")
    assert md.toc_tokens[0]["children"][0]["name"] == "The share f_i of it"  # type: ignore[attr-defined]


def test_every_symbol_can_be_set_and_lights_parts_that_there_are() -> None:
    for symbol in symbols.symbols().values():
        where = symbols.where([symbol.name], "where", maths.render)
        assert "katex-error" not in where
        assert {part.removeprefix("part_") for part in symbol.lights} <= PARTS, symbol.name
        assert re.fullmatch(r"[a-z][a-z0-9-]*", symbol.name)


def test_words_of_a_symbol_may_hold_a_formula_and_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = symbols.Symbol(name="odd", tex="x", words="less < more of $a < b$", lights=())
    monkeypatch.setattr(symbols, "symbols", lambda: {"odd": odd})
    soup = BeautifulSoup(symbols.where(["odd"], "where", maths.render), "html.parser")
    (words,) = soup.select("dd")
    assert words.text.startswith("less < more of\N{NO-BREAK SPACE}")
    assert [tex.text for tex in words.select("annotation")] == ["a < b"]
    assert soup.select_one(".moe-where__sign")["data-said"] == "less < more of a < b"  # type: ignore[index]


def test_every_term_that_pages_use_is_in_the_glossary() -> None:
    used = [
        reference.names
        for page in (ROOT / "docs").rglob("*.md")
        for reference in references(page.read_text("utf-8"))
        if reference.kind == "term"
    ]
    assert used
    for names in used:
        terms.asked(names)
