"""Token choice against other people's routers, in values and gradients, over many random shapes.

Theirs list experts in no order where ours come best first, so weights are compared as (T, E) tables.

Shapes: T tokens · D d_model · F d_ff · E num_experts
"""

# mypy: disable-error-code="no-untyped-call"
# (transformers annotates its forward passes, not its constructors)

from types import SimpleNamespace

import pytest
import torch
from hypothesis import assume, given, settings
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

from moedocs.engine import sigmoid_top_k, softmax_top_k, top_k_softmax
from tests.drawing import random_logits
from tests.routers import Drawn, apart, assert_same_router, drawings


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
