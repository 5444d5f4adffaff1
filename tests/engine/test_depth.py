"""Mixture of Depths against a loop over tokens, and the invariants of going past a block."""

import math
from collections import Counter
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moedocs.config.model import DepthWeight
from moedocs.engine import causal_choice, random_depth, through, top_c
from tests.drawing import random_logits
from tests.mixing import Mixing, slow_through
from tests.strategies import DepthCase, depth_cases

WIDTH = 4
ORDINARY = st.floats(-3, 3, width=32)


def doubled(x_BCD: Tensor, positions_BC: Tensor) -> Tensor:
    return x_BCD


def bits(x: Tensor) -> list[int]:
    return x.view(torch.int32).flatten().tolist()


@given(depth_cases())
def test_the_choice_equals_sorting_each_sequence_by_hand(case: DepthCase) -> None:
    routing = top_c(torch.from_numpy(case.logits_BS), case.capacity, weight=case.weight)
    assert routing.index_BC.shape == (len(case.logits_BS), case.capacity)
    for sequence, logits in enumerate(case.logits_BS.tolist()):
        chosen = sorted(sorted(range(len(logits)), key=lambda s: (-logits[s], s))[: case.capacity])
        assert routing.index_BC[sequence].tolist() == chosen
        assert routing.map_BS[sequence].tolist() == [position in chosen for position in range(len(logits))]
        path = logits if case.weight == "raw" else [math.exp(min(r, 0)) / (1 + math.exp(-abs(r))) for r in logits]
        expected = [path[position] if position in chosen else 0.0 for position in range(len(logits))]
        assert routing.weights_BS[sequence].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-37)


@settings(max_examples=40)
@given(depth_cases(least=1, elements=ORDINARY), st.integers(0, 99))
def test_the_way_through_equals_the_loop_in_values_and_gradients(case: DepthCase, seed: int) -> None:
    block = Mixing(WIDTH).double()
    x_BSD = random_logits(*case.logits_BS.shape, WIDTH, seed=seed).double().requires_grad_()
    logits_BS = torch.from_numpy(case.logits_BS).requires_grad_()
    learning = [x_BSD, logits_BS, *block.parameters()]
    routing = top_c(logits_BS, case.capacity, weight=case.weight)
    fast_BSD, slow_BSD = through(x_BSD, routing, block.added), slow_through(x_BSD, routing, block)
    torch.testing.assert_close(fast_BSD, slow_BSD)
    pull_BSD = random_logits(*x_BSD.shape, seed=seed + 1).double()
    fast = torch.autograd.grad(fast_BSD, learning, pull_BSD, retain_graph=True)
    slow = torch.autograd.grad(slow_BSD, learning, pull_BSD)
    for found, expected in zip(fast, slow, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@given(depth_cases(least=1, elements=ORDINARY))
def test_a_choice_of_varying_size_goes_through_as_the_loop_does_and_shows_the_block_no_padding(case: DepthCase) -> None:
    block, sizes = Mixing(WIDTH), []

    def seen(x_BCD: Tensor, positions_BC: Tensor) -> Tensor:
        assert (positions_BC >= 0).all()
        assert (positions_BC.diff() > 0).all()
        sizes.extend([positions_BC.shape[1]] * len(x_BCD))
        return block.added(x_BCD, positions_BC)

    x_BSD = random_logits(*case.logits_BS.shape, WIDTH)
    routing = causal_choice(torch.from_numpy(case.logits_BS), weight=case.weight)
    torch.testing.assert_close(through(x_BSD, routing, seen), slow_through(x_BSD, routing, block))
    assert sizes == [size for size in (case.logits_BS > 0).sum(1).tolist() if size]


@given(depth_cases(least=1))
def test_of_a_further_table_the_block_gets_the_entries_of_the_chosen(case: DepthCase) -> None:
    shape = case.logits_BS.shape
    ids_BS = torch.randint(99, shape, generator=torch.Generator())

    def block(x_BCD: Tensor, positions_BC: Tensor, ids_BC: Tensor) -> Tensor:
        return ids_BC[..., None].expand_as(x_BCD).float()

    for choice in (top_c(torch.from_numpy(case.logits_BS), case.capacity), causal_choice(random_logits(*shape))):
        out_BSD = through(torch.zeros(*shape, 1), replace(choice, weights_BS=torch.ones(shape)), block, ids_BS)
        assert out_BSD[..., 0].tolist() == (ids_BS * choice.map_BS).tolist()


@given(depth_cases(least=1), st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
def test_who_does_not_pass_stays_bit_for_bit(case: DepthCase, dtype: torch.dtype) -> None:
    odd = torch.tensor([-0.0, math.nan, math.inf, 1e-40]).to(dtype)
    x_BSD = odd.expand(*case.logits_BS.shape, WIDTH).clone()
    for choose in (lambda logits_BS: top_c(logits_BS, case.capacity), causal_choice):
        routing = choose(torch.from_numpy(case.logits_BS))
        out_BSD = through(x_BSD, routing, doubled)
        assert out_BSD.dtype == dtype
        assert bits(out_BSD[~routing.map_BS]) == bits(x_BSD[~routing.map_BS])


@settings(max_examples=40)
@given(depth_cases(least=1))
def test_a_place_for_everybody_and_weight_1_is_the_dense_block(case: DepthCase) -> None:
    block, shape = Mixing(WIDTH), case.logits_BS.shape
    x_BSD, positions_BS = random_logits(*shape, WIDTH), torch.arange(shape[1]).expand(shape)
    everybody = top_c(torch.from_numpy(case.logits_BS), shape[1])
    unweighted = replace(everybody, weights_BS=torch.ones(shape))
    by_chance = random_depth((shape[0], shape[1]), shape[1], generator=torch.Generator())
    for routing in (unweighted, by_chance):
        assert through(x_BSD, routing, block.added).equal(x_BSD + block.added(x_BSD, positions_BS))


@pytest.mark.parametrize(("weight", "slope"), [("raw", lambda r: 1.0), ("sigmoid", lambda r: r * (1 - r))])
def test_the_router_learns_through_the_weights_of_the_chosen_alone(weight: DepthWeight, slope: object) -> None:
    logits_BS, x_BSD = random_logits(2, 6).requires_grad_(), random_logits(2, 6, WIDTH, seed=1)
    routing = top_c(logits_BS, 3, weight=weight)
    (gradient_BS,) = torch.autograd.grad(through(x_BSD, routing, doubled).sum(), logits_BS)
    assert callable(slope)
    expected_BS = x_BSD.sum(-1) * slope(logits_BS.sigmoid()) * routing.map_BS
    torch.testing.assert_close(gradient_BS, expected_BS)
    assert not gradient_BS[~routing.map_BS].any()


def test_the_top_c_are_not_causal_a_later_token_takes_an_earlier_one_s_place() -> None:
    before = top_c(torch.tensor([[1.0, 2.0, 0.0]]), 2)
    after = top_c(torch.tensor([[1.0, 2.0, 3.0]]), 2)
    assert before.map_BS.tolist() == [[True, True, False]]
    assert after.map_BS.tolist() == [[False, True, True]]
    x_BSD = random_logits(1, 3, WIDTH)
    outputs = [through(x_BSD, routing, doubled)[0, 0] for routing in (before, after)]
    assert not outputs[0].equal(outputs[1])


@settings(max_examples=40)
@given(depth_cases(least=1), st.data())
def test_the_order_of_the_sequences_changes_nothing_else(case: DepthCase, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(case.logits_BS))))
    block, x_BSD = Mixing(WIDTH), random_logits(*case.logits_BS.shape, WIDTH)
    one = top_c(torch.from_numpy(case.logits_BS), case.capacity, weight="sigmoid")
    other = top_c(torch.from_numpy(case.logits_BS[order]), case.capacity, weight="sigmoid")
    assert other.index_BC.equal(one.index_BC[order])
    expected_BSD = through(x_BSD, one, block.added)[order]
    torch.testing.assert_close(through(x_BSD[order], other, block.added), expected_BSD)


def test_a_sequence_s_fate_does_not_depend_on_the_rest_of_its_batch() -> None:
    logits_BS, block, x_BSD = random_logits(5, 9), Mixing(WIDTH), random_logits(5, 9, WIDTH, seed=1)
    together = through(x_BSD, top_c(logits_BS, 3), block.added)
    alone = [through(x_BSD[[b]], top_c(logits_BS[[b]], 3), block.added) for b in range(5)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_equal_logits_go_to_the_earliest_positions() -> None:
    routing = top_c(torch.zeros(3, 100), 3)
    assert routing.index_BC.tolist() == [[0, 1, 2]] * 3
    assert top_c(torch.tensor([[-0.0, 0.0, -0.0, 0.0]]), 2).index_BC.tolist() == [[0, 1]]


def test_every_set_of_c_is_equally_likely_by_chance_with_weight_1() -> None:
    draws = 12_000
    routing = random_depth((draws, 5), 2, generator=torch.Generator().manual_seed(1))
    counts = Counter(tuple(row) for row in routing.index_BC.tolist())
    assert routing.weights_BS.equal(routing.map_BS.float())
    assert len(counts) == math.comb(5, 2)
    share = 1 / len(counts)
    spread = math.sqrt(share * (1 - share) / draws)
    assert all(abs(count / draws - share) < 4 * spread for count in counts.values())


def test_chance_is_the_generator_s_and_nobody_else_s() -> None:
    one, same, other = (random_depth((4, 50), 9, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert one.index_BC.equal(same.index_BC)
    assert one.logits_BS.equal(same.logits_BS)
    assert not one.index_BC.equal(other.index_BC)
    assert top_c(one.logits_BS, 9).index_BC.equal(one.index_BC)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_choice_is_made_in_float32_whatever_comes_in(dtype: torch.dtype) -> None:
    logits_BS = random_logits(3, 20).to(dtype)
    for choose in (lambda logits_BS: top_c(logits_BS, 5, weight="sigmoid"), causal_choice):
        routing, same = choose(logits_BS), choose(logits_BS.float())
        assert {routing.logits_BS.dtype, routing.weights_BS.dtype} == {torch.float32}
        assert routing.weights_BS.equal(same.weights_BS)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("choose", [lambda logits_BS: top_c(logits_BS, 2), causal_choice])
def test_a_logit_that_is_no_number_is_refused_with_its_place(choose: object, value: float) -> None:
    logits_BS = random_logits(4, 20)
    logits_BS[2, 17] = value
    assert callable(choose)
    with pytest.raises(ValueError, match=f"logit of sequence 2 at position 17 is {value}, not a finite number"):
        choose(logits_BS)


def test_a_logit_beyond_float32_is_refused_too() -> None:
    with pytest.raises(ValueError, match="sequence 0 at position 1 is inf, not a finite number in float32"):
        top_c(torch.tensor([[0.0, 1e300]], dtype=torch.float64), 1)


def test_shapes_and_names_that_do_not_fit_are_refused_with_their_numbers() -> None:
    for capacity in (-1, 8):
        with pytest.raises(ValueError, match=rf"capacity={capacity} must lie in 0\.\.7, the length of a sequence"):
            top_c(random_logits(2, 7), capacity)
    with pytest.raises(ValueError, match=r"one column per position, not \(7,\)"):
        top_c(random_logits(7), 2)
    with pytest.raises(ValueError, match="weight='plain' must be raw or sigmoid"):
        top_c(random_logits(2, 7), 2, weight="plain")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"tokens \(2, 6\) do not fit a choice among \(2, 7\)"):
        through(random_logits(2, 6, WIDTH), top_c(random_logits(2, 7), 2), doubled)
    with pytest.raises(ValueError, match=r"the block made \(2, 1, 4\) of tokens \(2, 3, 4\)"):
        through(random_logits(2, 7, WIDTH), top_c(random_logits(2, 7), 3), lambda x_BCD, _: x_BCD[:, :1])


@pytest.mark.parametrize(("shape", "capacity"), [((2, 7), 0), ((0, 7), 3), ((2, 0), 0)])
def test_where_nobody_passes_the_block_is_not_called(shape: tuple[int, int], capacity: int) -> None:
    def never(x_BCD: Tensor, positions_BC: Tensor) -> Tensor:
        raise AssertionError("called")

    x_BSD = random_logits(*shape, WIDTH)
    for routing in (
        top_c(random_logits(*shape), capacity),
        random_depth(shape, capacity, generator=torch.Generator()),
        causal_choice(-torch.ones(shape)),
    ):
        assert through(x_BSD, routing, never).equal(x_BSD)


def test_one_token_passes_and_meets_only_itself() -> None:
    block, x_BSD = Mixing(WIDTH), random_logits(1, 1, WIDTH)
    routing = top_c(torch.tensor([[0.5]]), 1)
    x_D = x_BSD[0, 0]
    mixed_D = x_D @ block.value_DD
    added_D = mixed_D + torch.tanh((x_D + mixed_D) @ block.feed_DD)
    torch.testing.assert_close(through(x_BSD, routing, block.added)[0, 0], x_D + 0.5 * added_D)


def test_no_argument_is_changed() -> None:
    logits_BS, x_BSD = random_logits(2, 6), random_logits(2, 6, WIDTH, seed=1)
    before = logits_BS.clone(), x_BSD.clone()
    for routing in (top_c(logits_BS, 2), causal_choice(logits_BS)):
        kept = deepcopy(routing)
        out_BSD = through(x_BSD, routing, doubled)
        out_BSD += 1
        for name in ("logits_BS", "weights_BS", "map_BS", "index_BC"):
            assert getattr(routing, name).equal(getattr(kept, name))
    assert logits_BS.equal(before[0])
    assert x_BSD.equal(before[1])
