"""What learns in the browser: its values and gradients are those that torch finds for the engine's own losses."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import mean

import numpy as np
import pytest
import torch

from moedocs import engine, lite
from moedocs.config import RoutingConfig
from moedocs.lite import learning
from moedocs.lite.learning import RULES, Doubles, Weights, config_of

TOKENS, EXPERTS = 64, 8  # shares of 64 tokens are exact in float32, in which the engine counts them
WEIGHT = {"none": 0.0, "expert-choice": 0.0, "auxiliary": 0.3, "z": 0.2, "bias": 0.05, "constant": 0.7}
SETTINGS = [(rule, top_k) for rule in RULES for top_k in (1, 2)]
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def drawn(seed: int = 0) -> tuple[Weights, Doubles, Doubles, Doubles]:
    """Weights, tokens, what they are to become, and a bias that changes the choice of some."""
    generator = np.random.default_rng(seed)
    task = learning.Task(EXPERTS, generator)
    router_DE = generator.normal(size=(learning.WIDTH, EXPERTS)) / 4
    experts_EDD = generator.normal(size=(EXPERTS, learning.WIDTH, learning.WIDTH)) / 4
    return Weights(router_DE, experts_EDD), *task.draw(TOKENS, generator), generator.normal(size=EXPERTS) / 10


def by_torch(
    weights: Weights, x_TD: Doubles, wanted_TD: Doubles, config: RoutingConfig, bias_E: Doubles
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Weights]:
    """Task loss, balancing loss, choices and gradients: the engine chooses and weighs, torch differentiates.

    The engine routes in float32; shares and weights are taken once more in float64, by the engine's own choice.
    """
    router_DE, experts_EDD = (torch.tensor(part, requires_grad=True) for part in weights.parts)
    x, wanted = torch.tensor(x_TD), torch.tensor(wanted_TD)
    logits_TE = x @ router_DE
    bias = torch.tensor(bias_E) if config.balance.bias_rate else None
    single = engine.route(logits_TE, config, bias_E=bias)
    probs_TE = logits_TE.softmax(-1)
    if config.router == "expert-choice" or not config.renormalise:
        weights_TE = probs_TE.masked_fill(~single.map_TE, 0.0)
    else:
        weights_TE = logits_TE.masked_fill(~single.map_TE, -torch.inf).softmax(-1)
    torch.testing.assert_close(single.weights_TE.double(), weights_TE, rtol=2e-6, atol=1e-7)
    routing = replace(single, logits_TE=logits_TE, probs_TE=probs_TE, weights_TE=weights_TE)
    output_TD = torch.einsum("te,td,edf->tf", weights_TE, x, experts_EDD)
    task, balancing = (output_TD - wanted).square().mean(), engine.balancing_loss([routing], config.balance)
    gradients = torch.autograd.grad(task + balancing, (router_DE, experts_EDD))
    return task, balancing, single.map_TE, Weights(*(one.numpy() for one in gradients))


@pytest.mark.parametrize(("rule", "top_k"), SETTINGS)
def test_values_and_gradients_by_hand_are_those_of_autograd(rule: str, top_k: int) -> None:
    weights, x_TD, wanted_TD, bias_E = drawn()
    config = config_of(rule, WEIGHT[rule], top_k)
    found = learning.passed(weights, x_TD, wanted_TD, config, bias_E)
    task, balancing, chosen_TE, gradients = by_torch(weights, x_TD, wanted_TD, config, bias_E)
    assert (found.chosen_TE == chosen_TE.numpy()).all()
    assert found.loss == pytest.approx(task.item(), rel=1e-12)
    assert found.balancing == pytest.approx(balancing.item(), rel=1e-12)
    for mine, theirs in zip(found.gradients.parts, gradients.parts, strict=True):
        assert np.abs(theirs).max() > 1e-3
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_the_rule_is_felt_where_it_should_be_and_nowhere_else() -> None:
    """Not every gradient is the same: the losses change the router's, the bias the choice, the constant nothing."""
    weights, x_TD, wanted_TD, bias_E = drawn()
    plain, *others = (
        learning.passed(weights, x_TD, wanted_TD, config_of(rule, WEIGHT[rule], 1), bias_E)
        for rule in ("none", "auxiliary", "z", "constant", "bias")
    )
    apart = [np.abs(one.gradients.router_DE - plain.gradients.router_DE).max() for one in others]
    assert min(apart[0], apart[1], apart[3]) > 1e-3
    assert apart[2] == 0
    assert others[2].balancing == WEIGHT["constant"] / EXPERTS
    assert [bool((one.chosen_TE == plain.chosen_TE).all()) for one in others] == [True, True, True, False]


@pytest.mark.parametrize("top_k", [1, 2])
def test_an_expert_that_nobody_chose_gets_no_gradient(top_k: int) -> None:
    weights, x_TD, wanted_TD, bias_E = drawn()
    away_E = np.where(np.arange(EXPERTS) == 3, -5.0, 0.0)
    found = learning.passed(weights, x_TD, wanted_TD, config_of("bias", 0.01, top_k), bias_E + away_E)
    load_E, largest_E = found.chosen_TE.sum(0), np.abs(found.gradients.experts_EDD).max((1, 2))
    assert load_E[3] == 0
    assert ((largest_E == 0) == (load_E == 0)).all()


def test_losses_are_those_of_lite() -> None:
    weights, x_TD, wanted_TD, bias_E = drawn()
    routing = lite.softmax_top_k(x_TD @ weights.router_DE, 1, renormalise=False)
    for rule, value in (
        ("auxiliary", lite.auxiliary_loss(routing)),
        ("z", lite.z_loss(routing)),
        ("constant", lite.constant_mean(routing.probs_TE[None])),
    ):
        found = learning.passed(weights, x_TD, wanted_TD, config_of(rule, 2.0, 1), bias_E)
        assert found.balancing == pytest.approx(2 * value, rel=1e-6)


def test_adam_moves_as_torchs_does() -> None:
    weights, *_ = drawn()
    generator = np.random.default_rng(1)
    parts = [torch.tensor(part, requires_grad=True) for part in weights.parts]
    theirs, mine = torch.optim.Adam(parts, lr=0.02), learning.Adam(weights, 0.02)
    for _ in range(5):
        slopes = [generator.normal(size=part.shape) for part in weights.parts]
        for part, slope in zip(parts, slopes, strict=True):
            part.grad = torch.tensor(slope)
        theirs.step()
        weights = mine.step(weights, Weights(*slopes))
    for mine_now, part in zip(weights.parts, parts, strict=True):
        np.testing.assert_allclose(mine_now, part.detach().numpy(), rtol=1e-12, atol=1e-14)


def test_a_training_is_told_look_by_look_and_comes_out_the_same_twice() -> None:
    config = config_of("auxiliary", 0.1, 2)
    learned, again = (learning.train(config, seed=1, looks=(0, 10, 30)) for _ in range(2))
    rows = learned.rows(rule="auxiliary", seed=1)
    assert rows == again.rows(rule="auxiliary", seed=1)
    assert [row["training_step"] for row in rows] == [0, 10, 30]
    for row in rows:
        assert sum(row[f"f{expert}"] for expert in range(1, 9)) == pytest.approx(1)
        assert sum(row[f"p{expert}"] for expert in range(1, 9)) == pytest.approx(1)
        assert row["dead"] == sum(row[f"f{expert}"] == 0 for expert in range(1, 9))
        assert 0 < row["router_entropy"] < np.log(8)
    assert rows[-1]["validation_loss"] < rows[0]["validation_loss"] / 2


def test_the_constant_loss_trains_what_no_loss_trains() -> None:
    plain, constant = (learning.train(config_of(rule, 1.0, 1), looks=(0, 40)) for rule in ("none", "constant"))
    assert (plain.share_SE == constant.share_SE).all()
    assert constant.balancing_S.tolist() == [1 / 8, 1 / 8]


def test_the_toy_loses_experts_where_nothing_balances_and_answers_worse_for_it() -> None:
    """What the page says of the cell: in every seed of the loss, in the mean of the bias."""
    none, auxiliary, bias = (
        [learning.train(config_of(rule, weight, 1), seed=seed).rows()[-1] for seed in (0, 1, 2)]
        for rule, weight in (("none", 0.0), ("auxiliary", 0.1), ("bias", 0.01))
    )
    assert min(row["dead"] for row in none) > 0
    assert max(row["dead"] for row in auxiliary) == 0
    assert sum(row["dead"] for row in bias) <= 1
    for alone, helped in zip(none, auxiliary, strict=True):
        assert helped["validation_loss"] < 0.9 * alone["validation_loss"]
    assert mean(row["validation_loss"] for row in bias) < 0.8 * mean(row["validation_loss"] for row in none)


def test_an_unknown_rule_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="rule='losses' must be one of none, auxiliary, z"):
        config_of("losses", 1.0, 1)
