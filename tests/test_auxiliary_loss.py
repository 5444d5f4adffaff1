"""The figure of the auxiliary loss is the engine's, its push is autograd's, and what its page says of them holds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from moedocs.engine import auxiliary_loss, load, softmax_top_k
from moedocs.engine.balance import importance_loss, load_loss, z_loss
from moedocs.engine.noise import load_probability, noisy_top_k
from moedocs.engine.specimens import constant_mean, constant_sum
from moedocs.lab import records
from moedocs.lab.fingerprint import ROOT
from moedocs.site import cells, figures
from moedocs.site.figure import Rows, cell_path, paths
from moedocs.site.figure import load as figure_of

NAME = "auxiliary-loss"
SHARES = st.lists(st.floats(0.01, 1), min_size=2, max_size=9)


@pytest.fixture(scope="module")
def states() -> dict[tuple[int, float, float], Rows]:
    """The figure's rows, state by state."""
    found: dict[tuple[int, float, float], Rows] = {}
    for row in figures.rounded(figure_of(paths(ROOT)[NAME]).data()):
        found.setdefault((row["num_experts"], row["load_tilt"], row["probability_tilt"]), []).append(row)
    return found


def column(rows: Rows, name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def shares(numbers: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(numbers) / sum(numbers)


def routed(seed: int, top_k: int, tokens: int = 40, experts: int = 6) -> tuple[torch.Tensor, float]:
    """Router logits with a liking for some experts, and a temperature to divide them by."""
    generator = torch.Generator().manual_seed(seed)
    logits_TE = torch.randn(tokens, experts, generator=generator) + torch.linspace(1, 0, experts)
    return logits_TE.requires_grad_(), 0.5 + seed % 3


def test_each_state_holds_the_formula_and_its_slope_by_hand(states: dict[tuple[int, float, float], Rows]) -> None:
    for (num_experts, load_tilt, probability_tilt), rows in states.items():
        f, p = column(rows, "load"), column(rows, "probability")
        loss = num_experts * sum(a * b for a, b in zip(f, p, strict=True))
        assert len(rows) == num_experts
        assert sum(f) == pytest.approx(1, abs=1e-5)
        assert sum(p) == pytest.approx(1, abs=1e-5)
        assert f[0] / f[-1] == pytest.approx(2**load_tilt, rel=1e-4)
        assert p[0] / p[-1] == pytest.approx(2**probability_tilt, rel=1e-4)
        assert column(rows, "loss") == pytest.approx([loss] * num_experts, rel=1e-4)
        by_hand = [b * (num_experts * a - loss) for a, b in zip(f, p, strict=True)]
        assert column(rows, "gradient") == pytest.approx(by_hand, abs=3e-6)


def test_two_choices_of_each_token_could_give_the_experts_every_load_that_is_drawn(
    states: dict[tuple[int, float, float], Rows],
) -> None:
    assert max(max(column(rows, "load")) for rows in states.values()) <= 1 / 2


def test_uniform_is_least_where_the_load_goes_along_and_not_where_it_stays(
    states: dict[tuple[int, float, float], Rows],
) -> None:
    loss = {state: rows[0]["loss"] for state, rows in states.items()}
    for (num_experts, load_tilt, probability_tilt), value in loss.items():
        even = load_tilt == 0 or probability_tilt == 0
        along = math.copysign(1, load_tilt) == math.copysign(1, probability_tilt)
        assert value == pytest.approx(1, abs=1e-5) if even else value > 1.01 if along else value < 0.99
        if load_tilt == probability_tilt == 0:
            valley = [loss[num_experts, tilt, tilt] for (n, tilt, _) in loss if n == num_experts]
            assert min(valley) == value


def test_an_even_load_pushes_nothing_and_an_uneven_one_pushes_even_where_the_loss_is_that_of_balance(
    states: dict[tuple[int, float, float], Rows],
) -> None:
    for (_, load_tilt, probability_tilt), rows in states.items():
        gradient = column(rows, "gradient")
        if load_tilt == 0:
            assert gradient == pytest.approx([0] * len(rows), abs=1e-5)
        elif probability_tilt == 0:
            assert rows[0]["loss"] == pytest.approx(1, abs=1e-5)
            assert gradient == sorted(gradient, reverse=load_tilt > 0)
            assert max(gradient) > 0.005 > -0.005 > min(gradient)


def test_the_cell_computes_the_figures_rows_and_levels_a_router(states: dict[tuple[int, float, float], Rows]) -> None:
    cell = cells.recorded(cell_path(paths(ROOT)[NAME]))
    opened = [row for state, rows in states.items() if state[0] == 4 for row in rows]
    assert len(cell.table) == len(opened)
    for own, row in zip(cell.table, opened, strict=True):
        assert own.keys() == row.keys()
        assert list(own.values()) == pytest.approx(list(row.values()), abs=1e-5)
    values = [float(line.split("loss ")[1].split(",")[0]) for line in cell.output.splitlines()]
    assert values == sorted(values, reverse=True)
    assert values[0] > 1.2
    assert values[-1] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_slope_by_each_tokens_logits_is_the_formula_of_the_page(seed: int, top_k: int) -> None:
    logits_TE, temperature = routed(seed, top_k)
    routing = softmax_top_k(logits_TE / temperature, top_k)
    (gradient_TE,) = torch.autograd.grad(auxiliary_loss(routing), logits_TE)
    num_tokens, num_experts = logits_TE.shape
    share_E, p_TE = load(routing) / (num_tokens * top_k), routing.probs_TE.detach()
    spread_TE = share_E - (share_E * p_TE).sum(1, keepdim=True)
    torch.testing.assert_close(gradient_TE, num_experts * p_TE * spread_TE / num_tokens / temperature)


@given(SHARES, st.data())
def test_of_shares_in_one_order_the_loss_is_at_least_1_and_of_opposite_order_at_most(
    numbers: list[float], data: st.DataObject
) -> None:
    others = data.draw(st.lists(st.floats(0.01, 1), min_size=len(numbers), max_size=len(numbers)))
    f, p = np.sort(shares(numbers)), np.sort(shares(others))
    assert len(f) * (f * p).sum() >= 1 - 1e-12
    assert len(f) * (f * p[::-1]).sum() <= 1 + 1e-12


@given(SHARES)
def test_where_f_equals_p_only_the_uniform_gives_1(numbers: list[float]) -> None:
    p = shares(numbers)
    assert len(p) * (p * p).sum() - 1 == pytest.approx(len(p) * ((p - 1 / len(p)) ** 2).sum(), abs=1e-12)


@given(SHARES, st.data())
def test_with_f_kept_no_probabilities_give_less_than_all_on_the_least_loaded(
    numbers: list[float], data: st.DataObject
) -> None:
    others = data.draw(st.lists(st.floats(0, 1), min_size=len(numbers), max_size=len(numbers)))
    assume(sum(others) > 0.01)
    f, p = shares(numbers), shares(others)
    assert len(f) * (f * p).sum() >= len(f) * f.min() - 1e-12


def test_tokens_that_choose_narrowly_and_refuse_clearly_bring_the_engines_loss_below_1() -> None:
    narrow, clear = torch.tensor([0.51, 0.49]).log(), torch.tensor([0.1, 0.9]).log()
    routing = softmax_top_k(torch.stack([narrow, narrow, narrow, clear]), 1)
    assert load(routing).tolist() == [3, 1]
    assert auxiliary_loss(routing).item() == pytest.approx(2 * (0.75 * 0.4075 + 0.25 * 0.5925))
    assert auxiliary_loss(routing).item() < 0.91


@given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12))
def test_two_experts_and_one_choice_of_each_token_give_no_less_than_seven_eighths(leads: list[float]) -> None:
    routing = softmax_top_k(torch.tensor([[lead, 0.0] for lead in leads]), 1)
    assert auxiliary_loss(routing).item() >= 7 / 8 - 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_the_tutorials_losses_have_a_slope_of_exactly_zero_and_the_auxiliary_loss_has_not(seed: int) -> None:
    logits_TE, _ = routed(seed, 1)
    probs_BSE = logits_TE.double().softmax(-1)[None]
    for loss, value in ((constant_sum, len(logits_TE)), (constant_mean, 1 / logits_TE.shape[1])):
        found = loss(probs_BSE)
        (gradient_TE,) = torch.autograd.grad(found, logits_TE, retain_graph=True)
        assert found.item() == pytest.approx(value)
        assert gradient_TE.abs().max() < 1e-15  # what rounding leaves of a zero
    (gradient_TE,) = torch.autograd.grad(auxiliary_loss(softmax_top_k(logits_TE, 1)), logits_TE)
    assert gradient_TE.abs().max() > 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_the_z_loss_pulls_all_logits_of_a_token_the_same_way_whoever_is_busy(seed: int) -> None:
    logits_TE, _ = routed(seed, 1)
    (gradient_TE,) = torch.autograd.grad(z_loss(softmax_top_k(logits_TE, 1)), logits_TE)
    size_T = logits_TE.logsumexp(-1)
    torch.testing.assert_close(gradient_TE, 2 * size_T[:, None] * logits_TE.softmax(-1) / len(logits_TE))


def test_importance_and_load_are_two_losses_and_both_have_a_slope() -> None:
    logits_TE, _ = routed(1, 2)
    noise_TE = torch.ones_like(logits_TE)
    routing = noisy_top_k(logits_TE, noise_TE, 2, generator=torch.Generator().manual_seed(0))
    routing = replace(routing, load_probability_TE=load_probability(logits_TE, noise_TE, routing))
    for loss in (importance_loss, load_loss):
        (gradient_TE,) = torch.autograd.grad(loss(routing), logits_TE, retain_graph=True)
        assert gradient_TE.abs().max() > 1e-5


@pytest.fixture(scope="module")
def layers() -> Rows:
    """The rows of the second figure: trained layers."""
    return figures.rounded(figure_of(paths(ROOT)["loss-against-load"]).data())


def test_each_trained_layer_has_the_loss_that_the_engine_gives_for_its_shares_and_probabilities(layers: Rows) -> None:
    arms = records.load("balance").results["arms"]
    run = arms["bias/k1"][2]
    (row,) = [row for row in layers if row["rule"] == "bias" and row["top_k"] == 1 and row["training_step"] == 300
              and row["seed"] == 2 and row["layer"] == 3]  # fmt: skip
    share_E, p_E = (torch.tensor(run[name][-1][2]) for name in ("share", "probability"))
    routing = softmax_top_k(p_E.log()[None], 1)
    assert row["loss"] == pytest.approx(auxiliary_loss(routing, share_E=share_E / share_E.sum()).item(), rel=1e-3)
    assert row["imbalance"] == pytest.approx(8 * max(run["share"][-1][2]))
    assert len(layers) == 5 * 2 * 3 * 5 * 4


def test_what_the_page_says_of_the_trained_layers_holds(layers: Rows) -> None:
    module, summary = figure_of(paths(ROOT)["loss-against-load"]), records.load("balance").results["summary"]
    facts = {name: quantity.value for name, quantity in module.facts(layers).items()}
    assert facts["bias-least"] < 0.9 < 1.1 < facts["bias-most"]
    assert 1 < facts["auxiliary-0.01-least"] < facts["auxiliary-0.01-most"] < facts["none-least"]
    assert facts["lowest-share"] > 1.3 / 8
    assert facts["z-raises"] == facts["layers"] == 12
    plain = [arm for arm in summary if arm.endswith("/k1") and "sigmoid" not in arm]
    others = set(plain) - {"auxiliary-1/k1", "importance+load/k1", "expert-choice/k1"}
    worst = max(summary[arm]["validation_loss"]["most"] for arm in others)
    assert summary["auxiliary-1/k1"]["validation_loss"]["least"] > worst
    for arm in ("z/k1", "constant/k1"):
        ends = summary[arm]["largest_share"]
        assert ends["least"] < summary["none/k1"]["largest_share"]["mean"] < ends["most"]
