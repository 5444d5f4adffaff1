"""A look at a model: what it says of losses and choices, and that it is kept to the last bit."""

import io

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from moedocs.config import DepthConfig, RoutingConfig
from moedocs.engine import Transformer
from moedocs.lab import looks, training
from tests.lab import tiny

STAGED = tiny.run(
    model=tiny.model(
        routing=RoutingConfig(num_experts=5, top_k=2, no_op_experts=1), depth=DepthConfig(capacity=0.25, every=2)
    )
)


def looked(run: training.Run = STAGED, step: int = 3) -> tuple[Transformer, looks.Look]:
    model = Transformer(run.model, generator=torch.Generator().manual_seed(0))
    return model, looks.look(model, training.validation(run), len(run.domains), step)


def test_the_loss_of_each_domain_is_that_of_its_own_sequences() -> None:
    model, one = looked(tiny.RUNS["dense"])
    text_BS = training.validation(tiny.RUNS["dense"])
    for domain, rows_BS in enumerate(text_BS.chunk(2)):
        logits_BSV = model(rows_BS[:, :-1]).logits_BSV
        expected = cross_entropy(logits_BSV.flatten(0, 1), rows_BS[:, 1:].flatten().long()).item()
        assert one.loss_D[domain] == pytest.approx(expected, rel=1e-5)
    assert one.validation_loss == pytest.approx(one.loss_D.mean())
    assert one.maps == one.passed == ()


def test_maps_count_the_tokens_of_the_validation_text_row_by_row_and_of_a_block_those_that_passed() -> None:
    model, one = looked()
    rows_BS = training.validation(STAGED)[:, :-1]
    whole, short = one.maps
    assert whole.shape == (rows_BS.numel(), 6)
    assert short.shape == (one.passed[0].sum(), 6)
    assert one.passed[0].shape == rows_BS.shape
    assert one.passed[0].sum(1).tolist() == [8] * len(rows_BS)
    alone = model.eval()(rows_BS[5:6]).routings[0].map_TE
    assert np.array_equal(whole[5 * 32 : 6 * 32], alone.numpy())


def test_shares_and_probabilities_of_each_layer_sum_to_one() -> None:
    _, one = looked()
    assert one.share_LE.shape == one.probs_LE.shape == (2, 6)
    np.testing.assert_allclose(one.share_LE.sum(1), 1)
    np.testing.assert_allclose(one.probs_LE.sum(1), 1, rtol=1e-5)
    assert ((one.entropy_L > 0) & (one.entropy_L <= np.log(6))).all()


def test_a_model_is_looked_at_in_evaluation_mode_and_left_as_it_was() -> None:
    noisy = tiny.run(model=tiny.model(routing=RoutingConfig(num_experts=4, top_k=2, router="noisy")))
    model, one = looked(noisy)
    modes = [model.training]
    again = looks.look(model.eval(), training.validation(noisy), 2, 3)
    assert [*modes, model.training] == [True, False]
    assert all(np.array_equal(*pair) for pair in zip(one.maps, again.maps, strict=True))


@pytest.mark.parametrize("run", [STAGED, tiny.RUNS["dense"]])
def test_a_look_that_was_kept_is_the_look_again(run: training.Run) -> None:
    _, one = looked(run)
    buffer = io.BytesIO()
    torch.save(looks.packed(one), buffer)
    again = looks.unpacked(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert again.step == one.step
    for name in ("loss_D", "entropy_L", "probs_LE"):
        assert getattr(again, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(again, name), getattr(one, name))
    for name in ("maps", "passed"):
        for kept, table in zip(getattr(again, name), getattr(one, name), strict=True):
            assert kept.dtype == bool
            np.testing.assert_array_equal(kept, table)
    assert len(buffer.getvalue()) < 40_000
