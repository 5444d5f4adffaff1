"""The site, built once and served under a sub-path, and pages that tell of every trouble the browser has with them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    WebError,
    sync_playwright,
)

from moedocs.lab.fingerprint import ROOT
from tests.browser import find
from tests.browser.acting import PATIENCE
from tests.browser.serving import serving

QUIET = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=360, height=740)


@dataclass(frozen=True)
class Site:
    """Where the built site lies and where it is served."""

    folder: Path
    address: str


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The project's own strict build, for the address at which it is then served."""
    folder = tmp_path_factory.mktemp("site")
    with serving(folder) as address:
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
        environment = os.environ | {"SITE_URL": address, "NO_MKDOCS_2_WARNING": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            pytest.fail(f"the site does not build:\n{done.stdout}\n{done.stderr}", pytrace=False)
        yield Site(folder, address)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    try:
        path = find.browser()
    except find.NoBrowser as problem:
        pytest.fail(str(problem), pytrace=False)
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=QUIET + sandbox)
        yield chromium
        chromium.close()


@dataclass
class Visitor:
    """Opens pages of the site and keeps what went wrong in them."""

    browser: Browser
    site: Site
    troubles: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(self, path: str, **context: object) -> Page:
        page = self.context(**context).new_page()
        page.goto(self.site.address + path)
        return page

    def context(self, **settings: object) -> BrowserContext:
        context = self.browser.new_context(**{"viewport": WIDE, **settings})  # type: ignore[arg-type]
        self.contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.on("console", self._heard)
        context.on("weberror", self._failed)
        context.on("request", self._asked)
        return context

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("warning", "error", "assert"):
            self.troubles.append(f"console {message.type}: {message.text} ({message.location})")

    def _failed(self, found: WebError) -> None:
        self.troubles.append(f"page error: {found.error} {found.error.stack or ''}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.site.address, "data:", "blob:")):
            self.troubles.append(f"request to elsewhere: {request.url}")


@contextmanager
def visiting(browser: Browser, site: Site) -> Iterator[Visitor]:
    """A visitor whose troubles fail the test at the end."""
    visitor = Visitor(browser, site)
    yield visitor
    for context in visitor.contexts:
        context.close()
    assert not visitor.troubles, "\n".join(visitor.troubles)


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """`visit("training/capacity/", color_scheme="dark")` opens a page; any trouble in it fails the test."""
    with visiting(browser, site) as visitor:
        yield visitor
