"""What a training reads: sequences from every domain, put together of equal parts, the same for every arm of a seed."""

import pytest
import torch
from torch import Generator, Tensor

from moedocs.lab import batches, corpora, training
from tests.lab import tiny

# bytes of four domains, told apart by their upper two bits, and places in each by the others
TEXTS = [torch.arange(1000, dtype=torch.int64).remainder(64).add(64 * domain).to(torch.uint8) for domain in range(4)]


def drawn(num_sequences: int, length: int, pieces: int, seed: int = 0) -> Tensor:
    return batches.draw(TEXTS, num_sequences, length, pieces, Generator().manual_seed(seed))


@pytest.mark.parametrize("pieces", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [31, 32])
def test_a_sequence_is_put_together_of_parts_of_different_domains_in_equal_lengths(pieces: int, length: int) -> None:
    for sequence in drawn(8, length, pieces):
        domains, lengths = (sequence // 64).unique_consecutive(return_counts=True)
        assert len(domains) == len(set(domains.tolist())) == pieces
        assert lengths.sum() == length + 1
        assert lengths.max() - lengths.min() <= 1


@pytest.mark.parametrize("pieces", [1, 2, 4])
def test_every_domain_has_its_share_of_every_step(pieces: int) -> None:
    for seed in range(3):
        assert (drawn(8, 31, pieces, seed) // 64).flatten().bincount().tolist() == [64, 64, 64, 64]


def test_each_part_is_a_stretch_of_its_text_from_a_place_of_its_own() -> None:
    parts = drawn(8, 31, 2).view(16, 16).int()
    assert ((parts.diff() % 64) == 1).all()
    assert len(set(parts[:, 0].tolist())) > 10


def test_sequences_stand_in_random_order_so_that_micro_batches_differ_in_their_domains() -> None:
    orders = {tuple((drawn(8, 31, 1, seed)[:, 0] // 64).tolist()) for seed in range(10)}
    assert len(orders) == 10


def test_one_seed_draws_the_same_text_whatever_the_model() -> None:
    given = {name: training.Training(one) for name, one in tiny.RUNS.items()}
    texts = [batches.draw(one._texts, 2, 32, 1, one._text_draws) for one in given.values()]
    assert all(torch.equal(text_BS, texts[0]) for text_BS in texts)
    assert not torch.equal(drawn(8, 31, 1, seed=0), drawn(8, 31, 1, seed=1))


def test_validation_text_is_that_of_each_domain_in_turn_evenly_spaced() -> None:
    rows = batches.validation(tiny.DOMAINS, 32)
    number = batches.VALIDATION_SEQUENCES
    assert rows.shape == (number * len(tiny.DOMAINS), 33)
    for position, domain in enumerate(tiny.DOMAINS):
        text = corpora.text(domain).validation
        places = [text.find(bytes(row.tolist())) for row in rows[position * number : (position + 1) * number]]
        assert places[0] == 0
        assert min(places) >= 0
        assert len(set(places)) > number // 2


def test_training_text_is_all_of_a_domain_and_none_of_its_validation_text() -> None:
    (text,) = batches.training_texts(("headers",))
    assert bytes(text.tolist()) == corpora.text("headers").train
