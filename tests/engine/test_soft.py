"""Soft MoE against loops over slots and tokens."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moedocs.engine import SoftMoELayer, soft_dispatch, soft_routing, swiglu
from tests.drawing import random_logits

sizes = st.integers(1, 5)


def shares(logits: list[float]) -> list[float]:
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / sum(powers) for power in powers]


@given(sizes, sizes, st.integers(1, 3), st.integers(1, 3), st.sampled_from([0.0, 1.0, 30.0]))
def test_each_slot_shares_out_the_tokens_and_each_token_the_slots(t: int, d: int, e: int, p: int, size: float) -> None:
    x_TD, slots_EPD = size * random_logits(t, d), random_logits(e, p, d, seed=1)
    soft = soft_routing(x_TD, slots_EPD)
    logits = [[float(x_D.double() @ slot_D.double()) for slot_D in slots_EPD.flatten(0, 1)] for x_D in x_TD]
    assert soft.logits_TEP.shape == soft.dispatch_TEP.shape == soft.combine_TEP.shape == (t, e, p)
    for token in range(t):
        assert soft.combine_TEP[token].flatten().tolist() == pytest.approx(shares(logits[token]), rel=1e-3, abs=1e-6)
    for slot in range(e * p):
        found_T = soft.dispatch_TEP.flatten(1)[:, slot]
        assert found_T.tolist() == pytest.approx(shares([row[slot] for row in logits]), rel=1e-3, abs=1e-6)


@given(sizes, sizes, st.integers(1, 3), st.integers(1, 3))
def test_the_output_is_the_double_sum(t: int, d: int, e: int, p: int) -> None:
    x_TD = random_logits(t, d)
    soft = soft_routing(x_TD, random_logits(e, p, d, seed=1))
    factor_E = torch.arange(1.0, e + 1)
    y_TD = soft_dispatch(x_TD, soft, lambda slots_EPD: factor_E[:, None, None] * slots_EPD)
    expected_TD = torch.zeros(t, d)
    for token in range(t):
        for expert in range(e):
            for slot in range(p):
                taken_D = sum(soft.dispatch_TEP[other, expert, slot] * x_TD[other] for other in range(t))
                expected_TD[token] += soft.combine_TEP[token, expert, slot] * factor_E[expert] * taken_D
    torch.testing.assert_close(y_TD, expected_TD)


def layer(experts: int = 3, slots: int = 2) -> SoftMoELayer:
    return SoftMoELayer(8, 12, experts, slots, generator=torch.Generator().manual_seed(0))


def test_the_layer_is_its_experts_on_mixtures_made_at_unit_length() -> None:
    soft_layer, x_TD = layer(), random_logits(10, 8)
    torch.nn.init.constant_(soft_layer.scale, 2.5)
    y_TD, soft = soft_layer(x_TD)
    unit_TD = x_TD / x_TD.norm(dim=1, keepdim=True)
    unit_EPD = soft_layer.slots_EPD / soft_layer.slots_EPD.norm(dim=2, keepdim=True)
    torch.testing.assert_close(soft.logits_TEP, 2.5 * torch.einsum("td,epd->tep", unit_TD, unit_EPD))
    expected_TD = torch.zeros(10, 8)
    for expert, matrices in enumerate(soft_layer.experts.unbind()):
        taken_PD = soft.dispatch_TEP[:, expert].T @ x_TD
        expected_TD = expected_TD + soft.combine_TEP[:, expert] @ swiglu(taken_PD, *matrices)
    torch.testing.assert_close(y_TD, expected_TD)


def test_sequences_of_a_batch_do_not_mix_but_tokens_of_one_do_whatever_their_order() -> None:
    soft_layer, x_BSD = layer(), random_logits(4, 6, 8)
    y_BSD, soft = soft_layer(x_BSD)
    assert soft.dispatch_TEP.shape == (4, 6, 3, 2)
    for x_SD, y_SD in zip(x_BSD, y_BSD, strict=True):
        torch.testing.assert_close(soft_layer(x_SD)[0], y_SD)
        torch.testing.assert_close(soft_layer(x_SD.flip(0))[0], y_SD.flip(0))
    x_BSD[0, -1] = 5.0
    changed_BSD, _ = soft_layer(x_BSD)
    torch.testing.assert_close(changed_BSD[1:], y_BSD[1:])
    # not causal: the last token moves the first
    assert (changed_BSD[0, 0] - y_BSD[0, 0]).abs().max() > 1e-4


def test_everything_learns() -> None:
    soft_layer, x_TD = layer(), random_logits(10, 8).requires_grad_()
    soft_layer(x_TD)[0].square().sum().backward()
    for parameter in (x_TD, *soft_layer.parameters()):
        assert parameter.grad is not None
        assert (parameter.grad != 0).all()


def test_one_token_fills_every_slot_and_one_slot_serves_every_token() -> None:
    soft = soft_routing(random_logits(1, 4), random_logits(3, 2, 4))
    assert (soft.dispatch_TEP == 1).all()
    assert (soft_routing(random_logits(5, 4), random_logits(1, 1, 4)).combine_TEP == 1).all()


def test_no_tokens_come_out_as_none() -> None:
    y_TD, soft = layer()(torch.zeros(0, 8))
    assert y_TD.shape == (0, 8)
    assert soft.combine_TEP.shape == (0, 3, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_mixtures_are_made_in_float32_and_the_output_keeps_its_type(dtype: torch.dtype) -> None:
    x_TD, slots_EPD = random_logits(10, 4).to(dtype), random_logits(2, 3, 4, seed=1).to(dtype)
    soft = soft_routing(x_TD, slots_EPD)
    assert {soft.logits_TEP.dtype, soft.dispatch_TEP.dtype, soft.combine_TEP.dtype} == {torch.float32}
    assert soft.dispatch_TEP.equal(soft_routing(x_TD.float(), slots_EPD.float()).dispatch_TEP)
    assert soft_dispatch(x_TD, soft, lambda slots: slots).dtype == dtype
    y_TD, _ = layer().to(dtype)(random_logits(10, 8).to(dtype))
    assert y_TD.dtype == dtype


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
def test_a_logit_that_is_no_number_is_refused_with_its_place(value: float) -> None:
    x_TD = torch.ones(5, 2)
    slots_EPD = torch.zeros(3, 2, 2)
    slots_EPD[2, 1] = 2.0
    x_TD[4] = value
    with pytest.raises(
        ValueError, match=r"router logit of token 4 for slot [01] of expert [02] is (nan|inf), not finite"
    ):
        soft_routing(x_TD, slots_EPD)


def test_shapes_that_do_not_fit_and_empty_layers_are_refused_with_their_numbers() -> None:
    wrong: list[tuple[Tensor, Tensor]] = [
        (torch.zeros(5, 3), torch.zeros(2, 1, 4)),
        (torch.zeros(4), torch.zeros(2, 1, 4)),
        (torch.zeros(5, 4), torch.zeros(2, 4)),
        (torch.zeros(5, 4), torch.zeros(2, 0, 4)),
    ]
    for x_TD, slots_EPD in wrong:
        with pytest.raises(ValueError, match="do not fit slots"):
            soft_routing(x_TD, slots_EPD)
    with pytest.raises(ValueError, match="d_model=8, d_ff=12, num_experts=3, slots=0 must be above 0"):
        layer(slots=0)
