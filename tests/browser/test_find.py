"""Finding the browser: what is named or installed first, what must be brought last, a sentence where nothing helps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import find


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    find.browser.cache_clear()
    yield
    find.browser.cache_clear()


def test_a_named_browser_comes_before_an_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROME", sys.executable)  # it tells its version, which is all that is asked of it here
    assert find.browser() == sys.executable


def test_a_named_browser_that_does_not_start_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROME", "/no/such/chrome")
    with pytest.raises(find.NoBrowser, match="CHROME=/no/such/chrome is no browser that starts"):
        find.browser()


def test_an_installed_browser_is_found_by_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chromium = tmp_path / "chromium"
    chromium.write_text("#!/bin/sh\necho Chromium 1\n")
    chromium.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find.installed() == str(chromium)


def test_what_does_not_start_is_passed_over() -> None:
    assert find.first_that_starts(lambda: "/no/such", lambda: None, lambda: sys.executable) == sys.executable


def test_where_none_can_be_had_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROME", raising=False)
    for source in ("installed", "playwrights", "debians"):
        monkeypatch.setattr(find, source, lambda: None)
    with pytest.raises(find.NoBrowser, match=r"install one, or name it with CHROME=/path/to/chrome\.$"):
        find.browser()
