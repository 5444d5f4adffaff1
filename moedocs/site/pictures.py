"""From an Altair chart to the files a reader gets: Vega-Lite, Vega, and SVG that follows the page's palette."""

from __future__ import annotations

import re
from typing import Any

import altair as alt
import vl_convert

from moedocs import charts
from moedocs.site.figure import Rows

VEGA_LITE = "6.4"  # the version vl-convert compiles with; Altair 6.3 writes the same schema
TABLE = {"name": "table"}
KINDS = {int: "number", float: "number", str: "string", bool: "boolean"}  # else Vega takes an ordinal number for text


def vega_lite(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The chart's specification in the house style, checked against the Vega-Lite schema; its data is named `table`."""
    spec: dict[str, Any] = chart.to_dict()
    spec["config"] = spec.get("config", {}) | charts.config()
    return spec


def controls(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters a reader can set, in order: name, value and how they are bound."""
    return [param for param in spec.get("params", []) if "bind" in param]


def vega(spec: dict[str, Any]) -> dict[str, Any]:
    """The same chart compiled to Vega, with an empty table and without inputs of its own: the page brings both."""
    unbound = [{key: value for key, value in param.items() if key != "bind"} for param in spec.get("params", [])]
    compiled: dict[str, Any] = vl_convert.vegalite_to_vega(spec | {"params": unbound}, vl_version=VEGA_LITE)
    return compiled


def svg(spec: dict[str, Any], rows: Rows, prefix: str) -> str:
    """The picture, its ids numbered in order behind `prefix`: two builds are equal and two pictures on a page apart."""
    filled = spec | {"datasets": spec.get("datasets", {}) | {TABLE["name"]: rows}}
    text: str = vl_convert.vegalite_to_svg(filled, vl_version=VEGA_LITE)
    names = {old: f"{prefix}-{number}" for number, old in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', text)))}
    for old, new in names.items():
        text = text.replace(f'id="{old}"', f'id="{new}"').replace(f"url(#{old})", f"url(#{new})")
    # role, label and description are the frame's to give: one name, not one per mark
    return re.sub(r' (?:role|aria-[a-z]+)="[^"]*"', "", text)


def for_download(picture: str) -> str:
    """The picture on its own: light colours and the hatch pattern inside the file."""
    start = picture.index(">") + 1
    standing = f"{picture[:start]}<defs>{charts.hatch_pattern()}</defs>{picture[start:]}"
    return charts.in_light(standing)


def spec_for_download(spec: dict[str, Any], csv_name: str, rows: Rows) -> dict[str, Any]:
    """The specification on its own: it reads the CSV beside it, told what each column holds, in light colours."""
    kinds = {key: KINDS[type(next((row[key] for row in rows if row[key] is not None), ""))] for key in rows[0]}
    alone: dict[str, Any] = _alone(spec, {"url": csv_name, "format": {"type": "csv", "parse": kinds}})
    return alone


def _alone(value: Any, table: dict[str, Any]) -> Any:
    if isinstance(value, str):
        return charts.in_light(value)
    if isinstance(value, dict):
        return table if value == TABLE else {key: _alone(item, table) for key, item in value.items()}
    return [_alone(item, table) for item in value] if isinstance(value, list) else value
