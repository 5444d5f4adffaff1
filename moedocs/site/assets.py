"""What the browser loads, brought up to date: our scripts and styles, KaTeX's style and fonts, Python for the cells;
and the atlas as a file to download.

Each part is made in a folder of its own and moved into place file by file. A part is left alone when its inputs
have the hash they had and every output still has the hash that was noted: a damaged output is noticed and remade.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from moedocs.lab.fingerprint import sources
from moedocs.problem import Problem
from moedocs.site import atlas, bills, files, pyodide

SOURCES = Path("moedocs/site/browser")
# The styles beside moedocs.css are for pages with such an element alone.
ENTRIES = ("moedocs.js", "worker.js", "moedocs.css", "atlas.css", "bill.css", "card.css", "claim.css")
FONT = re.compile(r"url\((fonts/[\w.-]+\.woff2)\) ?format\(['\"]woff2['\"]\)")


@dataclass(frozen=True)
class Part:
    """One folder under docs/assets: how it is made, from which files, and what in it belongs to others."""

    name: str
    make: Callable[[Path, Path], None]
    inputs: Callable[[Path], Iterable[Path]]
    others: tuple[str, ...] = ()


def bring_assets(root: Path, say: Callable[[str], None] | None = None) -> None:
    """Make what is out of date; a second build of the same checkout waits for the first."""
    say = say or (lambda line: print(line, file=sys.stderr, flush=True))
    notes = root / ".cache" / "assets"
    with files.alone(notes / "lock", "browser files"):
        for part in PARTS:
            key = _key(part, root)
            if not _is_current(part, root, key):
                started = time.monotonic()
                _bring(part, root, key)
                say(f"browser files: {part.name} made in {time.monotonic() - started:.1f} s")


def _key(part: Part, root: Path) -> str:
    """Hash of all that the part is made from: its files, the packages' lock, and the code that makes it."""
    makers = [root / "moedocs/site" / name for name in ("assets.py", "pyodide.py", "wheels.py")]
    paths = sorted({*part.inputs(root), *makers, root / "package-lock.json"})
    hashes = [(path.relative_to(root).as_posix(), files.digest(path.read_bytes())) for path in paths]
    return files.digest(files.dumps(hashes).encode())


def _is_current(part: Part, root: Path, key: str) -> bool:
    try:
        note = json.loads(_note(part, root).read_text("utf-8"))
        outputs = {name: root / "docs/assets" / part.name / name for name in note["outputs"]}
        agree = all(files.digest(path.read_bytes()) == note["outputs"][name] for name, path in outputs.items())
        return bool(note["key"] == key and agree)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _bring(part: Part, root: Path, key: str) -> None:
    _note(part, root).unlink(missing_ok=True)
    folder = root / "docs/assets" / part.name
    with tempfile.TemporaryDirectory(dir=root / ".cache/assets", prefix=f"{part.name}-") as temporary:
        part.make(root, Path(temporary))
        made = {path.relative_to(temporary).as_posix(): path for path in Path(temporary).rglob("*") if path.is_file()}
        outputs = {name: files.digest(path.read_bytes()) for name, path in sorted(made.items())}
        for name, path in made.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.chmod(0o644)
            os.replace(path, target)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in {*outputs, *part.others}:
            path.unlink()
    files.write(_note(part, root), files.dumps({"key": key, "outputs": outputs}))


def _note(part: Part, root: Path) -> Path:
    return root / ".cache/assets" / f"{part.name}.json"


def _browser_sources(root: Path) -> Iterable[Path]:
    return (path for path in (root / SOURCES).rglob("*") if path.is_file())


def _bundle(root: Path, folder: Path) -> None:
    """esbuild's bundles: the small entry, what it loads later in chunks, the worker of the cells, the style."""
    entries = [str(SOURCES / name) for name in ENTRIES if (root / SOURCES / name).is_file()]
    options = ["--bundle", "--format=esm", "--splitting", "--minify", "--target=es2022", "--charset=utf8"]
    options += ["--loader:.py=text"]  # what the worker runs around a reader's code
    names = ["--entry-names=[name]", "--chunk-names=chunks/[name]-[hash]", "--asset-names=chunks/[name]-[hash]"]
    meta = folder / "meta.json"
    outputs = [f"--outdir={folder}", f"--metafile={meta}", "--legal-comments=none", "--log-level=warning"]
    _run([str(_esbuild(root)), *entries, *options, *names, *outputs], root)
    bundled = {found[1] for path in json.loads(meta.read_text("utf-8"))["inputs"] if (found := PACKAGE.match(path))}
    meta.unlink()
    others = {"node_modules/katex", "node_modules/pyodide"}
    (folder / "licences.txt").write_text(_licences(root, bundled | others), "utf-8")


PACKAGE = re.compile(r"(?:.*/)?(node_modules/(?:@[^/]+/)?[^/]+)/")


def _licences(root: Path, packages: Iterable[str]) -> str:
    """Name, version and licence of every npm package that reaches the reader."""
    texts = []
    for package in sorted(packages):
        about = json.loads((root / package / "package.json").read_text("utf-8"))
        found = sorted(path for path in (root / package).iterdir() if path.name.lower().startswith("licen"))
        text = found[0].read_text("utf-8").strip() if found else f"See {about['homepage']}, which has its source too."
        texts.append(f"{about['name']} {about['version']} ({about.get('license', 'no licence named')})\n\n{text}\n")
    return f"\n{'-' * 72}\n\n".join(texts)


def _katex(root: Path, folder: Path) -> None:
    """KaTeX's style with the woff2 fonts alone, which every browser reads that runs the rest."""
    source = root / "node_modules/katex/dist"
    style = (source / "katex.min.css").read_text("utf-8")
    style = re.sub(r"src:([^;}]+)", lambda found: f"src:{FONT.search(found[1])[0]}", style)  # type: ignore[index]
    (folder / "katex.min.css").write_text(style, "utf-8")
    (folder / "fonts").mkdir()
    for name in sorted(set(FONT.findall(style))):
        shutil.copyfile(source / name, folder / name)


def _atlas(root: Path, folder: Path) -> None:
    """The table of all models, to download."""
    (folder / Path(atlas.CSV).name).write_text(atlas.as_csv(), "utf-8")


def _esbuild(root: Path) -> Path:
    """npm installs the one binary that runs on this machine; no Node is needed to start it."""
    found = sorted((root / "node_modules/@esbuild").glob("*/bin/esbuild"))
    if not found:
        raise Problem("esbuild is not installed: run `make setup`, which brings the npm packages")
    return found[0]


def _run(command: list[str], root: Path) -> None:
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Problem(f"bundling the browser's scripts failed:\n{done.stdout.strip()}")


PARTS = (
    Part("app", _bundle, _browser_sources, others=("palette.css",)),
    Part("katex", _katex, lambda root: ()),
    Part("pyodide", pyodide.make, pyodide.inputs),
    Part(bills.FOLDER, bills.make, bills.inputs),
    Part("atlas", _atlas, lambda root: sources("moedocs.site.atlas", root=root)),
)
