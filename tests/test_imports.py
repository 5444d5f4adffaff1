"""Which room may import which: a one-way street, read from the source, and what each door really loads."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "moedocs"
ANYTHING = None


@dataclass(frozen=True)
class Rule:
    """The other rooms a room may import, and the packages besides the standard library; torch only where named."""

    rooms: frozenset[str] | None
    packages: frozenset[str] | None
    torch: bool


def rule(rooms: str | None = "", packages: str | None = "", torch: bool = False) -> Rule:
    return Rule(split(rooms), split(packages), torch)


def split(names: str | None) -> frozenset[str] | None:
    return ANYTHING if names is ANYTHING else frozenset(names.split())


# The longest name that a module starts with holds. A room may always import itself, `moedocs` and `moedocs.problem`.
RULES = {
    "moedocs": rule(),
    "moedocs.files": rule(),
    "moedocs.problem": rule(),
    "moedocs.config": rule(),
    "moedocs.cost": rule("moedocs.config"),
    "moedocs.lite": rule("moedocs.config", "numpy"),
    "moedocs.engine": rule("moedocs.config", torch=True),
    "moedocs.parallel": rule("moedocs.config moedocs.engine", torch=True),
    "moedocs.lab.fingerprint": rule(),
    "moedocs.lab.records": rule("moedocs.lab.fingerprint"),
    "moedocs.lab": rule("moedocs.config moedocs.cost moedocs.lite moedocs.engine moedocs.parallel", None, torch=True),
    "moedocs.claims": rule("moedocs.cost moedocs.lab.records moedocs.lab.fingerprint", "yaml"),
    "moedocs.claims.checks": rule(
        "moedocs.claims moedocs.config moedocs.cost moedocs.lite moedocs.engine moedocs.lab.records",
        "numpy",
        torch=True,
    ),
    "moedocs.charts": rule("moedocs.config moedocs.cost", "altair"),
    "moedocs.site.browser.desk": rule("moedocs.config moedocs.cost", ""),  # runs in the reader's browser
    "moedocs.site": rule(
        "moedocs.charts moedocs.claims moedocs.config moedocs.cost moedocs.lab.records moedocs.lab.fingerprint", None
    ),
    "moedocs.cli": rule(ANYTHING, ANYTHING),
    "moedocs.__main__": rule(ANYTHING, ANYTHING),
}
OPEN_TO_ALL = frozenset({"moedocs", "moedocs.files", "moedocs.problem"})
NEVER = frozenset({"figures", "tests"})


def room(module: str) -> str | None:
    """The room that a module stands in; None where the table has no line for it."""
    fitting = [name for name in RULES if module == name or (name != "moedocs" and module.startswith(name + "."))]
    return max(fitting, key=len, default=None)


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Line and module of each import, the ones inside functions included."""
    package = module_name(file).split(".")
    package = package if file.stem == "__init__" else package[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, submodule(base, alias.name)) for alias in node.names)


def submodule(base: str, name: str) -> str:
    """`from moedocs import lite` imports a module, `from moedocs import __version__` a name."""
    path = ROOT.joinpath(*base.split("."), name)
    return f"{base}.{name}" if path.is_dir() or path.with_suffix(".py").is_file() else base


def forbidden(module: str, target: str) -> bool:
    """May `module` not import `target`?"""
    home, top = room(module), target.split(".")[0]
    assert home is not None
    allowed = RULES[home]
    if top == "moedocs":
        other = room(target) or target
        own = other == home or (other.startswith(f"{home}.") and home != "moedocs")  # lab may import lab.records
        return not (own or other in OPEN_TO_ALL or allowed.rooms is ANYTHING or other in allowed.rooms)
    if top == "torch":
        return not allowed.torch
    return top in NEVER or (allowed.packages is not ANYTHING and top not in allowed.packages | sys.stdlib_module_names)


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_a_module_imports_only_what_its_room_may(file: Path) -> None:
    module = module_name(file)
    assert room(module), f"{file.relative_to(ROOT)} stands in no room: give it a line in RULES"
    wrong = [f"line {line} imports {name}" for line, name in imported(file) if forbidden(module, name)]
    assert not wrong, f"{file.relative_to(ROOT)}: " + ", ".join(wrong)


@pytest.mark.parametrize(
    ("module", "target", "expected"),
    [
        ("moedocs.config", "numpy", True),
        ("moedocs.config", "math", False),
        ("moedocs.lite.record", "torch", True),
        ("moedocs.lite.record", "numpy.typing", False),
        ("moedocs.lite.record", "moedocs.engine.record", True),
        ("moedocs.engine.layer", "moedocs.engine.record", False),
        ("moedocs.engine.layer", "moedocs.lab.training", True),
        ("moedocs.lab.records", "moedocs.lab.training", True),
        ("moedocs.lab.training", "moedocs.lab.records", False),
        ("moedocs.lab.training", "moedocs.site.build", True),
        ("moedocs.site.build", "moedocs.lab.records", False),
        ("moedocs.site.build", "moedocs.lab.training", True),
        ("moedocs.site.build", "moedocs.engine", True),
        ("moedocs.cost", "moedocs.problem", False),
        ("moedocs.site.build", "figures.collapse", True),
        ("moedocs.site.build", "torch", True),
        ("moedocs.site.build", "altair", False),
        ("moedocs.lab.training", "torch.nn", False),
        ("moedocs", "moedocs.config", True),
        ("moedocs.site.build", "moedocs.claims.checking", False),
        ("moedocs.site.build", "moedocs.claims.checks.losses", True),
        ("moedocs.claims.checks.losses", "moedocs.lab.training", True),
        ("moedocs.cli", "moedocs.site.build", False),
    ],
)
def test_the_rule_says_no_where_it_should(module: str, target: str, expected: bool) -> None:
    assert forbidden(module, target) is expected


# what each door may never load, even through others
CLOSED = {
    "moedocs": {"numpy", "torch", "altair"},
    "moedocs.config": {"numpy", "torch", "altair"},
    "moedocs.cost": {"numpy", "torch", "altair"},
    "moedocs.lite": {"torch", "altair"},
    "moedocs.lab.fingerprint": {"numpy", "torch", "altair"},
    "moedocs.lab.records": {"numpy", "torch", "altair"},
    "moedocs.claims": {"numpy", "torch", "altair"},
    "moedocs.claims.checking": {"numpy", "torch", "altair"},
    "moedocs.charts": {"torch"},
    "moedocs.cli": {"torch"},
}


@pytest.mark.parametrize("module", [name for name in CLOSED if importlib.util.find_spec(name)])
def test_importing_a_light_room_loads_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not CLOSED[module] & set(done.stdout.split())
