"""Two and four real processes compute what one does: values, gradients, losses and loads, in float32."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from moedocs.engine import sorted_dispatch
from moedocs.parallel import World, divided, gradient_norm, share_gradients
from tests.parallel import cases
from tests.parallel.processes import ended, start

SIZES = (2, 4)
RELATIVE = 2e-5  # of the largest number of a table: sums of float32 in another order


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every rank of every world has left what it found."""
    folder = tmp_path_factory.mktemp("ranks")
    worlds = start(["-m", "tests.parallel.worker", str(folder), *map(str, SIZES)])
    [said] = ended([worlds])
    assert worlds.returncode == 0, said
    return folder


@pytest.fixture(params=SIZES)
def ranks(request: pytest.FixtureRequest, folder: Path) -> list[dict[str, Any]]:
    return _found(folder, request.param)


@cache
def _found(folder: Path, size: int) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{size}.{rank}.pt") for rank in range(size)]


@pytest.mark.parametrize("name", cases.routings())
def test_experts_on_several_ranks_give_what_one_layer_gives_with_its_gradients(name: str, ranks: list[Any]) -> None:
    expected = _one_layer(name)
    for found in ranks:
        _same(found["dispatched"][name], expected)


@pytest.mark.parametrize("name", cases.models())
def test_a_model_on_several_ranks_has_the_loss_gradients_and_biases_of_one(name: str, ranks: list[Any]) -> None:
    expected = _one_model(name)
    for found in ranks:
        trained = found["trained"][name]
        torch.testing.assert_close(trained["loss"], expected["loss"], rtol=1e-6, atol=0)
        torch.testing.assert_close(trained["norm"], expected["norm"], rtol=1e-5, atol=0)
        assert all(map(_equal, trained["bias"], expected["bias"]))
        _same({key: trained["gradients"][key] for key in expected["gradients"]}, expected["gradients"])


def test_all_ranks_start_from_the_weights_of_rank_0(ranks: list[Any]) -> None:
    first = cases.built(cases.models()["dense"]).state_dict()
    for found in ranks:
        assert all(torch.equal(weight, first[name]) for name, weight in found["started"]["state"].items())


def test_the_cases_reach_what_they_are_for() -> None:
    loads = {name: routing.map_TE.sum(0) for name, routing in cases.routings().items()}
    assert loads["none to the last rank"][-cases.EXPERTS // 2 :].sum() == 0
    assert loads["nobody goes anywhere"].sum() == 0
    assert loads["all to the first expert"][0] == cases.TOKENS
    assert cases.routings()["drops"].dropped_TE.any()
    for name in ("capacity", "random capacity"):
        assert any(routing.dropped_TE.any() for routing in _one_model(name)["routings"])


@cache
def _one_layer(name: str) -> dict[str, Tensor]:
    x_TD, experts, routing = cases.tokens().requires_grad_(), cases.experts(), cases.routings()[name]
    routing.weights_TE.requires_grad_()
    out_TD = sorted_dispatch(x_TD, routing, experts)
    (out_TD * cases.weights_of(cases.TOKENS)).sum().backward()  # type: ignore[no-untyped-call]
    found = {"out": out_TD.detach(), "x": x_TD.grad, "weights": routing.weights_TE.grad}
    found |= {stack: weight.grad for stack, weight in experts.named_parameters()}
    return {key: tensor for key, tensor in found.items() if tensor is not None}


@cache
def _one_model(name: str) -> dict[str, Any]:
    model = cases.built(cases.models()[name])
    loss, routings = cases.loss_of(model, cases.text())
    loss.backward()  # type: ignore[no-untyped-call]
    model.update_biases(routings)
    gradients = {key: weight.grad for key, weight in model.named_parameters() if weight.grad is not None}
    norm = torch.nn.utils.get_total_norm(gradients.values())
    biases = [layer.bias_E for layer in model.moe_layers()]
    return {"loss": loss.detach(), "norm": norm, "bias": biases, "gradients": gradients, "routings": routings}


@pytest.mark.parametrize("name", cases.models())
def test_one_process_alone_computes_the_same_model_too(name: str) -> None:
    expected, world = _one_model(name), World()
    model = divided(cases.built(cases.models()[name]), world)
    loss, _ = cases.loss_of(model, cases.text())
    loss.backward()  # type: ignore[no-untyped-call]
    share_gradients(model, world)
    torch.testing.assert_close(loss.detach(), expected["loss"], rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient_norm(model, world), expected["norm"], rtol=1e-5, atol=0)


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other is None or (one is not None and other is not None and torch.equal(one, other))


def _same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        tolerance = RELATIVE * max(map(float, tensor.aminmax()), key=abs) if tensor.numel() else 0.0
        difference = (found[name] - tensor).abs().amax()
        assert difference <= abs(tolerance), f"{name} differs by {difference:.1e}"
