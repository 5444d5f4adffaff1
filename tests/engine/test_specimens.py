"""The losses that are none: always the same number, and no gradient, whatever the router does."""

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moedocs.engine import auxiliary_loss, constant_mean, constant_sum, load, softmax_top_k
from tests.drawing import random_logits

few = settings(max_examples=50)

SPECIMENS = pytest.mark.parametrize("specimen", [constant_sum, constant_mean])
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 8))
SCALES = st.sampled_from([0.0, 0.1, 1.0, 8.0])
Specimen = Callable[[Tensor], Tensor]


@few
@given(SHAPES, SCALES, st.integers(0, 99))
def test_one_is_always_the_sequence_length_and_the_other_always_one_over_the_experts(
    shape: tuple[int, int, int], scale: float, seed: int
) -> None:
    probs_BSE = (scale * random_logits(*shape, seed=seed)).softmax(-1)
    assert constant_sum(probs_BSE).item() == pytest.approx(shape[1], rel=1e-5)
    assert constant_mean(probs_BSE).item() == pytest.approx(1 / shape[2], rel=1e-5)


def test_the_numbers_of_the_tutorial_are_32_and_one_eighth() -> None:
    for scale in (0.0, 1.0, 10.0):
        probs_BSE = (scale * random_logits(4, 32, 8)).softmax(-1)
        assert constant_sum(probs_BSE).item() == pytest.approx(32)
        assert constant_mean(probs_BSE).item() == pytest.approx(0.125)


@SPECIMENS
@few
@given(shape=SHAPES, scale=SCALES, seed=st.integers(0, 99))
def test_a_specimen_s_gradient_is_exactly_zero_whatever_the_routing(
    specimen: Specimen, shape: tuple[int, int, int], scale: float, seed: int
) -> None:
    logits_BSE = (scale * random_logits(*shape, seed=seed)).requires_grad_()
    probs_BSE = logits_BSE.softmax(-1)
    (pull_BSE,) = torch.autograd.grad(specimen(probs_BSE), probs_BSE, retain_graph=True)
    # every probability is pulled alike, to the last bit
    assert pull_BSE.equal(pull_BSE[0, 0, 0].expand_as(pull_BSE))
    # and a softmax passes on p * (pull - sum p * pull): nothing of that, in fractions, which do not round
    pull = Fraction(pull_BSE[0, 0, 0].item())
    for probs in probs_BSE.flatten(0, 1).tolist():
        total = sum(map(Fraction, probs))
        shares = [Fraction(prob) / total for prob in probs]
        assert [share * (pull - sum(other * pull for other in shares)) for share in shares] == [0] * len(probs)
    # what floating point leaves of it is rounding
    (gradient_BSE,) = torch.autograd.grad(specimen(probs_BSE), logits_BSE)
    assert gradient_BSE.abs().max() <= 4e-7 * pull_BSE[0, 0, 0]


@SPECIMENS
@pytest.mark.parametrize("num_experts", [1, 2, 8, 64])
def test_a_specimen_sends_back_bitwise_zeros_where_nothing_rounds(specimen: Specimen, num_experts: int) -> None:
    logits_BSE = torch.zeros(4, 32, num_experts, requires_grad=True)  # probabilities are powers of two
    (gradient_BSE,) = torch.autograd.grad(specimen(logits_BSE.softmax(-1)), logits_BSE)
    assert not gradient_BSE.any()


@few
@given(SHAPES.filter(lambda shape: shape[2] > 1), st.sampled_from([0.1, 1.0, 2.0]), st.integers(0, 99), st.data())
def test_the_real_loss_has_a_gradient_wherever_the_load_is_uneven(
    shape: tuple[int, int, int], scale: float, seed: int, data: st.DataObject
) -> None:
    logits_TE = (scale * random_logits(*shape, seed=seed)).flatten(0, 1).requires_grad_()
    routing = softmax_top_k(logits_TE, data.draw(st.integers(1, shape[2])))
    (gradient_TE,) = torch.autograd.grad(auxiliary_loss(routing), logits_TE)
    share_E = load(routing) / load(routing).sum()
    uneven = (routing.probs_TE * (share_E - (routing.probs_TE * share_E).sum(1, keepdim=True)).abs()).max()
    expected = shape[2] / len(logits_TE) * uneven
    torch.testing.assert_close(gradient_TE.abs().max(), expected, rtol=1e-3, atol=1e-7)
    assert (gradient_TE.abs().max() > 1e-6) == (len(set(load(routing).tolist())) > 1)


def test_a_specimen_stays_constant_while_the_real_loss_falls_with_the_imbalance() -> None:
    skewed, even = random_logits(4, 32, 8) + torch.linspace(0, 3, 8), random_logits(4, 32, 8)
    real = [auxiliary_loss(softmax_top_k(logits.flatten(0, 1), 2)).item() for logits in (skewed, even)]
    assert real[0] > real[1] + 0.3
    for specimen in (constant_sum, constant_mean):
        torch.testing.assert_close(specimen(skewed.softmax(-1)), specimen(even.softmax(-1)))


def test_where_all_but_one_probability_underflow_a_specimen_is_a_sum_of_squared_shares() -> None:
    chosen_BS = torch.tensor([[0, 1], [0, 1], [0, 2], [1, 3]])
    hard_BSE = (200 * torch.eye(4)[chosen_BS]).softmax(-1)
    # of the four sequences, position by position
    assert constant_sum(hard_BSE).item() == pytest.approx((9 + 1) / 16 + (4 + 1 + 1) / 16)
    # of all eight tokens, a mean over four experts
    assert constant_mean(hard_BSE).item() == pytest.approx((9 + 9 + 1 + 1) / 64 / 4)
