"""The layer against other people's whole blocks, in values and gradients, over many shapes and by every dispatch.

Shapes: B sequences · S their length · T tokens · D d_model · F d_ff of one expert · E num_experts · K top_k
"""

# mypy: disable-error-code="no-untyped-call"
# (transformers annotates its forward passes, not its constructors)

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_of_experts import MoE as MixtureOfExperts
from st_moe_pytorch import MoE as StMoe
from torch import Tensor, nn
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE
from transformers.models.llama4.modeling_llama4 import Llama4TextMoe
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
from transformers.models.olmoe.modeling_olmoe import OlmoeSparseMoeBlock
from transformers.models.qwen2_moe.modeling_qwen2_moe import Qwen2MoeSparseMoeBlock
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock
from transformers.models.switch_transformers.modeling_switch_transformers import SwitchTransformersSparseMLP

from moedocs.config import BalanceConfig
from moedocs.engine import Experts, SwiGLU, softmax_top_k, swiglu, switch_top_1, with_capacity
from moedocs.engine.layer import DISPATCHES, Dispatch
from tests.blocks import Shape, Table, as_ours, assert_same_block, shapes, shared_as_ours
from tests.drawing import random_logits

DISPATCH = st.sampled_from(get_args(Dispatch))
EXAMPLES = settings(max_examples=30)


@pytest.mark.parametrize("block", [MixtralSparseMoeBlock, OlmoeSparseMoeBlock, Qwen3MoeSparseMoeBlock])
@given(shape=shapes(), dispatch=DISPATCH)
@EXAMPLES
def test_the_layer_is_the_block_of_mixtral_olmoe_and_qwen_3(
    block: type[nn.Module], shape: Shape, dispatch: Dispatch
) -> None:
    renormalise = shape.renormalise or block is MixtralSparseMoeBlock
    assert_same_block(shape, block(shape.theirs), shape.layer(dispatch, renormalise=renormalise), as_ours)


@given(shapes(), DISPATCH)
@EXAMPLES
def test_with_a_gated_shared_expert_it_is_qwen_2_s(shape: Shape, dispatch: Dispatch) -> None:
    ours = shape.layer(dispatch, renormalise=shape.renormalise, shared_experts=shape.shared, shared_gate=True)
    theirs = Qwen2MoeSparseMoeBlock(shape.theirs)
    assert_same_block(shape, theirs, ours, lambda table: as_ours(table, "shared_expert"))


@given(shapes(), DISPATCH)
@EXAMPLES
def test_with_shared_experts_and_groups_it_is_deepseek_v2_s(shape: Shape, dispatch: Dispatch) -> None:
    ours = shape.layer(
        dispatch,
        renormalise=False,
        routed_scaling=2.5,
        num_groups=shape.groups,
        top_groups=shape.top_groups,
        shared_experts=shape.shared,
    )
    assert_same_block(shape, DeepseekV2Moe(shape.theirs), ours, as_ours)


@given(shapes(), DISPATCH)
@EXAMPLES
def test_with_sigmoids_and_a_bias_too_it_is_deepseek_v3_s(shape: Shape, dispatch: Dispatch) -> None:
    ours = shape.layer(
        dispatch,
        router="sigmoid",
        renormalise=shape.renormalise,
        routed_scaling=2.5,
        num_groups=shape.groups,
        top_groups=shape.top_groups,
        shared_experts=shape.shared,
        balance=BalanceConfig(bias_rate=0.1),
    )
    theirs = DeepseekV3MoE(shape.theirs)
    ours.bias_E = random_logits(shape.num_experts, seed=shape.seed) / 8
    theirs.gate.e_score_correction_bias.copy_(ours.bias_E)
    assert_same_block(shape, theirs, ours, as_ours)


@given(shapes(), DISPATCH)
@EXAMPLES
def test_weighting_the_tokens_before_any_dispatch_is_llama_4_s_block_of_one_expert_each(
    shape: Shape, dispatch: Dispatch
) -> None:
    shape = replace(shape, top_k=1, shared=1)
    ours = shape.layer(dispatch, router="sigmoid", renormalise=False, shared_experts=1)

    def run(x_BSD: Tensor) -> Tensor:
        x_TD = x_BSD.flatten(0, 1)
        routing = ours.route(x_TD)
        weighted_TD = routing.weights_TE.sum(1, keepdim=True) * x_TD
        unweighted = replace(routing, weights_TE=routing.map_TE.float())
        return DISPATCHES[dispatch](weighted_TD, unweighted, ours.experts) + ours.shared_output(x_TD)

    def llama_as_ours(theirs: Table) -> Table:
        """Their stacks are (in, out) like ours."""
        gate_EDF, up_EDF = theirs["experts.gate_up_proj"].chunk(2, dim=2)
        stacks = {
            "experts.gate_EDF": gate_EDF,
            "experts.up_EDF": up_EDF,
            "experts.down_EFD": theirs["experts.down_proj"],
        }
        return {"router_ED": theirs["router.weight"]} | stacks | shared_as_ours(theirs, "shared_expert")

    assert_same_block(shape, Llama4TextMoe(shape.theirs), ours, llama_as_ours, run)


class Routed(nn.Module):
    """A router, experts and a dispatch without our layer, to stand beside blocks that have slots."""

    def __init__(self, shape: Shape, slots: int, dispatch: Dispatch) -> None:
        super().__init__()
        self.shape, self.slots, self.dispatch = shape, slots, dispatch
        self.router_ED = nn.Parameter(torch.empty(shape.num_experts, shape.d_model))
        self.experts = Experts(shape.num_experts, shape.d_model, shape.d_ff, generator=torch.Generator())

    def forward(self, x_BSD: Tensor) -> Tensor:
        x_TD = x_BSD.flatten(0, 1)
        routing = softmax_top_k(x_TD @ self.router_ED.T, self.shape.top_k)
        routing = with_capacity(routing, self.slots, group_size=self.shape.length)
        return DISPATCHES[self.dispatch](x_TD, routing, self.experts)


def slots_of(shape: Shape, factor: float) -> int:
    """Both libraries round their capacity down, and give no expert fewer than 4 slots."""
    return max(4, min(shape.length, int(shape.length * factor / shape.num_experts)))


@pytest.mark.parametrize("factor", [0.5, 100.0])
@given(shape=shapes(), dispatch=DISPATCH)
@EXAMPLES
def test_with_slots_per_sequence_it_is_st_moe_s_layer_of_the_same_experts(
    factor: float, shape: Shape, dispatch: Dispatch
) -> None:
    shape = replace(shape, length=3 * shape.length, top_k=max(2, shape.top_k))
    networks = [SwiGLU(shape.d_model, shape.d_ff, generator=torch.Generator()) for _ in range(shape.num_experts)]
    theirs = StMoe(
        shape.d_model,
        shape.num_experts,
        gating_top_n=shape.top_k,
        threshold_train=0.0,  # of the choices after the first none is skipped
        capacity_factor_train=factor,
        experts=nn.ModuleList(networks),
        straight_through_dispatch_tensor=False,
    )

    def st_moe_as_ours(theirs: Table) -> Table:
        stacks = {
            f"experts.{ours}": torch.stack(
                [theirs[f"experts.experts.{one}.{name}"] for one in range(shape.num_experts)]
            )
            for ours, name in (("gate_EDF", "gate_DF"), ("up_EDF", "up_DF"), ("down_EFD", "down_FD"))
        }
        return {"router_ED": theirs["gate.to_gates.weight"]} | stacks

    assert_same_block(shape, theirs, Routed(shape, slots_of(shape, factor), dispatch), st_moe_as_ours)


class Batched(nn.Module):
    """Our stacks under the interface of mixture-of-experts: each expert gets a batch of its own."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.stacks = Experts(shape.num_experts, shape.d_model, shape.d_ff, generator=torch.Generator())

    def forward(self, x_END: Tensor) -> Tensor:
        return swiglu(x_END, self.stacks.gate_EDF, self.stacks.up_EDF, self.stacks.down_EFD)


@pytest.mark.parametrize("factor", [0.5, 100.0])
@given(shape=shapes(), dispatch=DISPATCH)
@EXAMPLES
def test_with_two_experts_per_token_it_is_mixture_of_experts_layer_too(
    factor: float, shape: Shape, dispatch: Dispatch
) -> None:
    shape = replace(shape, length=3 * shape.length, top_k=2)
    theirs = MixtureOfExperts(
        shape.d_model,
        shape.num_experts,
        second_policy_train="all",
        capacity_factor_train=factor,
        experts=Batched(shape),
    )

    def mixture_as_ours(theirs: Table) -> Table:
        stacks = {f"experts.{name}": theirs[f"experts.stacks.{name}"] for name in ("gate_EDF", "up_EDF", "down_EFD")}
        return {"router_ED": theirs["gate.w_gating"].T} | stacks

    assert_same_block(shape, theirs, Routed(shape, slots_of(shape, factor), dispatch), mixture_as_ours)


@given(shapes(), st.integers(1, 6))
@EXAMPLES
def test_the_definition_over_switch_s_own_experts_is_switch_s_block_of_many_sequences(shape: Shape, slots: int) -> None:
    config: Any = SimpleNamespace(
        hidden_size=shape.d_model,
        d_model=shape.d_model,
        d_ff=shape.d_ff,
        dense_act_fn="relu",
        dropout_rate=0.0,
        num_experts=shape.num_experts,
        expert_capacity=slots,
        router_bias=False,
        router_jitter_noise=0.0,
        router_ignore_padding_tokens=False,
        router_dtype="float32",
    )
    theirs = SwitchTransformersSparseMLP(config)

    def run(x_BSD: Tensor) -> Tensor:
        x_TD = x_BSD.flatten(0, 1)
        routing = with_capacity(switch_top_1(theirs.router.classifier(x_TD)), slots, group_size=shape.length)
        outputs_TED = torch.stack([expert(x_TD) for expert in theirs.experts.values()], dim=1)
        return torch.einsum("te,ted->td", routing.weights_TE, outputs_TED)

    assert_same_block(shape, deepcopy(theirs), theirs, lambda table: table, run)
