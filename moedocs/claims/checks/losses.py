"""Checks of balancing losses: their least value, their gradient, and what is easily confused with them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from moedocs.claims.found import Found, number
from moedocs.engine import (
    Routing,
    assignment_share,
    auxiliary_loss,
    constant_mean,
    constant_sum,
    dead_experts,
    importance_loss,
    load,
    load_loss,
    load_probability,
    load_share,
    noisy_top_k,
    pooled,
    softmax_top_k,
)

SEED = 0
NARROW = 1e-4  # by how much a crowded expert wins


def at_balance() -> Found:
    """The value at perfect balance, for one and for two experts per token, f as a share of choices or of tokens."""
    one, two = (softmax_top_k(_rotated(8, top_k), top_k) for top_k in (1, 2))
    by_choice = [float(auxiliary_loss(routing)) for routing in (one, two)]
    by_token = 8 * float((load(two) / len(two.map_TE) * two.probs_TE.mean(0)).sum())
    return Found(
        holds=all(abs(value - 1) < 1e-5 for value in by_choice) and abs(by_token - 2) < 1e-5,
        sentence=(
            "Eight experts, perfectly even: N Σ f_i P_i is {one} with one expert per token and {two} with two, "
            "f being shares of all choices. With shares of tokens it is {tokens} for two."
        ),
        numbers={
            "one": number(round(by_choice[0], 5), "N Σ f P, top-1, every expert chosen by as many tokens"),
            "two": number(round(by_choice[1], 5), "the same, top-2"),
            "tokens": number(round(by_token, 5), "the same, top-2, f = load / tokens"),
        },
    )


def gradient_through_p() -> Found:
    """d(N Σ f P) / dP_i is N f_i, and f itself has no gradient."""
    logits_TE = torch.randn(64, 8, generator=Generator().manual_seed(SEED)) + torch.linspace(1, 0, 8)
    probs_TE = logits_TE.softmax(-1).requires_grad_()
    routing = replace(softmax_top_k(logits_TE, 1, renormalise=False), probs_TE=probs_TE)
    (gradient_TE,) = torch.autograd.grad(auxiliary_loss(routing), probs_TE)
    slope_E = gradient_TE.sum(0)  # a step of every token's probability is one of their mean
    error = float((slope_E - 8 * load_share(load(routing))).abs().max())
    moved_TE = logits_TE.requires_grad_()
    (push_TE,) = torch.autograd.grad(auxiliary_loss(softmax_top_k(moved_TE, 1, renormalise=False)), moved_TE)
    busiest = int(load(routing).argmax())
    return Found(
        holds=error < 1e-5 and not load(routing).is_floating_point() and float(push_TE.sum(0)[busiest]) > 0,
        sentence=(
            "Its slope in P_i is N f_i by autograd, within {error:1}; f is a count of whole numbers and has none. "
            "For the busiest expert, with {share:2} of the tokens, the slope is {slope:3}, and the step goes "
            "down."
        ),
        numbers={
            "error": number(1e-5, "bound that the largest |dL/dP_i - N f_i| keeps, float32"),
            "share": number(float(load_share(load(routing))[busiest]), "its f", "share"),
            "slope": number(float(slope_E[busiest]), "dL/dP of the busiest expert"),
        },
        seed=SEED,
    )


def below_one() -> Found:
    """Routings whose load is uneven and whose loss is below its value at balance."""
    two = _narrow(torch.tensor([0, 0, 0, 1]), torch.tensor([[True, True]] * 3 + [[False, False]]))
    half_dead = _narrow(torch.arange(4), (torch.arange(8) >= 4).expand(4, 8))
    even, lopsided, starved = (float(auxiliary_loss(one)) for one in (softmax_top_k(_rotated(8, 1), 1), two, half_dead))
    dead = int(dead_experts(load(half_dead)))
    return Found(
        holds=lopsided < 0.88 and starved < 0.41 and dead == 4 and abs(even - 1) < 1e-5 and _pushed_down(two),
        sentence=(
            "Of two experts one wins {crowd:2} of the tokens, each by a hair, and loses the others clearly: N Σ "
            "f_i P_i is {two:3}, below the {even} of perfect balance. Of eight experts {dead} get no token at "
            "all, the others win by a hair over those: {eight:2}. The gradient lowers the crowded one all the "
            "same."
        ),
        numbers={
            "crowd": number(float(load_share(load(two)).max()), "3 of 4 tokens", "share"),
            "two": number(round(lopsided, 4), "2 (3/4 · 3/8 + 1/4 · 5/8), with probabilities (½+, ½-) and (0, 1)"),
            "even": number(round(even, 5), "the same where each expert has as many tokens"),
            "dead": number(dead, "experts that no token chose", "count"),
            "eight": number(
                round(starved, 4), "8 · 4 · 1/4 · (1/4 · 1/5): a winner shares with the four that are empty"
            ),
        },
    )


def two_losses() -> Found:
    """Switch's loss, Shazeer's two and the product of importance and load, on the same noisy routing."""
    generator = Generator().manual_seed(SEED)
    logits_TE, noise_TE = torch.randn(256, 8, generator=generator) + torch.linspace(1, 0, 8), torch.zeros(256, 8)
    routing = noisy_top_k(logits_TE, noise_TE, 2, generator=generator)
    smooth = replace(routing, load_probability_TE=load_probability(logits_TE, noise_TE, routing))
    switch, importance, smooth_load = (float(loss(smooth)) for loss in (auxiliary_loss, importance_loss, load_loss))
    sums = routing.weights_TE.sum(0) / routing.weights_TE.sum()
    product = float((sums * load_share(load(routing))).sum())
    return Found(
        holds=min(abs(product - value) for value in (switch, importance, smooth_load)) > 0.1 * product,
        sentence=(
            "On one uneven routing the formula as quoted gives {product:3}, Switch's loss {switch:3}, and the "
            "two of Shazeer et al. {importance:3} (importance) and {load:3} (load): four different numbers. At "
            "balance the first is {even:3}, Switch's 1, the two others 0."
        ),
        numbers={
            "product": number(product, "Σ importance share × load share"),
            "switch": number(switch, "N Σ f P"),
            "importance": number(importance, "CV² of the sums of weights"),
            "load": number(smooth_load, "CV² of the smooth load"),
            "even": number(1 / 8, "8 · 1/8 · 1/8"),
        },
        seed=SEED,
    )


def mismatched() -> Found:
    """What one expert adds to N Σ f P when both of its shares are high, and when only one is."""
    pairs = {"both": (0.5, 0.5), "share_high": (0.5, 0.05), "mean_high": (0.05, 0.5)}
    terms = {name: 8 * share * mean for name, (share, mean) in pairs.items()}
    even = 8 * (1 / 8) ** 2
    return Found(
        holds=max(terms["share_high"], terms["mean_high"]) < terms["both"] / 5,
        sentence=(
            "Of eight experts one adds {both} where f and P are both ½, and {mismatch} where one of them is ½ "
            "and the other 0.05; an even expert adds {even}. A mismatch is hardly noticed."
        ),
        numbers={
            "both": number(terms["both"], "8 · 0.5 · 0.5"),
            "mismatch": number(terms["share_high"], "8 · 0.5 · 0.05, either way round"),
            "even": number(even, "8 · 1/8 · 1/8"),
        },
    )


def constant() -> Found:
    """The two losses of tutorials that take `probs > 0` as the load: value and gradient, for flat and sharp routers."""
    generator, values, largest = Generator().manual_seed(SEED), [], 0.0
    for scale in (0.1, 1.0, 10.0):
        logits_BSE = (scale * torch.randn(4, 32, 8, generator=generator, dtype=torch.float64)).requires_grad_()
        for loss in (constant_sum, constant_mean):
            value = loss(logits_BSE.softmax(-1))
            (gradient,) = torch.autograd.grad(value, logits_BSE)
            values.append(float(value.detach()))
            largest = max(largest, float(gradient.abs().max()))
    real = [float(auxiliary_loss(softmax_top_k(_skewed(scale), 1))) for scale in (0.0, 3.0)]
    sums, means = values[::2], values[1::2]
    return Found(
        holds=max(sums) - min(sums) < 1e-9 and max(means) - min(means) < 1e-9 and largest < 1e-15 and real[1] > 1.5,
        sentence=(
            "For routers from undecided to sure the one variant gives {sum:3}, the sequence length, and the "
            "other {mean:3}, one over the number of experts, every time. The largest gradient is {largest}. "
            "Switch's loss goes from {flat:3} to {skewed:3} as a router of its own is skewed."
        ),
        numbers={
            "sum": number(round(sums[0], 6), "Σ mean probability × mean(probs > 0), means over sequences alone"),
            "mean": number(round(means[0], 6), "mean over experts of the same, means over all tokens"),
            "largest": number(0 if largest < 1e-15 else largest, "largest absolute gradient; below 1e-15 is rounding"),
            "flat": number(real[0], "N Σ f P of an even random router"),
            "skewed": number(real[1], "the same with logits skewed by 3 over the experts"),
        },
        seed=SEED,
    )


def scope() -> Found:
    """The loss per micro-batch, over all of them, per layer and of layers pooled, on the same routings."""
    generator = Generator().manual_seed(SEED)
    tilts = (torch.linspace(2, 0, 8), torch.linspace(0, 2, 8))  # two micro-batches, or layers, that lean opposite ways
    parts = [softmax_top_k(torch.randn(128, 8, generator=generator) + tilt, 2) for tilt in tilts]
    each = float(torch.stack([auxiliary_loss(part) for part in parts]).mean())
    share_E = assignment_share(parts)
    shared = float(torch.stack([auxiliary_loss(part, share_E=share_E) for part in parts]).mean())
    together = float(auxiliary_loss(pooled(parts)))
    return Found(
        holds=each > 1.1 * together and abs(shared - together) < 1e-4,
        sentence=(
            "Two micro-batches that lean opposite ways: the mean of their losses is {each:3}, with f counted "
            "over both it is {shared:3}, and so is the loss of all tokens together, {together:3}. Two layers "
            "pooled into one loss differ in the same way from the mean of theirs."
        ),
        numbers={
            "each": number(each, "mean of N Σ f P of 128 tokens each"),
            "shared": number(shared, "the same with f of all 256 tokens"),
            "together": number(together, "N Σ f P of all 256 tokens"),
        },
        seed=SEED,
    )


def _rotated(num_experts: int, top_k: int) -> Tensor:
    """Logits of one token per expert, each preferring the next: every expert is chosen as often."""
    row_E = torch.zeros(num_experts)
    row_E[:top_k] = torch.arange(top_k, 0, -1).float()
    return torch.stack([row_E.roll(shift) for shift in range(num_experts)])


def _skewed(scale: float) -> Tensor:
    generator = Generator().manual_seed(SEED)
    return torch.randn(4096, 8, generator=generator) + scale * torch.linspace(1, 0, 8)


def _narrow(winner_T: Tensor, rivals_TE: Tensor) -> Routing:
    """Each token's expert wins by a hair against its rivals, who share the probability with it; others have none."""
    logits_TE = torch.where(rivals_TE, 0.0, -60.0)
    logits_TE[torch.arange(len(winner_T)), winner_T] = NARROW
    return softmax_top_k(logits_TE, 1, renormalise=False)


def _pushed_down(routing: Routing) -> bool:
    """Whether a step against the gradient lowers the busiest expert's logits where it is chosen."""
    logits_TE = routing.logits_TE.clone().requires_grad_()
    (gradient_TE,) = torch.autograd.grad(auxiliary_loss(softmax_top_k(logits_TE, 1, renormalise=False)), logits_TE)
    return bool(gradient_TE.sum(0)[0] > 0)
