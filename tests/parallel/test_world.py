"""Who takes part: what is said when somebody is missing, gone or impossible, and that nothing waits for ever."""

import pytest
import torch

from moedocs.config import RoutingConfig, TransformerConfig
from moedocs.parallel import ParallelError, World, at_home, divided, joined, moved
from tests.parallel import cases
from tests.parallel.processes import ended, free_port, start

JOIN = "from moedocs.parallel import *; import torch, sys"
ALONE = f"""{JOIN}
try:
    with joined(patience=2, device='cpu'):
        pass
except ParallelError as problem:
    print('said:', problem)
"""
# rank 1 leaves without a word before the sum that rank 0 waits for
LEFT = f"""{JOIN}, os
with joined(patience=5, device='cpu') as world:
    if world.rank:
        os._exit(0)
    try:
        joint_sum(torch.ones(3), world)
    except ParallelError as problem:
        print('said:', problem)
"""


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined(device="cpu") as world:
        assert world == World()
    assert not torch.distributed.is_initialized()


def test_a_peer_that_does_not_come_is_told_of_in_one_line_when_patience_ends() -> None:
    said = ended([start(["-c", ALONE], rank, 2, free_port()) for rank in range(2)])
    for rank in range(2):
        assert f"said: process {rank} of 2: the others did not come within 2 seconds" in said[rank]


def test_a_peer_that_leaves_is_told_of_in_one_line() -> None:
    port = free_port()
    said = ended([start(["-c", LEFT], rank, 2, port) for rank in range(2)])
    assert "said: process 0 of 2: another one is gone or does not answer" in said[0]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2"}, r"^RANK=2 must lie in 0\.\.1, as WORLD_SIZE=2$"),
        ({"WORLD_SIZE": "many"}, "^WORLD_SIZE='many' is not a number: start the processes with torchrun$"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "^MASTER_ADDR is not set: start the 2 processes with torchrun$"),
    ],
)
def test_an_environment_that_torchrun_does_not_make_is_refused(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ParallelError, match=message), joined(device="cpu"):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_asked_for_and_absent_is_told_of() -> None:
    with pytest.raises(ParallelError, match=r"^no GPU is to be had here"), joined(device="cuda"):
        pass


def test_experts_that_cannot_be_divided_equally_are_refused() -> None:
    with pytest.raises(ParallelError, match=r"^4 experts cannot be divided among 3 processes$"):
        divided(cases.built(cases.models()["sinkhorn"]), World(0, 3))


def test_under_autocast_experts_compute_in_bfloat16_and_routers_in_float32() -> None:
    routing = RoutingConfig(num_experts=4, top_k=2, shared_experts=1)
    config = TransformerConfig(vocab_size=64, d_model=16, num_layers=2, num_heads=2, d_ff=16, routing=routing)
    model = divided(cases.built(config), World())
    output = model(cases.text())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(cases.text())
        rounded.logits_BSV.float().square().mean().backward()
    for plain, other in zip(output.routings, rounded.routings, strict=True):
        assert other.logits_TE.dtype == other.weights_TE.dtype == torch.float32
        assert not torch.equal(plain.logits_TE, other.logits_TE)
        torch.testing.assert_close(plain.logits_TE, other.logits_TE, rtol=0, atol=0.1)
    assert all(
        weight.grad is not None and weight.grad.dtype == torch.float32 and weight.grad.isfinite().all()
        for weight in model.parameters()
    )


def test_a_record_moves_with_all_its_tensors_and_a_model_at_home_computes_the_same() -> None:
    model = cases.built(cases.models()["both"])
    output = model(cases.text())
    elsewhere = moved({"all": [(output, 1)]}, torch.device("meta"))["all"][0][0]
    tensors = [elsewhere.logits_BSV, elsewhere.routings[0].map_TE, elsewhere.depths[0].index_BC]
    assert all(tensor.is_meta for tensor in tensors)
    assert torch.equal(at_home(model)(cases.text()).logits_BSV, output.logits_BSV)
