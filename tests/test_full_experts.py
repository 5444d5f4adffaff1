"""The figures of capacity: what is exact agrees with the engine's simulation, and both with what the page says."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise, product
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from moedocs import engine, lite
from moedocs.config import RoutingConfig
from moedocs.lab import crowding, full_experts
from moedocs.lab.crowding import BY_SKEW, DOWN, EIGHTS, SEQUENCES, TRAINED, UP, Router
from moedocs.lab.fingerprint import ROOT
from moedocs.lab.records import load
from moedocs.site import figures
from moedocs.site.figure import Rows, paths
from moedocs.site.figure import load as figure_of

ROUTERS = {(router.name, router.num_experts, router.skew): router for router in crowding.routers()}
SETTINGS = [(8, 0.0, 64, 2), (8, 1.0, 256, 1), (16, 0.5, 64, 4), (4, 1.0, 1024, 2)]


@cache
def figure(name: str) -> ModuleType:
    return figure_of(paths(ROOT)[name])


@cache
def rows_of(name: str) -> Rows:
    return figures.rounded(figure(name).data())


def at(**settings: Any) -> tuple[Rows, dict[str, Any]]:
    return full_experts.at(rows_of("capacity"), figure("capacity").OPENS_WITH | settings)


def routed(router: Router, num_tokens: int, top_k: int, draw: int) -> engine.Routing:
    """The engine's routing of a draw of the figure."""
    logits_TE = torch.from_numpy(router.logits_RTE[draw, :num_tokens].copy())
    return engine.softmax_top_k(logits_TE, top_k, renormalise=False)


@pytest.mark.parametrize(("num_experts", "skew", "num_tokens", "top_k"), SETTINGS)
@pytest.mark.parametrize("group", full_experts.GROUPS)
@pytest.mark.parametrize("order", ["order", "probability", "random"])
def test_loads_and_drops_of_every_draw_are_the_engines_whoever_is_served(
    num_experts: int, skew: float, num_tokens: int, top_k: int, group: str, order: Any
) -> None:
    router = ROUTERS[BY_SKEW, num_experts, skew]
    config = RoutingConfig(num_experts=num_experts, top_k=top_k, capacity_factor=1.25)
    size = num_tokens // full_experts.GROUPS[group]
    for draw in range(full_experts.DRAWS):
        settings = {"num_experts": num_experts, "skew": skew, "num_tokens": num_tokens, "top_k": top_k}
        drawn, expected = at(**settings, group=group, capacity_factor=1.25, draw=draw + 1)
        before = routed(router, num_tokens, top_k, draw)
        generator = torch.Generator().manual_seed(0)
        after = engine.with_capacity(
            before, engine.capacity(size, config), order=order, group_size=size, generator=generator
        )
        assert expected["capacity"] == engine.capacity(size, config)
        assert [row["load"] for row in drawn] == engine.load(before).tolist()
        assert full_experts.dropped(drawn, expected) == int(after.dropped_TE.sum())


@pytest.mark.parametrize("router", ROUTERS.values(), ids=lambda router: f"{router.name}-{router.num_experts}")
@pytest.mark.parametrize(("num_tokens", "top_k"), [(64, 1), (64, 4), (1024, 2)])
def test_the_exact_expectation_is_the_mean_of_many_draws(router: Router, num_tokens: int, top_k: int) -> None:
    """Within five standard errors, of the batch as a whole and of its sequences."""
    load_RSE = router.load_RSE(num_tokens, top_k)
    for group, factor in product(full_experts.GROUPS, (1.0, 1.25)):
        load_RXE = load_RSE.sum(1, keepdims=True) if group == "batch" else load_RSE
        tokens = num_tokens // full_experts.GROUPS[group]
        slots = crowding.slots(tokens, router.num_experts, top_k, factor)
        share_R = np.maximum(load_RXE - slots, 0).sum((1, 2)) / (num_tokens * top_k)
        error = 5 * share_R.std() / math.sqrt(len(share_R)) + 1e-3  # a rare drop may not have come at all
        assert crowding.expected_share(router, tokens, top_k, slots) == pytest.approx(share_R.mean(), abs=error)


def test_the_spread_holds_nine_of_ten_other_draws() -> None:
    fresh = np.random.default_rng(99)
    for num_experts, skew, num_tokens, top_k in SETTINGS:
        settings = {"num_experts": num_experts, "skew": skew, "num_tokens": num_tokens, "top_k": top_k}
        _, expected = at(**settings)
        popularity_E = np.arange(1.0, 1 + num_experts) ** -skew
        shares = []
        for _ in range(300):
            logits_TE = np.log(popularity_E) + fresh.gumbel(size=(num_tokens, num_experts))
            over_E = np.maximum(lite.load(lite.softmax_top_k(logits_TE, top_k)) - expected["capacity"], 0)
            shares.append(over_E.sum() / (num_tokens * top_k))
        inside = np.mean([expected["low_share"] - 6e-4 <= share <= expected["high_share"] + 6e-4 for share in shares])
        assert 0.82 < inside <= 0.99


def test_every_draw_keeps_every_choice_in_loads_as_expected() -> None:
    drawn: dict[tuple[Any, ...], Rows] = {}
    for row in rows_of("capacity"):
        if row["expert"]:
            drawn.setdefault((*(row[key] for key in full_experts.SETTING), row["draw"]), []).append(row)
    assert len(drawn) == len(ROUTERS) * 9 * full_experts.DRAWS
    for (_, num_experts, _, top_k, num_tokens, _), rows in drawn.items():
        assert [row["expert"] for row in rows] == list(range(1, 1 + num_experts))
        assert sum(row["load"] for row in rows) == num_tokens * top_k
        assert sum(row["expected_load"] for row in rows) == pytest.approx(num_tokens * top_k, abs=0.1)
        assert all(sum(row[f"load_{part + 1}"] for part in range(SEQUENCES)) == row["load"] for row in rows)


def test_each_setting_of_the_controls_has_its_one_row_of_expectations() -> None:
    capacity = figure("capacity")
    names = [{"router": name, "num_experts": experts, "skew": skew} for name, experts, skew in ROUTERS]
    loose = product(names, (1, 2, 4), (64, 256, 1024), full_experts.FACTORS, crowding.ROUNDINGS, full_experts.GROUPS)
    keys = ("num_tokens", "top_k", "capacity_factor", "rounding", "group")
    for router, top_k, num_tokens, factor, rounding, group in list(loose)[::37]:
        values = (num_tokens, top_k, factor, rounding, group)
        drawn, expected = at(**router, **dict(zip(keys, values, strict=True)))
        assert len(drawn) == router["num_experts"]
        assert set(capacity.POLICIES) == {"order", "probability", "random"}
        assert expected["low_share"] <= expected["high_share"]


def test_slots_are_those_of_the_config_rounded_up_and_else_as_said() -> None:
    for num_tokens, num_experts, top_k, factor in product((16, 60, 64, 256), (4, 8), (1, 2), full_experts.FACTORS):
        config = RoutingConfig(num_experts=num_experts, top_k=top_k, capacity_factor=factor)
        up, down, eights = (crowding.slots(num_tokens, num_experts, top_k, factor, way) for way in (UP, DOWN, EIGHTS))
        assert up == engine.capacity(num_tokens, config)
        assert up - 1 <= down <= up <= eights < up + 8
        assert eights % 8 == 0


def test_more_slots_drop_less_and_more_tokens_drop_a_smaller_share() -> None:
    for router, top_k in product(ROUTERS.values(), (1, 2, 4)):
        shares = {
            num_tokens: [
                crowding.expected_share(
                    router, num_tokens, top_k, num_tokens * top_k * eighth // 8 // router.num_experts
                )
                for eighth in range(8, 25, 4)
            ]
            for num_tokens in (64, 256, 1024)
        }
        for of in shares.values():
            assert all(more <= less + 1e-12 for less, more in pairwise(of))
        for fewer, many in pairwise(shares.values()):
            assert all(large <= small + 1e-12 for small, large in zip(fewer, many, strict=True))


@pytest.mark.parametrize("order", ["order", "probability"])
@pytest.mark.parametrize("group_size", [64, 16])
def test_a_queue_place_below_the_capacity_is_what_the_engine_keeps(order: Any, group_size: int) -> None:
    router = ROUTERS[BY_SKEW, 8, 0.5]
    logits_TE = router.logits_RTE[:4, :64].reshape(-1, 8)
    ours = lite.queue_place(lite.softmax_top_k(logits_TE, 2), order=order, group_size=group_size)
    theirs = engine.softmax_top_k(torch.from_numpy(logits_TE.copy()), 2)
    for slots in (0, 1, 4, 5, 16, 20, 64):
        after = engine.with_capacity(theirs, slots, order=order, group_size=group_size)
        assert np.array_equal((ours < slots) & theirs.map_TE.numpy(), after.map_TE.numpy())


def quarters(router: Router, order: Any, num_tokens: int, top_k: int, slots: int) -> tuple[list[float], list[float]]:
    """Shares dropped by quarter of the batch, and by quarter of the weights, by the engine, over all draws."""
    by_place, by_weight = [], []
    generator = torch.Generator().manual_seed(1)
    for draw in range(crowding.DRAWS):
        before = routed(router, num_tokens, top_k, draw)
        after = engine.with_capacity(before, slots, order=order, generator=generator)
        dropped_A, weight_A = after.dropped_TE[before.map_TE].double(), before.weights_TE[before.map_TE]
        by_place.append([part.mean().item() for part in dropped_A.chunk(4)])
        by_weight.append([part.mean().item() for part in dropped_A[weight_A.argsort()].chunk(4)])
    return np.mean(by_place, 0).tolist(), np.mean(by_weight, 0).tolist()


@pytest.mark.parametrize("policy", ["order", "probability", "random"])
def test_who_is_dropped_is_who_the_engine_drops(policy: str) -> None:
    """Order hurts the last, weight the unsure; a draw hurts no place, and weights as a batch in any order does."""
    _, expected = at(policy=policy)
    by_place, by_weight = quarters(ROUTERS[BY_SKEW, 8, 0.0], policy, 64, 2, expected["capacity"])
    assert [expected[f"place_{at}"] for at in (1, 2, 3, 4)] == pytest.approx(by_place, abs=0.025)
    assert [expected[f"weight_{at}"] for at in (1, 2, 3, 4)] == pytest.approx(by_weight, abs=0.025)


def test_the_trained_routers_are_the_most_lopsided_of_the_record_at_its_end() -> None:
    results = load("balance").results
    for name, arm in TRAINED.items():
        ends = [max(share_E) for run in results["arms"][arm] for share_E in run["share"][-1]]
        assert max(ROUTERS[name, 8, None].popularity_E) == max(ends)
        which = crowding.most_lopsided(arm)
        (run,) = [run for run in results["arms"][arm] if run["seed"] == which.seed]
        assert tuple(run["share"][-1][which.layer - 1]) == which.share_E


def test_slack_is_exact_and_what_stays_empty_never_less_than_it_must() -> None:
    for row in rows_of("slack")[::7]:
        router = ROUTERS[row["router"], row["num_experts"], row["skew"]]
        config = RoutingConfig(
            num_experts=row["num_experts"], top_k=row["top_k"], capacity_factor=row["capacity_factor"]
        )
        assert row["capacity"] == engine.capacity(row["num_tokens"], config)
        chances = lite.inclusion_probability(router.popularity_E, row["top_k"])
        over = sum(lite.binomial_overflow(row["num_tokens"], float(q), row["capacity"]) for q in chances)
        choices = row["num_tokens"] * row["top_k"]
        assert row["dropped"] == pytest.approx(over / choices, abs=1e-5)
        assert row["empty"] == pytest.approx(1 - (choices - over) / (row["num_experts"] * row["capacity"]), abs=1e-5)
        assert row["empty"] >= 1 - 1 / row["capacity_factor"] - 1e-5


def test_with_skew_less_than_one_choice_in_a_hundred_takes_far_more_slack_than_without() -> None:
    slack = figure("slack")
    fair, skewed = (slack.enough(slack.at(rows_of("slack"), skew=skew)) for skew in (0.0, 1.0))
    assert fair["capacity_factor"] <= 1.25
    assert skewed["capacity_factor"] >= 2 * fair["capacity_factor"]
    assert skewed["empty"] > 0.5
