"""Text recognised by its byte 4-grams, against counts that can be done by hand."""

import math
from collections import Counter

import numpy as np
import pytest

from moedocs.lab.corpora import text
from moedocs.lab.recognition import LEAST, Recogniser, copied, grams

TEXTS = (b"abcdabcdabce", b"wxyzwxyzabcd")


def pieces(content: bytes) -> list[bytes]:
    return [content[start : start + 4] for start in range(len(content) - 3)]


def test_stretches_of_four_bytes_are_told_apart_by_their_numbers() -> None:
    content = bytes(range(256)) + b"abcdabcd" + b"\xff" * 5
    assert len(grams(content)) == len(pieces(content))
    numbers = dict(zip(pieces(content), grams(content).tolist(), strict=True))
    assert len(set(numbers.values())) == len(numbers)
    assert [numbers[piece] for piece in pieces(content)] == grams(content).tolist()


def test_the_likeliest_kind_is_that_of_naive_bayes_by_hand() -> None:
    known = {piece for content in TEXTS for piece in pieces(content)}
    for content in (b"abcdab", b"wxyzab", b"abcdwx", b"yzwxyz!"):
        likelihoods = []
        for source in TEXTS:
            counts, total = Counter(pieces(source)), len(pieces(source)) + LEAST * (len(known) + 1)
            likelihoods.append(sum(math.log((counts[piece] + LEAST) / total) for piece in pieces(content)))
        assert Recogniser(TEXTS).kind(content) == np.argmax(likelihoods)


def test_known_is_the_share_of_four_grams_that_a_kind_has() -> None:
    # abcd is in both, bcda in the first alone, cdab too, dabx in none
    np.testing.assert_allclose(Recogniser(TEXTS).known_D(b"abcdabx"), [3 / 4, 1 / 4])


def test_every_kind_is_read_as_far_as_the_shortest_goes() -> None:
    np.testing.assert_array_equal(Recogniser((b"abcd", b"wxyzabcd")).known_D(b"abcd"), [1, 0])


def test_a_text_too_short_to_judge_is_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        grams(b"abc")


def test_copied_is_the_share_of_stretches_that_stand_in_the_source() -> None:
    assert copied(b"abcdef", b"--abcde--", 4) == 2 / 3


def test_validation_text_is_recognised_by_training_text() -> None:
    domains = ("code", "headers", "latin", "cyrillic")
    recogniser = Recogniser([text(domain).train for domain in domains])
    for kind, domain in enumerate(domains):
        assert recogniser.kind(text(domain).validation[1000:2000]) == kind
