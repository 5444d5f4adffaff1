"""Checks of capacity: its formula, what a drop does to a token, how much chance alone drops, and how load spreads."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from moedocs.claims.found import Found, number
from moedocs.config import RoutingConfig, capacity
from moedocs.engine import (
    MoELayer,
    dropped_share,
    grouped_dispatch,
    load,
    load_imbalance,
    softmax_top_k,
    sorted_dispatch,
    with_capacity,
)
from moedocs.lite import binomial_overflow

SEED = 0


def formula() -> Found:
    """The capacity with the floor inside, by Switch's formula, and with k experts per token."""
    floored, plain = 60 // 8 * 1.25, 60 / 8 * 1.25
    ours = [
        capacity(tokens, RoutingConfig(num_experts=8, top_k=top_k, capacity_factor=1.25))
        for tokens, top_k in ((60, 1), (64, 2))
    ]
    quoted = 64 // 8 * 1.25
    return Found(
        holds=floored < plain and ours[0] == 10 and ours[1] == 2 * quoted,
        sentence=(
            "60 tokens, 8 experts, factor 1.25: {floored} slots with the floor inside, {plain} as in the paper, "
            "{ours} in our engine, which rounds up at the end. With 64 tokens and two experts each the quoted "
            "formula gives {quoted:2}; {two} are needed."
        ),
        numbers={
            "floored": number(floored, "⌊60 / 8⌋ · 1.25"),
            "plain": number(plain, "60 / 8 · 1.25"),
            "ours": number(ours[0], "⌈1.25 · 60 · 1 / 8⌉", "count"),
            "quoted": number(quoted, "⌊64 / 8⌋ · 1.25"),
            "two": number(ours[1], "⌈1.25 · 64 · 2 / 8⌉", "count"),
        },
    )


def dropped() -> Found:
    """What a layer adds to a token that lost all choices, to one that lost one of two, and with a shared expert."""
    out_TD, _, lost_T, _ = _crowded(top_k=1)
    two_TD, twin_TD, all_lost_T, some_lost_T = _crowded(top_k=2)
    shared_TD, _, shared_lost_T, _ = _crowded(top_k=1, shared_experts=1)
    left = float(out_TD[lost_T].abs().max())
    partial = some_lost_T & ~all_lost_T
    less = float((two_TD - twin_TD)[partial].abs().amax(1).min())
    with_shared = float(shared_TD[shared_lost_T].abs().amax(1).min())
    return Found(
        holds=left == 0
        and float(two_TD[partial].abs().amax(1).min()) > 0
        and float(two_TD[all_lost_T].abs().max()) == 0
        and less > 0
        and with_shared > 0,
        sentence=(
            "64 tokens and half the slots that they need. Top-1: to each of {lost} dropped tokens the layer "
            "adds exactly {left}. Top-2: {partial} lose one of their two choices and still get an answer, "
            "{both} lose both and get nothing. With a shared expert every dropped token gets an answer."
        ),
        numbers={
            "lost": number(int(lost_T.sum()), "tokens without an expert; top-1, 8 experts, factor ½", "count"),
            "left": number(left, "largest absolute output of the layer for them"),
            "partial": number(int(partial.sum()), "tokens that lost one of two choices; top-2, factor ½", "count"),
            "both": number(int(all_lost_T.sum()), "tokens that lost both choices", "count"),
        },
        seed=SEED,
    )


def dropless() -> Found:
    """One routing with a capacity and without: the share dropped, and a dropless dispatch beside the definition."""
    config = RoutingConfig(num_experts=8, top_k=2)
    layer = MoELayer(16, 32, config, generator=Generator().manual_seed(SEED), dispatch="dense")
    x_TD = torch.randn(256, 16, generator=Generator().manual_seed(SEED + 1))
    definition_TD, routing = layer(x_TD)
    errors = [
        float((dispatch(x_TD, routing, layer.experts) - definition_TD).detach().abs().max())
        for dispatch in (sorted_dispatch, grouped_dispatch)
    ]
    cut = with_capacity(routing, 64)
    return Found(
        holds=float(dropped_share(routing)) == 0 and float(dropped_share(cut)) > 0.02 and max(errors) < 1e-5,
        sentence=(
            "256 tokens, 8 experts, top-2, an untrained router: at a capacity factor of 1, {cut:2} of the "
            "choices are dropped. Groups of any size drop {none}, and give what the definition gives, within "
            "{error:1}."
        ),
        numbers={
            "cut": number(float(dropped_share(cut)), "dropped share with 64 slots per expert", "share"),
            "none": number(int(load(routing).sum()) - 512, "choices dropped without a capacity, of 512", "count"),
            "error": number(1e-5, "bound that the largest difference of sorted and of grouped dispatch keeps, float32"),
        },
        seed=SEED,
    )


def factors() -> Found:
    """The expected share that a fair router over 128 experts drops at the three factors of the paper: exact sums."""
    tokens, experts = 8192, 128
    shares = {
        factor: experts * binomial_overflow(tokens, 1 / experts, int(factor * tokens / experts)) / tokens
        for factor in (1.0, 1.25, 2.0)
    }
    return Found(
        holds=shares[1.0] > 10 * shares[1.25] > 0 and shares[2.0] < 1e-6,
        sentence=(
            "Chance alone, 8,192 tokens over 128 experts that are equally liked: at a factor of 1.0 {one:2} of "
            "the tokens are dropped, at 1.25 {more:2}, at 2.0 practically none. So a factor says little without "
            "the number of tokens and the evenness of the router."
        ),
        numbers={
            "one": number(shares[1.0], "128 E(X - 64)+ / 8192, X binomial (8192, 1/128)", "share"),
            "more": number(shares[1.25], "128 E(X - 80)+ / 8192", "share"),
        },
    )


def longer() -> Found:
    """Largest over mean load of a random router by the number of tokens, and of one with a fixed preference."""
    lengths = (32, 2048, 32768)
    fair, leaning = ([_imbalance(tokens, skew) for tokens in lengths] for skew in (0.0, 1.0))
    return Found(
        holds=fair == sorted(fair, reverse=True) and fair[-1] < 1.05 and leaning[-1] > 1.3,
        sentence=(
            "Eight experts, top-2, tokens that choose independently: the busiest expert has {few:3} times the "
            "mean load with 32 tokens, {some:3} with 2,048, {many:3} with 32,768. A preference that all tokens "
            "share does not go away: {lean:3} with 32,768."
        ),
        numbers={
            "few": number(fair[0], "max / mean load, 32 tokens, mean of 20 draws"),
            "some": number(fair[1], "the same, 2,048 tokens"),
            "many": number(fair[2], "the same, 32,768 tokens"),
            "lean": number(leaning[2], "the same with logits that differ by up to 1 between experts"),
        },
        seed=SEED,
    )


def _crowded(*, top_k: int, shared_experts: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A layer's output at factor ½ and without a capacity; which tokens lost all choices, and which lost any."""
    outs, routings = [], []
    for factor in (0.5, None):
        config = RoutingConfig(
            num_experts=8, top_k=top_k, renormalise=False, capacity_factor=factor, shared_experts=shared_experts
        )
        layer = MoELayer(16, 32, config, generator=Generator().manual_seed(SEED), dispatch="sorted")
        out_TD, routing = layer(torch.randn(64, 16, generator=Generator().manual_seed(SEED + 1)))
        outs.append(out_TD.detach())
        routings.append(routing)
    return outs[0], outs[1], ~routings[0].map_TE.any(1), routings[0].dropped_TE.any(1)


def _imbalance(tokens: int, skew: float) -> float:
    generator = Generator().manual_seed(SEED)
    tilt_E = skew * torch.linspace(1, 0, 8)
    draws = [softmax_top_k(torch.randn(tokens, 8, generator=generator) + tilt_E, 2) for _ in range(20)]
    return sum(float(load_imbalance(load(routing))) for routing in draws) / len(draws)
