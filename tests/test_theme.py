"""The theme on a page of its own: what leaves the site, and where a reader can say that something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from mkdocs.commands.build import build
from mkdocs.config import load_config

from moedocs.lab.fingerprint import ROOT

REPOSITORY = "https://github.com/example/example"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> BeautifulSoup:
    folder = tmp_path_factory.mktemp("theme")
    (folder / "docs/part").mkdir(parents=True)
    (folder / "docs/index.md").write_text("# Home\n")
    (folder / "docs/part/page.md").write_text("# Page\n\nText.\n")
    settings = {
        "site_name": "test",
        "site_url": "https://example.org/sub/",
        "repo_url": REPOSITORY,
        "edit_uri": "edit/main/docs/",
        "docs_dir": str(folder / "docs"),
        "site_dir": str(folder / "site"),
        "theme": {"name": "material", "custom_dir": str(ROOT / "moedocs/site/theme"), "font": False},
    }
    (folder / "mkdocs.yml").write_text(json.dumps(settings))
    build(load_config(str(folder / "mkdocs.yml")))
    return BeautifulSoup(Path(folder / "site/part/page/index.html").read_text("utf-8"), "html.parser")


def test_the_first_thing_a_page_says_is_that_nothing_comes_from_another_host(page: BeautifulSoup) -> None:
    first = page.select("head > *")[0]
    assert first["http-equiv"] == "Content-Security-Policy"
    rules = [rule.split() for rule in str(first["content"]).split("; ")]
    assert ["default-src", "'self'"] in rules
    allowed = {source for _, *sources in rules for source in sources}
    assert allowed == {"'self'", "'unsafe-inline'", "'wasm-unsafe-eval'", "'none'", "data:", "blob:"}


def test_the_repository_is_linked_without_asking_its_host_for_anything(page: BeautifulSoup) -> None:
    assert page.select(f".md-source[href='{REPOSITORY}']")
    assert not page.select("[data-md-component=source]")


def test_every_dialog_has_a_name(page: BeautifulSoup) -> None:
    dialogs = page.select("[role=dialog]")
    assert dialogs
    assert all(dialog.get("aria-label") for dialog in dialogs)


def test_the_report_link_opens_a_form_that_exists_with_the_page_filled_in(page: BeautifulSoup) -> None:
    (link,) = page.find_all("a", string="Something wrong?")
    address = urlsplit(str(link["href"]))
    asked = parse_qs(address.query)
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{REPOSITORY}/issues/new"
    assert asked["page"] == ["https://example.org/sub/part/page/"]
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE" / asked["template"][0]).read_text("utf-8"))
    assert "page" in [field.get("id") for field in form["body"]]


def test_the_edit_link_leads_to_the_source_of_the_page(page: BeautifulSoup) -> None:
    (link,) = page.find_all("a", string="Edit this page")
    assert link["href"] == f"{REPOSITORY}/edit/main/docs/part/page.md"
