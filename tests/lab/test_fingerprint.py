"""The hash of the code a record depends on: all of it, nothing else, and no words."""

from pathlib import Path

import pytest

from moedocs.lab import experiments, fingerprint, records
from moedocs.lab.fingerprint import ROOT

SOURCES = {
    "room/__init__.py": "",
    "room/a.py": '"""A."""\nfrom room import b\nimport json\n\nX = b.f(1)  # one\n',
    "room/b.py": 'from .deep.c import g\n\n\ndef f(x):\n    """F."""\n    return g(x)\n',
    "room/deep/__init__.py": "",
    "room/deep/c.py": "def g(x):\n    return '#' * x\n",
    "room/d.py": "Y = 2\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, source in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, "utf-8")
    return tmp_path


def test_the_fingerprint_covers_what_is_imported_at_any_depth_and_nothing_else(tree: Path) -> None:
    assert [path.relative_to(tree).as_posix() for path in fingerprint.closure("room.a", root=tree)] == [
        "room/a.py",
        "room/b.py",
        "room/deep/c.py",
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("room/a.py", "# one", "# the first of many", False),
        ("room/a.py", '"""A."""', '"""Another\nmodule."""\n', False),
        ("room/b.py", '"""F."""', '"""G of x.\n\n    Nothing more."""', False),
        ("room/a.py", "\n", "\r\n", False),
        ("room/d.py", "2", "3", False),
        ("room/a.py", "f(1)", "f(2)", True),
        ("room/deep/c.py", "'#'", "'# '", True),
    ],
)
def test_code_changes_the_fingerprint_and_words_do_not(
    tree: Path, file: str, old: str, new: str, changes: bool
) -> None:
    before = fingerprint.fingerprint("room.a", root=tree)
    path = tree / file
    path.write_bytes(path.read_text("utf-8").replace(old, new).encode())
    assert (fingerprint.fingerprint("room.a", root=tree) != before) is changes


def test_the_data_file_beside_a_module_changes_the_fingerprint(tree: Path) -> None:
    without = fingerprint.fingerprint("room.a", root=tree)
    (tree / "room" / "a.toml").write_text("models = 1", "utf-8")
    one = fingerprint.fingerprint("room.a", root=tree)
    (tree / "room" / "a.toml").write_text("models = 2", "utf-8")
    assert len({without, one, fingerprint.fingerprint("room.a", root=tree)}) == 3


def test_a_figure_file_has_a_fingerprint_too(tree: Path) -> None:
    assert fingerprint.fingerprint(tree / "room" / "a.py", root=tree) == fingerprint.fingerprint("room.a", root=tree)
    with pytest.raises(FileNotFoundError, match=r"room\.z"):
        fingerprint.fingerprint("room.z", root=tree)


@pytest.mark.parametrize("name", experiments.names())
def test_a_record_depends_on_engine_and_training_and_not_on_how_trainings_are_spread_and_kept(name: str) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in fingerprint.closure(records.module_of(name))}
    assert {"moedocs/config/model.py", "moedocs/engine/token_choice.py", "moedocs/lab/training.py"} < files
    kept = {f"moedocs/lab/{module}.py" for module in ("store", "workers", "sweep", "tuning", "commands")}
    assert not (kept | {"moedocs/cli.py", "moedocs/__init__.py"}) & files


def test_an_experiment_elsewhere_has_the_fingerprint_of_its_own_code_and_of_the_training() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in fingerprint.closure("tests.lab.tiny_tuned")}
    assert {"tests/lab/tiny.py", "tests/lab/tiny_tuned.py", "moedocs/lab/training.py"} < files
