"""Claims: a ledger that is whole, checks that run and hold, and pages and prompt that show what they found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag

from moedocs.claims import checking, ledger, results
from moedocs.claims.found import Found, as_json, from_json, number
from moedocs.claims.ledger import LedgerError
from moedocs.cli import main
from moedocs.cost import wording
from moedocs.lab.fingerprint import ROOT
from moedocs.site import assets, build, claims, markdown
from moedocs.site.bibliography import papers
from moedocs.site.references import references
from tests.test_site import made

ALL = ledger.claims()
CHECKED = [claim for claim in ALL.values() if claim.check]
ENTRY = "topics: {a: A}\nclaims:\n  x:\n    topic: a\n    claim: Said.\n    right: Right.\n"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all checks find now, where a site's docs would have it."""
    file = tmp_path_factory.mktemp("docs") / "assets" / "claims.json"
    assert checking.bring_up_to_date(file) == []
    return file


def soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def words(element: Tag) -> str:
    return " ".join(element.get_text().split())


@pytest.mark.parametrize("claim", CHECKED, ids=lambda claim: claim.id)
def test_every_check_holds_and_says_every_number_that_it_found(claim: ledger.Claim) -> None:
    outcome = checking.run(claim)
    assert outcome.holds is True
    assert outcome.numbers
    named = re.findall(r"\{(\w+)", outcome.sentence)
    assert set(named) == set(outcome.numbers)
    assert all(quantity.formula for quantity in outcome.numbers.values())
    assert outcome == checking.run(claim)  # what is drawn is drawn from a seed


def test_every_claim_is_whole() -> None:
    for claim in ALL.values():
        assert set(claim.sources) <= set(papers()), claim.id
        assert bool(claim.check) != bool(claim.unchecked), f"{claim.id}: a check, or why no engine can tell"
        assert claim.sources or "computed" in claim.evidence, f"{claim.id}: read where?"
        assert not ({"read at first hand", "reported"} & set(claim.evidence) and not claim.sources), claim.id
        assert ("measured here" in claim.evidence) <= bool(claim.check), claim.id
    assert {claim.topic for claim in ALL.values()} == set(ledger.topics())
    assert {claim.verdict for claim in ALL.values()} == set(ledger.VERDICTS)
    assert len({claim.check for claim in CHECKED}) == len(CHECKED)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("    verdict: right\n    evidence: [computed]\n", "verdict 'right' must be one of correct, imprecise, "),
        ("    verdict: wrong\n    evidence: [guessed]\n", "evidence 'guessed' must be one of computed, "),
        ("    verdict: wrong\n", "how is it known"),
        ("    evidence: [computed]\n", "missing 1 required keyword-only argument: 'verdict'"),
        ("    verdict: wrong\n    evidence: [computed]\n    sauce: a\n", "unexpected keyword argument 'sauce'"),
        ("    verdict: wrong\n    evidence: [computed]\n    check: a.b\n    unchecked: c\n", "a check and a reason"),
    ],
)
def test_a_claim_that_is_not_whole_is_refused_by_name(more: str, reason: str) -> None:
    with pytest.raises(LedgerError, match=re.escape(reason)) as refused:
        ledger.parsed(ENTRY + more)
    assert str(refused.value).startswith("claim x: ")


def test_a_claim_of_no_topic_is_refused() -> None:
    with pytest.raises(LedgerError, match="claim x: topic 'b' must be one of a"):
        ledger.parsed(ENTRY.replace("topic: a", "topic: b") + "    verdict: wrong\n    evidence: [computed]\n")


def test_what_was_found_is_read_back_as_it_was_written() -> None:
    before = Found(
        holds=True, sentence="{a:2} of {b}", numbers={"a": number(1 / 3, "1/3"), "b": number(7, "7")}, seed=1
    )
    assert from_json(json.loads(json.dumps(as_json(before)))) == before
    assert before.told == "0.33 of 7"


def with_check(monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    """The ledger, one claim of it with another check."""
    changed = ALL | {"laux-formula": replace(ALL["laux-formula"], check=check)}
    monkeypatch.setattr(ledger, "claims", lambda: changed)


def test_a_check_that_fails_stops_the_build_with_its_name(monkeypatch: pytest.MonkeyPatch, found: Path) -> None:
    from moedocs.claims.checks import losses

    honest = losses.at_balance()
    monkeypatch.setattr(losses, "lopsided", lambda: replace(honest, holds=False), raising=False)
    with_check(monkeypatch, "losses.lopsided")
    copy = Path(str(found).replace("claims.json", "failing.json"))
    copy.write_text(found.read_text("utf-8"), "utf-8")
    monkeypatch.setattr(checking.bring_up_to_date, "__defaults__", (copy,))
    monkeypatch.setattr(build, "LOCK", copy.with_suffix(".lock"))
    monkeypatch.setattr(build, "make_figures", lambda names: [])
    monkeypatch.setattr(assets, "bring_assets", lambda root: None)
    monkeypatch.setattr(build, "check_pages", lambda: [])
    (told,) = build.bring_up_to_date()
    assert told == f"claim laux-formula: its check losses.lopsided no longer holds; it found: {honest.told}"
    with pytest.raises(LedgerError, match="no longer holds"):
        claims.block("laux-formula", "", copy)
    assert build.bring_up_to_date() == [told]  # and again, until it is put right


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ("losses.nonsense", "moedocs/claims/checks/losses.py has no function 'nonsense'"),
        ("nonsense.at_balance", "must be module.function in moedocs/claims/checks"),
        ("losses", "must be module.function in moedocs/claims/checks"),
        ("losses.number", "TypeError"),
    ],
)
def test_a_check_that_cannot_run_is_one_line_that_names_the_claim(
    monkeypatch: pytest.MonkeyPatch, found: Path, tmp_path: Path, check: str, reason: str
) -> None:
    with_check(monkeypatch, check)
    file = tmp_path / "claims.json"
    file.write_text(found.read_text("utf-8"), "utf-8")
    try:
        (told,) = checking.bring_up_to_date(file)
    except LedgerError as error:
        told = str(error)
    assert told.startswith("claim laux-formula: ")
    assert reason in told
    assert "\n" not in told


def test_checks_that_are_up_to_date_are_not_run_again_and_torch_is_not_loaded(found: Path) -> None:
    before = found.stat().st_mtime_ns
    script = (
        "import sys; from pathlib import Path; from moedocs.claims import checking;"
        f"print(checking.bring_up_to_date(Path({str(found)!r})), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
    assert found.stat().st_mtime_ns == before


def test_a_check_goes_stale_by_its_code_by_the_engine_and_by_the_record_that_it_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained, routed = ALL["collapse-1-2-experts"], ALL["laux-formula"]
    assert checking.recorded(ROOT / "moedocs/claims/checks/trainings.py") == ("balance", "granularity")
    before = checking.inputs(trained), checking.inputs(routed)
    monkeypatch.setattr(checking, "recorded", lambda path: ())
    assert checking.inputs(trained) != before[0]
    assert checking.inputs(routed) == before[1]
    assert checking.inputs(replace(routed, check="losses.scope")) != before[1]
    engine = {path.name for path in checking.closure_of(routed)}
    assert {"losses.py", "balance.py", "token_choice.py"} <= engine


def test_a_damaged_file_of_results_is_made_anew(found: Path, tmp_path: Path) -> None:
    file = tmp_path / "claims.json"
    file.write_text(found.read_text("utf-8")[:-100], "utf-8")
    assert results.entries(file) == {}
    assert checking.bring_up_to_date(file) == []
    assert file.read_text("utf-8") == found.read_text("utf-8")


@pytest.fixture
def site(found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, BeautifulSoup]:
    """Two pages with claims, and the list of all, after a real strict build."""
    monkeypatch.setattr(markdown, "CLAIMS", found)
    docs = tmp_path / "docs"
    (docs / "assets").mkdir(parents=True)
    (docs / "assets" / "claims.json").write_text(found.read_text("utf-8"), "utf-8")
    pages = {
        "index.md": "# Home\n\n{{ claim laux-min-uniform }}\n\n{{ claim mixtral-no-dropping }}\n",
        "deep/here.md": "# Deep here\n\n!!! note\n\n    {{ claim laux-min-uniform }}\n",
        "reference/claims.md": (ROOT / "docs/reference/claims.md").read_text("utf-8"),
    }
    return made(docs, tmp_path / "site", pages)


def test_the_list_has_every_claim_with_verdict_statement_and_the_numbers_of_its_check(
    site: dict[str, BeautifulSoup], found: Path
) -> None:
    page = site["reference/claims/index.html"]
    articles = {str(article["id"]): article for article in page.select("article.moe-claim")}
    assert set(articles) == {claims.anchor(key) for key in ALL}
    for key, claim in ALL.items():
        article = articles[claims.anchor(key)]
        shown = words(article).replace(" ", "")
        assert str(article["data-verdict"]) == words(article.select_one(".moe-judged") or article) == claim.verdict
        for text in (claim.claim, claim.right):
            assert re.sub(r"\b(\w)_(\w)\b", r"\1\2", text).replace("`", "").replace(" ", "").strip() in shown, key
        if claim.check:
            outcome = results.found(claim, found)
            values = [words(value) for value in article.select("data.moe-value")]
            named = re.findall(r"\{(\w+)(?::(\d+))?\}", outcome.sentence)
            assert values == [wording.shown(outcome.numbers[name], int(digits or 3)) for name, digits in named]
            assert f"moedocs claim {key}" in words(article)
    assert page.select_one("h2#collapse") is not None


def test_the_counts_above_the_list_are_those_of_the_ledger(site: dict[str, BeautifulSoup]) -> None:
    head = site["reference/claims/index.html"].select_one(".moe-claims-head")
    assert head is not None
    counts = Counter(claim.verdict for claim in ALL.values())
    told = {str(choice["value"]): choice.parent for choice in head.select("input[name=moe-judged]")}
    assert set(told) == {"all", *counts}
    for verdict, label in told.items():
        assert label is not None
        assert words(label).endswith(str(counts[verdict] if verdict != "all" else len(ALL)))


def test_a_claim_on_a_page_is_folded_and_leads_to_its_place_in_the_list_and_back(
    site: dict[str, BeautifulSoup],
) -> None:
    block = site["deep/here/index.html"].select_one(".moe-said")
    assert block is not None
    details = block.select_one("details")
    assert details is not None
    assert not details.has_attr("open")
    assert "imprecise" in words(details.select_one("summary") or block)
    link = block.select_one(".moe-claim__more a")
    assert link is not None
    assert link["href"] == "../../reference/claims/#claim-laux-min-uniform"
    listed = site["reference/claims/index.html"].select_one("#claim-laux-min-uniform .moe-claim__more")
    assert listed is not None
    assert [(a["href"], words(a)) for a in listed.select("a")] == [
        ("../../deep/here/", "Deep here"),
        ("../../", "Home"),
    ]


def test_a_claim_without_a_check_says_that_no_engine_can_tell(site: dict[str, BeautifulSoup]) -> None:
    block = site["index.html"].select(".moe-said")[1]
    assert "No engine can tell: what a model was trained with" in words(block)
    assert "moedocs claim" not in words(block)


def test_every_verdict_is_a_word_and_a_sign_of_its_own(found: Path) -> None:
    signs = {}
    for verdict in ledger.VERDICTS:
        key = next(key for key, claim in ALL.items() if claim.verdict == verdict)
        mark = soup(claims.block(key, "", found)).select_one(".moe-judged")
        assert mark is not None
        assert words(mark) == verdict
        signs[verdict] = str(mark.svg)
    assert len(set(signs.values())) == len(ledger.VERDICTS)


def test_pages_name_only_claims_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("{{ claim nonsense }}\n\n{{ claims all }}\n")
    told = build.check_pages(tmp_path / "docs")
    assert told[0].startswith("docs/a.md:1: unknown claim 'nonsense'; there are: collapse-1-2-experts, ")
    assert told[1] == "docs/a.md:3: claims takes no name, and not 'all'"


def test_the_claims_of_the_pages_are_in_the_ledger() -> None:
    named = {
        reference.names[0]
        for page in (ROOT / "docs").rglob("*.md")
        for reference in references(page.read_text("utf-8"))
        if reference.kind == "claim"
    }
    assert named <= set(ALL)


def test_the_prompt_lists_all_claims_and_runs_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claim"]) == 0
    printed = capsys.readouterr().out
    assert all(
        re.search(rf"^  {re.escape(key)} +{claim.verdict} ", printed, re.MULTILINE) for key, claim in ALL.items()
    )
    assert main(["claim", "capacity-floor"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "verdict imprecise" in printed
    assert "capacity.formula, holds" in printed
    assert checking.run(ALL["capacity-floor"]).told in printed
    assert "⌈1.25 · 64 · 2 / 8⌉" in printed
    assert main(["claim", "all"]) == 0
    assert capsys.readouterr().out == f"{len(CHECKED)} of {len(CHECKED)} checks hold\n"


def test_the_prompt_refuses_an_unknown_claim_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claim", "nonsense"]) == 2
    assert capsys.readouterr().err.startswith("moedocs: unknown claim 'nonsense'; there are: collapse-1-2-experts, ")


def test_the_prompt_says_when_a_check_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from moedocs.claims.checks import losses

    honest = losses.at_balance()
    monkeypatch.setattr(losses, "at_balance", lambda: replace(honest, holds=False))
    assert main(["claim", "laux-formula"]) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out
    assert main(["claim", "all"]) == 1
