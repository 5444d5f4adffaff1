"""Row L3: common claims in a real browser, each with verdict, evidence and check; filtered without a script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from moedocs.claims import ledger, results
from moedocs.site import claims
from tests.browser.conftest import PHONE
from tests.browser.pages import DOCS, address

Visit = Callable[..., Page]
ALL = ledger.claims()
LIST = claims.list_page(DOCS)
SHOWN = """() => [...document.querySelectorAll('.moe-claims article')]
    .filter(article => article.getClientRects().length).map(article => article.id.replace('claim-', ''))"""


def listed(visit: Visit, **context: object) -> Page:
    """The page of all claims."""
    assert LIST is not None
    return visit(address(LIST), **context)


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f"input[name={name}][value={value}]").check(force=True)


def shown(page: Page) -> list[str]:
    """The claims that are to be seen, from the top."""
    found: list[str] = page.evaluate(SHOWN)
    return found


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_row_L3_claims_are_filtered_by_verdict_and_by_topic(visit: Visit, scripts: bool) -> None:
    page = listed(visit, java_script_enabled=scripts)
    assert page.locator(".moe-claims article").count() == len(ALL)
    topic = Counter(claim.topic for claim in ALL.values() if claim.verdict == "wrong").most_common(1)[0][0]
    choose(page, "moe-judged", "wrong")
    wrong = [key for key, claim in ALL.items() if claim.verdict == "wrong"]
    visible = page.locator(".moe-claims article:visible")
    expect(visible).to_have_count(len(wrong))
    choose(page, "moe-topic", topic)
    expect(visible).to_have_count(sum(ALL[key].topic == topic for key in wrong))
    expect(page.locator("h2:visible")).to_have_count(1)
    choose(page, "moe-judged", "all")
    choose(page, "moe-topic", "all")
    expect(visible).to_have_count(len(ALL))


def test_row_L3_a_topic_without_that_verdict_says_so(visit: Visit) -> None:
    page = listed(visit)
    topic, verdict = next(
        (topic, verdict)
        for topic in ledger.topics()
        for verdict in ledger.VERDICTS
        if not any(claim.topic == topic and claim.verdict == verdict for claim in ALL.values())
    )
    choose(page, "moe-topic", topic)
    choose(page, "moe-judged", verdict)
    assert shown(page) == []
    expect(page.locator(".moe-claims__none:visible")).to_have_count(1)


def test_row_L3_filters_work_by_keyboard(visit: Visit) -> None:
    page = listed(visit)
    page.locator("input[name=moe-judged]").first.focus()
    page.keyboard.press("ArrowRight")
    first = page.locator("input[name=moe-judged]").nth(1).get_attribute("value")
    assert {ALL[key].verdict for key in shown(page)} == {first}


def test_row_L3_a_claim_opens_to_what_the_check_found_and_leads_to_its_place_in_the_list(visit: Visit) -> None:
    source, key = next(
        (stand.source, key) for key, stands in claims.pages(DOCS).items() for stand in stands if ALL[key].check
    )
    page = visit(address(source))
    block = page.locator(".moe-said", has=page.locator(f"a[href$='#{claims.anchor(key)}']"))
    number = block.locator("data.moe-value").first
    expect(number).to_be_hidden()
    block.locator("summary").press("Enter")
    expect(number).to_be_visible()
    expect(block).to_contain_text(f"moedocs claim {key}")
    found = results.found(ALL[key])
    assert block.locator("data.moe-value").count() == found.sentence.count("{")
    block.locator(".moe-claim__more a").click()
    expect(page.locator(f"#{claims.anchor(key)}")).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_row_L3_the_list_fits_a_phone_and_its_chips_can_be_hit(visit: Visit, scheme: str) -> None:
    page = listed(visit, viewport=PHONE, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for chip in page.locator(".moe-choice label").all():
        box = chip.bounding_box()
        assert box is not None
        assert box["height"] >= 24


def test_row_L3_on_paper_every_claim_is_there_and_the_filters_are_not(visit: Visit) -> None:
    page = listed(visit)
    page.emulate_media(media="print")
    assert len(shown(page)) == len(ALL)
    expect(page.locator(".moe-claims-head")).to_be_hidden()
