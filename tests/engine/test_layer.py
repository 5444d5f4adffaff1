"""The MoE layer against a loop over assignments, and what a token meets there."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import silu

from moedocs.config import BalanceConfig, RoutingConfig
from moedocs.engine import MoELayer, Routing
from moedocs.engine.layer import Dispatch

TOP_2_OF_4 = RoutingConfig(num_experts=4, top_k=2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_layer(layer: MoELayer, x_TD: Tensor, routing: Routing) -> Tensor:
    y_TD = torch.zeros_like(x_TD)
    for token, expert in routing.map_TE.nonzero().tolist():
        gate_DF, up_DF, down_FD = (matrix[expert] for matrix in layer.experts.parameters())
        x_D = x_TD[token]
        y_TD[token] += routing.weights_TE[token, expert] * ((silu(x_D @ gate_DF) * (x_D @ up_DF)) @ down_FD)
    return y_TD


@st.composite
def layers(draw: st.DrawFn) -> tuple[MoELayer, Tensor]:
    num_experts = draw(st.integers(1, 6))
    config = RoutingConfig(
        num_experts=num_experts,
        top_k=draw(st.integers(1, num_experts)),
        renormalise=draw(st.booleans()),
        capacity_factor=draw(st.sampled_from([None, 0.0, 0.5, 1.0])),
    )
    seed = draw(st.integers(0, 99))
    # fewer tokens than experts leave some experts empty, and 0 tokens leave all of them so
    x_TD = torch.randn(draw(st.integers(0, 7)), 6, generator=seeded(seed), dtype=torch.float64)
    return MoELayer(6, 4, config, generator=seeded(seed)).double(), x_TD


@given(layers())
def test_the_layer_equals_the_loop_over_assignments(drawn: tuple[MoELayer, Tensor]) -> None:
    layer, x_TD = drawn
    with torch.no_grad():
        y_TD, routing = layer(x_TD)
        torch.testing.assert_close(y_TD, slow_layer(layer, x_TD, routing))


@pytest.mark.parametrize("dispatch", get_args(Dispatch))
def test_a_token_whose_choices_were_all_dropped_comes_out_as_exact_zeros(dispatch: Dispatch) -> None:
    config = RoutingConfig(num_experts=4, top_k=2, capacity_factor=0.5)
    layer = MoELayer(16, 8, config, generator=seeded(), dispatch=dispatch)
    y_TD, routing = layer(torch.randn(40, 16, generator=seeded()))
    lost_T = ~routing.map_TE.any(1)
    assert lost_T.any()
    assert not y_TD[lost_T].any()
    assert y_TD[~lost_T].any(1).all()


def test_tokens_are_routed_one_by_one_whatever_shape_they_come_in() -> None:
    layer = MoELayer(16, 8, TOP_2_OF_4, generator=seeded())
    x_BSD = torch.randn(3, 5, 16, generator=seeded())
    y_BSD, routing = layer(x_BSD)
    assert y_BSD.flatten(0, 1).equal(layer(x_BSD.flatten(0, 1))[0])
    assert routing.map_TE.shape == (15, 4)


def test_a_bfloat16_layer_routes_in_float32() -> None:
    layer = MoELayer(16, 8, TOP_2_OF_4, generator=seeded()).bfloat16()
    x_TD = torch.randn(30, 16, generator=seeded()).bfloat16()
    y_TD, routing = layer(x_TD)
    assert y_TD.dtype == torch.bfloat16
    assert routing.logits_TE.equal(x_TD.float() @ layer.router_ED.float().T)


def test_a_layer_refuses_a_dispatch_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="dispatch='slow' must be one of fast, sorted, dense, grouped, buffers"):
        MoELayer(16, 8, TOP_2_OF_4, generator=seeded(), dispatch="slow")  # type: ignore[arg-type]


def test_the_layer_chooses_with_its_bias() -> None:
    layer = MoELayer(
        16, 8, RoutingConfig(num_experts=4, top_k=1, balance=BalanceConfig(bias_rate=0.1)), generator=seeded()
    )
    layer.bias_E = torch.tensor([0.0, 0.0, 2.0, 0.0])
    assert layer(torch.randn(30, 16, generator=seeded()))[1].index_TK.tolist() == [[2]] * 30


def test_fan_in_starts_router_and_experts_at_the_scale_of_their_input() -> None:
    layer = MoELayer(256, 512, TOP_2_OF_4, generator=seeded())
    x_TD = torch.randn(500, 256, generator=seeded(1))
    assert layer.route(x_TD).logits_TE.std().item() == pytest.approx(1, rel=0.1)
    assert (x_TD @ layer.experts.up_EDF[0]).std().item() == pytest.approx(1, rel=0.1)
    assert layer.experts.down_EFD.std().item() == pytest.approx(512**-0.5, rel=0.1)
