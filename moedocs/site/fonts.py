"""KaTeX's fonts, cut down to the characters that the formulae of this site use: a page with formulae stays light."""

from __future__ import annotations

from importlib.metadata import version
from io import BytesIO
from pathlib import Path

from fontTools import subset

from moedocs.lab.fingerprint import ROOT
from moedocs.site import files

KEPT = ROOT / ".cache" / "fonts"


def cut(source: Path, target: Path, characters: str, kept: Path = KEPT) -> None:
    """Write each font of `source` to `target` with these characters alone; what was cut before is kept in `kept`."""
    cut_now = {}
    for path in sorted(source.glob("*.woff2")):
        whole = path.read_bytes()
        key = files.digest(whole + "".join(sorted(set(characters))).encode() + version("fonttools").encode())[:24]
        small = _kept(kept, key) or _only(whole, characters)
        cut_now[f"{key}-{files.digest(small)[:24]}.woff2"] = small
        files.write_bytes(target / path.name, small)
    for name, small in cut_now.items():
        files.write_bytes(kept / name, small)
    for path in kept.glob("*.woff2"):
        if path.name not in cut_now:
            path.unlink(missing_ok=True)


def _kept(kept: Path, key: str) -> bytes | None:
    """The font that was cut before, unless its bytes are no longer those its name tells."""
    for path in kept.glob(f"{key}-*.woff2"):
        content = path.read_bytes()
        if path.stem == f"{key}-{files.digest(content)[:24]}":
            return content
    return None


def _only(whole: bytes, characters: str) -> bytes:
    options = subset.Options(flavor="woff2", hinting=False, bidi_closure=False, recalc_timestamp=False)
    font = subset.load_font(BytesIO(whole), options)
    cutter = subset.Subsetter(options)
    cutter.populate(text=characters)
    cutter.subset(font)
    small = BytesIO()
    subset.save_font(font, small, options)
    font.close()
    return small.getvalue()
