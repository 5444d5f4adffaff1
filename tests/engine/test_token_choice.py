"""Token choice against loops that can be checked by eye."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor

from moedocs.engine import Groups, Routing, sigmoid_top_k, softmax_top_k, switch_top_1, top_k_softmax
from tests.drawing import random_logits
from tests.strategies import Case, Choice, cases, choices

ROUTERS: dict[str, Callable[[Tensor], Routing]] = {
    "softmax": partial(softmax_top_k, top_k=2),
    "softmax, not renormalised": partial(softmax_top_k, top_k=2, renormalise=False),
    "sigmoid": partial(sigmoid_top_k, top_k=2),
    "sigmoid, not renormalised": partial(sigmoid_top_k, top_k=2, renormalise=False),
    "sigmoid, grouped": partial(sigmoid_top_k, top_k=2, groups=Groups(4, 2)),
    "top-k first": partial(top_k_softmax, top_k=2),
    "Switch": switch_top_1,
}
every_router = pytest.mark.parametrize("route", ROUTERS.values(), ids=ROUTERS.keys())


def options(choice: Choice) -> dict[str, Any]:
    bias_E = None if choice.bias_E is None else torch.from_numpy(choice.bias_E)
    return {
        "renormalise": choice.renormalise,
        "bias_E": bias_E,
        "groups": choice.groups,
        "scaling": choice.scaling,
    }


def slow_choice(scores: list[float], top_k: int, open_to: set[int] | None = None) -> list[int]:
    able = range(len(scores)) if open_to is None else sorted(open_to)
    return sorted(able, key=lambda expert: -scores[expert])[:top_k]  # sorted() keeps the order of what is equal


def slow_open(scores: list[float], groups: Groups | None, best: int) -> set[int]:
    """The experts that a token may use: of the groups whose `best` highest scores have the highest sum in float32."""
    if groups is None:
        return set(range(len(scores)))
    size = len(scores) // groups.count
    runs = [list(range(start, start + size)) for start in range(0, len(scores), size)]
    sums = [float(sum(torch.tensor(sorted(scores[expert] for expert in run)[-best:]))) for run in runs]
    return {expert for group in slow_choice(sums, groups.chosen) for expert in runs[group]}


def slow_weights(logs: list[float], chosen: list[int], renormalise: bool = True) -> list[float]:
    """exp of the logarithmic scores, where asked as shares of the chosen; the highest is taken out first."""
    top = max(logs[expert] for expert in chosen) if renormalise else 0.0
    total = sum(math.exp(logs[expert] - top) for expert in chosen) if renormalise else 1.0
    return [math.exp(logs[expert] - top) / total if expert in chosen else 0.0 for expert in range(len(logs))]


def log_softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    total = math.log(sum(math.exp(logit - top) for logit in logits))
    return [logit - top - total for logit in logits]


def log_sigmoid(logits: list[float]) -> list[float]:
    return [min(logit, 0) - math.log1p(math.exp(-abs(logit))) for logit in logits]


def check(routing: Routing, choice: Choice, token: int, logs: list[float], chosen: list[int]) -> None:
    assert routing.index_TK[token].tolist() == chosen
    assert routing.map_TE[token].nonzero().flatten().tolist() == sorted(chosen)
    expected = [choice.scaling * weight for weight in slow_weights(logs, chosen, choice.renormalise)]
    assert routing.weights_TE[token].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-30)
    assert routing.probs_TE[token].tolist() == pytest.approx(
        slow_weights(logs, [*range(len(logs))]), rel=1e-5, abs=1e-30
    )
    assert not routing.dropped_TE[token].any()


@given(choices())
def test_softmax_top_k_equals_the_loop_over_tokens(choice: Choice) -> None:
    logits_TE = torch.from_numpy(choice.logits_TE)
    routing = softmax_top_k(logits_TE, choice.top_k, **(kwargs := options(choice)))
    for token, logits in enumerate(logits_TE.tolist()):
        bias_E = kwargs["bias_E"]
        scores = logits if bias_E is None else (logits_TE[token].softmax(-1) + bias_E).tolist()
        chosen = slow_choice(scores, choice.top_k, slow_open(scores, choice.groups, best=1))
        # what is renormalised needs no logarithm, in which a logit of 3e38 would drown the others
        check(routing, choice, token, logits if choice.renormalise else log_softmax(logits), chosen)


@given(choices())
def test_sigmoid_top_k_equals_the_loop_over_tokens(choice: Choice) -> None:
    logits_TE = torch.from_numpy(choice.logits_TE)
    routing = sigmoid_top_k(logits_TE, choice.top_k, **(kwargs := options(choice)))
    for token, logits in enumerate(logits_TE.tolist()):
        bias_E = kwargs["bias_E"]
        scores = (logits_TE[token].sigmoid() + (0 if bias_E is None else bias_E)).tolist()
        able = slow_open(scores, choice.groups, best=2)
        chosen = slow_choice(logits if bias_E is None else scores, choice.top_k, able)
        check(routing, choice, token, log_sigmoid(logits), chosen)


@given(cases())
def test_choosing_before_the_softmax_is_renormalising_after_it(case: Case) -> None:
    logits_TE = torch.from_numpy(case.logits_TE).requires_grad_()
    first, after = top_k_softmax(logits_TE, case.top_k), softmax_top_k(logits_TE, case.top_k)
    assert first.index_TK.equal(after.index_TK)
    assert first.map_TE.equal(after.map_TE)
    assert first.probs_TE.equal(after.probs_TE)
    torch.testing.assert_close(first.weights_TE, after.weights_TE)
    pull_TE = random_logits(*logits_TE.shape)
    gradients = [torch.autograd.grad((one.weights_TE * pull_TE).sum(), logits_TE)[0] for one in (first, after)]
    torch.testing.assert_close(*gradients)


@given(cases())
def test_switch_is_the_most_probable_expert_weighted_by_its_probability(case: Case) -> None:
    routing = switch_top_1(torch.from_numpy(case.logits_TE))
    for token, logits in enumerate(case.logits_TE.tolist()):
        chosen = slow_choice(logits, 1)
        assert routing.index_TK[token].tolist() == chosen
        expected = slow_weights(log_softmax(logits), chosen, renormalise=False)
        assert routing.weights_TE[token].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-30)


@every_router
def test_equal_logits_go_to_the_lowest_expert_index(route: Callable[[Tensor], Routing]) -> None:
    index_TK = route(torch.zeros(100, 64)).index_TK
    assert index_TK.tolist() == [[0, 1][: index_TK.shape[1]]] * 100


@pytest.mark.parametrize("route", [softmax_top_k, sigmoid_top_k])
def test_equal_biased_scores_and_equal_groups_go_to_the_lowest_index(route: Callable[..., Routing]) -> None:
    biased = route(torch.zeros(100, 64), 3, bias_E=torch.zeros(64))
    assert biased.index_TK.tolist() == [[0, 1, 2]] * 100
    bias_E = torch.zeros(8).index_fill(0, torch.tensor([3, 5]), 1.0)
    grouped = route(torch.zeros(100, 8), 3, bias_E=bias_E, groups=Groups(4, 2))
    assert grouped.index_TK.tolist() == [[3, 5, 2]] * 100  # groups 1 and 2: experts 2 to 5


def test_a_group_scores_its_best_expert_under_softmax_and_its_best_two_under_sigmoid() -> None:
    logits_TE = torch.tensor([[2.0, -9.0, 1.5, 1.5]])
    assert softmax_top_k(logits_TE, 1, groups=Groups(2, 1)).index_TK.tolist() == [[0]]
    assert sigmoid_top_k(logits_TE, 1, groups=Groups(2, 1)).index_TK.tolist() == [[2]]


def test_the_bias_counts_in_the_choice_of_groups() -> None:
    bias_E = torch.tensor([0.0, 0.0, 0.0, 0.9])
    for route in (softmax_top_k, sigmoid_top_k):
        assert route(torch.tensor([[1.0, 0.5, 0.0, 0.0]]), 1, bias_E=bias_E, groups=Groups(2, 1)).index_TK.item() == 3


@every_router
def test_the_choice_is_listed_best_first(route: Callable[[Tensor], Routing]) -> None:
    routing = route(random_logits(50, 8))
    assert (routing.probs_TE.gather(1, routing.index_TK).diff(dim=1) <= 0).all()


def test_bias_moves_the_choice_but_not_the_weight() -> None:
    logits_TE = torch.tensor([[2.0, 1.0, 0.0]])
    routing = softmax_top_k(logits_TE, 2, renormalise=False, bias_E=torch.tensor([0.0, 0.0, 1.0]))
    assert routing.index_TK.tolist() == [[2, 0]]
    probs = logits_TE.softmax(-1)[0].tolist()
    assert routing.weights_TE[0].tolist() == pytest.approx([probs[0], 0.0, probs[2]])


def test_renormalised_weights_survive_the_underflow_of_all_chosen_probabilities() -> None:
    bias_E = torch.tensor([-2.0, 0.0, 0.0])
    routing = softmax_top_k(torch.tensor([[1e4, 0.0, 0.0]]), 2, bias_E=bias_E)
    assert routing.probs_TE[0, 1:].tolist() == [0.0, 0.0]
    assert routing.weights_TE.tolist() == [[0.0, 0.5, 0.5]]


@pytest.mark.parametrize("top_k", [1, 2])
def test_sigmoid_scores_that_all_underflow_or_all_saturate_still_choose_and_weigh(top_k: int) -> None:
    for shift, shares in ((-1e4, [0.7310586, 0.2689414]), (1e4, [0.5, 0.5])):
        routing = sigmoid_top_k(torch.tensor([[0.0, 2.0, 1.0]]) + shift, top_k)
        assert routing.index_TK.tolist() == [[1, 2][:top_k]]
        weights = routing.weights_TE.gather(1, routing.index_TK)[0].tolist()
        assert weights == pytest.approx(shares if top_k == 2 else [1.0])


@every_router
def test_logits_at_the_ends_of_float32_give_finite_weights_and_gradients(route: Callable[[Tensor], Routing]) -> None:
    ends_E = [3e38, -3e38, 1e4, 0.0, -3e38, -1e4, 3e38, -0.0]
    logits_TE = torch.tensor([ends_E, ends_E[::-1], [3e38] * 8, [-3e38] * 8]).requires_grad_()
    routing = route(logits_TE)
    pull_TE = random_logits(4, 8)
    (gradient_TE,) = torch.autograd.grad(((routing.weights_TE + routing.probs_TE) * pull_TE).sum(), logits_TE)
    assert routing.weights_TE.isfinite().all()
    assert routing.probs_TE.sum(1).tolist() == pytest.approx([1, 1, 1, 1])
    assert gradient_TE.isfinite().all()


@pytest.mark.parametrize("route", [softmax_top_k, sigmoid_top_k])
def test_top_1_renormalised_sends_the_router_no_gradient_but_unrenormalised_does(
    route: Callable[..., Routing],
) -> None:
    for renormalise, learns in ((True, False), (False, True)):
        logits_TE = random_logits(20, 8).requires_grad_()
        routing = route(logits_TE, 1, renormalise=renormalise)
        (gradient_TE,) = torch.autograd.grad(routing.weights_TE.square().sum(), logits_TE)
        assert bool(gradient_TE.any()) is learns


@every_router
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_routing_is_float32_whatever_comes_in(route: Callable[[Tensor], Routing], dtype: torch.dtype) -> None:
    logits_TE = random_logits(20, 8).to(dtype)
    routing, same = route(logits_TE), route(logits_TE.float())
    assert {routing.logits_TE.dtype, routing.probs_TE.dtype, routing.weights_TE.dtype} == {torch.float32}
    assert routing.weights_TE.equal(same.weights_TE)


@every_router
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_no_number_is_refused_with_its_token_and_expert(
    route: Callable[[Tensor], Routing], value: float
) -> None:
    logits_TE = random_logits(20, 8)
    logits_TE[17, 3] = value
    with pytest.raises(ValueError, match=f"router logit of token 17 for expert 3 is {value}"):
        route(logits_TE)


def test_a_float64_logit_or_bias_beyond_float32_is_refused_rather_than_routed_as_infinite() -> None:
    beyond_E = torch.tensor([0.0, 1e300], dtype=torch.float64)
    with pytest.raises(ValueError, match="token 0 for expert 1 is inf, not a finite number in float32"):
        softmax_top_k(beyond_E[None], 1)
    with pytest.raises(ValueError, match="bias of expert 1 is inf, not a finite number in float32"):
        softmax_top_k(torch.zeros(1, 2), 1, bias_E=beyond_E)


@pytest.mark.parametrize("route", [softmax_top_k, sigmoid_top_k, top_k_softmax])
def test_a_top_k_or_a_table_that_does_not_fit_is_refused_with_its_numbers(route: Callable[..., Routing]) -> None:
    with pytest.raises(ValueError, match=r"top_k=8 must lie in 1\.\.num_experts=7"):
        route(random_logits(20, 7), 8)
    with pytest.raises(ValueError, match=r"top_k=0 must lie in 1\.\.num_experts=7"):
        route(random_logits(20, 7), 0)
    with pytest.raises(ValueError, match=r"one column per expert, not \(8,\)"):
        route(random_logits(8), 2)
    with pytest.raises(ValueError, match=r"one column per expert, not \(5, 0\)"):
        route(torch.zeros(5, 0), 1)


@pytest.mark.parametrize("route", [softmax_top_k, sigmoid_top_k])
def test_a_bias_or_groups_that_do_not_fit_are_refused_with_both_numbers(route: Callable[..., Routing]) -> None:
    with pytest.raises(ValueError, match=r"bias of shape \(1,\) does not fit num_experts=8"):
        route(random_logits(20, 8), 2, bias_E=torch.zeros(1))
    with pytest.raises(ValueError, match="num_experts=8 is not a multiple of count=3 groups"):
        route(random_logits(20, 8), 2, groups=Groups(3, 2))
    with pytest.raises(ValueError, match="chosen=1 groups of 2 experts are fewer than top_k=3"):
        route(random_logits(20, 8), 3, groups=Groups(4, 1))


@pytest.mark.parametrize(
    ("count", "chosen", "message"),
    [
        (2, 3, r"chosen=3 must lie in 1\.\.count=2 groups"),
        (0, 1, "count=0 must be a whole number, at least 1"),
        (2, 0, "chosen=0 must be a whole number, at least 1"),
    ],
)
def test_impossible_groups_are_refused_when_built(count: int, chosen: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Groups(count, chosen)


@pytest.mark.parametrize("route", [softmax_top_k, sigmoid_top_k])
def test_no_argument_is_changed(route: Callable[..., Routing]) -> None:
    logits_TE, bias_E = random_logits(20, 8), random_logits(8)
    copies = logits_TE.clone(), bias_E.clone()
    route(logits_TE, 2, bias_E=bias_E, groups=Groups(2, 1))
    assert logits_TE.equal(copies[0])
    assert bias_E.equal(copies[1])
