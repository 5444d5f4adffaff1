"""Models as published: our counts, rounded as their makers print them."""

import json
from decimal import Decimal

import pytest

from moedocs.config.published import read
from moedocs.cost.tree import CONVENTIONS, active_parameters, parameter_tree
from tests.cost.models import MODELS


def printed(count: int, like: str) -> str:
    """A count in billions, with as many digits after the point as the other figure."""
    return str((Decimal(count) / 10**9).quantize(Decimal(like)))


@pytest.mark.parametrize("name", MODELS)
def test_the_count_is_the_published_one(name: str) -> None:
    published = MODELS[name]
    model = read(json.dumps(published.fields))
    assert printed(parameter_tree(model).count, published.total) == published.total
    if published.active:
        active = getattr(active_parameters(model), published.convention)
        assert printed(active, published.active) == published.active
    assert published.convention in CONVENTIONS
