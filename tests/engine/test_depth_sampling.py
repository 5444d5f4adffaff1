"""Choosing without looking ahead: causality, what teaches it, and how good it is, each against counting by hand."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moedocs.config import DepthConfig
from moedocs.engine import (
    DepthRouting,
    always_skip_accuracy,
    causal_choice,
    choice_accuracy,
    choice_recall,
    depth_auxiliary_loss,
    predictor_loss,
    sampling_loss,
    through,
    top_c,
)
from tests.drawing import random_logits
from tests.mixing import Mixing
from tests.strategies import DepthCase, depth_cases

WIDTH = 4
ORDINARY = st.floats(-30, 30, width=32)


def slow_cross_entropy(judged: list[list[float]], passes: list[list[bool]]) -> float:
    """The mean of -log sigmoid(x) where a token passes and -log(1 - sigmoid(x)) where it does not."""
    losses = []
    for row, fates in zip(judged, passes, strict=True):
        losses += [math.log1p(math.exp(-x if fate else x)) for x, fate in zip(row, fates, strict=True)]
    return sum(losses) / len(losses)


@given(depth_cases(), st.booleans(), st.data())
def test_a_token_passes_if_its_own_judge_is_above_one_half(case: DepthCase, judged: bool, data: st.DataObject) -> None:
    logits_BS = torch.from_numpy(case.logits_BS)
    order = data.draw(st.permutations(range(logits_BS.numel())))
    predicted_BS = logits_BS.flatten()[order].view_as(logits_BS) if judged else None
    routing = causal_choice(logits_BS, predicted_BS, weight=case.weight)
    judge_BS = logits_BS if predicted_BS is None else predicted_BS
    chosen = [[position for position, logit in enumerate(row) if logit > 0] for row in judge_BS.tolist()]
    longest = max(map(len, chosen), default=0)
    assert routing.index_BC.tolist() == [row + [-1] * (longest - len(row)) for row in chosen]
    assert routing.map_BS.tolist() == [[logit > 0 for logit in row] for row in judge_BS.tolist()]
    path_BS = logits_BS if case.weight == "raw" else logits_BS.sigmoid()
    assert routing.weights_BS.equal(torch.where(judge_BS > 0, path_BS, 0.0))
    assert routing.predicted_BS is predicted_BS


def test_long_sequences_pass_in_the_order_of_their_positions() -> None:
    routing = causal_choice(random_logits(3, 500))
    for chosen, row in zip((random_logits(3, 500) > 0).tolist(), routing.index_BC.tolist(), strict=True):
        assert [position for position in row if position >= 0] == [n for n, passes in enumerate(chosen) if passes]
    assert causal_choice(torch.zeros(0, 5)).index_BC.shape == (0, 0)


@settings(max_examples=40)
@given(depth_cases(least=1), st.data())
def test_a_later_token_changes_nothing_before_it(case: DepthCase, data: st.DataObject) -> None:
    block, logits_BS = Mixing(WIDTH), torch.from_numpy(case.logits_BS).clamp(-5, 5)
    x_BSD = random_logits(*logits_BS.shape, WIDTH)
    place = data.draw(st.integers(0, logits_BS.shape[1] - 1))
    changed_BS, changed_BSD = logits_BS.clone(), x_BSD.clone()
    changed_BS[:, place:] = random_logits(*logits_BS[:, place:].shape, seed=1)
    changed_BSD[:, place:] = random_logits(*x_BSD[:, place:].shape, seed=2)
    before, after = causal_choice(logits_BS), causal_choice(changed_BS)
    assert before.map_BS[:, :place].equal(after.map_BS[:, :place])
    assert before.weights_BS[:, :place].equal(after.weights_BS[:, :place])
    out_BSD, other_BSD = through(x_BSD, before, block.added), through(changed_BSD, after, block.added)
    torch.testing.assert_close(out_BSD[:, :place], other_BSD[:, :place])


def test_a_prefix_is_chosen_as_it_is_within_the_whole() -> None:
    logits_BS = random_logits(3, 20)
    whole_BS = causal_choice(logits_BS).map_BS
    for length in range(21):
        assert causal_choice(logits_BS[:, :length]).map_BS.equal(whole_BS[:, :length])


def test_without_logits_above_0_nobody_passes_and_0_is_not_above() -> None:
    for logits_BS in (torch.zeros(2, 5), torch.full((2, 5), -3e38), torch.full((2, 5), -0.0)):
        assert causal_choice(logits_BS).index_BC.shape == (2, 0)
    assert causal_choice(torch.full((2, 5), 1e-45)).map_BS.all()


@given(depth_cases(least=1, elements=ORDINARY), st.integers(0, 99))
def test_both_losses_equal_the_sum_by_hand(case: DepthCase, seed: int) -> None:
    top = top_c(torch.from_numpy(case.logits_BS), case.capacity)
    predicted_BS = random_logits(*case.logits_BS.shape, seed=seed)
    judges = {depth_auxiliary_loss: top.logits_BS, predictor_loss: predicted_BS}
    for loss, judged_BS in judges.items():
        found = loss(replace(top, predicted_BS=predicted_BS)).item()
        expected = slow_cross_entropy(judged_BS.tolist(), top.map_BS.tolist())
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_ignorance_costs_log_2_and_the_share_alone_its_entropy() -> None:
    top = top_c(random_logits(4, 16), 2)
    assert depth_auxiliary_loss(replace(top, logits_BS=torch.zeros(4, 16))).item() == pytest.approx(math.log(2))
    share = 2 / 16
    knowing = replace(top, predicted_BS=torch.full((4, 16), math.log(share / (1 - share))))
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert predictor_loss(knowing).item() == pytest.approx(entropy)


def test_a_sure_and_right_router_pays_little_and_exactly_that() -> None:
    sure = top_c(torch.tensor([[6.0, -6.0], [30.0, -30.0]]), 1)
    expected = (math.log1p(math.exp(-6)) + math.log1p(math.exp(-30))) / 2
    assert depth_auxiliary_loss(sure).item() == pytest.approx(expected, rel=1e-6)
    assert depth_auxiliary_loss(replace(sure, logits_BS=-sure.logits_BS)).item() == pytest.approx(18.0012378425)


def test_the_auxiliary_loss_pulls_each_logit_towards_its_fate() -> None:
    logits_BS = random_logits(3, 8).requires_grad_()
    routing = top_c(logits_BS, 2)
    (gradient_BS,) = torch.autograd.grad(depth_auxiliary_loss(routing), logits_BS)
    torch.testing.assert_close(gradient_BS, (logits_BS.sigmoid() - routing.map_BS.float()) / 24)
    assert (gradient_BS[routing.map_BS] < 0).all()
    assert (gradient_BS[~routing.map_BS] > 0).all()


def test_the_predictor_s_loss_moves_the_predictor_alone() -> None:
    logits_BS, predicted_BS = random_logits(3, 8).requires_grad_(), random_logits(3, 8, seed=1).requires_grad_()
    routing = replace(top_c(logits_BS, 2), predicted_BS=predicted_BS)
    gradients = torch.autograd.grad(predictor_loss(routing), [logits_BS, predicted_BS], allow_unused=True)
    assert [gradient is None for gradient in gradients] == [True, False]
    torch.testing.assert_close(gradients[1], (predicted_BS.sigmoid() - routing.map_BS.float()) / 24)


def test_following_the_auxiliary_loss_makes_the_causal_choice_the_top_c() -> None:
    logits_BS = random_logits(4, 16).requires_grad_()
    top = top_c(logits_BS, 2)
    for _ in range(100):
        (gradient_BS,) = torch.autograd.grad(depth_auxiliary_loss(replace(top, logits_BS=logits_BS)), logits_BS)
        logits_BS = (logits_BS - 10 * gradient_BS).detach().requires_grad_()
    assert causal_choice(logits_BS).map_BS.equal(top.map_BS)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_losses_are_float32_whatever_the_predictor_runs_in(dtype: torch.dtype) -> None:
    routing = replace(top_c(random_logits(3, 8), 2), predicted_BS=random_logits(3, 8, seed=1).to(dtype))
    assert predictor_loss(routing).dtype == torch.float32
    assert depth_auxiliary_loss(top_c(random_logits(3, 8).to(dtype), 2)).dtype == torch.float32


@pytest.mark.parametrize("sampling", ["none", "auxiliary", "predictor"])
def test_the_loss_of_a_model_is_the_weighted_sum_over_its_blocks(sampling: str) -> None:
    config = DepthConfig(capacity=0.25, sampling=sampling, sampling_weight=0.5)  # type: ignore[arg-type]
    routings = [
        replace(top_c(random_logits(2, 8, seed=seed), 2), predicted_BS=random_logits(2, 8, seed=seed + 9))
        for seed in range(3)
    ]
    losses = {"auxiliary": depth_auxiliary_loss, "predictor": predictor_loss}
    expected = sum(losses[sampling](routing).item() for routing in routings) / 2 if sampling in losses else 0.0
    assert sampling_loss(routings, config).item() == pytest.approx(expected)


def scores(found: Tensor, top: DepthRouting) -> tuple[float, float]:
    choice = replace(top, map_BS=found)
    return choice_accuracy(choice, top).item(), choice_recall(choice, top).item()


@given(depth_cases(least=1), st.integers(0, 99))
def test_accuracy_and_recall_equal_counting(case: DepthCase, seed: int) -> None:
    top = top_c(torch.from_numpy(case.logits_BS), case.capacity)
    found = causal_choice(random_logits(*case.logits_BS.shape, seed=seed)).map_BS
    pairs = list(zip(found.flatten().tolist(), top.map_BS.flatten().tolist(), strict=True))
    accuracy = sum(one == other for one, other in pairs) / len(pairs)
    recall = sum(one and other for one, other in pairs) / sum(other for _, other in pairs)
    assert scores(found, top) == pytest.approx((accuracy, recall))


@given(depth_cases(least=1))
def test_letting_nobody_pass_is_as_accurate_as_the_places_are_few(case: DepthCase) -> None:
    top = top_c(torch.from_numpy(case.logits_BS), case.capacity)
    nobody = torch.zeros_like(top.map_BS)
    length = case.logits_BS.shape[1]
    assert always_skip_accuracy(top).item() == pytest.approx(1 - case.capacity / length)
    assert scores(nobody, top) == pytest.approx((1 - case.capacity / length, 0.0))
    assert scores(top.map_BS, top) == (1.0, 1.0)
    assert scores(~nobody, top) == pytest.approx((case.capacity / length, 1.0))


def test_what_is_not_defined_is_refused() -> None:
    none, empty = top_c(random_logits(2, 5), 0), top_c(torch.zeros(0, 5), 2)
    with pytest.raises(ValueError, match="recall is not defined where the top C are 0 tokens"):
        choice_recall(none, none)
    for agreement in (choice_accuracy, choice_recall):
        with pytest.raises(ValueError, match="the agreement over 0 tokens is not defined"):
            agreement(empty, empty)
        with pytest.raises(ValueError, match=r"among \(1, 5\) tokens cannot be compared with one among \(2, 5\)"):
            agreement(top_c(random_logits(1, 5), 2), none)
    with pytest.raises(ValueError, match="the agreement over 0 tokens is not defined"):
        always_skip_accuracy(empty)
    with pytest.raises(ValueError, match="the cross-entropy of 0 tokens is not defined"):
        depth_auxiliary_loss(empty)
    with pytest.raises(ValueError, match="predicted_BS is None"):
        predictor_loss(none)
    with pytest.raises(ValueError, match=r"predictions \(2, 4\) do not fit router logits \(2, 5\)"):
        causal_choice(random_logits(2, 5), random_logits(2, 4))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_prediction_that_is_no_number_is_refused_with_its_place(value: float) -> None:
    predicted_BS = random_logits(2, 5)
    predicted_BS[1, 3] = value
    with pytest.raises(ValueError, match=f"sequence 1 at position 3 is {value}"):
        causal_choice(random_logits(2, 5), predicted_BS)
