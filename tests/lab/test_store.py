"""Trainings kept by what they are: done once, found bit for bit, never read half-written, taken up where they were."""

import os
import random
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from moedocs.lab import store as stores
from moedocs.lab.fingerprint import ROOT
from moedocs.lab.store import Store
from moedocs.lab.training import Run, Training, TrainingError
from moedocs.problem import Problem
from tests.lab import tiny
from tests.lab.test_training import same

RUN = replace(tiny.RUNS["experts"], training=tiny.training(steps=6), look_at=(0, 6))
WILD = replace(RUN, training=tiny.training(1e30, steps=6))


def kept(store: Store, run: Run = RUN) -> dict[str, Any]:
    return store.contents(run) | {"cpu_seconds": 0}


def steps_of(store: Store, run: Run = RUN) -> list[int]:
    """What a training says of its progress."""
    told: list[int] = []
    store.train(run, on_step=told.append)
    return told


# once


def test_a_training_is_done_once_and_found_again_to_the_last_bit(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.holds(RUN)
    assert store.get(RUN) is None
    assert steps_of(store) == [0, 1, 2, 3, 4, 5, 6]
    before = kept(store)
    assert steps_of(store) == [6]
    assert same(kept(store), before)
    assert same(kept(store), before)
    once = Training(RUN)
    while once.step < 6:
        once.advance()
    done, found = once.finish(), store.get(RUN)
    assert found is not None
    assert (found.run, found.losses, found.balancing) == (RUN, done.losses, done.balancing)
    assert same(found.model.state_dict(), done.model.state_dict())
    assert not found.model.training


def test_whatever_differs_in_the_description_is_another_training(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.train(RUN)
    others = [
        replace(RUN, training=replace(RUN.training, seed=1)),
        replace(RUN, training=replace(RUN.training, learning_rate=RUN.training.learning_rate * (1 + 1e-15))),
        replace(RUN, look_at=(6,)),
        replace(RUN, pieces=2),
        replace(RUN, domains=RUN.domains[::-1]),
    ]
    assert not any(store.holds(other) for other in others)
    assert len({stores.key(one) for one in [RUN, *others]}) == 6


def test_two_that_want_the_same_training_at_once_do_it_once(tmp_path: Path) -> None:
    told: list[list[int]] = [[], []]
    threads = [
        threading.Thread(target=lambda mine=mine: Store(tmp_path).train(RUN, on_step=mine.append)) for mine in told
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told, key=len) == [[6], [0, 1, 2, 3, 4, 5, 6]]


def test_a_training_that_left_the_finite_numbers_is_kept_as_that(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"^training stopped at step 1: "):
            store.train(WILD)
        with pytest.raises(TrainingError, match=r"^training stopped at step 1: "):
            store.get(WILD)
    assert store.holds(WILD)
    assert store.cpu_seconds(WILD) > 0


def test_one_whose_last_step_broke_it_is_kept_as_failed_too(tmp_path: Path) -> None:
    short = replace(WILD, training=tiny.training(1e30, steps=1), look_at=(1,))
    with pytest.raises(TrainingError, match=r"^training stopped at step 1: "):
        Store(tmp_path).train(short)
    assert Store(tmp_path).holds(short)


def test_a_training_forgotten_is_done_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.train(RUN)
    before = kept(store)
    store.forget(RUN)
    assert not store.holds(RUN)
    assert steps_of(store) == [0, 1, 2, 3, 4, 5, 6]
    assert same(kept(store), before)


# taken up


class Stopped(Exception):
    pass


def stopped_at(store: Store, step: int, run: Run = RUN) -> None:
    def on_step(done: int) -> None:
        if done == step:
            raise Stopped

    with pytest.raises(Stopped):
        store.train(run, on_step=on_step)


@pytest.mark.parametrize("step", range(7))
def test_a_training_stopped_after_any_step_goes_on_there_and_ends_the_same(tmp_path: Path, step: int) -> None:
    whole = Store(tmp_path / "whole")
    whole.train(RUN)
    store = Store(tmp_path / "stopped", save_every=0.0)
    stopped_at(store, step)
    assert not store.holds(RUN)
    assert steps_of(store) == list(range(step, 7))
    assert same(kept(store), kept(whole))
    assert not list(store.folder.glob("*.begun"))


def test_what_was_written_on_the_way_is_what_the_training_goes_on_from(tmp_path: Path) -> None:
    store = Store(tmp_path, save_every=0.0)
    stopped_at(store, 3)
    begun = stores._read(store._begun(RUN))
    assert begun is not None
    stores._write(store._begun(RUN), begun | {"losses": [1.0, 2.0, 3.0]})
    assert store.train(RUN).losses[:3] == [1.0, 2.0, 3.0]


def test_a_damaged_beginning_is_begun_again(tmp_path: Path) -> None:
    store = Store(tmp_path, save_every=0.0)
    stopped_at(store, 4)
    flip(store._begun(RUN), 1000)
    assert steps_of(store) == [0, 1, 2, 3, 4, 5, 6]


def test_nothing_is_written_on_the_way_more_often_than_said(tmp_path: Path) -> None:
    store = Store(tmp_path, save_every=3600.0)
    stopped_at(store, 4)
    assert not list(store.folder.glob("*.begun"))


# damage


def flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def test_any_flipped_bit_and_any_missing_end_is_noticed_and_the_training_done_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.train(RUN)
    path, before = store._file(RUN), kept(store)
    whole, chance = path.read_bytes(), random.Random(0)
    for place in [*range(64), len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(200))]:
        flip(path, place, chance.randrange(8))
        assert not store.holds(RUN), place
        assert store.get(RUN) is None
        path.write_bytes(whole)
    for length in [0, 1, 31, 32, 33, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(20))]:
        path.write_bytes(whole[:length])
        assert not store.holds(RUN), length
    assert steps_of(store) == [0, 1, 2, 3, 4, 5, 6]
    assert same(kept(store), before)


def test_a_training_by_another_torch_or_other_code_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).train(RUN)
    for name, value in (("torch.__version__", "2.12.1"), ("moedocs.lab.store.fingerprint", lambda module: "0" * 16)):
        with monkeypatch.context() as other:
            other.setattr(name, value)
            stores.code.cache_clear()
            assert not Store(tmp_path).holds(RUN), name
        stores.code.cache_clear()
    assert Store(tmp_path).holds(RUN)


def test_a_build_of_the_same_torch_counts_as_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    here = stores.code()
    monkeypatch.setattr(torch, "__version__", f"{torch.__version__.partition('+')[0]}+elsewhere")
    stores.code.cache_clear()
    assert stores.code() == here


def test_trainings_by_other_code_go_after_a_month_and_what_was_half_written_after_a_day(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.train(RUN)
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "a.pt").write_bytes(b"")
    torn, fresh = store.folder / "torn.tmp", store.folder / "fresh.tmp"
    for path, days in ((old, 31), (new, 29), (torn, 2), (fresh, 0.5), (store.folder, 99)):
        path.touch()
        then = path.stat().st_mtime - days * 86_400
        os.utime(path, (then, then))
    store.prune()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["new", store.folder.name])
    assert not torn.exists()
    assert fresh.exists()
    assert store.holds(RUN)


# where nothing can be written


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match=r"^\S+file\S+: trainings cannot be written there \(\w+ \w+ \w+\); make room, or"):
        Store(tmp_path / "file" / "store").train(RUN)


SCRIPT = """
import os, resource, sys
from pathlib import Path
from moedocs.lab.store import Store
from moedocs.problem import Problem
from tests.lab.test_store import RUN
store = Store(Path(sys.argv[1]), save_every=float(sys.argv[3]))
from moedocs.lab import corpora
for domain in RUN.domains:
    corpora.text(domain)
if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
elif os.geteuid() == 0:
    os.setuid(65534)
try:
    store.train(RUN)
except Problem as problem:
    print(problem)
"""


def refused(folder: Path, how: str, save_every: float) -> str:
    words = [sys.executable, "-c", SCRIPT, str(folder), how, str(save_every)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("save_every", [0.0, 3600.0])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path: Path, save_every: float) -> None:
    pytest.importorskip("resource")
    said = refused(tmp_path, "full", save_every)
    assert said.count("\n") == 1
    assert said.startswith(f"{Store(tmp_path).folder}: trainings cannot be written there (File too large); make room")
    assert {path.suffix for path in Store(tmp_path).folder.iterdir()} <= {".lock"}
    assert steps_of(Store(tmp_path)) == [0, 1, 2, 3, 4, 5, 6]


def test_a_folder_that_may_only_be_read_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    folder = tmp_path / "store"
    folder.mkdir(mode=0o555)
    for path in (*tmp_path.parents[:2], tmp_path):  # root reads it as somebody else, whom nothing keeps out but that
        path.chmod(0o755)
    said = refused(folder, "read-only", 0.0)
    assert said.count("\n") == 1
    assert "trainings cannot be written there (Permission denied); make room, or name another --store" in said
