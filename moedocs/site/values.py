"""Numbers in prose: a reference names where a number comes from, the build fills it in with unit and rounding.

{{ value mixtral-8x7b active }}                          a quantity of a model of the atlas, moedocs.cost.quoted
{{ value mixtral-8x7b total over mixtral-8x7b active }}  a ratio of two
{{ value record/balance largest_share.none as=share }}   a result of a record, by its path
{{ value figure/load-per-expert dropped }}               a fact that a figure states about its own rows
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from moedocs.cost import Quantity, atlas
from moedocs.cost.quoted import quoted
from moedocs.lab import records
from moedocs.problem import Problem
from moedocs.site import figures

UNITS = ("parameters", "FLOP", "byte", "share", "count", "ratio", "nat", "second")
MOST_DIGITS = 15  # what a float holds


class UnknownValue(Problem):
    """A reference to a number that does not exist; the message lists those that do."""


def look_up(names: tuple[str, ...], folder: Path, unit: str | None = None) -> Quantity:
    """The quantity a reference names; `folder` is that of built figures. Raises a Problem that lists what there is."""
    if unit is not None and unit not in UNITS:
        raise UnknownValue(f"unknown unit {unit!r}; there are: {', '.join(UNITS)}")
    if len(names) == 5 and names[2] == "over":
        above, below = look_up(names[:2], folder), look_up(names[3:], folder)
        if not below.value:
            raise UnknownValue(f"{' '.join(names[3:])} is 0, and nothing is divided by it")
        return Quantity(above.value / below.value, unit or "ratio", f"{above.value:.12g} ÷ {below.value:.12g}")
    if len(names) != 2:
        raise UnknownValue(
            f"value needs a source and a name, such as 'mixtral-8x7b active'; it has {' '.join(names)!r}"
        )
    source, name = names
    if source.startswith("record/"):
        return _of_record(source.removeprefix("record/"), name, unit)
    known = (
        _of_figure(source.removeprefix("figure/"), folder) if source.startswith("figure/") else quoted(model(source))
    )
    if name not in known:
        raise UnknownValue(f"{source} has no quantity {name!r}; it has: {', '.join(known) or 'none'}")
    if unit is not None:
        raise UnknownValue(f"{source} {name} has a unit, {known[name].unit}: as={unit} is for records and ratios")
    return known[name]


def model(name: str) -> atlas.Model:
    """A model of the atlas. Raises UnknownValue naming those with names like it."""
    if name not in (models := atlas.models()):
        near = ", ".join(get_close_matches(name, models, n=3)) or "moedocs cost --atlas lists them"
        raise UnknownValue(f"unknown model {name!r}; near are: {near}; and there are record/NAME and figure/NAME")
    return models[name]


def _of_record(name: str, path: str, unit: str | None) -> Quantity:
    value: Any = _record(name).results
    keys = path.split(".")
    while keys:
        taken = _first(keys, value)
        if not taken:
            there = ", ".join(map(str, value)) if isinstance(value, dict) else f"{type(value).__name__}"
            raise UnknownValue(f"record {name} has no {keys[0]!r} in {path!r}; there: {there[:200]}")
        key = ".".join(keys[:taken])
        value = value[int(key)] if isinstance(value, list) else value[key]
        keys = keys[taken:]
    if not isinstance(value, int | float):
        raise UnknownValue(f"record {name}: {path!r} is no number")
    return Quantity(value, unit or "ratio", f"record {name}, {path}")


def _first(keys: list[str], value: Any) -> int:
    """How many parts of a path name something in `value`: names may have dots of their own; 0 if none does."""
    if isinstance(value, list):
        return int(keys[0].lstrip("-").isdigit() and -len(value) <= int(keys[0]) < len(value))
    if not isinstance(value, dict):
        return 0
    return next((taken for taken in range(len(keys), 0, -1) if ".".join(keys[:taken]) in value), 0)


def _record(name: str) -> records.Record:
    try:
        return records.load(name)
    except records.RecordError as error:
        if error.state != "missing":
            raise
        there = ", ".join(sorted(path.stem for path in records.RECORDS.glob("*.json")))
        raise UnknownValue(f"{error}; there are: {there}") from None


def _of_figure(name: str, folder: Path) -> dict[str, Quantity]:
    return {key: Quantity(**fact) for key, fact in figures.page(name, folder)["facts"].items()}
