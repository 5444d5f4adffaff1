"""Routing that draws: the use of the draws against loops, the draws against their stated chances.

Monte Carlo means are held to five standard errors, from fixed seeds.
"""

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import softplus

from moedocs.engine import (
    Routing,
    gshard_top_2,
    jittered,
    load_probability,
    noisy_logits,
    noisy_top_k,
    softmax_top_k,
    top_k_softmax,
    with_capacity,
)
from tests.drawing import random_logits
from tests.frequency import ROUNDS, assert_frequent, repeated, seeded


@dataclass(frozen=True)
class Noisy:
    clean_TE: Tensor
    noise_logits_TE: Tensor
    top_k: int
    seed: int

    @property
    def routing(self) -> Routing:
        return noisy_top_k(self.clean_TE, self.noise_logits_TE, self.top_k, generator=seeded(self.seed))

    def load_probability(self, routing: Routing) -> Tensor:
        return load_probability(self.clean_TE, self.noise_logits_TE, routing)


@st.composite
def noisies(draw: st.DrawFn) -> Noisy:
    shape, seed = (draw(st.integers(1, 6)), draw(st.integers(2, 7))), draw(st.integers(0, 10**6))
    clean_TE, noise_TE = (2 * random_logits(*shape, seed=seed + more) for more in (1, 2))
    return Noisy(clean_TE.requires_grad_(), noise_TE.requires_grad_(), draw(st.integers(1, shape[1] - 1)), seed)


@given(noisies())
@settings(max_examples=40)
def test_noisy_top_k_adds_a_normal_draw_times_softplus_and_then_keeps_the_top_k(noisy: Noisy) -> None:
    routing = noisy.routing
    normal_TE = torch.randn(noisy.clean_TE.shape, generator=seeded(noisy.seed))
    for token, expert in itertools.product(*map(range, normal_TE.shape)):
        tables = noisy.clean_TE, noisy.noise_logits_TE, normal_TE
        clean, noise, normal = (table[token, expert].item() for table in tables)
        expected = clean + normal * math.log1p(math.exp(noise))
        assert routing.logits_TE[token, expert].item() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    again = top_k_softmax(noisy_logits(noisy.clean_TE, noisy.noise_logits_TE, normal_TE), noisy.top_k)
    assert routing.index_TK.equal(again.index_TK)
    assert routing.weights_TE.equal(again.weights_TE)
    assert routing.probs_TE.equal(routing.logits_TE.softmax(-1))


def test_the_noise_has_mean_0_and_the_learned_deviation() -> None:
    clean_TE, noise_logits_TE = torch.tensor([[1.0, -2.0, 0.0]]), torch.tensor([[0.0, 2.0, -3.0]])
    noisy_NE = noisy_top_k(repeated(clean_TE), repeated(noise_logits_TE), 1, generator=seeded()).logits_TE
    deviation_E = softplus(noise_logits_TE[0])
    assert ((noisy_NE.mean(0) - clean_TE[0]).abs() <= 5 * deviation_E / ROUNDS**0.5).all()
    assert ((noisy_NE.std(0) / deviation_E - 1).abs() <= 5 / (2 * ROUNDS) ** 0.5).all()


def slow_load_probability(noisy: Noisy, routing: Routing) -> Tensor:
    """P that clean + deviation * normal exceeds the K-th highest noisy logit of the others."""
    chance_TE = torch.zeros_like(noisy.clean_TE)
    deviation_TE = softplus(noisy.noise_logits_TE)
    for token, expert in itertools.product(*map(range, chance_TE.shape)):
        others = [logit for other, logit in enumerate(routing.logits_TE[token]) if other != expert]
        bound = sorted(others, key=lambda logit: logit.item())[-noisy.top_k]
        height = (noisy.clean_TE[token, expert] - bound) / deviation_TE[token, expert]
        chance_TE[token, expert] = (1 + torch.erf(height / 2**0.5)) / 2
    return chance_TE


@given(noisies())
@settings(max_examples=40)
def test_the_load_probability_equals_the_loop_in_values_and_gradients(noisy: Noisy) -> None:
    results, tables = [], [noisy.clean_TE, noisy.noise_logits_TE]
    for chance_TE in (noisy.load_probability(noisy.routing), slow_load_probability(noisy, noisy.routing)):
        pulled = (chance_TE * random_logits(*chance_TE.shape)).sum()
        results.append([chance_TE, *torch.autograd.grad(pulled, tables)])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_the_load_probability_is_how_often_an_expert_stays_when_its_own_noise_is_drawn_again(top_k: int) -> None:
    clean_TE, noise_logits_TE = random_logits(3, 5), random_logits(3, 5, seed=1)
    routing = noisy_top_k(clean_TE, noise_logits_TE, top_k, generator=seeded(2))
    chance_TE = load_probability(clean_TE, noise_logits_TE, routing).double()
    own_NTE = clean_TE + softplus(noise_logits_TE) * torch.randn(ROUNDS, 3, 5, generator=seeded(3))
    for expert in range(5):
        again_NTE = routing.logits_TE.repeat(ROUNDS, 1, 1)
        again_NTE[:, :, expert] = own_NTE[:, :, expert]
        stays_NT = (again_NTE.topk(top_k).indices == expert).any(-1)
        assert_frequent(stays_NT, chance_TE[:, expert])


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_mean_load_probability_is_how_often_each_expert_is_chosen(top_k: int) -> None:
    clean_NE, noise_logits_NE = repeated(random_logits(1, 5)), repeated(random_logits(1, 5, seed=1))
    routing = noisy_top_k(clean_NE, noise_logits_NE, top_k, generator=seeded(2))
    difference_NE = load_probability(clean_NE, noise_logits_NE, routing).double() - routing.map_TE.double()
    assert (difference_NE.mean(0).abs() <= 5 * difference_NE.std(0) / ROUNDS**0.5).all()


EXTREMES = [3e38, -3e38, 1e4, -1e4, 0.0, -0.0, -60.0, 60.0]


@given(st.data(), st.integers(1, 4), st.integers(1, 6))
def test_extreme_logits_leave_chances_and_gradients_finite(data: st.DataObject, tokens: int, num_experts: int) -> None:
    rows = st.lists(st.sampled_from(EXTREMES), min_size=num_experts, max_size=num_experts)
    tables = st.lists(rows, min_size=tokens, max_size=tokens).map(lambda table: torch.tensor(table).requires_grad_())
    clean_TE, noise_logits_TE = data.draw(tables), data.draw(tables)
    # no noise at all: noise of a deviation near 3e38 leaves float32
    noisy_TE = noisy_logits(clean_TE, noise_logits_TE, torch.zeros(tokens, num_experts))
    routing = top_k_softmax(noisy_TE, data.draw(st.integers(1, num_experts)))
    chance_TE = load_probability(clean_TE, noise_logits_TE, routing)
    assert ((chance_TE >= 0) & (chance_TE <= 1)).all()
    loss = ((chance_TE + routing.weights_TE) * random_logits(tokens, num_experts)).sum()
    for gradient_TE in torch.autograd.grad(loss, [clean_TE, noise_logits_TE]):
        assert gradient_TE.isfinite().all()


def test_noise_that_leaves_float32_is_refused_with_its_token() -> None:
    clean_TE, noise_logits_TE = torch.zeros(50, 3), torch.tensor([0.0, 3e38, 0.0]).expand(50, 3)
    with pytest.raises(ValueError, match=r"router logit of token \d+ for expert 1 is -?inf, not a finite number"):
        noisy_top_k(clean_TE, noise_logits_TE, 1, generator=seeded())


def test_no_tokens_are_no_routing_and_no_error() -> None:
    nobody_TE = torch.zeros(0, 4)
    routing = noisy_top_k(nobody_TE, nobody_TE, 2, generator=seeded())
    assert routing.index_TK.shape == (0, 2)
    assert load_probability(nobody_TE, nobody_TE, routing).shape == (0, 4)
    assert gshard_top_2(nobody_TE, generator=seeded()).index_TK.shape == (0, 2)


def test_with_as_many_choices_as_experts_each_is_certain() -> None:
    noisy = Noisy(random_logits(5, 4), random_logits(5, 4, seed=1), 4, 0)
    assert noisy.load_probability(noisy.routing).equal(torch.ones(5, 4))


def test_choices_that_capacity_dropped_keep_their_load_probability() -> None:
    noisy = Noisy(random_logits(50, 4), random_logits(50, 4, seed=1), 2, 0)
    chances = [noisy.load_probability(routing) for routing in (noisy.routing, with_capacity(noisy.routing, 3))]
    assert chances[0].equal(chances[1])


def test_tables_that_do_not_fit_each_other_are_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"noise logits of shape \(5, 3\) does not fit router logits of shape"):
        noisy_top_k(random_logits(5, 4), random_logits(5, 3), 2, generator=seeded())
    with pytest.raises(ValueError, match=r"noise of shape \(4, 4\) does not fit router logits of shape \(5, 4\)"):
        noisy_logits(random_logits(5, 4), random_logits(5, 4), random_logits(4, 4))
    with pytest.raises(ValueError, match=r"a routing of shape \(4, 4\) does not fit router logits of shape \(5, 4\)"):
        load_probability(random_logits(5, 4), random_logits(5, 4), softmax_top_k(random_logits(4, 4), 2))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_no_number_is_refused_with_its_table_token_and_expert(value: float) -> None:
    good_TE, bad_TE = random_logits(5, 4), random_logits(5, 4)
    bad_TE[3, 1] = value
    with pytest.raises(ValueError, match=f"^router logit of token 3 for expert 1 is {value}"):
        noisy_top_k(bad_TE, good_TE, 2, generator=seeded())
    with pytest.raises(ValueError, match=f"^noise logit of token 3 for expert 1 is {value}"):
        noisy_top_k(good_TE, bad_TE, 2, generator=seeded())


@given(st.floats(0, 1), st.integers(0, 99), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_jitter_multiplies_each_number_by_its_own_uniform_draw(epsilon: float, seed: int, dtype: torch.dtype) -> None:
    x_TD = random_logits(4, 3, seed=seed).to(dtype)
    uniform_TD = torch.rand(4, 3, generator=seeded(seed))
    expected_TD = x_TD * (1 - epsilon + 2 * epsilon * uniform_TD).to(dtype)
    found_TD = jittered(x_TD, epsilon, generator=seeded(seed))
    assert found_TD.dtype == dtype
    torch.testing.assert_close(found_TD, expected_TD)
    assert jittered(x_TD, 0.0, generator=seeded(seed)).equal(x_TD)


def test_jitter_spreads_evenly_between_its_bounds() -> None:
    factor_N = jittered(torch.ones(ROUNDS, 1), 0.1, generator=seeded())
    deviation = 0.2 / 12**0.5
    assert factor_N.min() >= 0.9 - 1e-6
    assert factor_N.max() <= 1.1 + 1e-6
    assert abs(factor_N.mean() - 1) <= 5 * deviation / ROUNDS**0.5
    # the square of a uniform draw's distance from its mean has a deviation of 2 / sqrt(5) of that mean square
    assert abs((factor_N - 1).square().mean() / deviation**2 - 1) <= 5 * (4 / 5 / ROUNDS) ** 0.5


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, math.nan])
def test_jitter_refuses_an_epsilon_outside_0_to_1(epsilon: float) -> None:
    with pytest.raises(ValueError, match=rf"epsilon={epsilon} must lie in 0\.\.1"):
        jittered(random_logits(4, 3), epsilon, generator=seeded())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_noise_is_float32_whatever_comes_in(dtype: torch.dtype) -> None:
    clean_TE, noise_TE = random_logits(20, 8).to(dtype), random_logits(20, 8, seed=1).to(dtype)
    routing = noisy_top_k(clean_TE, noise_TE, 2, generator=seeded())
    same = noisy_top_k(clean_TE.float(), noise_TE.float(), 2, generator=seeded())
    assert routing.weights_TE.equal(same.weights_TE)
    assert load_probability(clean_TE, noise_TE, routing).dtype == torch.float32
    assert gshard_top_2(clean_TE, generator=seeded()).weights_TE.dtype == torch.float32


def test_the_generator_is_the_only_randomness_and_no_argument_is_changed() -> None:
    tables = [random_logits(20, 8), random_logits(20, 8, seed=1)]
    copies = [table.clone() for table in tables]
    state = torch.get_rng_state()
    drawn = []
    for seed in (7, 7, 8):
        generator = seeded(seed)
        noisy = noisy_top_k(tables[0], tables[1], 2, generator=generator)
        load_probability(tables[0], tables[1], noisy)
        second = gshard_top_2(tables[0], generator=generator)
        drawn.append([noisy.logits_TE, second.weights_TE, jittered(tables[0], 0.1, generator=generator)])
    assert torch.get_rng_state().equal(state)
    assert all(a.equal(b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not any(a.equal(b) for a, b in zip(drawn[0], drawn[2], strict=True))
    assert all(table.equal(copy) for table, copy in zip(tables, copies, strict=True))
