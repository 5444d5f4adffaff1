"""From an experiment to its record: the same each time, of what was asked for, refused where it cannot be."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from moedocs.lab import records, sweep
from moedocs.lab.fingerprint import ROOT
from moedocs.lab.store import Store
from moedocs.lab.training import Run, train
from moedocs.problem import Problem
from tests.lab import tiny, tiny_tuned

TINY, TUNED = tiny.__name__, tiny_tuned.__name__


def computed(folder: Path, name: str = TINY, **given: Any) -> records.Record:
    usual: dict[str, Any] = {"jobs": 1, "store": Store(folder / "store")}
    return sweep.run(name, folder, **(usual | given))


def timeless(record: records.Record) -> str:
    """The bytes of a record of the same trainings that took no time."""
    return records.dumps(replace(record, made=record.made | {"cpu_seconds": 0}))


def states_of(store: Store) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in store.folder.glob("*.pt")}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both records and the trainings they come from."""
    folder = tmp_path_factory.mktemp("done")
    computed(folder)
    computed(folder, TUNED)
    return folder


def test_an_experiment_done_twice_leaves_the_same_bytes_but_for_the_time_it_took(done: Path, tmp_path: Path) -> None:
    for name in (TINY, TUNED):
        again = computed(tmp_path, name)
        assert timeless(records.load(name, done)) == timeless(again)
        assert records.load(name, tmp_path) == again
        assert sorted(path.name for path in tmp_path.glob(f"{name}*")) == [f"{name}.json", f"{name}.lock"]


def test_a_record_says_what_was_set_and_what_it_ran_on(done: Path) -> None:
    record = records.load(TINY, done)
    assert record.settings["shared"]["training.steps"] == tiny.STEPS
    assert record.settings["shared"]["domains"] == list(tiny.DOMAINS)
    assert record.settings["runs"]["experts"]["model.routing.num_experts"] == 4
    assert set(record.corpora) == set(tiny.DOMAINS)
    assert set(record.made) == {"torch", "machine", "cpu_seconds", "trainings"}
    assert record.made["trainings"] == 3
    assert {len(losses) for losses in record.first_losses.values()} == {sweep.FIRST_STEPS}
    assert set(record.results["arms"]) == set(tiny.RUNS)


def test_the_record_of_a_tuned_experiment_has_what_tuning_found_and_the_rates_that_failed_as_null(done: Path) -> None:
    record = records.load(TUNED, done)
    assert set(record.tuning) == set(record.learning_rates) == {"dense", "experts"}
    for arm, losses in record.tuning.items():
        assert losses["1e+30"] is None
        finite = {rate: loss for rate, loss in losses.items() if loss is not None}
        assert record.learning_rates[arm] == float(min(finite, key=lambda rate: finite[rate]))
        assert record.results["summary"][f"{arm}/0"] == min(finite.values())
    assert set(record.first_losses) == {"dense/0", "dense/1", "experts/0", "experts/1"}
    assert record.made["trainings"] == 2 * (len(record.tuning["dense"]) + 1)


def test_the_check_agrees_with_the_record_just_made(done: Path) -> None:
    for name in (TINY, TUNED):
        checks = list(sweep.check(name, done))
        assert {one.key for one in checks} == set(records.load(name, done).settings["runs"])
        assert all(one.agrees and one.difference < 1e-6 for one in checks)


def test_the_check_tells_one_seed_from_another_and_one_arm_from_another() -> None:
    losses = train(tiny.RUNS["experts"], steps=sweep.FIRST_STEPS).losses
    assert sweep.difference(tiny.RUNS["experts"], losses) == 0
    for other in (tiny.run(model=tiny.RUNS["experts"].model, training=tiny.training(seed=1)), tiny.RUNS["depth"]):
        assert sweep.difference(other, losses) > 2 * sweep.TOLERANCE


def test_the_check_finds_a_record_of_other_numbers_and_refuses_one_of_other_trainings(
    done: Path, tmp_path: Path
) -> None:
    record = records.load(TINY, done)
    losses = record.first_losses["depth"]
    other = [*losses[:3], losses[3] * (1 + 3 * sweep.TOLERANCE), *losses[4:]]
    records.save(replace(record, first_losses=record.first_losses | {"depth": other}), tmp_path)
    assert {one.key: one.agrees for one in sweep.check(TINY, tmp_path)} == {
        "dense": True,
        "experts": True,
        "depth": False,
    }
    records.save(replace(record, first_losses={"dense": losses}), tmp_path)
    with pytest.raises(
        Problem, match="is of other trainings than today's; recompute it with: python -m moedocs lab run"
    ):
        sweep.check(TINY, tmp_path)
    tuned = records.load(TUNED, done)
    records.save(replace(tuned, learning_rates={"dense": 1e-2}), tmp_path)
    with pytest.raises(Problem, match="is of other trainings than today's"):
        sweep.check(TUNED, tmp_path)


def test_what_the_store_has_is_not_trained_again(done: Path, tmp_path: Path) -> None:
    store = Store(done / "store")
    before = states_of(store)
    again = computed(tmp_path, store=store)
    assert states_of(store) == before
    assert again == records.load(TINY, done)


def test_anew_is_trained_what_the_store_has_but_nothing_twice(done: Path, tmp_path: Path) -> None:
    store, anew = Store(tmp_path / "store"), set[Run]()
    computed(tmp_path, store=store)
    first = states_of(store)
    record = computed(tmp_path, store=store, anew=anew)
    second = states_of(store)
    assert set(first.values()) & set(second.values()) == set()
    assert anew == set(tiny.RUNS.values())
    computed(tmp_path, store=store, anew=anew)
    assert states_of(store) == second
    assert timeless(record) == timeless(records.load(TINY, done))


def test_a_second_start_on_the_same_record_is_refused_and_one_after_it_is_not(done: Path, tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / f"{TINY}.lock"),
        pytest.raises(Problem, match=r"^the record tests\.lab\.tiny is being computed by another process"),
    ):
        computed(tmp_path)
    assert not records.path_of(TINY, tmp_path).exists()
    computed(tmp_path, store=Store(done / "store"))


def test_a_seed_that_leaves_the_finite_numbers_at_the_rate_of_the_first_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Problem) as raised:
        computed(tmp_path, "tests.lab.tiny_failing")
    assert str(raised.value).startswith("tests.lab.tiny_failing, dense/1: training stopped at step 1: loss ")
    assert str(raised.value).endswith(", at learning rate 1e+30; lower it")
    assert not records.path_of("tests.lab.tiny_failing", tmp_path).exists()


def test_records_cannot_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match=r"file: cannot write records here \(File exists\)$"):
        computed(tmp_path / "file", store=Store(tmp_path))


def test_what_cannot_be_kept_is_not_said_to_be_the_fault_of_the_records(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match=r"file/\w+: trainings cannot be written there \(Not a directory\); make room"):
        computed(tmp_path, store=Store(tmp_path / "file"))


def test_what_killed_writers_left_of_a_record_is_cleared_away(done: Path, tmp_path: Path) -> None:
    torn = tmp_path / f".{TINY}-abcdefgh.tmp"
    torn.write_text("{")
    computed(tmp_path, store=Store(done / "store"))
    assert not torn.exists()


def test_an_experiment_is_done_on_a_text_of_the_users(done: Path, tmp_path: Path) -> None:
    domains = texts(tmp_path, {"prose": "the river runs to the sea and ", "sums": "12 + 30 = 42; "})
    record = computed(tmp_path / "records", domains=domains)
    assert set(record.corpora) == {"prose", "sums"}
    assert record.settings["shared"]["domains"] == list(domains)
    assert record.results != records.load(TINY, done).results
    assert all(one.agrees for one in sweep.check(TINY, tmp_path / "records"))
    before = record.results
    assert computed(tmp_path / "records", domains=domains).results == before
    texts(tmp_path, {"prose": "the sea runs from the river and "})
    assert computed_afresh(tmp_path / "records", domains).results != before


def texts(folder: Path, contents: Mapping[str, str]) -> tuple[str, ...]:
    """Folders of a few files each, as a user would have them."""
    for name, words in contents.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(12):
            (folder / name / f"{number}.txt").write_text(f"{number} {words}" * 40, "utf-8")
    return tuple(f"{folder}/{name}" for name in contents)


def computed_afresh(folder: Path, domains: tuple[str, ...]) -> records.Record:
    """In a process that has not read the text before."""
    from moedocs.lab import corpora

    corpora.text.cache_clear()
    return computed(folder, domains=domains)


def test_published_records_are_not_made_with_another_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.12.1+cpu")
    with pytest.raises(
        Problem, match=r"^this is torch 2\.12\.1, .* made with 2\.13\.0: pip install torch==2\.13\.0, or"
    ):
        sweep.run("one-token")


def test_the_torch_that_records_need_is_the_one_that_is_installed() -> None:
    assert sweep.pinned_torch() == sweep.torch_version() == bootstrap_torch()


def bootstrap_torch() -> str:
    (version,) = re.findall(r'^TORCH = "(.+)"$', (ROOT / "bootstrap.py").read_text("utf-8"), re.MULTILINE)
    return str(version)
