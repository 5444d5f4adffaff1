"""The set-up: exact versions without addresses, and a script that is right after a kill, a second start, no network."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import venv
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from moedocs.lab.fingerprint import ROOT
from moedocs.site import pyodide

NOWHERE = "http://127.0.0.1:9"


def pins() -> dict[str, str]:
    """Name and version of everything in the Python lock."""
    found = re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return dict(found)


def test_the_python_lock_names_exact_versions_with_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) == len(pins()) > 100
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==[\w.]+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert "://" not in text
    assert not {"torch", "triton"} & set(pins())
    assert not [name for name in pins() if name.startswith(("nvidia-", "cuda-"))]


def test_the_python_lock_holds_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    for requirement in asked:
        name, exact = re.match(r"([\w-]+)(?:==([^;]*))?", requirement).groups()  # type: ignore[union-attr]
        if name not in ("moedocs", "torch"):
            assert pins()[name] == (exact or pins()[name])
    assert f"torch=={load(ROOT).TORCH}" in asked


@pytest.mark.parametrize("folder", [ROOT, ROOT / "tests" / "lighthouse"], ids=["site", "lighthouse"])
def test_an_npm_lock_names_exact_versions_with_hashes_and_no_address(folder: Path) -> None:
    package = json.loads((folder / "package.json").read_text())
    lock = json.loads((folder / "package-lock.json").read_text())["packages"]
    for name, version in {**package.get("dependencies", {}), **package["devDependencies"]}.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert lock[f"node_modules/{name}"]["version"] == version
    for path, entry in lock.items():
        assert "resolved" not in entry
        assert not path or entry["integrity"].startswith("sha512-")


def test_the_npm_lock_has_the_pyodide_that_the_cells_download() -> None:
    assert json.loads((ROOT / "package.json").read_text())["dependencies"]["pyodide"] == pyodide.VERSION


def test_the_base_package_needs_numpy_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [re.match(r"\w+", name)[0] for name in project["dependencies"]] == ["numpy"]  # type: ignore[index]


def load(root: Path) -> ModuleType:
    """The set-up script of a checkout, as a module."""
    spec = importlib.util.spec_from_file_location("bootstrap", root / "bootstrap.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script in a folder of its own, with pip cut off from every registry and cache."""
    for name in ("bootstrap.py", "requirements.lock", "pyproject.toml", "package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"CONFIG_FILE": os.devnull, "INDEX_URL": NOWHERE, "RETRIES": "0", "NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py"])
    return load(tmp_path)


@pytest.fixture
def ready(checkout: ModuleType) -> ModuleType:
    """A checkout whose set-up is done, with a real .venv that holds nothing."""
    venv.create(checkout.VENV)
    checkout.MODULES.mkdir()
    for stamp, key in checkout.stages():
        stamp.write_text(key)
    return checkout


def test_a_finished_set_up_is_left_alone(ready: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert ready.main() == 0
    assert capsys.readouterr() == ("", "")


def test_a_changed_lock_a_cut_off_set_up_and_a_lost_python_are_noticed(ready: ModuleType) -> None:
    assert ready.is_current()
    ready.CHANGING.touch()
    assert not ready.is_current()
    ready.CHANGING.unlink()
    ready.LOCK.write_text("numpy==0\n")
    assert not ready.is_current()
    shutil.copyfile(ROOT / "requirements.lock", ready.LOCK)
    assert ready.is_current()
    ready.PYTHON.unlink()
    assert not ready.is_current()


def test_without_a_registry_what_is_there_is_used(
    ready: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "PYTHON", Path(sys.executable))  # which has pip
    ready.LOCK.write_text(ready.LOCK.read_text() + "# changed\n")
    assert ready.main() == 0
    first, second = capsys.readouterr().err.strip().splitlines()
    assert first.startswith("fetching packages failed: the package registry did not answer.")
    assert second.startswith("Going on with what is installed")
    assert not ready.CHANGING.exists()
    assert not ready.is_current(), "the next run tries again"


def test_without_a_registry_and_with_nothing_there_one_line_says_so(
    checkout: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checkout.main() == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "the package registry did not answer" in line


def test_a_set_up_cut_off_while_it_installed_starts_over(
    ready: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = ready.VENV / "half-installed"
    left.touch()
    ready.CHANGING.touch()
    monkeypatch.setattr(ready, "install_packages", lambda: None)
    monkeypatch.setattr(ready, "run", lambda label, command, hint="": venv.create(ready.VENV))
    monkeypatch.setattr(ready, "install_modules", lambda key: None)
    assert ready.main() == 0
    assert "making .venv anew: the last set-up was cut off" in capsys.readouterr().out
    assert not left.exists()


def test_a_second_set_up_waits_for_the_first(ready: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    order = []

    def start_another() -> None:
        with load(ready.ROOT).one_at_a_time():
            order.append("second")

    with ready.one_at_a_time():
        second = threading.Thread(target=start_another)
        second.start()
        second.join(0.5)
        order.append("first")
    second.join()
    assert order == ["first", "second"]
    assert "waiting for it" in capsys.readouterr().out


def test_another_python_is_refused_in_one_line(
    checkout: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "SUPPORTED", ())
    assert checkout.main() == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("moedocs needs Python 3.11, 3.12 or 3.13; this is ")


@pytest.mark.parametrize("needs", [["nvidia-cublas==13.1.1.3"], []], ids=["CUDA", "no CUDA"])
def test_cuda_is_never_brought_unasked(ready: ModuleType, monkeypatch: pytest.MonkeyPatch, needs: list[str]) -> None:
    shelf = ready.ROOT / "shelf"
    shelf.mkdir()
    (shelf / f"torch-{ready.TORCH}-py3-none-any.whl").write_bytes(wheel("torch", ready.TORCH, needs))
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("MOEDOCS_CUDA", raising=False)
    monkeypatch.setattr(ready, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(ready, "TORCH_CPU_INDEX", NOWHERE)
    monkeypatch.setattr(ready, "has_gpu", lambda: False)
    monkeypatch.setattr(sys, "platform", "linux")
    ready.WHEELS.mkdir(parents=True)
    fetch = ready.pip("download", "--dest", str(ready.WHEELS))
    if needs:
        with pytest.raises(ready.Stop, match="MOEDOCS_CUDA=1 make setup"):
            ready.fetch_torch(fetch)
        assert not list(ready.WHEELS.iterdir())
    else:
        assert ready.fetch_torch(fetch) == ["--no-deps", f"torch=={ready.TORCH}"]
        assert [path.name for path in ready.WHEELS.iterdir()] == [f"torch-{ready.TORCH}-py3-none-any.whl"]


def wheel(name: str, version: str, needs: list[str]) -> bytes:
    """A wheel with nothing in it but what it says of itself."""
    info = f"{name}-{version}.dist-info"
    said = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(f"{info}/METADATA", "\n".join(["Metadata-Version: 2.1", *said, ""]))
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return content.getvalue()


def test_make_alone_explains_every_command() -> None:
    done = subprocess.run(["make", "--silent"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^make (\w+)", done.stdout, re.MULTILINE)) >= {
        "site",
        "serve",
        "test",
        "lint",
        "bench",
        "lock",
    }


def test_make_without_a_python_says_which_it_needs(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    make = shutil.which("make")
    assert make
    done = subprocess.run(
        [make, "setup"], cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr.startswith("moedocs needs Python 3.11, 3.12 or 3.13, and none was found")
