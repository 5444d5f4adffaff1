"""One look for every chart: palette, sizes, type and the pieces that several figures share.

Colours are CSS variables (`var(--moe-router)`), so that one picture follows both palettes of the page; the values
behind them stand here and nowhere else: the page's stylesheet and the pictures for download are made from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import altair as alt

Rows = list[dict[str, Any]]  # whole numbers, floats, strings and truth values
Chart = Any  # Altair's own types lose track along its method chains: a layer of layers is "a chart or a facet"

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
SMALLEST_TEXT = 11  # px; a phone shows it unscaled

# One meaning per colour, everywhere: (light, dark).
MEANINGS = {
    "ink": ("#1c2430", "#e7eaf0"),
    "soft": ("#566170", "#a9b3c1"),
    "grid": ("#dfe3e8", "#363f4c"),
    "paper": ("#ffffff", "#161a21"),
    "router": ("#6b4fb8", "#b7a1ee"),
    "active": ("#0b7285", "#56c7d6"),
    "idle": ("#bcc4ce", "#4d5767"),
    "skipped": ("#a86a00", "#e6b450"),
    "dropped": ("#c23b22", "#ff8c73"),
    "plus": ("#3b4d9b", "#9aabf0"),
    "minus": ("#a5581c", "#e3a06b"),
}

# One fixed hue per expert. The first eight keep apart under common colour blindness; charts label them as well.
EXPERTS = (
    ("#0072b2", "#5fb2e6"),
    ("#d57f00", "#f2b04a"),
    ("#00876a", "#45c9a5"),
    ("#b8558a", "#e59ac4"),
    ("#3f9bd6", "#9ad2f7"),
    ("#c44e00", "#ff9459"),
    ("#857400", "#d6c75a"),
    ("#7b4fa3", "#bd9be0"),
    ("#004f7c", "#3f8fc4"),
    ("#9c5d00", "#c98f34"),
    ("#005c48", "#2b9d7e"),
    ("#8a2f63", "#c26f9f"),
    ("#2a719e", "#78b8de"),
    ("#8f3800", "#dd7440"),
    ("#5e5200", "#b3a53c"),
    ("#573177", "#9a76c1"),
)

PALETTE = MEANINGS | {f"expert-{i}": pair for i, pair in enumerate(EXPERTS)}


@dataclass(frozen=True)
class Size:
    """Width of a picture in px; `narrow` is the one a phone shows."""

    name: str
    width: int

    @property
    def narrow(self) -> bool:
        return self.name == "narrow"


WIDE, NARROW = Size("wide", 640), Size("narrow", 300)
SIZES = (WIDE, NARROW)


def colour(meaning: str) -> str:
    """The CSS variable of a meaning (`router`, `active`, …, `expert-3`); an unknown one raises KeyError."""
    if meaning not in PALETTE:
        raise KeyError(f"no colour named {meaning!r}; there are: {', '.join(PALETTE)}")
    return f"var(--moe-{meaning})"


HATCH = "url(#moe-hatch)"  # dropped tokens: never by colour alone


def expert_scale(num_experts: int, first: int = 1) -> alt.Scale:
    """Ordinal scale that gives every expert its own fixed hue; pages count experts from `first`."""
    hues = [colour(f"expert-{expert % len(EXPERTS)}") for expert in range(num_experts)]
    return alt.Scale(domain=list(range(first, first + num_experts)), range=hues)


def over(rows: list[dict[str, Any]]) -> Chart:
    """A chart over a few rows of its own: labels, grounds, marks that are no data of the figure."""
    return alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]


def config() -> dict[str, Any]:
    """Vega-Lite configuration of the house: quiet axes, no frame, readable type."""
    text = {"labelColor": colour("soft"), "titleColor": colour("ink")}
    return {
        "background": "transparent",
        "font": FONT,
        "padding": 4,
        "view": {"stroke": None},
        "axis": text
        | {
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": 500,
            "titlePadding": 8,
            "gridColor": colour("grid"),
            "domainColor": colour("idle"),
            "tickColor": colour("idle"),
            "labelOverlap": True,
        },
        "axisX": {"grid": False},
        "axisY": {"domain": False, "ticks": False},
        "legend": text | {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 500, "symbolStrokeWidth": 0},
        "header": text | {"labelFontSize": 13, "labelFontWeight": 600, "labelColor": colour("ink")},
        "title": {"color": colour("ink"), "fontSize": 13, "fontWeight": 600, "anchor": "start"},
        "text": {"color": colour("ink"), "fontSize": 12},
        "rule": {"color": colour("soft")},
        "line": {"strokeWidth": 2},
        "bar": {"color": colour("active")},
        "point": {"color": colour("active"), "filled": True, "size": 45},
    }


def stylesheet() -> str:
    """The palette as CSS custom properties for both of the page's palettes; on paper always the light one."""
    light, dark = ("".join(f"  --moe-{name}: {pair[which]};\n" for name, pair in PALETTE.items()) for which in (0, 1))
    slate = f'@media screen {{\n[data-md-color-scheme="slate"] {{\n{dark}}}\n}}\n'
    return f':root, [data-md-color-scheme="default"] {{\n{light}}}\n{slate}'


def hatch_pattern() -> str:
    """SVG pattern that `HATCH` refers to."""
    return (
        '<pattern id="moe-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect width="6" height="6" fill="{colour("paper")}"/>'
        f'<rect width="2.5" height="6" fill="{colour("dropped")}"/></pattern>'
    )


def in_light(text: str) -> str:
    """`text` with every colour variable replaced by its light value, for pictures that leave the site."""
    return re.sub(r"var\(--moe-([a-z0-9-]+)\)", lambda match: PALETTE[match[1]][0], text)
