"""What a check found: whether the ledger is right, the numbers, and one sentence that says them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from moedocs.cost import Quantity, wording

SIGNIFICANT_DIGITS = 6  # what another machine's rounding leaves the same


@dataclass(frozen=True, kw_only=True)
class Found:
    """`sentence` names its numbers, as `{least}` or, with so many digits, `{least:2}`; `seed` of what was drawn."""

    holds: bool
    sentence: str
    numbers: dict[str, Quantity]
    seed: int | None = None

    @property
    def told(self) -> str:
        """The sentence with the numbers put in."""
        return self.sentence.format_map({name: Shown(number) for name, number in self.numbers.items()})


@dataclass(frozen=True)
class Shown:
    """A quantity that a sentence can hold."""

    quantity: Quantity

    def __format__(self, digits: str) -> str:
        return wording.shown(self.quantity, int(digits or 3))


def number(value: float, formula: str, unit: str = "ratio") -> Quantity:
    """A number that a check found, with what it is; floats to the digits that every machine has."""
    plain = value if isinstance(value, int) else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return Quantity(plain, unit, formula)


def as_json(found: Found) -> dict[str, Any]:
    """What a file holds of it, the sentence as it reads beside the one with names."""
    bare = {name: asdict(replace(quantity, parts=())) for name, quantity in found.numbers.items()}
    return {"holds": found.holds, "sentence": found.sentence, "told": found.told, "seed": found.seed, "numbers": bare}


def from_json(content: dict[str, Any]) -> Found:
    """The same again."""
    numbers = {
        name: Quantity(entry["value"], entry["unit"], entry["formula"]) for name, entry in content["numbers"].items()
    }
    return Found(holds=content["holds"], sentence=content["sentence"], numbers=numbers, seed=content["seed"])
