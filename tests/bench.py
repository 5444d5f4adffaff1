"""Times and sizes, printed; `make bench ONLY="build pages"` takes those alone. Nothing fails for being slow."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from moedocs.cost import atlas
from moedocs.lab.fingerprint import ROOT
from tests.browser import find, serving
from tests.browser.acting import live_cell, live_figure, run
from tests.browser.conftest import QUIET, WIDE
from tests.browser.pages import BILLS, CELLS, PAGES

FOLDER = ROOT / ".cache" / "bench"
RUNS = 3
SETTING, PLACE = re.compile(r"[DEK]\d+").fullmatch, re.compile(r"\S*/").fullmatch


def cold() -> None:
    """`make site` in a fresh clone of what is committed; pip's and npm's own caches are as they are."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(FOLDER)], check=True)
    told("make site, cold", timed(["make", "site"], FOLDER))
    shutil.rmtree(FOLDER)


def warm() -> None:
    """`make site` when everything is there."""
    timed(["make", "site"])
    told("make site, warm", timed(["make", "site"]))


def build() -> None:
    """`mkdocs build` with nothing changed since the last one."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    timed(command)
    told("mkdocs build, nothing changed", timed(command), "s, at most 15")


def pages() -> None:
    """What each page sends, compressed: when it is opened, and once every chart on it is live."""
    with visiting() as (browser, address, sent):
        for place in PAGES:
            sent.clear()
            page = fresh(browser, address + place)
            names = [figure.get_attribute("id") or "" for figure in page.locator("moe-figure").all()]
            told(f"/{place}", sum(sent) / 1e3, "kB" if names else "kB, a text page: at most 110")
            for name in names:
                live_figure(page, name)
            if names:
                page.wait_for_load_state("networkidle")
                told(f"/{place} with all its charts", sum(sent) / 1e3, "kB, at most 450")
            page.context.close()


def cell() -> None:
    """The first run of a cell by a new reader: what it sends, and how long it takes from the click to the result."""
    with visiting() as (browser, address, sent):
        for attempt in range(RUNS):
            page = fresh(browser, address + next(iter(CELLS.values())))
            first = live_cell(page)
            page.wait_for_load_state("networkidle")
            sent.clear()
            for label in ("first", "second"):
                started = time.perf_counter()
                run(first)
                told(f"cell, reader {attempt + 1}, {label} run", time.perf_counter() - started)
            told("sent for it", sum(sent) / 1e6, "MB, at most 8.5")
            page.context.close()


def count() -> None:
    """The first count of a reader's own config.json: what it sends, and how long from the click to the bill."""
    models = atlas.models()
    with visiting() as (browser, address, sent):
        for attempt in range(RUNS):
            page = fresh(browser, address + BILLS["cost-of-a-model"])
            live_figure(page, "cost-of-a-model")
            bill = page.locator("moe-bill")
            bill.get_by_text("Paste or drop a config.json").click()
            sent.clear()
            for key in ("deepseek-v3", "mixtral-8x7b"):
                bill.locator("textarea").fill(models[key].config)
                total = bill.locator(f'[data-key="total_parameters"] data[value="{models[key].tree.count}"]')
                started = time.perf_counter()
                bill.get_by_role("button", name="Count it").click()
                total.wait_for()
                bill.get_by_text("counted in your browser.").wait_for()
                told(f"count, reader {attempt + 1}, {key}", time.perf_counter() - started)
            told("sent for it", sum(sent) / 1e6, "MB")
            page.context.close()


def layer() -> None:
    """The MoE layer beside others and a dense network; words like D256, E64 and K2 take these settings alone."""
    subprocess.run([sys.executable, "-m", "tests.bench_layer", *filter(SETTING, sys.argv[1:])], check=True)


def train() -> None:
    """A training step of each architecture beside the same model of transformers' blocks."""
    subprocess.run([sys.executable, "-m", "tests.bench_train"], check=True)


def lighthouse() -> None:
    """Lighthouse on a phone, of the home page and the chapter on training; words like training/capacity/ take these."""
    subprocess.run([sys.executable, "-m", "tests.bench_lighthouse", *filter(PLACE, sys.argv[1:])], check=True)


def timed(command: list[str], folder: Path = ROOT) -> float:
    """Wall seconds of a command."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def told(what: str, much: float, unit: str = "s") -> None:
    """One line of the result."""
    print(f"{what:<44} {much:8.2f} {unit}", flush=True)


@contextmanager
def visiting() -> Iterator[tuple[Browser, str, list[int]]]:
    """A browser, the address of the built site, and the growing list of how many bytes each answer had."""
    sent: list[int] = []
    content: Callable[..., bytes] = serving.content

    def counted(path: Path, changed: int, compressed: bool) -> bytes:
        body = content(path, changed, compressed)
        sent.append(len(body))
        return body

    serving.content = counted  # type: ignore[assignment]
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with serving.serving(ROOT / "site") as address, sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=find.browser(), args=QUIET + sandbox), address, sent


def fresh(browser: Browser, address: str) -> Page:
    """A page as a reader meets it who has never been here."""
    page = browser.new_context(viewport=WIDE).new_page()
    page.goto(address, wait_until="networkidle")
    return page


if __name__ == "__main__":
    every = (cold, warm, build, pages, cell, count, layer, train, lighthouse)
    measures = {measure.__name__: measure for measure in every}
    named = [word for word in sys.argv[1:] if not SETTING(word) and not PLACE(word)]
    for name in named if sys.argv[1:] else measures:
        measures[name]()
