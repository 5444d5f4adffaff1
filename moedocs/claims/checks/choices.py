"""Checks of what a router chooses, with what weight, and what a layer computes for it."""

from __future__ import annotations

import torch
from torch import Generator

from moedocs.claims.found import Found, number
from moedocs.config import RoutingConfig
from moedocs.cost import atlas
from moedocs.engine import (
    MoELayer,
    dense_dispatch,
    expert_choice,
    gshard_top_2,
    load,
    load_imbalance,
    noisy_top_k,
    sigmoid_top_k,
    softmax_top_k,
    sorted_dispatch,
    top_k_softmax,
    updated_bias,
)

SEED = 0


def distinct() -> Found:
    """How many tokens name an expert twice, over five ways to route."""
    generator = Generator().manual_seed(SEED)
    logits_TE = torch.randn(4096, 16, generator=generator)
    routings = (
        softmax_top_k(logits_TE, 4),
        sigmoid_top_k(logits_TE, 4),
        top_k_softmax(logits_TE.round(), 4),  # with ties
        noisy_top_k(logits_TE, torch.zeros_like(logits_TE), 4, generator=generator),
        gshard_top_2(logits_TE, generator=generator),
    )
    repeats = 0
    for routing in routings:
        index_TK = routing.index_TK.sort(1).values
        repeats += int(((index_TK[:, 1:] == index_TK[:, :-1]) & (index_TK[:, 1:] >= 0)).any(1).sum())
    return Found(
        holds=repeats == 0,
        sentence=(
            "Of {tokens} tokens, routed in {ways} ways over 16 experts, equal scores among them, {repeats} name "
            "an expert twice."
        ),
        numbers={
            "tokens": number(len(logits_TE), "tokens", "count"),
            "ways": number(len(routings), "softmax, sigmoid, top-k first, noisy, GShard", "count"),
            "repeats": number(repeats, "tokens whose choices are not all different, over all ways", "count"),
        },
        seed=SEED,
    )


def order() -> Found:
    """Softmax before or after top-k, and what other published rules make of the same logits."""
    logits_TE = torch.randn(2048, 8, generator=Generator().manual_seed(SEED), dtype=torch.float32)
    before, after, raw = (
        softmax_top_k(logits_TE, 2),
        top_k_softmax(logits_TE, 2),
        softmax_top_k(logits_TE, 2, renormalise=False),
    )
    probs_TE = raw.weights_TE / raw.weights_TE.sum(1, keepdim=True)
    same = float((before.weights_TE - after.weights_TE).abs().max())
    divided = float((after.weights_TE - probs_TE).abs().max())
    sigmoid = sigmoid_top_k(logits_TE, 2)
    chosen = expert_choice(logits_TE, 512).map_TE.sum(1)
    return Found(
        holds=max(same, divided) < 1e-6 and float((sigmoid.weights_TE - after.weights_TE).abs().max()) > 0.05,
        sentence=(
            "On 2,048 tokens top-k before the softmax and the softmax over all with the chosen divided by their "
            "sum agree within {divided:1}. Left as they are the two weights of a token sum to {sum:2} on average; "
            "sigmoid scores give weights that differ by up to {sigmoid:2}. By expert choice a token has {least} "
            "to {most} experts."
        ),
        numbers={
            "divided": number(1e-6, "bound that the largest difference of combine weights keeps, float32"),
            "sum": number(float(raw.weights_TE.sum(1).mean()), "mean sum of two weights that are not renormalised"),
            "sigmoid": number(
                float((sigmoid.weights_TE - after.weights_TE).abs().max()), "largest difference of weights"
            ),
            "least": number(int(chosen.min()), "experts of a token, expert choice with 512 slots each", "count"),
            "most": number(int(chosen.max()), "the same", "count"),
        },
        seed=SEED,
    )


def bias() -> Found:
    """DeepSeek-V3's numbers as counted from its configuration, and what its bias does to choice, weight and load."""
    model = atlas.models()["deepseek-v3"]
    assert model.experts is not None
    logits_TE = torch.randn(4096, 16, generator=Generator().manual_seed(SEED)) + torch.linspace(1, 0, 16)
    bias_E, before = torch.zeros(16), sigmoid_top_k(logits_TE, 4)
    for _ in range(500):
        bias_E = updated_bias(bias_E, load(sigmoid_top_k(logits_TE, 4, bias_E=bias_E)), 0.001)
    after = sigmoid_top_k(logits_TE, 4, bias_E=bias_E)
    scores_TE = logits_TE.sigmoid() * after.map_TE
    error = float((after.weights_TE - scores_TE / scores_TE.sum(1, keepdim=True)).abs().max())
    even, uneven = (float(load_imbalance(load(routing))) for routing in (after, before))
    counted = (model.experts.experts, model.experts.top_k, len(model.architecture.experts))
    return Found(
        holds=counted == (256, 8, 58) and error < 1e-6 and even < 1.1 < uneven,
        sentence=(
            "Its configuration counts {experts} routed experts, {top_k} of them for a token, in {layers} "
            "layers. In a simulation with 16 experts {steps} steps of the bias bring the busiest from "
            "{uneven:3} to {even:3} times the mean load; the weights are the unbiased scores over their sum, "
            "within {error:1}."
        ),
        numbers={
            "experts": number(counted[0], "routed experts of a layer, atlas, deepseek-v3", "count"),
            "top_k": number(counted[1], "experts of a token, atlas, deepseek-v3", "count"),
            "layers": number(counted[2], "layers with experts, atlas, deepseek-v3", "count"),
            "steps": number(500, "updates of the bias at a rate of 0.001", "count"),
            "uneven": number(uneven, "max / mean load without a bias; 4,096 tokens, top-4, logits skewed by 1"),
            "even": number(even, "the same with the bias"),
            "error": number(1e-6, "bound that the largest difference of weights keeps, float32"),
        },
        seed=SEED,
    )


def all_experts() -> Found:
    """The loop that gives every expert all tokens: the same answer, and N / k times the work."""
    layer = MoELayer(16, 32, RoutingConfig(num_experts=8, top_k=2), generator=Generator().manual_seed(SEED))
    x_TD = torch.randn(512, 16, generator=Generator().manual_seed(SEED + 1))
    routing = layer.route(x_TD)
    gap_TD = dense_dispatch(x_TD, routing, layer.experts) - sorted_dispatch(x_TD, routing, layer.experts)
    error, tokens, experts = float(gap_TD.detach().abs().max()), *routing.map_TE.shape
    unweighted_TD = layer.experts(x_TD).detach().mean(1)  # where the choice is forgotten, too
    wrong = float((unweighted_TD - sorted_dispatch(x_TD, routing, layer.experts).detach()).abs().max())
    needed = int(routing.map_TE.sum())
    return Found(
        holds=error < 1e-5 and tokens * experts == 4 * needed and wrong > 0.1,
        sentence=(
            "8 experts, top-2, {tokens} tokens: the loop over all runs an expert on a token {all} times, "
            "{needed} are needed, {times} times the work. The answers agree within {error:1}, as long as the "
            "weights are used."
        ),
        numbers={
            "tokens": number(tokens, "tokens", "count"),
            "all": number(tokens * experts, "512 · 8", "count"),
            "needed": number(needed, "512 · 2: assignments", "count"),
            "times": number(tokens * experts // needed, "8 / 2", "count"),
            "error": number(1e-5, "bound that the largest difference of the outputs keeps, float32"),
        },
        seed=SEED,
    )
