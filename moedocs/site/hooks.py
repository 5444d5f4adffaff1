"""MkDocs' hooks: before each build the figures are brought up to date, in a process of their own so that changed code
is loaded afresh. A problem fails `mkdocs build`; `mkdocs serve` reports it and shows it in the page."""

import logging
import subprocess
import sys
from pathlib import Path

from filelock import BaseFileLock
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.livereload import LiveReloadServer
from mkdocs.utils import CountHandler

from moedocs.lab.fingerprint import ROOT
from moedocs.site import files, fonts, maths, styles
from moedocs.site.notebooks import on_files as on_files
from moedocs.site.notebooks import on_pre_page as on_pre_page

log = logging.getLogger("mkdocs.hooks.moedocs")


class State:
    """What one hook knows and another needs: how MkDocs was called, and the lock on the folder it writes."""

    serving = False
    dirty = False
    lock: BaseFileLock | None = None


def on_startup(command: str, dirty: bool) -> None:
    """Remember whether this is a build or a server."""
    State.serving, State.dirty = command == "serve", dirty


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Sources are read where the repository is: one setting, not two."""
    settings = config.mdx_configs.setdefault("moedocs.site.markdown", {})
    settings.setdefault("source", f"{config.repo_url.rstrip('/')}/blob/main/" if config.repo_url else "")
    return config


def on_pre_build(config: MkDocsConfig) -> None:
    """Bring everything that pages show up to date, or say why not; two builds into one folder take turns."""
    name = files.digest(config.site_dir.encode())[:16]
    State.lock = files.alone(ROOT / ".cache" / f"site-{name}.lock", "site")
    State.lock.acquire()
    if State.serving:
        _go_on_with_faults()
    done = subprocess.run([sys.executable, "-m", "moedocs", "build"], cwd=ROOT)
    if done.returncode and not State.serving:
        raise Abort("the pages' figures and numbers are not in order: see above")
    if done.returncode:
        log.error("served with the faults above; each is shown in its page")


def _go_on_with_faults() -> None:
    """A strict build ends in failure when anything was logged as wrong; a server would not even start."""
    mkdocs = logging.getLogger("mkdocs")
    for handler in [handler for handler in mkdocs.handlers if isinstance(handler, CountHandler)]:
        mkdocs.removeHandler(handler)


def on_post_build(config: MkDocsConfig) -> None:
    """The pages are written: fonts are cut down to what they show, and the next build may have the folder."""
    if not State.dirty:  # which would know the formulae of the changed pages alone
        katex = Path("assets", "katex", "fonts")
        fonts.cut(Path(config.docs_dir) / katex, Path(config.site_dir) / katex, "".join(maths.characters))
    styles.cut(Path(config.site_dir))
    if State.lock:
        State.lock.release()


def on_build_error(error: Exception) -> None:
    """So it may after a failure."""
    if State.lock:
        State.lock.release()


def on_serve(server: LiveReloadServer, config: MkDocsConfig, builder: object) -> LiveReloadServer:
    """Rebuild when a figure, a record or the engine changes, too."""
    for folder in ("figures", "moedocs"):
        server.watch(str(ROOT / folder))
    return server
