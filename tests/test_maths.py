"""Formulae: rendered when the site is built, read aloud, in the colours of the figures; wrong ones are told where."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from markdown import Markdown
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from moedocs import charts
from moedocs.lab.fingerprint import ROOT
from moedocs.site import fonts, maths

FONTS = ROOT / "node_modules/katex/dist/fonts"


def converted(text: str) -> BeautifulSoup:
    return BeautifulSoup(Markdown(extensions=["moedocs.site.maths"]).convert(text), "html.parser")


def tex_of(soup: BeautifulSoup) -> list[str]:
    return [annotation.get_text() for annotation in soup.find_all("annotation")]


@pytest.mark.parametrize("display", [False, True])
def test_a_formula_is_seen_in_one_form_and_read_aloud_in_another(display: bool) -> None:
    soup = BeautifulSoup(maths.render(r"\frac{a}{b}", display), "html.parser")
    (seen,), (read,) = soup.select(".katex-html"), soup.select(".katex-mathml math")
    assert seen["aria-hidden"] == "true"
    assert read.find("mfrac")


def test_a_displayed_formula_scrolls_in_a_box_of_its_own_that_takes_focus() -> None:
    (box,) = BeautifulSoup(maths.render("x", display=True), "html.parser").find_all(recursive=False)
    assert (box["class"], box["tabindex"]) == (["moe-formula"], "0")
    assert box["aria-label"]


@pytest.mark.parametrize("meaning", maths.MEANINGS)
def test_every_meaning_of_a_colour_is_a_command(meaning: str) -> None:
    assert meaning in charts.MEANINGS
    soup = BeautifulSoup(maths.render(rf"1 + \{meaning}{{x_e}}"), "html.parser")
    (coloured,) = soup.select(f".moe-{meaning}")
    assert coloured.get_text().startswith("x")
    assert f".katex .moe-{meaning} " in (ROOT / "docs/stylesheets/pages.css").read_text("utf-8")


@pytest.mark.parametrize(
    ("tex", "reason", "position"),
    [
        (r"a + \nonsense", r"Undefined control sequence: \nonsense", 5),
        (r"\frac{a", "Unexpected end of input in a macro argument, expected '}'", 8),
        ("été", "Accented Unicode text character", 1),
        (r"\href{https://example.org}{x}", "", None),
    ],
)
def test_a_wrong_formula_is_refused_with_katex_own_reason(tex: str, reason: str, position: int | None) -> None:
    if not reason:
        assert "<a " not in maths.render(tex), "no links out of a formula"
        return
    with pytest.raises(maths.FormulaError) as error:
        maths.render(tex)
    assert reason in str(error.value)
    assert error.value.position == position


def test_what_stands_between_dollars_is_a_formula_in_lines_and_in_blocks() -> None:
    soup = converted("In $a < b$ and:\n\n$$\n\\begin{cases} x & y < z \\end{cases}\n$$\n")
    assert tex_of(soup) == ["a < b", "\\begin{cases} x & y < z \\end{cases}"]
    assert len(soup.select("p .katex")) == 1
    assert len(soup.select("div > .moe-formula")) == 1


def test_prices_and_code_are_no_formulae() -> None:
    soup = converted("From $5 to $6, written `$x$`, or\n\n    $$y$$\n")
    assert not tex_of(soup)
    assert "$5 to $6" in soup.get_text()


def test_the_contents_name_a_formula_by_its_letters() -> None:
    md = Markdown(extensions=["moedocs.site.maths", "toc"])
    html = md.convert("# One\n\n## The weight $w_e$ of it\n")
    assert md.toc_tokens[0]["children"][0]["name"] == "The weight w_e of it"  # type: ignore[attr-defined]
    assert "katex" in html


def test_search_finds_a_formula_once() -> None:
    (hidden,) = BeautifulSoup(maths.render("x"), "html.parser").select("[data-search-exclude]")
    assert hidden["class"] == ["katex-mathml"]


@pytest.mark.parametrize("front", ["", "---\ntitle: With front matter\n---\n\n"])
def test_a_wrong_formula_fails_the_build_with_page_line_and_reason(
    front: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "docs/part").mkdir(parents=True)
    (tmp_path / "docs/index.md").write_text("# Home\n")
    (tmp_path / "docs/part/page.md").write_text(f"{front}# Page\n\nRight: $x$.\n\n> $$\n> a +\n> \\nonsense\n> $$\n")
    settings: dict[str, Any] = {"site_name": "test", "strict": True, "markdown_extensions": ["moedocs.site.maths"]}
    folders = {"docs_dir": str(tmp_path / "docs"), "site_dir": str(tmp_path / "site"), "plugins": []}
    (tmp_path / "mkdocs.yml").write_text(json.dumps(settings | folders))
    with pytest.raises(Abort):
        build(load_config(str(tmp_path / "mkdocs.yml")))
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    line = 6 + front.count("\n")
    assert told == (
        f"part/page.md:{line}: formula “a + \\nonsense”: Undefined control sequence: \\nonsense (at character 5)"
    )


def test_a_page_that_is_served_shows_what_is_wrong_and_the_rest() -> None:
    soup = converted("Right: $x$, wrong: $\\nonsense$.")
    (error,) = soup.select(".moe-error")
    assert "Undefined control sequence" in error.get_text()
    assert tex_of(soup) == ["x"]


def test_a_program_that_rendered_formulae_comes_to_its_end() -> None:
    script = "from moedocs.site import maths; print(len(maths.render('x')))"
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def characters_of(font: bytes) -> set[str]:
    with TTFont(BytesIO(font)) as opened:
        return {chr(code) for code in opened.getBestCmap()}


def test_fonts_are_cut_down_to_the_characters_that_formulae_use(tmp_path: Path) -> None:
    maths.render(r"\sum_{e=1}^{E} w_e \le \mathbb{E}[x]", display=True)
    used = set(maths.characters)
    assert set("∑eE=1wx≤[]") <= used
    fonts.cut(FONTS, tmp_path / "fonts", "".join(used), tmp_path / "kept")
    for name in ("Main-Regular", "Math-Italic", "AMS-Regular", "Size2-Regular"):
        whole = (FONTS / f"KaTeX_{name}.woff2").read_bytes()
        cut = (tmp_path / "fonts" / f"KaTeX_{name}.woff2").read_bytes()
        assert characters_of(cut) == characters_of(whole) & used, name
        assert len(cut) < len(whole)


def test_a_font_is_cut_once_and_a_damaged_one_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole/small.woff2").write_bytes((FONTS / "KaTeX_Size1-Regular.woff2").read_bytes())
    cuts: list[str] = []
    only = fonts._only

    def counted(whole: bytes, characters: str) -> bytes:
        cuts.append(characters)
        return only(whole, characters)

    monkeypatch.setattr(fonts, "_only", counted)

    def cut(characters: str) -> bytes:
        fonts.cut(tmp_path / "whole", tmp_path / "site", characters, tmp_path / "kept")
        return (tmp_path / "site/small.woff2").read_bytes()

    first = cut("∑(")
    assert cut("(∑") == first
    assert cuts == ["∑("]
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert cut("∑(") == first
    assert len(cuts) == 2
    cut("∑")
    assert len(list((tmp_path / "kept").iterdir())) == 1, "what is not used is not kept"
    assert re.fullmatch(r"[0-9a-f]{24}-[0-9a-f]{24}\.woff2", next((tmp_path / "kept").iterdir()).name)
