"""What is cut from Material's stylesheet of colours, and what must stay."""

from __future__ import annotations

from pathlib import Path

import material  # type: ignore[import-untyped]

from moedocs.site import styles

(PALETTE,) = Path(material.__file__).parent.glob("templates/assets/stylesheets/palette.*.css")


def test_the_dark_palette_stays_and_what_styles_every_page_anew_goes() -> None:
    whole = PALETTE.read_text("utf-8")
    slim = styles.slimmed(whole)
    assert "[data-md-color-switching]" in whole
    assert "[data-md-color-switching]" not in slim
    start = whole.index("[data-md-color-scheme=slate]{")
    assert whole[start : whole.index("}", start)] in slim
    assert slim.count("{") == slim.count("}")
    assert len(slim) < len(whole) / 3


def test_only_the_file_of_colours_is_rewritten(tmp_path: Path) -> None:
    folder = tmp_path / "assets" / "stylesheets"
    folder.mkdir(parents=True)
    (folder / "palette.1.min.css").write_text("a{b:c}[data-md-color-accent=red]{d:e}", "utf-8")
    (folder / "main.1.min.css").write_text("a{b:c}[data-md-color-accent=red]{d:e}", "utf-8")
    styles.cut(tmp_path)
    assert (folder / "palette.1.min.css").read_text("utf-8") == "a{b:c}"
    assert "accent" in (folder / "main.1.min.css").read_text("utf-8")
