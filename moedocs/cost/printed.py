"""A bill as text for the prompt: the tree of parts, then each number, with its arithmetic on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from moedocs.config.architecture import Architecture
from moedocs.cost.bill import Load, bill
from moedocs.cost.quantity import Quantity
from moedocs.cost.tree import CONVENTIONS, Node, parameter_tree

WIDE, NUMBER = 40, 26  # columns of the names, and of a number of up to a billion billions
PREFIXES = ("", "thousand", "million", "billion", "trillion")
# Of what a number is, where its name does not say it.
OF = {
    "weight_bytes_per_device": "in {precision}, the experts divided among devices: {devices}",
    "kv_elements_per_token": "of one sequence, while no window is full",
    "cache_bytes": "of {batch} × {sequence} tokens, 2 bytes per element",
    "decoding_step.flops": "one token more for each of {batch} × {sequence}",
    "decoding_step.bytes_read": "in {precision}: weights that some token uses, and the caches",
}


def as_text(model: Architecture, load: Load, *, explain: bool = False) -> str:
    """Lines that fit a terminal of 100 columns, but for the arithmetic."""
    numbers = bill(model, load)
    return "\n".join((*_tree(model, explain), *_numbers(numbers, load, explain), *_notes(model)))


def short(count: float) -> str:
    """A count as one says it: four digits and a word."""
    size = next((size for size in range(len(PREFIXES)) if count < 999.95 * 1000**size), len(PREFIXES) - 1)
    return f"{count / 1000**size:,.4g} {PREFIXES[size]}".strip() if size else f"{count:,.4g}"


def full(value: float) -> str:
    """Every digit of a whole number; of another, which is an average, those before the point."""
    return f"{value:,}" if isinstance(value, int) or value < 1000 else f"{value:,.0f}"


def _tree(model: Architecture, explain: bool) -> Iterator[str]:
    yield f"{model.name:<{WIDE}}{'parameters':>{NUMBER}}{'one token uses':>{NUMBER}}"
    yield from _node(parameter_tree(model), 0, explain)


def _node(node: Node, depth: int, explain: bool) -> Iterator[str]:
    name = f"{'  ' * depth}{node.name if depth else 'total'}"
    yield f"{name:<{WIDE}}{node.count:>{NUMBER},}{node.active:>{NUMBER},}"
    if explain:
        yield f"{'  ' * depth}  = {node.formula}"
    for child in node.children:
        yield from _node(child, depth + 1, explain)


def _numbers(numbers: dict[str, Quantity], load: Load, explain: bool) -> Iterator[str]:
    group = ""
    for name, quantity in numbers.items():
        head, _, last = name.rpartition(".")
        if head != group or not head:
            yield ""
        if head != group and head:
            yield _title(head, load)
        group = head
        label = f"{'  ' * bool(head)}{last.replace('_', ' ')}"
        yield f"{label:<{WIDE}}{full(quantity.value):>{NUMBER}}  {_unit(quantity)}"
        if name in OF:
            yield f"  {OF[name].format(**asdict(load))}"
        if explain:
            yield from _explained(quantity, CONVENTIONS.get(last, ""))


def _explained(quantity: Quantity, convention: str) -> Iterator[str]:
    yield f"    = {quantity.formula}"
    yield from _parts(quantity, 3)
    if convention:
        yield f"      {convention}"


def _parts(quantity: Quantity, depth: int) -> Iterator[str]:
    for part in quantity.parts:
        yield f"{'  ' * depth}{part.name}: {full(part.value)} = {part.formula}"
        yield from _parts(part, depth + 1)


def _title(group: str, load: Load) -> str:
    title = group.replace("_", " ").replace("flops", "FLOPs")
    return f"{title} of {load.batch:,} × {load.sequence:,} tokens" if "FLOPs" in title else title


def _unit(quantity: Quantity) -> str:
    if quantity.unit == "parameters" or quantity.value < 1000:
        return quantity.unit
    return f"{quantity.unit} ({short(quantity.value)})"


def _notes(model: Architecture) -> Iterator[str]:
    for title, notes in (("not counted", model.left_out), ("not in the file, by the family's defaults", model.filled)):
        if notes:
            yield ""
            yield title
            yield from (f"  {note}" for note in notes)
