"""`moedocs lab`: what it lists and shows, what it refuses in one line, and a run on a reader's own text."""

import subprocess
import sys
from pathlib import Path

import pytest

from moedocs.cli import main
from moedocs.lab import experiments, records, scale
from moedocs.lab.fingerprint import ROOT
from tests.lab import tiny
from tests.lab.test_sweep import texts

NAME = tiny.__name__


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Exit status, and what stands on both outputs."""
    try:
        status: object = main(arguments)
    except SystemExit as stop:
        status = stop.code
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def run_words(folder: Path, *words: str) -> list[str]:
    places = ["--records", str(folder / "records"), "--store", str(folder / "store")]
    return ["lab", "run", NAME, "--jobs", "1", *places, *words]


# an experiment elsewhere


def test_an_experiment_elsewhere_is_run_shown_and_checked_by_its_dotted_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ["--records", str(tmp_path / "records")]
    status, out, err = said(run_words(tmp_path), capsys)
    assert status == 0
    assert out == (
        f"{NAME}: was missing; written to {tmp_path}/records/{NAME}.json: 3 trainings, "
        f"{records.load(NAME, tmp_path / 'records').made['cpu_seconds']} CPU seconds\n"
    )
    assert err.count("60/60") == 1
    assert said(run_words(tmp_path), capsys) == (0, f"{NAME}: up to date\n", "")
    status, out, _ = said(["lab", "show", NAME, *kept], capsys)
    assert status == 0
    assert out.startswith(f"{NAME}: Three trainings of a second, for tests: dense, with experts, with depth.\n")
    status, out, _ = said(["lab", "check", NAME, *kept], capsys)
    assert status == 0
    assert out.count("agrees") == out.count("\n") == 3


def test_a_run_that_is_forced_trains_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(run_words(tmp_path), capsys)
    status, out, err = said(run_words(tmp_path, "--force"), capsys)
    assert status == 0
    assert "was up to date; written to" in out
    assert "60/60" in err


def test_show_tells_what_tuning_tried_and_which_rate_was_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tuned(tmp_path)
    status, out, _ = said(["lab", "show", record.name, "--records", str(tmp_path)], capsys)
    assert status == 0
    assert "rate         dense 0.004 (loss at 0.002: 2.75, 0.004: 2.5, 1e+30: failed)\n" in out
    assert "made         torch 2.13.0, a CPU, 1,234 CPU seconds\n" in out
    assert "text         prose: 1,200 bytes, from your folder\n" in out


def tuned(folder: Path) -> records.Record:
    record = records.Record(
        name="tests.lab.tiny_tuned",
        fingerprint="0" * 16,
        settings={"shared": {}, "runs": {"dense/0": {}}},
        made={"torch": "2.13.0", "machine": "a CPU", "cpu_seconds": 1234, "trainings": 4},
        corpora={"prose": {"name": "prose", "wheels": [], "train_bytes": 1200}},
        first_losses={"dense/0": [5.5]},
        results={"summary": {"dense": 2.5}},
        learning_rates={"dense": 0.004},
        tuning={"dense": {"0.002": 2.75, "0.004": 2.5, "1e+30": None}},
    )
    records.save(record, folder)
    return record


# a reader's own text


def test_a_run_on_ones_own_text_leaves_a_record_that_says_so_and_can_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts(tmp_path / "mine", {"prose": "the river runs to the sea and ", "sums": "12 + 30 = 42; "})
    status, out, _ = said(run_words(tmp_path, "--text", str(tmp_path / "mine")), capsys)
    assert status == 0
    assert "3 trainings" in out
    kept = ["--records", str(tmp_path / "records")]
    assert "text         prose: " in said(["lab", "show", NAME, *kept], capsys)[1]
    status, out, _ = said(["lab", "check", NAME, *kept], capsys)
    assert (status, out.count("agrees")) == (0, 3)


# what is refused


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["lab", "run", "nonsense"], "no experiment is called 'nonsense'; there are: balance, "),
        (["lab", "run", "tests.lab.nonsense"], "no experiment is called 'tests.lab.nonsense'"),
        (["lab", "run", "../balance"], "no experiment is called '../balance'"),
        (["lab", "show", "..balance"], "no experiment is called '..balance'"),
        (["lab", "show", ""], "no experiment is called ''"),
        (["lab", "run", NAME, "--jobs", "0"], "'0' is not a number of trainings, at least 1"),
        (["lab", "run", NAME, "--jobs", "-1"], "--jobs"),
        (["lab", "run", NAME, "--text", "somewhere"], "name a folder for them with --records"),
        (["lab", "run", NAME, "--scale", "large"], "name a folder for them with --records"),
        (["lab", "run", NAME, "--dry-run", "--device", "abacus"], "device='abacus' must be one of A100"),
        (["lab", "show", NAME, "--records", "/nowhere"], "there is no such record; compute it with: python -m moedocs"),
        (["lab", "check", NAME, "--records", "/nowhere"], "there is no such record"),
    ],
)
def test_what_makes_no_sense_is_one_line(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(words, capsys)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert reason in err


@pytest.mark.parametrize("words", [["lab", "run", NAME, "--jobs", "1"], ["lab", "show", NAME], ["lab", "check", NAME]])
def test_records_that_are_said_to_lie_in_a_file_are_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    status, out, err = said([*words, "--records", str(tmp_path / "file")], capsys)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert str(tmp_path / "file") in err


@pytest.mark.parametrize(
    ("text", "reason"), [("nowhere", "there is no such folder"), ("file", "not a folder"), ("empty", "no text file")]
)
def test_a_text_that_is_none_is_one_line(
    text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    status, out, err = said(run_words(tmp_path, "--text", str(tmp_path / text)), capsys)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert reason in err


def test_a_damaged_record_is_computed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(run_words(tmp_path), capsys)
    path = records.path_of(NAME, tmp_path / "records")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"0.25", b"0.75", 1))
    status, out, _ = said(run_words(tmp_path), capsys)
    assert status == 0
    assert "was damaged; written to" in out
    assert path.read_bytes() == whole


# speed

LIST = """
import resource, sys
from moedocs.cli import main
main(["lab", "list"])
assert "torch" not in sys.modules
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, file=sys.stderr)
"""


def test_all_records_are_listed_within_a_second_of_computing_and_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", LIST], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == experiments.names()
    assert (
        len({line.index(experiments.title(name)) for line, name in zip(lines, experiments.names(), strict=True)}) == 1
    )
    assert float(done.stderr) < 2


def test_help_names_every_choice(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = said(["lab", "run", "--help"], capsys)
    assert status == 0
    for word in ("all", "dotted name", "--force", "--jobs N", "--dask ADDRESS", "--text FOLDER", "--store FOLDER"):
        assert word in out


def test_a_dry_run_trains_nothing_and_says_what_every_experiment_would_take(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = said(["lab", "run", "one-token", "--scale", "large", "--dry-run", "--devices", "8"], capsys)
    assert status == 0
    assert out.count("experts-") == 3
    assert out.rstrip().endswith("hours of one H100 at 20% of its peak in bf16")


def test_a_large_run_goes_the_same_way_by_the_loop_of_several_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scale.SCALES, "large", scale.SCALES["small"])  # hours otherwise
    texts(tmp_path / "mine", {"prose": "the river runs to the sea and ", "sums": "12 + 30 = 42; "})
    words = ["--text", str(tmp_path / "mine")]
    status, out, _ = said(run_words(tmp_path, "--scale", "large", *words), capsys)
    assert (status, "3 trainings" in out) == (0, True)
    large = records.load(NAME, tmp_path / "records")
    assert large.made["machine"] == "1 x cpu"
    said(run_words(tmp_path / "small", *words), capsys)
    small = records.load(NAME, tmp_path / "small" / "records")
    assert large.settings == small.settings
    for key, losses in small.first_losses.items():
        assert large.first_losses[key] == pytest.approx(losses, rel=1e-4)


def test_a_large_run_on_the_small_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = said(["lab", "run", "one-token", "--scale", "large", "--records", str(tmp_path)], capsys)
    assert status
    assert "give more text with --text FOLDER" in err
    assert not list(tmp_path.glob("*.json"))
