"""Capacity and balancing against transformers, st-moe-pytorch and megatron-core: values and gradients, many shapes."""

# mypy: disable-error-code="no-untyped-call"
# (transformers annotates its forward passes, not its constructors)

import importlib
import math
import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import NllbMoeConfig, SwitchTransformersConfig
from transformers.models.mixtral import modeling_mixtral as mixtral
from transformers.models.nllb_moe import modeling_nllb_moe as nllb
from transformers.models.qwen2_moe import modeling_qwen2_moe as qwen
from transformers.models.switch_transformers import modeling_switch_transformers as switch

from moedocs.engine import (
    Routing,
    assignment_share,
    auxiliary_loss,
    l1_loss,
    pooled,
    relu_routing,
    softmax_top_k,
    with_capacity,
    z_loss,
)
from tests.drawing import random_logits

few = settings(max_examples=25)


@dataclass(frozen=True)
class Shape:
    """Sequences, their length, experts, choices, and a seed for the logits."""

    B: int
    S: int
    E: int
    K: int
    seed: int

    def logits(self, *, layer: int = 0) -> Tensor:
        """(B * S, E), a sequence after the other, no two alike."""
        return (3 * random_logits(self.B * self.S, self.E, seed=1000 * layer + self.seed)).requires_grad_()


@st.composite
def shapes(draw: st.DrawFn, least_experts: int = 1) -> Shape:
    experts = draw(st.integers(least_experts, 9))
    sizes = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    return Shape(*sizes, experts, draw(st.integers(1, experts)), draw(st.integers(0, 999)))


def quietly(module: str) -> Any:
    """Import, or skip the test where it does not install; what these warn of on import is theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(module.split(".")[0])
        return importlib.import_module(module)


@pytest.fixture(scope="module")
def megatron() -> Any:
    return quietly("megatron.core.transformer.moe.moe_utils")


@pytest.fixture(scope="module")
def st_moe() -> Any:
    return quietly("st_moe_pytorch.st_moe_pytorch")


def assert_same_loss(ours: Tensor, theirs: Any, *inputs: Tensor) -> None:
    """Equal in value and in the gradient of every input; theirs are tensors whatever their annotations say."""
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, inputs, retain_graph=True) for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("theirs", [mixtral, qwen], ids=["mixtral", "qwen2"])
@few
@given(shape=shapes(), layers=st.integers(1, 4))
def test_k_times_the_loss_of_pooled_layers_is_transformers_mixtral_and_qwen_loss(
    theirs: Any, shape: Shape, layers: int
) -> None:
    logits = [shape.logits(layer=layer) for layer in range(layers)]
    both = pooled([softmax_top_k(logits_TE, shape.K) for logits_TE in logits])
    expected = theirs.load_balancing_loss_func(tuple(logits), shape.E, shape.K)
    assert_same_loss(shape.K * auxiliary_loss(both), expected, *logits)


@few
@given(shapes())
def test_the_loss_per_sequence_is_switch_s_loss_on_several_sequences(shape: Shape) -> None:
    logits_TE = shape.logits()
    routing = softmax_top_k(logits_TE, 1)
    probs_BSE = logits_TE.softmax(-1).view(shape.B, shape.S, shape.E)
    expected = switch.load_balancing_loss_func(probs_BSE, routing.index_TK.view(shape.B, shape.S))
    assert_same_loss(auxiliary_loss(routing, group_size=shape.S), expected, logits_TE)


@few
@given(shapes())
def test_the_z_loss_is_switch_s(shape: Shape) -> None:
    logits_TE = shape.logits()
    expected = switch.router_z_loss_func(logits_TE.view(shape.B, shape.S, shape.E))
    assert_same_loss(z_loss(softmax_top_k(logits_TE, shape.K)), expected, logits_TE)


@few
@given(shapes(least_experts=2), st.booleans())
def test_z_loss_and_first_choices_per_sequence_are_st_moe_s_losses(st_moe: Any, shape: Shape, wide: bool) -> None:
    # theirs counts first choices after capacity, in place: so let there be room for all
    top_n = 2 + (wide and shape.E > 2)
    gating = st_moe.TopNGating(shape.E, shape.E, top_n=top_n, capacity_factor_train=float(shape.E)).train()
    with torch.no_grad():
        gating.to_gates.weight.copy_(torch.eye(shape.E))
    logits_TE = shape.logits()
    *_, balance, z = gating(logits_TE.view(shape.B, shape.S, shape.E))
    routing = softmax_top_k(logits_TE, 1)
    assert_same_loss(auxiliary_loss(routing, group_size=shape.S), balance, logits_TE)
    assert_same_loss(z_loss(routing), z, logits_TE)


def megatron_loss(megatron: Any, routing: Routing, top_k: int, counts_E: Tensor | None = None) -> Tensor:
    num_tokens, num_experts = routing.probs_TE.shape
    counts_E = routing.map_TE.sum(0) if counts_E is None else counts_E
    loss = megatron.switch_load_balancing_loss_func(routing.probs_TE, counts_E, num_tokens, top_k, num_experts, 1.0)
    assert isinstance(loss, Tensor)
    return loss


@few
@given(shapes())
def test_auxiliary_and_z_loss_are_megatron_s(megatron: Any, shape: Shape) -> None:
    logits_TE = shape.logits()
    routing = softmax_top_k(logits_TE, shape.K)
    assert_same_loss(auxiliary_loss(routing), megatron_loss(megatron, routing, shape.K), logits_TE)
    assert_same_loss(z_loss(routing), megatron.z_loss_func(logits_TE, 1.0), logits_TE)


@few
@given(shapes())
def test_the_loss_per_sequence_is_megatron_s_with_sequences_as_more_experts(megatron: Any, shape: Shape) -> None:
    def sequence_first(table_TE: Tensor) -> Tensor:
        return table_TE.view(shape.B, shape.S, shape.E).transpose(0, 1).reshape(shape.S, shape.B * shape.E)

    logits_TE = shape.logits()
    routing = softmax_top_k(logits_TE, shape.K)
    total = megatron.switch_load_balancing_loss_func(
        sequence_first(routing.probs_TE), sequence_first(routing.map_TE).sum(0), shape.S, shape.K, shape.E, 1.0
    )
    assert_same_loss(auxiliary_loss(routing, group_size=shape.S), total / shape.B, logits_TE)


@few
@given(shapes(), st.integers(1, 4))
def test_the_loss_by_the_share_of_a_global_batch_is_megatron_s(megatron: Any, shape: Shape, batches: int) -> None:
    logits = [shape.logits(layer=batch) for batch in range(batches)]
    routings = [softmax_top_k(logits_TE, shape.K) for logits_TE in logits]
    share_E = assignment_share(routings)
    mean_E = torch.stack([routing.map_TE.sum(0) for routing in routings]).double().mean(0).float()
    for logits_TE, routing in zip(logits, routings, strict=True):
        expected = megatron_loss(megatron, routing, shape.K, mean_E)
        assert_same_loss(auxiliary_loss(routing, share_E=share_E), expected, logits_TE)


@few
@given(shapes())
def test_the_refined_l1_loss_is_megatron_s_formula_on_relu_weights(megatron: Any, shape: Shape) -> None:
    logits_TE = shape.logits()
    routing = relu_routing(logits_TE)
    expected = megatron.switch_load_balancing_loss_func(
        routing.weights_TE, routing.map_TE.sum(0), len(logits_TE), shape.K, shape.E, 1.0
    )
    assert_same_loss(l1_loss(routing, top_k=shape.K), expected, logits_TE)


def assert_same_weights(ours: Routing, map_TE: Tensor, weights_TE: Tensor, logits_TE: Tensor) -> None:
    assert ours.map_TE.equal(map_TE)
    pull_TE = random_logits(*weights_TE.shape, seed=5)
    assert_same_loss((ours.weights_TE * pull_TE).sum(), (weights_TE * pull_TE).sum(), logits_TE)
    torch.testing.assert_close(ours.weights_TE, weights_TE)


def as_router(router: nn.Module) -> nn.Module:
    """A router whose input is its logits."""
    with torch.no_grad():
        weight = router.get_parameter("classifier.weight")
        weight.copy_(torch.eye(len(weight)))
    return router


@few
@given(shapes(), st.integers(0, 8))
def test_capacity_per_sequence_is_switch_s_on_several_sequences(shape: Shape, slots: int) -> None:
    config = SwitchTransformersConfig(d_model=shape.E, num_experts=shape.E, expert_capacity=slots)
    router = as_router(switch.SwitchTransformersTop1Router(config).eval())
    logits_TE = shape.logits()
    map_BSE, weights_BS1, _ = router(logits_TE.view(shape.B, shape.S, shape.E))
    ours = with_capacity(softmax_top_k(logits_TE, 1, renormalise=False), slots, group_size=shape.S)
    assert_same_weights(ours, map_BSE.flatten(0, 1).bool(), (weights_BS1 * map_BSE).flatten(0, 1), logits_TE)


@few
@given(shapes(least_experts=2), st.integers(0, 12), st.booleans())
def test_top_2_by_order_and_batch_prioritized_are_nllb_s_router(shape: Shape, slots: int, prioritized: bool) -> None:
    config = NllbMoeConfig(
        d_model=shape.E,
        num_experts=shape.E,
        expert_capacity=slots,
        second_expert_policy="all",
        normalize_router_prob_before_dropping=True,
        batch_prioritized_routing=prioritized,
    )
    router = as_router(nllb.NllbMoeTop2Router(config))
    logits_TE = shape.logits()
    first_TE, weights_TE, _ = router(logits_TE)
    order = "batch-prioritized" if prioritized else "order"
    ours = with_capacity(softmax_top_k(logits_TE, 2), slots, order=order)  # type: ignore[arg-type]
    assert_same_weights(ours, weights_TE.detach() > 0, weights_TE, logits_TE)
    first = torch.zeros_like(ours.map_TE).scatter(1, ours.index_TK[:, :1], True)
    assert (ours.map_TE & first).equal(first_TE.bool())


@few
@given(shapes(least_experts=2), st.sampled_from([0.1, 0.5, 1.0, 1.3, 9.0]))
def test_capacity_by_probability_is_megatron_s_drop_policy(megatron: Any, shape: Shape, factor: float) -> None:
    logits_TE = shape.logits()
    before = softmax_top_k(logits_TE / 3, shape.K, renormalise=False)  # small, or probabilities would tie at 1
    weights_TE, map_TE = megatron.apply_router_token_dropping(before.weights_TE, before.map_TE, shape.K, factor)
    slots = math.ceil(len(logits_TE) * shape.K / shape.E * factor)
    assert_same_weights(with_capacity(before, slots, order="probability"), map_TE, weights_TE, logits_TE)
