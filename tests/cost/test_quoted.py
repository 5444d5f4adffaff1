"""What a page may quote of a model: as the trained models' own count has it, with arithmetic that gives the number."""

import pytest

from moedocs.cost import PUBLISHED, atlas, quantities
from moedocs.cost.quoted import quoted
from tests.cost.formulas import computed

OF_EXPERTS = {"expert", "num-experts", "top-k"}
TOLD = "from the configuration"


@pytest.mark.parametrize("key", PUBLISHED)
def test_both_descriptions_of_a_model_are_quoted_alike(key: str) -> None:
    found = quoted(atlas.models()[key])
    for name, quantity in quantities(PUBLISHED[key]).items():
        if PUBLISHED[key].routing is None and name in OF_EXPERTS:
            assert name not in found
        else:
            assert (found[name].value, found[name].unit) == (quantity.value, quantity.unit), name


@pytest.mark.parametrize("key", atlas.models())
def test_every_quoted_number_is_what_its_formula_says(key: str) -> None:
    for name, quantity in quoted(atlas.models()[key]).items():
        if quantity.formula != TOLD:
            assert computed(quantity.formula) == pytest.approx(quantity.value, rel=1e-12), name


def test_parts_of_a_model_with_shared_experts_and_dense_layers() -> None:
    found = quoted(atlas.models()["deepseek-v3"])
    assert found["shared"].value == 58 * 3 * 7168 * 2048
    assert found["dense"].value == 3 * 3 * 7168 * 18432
    assert found["expert"].value == 3 * 7168 * 2048
    assert found["cache-per-token"].value == 61 * (512 + 64)
    assert (found["num-experts"].value, found["top-k"].value, found["sparsity"].value) == (256, 8, 32)
