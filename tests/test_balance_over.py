"""The figure of what balance is asked over: its rows and words are those of the record."""

from __future__ import annotations

import json
from functools import cache
from itertools import product
from statistics import mean
from types import ModuleType
from typing import Any

import pytest
import torch

from moedocs.engine import assignment_share, auxiliary_loss, load, pooled, softmax_top_k
from moedocs.lab import records
from moedocs.lab.fingerprint import ROOT
from moedocs.lab.fits import difference
from moedocs.site import figure as site_figure
from moedocs.site import figures
from moedocs.site.figure import Rows, paths

ARMS = {
    ("one kind", "sequence"): "single/sequence",
    ("one kind", "micro-batch"): "single/micro-batch",
    ("one kind", "step"): "single/global",
    ("one kind", "none"): "single/none",
    ("four kinds", "sequence"): "mixed/sequence",
    ("four kinds", "micro-batch"): "mixed/micro-batch",
    ("four kinds", "step"): "mixed/global",
    ("four kinds", "none"): "mixed/none",
}
SUMMED = {
    "told": "corrected",
    "told_given": "given_byte",
    "shuffled_given": "given_byte_shuffled",
    "in_sequence": "sequence_share",
    "overall": "largest_share",
    "loss": "validation_loss",
}


@cache
def figure() -> ModuleType:
    return site_figure.load(paths(ROOT)["balance-over"])


@cache
def rows() -> Rows:
    return figures.rounded(figure().data())


@cache
def results() -> dict[str, Any]:
    return json.loads((ROOT / "figures" / "records" / "granularity.json").read_text("utf-8"))["results"]  # type: ignore[no-any-return]


def chosen(**wanted: object) -> Rows:
    return [row for row in rows() if wanted.items() <= row.items()]


@pytest.mark.parametrize(("place", "arm"), ARMS.items())
def test_each_layer_at_each_look_has_what_the_record_has(place: tuple[str, str], arm: str) -> None:
    text, over = place
    for run, layer, (look, step) in product(results()["arms"][arm], range(4), enumerate(results()["steps"])):
        (row,) = chosen(text=text, over=over, seed=run["seed"], layer=str(layer + 1), look=look + 1)
        told = run["information"]
        assert row["step"] == step
        assert row["told"] == pytest.approx(told["corrected"][look][layer])
        assert row["shuffled"] == pytest.approx(told["shuffled"][look][layer])
        assert row["told_given"] == pytest.approx(told["given_byte"][look][layer])
        assert row["shuffled_given"] == pytest.approx(told["given_byte_shuffled"][look][layer])
        assert row["in_sequence"] == pytest.approx(run["sequence_share"][look][layer])
        assert row["overall"] == pytest.approx(run["largest_share"][look][layer])
        assert row["loss"] == pytest.approx(run["validation_loss"][look])


def test_there_is_one_row_for_each_setting_and_no_other() -> None:
    keys = [tuple(row[key] for key in ("text", "over", "seed", "layer", "look")) for row in rows()]
    assert len(set(keys)) == len(keys) == 8 * 3 * 5 * len(results()["steps"])


@pytest.mark.parametrize(("place", "arm"), ARMS.items())
def test_the_means_of_layers_and_seeds_at_the_end_are_the_summary_of_the_record(
    place: tuple[str, str], arm: str
) -> None:
    ends = chosen(text=place[0], over=place[1], layer="mean", look=len(results()["steps"]))
    for column, name in SUMMED.items():
        summary = results()["summary"][arm][name]
        values = [row[column] for row in ends]
        assert [mean(values), min(values), max(values)] == pytest.approx(
            [summary["mean"], summary["least"], summary["most"]], rel=1e-3
        )


def test_the_caption_states_every_scope_with_its_spread() -> None:
    caption = figure().words(rows()).caption
    for scope in ("sequence", "micro-batch", "global", "none"):
        told = results()["summary"][f"single/{scope}"]["corrected"]
        assert f"{told['mean']:.3f} ({told['least']:.3f} to {told['most']:.3f})" in caption
    assert "not show: a better model" in caption


def test_what_the_page_says_of_the_losses_holds_in_the_record() -> None:
    """No scope's mean is further from another's than seeds of one scope are from each other."""
    losses = [[run["validation_loss"][-1] for run in results()["arms"][arm]] for arm in ARMS.values()]
    facts = figure().facts(rows())
    alone = losses[:4]
    assert facts["means-apart"].value == pytest.approx(max(map(mean, alone)) - min(map(mean, alone)))
    assert facts["seeds-apart"].value == pytest.approx(max(max(seeds) - min(seeds) for seeds in alone))
    assert facts["means-apart"].value < facts["seeds-apart"].value


def test_every_look_at_the_shuffled_kinds_is_far_below_the_real_ones() -> None:
    for row in chosen(text="one kind", look=len(results()["steps"])):
        assert row["shuffled"] < row["told"] / 10
        assert row["shuffled_given"] < row["told_given"] / 5


def test_balance_per_sequence_takes_back_what_experts_had_learnt_to_tell() -> None:
    facts = figure().facts(rows())
    told = [mean(row["told"] for row in chosen(text="one kind", over="sequence", layer="mean", look=look + 1))
            for look in range(len(results()["steps"]))]  # fmt: skip
    assert facts["peak"].value == pytest.approx(max(told))
    assert results()["steps"][told.index(max(told))] == facts["peak-step"].value
    assert told[-1] < told[0] < max(told) / 1.5


def test_a_step_holds_the_bytes_that_the_figure_states() -> None:
    shared = records.load("granularity").settings["shared"]
    facts = figure().facts(rows())
    assert facts["tokens-sequence"].value == shared["training.sequence_length"]
    assert facts["tokens-step"].value == shared["training.sequence_length"] * shared["training.sequences"]
    assert facts["tokens-micro-batch"].value * shared["training.micro_batches"] == facts["tokens-step"].value


def test_nothing_leaves_its_panel() -> None:
    of_means, of_layers = figure().HIGHEST
    for column in ("told", "told_given"):
        assert max(row[column] for row in chosen(layer="mean")) < of_means
        assert max(row[column] for row in rows()) < of_layers
    shares = [row[column] for row in rows() if row["step"] == 400 for column in ("in_sequence", "overall")]
    assert 0.07 < min(shares) < max(shares) < 0.45


def a_batch(*, groups: int = 4, tokens: int = 12, experts: int = 4) -> list[torch.Tensor]:
    """Logits of groups whose tokens prefer experts of their own: what a batch of different texts is like."""
    draws = torch.Generator().manual_seed(5)
    taste_G1E = 3 * torch.randn(groups, 1, experts, generator=draws)
    return list((taste_G1E + torch.randn(groups, tokens, experts, generator=draws)).requires_grad_().unbind())


def test_the_loss_within_groups_is_that_of_the_batch_and_the_covariance_of_f_and_p() -> None:
    batch = [softmax_top_k(logits_SE, 2) for logits_SE in a_batch()]
    whole = pooled(batch)
    share_GE = torch.stack([load(one) / load(one).sum() for one in batch])
    mean_GE = torch.stack([one.probs_TE.mean(0) for one in batch])
    covariance_E = (share_GE * mean_GE).mean(0) - share_GE.mean(0) * mean_GE.mean(0)
    within = auxiliary_loss(whole, group_size=12)
    torch.testing.assert_close(within, auxiliary_loss(whole) + 4 * covariance_E.sum())
    assert 4 * covariance_E.sum() > 0.05


def test_with_shared_counts_the_mean_of_the_losses_is_the_loss_of_the_batch_in_value_and_gradient() -> None:
    logits = a_batch()
    batch = [softmax_top_k(logits_SE, 2) for logits_SE in logits]
    share_E = assignment_share(batch)
    whole = auxiliary_loss(pooled(batch))
    shared = torch.stack([auxiliary_loss(one, share_E=share_E) for one in batch]).mean()
    alone = torch.stack([auxiliary_loss(one) for one in batch]).mean()
    torch.testing.assert_close(shared, whole)
    gradients = [torch.cat(torch.autograd.grad(loss, logits, retain_graph=True)) for loss in (shared, whole, alone)]
    torch.testing.assert_close(gradients[0], gradients[1])
    assert alone > whole + 0.05
    assert not torch.allclose(gradients[2], gradients[1], rtol=0.1)


def test_a_sequence_of_code_and_one_of_prose_cost_1_together_and_2_apart() -> None:
    logits_TE = torch.tensor([[50.0, 0.0]] * 6 + [[0.0, 50.0]] * 6, dtype=torch.float64)
    routing = softmax_top_k(logits_TE, 1, renormalise=False)
    assert auxiliary_loss(routing).item() == pytest.approx(1)
    assert auxiliary_loss(routing, group_size=6).item() == pytest.approx(2)


def test_what_the_page_says_of_the_order_of_the_losses_holds() -> None:
    """Ahead in every seed and yet within noise on one kind of text, and more than noise the other way on four."""
    arms = results()["arms"]
    losses = {arm: [run["validation_loss"][-1] for run in arms[arm]] for arm in ARMS.values()}
    alone = difference(losses["single/sequence"], losses["single/global"])
    assert min(results()["differences"]["single"]["sequence"]["global"]["each"]) > 0
    assert alone.verdict == "within noise"
    assert difference(losses["mixed/sequence"], losses["mixed/global"]).verdict == "better"


def test_given_the_byte_balance_per_sequence_costs_a_fifth_and_the_others_do_not_differ() -> None:
    told = {
        scope: results()["summary"][f"single/{scope}"]["given_byte"]
        for scope in ("sequence", "micro-batch", "global", "none")
    }
    sequence = told.pop("sequence")
    assert all(0.15 < 1 - sequence["mean"] / one["mean"] < 0.25 for one in told.values())
    assert all(sequence["most"] < one["least"] for one in told.values())
    means = [one["mean"] for one in told.values()]
    assert max(means) - min(means) < max(one["most"] - one["least"] for one in told.values())
