"""The engine against transformers: other people's routers, blocks, losses and model, in values and gradients."""

# mypy: disable-error-code="no-untyped-call"
# (transformers annotates its forward passes, not its constructors)

from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from transformers import MixtralConfig, SwitchTransformersConfig
from transformers.models.mixtral import modeling_mixtral as mixtral
from transformers.models.switch_transformers import modeling_switch_transformers as switch

from moedocs.config import RoutingConfig, TransformerConfig
from moedocs.config.model import NORM_EPSILON, ROTARY_BASE
from moedocs.engine import MoELayer, Transformer, auxiliary_loss, softmax_top_k, switch_top_1, with_capacity
from moedocs.engine.layer import Dispatch

TOKENS, WIDTH, EXPERTS, TOP_K = 50, 16, 8, 3
CONFIG = RoutingConfig(num_experts=EXPERTS, top_k=TOP_K)
MIXTRAL = MixtralConfig(
    vocab_size=256,
    hidden_size=WIDTH,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    num_local_experts=EXPERTS,
    num_experts_per_tok=TOP_K,
    rms_norm_eps=NORM_EPSILON,
    rope_parameters={"rope_type": "default", "rope_theta": ROTARY_BASE},
    output_router_logits=True,
)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def refill(module: nn.Module) -> None:
    """Their parameters start empty or all zero."""
    for seed, parameter in enumerate(module.parameters()):
        parameter.copy_(drawn(*parameter.shape, seed=seed) * parameter.shape[-1] ** -0.5)


@torch.no_grad()
def transplant(theirs: nn.Module, ours: MoELayer) -> None:
    """Both stack their experts, theirs with (out, in) and ours with (in, out) matrices, gate and up in one."""
    gate_EFD, up_EFD = theirs.get_parameter("experts.gate_up_proj").chunk(2, dim=1)
    ours.router_ED.copy_(theirs.get_parameter("gate.weight"))
    ours.experts.gate_EDF.copy_(gate_EFD.mT)
    ours.experts.up_EDF.copy_(up_EFD.mT)
    ours.experts.down_EFD.copy_(theirs.get_parameter("experts.down_proj").mT)


@pytest.fixture(scope="module")
def their_model() -> nn.Module:
    model: nn.Module = mixtral.MixtralForCausalLM(MIXTRAL)
    refill(model)
    return model


@pytest.fixture(scope="module")
def our_model(their_model: nn.Module) -> Transformer:
    config = TransformerConfig(
        vocab_size=256, d_model=WIDTH, num_layers=2, num_heads=4, num_kv_heads=2, d_ff=24, routing=CONFIG
    )
    model = Transformer(config, generator=torch.Generator())
    names = {
        "embedding_VD": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
        "head_VD": "lm_head.weight",
    }
    for layer in range(2):
        ours, theirs = f"blocks.{layer}", f"model.layers.{layer}"
        for mine, other in (("query_QD", "q"), ("key_PD", "k"), ("value_PD", "v"), ("output_DQ", "o")):
            names[f"{ours}.attention.{mine}"] = f"{theirs}.self_attn.{other}_proj.weight"
        names[f"{ours}.attention_norm.weight"] = f"{theirs}.input_layernorm.weight"
        names[f"{ours}.feed_forward_norm.weight"] = f"{theirs}.post_attention_layernorm.weight"
        transplant(their_model.get_submodule(f"{theirs}.mlp"), model.moe_layers()[layer])
    with torch.no_grad():
        for mine, other in names.items():
            model.get_parameter(mine).copy_(their_model.get_parameter(other))
    return model


@pytest.mark.parametrize("dispatch", get_args(Dispatch))
def test_the_layer_is_mixtral_s_block_in_values_and_gradients(dispatch: Dispatch) -> None:
    theirs = mixtral.MixtralSparseMoeBlock(MIXTRAL)
    refill(theirs)
    ours = MoELayer(WIDTH, 24, CONFIG, generator=torch.Generator(), dispatch=dispatch)
    transplant(theirs, ours)
    results = []
    for block in (lambda x_BSD: ours(x_BSD)[0], theirs):
        x_BSD = drawn(2, TOKENS // 2, WIDTH, seed=9).requires_grad_()
        y_BSD = block(x_BSD)
        y_BSD.square().sum().backward()
        results.append((y_BSD, x_BSD.grad))
    torch.testing.assert_close(results[0], results[1])
    gate_up_E2FD = torch.cat([ours.experts.gate_EDF.grad.mT, ours.experts.up_EDF.grad.mT], dim=1)  # type: ignore[union-attr]
    torch.testing.assert_close(ours.router_ED.grad, theirs.gate.weight.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gate_up_E2FD, theirs.experts.gate_up_proj.grad)
    torch.testing.assert_close(ours.experts.down_EFD.grad.mT, theirs.experts.down_proj.grad)  # type: ignore[union-attr]


def test_the_whole_model_is_mixtral(our_model: Transformer, their_model: nn.Module) -> None:
    bytes_BS = torch.randint(0, 256, (2, 40), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        ours = our_model(bytes_BS)
        theirs = their_model(bytes_BS)
    torch.testing.assert_close(ours.logits_BSV, theirs.logits, rtol=1e-4, atol=1e-4)
    for routing, their_logits_TE in zip(ours.routings, theirs.router_logits, strict=True):
        torch.testing.assert_close(routing.logits_TE, their_logits_TE, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("top_k", [1, 2, 8])
def test_mixtral_s_balancing_loss_is_k_times_ours(top_k: int) -> None:
    logits_TE = drawn(TOKENS, EXPERTS).requires_grad_()
    ours = auxiliary_loss(softmax_top_k(logits_TE, top_k))
    theirs = mixtral.load_balancing_loss_func((logits_TE,), EXPERTS, top_k)
    assert isinstance(theirs, Tensor)
    torch.testing.assert_close(top_k * ours, theirs)
    gradients = [torch.autograd.grad(loss, logits_TE)[0] for loss in (top_k * ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_switch_s_balancing_loss_is_ours() -> None:
    routing = softmax_top_k(drawn(TOKENS, EXPERTS), 1)
    theirs = switch.load_balancing_loss_func(routing.probs_TE[None], routing.index_TK.T)
    torch.testing.assert_close(auxiliary_loss(routing), theirs)


@pytest.mark.parametrize("slots", [0, 3, 6, TOKENS])
def test_top_1_with_capacity_is_switch_s_block_on_one_sequence(slots: int) -> None:
    config = SwitchTransformersConfig(d_model=WIDTH, d_ff=24, num_experts=EXPERTS, expert_capacity=slots)
    block = switch.SwitchTransformersSparseMLP(config).eval()
    refill(block)
    x_TD = drawn(TOKENS, WIDTH, seed=9)
    with torch.no_grad():
        their_map_BTE, their_weights_BT1, logits_BTE = block.router(x_TD[None])
        routing = with_capacity(switch_top_1(logits_BTE[0]), slots)
        outputs_TED = torch.stack([expert(x_TD) for expert in block.experts.values()], dim=1)
        y_TD = torch.einsum("te,ted->td", routing.weights_TE, outputs_TED)
        theirs_TD = block(x_TD[None])[0]
    assert routing.map_TE.equal(their_map_BTE[0].bool())
    torch.testing.assert_close(routing.weights_TE, their_weights_BT1[0] * their_map_BTE[0])
    torch.testing.assert_close(y_TD, theirs_TD)
    lost_T = routing.dropped_TE.any(1)
    assert lost_T.any() or slots == TOKENS
    assert not y_TD[lost_T].any()
    assert not theirs_TD[lost_T].any()
