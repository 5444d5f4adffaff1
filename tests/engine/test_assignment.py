"""Hash routing, BASE and Sinkhorn against loops and what must hold of them."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs.engine import base_assignment, hash_routing, hash_table, load, sinkhorn, sinkhorn_plan
from tests.drawing import random_logits
from tests.strategies import Case, cases

MODERATE = st.floats(-8, 8, width=32)
# near enough for Sinkhorn to converge in few rounds, and for what it adds to its sums not to count
NEAR = st.floats(-2, 2, width=32)


def drawn_table(vocab_size: int, num_experts: int, top_k: int, seed: int = 0) -> torch.Tensor:
    return hash_table(vocab_size, num_experts, top_k, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 60), st.integers(1, 9), st.data())
def test_a_hash_table_gives_each_entry_different_experts_and_each_expert_as_many_entries(
    vocab_size: int, num_experts: int, data: st.DataObject
) -> None:
    top_k = data.draw(st.integers(1, num_experts))
    table_VK = drawn_table(vocab_size, num_experts, top_k, seed=data.draw(st.integers(0, 99)))
    assert table_VK.shape == (vocab_size, top_k)
    assert all(len(set(row)) == top_k for row in table_VK.tolist())
    counts_E = table_VK.flatten().bincount(minlength=num_experts)
    assert len(counts_E) == num_experts
    assert counts_E.max() - counts_E.min() <= 1


def test_a_hash_table_is_random_in_its_pairs_and_the_same_for_the_same_seed() -> None:
    table_VK = drawn_table(3000, 4, 2)
    assert table_VK.equal(drawn_table(3000, 4, 2))
    assert not table_VK.equal(drawn_table(3000, 4, 2, seed=1))
    pairs = Counter(map(tuple, table_VK.tolist()))
    assert len(pairs) == 12
    # 250 of each ordered pair on average, spread by 15
    assert max(abs(count - 250) for count in pairs.values()) < 75


def test_hash_routing_goes_by_the_table_with_equal_weights() -> None:
    table_VK = torch.tensor([[2, 0], [1, 2], [0, 1]])
    routing = hash_routing(torch.tensor([1, 1, 0], dtype=torch.uint8), table_VK, 4)
    assert routing.index_TK.tolist() == [[1, 2], [1, 2], [2, 0]]
    assert routing.weights_TE.tolist() == [[0.0, 0.5, 0.5, 0.0]] * 2 + [[0.5, 0.0, 0.5, 0.0]]
    assert routing.probs_TE.equal(routing.weights_TE)
    assert routing.map_TE.equal(routing.weights_TE > 0)
    assert not routing.logits_TE.any()
    assert not routing.dropped_TE.any()
    assert hash_routing(torch.tensor([1]), table_VK, 4, scaling=3.0).weights_TE.tolist() == [[0.0, 1.5, 1.5, 0.0]]


@given(cases(elements=MODERATE), st.integers(0, 99), st.sampled_from([1.0, 2.5]))
def test_hash_routing_with_logits_equals_the_loop_over_tokens(case: Case, seed: int, scaling: float) -> None:
    table_VK = drawn_table(5, case.num_experts, case.top_k, seed)
    ids_T = torch.randint(0, 5, (len(case.logits_TE),), generator=torch.Generator().manual_seed(seed))
    routing = hash_routing(ids_T, table_VK, case.num_experts, torch.from_numpy(case.logits_TE), scaling=scaling)
    assert routing.logits_TE.equal(torch.from_numpy(case.logits_TE))
    for token, logits in enumerate(case.logits_TE.tolist()):
        scores = [math.sqrt(math.log1p(math.exp(logit))) for logit in logits]
        chosen = sorted(table_VK[ids_T[token]].tolist())
        among = sum(scores[expert] for expert in chosen)
        weights = [scaling * scores[e] / among if e in chosen else 0.0 for e in range(case.num_experts)]
        assert routing.weights_TE[token].tolist() == pytest.approx(weights, rel=1e-5)
        assert routing.probs_TE[token].tolist() == pytest.approx([score / sum(scores) for score in scores], rel=1e-5)
        assert routing.map_TE[token].nonzero().flatten().tolist() == chosen
        assert routing.index_TK[token].tolist() == sorted(chosen, key=lambda expert: -logits[expert])


def test_hash_weights_survive_the_underflow_of_every_score_in_values_and_gradients() -> None:
    logits_TE = torch.tensor([[-200.0, -202.0, 5.0], [3e38, -3e38, 0.0]], requires_grad=True)
    routing = hash_routing(torch.tensor([0, 0]), torch.tensor([[0, 1]]), 3, logits_TE)
    # sqrt(softplus(x)) is sqrt(exp(x)) far below 0: the two differ by a factor of e
    assert routing.weights_TE[0].tolist() == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0.0])
    assert routing.weights_TE[1].tolist() == [1.0, 0.0, 0.0]
    (gradient_TE,) = torch.autograd.grad(routing.weights_TE[:, 0].sum(), logits_TE)
    slope = math.e / (1 + math.e) ** 2 / 2
    assert gradient_TE.flatten().tolist() == pytest.approx([slope, -slope, 0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("logit", [-20.5, -20.0, -19.5])
def test_the_two_branches_of_the_score_meet(logit: float) -> None:
    routing = hash_routing(torch.tensor([0]), torch.tensor([[0, 1]]), 2, torch.tensor([[logit, 0.0]]))
    scores = [math.sqrt(math.log1p(math.exp(x))) for x in (logit, 0.0)]
    assert routing.weights_TE[0].tolist() == pytest.approx([score / sum(scores) for score in scores], rel=1e-6)


def test_hash_routing_refuses_what_is_not_in_the_table_or_does_not_fit() -> None:
    table_VK = torch.tensor([[0, 1], [2, 2], [3, 0], [-1, 0]])
    for token_id, found in ((4, 4), (-1, -1)):
        with pytest.raises(ValueError, match=rf"id of token 1 is {found}, not in 0\.\.3"):
            hash_routing(torch.tensor([0, token_id]), table_VK, 3)
    for token_id, experts in ((1, r"\[2, 2\]"), (2, r"\[3, 0\]"), (3, r"\[-1, 0\]")):
        with pytest.raises(ValueError, match=rf"experts of token 1 are {experts}, not different ones in 0\.\.2"):
            hash_routing(torch.tensor([0, token_id]), table_VK, 3)
    with pytest.raises(ValueError, match=r"router logits of shape \(1, 3\) do not fit \(2, 3\)"):
        hash_routing(torch.tensor([0, 0]), table_VK, 3, torch.zeros(1, 3))
    for ids in (torch.tensor([0.0]), torch.tensor([[0]])):
        with pytest.raises(ValueError, match="ids must be one row of whole numbers"):
            hash_routing(ids, table_VK, 3)
    for table in (torch.tensor([0, 1]), torch.zeros(4, 0, dtype=torch.int64), torch.zeros(4, 1)):
        with pytest.raises(ValueError, match="the table must have a row of experts per id"):
            hash_routing(torch.tensor([0]), table, 3)


def test_an_impossible_hash_table_is_refused_with_its_numbers() -> None:
    with pytest.raises(ValueError, match="vocab_size=0 must be at least 1"):
        drawn_table(0, 3, 1)
    for top_k in (0, 4):
        with pytest.raises(ValueError, match=rf"top_k={top_k} must lie in 1\.\.num_experts=3"):
            drawn_table(5, 3, top_k)


@given(cases())
def test_base_gives_each_expert_its_even_share_and_weighs_by_the_sigmoid(case: Case) -> None:
    logits_TE = torch.from_numpy(case.logits_TE)
    routing = base_assignment(logits_TE)
    counts_E = load(routing)
    assert counts_E.max() - counts_E.min() <= 1
    assert (routing.map_TE.sum(1) == 1).all()
    assert routing.weights_TE.equal(logits_TE.sigmoid() * routing.map_TE)
    assert routing.probs_TE.equal(logits_TE.softmax(-1))
    assert routing.map_TE.gather(1, routing.index_TK).all()


@given(cases())
def test_base_without_balance_and_sinkhorn_without_it_take_the_highest_logits(case: Case) -> None:
    logits_TE = torch.from_numpy(case.logits_TE)
    expected = [
        sorted(range(case.num_experts), key=lambda expert, row=row: -row[expert])  # type: ignore[misc]
        for row in case.logits_TE.tolist()
    ]
    base = base_assignment(logits_TE, balanced=False)
    assert base.index_TK.tolist() == [row[:1] for row in expected]
    assert base.weights_TE.equal(logits_TE.sigmoid() * base.map_TE)
    plain = sinkhorn(logits_TE, case.top_k, balanced=False)
    assert plain.index_TK.tolist() == [row[: case.top_k] for row in expected]


@given(cases(least_tokens=1, elements=NEAR))
def test_the_sinkhorn_plan_has_even_rows_and_columns(case: Case) -> None:
    plan_TE = sinkhorn_plan(torch.from_numpy(case.logits_TE), tolerance=1e-6).double()
    num_tokens, num_experts = plan_TE.shape
    assert plan_TE.sum(0).tolist() == pytest.approx([1 / num_experts] * num_experts, rel=1e-5)
    assert plan_TE.sum(1).tolist() == pytest.approx([1 / num_tokens] * num_tokens, rel=1e-4)


@given(cases(least_tokens=1, elements=NEAR), st.floats(-2, 2, width=16))
def test_the_sinkhorn_plan_does_not_see_what_a_token_or_an_expert_adds_to_all_its_logits(
    case: Case, shift: float
) -> None:
    logits_TE = torch.from_numpy(case.logits_TE).double()
    plan_TE = sinkhorn_plan(logits_TE, tolerance=1e-6)
    logits_TE[:, 0] += shift
    logits_TE[-1] += 30.0
    torch.testing.assert_close(sinkhorn_plan(logits_TE, tolerance=1e-6), plan_TE, rtol=1e-3, atol=0.0)


def test_sinkhorn_evens_out_a_router_with_favourites_and_weighs_by_its_logits() -> None:
    logits_TE = random_logits(512, 8) + torch.linspace(0, 4, 8)
    for top_k in (1, 2):
        even, plain = sinkhorn(logits_TE, top_k), sinkhorn(logits_TE, top_k, balanced=False)
        assert load(plain).max() > 3 * 64 * top_k
        assert load(even).max() < 1.5 * 64 * top_k
        scores_TE = logits_TE.sigmoid() if top_k == 1 else logits_TE.softmax(-1)
        assert even.weights_TE.equal(scores_TE * even.map_TE)
        assert even.probs_TE.equal(logits_TE.softmax(-1))


def test_sinkhorn_lists_choices_by_the_plan_that_chose_them() -> None:
    logits_TE = random_logits(40, 6) + torch.linspace(0, 4, 6)
    routing = sinkhorn(logits_TE, 3)
    planned_TK = sinkhorn_plan(logits_TE).gather(1, routing.index_TK)
    assert (planned_TK.diff(dim=1) <= 0).all()
    assert (logits_TE.gather(1, routing.index_TK).diff(dim=1) > 0).any()


@pytest.mark.parametrize("top_k", [1, 2])
def test_sinkhorn_s_gradient_goes_through_the_weights_and_not_through_the_plan(top_k: int) -> None:
    logits_TE = random_logits(20, 4).requires_grad_()
    pull_TE = random_logits(20, 4, seed=1)
    routing = sinkhorn(logits_TE, top_k)
    scores_TE = logits_TE.sigmoid() if top_k == 1 else logits_TE.softmax(-1)
    gradients = [
        torch.autograd.grad((table_TE * pull_TE).sum(), logits_TE)[0]
        for table_TE in (routing.weights_TE, scores_TE * routing.map_TE)
    ]
    torch.testing.assert_close(*gradients)
    assert not sinkhorn_plan(logits_TE).requires_grad


def test_sinkhorn_ends_where_an_expert_can_never_have_its_share() -> None:
    logits_TE = random_logits(50, 4)
    logits_TE[:, 2] = -3e38
    routing = sinkhorn(logits_TE, 1)
    assert load(routing)[2] == 0
    assert sinkhorn_plan(logits_TE).isfinite().all()
    one_round = sinkhorn_plan(logits_TE, most_rounds=1)
    assert not one_round.equal(sinkhorn_plan(logits_TE, most_rounds=2))


def test_equal_entries_of_the_plan_go_to_the_lowest_expert_index() -> None:
    assert sinkhorn(torch.zeros(30, 16), 3).index_TK.tolist() == [[0, 1, 2]] * 30
    # the two experts change places in every other row, so each row ties on paper once balanced
    routing = sinkhorn(torch.tensor([[0.3, 0.1, 0.2], [0.1, 0.3, 0.2]] * 9), 3)
    assert routing.index_TK.tolist() == [[0, 2, 1], [1, 2, 0]] * 9
