"""How many small changes of the engine its fast tests notice; `make mutants ONLY="overflow depth"` takes those files.

mutmut (its settings are in pyproject.toml) changes one operator, argument or number at a time and runs the tests that
pass that way: first with few examples from hypothesis, and whatever survives again with many. Then the share killed
is printed per file, and each survivor as a line of a diff.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from moedocs.lab.fingerprint import ROOT

ROOM = ROOT / ".cache" / "mutants"
MUTMUT = Path(sys.executable).with_name("mutmut")
KILLED = {1, 3, 36, 24, 152, 255, -24}  # a test failed, or ran so long that it was stopped
# parts of a line that no test on a CPU can tell from their absence, and why
ALIKE = {
    r",? ?\bdevice=[\w.]+|\.to\((None|[\w.]+\.device)\)": "on a CPU there is no other device to be on",
    r"(?<=\()[-+]1(?=\))|, dim=-1|(?<=dim=)[-+]1": "the last axis of a table of two is axis 1, and the default",
}


def main(only: list[str]) -> None:
    prepare()
    run("few", [f"moedocs.engine.{name}.*" for name in only])
    if survivors := [name for name, code in results() if code not in KILLED]:
        print(f"\n{len(survivors)} survive a few examples; the same again with many", flush=True)
        run("many", survivors)
    report(only)


def prepare() -> None:
    """Copy what is tested: mutmut leaves its files where it is started."""
    shutil.rmtree(ROOM, ignore_errors=True)
    for folder in ("moedocs", "tests"):
        shutil.copytree(ROOT / folder, ROOM / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", ROOM / "pyproject.toml")


def run(examples: str, names: list[str]) -> None:
    # one thread: the pool of torch does not outlive a fork
    environment = {**os.environ, "HYPOTHESIS_PROFILE": examples, "OMP_NUM_THREADS": "1"}
    workers = os.environ.get("WORKERS") or str(os.cpu_count() or 1)
    command = [str(MUTMUT), "run", "--max-children", workers, *names]
    if subprocess.run(command, cwd=ROOM, env=environment, check=False).returncode:
        sys.exit("mutmut stopped: do the tests pass without it?")


def results() -> Iterator[tuple[str, int]]:
    """Each mutant that was tried, with the exit code of its tests."""
    for path in sorted((ROOM / "mutants" / "moedocs" / "engine").glob("*.meta")):
        codes: dict[str, int | None] = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        yield from ((name, code) for name, code in codes.items() if code is not None)


def report(only: list[str]) -> None:
    tried, killed, alike = Counter[str](), Counter[str](), Counter[str]()
    print("\n\nSurvivors")
    for name, code in results():
        module = name.split(".")[2]
        if only and module not in only:
            continue
        tried[module] += 1
        killed[module] += code in KILLED
        if code not in KILLED:
            removed, added = difference(name)
            reason = excuse(removed, added)
            alike[module] += bool(reason)
            print("\n".join(["", name, *removed, *added, *([f"({reason})"] if reason else [])]))
    print("\nMutants killed; of the rest, those that change nothing")
    for module, count in [*sorted(tried.items()), ("all", tried.total())]:
        dead, same = (counter[module] if module != "all" else counter.total() for counter in (killed, alike))
        print(f"  {module:20} {dead:5} of {count:5}  {dead / max(count, 1):6.1%}  {same:3} of {count - dead:3}")


def difference(name: str) -> tuple[list[str], list[str]]:
    """The lines of a function that a mutant lacks, and those it has instead."""
    command = [str(MUTMUT), "show", name]
    said = subprocess.run(command, cwd=ROOM, capture_output=True, text=True, check=True).stdout.splitlines()
    removed, added = ([line for line in said if re.match(rf"[{sign}] ", line)] for sign in "-+")
    return removed, added


def excuse(removed: list[str], added: list[str]) -> str:
    """Why two versions of a line are the same program here; empty if they are not."""
    for pattern, reason in ALIKE.items():
        plain = [[re.sub(pattern, "", line[1:]).replace(", )", ")") for line in lines] for lines in (removed, added)]
        if plain[0] == plain[1]:
            return reason
    return ""


if __name__ == "__main__":
    main(sys.argv[1:])
