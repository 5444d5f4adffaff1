"""Broken inputs, for real: what is wrong is told with its place, and nothing that is right is lost."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from filelock import FileLock

from moedocs.site import figures
from moedocs.site.figure import FigureError
from tests import copies
from tests.copies import FIGURE, hashes, run, start

PAGES = {
    "index.md": "# Home\n\n{{ figure cost }}\n\nStores {{ value mixtral-8x7b total }}.\n",
    "two.md": "# Two\n\nBars.\n\n{{ figure two }}\n",
    "training.md": "# Training\n\n{{ figure collapse-lab }}\n\nStep {{ value record/balance steps.-1 as=count }}.\n",
}
BROKEN = FIGURE.replace("    return [", '    raise RuntimeError("no bars today")\n    return [', 1)
RAISES = BROKEN[: BROKEN.index("raise")].count("\n") + 1
PATIENCE = 300  # seconds


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, in order and built."""
    root = copies.copied(tmp_path_factory.mktemp("sound") / "copy", ("collapse_lab", "cost"), PAGES)
    (root / "figures" / "two.py").write_text(FIGURE)
    status, said = run(root, "mkdocs", "build")
    assert status == 0, said
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    """A copy of that copy, to break."""
    return Path(shutil.copytree(sound, tmp_path / "copy", symlinks=True))


def assets(root: Path) -> dict[str, str]:
    """All that a site would take from there; MkDocs leaves out names that begin with a dot."""
    made = hashes(root / "docs" / "assets")
    return {name: digest for name, digest in made.items() if not Path(name).name.startswith(".")}


def site(root: Path) -> dict[str, str]:
    """The built site without its map, in which MkDocs writes the day."""
    return {name: digest for name, digest in hashes(root / "site").items() if not name.startswith("sitemap")}


def unbuilt(root: Path) -> Path:
    """The same copy with its figures still to be made."""
    shutil.rmtree(root / "docs" / "assets" / "figures")
    return root


def test_a_figure_that_raises_fails_the_build_with_its_line_and_its_page_and_the_others_are_built(
    root: Path, sound: Path
) -> None:
    (unbuilt(root) / "figures" / "two.py").write_text(BROKEN)
    status, said = run(root, "mkdocs", "build")
    assert status != 0
    assert f"figures/two.py:{RAISES}: RuntimeError: no bars today (figure 'two', on docs/two.md:5)" in said
    assert said.count("no bars today") == 1
    assert "Traceback" not in said
    assert site(root) == site(sound)  # the one of before
    others = {name: digest for name, digest in assets(sound).items() if not name.startswith("figures/two/")}
    assert assets(root).items() >= others.items()
    (root / "figures" / "two.py").write_text(FIGURE)
    assert run(root, "moedocs", "build")[0] == 0
    assert assets(root) == assets(sound)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def serving(root: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`mkdocs serve` in that copy: its address; stopped at the end with all that it started."""
    address = f"127.0.0.1:{free_port()}"
    server = start(root, "mkdocs", "serve", "--dev-addr", address)
    try:
        yield f"http://{address}/", server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.communicate()


def page_that(holds: Callable[[str], bool], address: str, server: subprocess.Popen[str]) -> str:
    """The page as soon as it holds what is waited for."""
    end, seen = time.monotonic() + PATIENCE, ""
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(address, timeout=20) as answer:  # not up yet, or it is building
            seen = str(answer.read(), "utf-8")
        if holds(seen):
            return seen
        time.sleep(0.2)
    raise AssertionError(f"{address} never came; the last seen:\n{seen}\nserver ended: {server.poll()}")


def test_serve_shows_the_reason_in_the_place_of_a_figure_that_raises_and_the_figure_once_it_is_mended(
    root: Path,
) -> None:
    (root / "figures" / "two.py").write_text(BROKEN)  # it was built before: the old picture must not pass for the new
    with serving(root) as (address, server):
        page = page_that(lambda text: "moe-error" in text, f"{address}two/", server)
        assert f"figures/two.py:{RAISES}: RuntimeError: no bars today" in page
        assert '<moe-figure id="two"' not in page
        assert '<moe-figure id="cost"' in page_that(bool, address, server)
        (root / "figures" / "two.py").write_text(FIGURE)
        mended = page_that(lambda text: '<moe-figure id="two"' in text, f"{address}two/", server)
        assert "moe-error" not in mended


@pytest.mark.parametrize("seed", range(4))
def test_a_build_killed_at_any_moment_leaves_the_next_one_right(seed: int, root: Path, sound: Path) -> None:
    """Half of the kills strike at a random time, half when a random number of figures' files is there."""
    chance, folder = random.Random(seed), unbuilt(root) / "docs" / "assets" / "figures"
    process = start(root, "mkdocs", "build")
    if seed % 2:
        enough = chance.randrange(1, 20)
        while process.poll() is None and len(list(folder.rglob("*"))) < enough:
            time.sleep(0.001)
    else:
        time.sleep(chance.uniform(0.5, 5))
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert run(root, "mkdocs", "build")[0] == 0
    assert assets(root) == assets(sound)
    assert site(root) == site(sound)


def test_builds_at_once_all_succeed_and_make_what_one_makes(root: Path, sound: Path) -> None:
    unbuilt(root)
    folders = ("site", "site", "elsewhere/site")  # two of them write one folder
    together = [start(root, "mkdocs", "build", "--site-dir", folder) for folder in folders]
    told = [process.communicate()[0] for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], told
    assert assets(root) == assets(sound)
    assert site(root) == site(root / "elsewhere") == site(sound)


def test_a_figure_that_was_renamed_is_no_longer_published_under_its_old_name(root: Path) -> None:
    (root / "figures" / "two.py").rename(root / "figures" / "three.py")
    page = root / "docs" / "two.md"
    page.write_text(page.read_text("utf-8").replace("{{ figure two }}", "{{ figure three }}"))
    assert run(root, "moedocs", "build")[0] == 0
    assert {folder.name for folder in (root / "docs" / "assets" / "figures").iterdir()} == {
        "collapse-lab",
        "cost",
        "three",
    }


def test_a_build_waits_for_another_that_makes_the_figures_and_says_so(root: Path) -> None:
    with FileLock(unbuilt(root) / ".cache" / "build.lock"):
        second = start(root, "moedocs", "build")
        assert second.stdout is not None
        assert second.stdout.readline() == "figures: another process is at it; waiting for it\n"
        assert not (root / "docs" / "assets" / "figures").exists()
    second.communicate()
    assert second.returncode == 0
    assert len(list((root / "docs" / "assets" / "figures").iterdir())) == 3


def test_a_damaged_record_is_refused_in_one_line_that_names_the_command(root: Path, sound: Path) -> None:
    record = root / "figures" / "records" / "balance.json"
    whole = record.read_bytes()
    record.write_bytes(whole.replace(b"0.1", b"0.2", 1))
    status, said = run(root, "moedocs", "build")
    lines = [line for line in said.splitlines() if "balance" in line and "figure/s" not in line]
    assert status == 1
    reason = r"figures/records/balance\.json: damaged, .*recompute it with: python -m moedocs lab run balance"
    figure, *claims, value = lines
    assert all(re.search(rf"{reason}", line) for line in claims), claims
    assert re.fullmatch(
        rf"figures/collapse_lab\.py:\d+: {reason} \(figure 'collapse-lab', on docs/training\.md:3\)", figure
    )
    assert re.fullmatch(rf"docs/training\.md:5: {reason}", value)
    record.write_bytes(whole)
    assert run(root, "moedocs", "build")[0] == 0
    assert assets(root) == assets(sound)


def test_a_record_is_refused_once_the_code_that_made_it_has_changed_though_its_figure_is_built(root: Path) -> None:
    changed = root / "moedocs" / "engine" / "token_choice.py"
    changed.write_text(changed.read_text("utf-8") + "\nLATER = 1\n")
    status, said = run(root, "moedocs", "build")
    assert status == 1
    assert re.search(r"figures/collapse_lab\.py:\d+: figures/records/balance\.json: stale, .*lab run balance", said)
    assert "figures/cost.py" not in said


WRONG = {
    "raises in data()": (BROKEN, rf"figures/wrong\.py:{RAISES}: RuntimeError: no bars today"),
    "raises in chart()": (
        FIGURE.replace('colour("active")', 'colour("gate")'),
        r"figures/wrong\.py:21: KeyError: \"no colour named 'gate'; there are: .*",
    ),
    "fits no schema": (
        FIGURE.replace("height=120", 'height="tall"'),
        r"figures/wrong\.py:22: ValidationError: 'tall' is not of type 'number'.*",
    ),
    "is no Python": (FIGURE.replace("def data()", "def data("), r"figures/wrong\.py:12: SyntaxError: .*"),
    "imports what is not there": (
        FIGURE.replace("import altair", "import altairs"),
        r"figures/wrong\.py:3: ModuleNotFoundError: No module named 'altairs'",
    ),
    "lacks a part": (
        FIGURE.replace("def words", "def word"),
        r"figures/wrong\.py:1: wrong\.py lacks words: a figure has title, badge, data\(\), words\(\) and chart\(\)",
    ),
    "has another badge": (
        FIGURE.replace('"formula"', '"guess"'),
        r"figures/wrong\.py:1: wrong\.py: badge 'guess' must be one of formula, simulation, trained model, cited",
    ),
    "gives no rows": (
        re.sub(r"return \[.*\]", "return []", FIGURE),
        r"figures/wrong\.py:1: data\(\) gave no rows",
    ),
    "says nothing": (
        FIGURE.replace('"The second bar is taller."', '" "'),
        r"figures/wrong\.py:1: words\(\) must give a caption and a description: .*",
    ),
    "reads a record that is not there": (
        FIGURE.replace("badge =", 'records = ("nonsense",)\nbadge =', 1),
        r"figures/wrong\.py:1: .*nonsense.*",
    ),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_figure_that_cannot_be_made_is_told_in_one_line_and_keeps_what_was_there(how: str, tmp_path: Path) -> None:
    source, message = WRONG[how]
    root = copies.small_root(tmp_path, wrong=FIGURE)
    path, folder = root / "figures" / "wrong.py", root / "docs"
    assert figures.build("wrong", path, folder, root) is None
    before = hashes(folder)
    path.write_text(source)
    assert figures.out_of_date((), folder, root) == {"wrong": path}
    failure = figures.build("wrong", path, folder, root)
    assert failure is not None
    assert re.fullmatch(message, failure.message), failure.message
    assert hashes(folder).items() > before.items()
    with pytest.raises(FigureError, match=re.escape(failure.message)):
        figures.page("wrong", folder, root)
    path.write_text(FIGURE)
    assert figures.out_of_date((), folder, root) == {"wrong": path}
    assert figures.build("wrong", path, folder, root) is None
    assert hashes(folder) == before


CELL = 'print("two bars")\ntable = [{"bar": "mine", "height": 2.0}]\n'
WRONG_CELLS = {
    "raises": (f"{CELL}table[1]\n", r"figures/cells/small\.py:3: IndexError: .*"),
    "is no Python": (f"{CELL}table = [\n", r"figures/cells/small\.py:3: SyntaxError: .*"),
    "leaves no table": ("print(1)\n", r"figures/cells/small\.py:1: it gives its figure no rows: it assigns no `table`"),
    "leaves no rows": ("table = []\n", r"figures/cells/small\.py:1: it gives its figure no rows: it has no rows"),
}


@pytest.mark.parametrize("how", WRONG_CELLS)
def test_a_cell_that_cannot_redraw_its_figure_is_told_with_its_own_line(how: str, tmp_path: Path) -> None:
    source, message = WRONG_CELLS[how]
    root = copies.small_root(tmp_path, small=FIGURE)
    (root / "figures" / "cells" / "small.py").write_text(source)
    failure = figures.build("small", root / "figures" / "small.py", root / "docs", root)
    assert failure is not None
    assert re.fullmatch(message, failure.message), failure.message


def test_a_figure_is_made_again_when_its_cell_changes_and_left_alone_when_nothing_does(tmp_path: Path) -> None:
    root = copies.small_root(tmp_path, small=FIGURE)
    path, cell, folder = root / "figures" / "small.py", root / "figures" / "cells" / "small.py", root / "docs"
    imports = f"if False:\n    import helpful\n{CELL}"
    changes: list[Callable[[], object]] = [
        lambda: cell.write_text(CELL),
        lambda: cell.write_text(f"# Try it.\n{CELL}"),
        lambda: cell.write_text(imports),
        lambda: (root / "helpful.py").write_text("HELP = 1\n"),
        lambda: (root / "helpful.py").write_text("HELP = 2\n"),
        lambda: (root / "helpful.toml").write_text("help = 1\n"),
        lambda: (root / "helpful.toml").write_text("help = 2\n"),
        cell.unlink,
    ]
    for change in changes:
        change()
        assert figures.out_of_date((), folder, root) == {"small": path}
        assert figures.build("small", path, folder, root) is None
        assert figures.out_of_date((), folder, root) == {}


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("wide.svg", damage),
        ("small.csv", Path.unlink),
        ("page.json", damage),
        ("manifest.json", damage),
        ("manifest.json", Path.unlink),
        ("manifest.json", lambda path: path.write_text("[]")),
        ("manifest.json", lambda path: path.write_text('{"inputs": "", "outputs": {}}')),
        (".wide.svg.x1y2z3", lambda path: path.write_text("left by a kill")),
        ("old.svg", lambda path: path.write_text("left by older code")),
    ],
)
def test_a_damaged_lost_or_stray_file_of_a_figure_is_put_right(
    name: str, harm: Callable[[Path], object], tmp_path: Path
) -> None:
    root = copies.small_root(tmp_path, small=FIGURE)
    path, folder = root / "figures" / "small.py", root / "docs"
    assert figures.build("small", path, folder, root) is None
    before = hashes(folder)
    harm(folder / "small" / name)
    assert figures.out_of_date((), folder, root) == {"small": path}
    assert figures.build("small", path, folder, root) is None
    assert hashes(folder) == before


def test_a_figure_that_is_not_there_is_refused_with_a_list(root: Path) -> None:
    status, said = run(root, "moedocs", "build", "nonsense")
    assert (status, said) == (2, "moedocs: unknown figure 'nonsense'; there are: collapse-lab, cost, two\n")
