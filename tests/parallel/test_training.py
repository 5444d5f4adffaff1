"""Two processes train what one does, from one checkpoint to the next, and a sweep can lead them."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from moedocs.lab.large import LargeTraining, large_store, trained
from moedocs.lab.looks import unpacked
from moedocs.lab.training import Trained, train
from moedocs.parallel import Channel, ParallelError, World
from tests.parallel import conducting, training_worker
from tests.parallel.processes import ROOT, ended, environment, start
from tests.parallel.training_worker import BROKEN_OFF, RUNS, STEPS, WILD

RELATIVE = 2e-5  # of a loss after some steps: each step turns the last bits of the one before into more


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two ranks have left what they found; they were given a checkpoint of one process."""
    folder = tmp_path_factory.mktemp("trainings")
    training = LargeTraining(RUNS["experts"], World(), Channel(World()))
    for _ in range(BROKEN_OFF):
        training.advance()
    torch.save(training.state(), folder / "alone.pt")
    worlds = start(["-m", "tests.parallel.training_worker", str(folder)])
    [said] = ended([worlds])
    assert worlds.returncode == 0, said
    return folder


@pytest.fixture
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@cache
def alone(name: str) -> Trained:
    """What the small lab makes of the run."""
    return train(RUNS[name])


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_go_down_the_losses_of_one(name: str, ranks: list[dict[str, Any]]) -> None:
    expected = alone(name)
    for found in ranks:
        assert found[name]["losses"] == pytest.approx(expected.losses, rel=RELATIVE)
        assert found[name]["balancing"] == pytest.approx(expected.balancing, rel=RELATIVE)
        for key, weight in expected.model.state_dict().items():
            torch.testing.assert_close(found[name]["weights"][key], weight, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", RUNS)
def test_the_looks_of_rank_0_are_those_of_one_process(name: str, ranks: list[dict[str, Any]]) -> None:
    first, others = ranks[0][name]["looks"], ranks[1][name]["looks"]
    assert len(first) == 2
    assert not others
    for found, expected in zip(map(unpacked, first), alone(name).looks, strict=True):
        assert found.step == expected.step
        assert found.validation_loss == pytest.approx(expected.validation_loss, rel=RELATIVE)


@pytest.mark.parametrize("name", RUNS)
def test_one_process_does_a_large_run_too(name: str) -> None:
    found, expected = trained(RUNS[name], World(), Channel(World())), alone(name)
    assert found["losses"] == pytest.approx(expected.losses, rel=RELATIVE)
    assert [unpacked(one).validation_loss for one in found["looks"]] == pytest.approx(
        [one.validation_loss for one in expected.looks], rel=RELATIVE
    )


def test_one_process_goes_on_where_two_were_and_two_where_one_was(ranks: list[dict[str, Any]]) -> None:
    expected = pytest.approx(alone("experts").losses, rel=RELATIVE)
    training = LargeTraining(RUNS["experts"], World(), Channel(World()))
    training.resume(ranks[0]["begun"])
    assert training.step == BROKEN_OFF
    while training.step < STEPS:
        training.advance()
    assert training.losses == expected
    assert all(found["resumed"] == expected for found in ranks)


def test_a_world_that_lost_a_process_says_so_and_goes_on_from_its_checkpoint(folder: Path) -> None:
    assert (folder / "said").read_text().startswith("process 0 of 2: another one is gone or does not answer")
    for rank in range(2):
        after = torch.load(folder / f"{rank}.after.pt")
        assert after["steps"] == [2, 3, 4, 5]
        assert after["losses"] == pytest.approx(alone("experts").losses, rel=RELATIVE)


def test_a_training_that_leaves_the_finite_numbers_stops_on_all_ranks_at_one_step(ranks: list[dict[str, Any]]) -> None:
    for name in WILD:
        one, other = (found["wild"][name]["failure"] for found in ranks)
        assert one.split(":")[0] == other.split(":")[0]
        assert one.startswith("training stopped at step ")


def test_torchrun_starts_processes_that_a_sweep_leads(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "tests.parallel.conducting", str(tmp_path)]
    clean = {name: value for name, value in environment(0, 1, 0).items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    [said] = ended([done])
    assert done.returncode == 0, said
    store = large_store(tmp_path)
    loss = store.contents(conducting.NAMED["experts"])["losses"]
    assert loss == pytest.approx(alone("experts").losses, rel=RELATIVE)
    assert "failure" in store.contents(conducting.NAMED["wild"])
    assert "rank 1: None" in said
    assert "'wild': None" in said
    assert "said: a run of 128,000,000,000 bytes would read" in said
    assert "rank 1 goes home" in said


def test_a_step_that_cannot_be_divided_among_the_processes_is_refused() -> None:
    with pytest.raises(ParallelError, match=r"^4 sequences of a step cannot be divided among 3 processes$"):
        LargeTraining(training_worker.RUNS["dense"], World(0, 3), Channel(World()))
