"""The atlas: every model counted, and every published figure held to the count or to the reason why it differs."""

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from moedocs.config.published import from_dict
from moedocs.config.shape import from_shape
from moedocs.cost.atlas import Model, models, rounded
from moedocs.cost.tree import active_parameters, parameter_tree

EACH = pytest.mark.parametrize("key", models())
NOT_LINES = ("config", "shape", "year")
LEAST = 30  # models with experts
# What most files have too, and what moves no number.
USUAL: dict[str, Any] = {
    "architectures": ["ForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.0",
    "use_cache": True,
    "attention_dropout": 0.0,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}
SMALL: dict[str, object] = {
    "vocab_size": 100,
    "d_model": 8,
    "layers": 4,
    "heads": 2,
    "head_dim": 4,
    "experts": 3,
    "top_k": 2,
    "expert_width": 16,
}


@EACH
def test_a_published_figure_is_what_we_count_or_the_atlas_says_why_not(key: str) -> None:
    model = models()[key]
    assert bool(model.differing) == bool(model.difference), f"counted {model.tree.count}, {model.active_counted}"


@EACH
def test_whoever_has_no_difference_has_a_figure_or_says_that_none_was_read(key: str) -> None:
    model = models()[key]
    assert model.total or model.unconfirmed
    assert all((model.name, model.maker, model.source))
    assert all("\n" not in getattr(model, field.name) for field in fields(model) if field.name not in NOT_LINES)


@EACH
def test_a_model_of_experts_says_how_it_routes(key: str) -> None:
    model = models()[key]
    assert bool(model.architecture.experts) == bool(model.routing)


@pytest.mark.parametrize("key", [key for key, model in models().items() if model.config])
def test_what_the_atlas_leaves_out_of_a_file_moves_no_number(key: str) -> None:
    fields = json.loads(models()[key].config)
    whole = from_dict({**USUAL, **fields, "max_position_embeddings": fields.get("n_positions", 32768)})
    assert parameter_tree(whole) == models()[key].tree


def test_the_atlas_goes_from_2020_to_today_in_order() -> None:
    years = [model.year for model in models().values() if model.architecture.experts]
    assert len(years) >= LEAST
    assert years == sorted(years)
    assert set(range(2020, 2027)) <= set(years)


def test_the_models_that_have_a_card_of_their_own_are_there() -> None:
    assert {"switch-c", "mixtral-8x7b", "deepseek-v2", "deepseek-v3", "qwen3-235b-a22b"} <= set(models())
    assert {"gpt-oss-20b", "gpt-oss-120b", "olmoe-1b-7b"} <= set(models())


def test_sparsity_and_granularity_are_those_of_the_experts() -> None:
    dense, few, many = (models()[key] for key in ("gpt2", "mixtral-8x7b", "deepseek-v3"))
    assert (dense.experts, dense.sparsity, dense.granularity) == (None, 1, 0)
    assert (few.sparsity, few.granularity) == (8 / 2, 4 * 4096 / 14336)
    assert (many.sparsity, many.granularity) == (256 / 8, 4 * 7168 / 2048)


@pytest.mark.parametrize(
    ("count", "like", "expected"),
    [
        (46_702_792_704, "46.7B", "46.7B"),
        (46_702_792_704, "47B", "47B"),
        (1_571_309_000_000, "1.6T", "1.6T"),
        (378_000_000, "400M", "378M"),
        (1_026_408_000_000, "1T", "1T"),
    ],
)
def test_a_count_is_rounded_as_the_figure_beside_it(count: int, like: str, expected: str) -> None:
    assert rounded(count, like) == expected


def test_a_shape_counts_what_its_words_say() -> None:
    attention, network = 4 * 8 * 8, 3 * 8 * 16
    experts = from_shape(SMALL, "small")
    assert parameter_tree(experts).count == 100 * 8 + 4 * (attention + 3 * network + 3 * 8 + 2 * 8) + 8
    assert active_parameters(experts).with_embeddings == 100 * 8 + 4 * (attention + 2 * network + 3 * 8 + 2 * 8) + 8
    every_other = from_shape(SMALL | {"every": 2, "matrices": 2, "dense_matrices": 3, "tied": False}, "small")
    sparse, dense = attention + 3 * 2 * 8 * 16 + 3 * 8 + 2 * 8, attention + network + 2 * 8
    assert parameter_tree(every_other).count == 2 * 100 * 8 + 2 * sparse + 2 * dense + 8
    beside = from_shape(SMALL | {"beside_width": 10, "kv_heads": 1, "norms": 3}, "small")
    layer = attention - 2 * 8 * 4 + 3 * network + 3 * 8 * 10 + 3 * 8 + 3 * 8
    assert parameter_tree(beside).count == 100 * 8 + 4 * layer + 8


def test_a_shape_with_an_encoder_attends_to_it_in_every_layer() -> None:
    attention, network, both = 4 * 8 * 8, 3 * 8 * 16, from_shape(SMALL | {"encoder_layers": 1}, "small")
    layer = attention + 3 * network + 3 * 8 + 2 * 8
    assert parameter_tree(both).count == 100 * 8 + 5 * layer + 4 * (attention + 8) + 2 * 8


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"width": 3}, "small: unknown word 'width'"),
        ({"experts": 0}, "small: experts=0 must be a whole number from 1"),
        ({"experts": "3"}, "small: experts='3' must be a whole number"),
        ({"top_k": 4}, "top_k=4 must lie in 1..3"),
        ({"layers": 10**6}, "layers=1000000 must be a whole number from 1 to 10000"),
        ({"tied": 1}, "tied=1 must be true or false"),
        ({"kv_heads": 3}, "2 heads are not a multiple of 3"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        from_shape(SMALL | changed, "small")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda: {"config": "{}", "shape": SMALL}, "needs a config or a shape, and not both"),
        (lambda: {}, "needs a config or a shape"),
        (lambda: {"shape": SMALL, "convention": "all"}, "convention='all' must be one of"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(changed: Callable[[], dict[str, Any]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Model(key="m", name="M", maker="somebody", year=2026, source="a paper", **changed())
