"""The prompt: what it answers, and that wrong input is one clear line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moedocs import __version__
from moedocs.cli import main
from moedocs.lab import experiments, records

ROOT = Path(__file__).parent.parent


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-W", "error", "-m", "moedocs", *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["lab", "--help"], *(["lab", verb, "--help"] for verb in ("list", "show", "run", "check"))],
)
def test_help_is_everywhere(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("usage: moedocs")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "COMMAND"),
        (["labs"], "labs"),
        (["lab"], "COMMAND"),
        (["lab", "show"], "name"),
        (["lab", "show", "nonsense"], "no experiment is called 'nonsense'; there are: balance, "),
        (["lab", "run", "../balance"], "no experiment is called"),
        (["lab", "check", "nonsense"], "no experiment is called"),
        (["lab", "run", "all", "--jobs", "0"], "'0' is not a number of trainings"),
        (["lab", "run", "all", "--jobs", "many"], "'many' is not a number of trainings"),
        (["lab", "list", "extra"], "extra"),
        (["lab", "show", "balance", "--records", "/nowhere"], "/nowhere/balance.json: there is no such record"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status: object = main(arguments)
    except SystemExit as stop:
        status = stop.code
    printed = capsys.readouterr()
    assert status == 2
    assert printed.out == ""
    assert printed.err.startswith("moedocs")
    assert printed.err.count("\n") == 1
    assert reason in printed.err


def test_the_module_runs_without_a_warning_and_gives_its_version() -> None:
    done = command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


def test_list_names_every_experiment_with_the_state_of_its_record(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == experiments.names()
    assert all("up to date" in line for line in lines)


def test_running_everything_that_is_up_to_date_says_so_without_loading_torch() -> None:
    script = "import sys; from moedocs.cli import main; main(['lab', 'run', 'all']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{name}: up to date" for name in experiments.names()]


@pytest.mark.parametrize("name", experiments.names())
def test_show_says_what_a_record_holds(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "show", name]) == 0
    shown = capsys.readouterr().out
    record = records.load(name)
    assert record.fingerprint in shown
    assert all(key in shown for key in [*record.settings["runs"], *record.results["summary"], *record.corpora])


def test_a_damaged_record_is_listed_and_refused_and_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copy(records.path_of("balance"), tmp_path))
    damaged = copy.read_bytes().replace(b"0.1", b"0.2", 1)
    copy.write_bytes(damaged)
    assert main(["lab", "list", "--records", str(tmp_path)]) == 0
    states = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert states == {name: "damaged" if name == "balance" else "missing" for name in experiments.names()}
    assert main(["lab", "show", "balance", "--records", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert copy.read_bytes() == damaged


def test_check_fails_with_status_1_when_a_number_of_the_record_is_not_what_comes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = records.load("one-token")
    record.first_losses["experts-8"][3] *= 1.01
    records.save(record, tmp_path)
    assert main(["lab", "check", "one-token", "--records", str(tmp_path)]) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_a_reader_that_stops_reading_is_no_error() -> None:
    words = f"{sys.executable} -m moedocs lab show balance | head -1"
    done = subprocess.run(words, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
