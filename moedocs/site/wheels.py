"""Wheels for the browser: NumPy's, made small, and our own, with only the modules that run there."""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

from pyodide_build.common import repack_zip_archive

FIXED_DATE = (2020, 1, 1, 0, 0, 0)
# What no cell can reach: stubs, headers, the Fortran and installer helpers, NumPy's own tests.
UNUSED = re.compile(
    r"\.(pyi|pxd|h|a|ini|pc|typed)$|/tests/|/_examples/|/conftest\.py$"
    r"|^numpy/(f2py|_pyinstaller|distutils|_core/include|_core/lib)/|^numpy/_core/_\w*_tests\."
)


def trim(source: Path, target: Path) -> None:
    """The same wheel without what no cell can reach, compressed, its dates fixed: the same bytes every time."""
    with zipfile.ZipFile(source) as wheel:
        names = [name for name in wheel.namelist() if not UNUSED.search(name)]
        pack(target, {name: wheel.read(name) for name in names if not name.endswith(("/", "/RECORD"))})


def pack(target: Path, files: dict[str, bytes]) -> None:
    """A wheel of these files, with the RECORD that belongs to them."""
    info = next(name.split("/")[0] for name in files if ".dist-info/" in name)
    files = {**files, f"{info}/RECORD": _record(files, f"{info}/RECORD")}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as wheel:
        for name in sorted(files):
            wheel.writestr(zipfile.ZipInfo(name, FIXED_DATE), files[name])
    repack_zip_archive(target, compression_level=9)
    _fix_dates(target)


def own(target_folder: Path, version: str, sources: Iterable[Path], root: Path) -> Path:
    """Our wheel with these modules. A hash of them is in its name, so that no browser keeps an old one."""
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in sources}
    content = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:8]
    info = f"moedocs-{version}.dist-info"
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: moedocs\nVersion: {version}\nRequires-Dist: numpy\nLicense: MIT\n".encode()
    )
    files[f"{info}/LICENSE"] = (root / "LICENSE").read_bytes()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: moedocs\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    # A build number starts with a digit.
    target = target_folder / f"moedocs-{version}-0{content}-py3-none-any.whl"
    pack(target, files)
    return target


def _record(files: dict[str, bytes], own_name: str) -> bytes:
    lines = []
    for name in sorted(files):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(files[name])}\n")
    return "".join([*lines, f"{own_name},,\n"]).encode()


def _fix_dates(archive: Path) -> None:
    """Set every date in the zip's headers: repacking writes the time of day into them."""
    year, month, day = FIXED_DATE[:3]
    stamp = struct.pack("<HH", 0, (year - 1980) << 9 | month << 5 | day)
    with zipfile.ZipFile(archive) as opened:
        entries, directory = opened.infolist(), opened.start_dir
    with archive.open("r+b") as file:
        for entry in entries:
            file.seek(entry.header_offset + 10)
            file.write(stamp)
            file.seek(directory + 12)
            file.write(stamp)
            file.seek(directory + 28)
            directory += 46 + sum(struct.unpack("<HHH", file.read(6)))
