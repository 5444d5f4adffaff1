"""The look of charts: colours in both palettes that can be told apart from the page, and type that can be read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moedocs import charts
from moedocs.charts import PALETTE, SMALLEST_TEXT, colour
from moedocs.lab.fingerprint import ROOT
from moedocs.site.figure import paths

NAMES = tuple(paths(ROOT))
LIGHT, DARK = 0, 1


def luminance(hexadecimal: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(hexadecimal[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(meaning: str, which: int, ground: str = "paper") -> float:
    darker, lighter = sorted(luminance(PALETTE[name][which]) for name in (meaning, ground))
    return (lighter + 0.05) / (darker + 0.05)


def declared(style: str) -> dict[str, str]:
    return dict(re.findall(r"--moe-([a-z0-9-]+): (#[0-9a-f]{6});", style))


def test_every_colour_stands_in_both_palettes_of_the_page_and_paper_is_printed_light() -> None:
    light, screen = charts.stylesheet().split("@media screen")
    assert declared(light) == {name: pair[LIGHT] for name, pair in PALETTE.items()}
    assert declared(screen) == {name: pair[DARK] for name, pair in PALETTE.items()}
    assert light.startswith(":root")
    assert '[data-md-color-scheme="slate"]' in screen


@pytest.mark.parametrize("which", [LIGHT, DARK])
@pytest.mark.parametrize("tone", ["ink", "soft"])
def test_text_can_be_read_on_the_page(tone: str, which: int) -> None:
    assert contrast(tone, which) >= 4.5


@pytest.mark.parametrize("which", [LIGHT, DARK])
def test_marks_stand_out_from_the_page_but_for_those_that_are_meant_to_rest(which: int) -> None:
    quiet = {"paper", "grid", "idle"}
    assert {name for name in PALETTE if contrast(name, which) < 3} == quiet


def test_no_two_meanings_and_no_two_experts_share_a_colour() -> None:
    for which in (LIGHT, DARK):
        values = [pair[which] for pair in PALETTE.values()]
        assert len(set(values)) == len(values)


def test_a_colour_is_a_variable_of_the_page_and_an_unknown_one_is_refused_with_a_list() -> None:
    assert colour("router") == "var(--moe-router)"
    with pytest.raises(KeyError, match="no colour named 'gate'; there are: ink, soft"):
        colour("gate")


def test_an_expert_keeps_its_hue_whatever_the_number_of_experts() -> None:
    few, many = (charts.expert_scale(count).to_dict() for count in (4, 20))
    assert few["domain"] == [1, 2, 3, 4]
    assert many["range"][:4] == few["range"]
    assert len(many["range"]) == 20


def test_what_leaves_the_site_carries_the_light_colours_themselves() -> None:
    text = f"fill: {colour('ink')}; stroke: {colour('expert-3')}; {charts.HATCH}"
    assert charts.in_light(text) == f"fill: {PALETTE['ink'][0]}; stroke: {PALETTE['expert-3'][0]}; {charts.HATCH}"


@pytest.mark.parametrize("name", NAMES)
def test_pictures_use_only_colours_of_the_palette(name: str, built: Path) -> None:
    folder = built / name
    for file in ("wide.svg", "narrow.svg", "wide.vg.json", "narrow.vg.json"):
        used = set(re.findall(r"var\(--moe-([^)]*)\)", (folder / file).read_text("utf-8")))
        assert used
        assert used <= set(PALETTE)
    for picture in ("wide.svg", "narrow.svg"):
        typed = re.findall(r'(?:fill|stroke)="(#[^"]*|rgb[^"]*|[a-z]+)"', (folder / picture).read_text("utf-8"))
        assert set(typed) <= {"none", "transparent"}, picture
    for download in (f"{name}.svg", f"{name}.vl.json"):
        assert "var(--" not in (folder / download).read_text("utf-8")


def sizes_in(value: Any, key: str = "") -> Iterator[float]:
    """Every font size that a specification states, in marks, axes, legends, titles and configuration."""
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from sizes_in(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from sizes_in(item, key)
    elif key.lower().endswith("fontsize") and isinstance(value, int | float):
        yield value


@pytest.mark.parametrize("size", [size.name for size in charts.SIZES])
@pytest.mark.parametrize("name", NAMES)
def test_no_text_of_a_chart_is_smaller_than_can_be_read_on_a_phone(name: str, size: str, built: Path) -> None:
    specified = list(sizes_in(json.loads((built / name / f"{size}.vg.json").read_text("utf-8"))))
    picture = (built / name / f"{size}.svg").read_text("utf-8")
    drawn = [float(px) for px in re.findall(r'font-size="([\d.]+)px"', picture)]
    assert min(specified) >= SMALLEST_TEXT
    assert min(drawn) >= SMALLEST_TEXT
    assert len(drawn) == len(re.findall(r"<text\b", picture))  # none falls back on a size of the browser's
