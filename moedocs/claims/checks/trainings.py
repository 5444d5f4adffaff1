"""Checks that read what our own small trainings left behind: four layers of eight experts, three seeds."""

from __future__ import annotations

from typing import Any

from moedocs.claims.found import Found, number
from moedocs.lab import records

RECORDS = ("balance", "granularity")
WEIGHTS = ("0.0001", "0.001", "0.01", "0.1", "1")


def busiest_without_balancing() -> Found:
    """How much of the load the busiest expert of a layer has at the end, with no balancing rule."""
    ends = [layer for seed in _results("balance")["arms"]["none/k1"] for layer in seed["share"][-1]]
    busiest, two = [max(shares) for shares in ends], [sum(sorted(shares)[-2:]) for shares in ends]
    dead = sum(number for seed in _results("balance")["arms"]["none/k1"] for number in seed["dead"][-1])
    said = "in record balance, arm none/k1, at the last step"
    return Found(
        holds=0.125 < max(busiest) < 0.9 and max(two) < 0.95 and dead == 0,
        sentence=(
            "In {layers} layers of eight experts, trained without balancing, the busiest expert ends with "
            "{least:2} to {most:2} of the tokens, {mean:2} on average, the two busiest with {both:2} at most; "
            "{dead} experts have none. Seeds differ much."
        ),
        numbers={
            "layers": number(len(ends), f"layers and seeds {said}", "count"),
            "least": number(min(busiest), f"least of the largest shares of {len(ends)} layers {said}", "share"),
            "most": number(max(busiest), f"most of the same {said}", "share"),
            "mean": number(sum(busiest) / len(busiest), f"mean of the same {said}", "share"),
            "both": number(max(two), f"most of the sums of the two largest shares {said}", "share"),
            "dead": number(dead, f"experts that no token chose {said}", "count"),
        },
    )


def loss_without_balancing() -> Found:
    """Whether our models are worse without balancing than with the auxiliary loss."""
    summary, arms = _results("balance")["summary"], _results("balance")["arms"]
    plain, balanced = (summary[f"{arm}/k1"]["validation_loss"] for arm in ("none", "auxiliary-0.01"))
    pairs = zip(arms["none/k1"], arms["auxiliary-0.01/k1"], strict=True)
    apart = [one["validation_loss"][-1] - other["validation_loss"][-1] for one, other in pairs]
    return Found(
        holds=abs(plain["mean"] - balanced["mean"]) < plain["most"] - plain["least"],
        sentence=(
            "At this size the loss does not show it: {plain:4} nats per byte without balancing ({least:4} to "
            "{most:4} over three seeds), {balanced:4} with the auxiliary loss; seed by seed the model without "
            "is ahead by {ahead:2} at most and behind by {behind:2} at most."
        ),
        numbers={
            "plain": number(plain["mean"], "mean validation loss in record balance, none/k1", "nat"),
            "least": number(plain["least"], "least of the three seeds", "nat"),
            "most": number(plain["most"], "most of the three seeds", "nat"),
            "balanced": number(balanced["mean"], "mean validation loss in record balance, auxiliary-0.01/k1", "nat"),
            "ahead": number(max(0.0, -min(apart)), "largest lead of a seed without balancing", "nat"),
            "behind": number(max(0.0, *apart), "largest lag of a seed without balancing", "nat"),
        },
    )


def collapse_on_one_device() -> Found:
    """The load grows uneven where nothing is sent anywhere: each of our trainings ran on one process."""
    shares = [max(seed["largest_share"]) for seed in _results("balance")["arms"]["none/k1"]]
    start = [seed["largest_share"][0] for seed in _results("balance")["arms"]["none/k1"]]
    return Found(
        holds=min(shares) > max(start),
        sentence=(
            "Trained in one process, with nothing to send, the busiest expert's share, as a mean of the layers, "
            "grows from {start_least:2} to {start_most:2} before training to {peak_least:2} to {peak_most:2} at its "
            "peak (three seeds), when an even share is {even}."
        ),
        numbers={
            "start_least": number(
                min(start), "least largest_share of a seed at step 0, record balance, none/k1", "share"
            ),
            "start_most": number(max(start), "most of the same", "share"),
            "peak_least": number(min(shares), "the largest over all steps, of the seed where it is least", "share"),
            "peak_most": number(max(shares), "the same, of the seed where it is most", "share"),
            "even": number(1 / 8, "1 / 8 experts", "share"),
        },
    )


def auxiliary_weights() -> Found:
    """What five weights of the auxiliary loss do to the busiest share and to the loss."""
    summary = _results("balance")["summary"]
    shares = [summary[f"auxiliary-{weight}/k1"]["largest_share"]["mean"] for weight in WEIGHTS]
    losses = [summary[f"auxiliary-{weight}/k1"]["validation_loss"]["mean"] for weight in WEIGHTS]
    ends = [summary[f"auxiliary-{weight}/k1"]["largest_share"] for weight in (WEIGHTS[0], WEIGHTS[-1])]
    spread = summary["auxiliary-0.01/k1"]["validation_loss"]
    dear = losses[-1] - losses[2]
    said = "record balance, mean of three seeds"
    return Found(
        holds=shares == sorted(shares, reverse=True) and dear > spread["most"] - spread["least"],
        sentence=(
            "In our small models the busiest share falls from {weak:2} at a weight of 0.0001 ({weak_least:2} to "
            "{weak_most:2} over three seeds) to {switch:2} at 0.01 and {strong:2} at 1 ({strong_least:2} to "
            "{strong_most:2}), and only the last costs: {dear:2} nats per byte over 0.01, whose seeds "
            "lie {spread:2} apart. Between 0.001 and 0.1 the loss hardly notices."
        ),
        numbers={
            "weak": number(shares[0], f"largest share at weight 0.0001, {said}", "share"),
            "switch": number(shares[2], f"largest share at weight 0.01, {said}", "share"),
            "strong": number(shares[-1], f"largest share at weight 1, {said}", "share"),
            "weak_least": number(ends[0]["least"], "least seed at weight 0.0001", "share"),
            "weak_most": number(ends[0]["most"], "most seed at weight 0.0001", "share"),
            "strong_least": number(ends[1]["least"], "least seed at weight 1", "share"),
            "strong_most": number(ends[1]["most"], "most seed at weight 1", "share"),
            "dear": number(dear, f"loss at weight 1 less that at 0.01, {said}", "nat"),
            "spread": number(spread["most"] - spread["least"], "most less least of the seeds at weight 0.01", "nat"),
        },
    )


def tuned_weights() -> Found:
    """Whether the window that the advice names is visible: the loss on both sides of it, within the spread of seeds."""
    summary = _results("balance")["summary"]
    least, most = (
        [summary[f"auxiliary-{weight}/k1"]["validation_loss"][end] for weight in ("0.001", "0.01", "0.1")]
        for end in ("least", "most")
    )
    busiest = {weight: summary[f"auxiliary-{weight}/k1"]["largest_share"] for weight in ("0.001", "0.01", "0.1")}
    shares = {weight: of["mean"] for weight, of in busiest.items()}
    return Found(
        holds=max(least) < min(most) and shares["0.001"] > shares["0.01"] > shares["0.1"],
        sentence=(
            "A hundredfold range of weights, 0.001 to 0.1, holds the busiest share between {high:2} and {low:2} "
            "in all three seeds of our small models, and the ranges of their losses overlap: {left:4} to "
            "{right:4} nats per byte lies in each. No narrow window shows."
        ),
        numbers={
            "high": number(
                max(of["most"] for of in busiest.values()), "most of the largest shares, record balance", "share"
            ),
            "low": number(min(of["least"] for of in busiest.values()), "least of the same", "share"),
            "left": number(max(least), "the largest of the three least losses", "nat"),
            "right": number(min(most), "the smallest of the three greatest losses", "nat"),
        },
    )


def granularity() -> Found:
    """What experts tell of the kind of text, by the scope of balance, and what the loss says of it."""
    summary, losses = _results("granularity")["summary"], _results("granularity")["differences"]["single"]
    told = {scope: summary[f"single/{scope}"]["corrected"] for scope in ("sequence", "micro-batch", "global", "none")}
    apart, spread = losses["micro-batch"]["global"], summary["single/global"]["validation_loss"]
    numbers = {
        f"{scope.replace('-', '_')}_{end}": number(
            told[scope][end], f"normalised mutual information, {end} of 3 seeds, record granularity, single/{scope}"
        )
        for scope in told
        for end in ("least", "most")
    }
    return Found(
        holds=told["sequence"]["most"] < told["micro-batch"]["least"]
        and told["micro-batch"]["most"] < told["global"]["least"]
        and apart["most"] < spread["most"] - spread["least"],
        sentence=(
            "In our small models what an expert tells of the kind of text (normalised mutual information, three "
            "seeds) is {sequence_least:2} to {sequence_most:2} with balance per sequence, {micro_batch_least:2} "
            "to {micro_batch_most:2} per micro-batch, {global_least:2} to {global_most:2} over the whole step "
            "and {none_least:2} to {none_most:2} without. In the loss, micro-batches are behind the whole step "
            "by {apart_least:1} to {apart_most:2} nats per byte, less than seeds differ."
        ),
        numbers=numbers
        | {
            "apart_least": number(apart["least"], "least difference of a seed, micro-batch less global", "nat"),
            "apart_most": number(apart["most"], "most difference of a seed, micro-batch less global", "nat"),
        },
    )


def _results(name: str) -> dict[str, Any]:
    return records.load(name).results
