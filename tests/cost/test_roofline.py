"""Bounds on decoding against hand arithmetic, a search by counting, and twins of equal size."""

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedocs.config.architecture import Architecture, Experts
from moedocs.config.fields import shown
from moedocs.cost.atlas import models
from moedocs.cost.batch import step_bytes
from moedocs.cost.decoding import step_flops
from moedocs.cost.devices import DEVICES, LINKS, Device, device
from moedocs.cost.forward import model_flops
from moedocs.cost.roofline import Setting, dense_twin, largest_batch, leaves_memory_bound, prefill, step
from moedocs.cost.tree import active_parameters, parameter_tree
from tests.cost.formulas import assert_each_formula_gives_its_number

H100 = device("H100")


def published(key: str) -> Architecture:
    return models()[key].architecture


@pytest.mark.parametrize("key", ["mixtral-8x7b", "llama-2-70b", "deepseek-v3", "gpt-oss-120b"])
@pytest.mark.parametrize("batch", [1, 50, 5000])
def test_a_step_takes_the_longer_of_reading_and_computing(key: str, batch: int) -> None:
    setting = Setting(device=H100, devices=8, context=1000)
    found, model = step(published(key), setting, batch), published(key)
    reading = step_bytes(model, batch, 1000).value / (8 * 3.35e12)
    computing = step_flops(model, 1000, batch).value / (8 * 989.4e12)
    assert found.seconds.value == pytest.approx(max(reading, computing))
    assert found.bound == ("memory" if reading > computing else "products")
    assert found.tokens_per_second.value == pytest.approx(batch / max(reading, computing))
    assert (found.intensity.value < setting.device.ridge()) == (found.bound == "memory")
    for quantity in (found.memory, found.products, found.seconds, found.tokens_per_second, found.intensity):
        assert_each_formula_gives_its_number(quantity)


def test_one_a100_could_give_mixtral_at_most_eighty_tokens_a_second_if_it_fitted() -> None:
    setting = Setting(device=device("A100 80GB"), context=1)
    assert 79 < step(published("mixtral-8x7b"), setting, 1).tokens_per_second.value < 80
    assert largest_batch(published("mixtral-8x7b"), setting).value == 0
    assert largest_batch(published("llama-2-70b"), setting).value == 0
    assert largest_batch(published("mixtral-8x7b"), replace(setting, devices=2)).value > 0


def test_the_advantage_over_a_dense_70b_shrinks_as_the_batch_wakes_all_experts() -> None:
    def ratio(batch: int) -> float:
        dense, sparse = (step_bytes(published(key), batch, 1).value for key in ("llama-2-70b", "mixtral-8x7b"))
        return dense / sparse

    assert round(ratio(1), 1) == 5.4
    assert ratio(1) > ratio(4) > ratio(16)
    assert round(ratio(100), 2) == 1.48


@pytest.mark.parametrize(
    ("key", "context", "devices"), [("mixtral-8x7b", 1, 1), ("llama-2-70b", 100, 2), ("deepseek-v3", 4096, 8)]
)
def test_the_crossing_is_the_first_batch_that_waits_for_products(key: str, context: int, devices: int) -> None:
    model, setting = published(key), Setting(device=H100, context=context, devices=devices)
    crossing = leaves_memory_bound(model, setting)
    assert crossing is not None
    assert step(model, setting, crossing).bound == "products"
    assert step(model, setting, crossing - 1).bound == "memory"


def test_without_a_cache_a_dense_model_crosses_at_the_ridge_and_a_sparse_one_later_by_its_sparsity() -> None:
    setting = Setting(device=H100, context=1)
    dense, sparse = (leaves_memory_bound(published(key), setting) for key in ("llama-2-70b", "mixtral-8x7b"))
    assert dense == pytest.approx(H100.ridge(), rel=0.01)
    assert sparse == pytest.approx(H100.ridge() * 46.70 / 12.75, rel=0.01)


def test_reading_in_waits_for_products_and_restores_the_ratio_of_active_sizes() -> None:
    setting = Setting(device=H100, context=4096)
    dense, sparse = (prefill(published(key), setting, 4) for key in ("llama-2-70b", "mixtral-8x7b"))
    assert dense.bound == sparse.bound == "products"
    assert 5 < dense.seconds.value / sparse.seconds.value < 5.4
    assert sparse.computed.value == model_flops(published("mixtral-8x7b"), 4096, 4).causal
    everything = 2 * (parameter_tree(published("mixtral-8x7b")).count - 131_072_000 + 4096 * 4 * 4096)
    assert sparse.read.value == pytest.approx(everything)
    assert sparse.tokens_per_second.value == pytest.approx(4 * 4096 / sparse.seconds.value)
    for quantity in (sparse.read, sparse.computed, sparse.seconds):
        assert_each_formula_gives_its_number(quantity)


def test_a_long_context_of_full_caches_never_leaves_memory() -> None:
    assert leaves_memory_bound(published("llama-2-70b"), Setting(device=H100, context=4096)) is None
    assert leaves_memory_bound(published("deepseek-v3"), Setting(device=H100, context=4096)) is not None


@given(context=st.integers(1, 10**5), devices=st.integers(1, 64))
def test_the_largest_batch_fits_and_one_more_does_not(context: int, devices: int) -> None:
    mixtral, setting = published("mixtral-8x7b"), Setting(device=H100, context=context, devices=devices)
    batch = largest_batch(mixtral, setting).value
    weights, each = 2 * parameter_tree(mixtral).count, 131072 * context
    assert batch == max(0, (devices * 80 * 10**9 - weights) // each)
    assert_each_formula_gives_its_number(largest_batch(mixtral, setting), tolerance=1e-5)


def test_keys_of_every_head_leave_room_for_fewer_sequences_and_are_read_for_longer() -> None:
    model, setting = published("deepseek-v3"), Setting(device=device("H200"), devices=16, precision="fp8")
    expanded = replace(setting, latents="expanded")
    times = 128 * (128 + 64 + 128) / (512 + 64)
    assert largest_batch(model, setting).value == pytest.approx(times * largest_batch(model, expanded).value, rel=0.01)
    assert step(model, expanded, 9).read.part("cache") == pytest.approx(
        times * step(model, setting, 9).read.part("cache")
    )


@pytest.mark.parametrize("key", sorted(key for key, model in models().items() if model.architecture.experts))
def test_twins_are_dense_and_as_large(key: str) -> None:
    model = published(key)
    for of in ("active", "total"):
        twin = dense_twin(model, of)
        assert not any(isinstance(network, Experts) for layer in twin.layers for network in layer.feed_forward)
        routers = parameter_tree(model).part("routers")
        size = parameter_tree(model).count if of == "total" else active_parameters(model).with_embeddings
        assert parameter_tree(twin).count == pytest.approx(size - routers, rel=0.01)
        if key != "jetmoe-8b":  # whose attention has experts too
            assert [layer.attention for layer in twin.layers] == [layer.attention for layer in model.layers]


def test_the_twin_of_mixtral_differs_by_its_routers_alone() -> None:
    mixtral = published("mixtral-8x7b")
    active, every = (parameter_tree(dense_twin(mixtral, of)).count for of in ("active", "total"))
    assert active == active_parameters(mixtral).with_embeddings - 32 * 8 * 4096
    assert every == parameter_tree(mixtral).count - 32 * 8 * 4096
    assert round(parameter_tree(mixtral).count / active, 2) == 3.63
    assert dense_twin(published("llama-2-70b"), "active").layers == published("llama-2-70b").layers


def test_data_sheets_are_in_order() -> None:
    for name, one in DEVICES.items():
        assert one.name == name
        assert one.source
        peaks = [peak for peak in (one.bf16, one.fp8, one.fp4) if peak is not None]
        assert peaks == sorted(peaks)
        assert 100 < one.ridge() < 700 or name == "H20"
        assert 20e9 < one.memory < 400e9 or name == "TPU v5e"
        assert one.link < one.bandwidth
    assert min(LINKS.values()) == LINKS["InfiniBand HDR"] == 25e9


def test_a_device_is_edited_by_replacing_its_numbers() -> None:
    slow = replace(H100, name="measured", bandwidth=2.5e12)
    model = published("mixtral-8x7b")
    fast_step, slow_step = (step(model, Setting(device=one), 1).seconds.value for one in (H100, slow))
    assert slow_step / fast_step == pytest.approx(3.35 / 2.5)


@pytest.mark.parametrize("value", [0, -1, True, "4", None, nan, inf, 1e300, 10**5000], ids=shown)
def test_a_device_of_nonsense_is_refused_by_name(value: Any) -> None:
    for name in ("memory", "bandwidth", "link", "bf16", *(("fp8",) if value is not None else ())):
        with pytest.raises(ValueError, match=rf"^{name}="):
            replace(H100, **{name: value})


@pytest.mark.parametrize("value", [0, -1, True, "4", None, 1.5, nan, 10**30, 10**5000, "H1", ["H100"]], ids=shown)
def test_a_setting_of_nonsense_is_refused_by_name(value: Any) -> None:
    for name in ("context", "devices"):
        with pytest.raises(ValueError, match=rf"^{name}="):
            Setting(device=H100, **{name: value})
    with pytest.raises(ValueError, match=r"^batch="):
        step(published("mixtral-8x7b"), Setting(device=H100), value)
    with pytest.raises(ValueError, match=r"^form="):
        Setting(device=H100, products=value)
    with pytest.raises(ValueError, match=r"^precision="):
        step(published("mixtral-8x7b"), Setting(device=H100, precision=value), 1)
    with pytest.raises(ValueError, match=r"^of="):
        dense_twin(published("mixtral-8x7b"), value)
    with pytest.raises(ValueError, match=r"^device="):
        device(value)


@pytest.mark.parametrize("value", ["H100", None, 3, 10**5000], ids=shown)
def test_a_device_is_no_name(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^device="):
        Setting(device=value)


def test_products_need_a_format_that_the_device_has() -> None:
    with pytest.raises(ValueError, match=r"form='fp4': H100 has products in bf16, fp8"):
        Setting(device=H100, products="fp4")
    with pytest.raises(ValueError, match=r"name="):
        Device(name="", memory=1, bandwidth=1, link=1, bf16=1)
