"""Corpora, trainings, records and the code's fingerprint: what they promise, and that each breach is noticed."""

import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from moedocs.lab import corpora, experiments, fingerprint, records, sweep, training
from moedocs.lab.experiments import balance, one_token
from moedocs.problem import Problem

ROOT = Path(__file__).parent.parent
FIRST = balance.RUNS["none/0"]

SMALL = records.Record(
    name="small",
    fingerprint="0123456789abcdef",
    settings={"shared": {"model.d_model": 64}, "runs": {"a": {}}},
    made={"torch": "2.13.0", "cpu_seconds": 12},
    corpora={},
    first_losses={"a": [5.5, 5.25]},
    results={"share": [[[0.5, 0.25], [0.125, 0.125]]], "text": "лозинка", "summary": {}},
)


# trainings


def test_two_runs_of_one_seed_are_equal_to_the_last_bit() -> None:
    run = balance.RUNS["bias/1"]
    one, two = training.train(run, steps=4), training.train(run, steps=4)
    assert one.losses == two.losses
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, two.model.state_dict()[name]), name


def test_a_run_does_not_depend_on_the_threads_it_finds_and_leaves_them_alone() -> None:
    before = torch.get_num_threads()
    losses = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            losses.append(training.train(FIRST, steps=3).losses)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert losses[0] == losses[1]


def test_arms_of_one_seed_start_from_the_same_weights_and_text() -> None:
    assert len({training.train(balance.RUNS[f"{arm}/2"], steps=1).losses[0] for arm in balance.ARMS}) == 1


def test_a_training_learns_and_the_rules_balance() -> None:
    looks = {}
    for arm in ("none", "bias"):
        run = balance.RUNS[f"{arm}/0"]
        run = replace(run, training=replace(run.training, steps=40), look_at=(0, 40))
        looks[arm] = training.train(run).looks
    for first, last in looks.values():
        assert last.validation_loss < first.validation_loss / 2
        assert all(sum(share_E) == pytest.approx(1) for share_E in last.share_LE)
    assert _largest(looks["bias"][1]) < _largest(looks["none"][1])


def _largest(look: training.Look) -> float:
    return sum(max(share_E) for share_E in look.share_LE)


def test_a_training_that_leaves_the_finite_numbers_stops_and_names_the_step() -> None:
    wild = replace(FIRST, training=replace(FIRST.training, learning_rate=1e30))
    with pytest.raises(training.TrainingError, match=r"^training stopped at step [1-9]: .*(nan|inf)"):
        training.train(wild, steps=9)


# records


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


def test_the_check_tells_one_seed_from_another_and_one_arm_from_another() -> None:
    losses = training.train(FIRST, steps=sweep.FIRST_STEPS).losses
    assert sweep.difference(FIRST, losses) == 0
    for other in ("none/1", "auxiliary/0", "bias/0"):
        assert sweep.difference(balance.RUNS[other], losses) > 2 * sweep.TOLERANCE, other


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
    records.save(replace(records.load("balance"), fingerprint="0" * 16), tmp_path)
    with pytest.raises(records.RecordError, match=r"stale.*python -m moedocs lab run balance$"):
        records.load("balance", tmp_path)


def test_numbers_are_rounded_to_what_is_significant_at_any_depth() -> None:
    assert records.significant({"a": [0.123456, (123456.0, 7)], "b": True}, 3) == {
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


# from an experiment to its record


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one-token experiment with one model and seven steps instead of its thousands."""
    run = one_token.RUNS["experts-8"]
    run = replace(run, training=replace(run.training, steps=7, warmup_steps=0), look_at=(0, 7))
    monkeypatch.setattr(one_token, "RUNS", {"experts-8": run})


@pytest.mark.usefixtures("short")
def test_an_experiment_run_twice_leaves_the_same_record_but_for_the_time_it_took(tmp_path: Path) -> None:
    one = sweep.run("one-token", tmp_path / "one", jobs=1)
    two = sweep.run("one-token", tmp_path / "two", jobs=1)
    made = one.made | {"cpu_seconds": 0}
    assert replace(one, made=made) == replace(two, made=two.made | {"cpu_seconds": 0})
    assert records.load("one-token", tmp_path / "one") == one
    assert [check.agrees for check in sweep.check("one-token", tmp_path / "one")] == [True]


@pytest.mark.usefixtures("short")
def test_a_record_whose_numbers_are_of_another_seed_fails_the_check(tmp_path: Path) -> None:
    record = sweep.run("one-token", tmp_path, jobs=1)
    run = one_token.RUNS["experts-8"]
    other = training.train(replace(run, training=replace(run.training, seed=1)), steps=sweep.FIRST_STEPS).losses
    records.save(replace(record, first_losses={"experts-8": other}), tmp_path)
    assert [check.agrees for check in sweep.check("one-token", tmp_path)] == [False]


def test_a_second_start_on_the_same_record_is_refused(tmp_path: Path) -> None:
    with FileLock(tmp_path / "balance.lock"), pytest.raises(Problem, match="being computed by another process"):
        sweep.run("balance", tmp_path)
    assert not records.path_of("balance", tmp_path).exists()


@pytest.mark.parametrize("num_experts", one_token.NUM_EXPERTS)
def test_the_recorded_traces_are_what_the_layer_computes(num_experts: int) -> None:
    results = records.load("one-token").results
    traces = results["models"][f"experts-{num_experts}"]["traces"]
    assert len(traces) == len(results["tokens"]) == len(one_token.PLACES)
    for trace in traces:
        outputs_ED, weights_E = torch.tensor(trace["expert_outputs"]), torch.tensor(trace["weights"])
        logits_E = torch.tensor(trace["logits"])
        assert len(outputs_ED) == len(logits_E) == num_experts
        assert logits_E.topk(2).indices.tolist() == trace["chosen"]
        assert set(weights_E.nonzero().flatten().tolist()) == set(trace["chosen"])
        close(torch.tensor(trace["probabilities"]), logits_E.softmax(0))
        close(weights_E[trace["chosen"]], logits_E[trace["chosen"]].softmax(0))
        close(torch.tensor(trace["residual"]) + weights_E @ outputs_ED, torch.tensor(trace["output"]))


def test_the_recorded_tokens_stand_where_the_record_says() -> None:
    for token, place in zip(records.load("one-token").results["tokens"], one_token.PLACES, strict=True):
        assert token["token"].encode()[-1] == token["byte"]
        assert (token["before"] + token["token"]).endswith(place.phrase)
        assert token["before"] + token["token"] + token["after"] in corpora.text(place.domain).validation.decode()


def test_the_models_of_one_token_differ_in_the_number_of_experts_alone() -> None:
    apart = records.load("one-token").settings["runs"]
    assert apart == {f"experts-{n}": {"model.routing.num_experts": n} for n in one_token.NUM_EXPERTS}


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for the rounding of the record to four digits."""
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_the_summary_of_the_arms_is_the_end_of_their_curves() -> None:
    results = records.load("balance").results
    for arm, summary in results["summary"].items():
        for name, spread in summary.items():
            ends = [run[name][-1] for run in results["arms"][arm]]
            assert [spread["least"], spread["most"]] == [min(ends), max(ends)]
            assert spread["mean"] == pytest.approx(sum(ends) / len(ends), rel=1e-3)
        for run in results["arms"][arm]:
            largest = [sum(max(share_E) for share_E in share_LE) / len(share_LE) for share_LE in run["share"]]
            assert run["largest_share"] == pytest.approx(largest, rel=1e-3)


# the fingerprint

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


def test_a_record_depends_on_engine_and_training_and_not_on_how_records_are_kept() -> None:
    for name in experiments.names():
        files = {path.relative_to(ROOT).as_posix() for path in fingerprint.closure(records.module_of(name))}
        assert {"moedocs/config/model.py", "moedocs/engine/token_choice.py", "moedocs/lab/training.py"} < files
        assert not {"moedocs/lab/records.py", "moedocs/lab/sweep.py", "moedocs/cli.py", "moedocs/__init__.py"} & files
