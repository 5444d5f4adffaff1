"""Losses and rules that even out the load, against sums written out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import variation
from torch import Tensor

from moedocs.config import BalanceConfig
from moedocs.config.routing import AuxiliaryOver
from moedocs.engine import (
    Routing,
    assignment_share,
    auxiliary_loss,
    balancing_loss,
    importance_loss,
    l1_loss,
    load,
    load_loss,
    pooled,
    softmax_top_k,
    updated_bias,
    updated_l1_weight,
    with_capacity,
    z_loss,
)
from tests.drawing import random_logits
from tests.gaps import Grouped, grouped
from tests.strategies import Case, cases
from tests.twins import FIELDS

few = settings(max_examples=50)

SHIFTED_TE = torch.stack([torch.arange(8.0).roll(shift) for shift in range(8)])  # each expert is once at each rank
ORDINARY = st.floats(-8, 8, width=32)


def relu_routed(logits_TE: Tensor) -> Routing:
    """What the losses read of a ReLU routing."""
    weights_TE = logits_TE.relu()
    shares_TE = weights_TE / weights_TE.sum(1, keepdim=True).clamp(min=1e-30)
    map_TE = weights_TE > 0
    index_TK = torch.where(map_TE, torch.arange(logits_TE.shape[1]), -1)
    return Routing(logits_TE, shares_TE, map_TE, weights_TE, index_TK, torch.zeros_like(map_TE))


def chancy(routing: Routing, load_probability_TE: Tensor | None = None) -> Routing:
    """The routing with these chances, or its probabilities for want of any."""
    return replace(
        routing, load_probability_TE=routing.probs_TE if load_probability_TE is None else load_probability_TE
    )


def slow_auxiliary(routing: Routing, tokens: list[int], share: list[float] | None = None) -> float:
    num_experts = routing.map_TE.shape[1]
    choices = [expert for row in routing.index_TK[tokens].tolist() for expert in row if expert >= 0]
    share = share or [choices.count(expert) / max(len(choices), 1) for expert in range(num_experts)]
    mean: list[float] = routing.probs_TE[tokens].double().mean(0).tolist()
    return num_experts * sum(f * p for f, p in zip(share, mean, strict=True))


@given(cases(least_tokens=1), st.integers(0, 10))
def test_the_auxiliary_loss_is_switch_equation_4_over_choices(case: Case, slots: int) -> None:
    routing = softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k, renormalise=case.renormalise)
    expected = slow_auxiliary(routing, list(range(len(case.logits_TE))))
    assert auxiliary_loss(routing).item() == pytest.approx(expected, rel=1e-5, abs=1e-30)
    assert auxiliary_loss(with_capacity(routing, slots)).equal(auxiliary_loss(routing))
    choices = routing.index_TK.flatten().tolist()
    assert load(routing).tolist() == [choices.count(expert) for expert in range(case.num_experts)]


@few
@given(grouped(least_tokens=1))
def test_the_auxiliary_loss_per_sequence_is_the_mean_of_each_one_s(drawn: Grouped) -> None:
    losses = [slow_auxiliary(drawn.routing, tokens) for tokens in drawn.groups]
    found = auxiliary_loss(drawn.routing, group_size=drawn.group_size).item()
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-5, abs=1e-30)


@few
@given(grouped(least_tokens=1), st.data())
def test_a_share_from_elsewhere_takes_the_place_of_f(drawn: Grouped, data: st.DataObject) -> None:
    size = drawn.routing.map_TE.shape[1]
    parts = data.draw(st.lists(st.integers(0, 9), min_size=size, max_size=size).filter(any))
    share_E = torch.tensor(parts, dtype=torch.float64) / sum(parts)
    expected = slow_auxiliary(drawn.routing, list(range(len(drawn.routing.map_TE))), share_E.tolist())
    assert auxiliary_loss(drawn.routing, share_E=share_E).item() == pytest.approx(expected, rel=1e-5, abs=1e-30)


def test_the_mean_loss_of_micro_batches_with_their_joint_share_is_the_loss_of_the_whole_batch() -> None:
    whole_TE = random_logits(60, 8).requires_grad_()
    parts = [softmax_top_k(part_TE, 2) for part_TE in whole_TE.chunk(3)]
    share_E = assignment_share(parts)
    joint = torch.stack([auxiliary_loss(part, share_E=share_E) for part in parts]).mean()
    whole = auxiliary_loss(softmax_top_k(whole_TE, 2))
    torch.testing.assert_close(joint, whole)
    torch.testing.assert_close(*(torch.autograd.grad(loss, whole_TE)[0] for loss in (joint, whole)))
    alone = torch.stack([auxiliary_loss(part) for part in parts]).mean()
    assert abs(alone - whole) > 1e-4


def test_the_joint_share_counts_assignments_and_not_batches() -> None:
    small, large = softmax_top_k(10 * torch.eye(2)[[0]], 1), softmax_top_k(10 * torch.eye(2)[[1] * 9], 1)
    assert assignment_share([small]).tolist() == [1, 0]
    assert assignment_share([small, large]).tolist() == pytest.approx([0.1, 0.9])
    assert assignment_share([relu_routed(-torch.ones(3, 2))]).tolist() == [0, 0]


@pytest.mark.parametrize("top_k", [1, 2, 8])
def test_the_auxiliary_loss_is_1_at_perfect_balance_and_more_after_collapse(top_k: int) -> None:
    assert auxiliary_loss(softmax_top_k(SHIFTED_TE, top_k)).item() == pytest.approx(1)
    assert auxiliary_loss(softmax_top_k(SHIFTED_TE, top_k), group_size=8).item() == pytest.approx(1)
    collapsed = softmax_top_k(20 * torch.eye(8)[[0] * 8], top_k)
    assert auxiliary_loss(collapsed).item() == pytest.approx(8 / top_k)


def test_each_sequence_may_be_unbalanced_while_the_batch_is_even() -> None:
    one_each = softmax_top_k(20 * torch.eye(4).repeat_interleave(5, dim=0), 1)  # each sequence of 5 likes one expert
    assert auxiliary_loss(one_each).item() == pytest.approx(1)
    assert auxiliary_loss(one_each, group_size=5).item() == pytest.approx(4)


def test_the_auxiliary_loss_can_fall_below_1_without_balance() -> None:
    narrow_TE = torch.tensor([[0.5001, 0.4999]] * 3 + [[0.0001, 0.9999]]).log()
    assert auxiliary_loss(softmax_top_k(narrow_TE, 1)).item() == pytest.approx(0.875, abs=1e-3)


def test_the_auxiliary_loss_learns_through_the_mean_probability_alone() -> None:
    logits_TE = random_logits(50, 8).requires_grad_()
    routing = softmax_top_k(logits_TE, 2)
    (gradient_TE,) = torch.autograd.grad(auxiliary_loss(routing), logits_TE)
    constant_E = load(routing) / 100
    (expected_TE,) = torch.autograd.grad(8 * (constant_E * logits_TE.softmax(-1).mean(0)).sum(), logits_TE)
    torch.testing.assert_close(gradient_TE, expected_TE)
    assert gradient_TE.any()


def test_a_share_that_is_none_is_refused() -> None:
    routing = softmax_top_k(random_logits(6, 2), 1)
    with pytest.raises(ValueError, match="one share_E does not go with 3 groups of tokens"):
        auxiliary_loss(routing, group_size=2, share_E=torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"share_E of shape \(3,\) does not fit num_experts=2"):
        auxiliary_loss(routing, share_E=torch.ones(3) / 3)
    for counts_E, total in (([2, 4], "6"), ([0.5, 0.498], "0.99"), ([0.5, 0.502], "1.00")):
        with pytest.raises(ValueError, match=f"share_E sums to {total}"):
            auxiliary_loss(routing, share_E=torch.tensor(counts_E))
    assert auxiliary_loss(routing, share_E=torch.zeros(2)).item() == 0


def test_a_share_from_elsewhere_is_a_constant() -> None:
    logits_TE, share_E = random_logits(6, 2).requires_grad_(), torch.tensor([0.25, 0.75], requires_grad=True)
    loss = auxiliary_loss(softmax_top_k(logits_TE, 1), share_E=share_E)
    gradient_TE, none_E = torch.autograd.grad(loss, (logits_TE, share_E), materialize_grads=True)
    assert gradient_TE.any()
    assert not none_E.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_losses_are_float32_whatever_comes_in(dtype: torch.dtype) -> None:
    routing = softmax_top_k(random_logits(12, 4).to(dtype), 2)
    same = softmax_top_k(routing.logits_TE, 2)
    for loss in (auxiliary_loss, z_loss, importance_loss, l1_loss):
        assert loss(routing).dtype == torch.float32
        assert loss(routing).equal(loss(same))


@pytest.mark.parametrize("loss", [auxiliary_loss, z_loss, l1_loss])
def test_a_mean_over_no_tokens_is_refused(loss: Callable[[Routing], Tensor]) -> None:
    nobody = softmax_top_k(torch.zeros(0, 8), 2)
    with pytest.raises(ValueError, match="of 0 tokens is not defined"):
        loss(nobody)
    with pytest.raises(ValueError, match="constant loss of 0 tokens is not defined"):
        balancing_loss([nobody], BalanceConfig(constant_weight=0.1))


@few
@given(grouped(), grouped())
def test_pooled_routings_are_one_after_the_other(first: Grouped, second: Grouped) -> None:
    routings = [first.routing, second.routing]
    widths = [routing.map_TE.shape[1] for routing in routings]
    if len(set(widths)) > 1:
        with pytest.raises(ValueError, match=f"over \\[{widths[0]}, {widths[1]}\\] experts cannot be pooled"):
            pooled(routings)
        return
    both = pooled(routings)
    for field in FIELDS:
        rows = [row for routing in routings for row in getattr(routing, field).tolist()]
        if field == "index_TK":
            most = both.index_TK.shape[1]
            assert most == max(routing.index_TK.shape[1] for routing in routings)
            rows = [row + [-1] * (most - len(row)) for row in rows]
        assert getattr(both, field).tolist() == rows


def test_pooled_layers_may_make_up_for_each_other() -> None:
    layers = [softmax_top_k(20 * torch.eye(2)[[expert] * 5], 1) for expert in (0, 1)]
    assert [auxiliary_loss(layer).item() for layer in layers] == pytest.approx([2, 2])
    assert auxiliary_loss(pooled(layers)).item() == pytest.approx(1)
    with pytest.raises(ValueError, match=r"over \[\] experts"):
        pooled([])


@few
@given(cases(least_tokens=1, elements=ORDINARY | st.sampled_from([1e4, -1e4])))
def test_the_z_loss_is_the_mean_square_of_the_log_of_the_sum_of_exponentials(case: Case) -> None:
    logs = np.logaddexp.reduce(case.logits_TE.astype(np.float64), axis=1)
    found = z_loss(softmax_top_k(torch.from_numpy(case.logits_TE), 1)).item()
    slack = 4 * np.finfo(np.float32).eps * max(1.0, np.abs(case.logits_TE).max())  # of one logarithm, in float32
    assert found == pytest.approx(np.square(logs).mean(), rel=1e-5, abs=(2 * np.abs(logs) * slack + slack**2).mean())


def test_the_z_loss_looks_at_the_size_of_logits_and_not_at_balance() -> None:
    assert z_loss(softmax_top_k(torch.zeros(5, 8), 2)).item() == pytest.approx(np.log(8) ** 2)
    assert z_loss(softmax_top_k(torch.full((5, 8), -float(np.log(8))), 2)).item() == pytest.approx(0, abs=1e-12)
    even, uneven = (z_loss(softmax_top_k(table_TE, 2)) for table_TE in (SHIFTED_TE, SHIFTED_TE[[0] * 8]))
    torch.testing.assert_close(even, uneven)
    assert z_loss(softmax_top_k(torch.full((5, 8), 3e38), 2)).isinf()


@few
@given(grouped(), st.integers(0, 10))
def test_importance_and_load_losses_are_scipy_s_variation_squared(drawn: Grouped, slots: int) -> None:
    routing = with_capacity(drawn.routing, slots)
    pairs = ((importance_loss(routing), routing.weights_TE), (load_loss(chancy(routing)), routing.probs_TE))
    for loss, table_TE in pairs:
        sums_E = table_TE.double().sum(0).numpy()
        expected = variation(sums_E) ** 2 if sums_E.any() else 0.0
        assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_importance_and_load_losses_are_0_at_perfect_balance_and_one_less_than_the_experts_after_collapse() -> None:
    for top_k in (1, 2, 8):
        balanced = softmax_top_k(SHIFTED_TE, top_k)
        assert importance_loss(balanced).item() == pytest.approx(0, abs=1e-10)
        assert load_loss(chancy(balanced)).item() == pytest.approx(0, abs=1e-10)
    one = softmax_top_k(20 * torch.eye(8)[[3] * 5], 1)
    assert importance_loss(one).item() == pytest.approx(7)
    assert load_loss(chancy(one, one.map_TE.float())).item() == pytest.approx(7)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e30])
def test_squared_variation_has_the_gradient_of_variance_over_squared_mean_at_any_scale(scale: float) -> None:
    chances_TE = random_logits(30, 8).exp().requires_grad_()
    routing = chancy(softmax_top_k(chances_TE, 2), chances_TE * scale)
    (found_TE,) = torch.autograd.grad(load_loss(routing), chances_TE)
    sums_E = chances_TE.double().sum(0)
    loss = sums_E.var(correction=0) / sums_E.mean().square()
    torch.testing.assert_close(found_TE, torch.autograd.grad(loss, chances_TE)[0], rtol=1e-4, atol=1e-8)
    assert found_TE.any()


def test_even_importance_is_not_even_load() -> None:
    routing = softmax_top_k(torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]]).log(), 1, renormalise=False)
    assert load(routing).tolist() == [1, 2]
    assert importance_loss(routing) < importance_loss(softmax_top_k(routing.logits_TE, 1))


@few
@given(cases(least_tokens=1, elements=ORDINARY), st.integers(1, 3))
def test_the_l1_loss_is_the_mean_sum_of_weights_each_times_the_load_of_its_expert(case: Case, top_k: int) -> None:
    routing = relu_routed(torch.from_numpy(case.logits_TE))
    tokens, experts = case.logits_TE.shape
    weights = np.maximum(case.logits_TE.astype(np.float64), 0)
    factors = experts / (top_k * tokens) * (weights > 0).sum(0)
    assert l1_loss(routing).item() == pytest.approx(weights.sum() / tokens, rel=1e-5)
    assert l1_loss(routing, top_k=top_k).item() == pytest.approx((factors * weights).sum() / tokens, rel=1e-5)


def test_the_refined_l1_loss_is_the_plain_one_at_balance_and_presses_more_on_the_busier_expert() -> None:
    even = relu_routed(SHIFTED_TE - 5)  # logits -5 to 2: two of 8 above 0
    torch.testing.assert_close(l1_loss(even, top_k=2), l1_loss(even))
    logits_TE = torch.tensor([[1.0, -1.0], [1.0, 1.0], [1.0, -1.0]]).requires_grad_()
    (gradient_TE,) = torch.autograd.grad(l1_loss(relu_routed(logits_TE), top_k=1), logits_TE)
    torch.testing.assert_close(gradient_TE, torch.tensor([[2 / 3, 0], [2 / 3, 2 / 9], [2 / 3, 0]]))


@few
@given(cases(least_tokens=1), st.data())
def test_the_l1_weight_follows_the_sign_of_the_missing_sparsity(case: Case, data: st.DataObject) -> None:
    routing = relu_routed(torch.from_numpy(case.logits_TE))
    top_k = data.draw(st.integers(1, case.num_experts))
    sparsity, wanted = 1 - routing.map_TE.double().mean().item(), 1 - top_k / case.num_experts
    sign = 0 if abs(wanted - sparsity) < 1e-9 else np.sign(wanted - sparsity)
    assert updated_l1_weight(3e-8, routing, top_k, 1.25) == pytest.approx(3e-8 * 1.25**sign)
    assert updated_l1_weight(3e-8, routing, top_k) == pytest.approx(3e-8 * 1.2**sign)


def test_the_l1_weight_rests_at_the_wanted_number_of_assignments_however_uneven() -> None:
    routing = relu_routed(torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0]]))  # 4 in all, 2 per token
    assert [updated_l1_weight(8.0, routing, top_k, 2.0) for top_k in (1, 2, 3)] == [16.0, 8.0, 4.0]


def test_the_bias_goes_up_for_a_short_expert_down_for_a_full_one_and_rests_at_the_mean() -> None:
    bias_E = updated_bias(torch.tensor([0.5, 0.5, 0.5]), torch.tensor([1, 9, 5]), 0.25)
    assert bias_E.tolist() == [0.75, 0.25, 0.5]
    assert updated_bias(torch.zeros(3), torch.tensor([7, 7, 7]), 0.25).tolist() == [0, 0, 0]


@few
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9), st.floats(0, 1))
def test_the_bias_rule_is_the_sign_of_mean_minus_load(counts: list[int], rate: float) -> None:
    moved_E = updated_bias(torch.zeros(len(counts), dtype=torch.float64), torch.tensor(counts), rate)
    total, size = sum(counts), len(counts)
    assert moved_E.tolist() == [rate * np.sign(total - size * count) for count in counts]


def test_the_bias_rule_evens_out_a_skewed_router() -> None:
    logits_TE = random_logits(1000, 8) + torch.linspace(0, 3, 8)
    bias_E = torch.zeros(8)
    for _ in range(200):
        bias_E = updated_bias(bias_E, load(softmax_top_k(logits_TE, 2, bias_E=bias_E)), 0.002)
    mean = 1000 * 2 / 8
    assert load(softmax_top_k(logits_TE, 2)).max() > 2 * mean
    assert load(softmax_top_k(logits_TE, 2, bias_E=bias_E)).max() < 1.1 * mean


def test_the_bias_before_is_left_as_it_was() -> None:
    bias_E = torch.zeros(3)
    updated_bias(bias_E, torch.tensor([1, 2, 3]), 0.1)
    assert not bias_E.any()


WEIGHTS = st.sampled_from([0.0, 0.01, 0.5])


@few
@given(
    st.builds(
        BalanceConfig,
        auxiliary_weight=st.sampled_from([0.01, 0.5]),
        auxiliary_pooled=st.booleans(),
        z_weight=WEIGHTS,
        importance_weight=WEIGHTS,
        load_weight=WEIGHTS,
        l1_weight=WEIGHTS,
        constant_weight=WEIGHTS,
    ),
    st.integers(1, 3),
)
def test_the_balancing_loss_is_the_weighted_sum_over_layers(config: BalanceConfig, layers: int) -> None:
    routings = [chancy(softmax_top_k(random_logits(12, 4, seed=seed), 2)) for seed in range(layers)]
    auxiliary = [auxiliary_loss(one) for one in ([pooled(routings)] if config.auxiliary_pooled else routings)]
    expected = config.auxiliary_weight * sum(auxiliary)
    for one in routings:
        expected += config.z_weight * z_loss(one) + config.importance_weight * importance_loss(one)
        expected += config.load_weight * load_loss(one) + config.l1_weight * l1_loss(one)
        expected += config.constant_weight / 4
    found = balancing_loss(routings, config)
    torch.testing.assert_close(found, expected)


def test_the_balancing_loss_takes_the_auxiliary_one_per_sequence_where_the_config_says_so() -> None:
    config = BalanceConfig(auxiliary_weight=0.5, auxiliary_over="sequence")
    routings = [softmax_top_k(random_logits(12, 4, seed=seed), 2) for seed in range(2)]
    expected = 0.5 * sum(auxiliary_loss(one, group_size=6) for one in routings)
    torch.testing.assert_close(balancing_loss(routings, config, num_sequences=2), expected)
    assert balancing_loss(routings, BalanceConfig(auxiliary_weight=0.5), num_sequences=2) != expected


def test_per_micro_batch_it_is_the_mean_of_each_part_s_loss_and_with_one_part_that_of_the_batch() -> None:
    config = BalanceConfig(auxiliary_weight=0.5, auxiliary_over="micro-batch")
    logits_TE = random_logits(24, 4)
    whole, parts = softmax_top_k(logits_TE, 2), [softmax_top_k(part_TE, 2) for part_TE in logits_TE.chunk(3)]
    expected = 0.5 * torch.stack([auxiliary_loss(part) for part in parts]).mean()
    torch.testing.assert_close(balancing_loss([whole], config, micro_batches=3, num_sequences=6), expected)
    batch = balancing_loss([whole], BalanceConfig(auxiliary_weight=0.5))
    assert balancing_loss([whole], config, micro_batches=1).equal(batch)
    assert abs(batch - expected) > 1e-3


@pytest.mark.parametrize("over", ["micro-batch", "sequence"])
def test_layers_of_unlike_length_are_each_cut_into_as_many_parts(over: AuxiliaryOver) -> None:
    config = BalanceConfig(auxiliary_weight=0.5, auxiliary_over=over, z_weight=0.1)
    whole, short = softmax_top_k(random_logits(24, 4), 2), softmax_top_k(random_logits(6, 4), 2)
    expected = 0.5 * (auxiliary_loss(whole, group_size=8) + auxiliary_loss(short, group_size=2))
    found = balancing_loss([whole, short], config, num_sequences=3, micro_batches=3)
    torch.testing.assert_close(found, expected + 0.1 * (z_loss(whole) + z_loss(short)))


@pytest.mark.parametrize(("over", "name"), [("micro-batch", "micro_batches"), ("sequence", "num_sequences")])
def test_parts_that_are_needed_and_not_told_or_do_not_fit_are_refused(over: AuxiliaryOver, name: str) -> None:
    config = BalanceConfig(auxiliary_weight=0.5, auxiliary_over=over)
    routing = softmax_top_k(random_logits(8, 4), 2)
    with pytest.raises(ValueError, match=f"auxiliary_over='{over}' needs {name}"):
        balancing_loss([routing], config)
    for parts in (3, 0, 9):  # 8 // 3 = 2 divides 8 too, and would make 4 parts of 3
        with pytest.raises(ValueError, match=f"8 tokens cannot be cut into {name}={parts} equal parts"):
            balancing_loss([routing], config, **{name: parts})


def test_the_constant_loss_adds_its_weight_over_the_experts_and_pulls_at_nothing() -> None:
    logits_TE = (4 * random_logits(40, 8) + torch.arange(8.0)).requires_grad_()
    routing = softmax_top_k(logits_TE, 2)
    assert load(routing).max() > 2 * load(routing).double().mean()
    found = balancing_loss([routing, routing], BalanceConfig(constant_weight=1000.0))
    assert found.item() == pytest.approx(2 * 1000 / 8)
    real = balancing_loss([routing], BalanceConfig(auxiliary_weight=1000.0))
    (gradient_TE,) = torch.autograd.grad(found, logits_TE, retain_graph=True)
    assert gradient_TE.abs().max() < 1e-5
    assert torch.autograd.grad(real, logits_TE)[0].abs().max() > 1


def test_the_balancing_loss_takes_the_l1_weight_as_it_has_become() -> None:
    routing = relu_routed(random_logits(12, 4))
    found = balancing_loss([routing], BalanceConfig(l1_weight=1e-8), l1_weight=0.25, top_k=2)
    torch.testing.assert_close(found, 0.25 * l1_loss(routing, top_k=2))


def test_a_config_that_asks_for_nothing_costs_nothing_whatever_the_losses_would_be() -> None:
    routing = softmax_top_k(torch.full((3, 4), 3e38), 2)
    assert balancing_loss([routing], BalanceConfig()).item() == 0
    assert balancing_loss([], BalanceConfig(auxiliary_weight=1.0, auxiliary_pooled=True)).item() == 0
    assert balancing_loss([routing], BalanceConfig(auxiliary_weight=1.0)).isfinite()


def test_a_load_loss_needs_load_probabilities_and_pooling_keeps_them_where_all_have_them() -> None:
    plain = softmax_top_k(random_logits(12, 4), 2)
    with pytest.raises(ValueError, match="load loss needs a load probability"):
        balancing_loss([chancy(plain), plain], BalanceConfig(load_weight=0.1))
    assert pooled([chancy(plain), plain]).load_probability_TE is None
    both = pooled([chancy(plain), chancy(plain)]).load_probability_TE
    assert both is not None
    assert both.equal(plain.probs_TE.repeat(2, 1))
