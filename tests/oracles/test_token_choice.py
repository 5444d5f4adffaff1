"""Token choice against other people's routers, in values and gradients, over many random shapes.

Theirs list experts in no order where ours come best first, so weights are compared as (T, E) tables.

Shapes: T tokens · D d_model · F d_ff · E num_experts · K top_k · B batches, one draw each
"""

# mypy: disable-error-code="no-untyped-call"
# (transformers annotates its forward passes, not its constructors)

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mixture_of_experts.mixture_of_experts import Top2Gating
from st_moe_pytorch.st_moe_pytorch import TopNGating
from torch import Tensor, nn
from torch.nn.functional import linear, silu
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2TopkRouter
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssTopKRouter
from transformers.models.jetmoe.modeling_jetmoe import JetMoeTopKGating
from transformers.models.llama4.modeling_llama4 import Llama4Router, Llama4TextMoe
from transformers.models.mixtral.modeling_mixtral import MixtralTopKRouter
from transformers.models.olmoe.modeling_olmoe import OlmoeTopKRouter
from transformers.models.qwen2_moe.modeling_qwen2_moe import Qwen2MoeTopKRouter
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeTopKRouter

from moedocs.engine import (
    Groups,
    Routing,
    gshard_top_2,
    sigmoid_top_k,
    softmax_top_k,
    top_k_softmax,
    with_capacity,
)
from tests.drawing import random_logits


@dataclass(frozen=True)
class Drawn:
    x_TD: Tensor
    weight_ED: Tensor
    bias_E: Tensor
    top_k: int
    groups: Groups
    renormalise: bool
    scaling: float

    @property
    def num_experts(self) -> int:
        return len(self.weight_ED)

    @property
    def logits_TE(self) -> Tensor:
        return linear(self.x_TD, self.weight_ED)

    @property
    def config(self) -> Any:
        """Whatever any of their routers asks its configuration for."""
        return SimpleNamespace(
            hidden_size=self.x_TD.shape[1],
            num_experts=self.num_experts,
            num_local_experts=self.num_experts,
            num_experts_per_tok=self.top_k,
            norm_topk_prob=self.renormalise,
            routed_scaling_factor=self.scaling,
            topk_method="group_limited_greedy",
            n_group=self.groups.count,
            topk_group=self.groups.chosen,
        )


@st.composite
def drawings(
    draw: st.DrawFn, steepest: float = 4.0, most_tokens: int = 12, least_k: int = 1, least_size: int = 1
) -> Drawn:
    """Shapes from hypothesis, numbers from a seed; no two logits of a token within rounding of each other."""
    tokens, width, seed = draw(st.integers(1, most_tokens)), draw(st.integers(1, 8)), draw(st.integers(0, 10**6))
    count, size = draw(st.integers(1, 4)), draw(st.integers(max(least_size, least_k), 6))
    groups = Groups(count, draw(st.integers(1, count)))
    steepness = draw(st.sampled_from([0.25, 1.0, steepest]))
    drawn = Drawn(
        x_TD=random_logits(tokens, width, seed=seed),
        weight_ED=steepness * random_logits(count * size, width, seed=seed + 1),
        bias_E=random_logits(count * size, seed=seed + 2) / 4,
        top_k=draw(st.integers(least_k, groups.chosen * size)),
        groups=groups,
        renormalise=draw(st.booleans()),
        scaling=draw(st.sampled_from([1.0, 2.5, 16.0])),
    )
    assume(apart(drawn.logits_TE))
    return drawn


def apart(scores: Tensor) -> bool:
    return bool((scores.sort(dim=-1).values.diff(dim=-1) > 1e-5).all())


def scattered(router: nn.Module, x_TD: Tensor, num_experts: int) -> Tensor:
    """The table (T, E) of a router that returns logits, weights and indices."""
    _, weights_TK, index_TK = router(x_TD)
    return torch.zeros(len(x_TD), num_experts).scatter(1, index_TK, weights_TK)


def assert_same_router(
    drawn: Drawn, route: Callable[[Tensor], Routing], router: nn.Module, table: Callable[..., Tensor] = scattered
) -> None:
    """The same choice, the same weights, the same gradients to the input and to the router's own matrix."""
    weight_ED, x_TD = next(router.parameters()), drawn.x_TD.clone().requires_grad_()
    with torch.no_grad():
        weight_ED.copy_(drawn.weight_ED)
    pull_TE = random_logits(len(x_TD), drawn.num_experts)
    results = []
    for weights_TE in (route(linear(x_TD, weight_ED)).weights_TE, table(router, x_TD, drawn.num_experts)):
        results.append([weights_TE, *torch.autograd.grad((weights_TE * pull_TE).sum(), [x_TD, weight_ED])])
    ours, theirs = results
    assert ours[0].ne(0).equal(theirs[0].ne(0))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@given(drawings())
@settings(max_examples=30)
def test_renormalised_softmax_top_k_is_mixtral_s_router(drawn: Drawn) -> None:
    assert_same_router(drawn, lambda logits_TE: softmax_top_k(logits_TE, drawn.top_k), MixtralTopKRouter(drawn.config))


@pytest.mark.parametrize("router", [OlmoeTopKRouter, Qwen2MoeTopKRouter, Qwen3MoeTopKRouter])
@given(drawn=drawings())
@settings(max_examples=30)
def test_softmax_top_k_renormalised_or_not_is_the_router_of_olmoe_and_qwen(
    router: type[nn.Module], drawn: Drawn
) -> None:
    assert_same_router(
        drawn,
        lambda logits_TE: softmax_top_k(logits_TE, drawn.top_k, renormalise=drawn.renormalise),
        router(drawn.config),
    )


@given(drawings())
@settings(max_examples=30)
def test_softmax_top_k_within_groups_is_deepseek_v2_s_router(drawn: Drawn) -> None:
    assert_same_router(
        drawn,
        lambda logits_TE: softmax_top_k(
            logits_TE, drawn.top_k, renormalise=False, groups=drawn.groups, scaling=drawn.scaling
        ),
        DeepseekV2TopkRouter(drawn.config),
    )


@given(drawings(least_size=2))
@settings(max_examples=30)
def test_sigmoid_top_k_with_bias_groups_and_scaling_is_deepseek_v3_s_router(drawn: Drawn) -> None:
    biased_TE = drawn.logits_TE.sigmoid() + drawn.bias_E
    best_two_TG2 = biased_TE.view(len(biased_TE), drawn.groups.count, -1).topk(2).values
    assume(apart(biased_TE) and apart(best_two_TG2.sum(-1)))
    router = DeepseekV3TopkRouter(drawn.config)
    router.e_score_correction_bias.copy_(drawn.bias_E)
    assert_same_router(
        drawn,
        lambda logits_TE: sigmoid_top_k(
            logits_TE,
            drawn.top_k,
            renormalise=drawn.renormalise,
            bias_E=drawn.bias_E,
            groups=drawn.groups,
            scaling=drawn.scaling,
        ),
        router,
    )


@given(drawings())
@settings(max_examples=30)
def test_top_k_softmax_is_the_router_of_gpt_oss(drawn: Drawn) -> None:
    assert_same_router(drawn, lambda logits_TE: top_k_softmax(logits_TE, drawn.top_k), GptOssTopKRouter(drawn.config))


@given(drawings())
@settings(max_examples=30)
def test_top_k_softmax_is_the_router_of_jetmoe(drawn: Drawn) -> None:
    def table(router: nn.Module, x_TD: Tensor, num_experts: int) -> Tensor:
        _, token_N, weight_N, counts, _ = router(x_TD)
        expert_N = torch.arange(num_experts).repeat_interleave(torch.tensor(counts))
        return torch.zeros(len(x_TD), num_experts).index_put((token_N, expert_N), weight_N)

    router = JetMoeTopKGating(drawn.x_TD.shape[1], drawn.num_experts, drawn.top_k)
    assert_same_router(drawn, lambda logits_TE: top_k_softmax(logits_TE, drawn.top_k), router, table)


@given(drawings())
@settings(max_examples=30)
def test_sigmoid_top_k_not_renormalised_is_llama_4_s_router(drawn: Drawn) -> None:
    assert_same_router(
        drawn,
        lambda logits_TE: sigmoid_top_k(logits_TE, drawn.top_k, renormalise=False),
        Llama4Router(drawn.config),
        lambda router, x_TD, _: router(x_TD)[0],
    )


@pytest.mark.parametrize("top_k", [1, 2])
def test_llama_4_multiplies_the_input_of_an_expert_by_its_weight_and_not_the_output(top_k: int) -> None:
    config = {"hidden_size": 16, "intermediate_size": 24, "hidden_act": "silu", "num_local_experts": 4}
    block = Llama4TextMoe(SimpleNamespace(**config, num_experts_per_tok=top_k))
    x_TD = random_logits(30, 16)
    with torch.no_grad():
        for seed, parameter in enumerate(block.parameters()):
            parameter.copy_(random_logits(*parameter.shape, seed=seed) / 4)
        routing = sigmoid_top_k(linear(x_TD, block.router.weight), top_k, renormalise=False)
        y_TD = block.shared_expert(x_TD)
        for token, expert in routing.map_TE.nonzero().tolist():
            scaled_D = routing.weights_TE[token, expert] * x_TD[token]
            gate_F, up_F = (scaled_D @ block.experts.gate_up_proj[expert]).chunk(2)
            y_TD[token] += (silu(gate_F) * up_F) @ block.experts.down_proj[expert]
        torch.testing.assert_close(block(x_TD)[0], y_TD)


def slots_of(drawn: Drawn, factor: float) -> int:
    """Both libraries round their capacity down, and give no expert fewer than 4 slots."""
    tokens = len(drawn.x_TD)
    return max(4, min(tokens, int(tokens * factor / drawn.num_experts)))


def combined(gating: nn.Module, x_TD: Tensor, _: int) -> Tensor:
    """The table (T, E) of a gating that returns weights per expert and slot, for a batch of one sequence."""
    weights_BTEC: Tensor = gating(x_TD[None])[1]
    return weights_BTEC.sum(-1)[0]


class Transposed(Top2Gating):  # type: ignore[misc]
    """Their matrix is (D, E): turned to (E, D) like everyone's."""

    def __init__(self, dim: int, num_gates: int, **options: object) -> None:
        super().__init__(dim, num_gates, **options)
        del self.w_gating
        self.weight_ED = nn.Parameter(torch.empty(num_gates, dim))

    @property
    def w_gating(self) -> Tensor:
        return self.weight_ED.T


@pytest.mark.parametrize("factor", [0.5, 1.0, 100.0])
@given(drawn=drawings(steepest=2.0, most_tokens=40, least_k=2))
@settings(max_examples=30)
def test_gshard_top_2_that_always_keeps_its_second_is_mixture_of_experts_gating(factor: float, drawn: Drawn) -> None:
    gating = Transposed(drawn.x_TD.shape[1], drawn.num_experts, second_policy_train="all", capacity_factor_train=factor)

    def route(logits_TE: Tensor) -> Routing:
        return with_capacity(gshard_top_2(logits_TE, generator=torch.Generator(), threshold=0), slots_of(drawn, factor))

    assert_same_router(drawn, route, gating, combined)


@pytest.mark.parametrize("factor", [0.5, 1.0, 100.0])
@given(drawn=drawings(steepest=1.0, most_tokens=40, least_k=2))
@settings(max_examples=30)
def test_softmax_top_k_with_capacity_is_st_moe_s_top_n_gating(factor: float, drawn: Drawn) -> None:
    gating = TopNGating(
        drawn.x_TD.shape[1],
        drawn.num_experts,
        eps=1e-30,  # below any weight drawn here: no choice but the overflowing is skipped
        top_n=drawn.top_k,
        threshold_train=0.0 if drawn.top_k == 2 else (0.0,) * (drawn.top_k - 1),
        capacity_factor_train=factor,
    )

    def route(logits_TE: Tensor) -> Routing:
        return with_capacity(softmax_top_k(logits_TE, drawn.top_k), slots_of(drawn, factor))

    assert_same_router(drawn, route, gating, combined)


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_a_second_choice_is_kept_as_often_as_by_mixture_of_experts_and_by_st_moe(threshold: float) -> None:
    batches, x_TD, weight_ED = 4000, random_logits(5, 6), random_logits(4, 6, seed=1)
    weight_T = softmax_top_k(linear(x_TD, weight_ED), 2).weights_TE.topk(2).values[:, 1]
    expected_T = (weight_T / threshold).clamp(max=1)
    error_T = (expected_T * (1 - expected_T) / batches).sqrt()
    top_2 = Transposed(6, 4, second_threshold_train=threshold, capacity_factor_train=4.0)
    top_n = TopNGating(6, 4, threshold_train=threshold, capacity_factor_train=4.0)
    x_BTD = x_TD.expand(batches, -1, -1)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        counts_GBT = []
        for gating in (top_2, top_n):
            next(gating.parameters()).copy_(weight_ED)
            counts_GBT.append(gating(x_BTD)[1].sum(-1).ne(0).sum(-1))
    logits_NE = linear(x_BTD.flatten(0, 1), weight_ED)
    ours = gshard_top_2(logits_NE, generator=torch.Generator().manual_seed(0), threshold=threshold)
    counts_GBT.append(ours.map_TE.sum(1).view(batches, -1))
    for counts_BT in counts_GBT:
        assert ((counts_BT.float().mean(0) - 1 - expected_T).abs() <= 5 * error_T).all()


def test_a_skipped_second_leaves_the_first_with_its_share_of_two_as_in_mixture_of_experts() -> None:
    x_TD, weight_ED = random_logits(200, 6), random_logits(4, 6, seed=1)
    ours = gshard_top_2(linear(x_TD, weight_ED), generator=torch.Generator().manual_seed(0))
    gating = Transposed(6, 4, second_policy_train="none", capacity_factor_train=4.0)
    with torch.no_grad():
        gating.weight_ED.copy_(weight_ED)
    skipped_T = ours.index_TK[:, 1] == -1
    assert 0 < skipped_T.sum() < 200
    torch.testing.assert_close(ours.weights_TE[skipped_T], combined(gating, x_TD, 4)[skipped_T])
    assert (ours.weights_TE[skipped_T].sum(1) < 1).all()
