"""Integrated MoDE: no-op experts are experts that return zeros, at no cost."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs.config import RoutingConfig
from moedocs.engine import (
    MoELayer,
    Routing,
    auxiliary_loss,
    load,
    no_op_share,
    residual_alone,
    softmax_top_k,
    with_capacity,
)
from tests.drawing import random_logits
from tests.strategies import Case, cases

WIDTH, HIDDEN, EXPERTS, NO_OPS = 6, 5, 3, 2


def layers(top_k: int, renormalise: bool, factor: float | None = None) -> tuple[MoELayer, MoELayer]:
    """A layer with no-ops, and one whose real experts in their place return zeros."""
    config = RoutingConfig(
        num_experts=EXPERTS, no_op_experts=NO_OPS, top_k=top_k, renormalise=renormalise, capacity_factor=factor
    )
    zeros = RoutingConfig(num_experts=EXPERTS + NO_OPS, top_k=top_k, renormalise=renormalise, capacity_factor=factor)
    one = MoELayer(WIDTH, HIDDEN, config, generator=torch.Generator().manual_seed(0))
    other = MoELayer(WIDTH, HIDDEN, zeros, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        other.router_ED.copy_(one.router_ED)
        for mine, theirs in zip(one.experts.parameters(), other.experts.parameters(), strict=True):
            theirs[:EXPERTS] = mine
        other.experts.down_EFD[EXPERTS:] = 0
    return one, other


@pytest.mark.parametrize("factor", [None, 0.5])
@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_a_no_op_is_an_expert_that_returns_zeros(top_k: int, renormalise: bool, factor: float | None) -> None:
    one, other = layers(top_k, renormalise, factor)
    x_TD = random_logits(40, WIDTH)
    found_TD, routing = one(x_TD)
    expected_TD, same = other(x_TD)
    torch.testing.assert_close(found_TD, expected_TD)
    assert routing.map_TE.equal(same.map_TE)
    found = torch.autograd.grad(found_TD.square().sum(), list(one.parameters()), allow_unused=True)
    expected = torch.autograd.grad(expected_TD.square().sum(), list(other.parameters()), allow_unused=True)
    names = [name for name, _ in one.named_parameters()]
    for name, mine, theirs in zip(names, found, expected, strict=True):
        torch.testing.assert_close(mine, theirs if name.startswith("router") else theirs[:EXPERTS])


def test_who_is_routed_to_no_ops_alone_gets_exactly_the_residual() -> None:
    layer, _ = layers(1, False)
    x_TD = random_logits(200, WIDTH)
    out_TD, routing = layer(x_TD)
    alone_T = residual_alone(routing, EXPERTS)
    assert 0 < alone_T.sum() < 200
    assert not out_TD[alone_T].any()
    assert out_TD[~alone_T].any(1).all()
    (gradient_TD,) = torch.autograd.grad(layer(x_TD.requires_grad_())[0].sum(), x_TD)
    assert not gradient_TD[alone_T].any()


def test_the_weight_of_a_no_op_is_missing_from_the_experts() -> None:
    # expert 0 and no-op 3 are the two best: half of the renormalised weight goes to the residual, which has it already
    routing = softmax_top_k(torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]]), 2)
    assert routing.weights_TE.tolist() == [[0.5, 0.0, 0.0, 0.5, 0.0]]
    assert residual_alone(routing, EXPERTS).tolist() == [False]
    assert no_op_share(routing, EXPERTS).item() == 0.5


def test_equal_scores_go_to_the_experts_before_the_no_ops() -> None:
    routing = softmax_top_k(torch.zeros(4, EXPERTS + NO_OPS), EXPERTS)
    assert no_op_share(routing, EXPERTS) == 0


@given(cases(least_tokens=1), st.data(), st.integers(0, 5))
def test_both_numbers_equal_counting_token_by_token(case: Case, data: st.DataObject, slots: int) -> None:
    real = data.draw(st.integers(1, case.num_experts))
    before = softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise)
    for routing in (before, with_capacity(before, slots)):
        served = [[e for e in range(real) if kept[e]] for kept in routing.map_TE.tolist()]
        assert residual_alone(routing, real).tolist() == [not experts for experts in served]
        to_no_ops = sum(choice >= real for row in routing.index_TK.tolist() for choice in row)
        assert no_op_share(routing, real).item() == pytest.approx(to_no_ops / routing.index_TK.numel())


def test_balance_counts_no_ops_as_choices() -> None:
    logits_TE = torch.eye(EXPERTS + NO_OPS).repeat(4, 1)
    routing = softmax_top_k(logits_TE, 1)
    assert load(routing).tolist() == [4] * (EXPERTS + NO_OPS)
    assert auxiliary_loss(routing).item() == pytest.approx(1)
    assert no_op_share(routing, EXPERTS).item() == pytest.approx(NO_OPS / (EXPERTS + NO_OPS))


def empty() -> Routing:
    return softmax_top_k(torch.zeros(0, 5), 1)


def test_numbers_that_do_not_fit_are_refused() -> None:
    for refusing in (residual_alone, no_op_share):
        for num_experts in (0, 6):
            with pytest.raises(ValueError, match=rf"num_experts={num_experts} must lie in 1\.\.5, the choices of"):
                refusing(empty(), num_experts)
    with pytest.raises(ValueError, match="the no-op share of 0 assignments is not defined"):
        no_op_share(empty(), 5)
    assert residual_alone(empty(), 5).shape == (0,)
