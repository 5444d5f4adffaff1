"""Copies that expert parallelism sends against drawn tokens, and bytes and times against published figures."""

from collections.abc import Callable
from math import inf, nan, sqrt
from random import Random
from statistics import fmean, pvariance
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedocs.config.architecture import Architecture
from moedocs.config.fields import shown
from moedocs.cost.atlas import models
from moedocs.cost.communication import (
    MESSAGES,
    WAYS,
    Cluster,
    Exchange,
    copies,
    distinct_devices,
    distinct_nodes,
    message_bytes,
    overlapped,
    seconds,
    sent_bytes,
)
from tests.cost.formulas import assert_each_formula_gives_its_number

TOKENS = 4000


def published(key: str) -> Architecture:
    return models()[key].architecture


def drawn_copies(draw: Random, experts: int, top_k: int, cluster: Cluster, way: str) -> tuple[int, int]:
    """One token at home somewhere: messages that cross between nodes, and those between devices of one node."""
    home, nodes = draw.randrange(cluster.devices), range(cluster.nodes)
    allowed = draw.sample(nodes, cluster.nodes_per_token or cluster.nodes)
    allowed_experts = [expert for expert in range(experts) if expert * cluster.nodes // experts in allowed]
    choices = draw.sample(allowed_experts, top_k)
    devices = [expert * cluster.devices // experts for expert in choices]
    if way != "choices":
        devices = sorted(set(devices))
    home_node, place = divmod(home, cluster.node)
    if way == "nodes":
        hit = {device // cluster.node for device in devices}
        return len(hit - {home_node}), sum(device % cluster.node != place for device in devices)
    away = [device // cluster.node != home_node for device in devices]
    return sum(away), sum(device != home and not far for device, far in zip(devices, away, strict=True))


CASES = [
    (8, 2, Cluster(devices=8)),
    (8, 2, Cluster(devices=4, per_node=2)),
    (64, 6, Cluster(devices=16, per_node=4)),
    (64, 6, Cluster(devices=16, per_node=4, nodes_per_token=2)),
    (256, 8, Cluster(devices=64, per_node=8, nodes_per_token=4)),
    (16, 16, Cluster(devices=4, per_node=2)),
    (16, 1, Cluster(devices=16, per_node=1)),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("experts", "top_k", "cluster"), CASES, ids=str)
def test_copies_are_those_of_drawn_tokens(experts: int, top_k: int, cluster: Cluster, way: str) -> None:
    draw = Random(experts + top_k)
    counts = [drawn_copies(draw, experts, top_k, cluster, way) for _ in range(TOKENS)]
    found = copies(experts, top_k, cluster, way)
    for quantity, drawn in ((found.across, [a for a, _ in counts]), (found.within, [w for _, w in counts])):
        assert abs(fmean(drawn) - quantity.value) <= 4.5 * sqrt(pvariance(drawn) / TOKENS) + 1e-12
        assert_each_formula_gives_its_number(quantity)


@given(node=st.integers(1, 8), nodes=st.integers(1, 8), each=st.integers(1, 8), data=st.data(), limited=st.booleans())
def test_sending_once_is_never_more_and_limits_bound_the_nodes(
    node: int, nodes: int, each: int, data: st.DataObject, limited: bool
) -> None:
    limit = data.draw(st.integers(1, nodes)) if limited else None
    cluster = Cluster(devices=node * nodes, per_node=node, nodes_per_token=limit)
    experts = node * nodes * each
    top_k = data.draw(st.integers(0, (limit or nodes) * node * each))
    choices, devices, through = (copies(experts, top_k, cluster, way) for way in WAYS)
    slack = 1 + 1e-9
    assert through.across.value <= devices.across.value * slack
    assert devices.across.value <= choices.across.value * slack
    assert devices.within.value <= choices.within.value * slack
    assert devices.across.value + devices.within.value <= top_k * slack
    assert distinct_nodes(experts, top_k, cluster).value <= min(limit or nodes, top_k) * slack
    assert distinct_devices(experts, top_k, cluster).value <= min(cluster.devices, top_k) * slack
    for sent in (choices, devices, through):
        assert_each_formula_gives_its_number(sent.across)
        assert_each_formula_gives_its_number(sent.within)


def test_one_device_sends_nothing() -> None:
    for way in WAYS:
        sent = copies(8, 2, Cluster(devices=1), way)
        assert (sent.across.value, sent.within.value) == (0, 0)


def test_more_experts_on_the_same_devices_send_no_more_choices() -> None:
    cluster = Cluster(devices=8)
    sent = {experts: copies(experts, 2, cluster, "choices").within.value for experts in (8, 64, 512)}
    assert set(sent.values()) == {2 * 7 / 8}
    more = [copies(256, 2, Cluster(devices=devices, per_node=256), "choices").within.value for devices in (2, 8, 256)]
    assert more == sorted(more)
    assert more[-1] < 2


def test_mixtral_sends_sixteen_kilobytes_for_a_token_and_layer_at_most() -> None:
    assert 2 * message_bytes(4096, "bf16").value == 16_384
    sent = sent_bytes(published("mixtral-8x7b"), Cluster(devices=8), 1, Exchange(way="choices"))
    assert sent.across.value == 0
    assert sent.within.value == pytest.approx(32 * 2 * 16_384 * 7 / 8)
    for name in ("dispatch", "combine"):
        assert sent.within.part(name) == pytest.approx(32 * 16_384 * 7 / 8)


def test_deepseek_v3_sends_half_across_nodes_with_its_limit_of_four() -> None:
    once = message_bytes(7168, "fp8-one-scale").value
    assert (8 * once, 4 * once) == (57_344, 28_672)
    assert message_bytes(7168, "fp8").value == 7168 + 56 * 4
    cluster = Cluster(devices=64, per_node=8, nodes_per_token=4)
    exchange = Exchange(way="nodes", dispatch="fp8-one-scale")
    sent = sent_bytes(published("deepseek-v3"), cluster, 1, exchange)
    assert sent.across.part("dispatch") / 58 < 28_672
    free = sent_bytes(published("deepseek-v3"), Cluster(devices=64), 1, exchange)
    assert sent.across.value < free.across.value < 8 * 3 * 7168 * 58
    assert distinct_nodes(256, 8, cluster).value == pytest.approx(3.6, abs=0.1)


@given(tokens=st.integers(0, 10**6))
def test_backward_sends_as_much_again_and_bytes_grow_with_tokens(tokens: int) -> None:
    model, cluster = published("olmoe-1b-7b"), Cluster(devices=8, per_node=4)
    forward = sent_bytes(model, cluster, tokens, Exchange())
    both = sent_bytes(model, cluster, tokens, Exchange(backward=True))
    assert both.across.value == pytest.approx(2 * forward.across.value)
    assert both.within.value == pytest.approx(2 * forward.within.value)
    assert forward.across.value == pytest.approx(tokens * sent_bytes(model, cluster, 1, Exchange()).across.value)
    assert_each_formula_gives_its_number(both.across)


def test_experts_that_read_a_narrower_vector_are_sent_no_more_of_it() -> None:
    narrow = [model for model in models().values() if any(one.latent for one in model.architecture.experts)]
    for model in narrow:
        width = model.architecture.experts[0].latent
        sent = sent_bytes(model.architecture, Cluster(devices=2), 1, Exchange(way="choices"))
        top_k, layers = model.architecture.experts[0].top_k, len(model.architecture.experts)
        assert sent.within.value == pytest.approx(layers * 2 * 2 * width * top_k / 2)


def test_time_is_the_longer_of_both_links() -> None:
    sent = sent_bytes(published("deepseek-v3"), Cluster(devices=64), 4096, Exchange(way="nodes", dispatch="fp8"))
    slow = seconds(sent, 50e9, 200e9)
    assert slow.value == pytest.approx(max(sent.across.value / 50e9, sent.within.value / 200e9))
    assert_each_formula_gives_its_number(slow)
    assert seconds(sent, 1e30, 200e9).value == sent.within.value / 200e9


@pytest.mark.parametrize("width", [1, 127, 128, 129, 7168])
def test_messages_of_shorter_numbers_are_shorter(width: int) -> None:
    sizes = {form: message_bytes(width, form) for form in MESSAGES}
    assert sizes["fp8-one-scale"].value <= sizes["bf16"].value <= sizes["fp32"].value
    blocks = len(range(0, width, 128))
    assert sizes["fp8"].value == width + 4 * blocks
    for quantity in sizes.values():
        assert_each_formula_gives_its_number(quantity)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: Cluster(devices=12, per_node=8), "devices=12 are not whole nodes of per_node=8"),
        (
            lambda: Cluster(devices=16, nodes_per_token=3),
            "nodes_per_token=3 must be a whole number, at least 1 and at most 2",
        ),
        (lambda: copies(10, 2, Cluster(devices=4)), "experts=10 do not lie evenly on devices=4"),
        (lambda: copies(8, 9, Cluster(devices=4)), "top_k=9"),
        (lambda: copies(16, 9, Cluster(devices=16, nodes_per_token=1)), "top_k=9"),
        (lambda: sent_bytes(published("llama-2-70b"), Cluster(devices=4), 1, Exchange()), "no layers of experts"),
        (lambda: overlapped(1.0, 1.0, 1.5), "overlap=1.5 must be a share"),
        (lambda: overlapped(-1.0, 1.0, 0.5), "communication=-1.0"),
        (lambda: overlapped(1.0, nan, 0.5), "computation=nan"),
        (lambda: overlapped(inf, 1.0, 0.5), "communication=inf"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(attempt: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attempt()


@pytest.mark.parametrize("value", [-1, 10**30, True, "4", None, 1.5, nan, 10**5000], ids=shown)
def test_numbers_that_mean_no_good_are_refused_by_name(value: Any) -> None:
    cluster, model = Cluster(devices=8), published("mixtral-8x7b")
    tries: dict[str, Callable[[], object]] = {
        "devices": lambda: Cluster(devices=value),
        "per_node": lambda: Cluster(devices=8, per_node=value),
        "experts": lambda: copies(value, 1, cluster),
        "top_k": lambda: copies(8, value, cluster),
        "way": lambda: copies(8, 2, cluster, value),
        "width": lambda: message_bytes(value, "bf16"),
        "form": lambda: message_bytes(8, value),
        "tokens": lambda: sent_bytes(model, cluster, value, Exchange()),
        "dispatch": lambda: Exchange(dispatch=value),
        "combine": lambda: Exchange(combine=value),
    }
    for name, attempt in tries.items():
        with pytest.raises(ValueError, match=rf"^{name}="):
            attempt()
    if not isinstance(value, float) and value != 10**30:
        with pytest.raises(ValueError, match=r"^across="):
            seconds(copies(8, 2, cluster), value, 1.0)
