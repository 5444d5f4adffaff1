"""Records: whole or not at all, refused when damaged or of other code, readable in a diff."""

import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from moedocs.lab import experiments, records, sweep
from moedocs.lab.fingerprint import ROOT, fingerprint
from moedocs.lab.rounding import significant

SMALL = records.Record(
    name="small",
    fingerprint="0123456789abcdef",
    settings={"shared": {"model.d_model": 64}, "runs": {"a": {}}},
    made={"torch": "2.13.0", "cpu_seconds": 12},
    corpora={},
    first_losses={"a": [5.5, 5.25]},
    results={"share": [[[0.5, 0.25], [0.125, 0.125]]], "text": "лозинка", "summary": {}},
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = records.save(SMALL, tmp_path)
    assert records.load("small", tmp_path, stale=True) == SMALL
    assert '"share": [\n' in path.read_text("utf-8")
    assert "[0.5, 0.25]" in path.read_text("utf-8")
    assert os.listdir(tmp_path) == ["small.json"]


def test_any_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = records.save(SMALL, tmp_path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(records.RecordError, match=r"^\S+small\.json: damaged.*python -m moedocs lab run small$"):
            records.load("small", tmp_path, stale=True)


def test_a_record_cut_short_or_absent_is_refused(tmp_path: Path) -> None:
    path = records.save(SMALL, tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(records.RecordError, match="damaged"):
        records.load("small", tmp_path, stale=True)
    path.unlink()
    with pytest.raises(records.RecordError, match="there is no such record; compute it with"):
        records.load("small", tmp_path, stale=True)


def test_a_record_of_other_code_is_stale(tmp_path: Path) -> None:
    name = "tests.lab.tiny"
    now = replace(SMALL, name=name, fingerprint=fingerprint(name))
    records.save(now, tmp_path)
    assert records.load(name, tmp_path) == now
    records.save(replace(now, fingerprint="0" * 16), tmp_path)
    with pytest.raises(records.RecordError, match=r"stale.*python -m moedocs lab run tests\.lab\.tiny$"):
        records.load(name, tmp_path)
    assert records.load(name, tmp_path, stale=True).results == now.results


def test_a_record_under_another_name_is_refused(tmp_path: Path) -> None:
    records.save(SMALL, tmp_path).rename(tmp_path / "large.json")
    with pytest.raises(records.RecordError, match=r"large\.json: damaged"):
        records.load("large", tmp_path, stale=True)


def test_what_tuning_found_is_kept_with_the_rates_that_failed(tmp_path: Path) -> None:
    tuned = replace(SMALL, learning_rates={"a": 0.004}, tuning={"a": {"0.004": 2.5, "1e+30": None}})
    path = records.save(tuned, tmp_path)
    assert records.load("small", tmp_path, stale=True) == tuned
    assert '"1e+30": null' in path.read_text("utf-8")


def test_numbers_are_rounded_to_what_is_significant_at_any_depth() -> None:
    assert significant({"a": [0.123456, (123456.0, 7)], "b": True}, 3) == {
        "a": [0.123, [123000.0, 7]],
        "b": True,
    }


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from moedocs.lab import records
record = records.load("small", Path(sys.argv[1]), stale=True)
print("ready", flush=True)
for number in range(10**9):
    records.save(replace(record, results={"numbers": [number] * 20_000}), Path(sys.argv[1]))
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_record(tmp_path: Path) -> None:
    records.save(SMALL, tmp_path)
    chance = random.Random(0)
    for _ in range(12):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, 0.1))
            writer.kill()
        assert records.load("small", tmp_path, stale=True).name == "small"


def test_a_record_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(records.RecordError, match=r"small\.json: cannot be written"):
        records.save(SMALL, tmp_path / "file")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_what_json_cannot_hold_is_one_line_and_leaves_the_old_record(tmp_path: Path, value: object) -> None:
    records.save(SMALL, tmp_path)
    with pytest.raises(records.RecordError, match=r"^\S+small\.json: cannot hold what was found \(.+\)$"):
        records.save(replace(SMALL, results={"a": [value]}), tmp_path)
    assert records.load("small", tmp_path, stale=True) == SMALL
    assert os.listdir(tmp_path) == ["small.json"]


def test_only_what_writers_of_this_record_left_is_tidied_away(tmp_path: Path) -> None:
    for name in (".small-abcdefgh.tmp", ".smaller-abcdefgh.tmp", "small.json", "small.lock"):
        (tmp_path / name).write_text("")
    records.tidy("small", tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".smaller-abcdefgh.tmp", "small.json", "small.lock"]


# the committed ones


def test_what_one_reader_does_to_a_record_no_other_sees() -> None:
    name = experiments.names()[0]
    records.load(name).results.clear()
    assert records.load(name).results


@pytest.mark.parametrize("name", experiments.names())
def test_the_committed_record_is_whole_and_of_todays_code(name: str) -> None:
    record = records.load(name)
    assert records.dumps(record) == records.path_of(name).read_text("utf-8")


@pytest.mark.parametrize("name", experiments.names())
def test_the_first_steps_of_the_committed_record_come_out_again(name: str) -> None:
    checks = list(sweep.check(name))
    assert checks
    assert all(one.agrees for one in checks), checks
