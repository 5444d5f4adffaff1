"""Whether records made anew say what the committed ones say: `python -m tests.compare_records OLD NEW`.

Another machine rounds differently, and hundreds of steps make that grow. So the first losses must agree closely, a
number told with its spread over seeds must overlap that spread, and any other number may move by a tenth.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from moedocs.lab import records

FIRST_STEPS, LATER = 1e-3, 0.1


def main(old: Path, new: Path) -> int:
    """Print what differs; the exit status is 1 if anything does."""
    names = sorted(path.stem for path in old.glob("*.json"))
    found = [f"{name}: {line}" for name in names for line in differences(name, old, new)]
    print("\n".join(found) or f"{', '.join(names)}: the same")
    return bool(found) or not names


def differences(name: str, old: Path, new: Path) -> Iterator[str]:
    """One line for every number that is no longer what the committed record says."""
    before, after = (records.load(name, folder, stale=True) for folder in (old, new))
    retuned = {arm for arm, rate in before.learning_rates.items() if after.learning_rates[arm] != rate}
    for key, losses in before.first_losses.items():
        if key.rpartition("/")[0] in retuned:  # two rates were about as good: the first steps are those of the other
            continue
        again = after.first_losses[key]
        if any(abs(was - now) > FIRST_STEPS * was for was, now in zip(losses, again, strict=True)):
            yield f"first losses of {key}: {losses} are now {again}"
    yield from _differences("", before.results["summary"], after.results["summary"])


def _differences(path: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and {"least", "most"} <= set(before):
        if before["least"] > after["most"] or after["least"] > before["most"]:
            yield f"{path}: from {_spread(before)} to {_spread(after)}"
    elif isinstance(before, Mapping):
        for key in before:
            yield from _differences(f"{path}.{key}".lstrip("."), before[key], after[key])
    elif isinstance(before, int | float) and abs(before - after) > LATER * abs(before):
        yield f"{path}: from {before} to {after}"


def _spread(of: Mapping[str, float]) -> str:
    return f"{of['least']} … {of['most']}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
