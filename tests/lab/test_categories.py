"""Kinds of a token, and what experts tell of them: against loops, and where the answer is known."""

import math
from collections import Counter, defaultdict
from itertools import product
from random import Random

import pytest
import torch
from torch import Generator, Tensor

from moedocs.engine import mutual_information
from moedocs.lab import categories, preferences
from moedocs.lab.categories import KINDS, Categories

TEXT = "def größe(x_1): return 'слово 漢字' + \"😀\"\n\tif n >= 12_000:  # naïve…\n"
ROWS = 8


def bytes_of(text: str) -> Tensor:
    return torch.tensor([list(text.encode())], dtype=torch.uint8)


def random_bytes(seed: int = 0, rows: int = ROWS, length: int = 24, most: int = 12) -> Tensor:
    return torch.randint(97, 97 + most, (rows, length), dtype=torch.uint8, generator=Generator().manual_seed(seed))


def random_map(tokens: int, num_experts: int = 4, top_k: int = 2, seed: int = 0) -> Tensor:
    scores_TE = torch.rand(tokens, num_experts, generator=Generator().manual_seed(seed))
    return scores_TE >= scores_TE.topk(top_k).values[:, -1:]


# kinds of a token


def test_every_byte_is_of_exactly_one_kind() -> None:
    assert sorted(b"".join(KINDS.values())) == list(range(256))


def test_known_bytes_are_of_known_kinds() -> None:
    found = categories.by_kind(bytes_of('aZ7 \n\t."(+é漢😀\x00'))
    assert [found.names[kind] for kind in found.label_T.tolist()] == [
        "lower case", "upper case", "digit", "space", "line break, tab", "line break, tab",
        "punctuation", "quote", "bracket", "operator, sign",
        "first of two bytes", "continuation",
        "first of three bytes", "continuation", "continuation",
        "first of four bytes", "continuation", "continuation", "continuation",
        "control, not UTF-8",
    ]  # fmt: skip


def test_bytes_that_no_text_in_utf_8_has_are_of_one_kind() -> None:
    occurring = {byte for code in range(0x110000) if not 0xD800 <= code < 0xE000 for byte in chr(code).encode()}
    assert set(range(128, 256)) - occurring == {byte for byte in KINDS["control, not UTF-8"] if byte > 127}


def test_rows_belong_to_the_domains_in_turn() -> None:
    found = categories.by_domain(("code", "latin"), random_bytes(rows=4, length=3))
    assert found.names == ("code", "latin")
    assert found.label_T.tolist() == [0] * 6 + [1] * 6


def test_rows_that_are_not_equally_many_of_each_domain_are_refused() -> None:
    with pytest.raises(ValueError, match="5 sequences are not equally many of each of 2 domains"):
        categories.by_domain(("code", "latin"), random_bytes(rows=5))


@pytest.mark.parametrize(("length", "parts"), [(128, 8), (10, 4), (3, 3)])
def test_positions_fall_into_the_parts_that_their_names_say(length: int, parts: int) -> None:
    found = categories.by_position(random_bytes(rows=2, length=length), parts)
    for position, part in enumerate(found.label_T.view(2, length)[1].tolist()):
        first, _, last = found.names[part].partition("–")
        assert int(first) <= position <= int(last)
    sizes = Counter(found.label_T.tolist())
    assert len(sizes) == parts
    assert max(sizes.values()) - min(sizes.values()) <= 2  # one a row


def test_the_place_in_a_word_is_what_counting_characters_gives() -> None:
    expected, place = [], 0
    for character in TEXT:
        word = character.isascii() and (character.isalnum() or character == "_")
        place = place + 1 if word or not character.isascii() else 0
        name = "outside" if not place else ("1st", "2nd", "3rd", "4th")[place - 1] if place < 5 else "5th to 8th"
        expected += [name if place < 9 else "later"] * len(character.encode())
    found = categories.by_place_in_word(bytes_of(TEXT).repeat(2, 1))
    assert [found.names[place] for place in found.label_T.tolist()] == expected * 2


def test_a_word_cut_at_the_start_begins_there() -> None:
    found = categories.by_place_in_word(torch.tensor([list("ß a".encode()[1:])], dtype=torch.uint8))
    assert [found.names[place] for place in found.label_T.tolist()] == ["1st", "outside", "1st"]


def test_parts_of_difficulty_are_equally_large_and_in_order() -> None:
    entropy_T = torch.rand(80, generator=Generator().manual_seed(0))
    found = categories.by_difficulty(entropy_T, parts=4)
    assert found.label_T.bincount().tolist() == [20] * 4
    assert found.names == ("surest", "2", "3", "least sure")
    for part in range(3):
        assert entropy_T[found.label_T == part].max() <= entropy_T[found.label_T == part + 1].min()


# what experts tell


@pytest.mark.parametrize("given_byte", [False, True])
def test_tables_count_what_a_loop_counts_in_all_and_in_each_sequence(given_byte: bool) -> None:
    bytes_BS = random_bytes()
    byte_T, domain = bytes_BS.flatten().long(), categories.by_domain(("a", "b"), bytes_BS)
    routing = preferences.routing_of(random_map(len(byte_T)))
    occurring = sorted(set(byte_T.tolist())) if given_byte else [None]
    found = preferences.sequence_tables(routing, domain, ROWS, byte_T if given_byte else None)
    found = found.view(ROWS, len(occurring), 2, 4)
    for token, expert in routing.map_TE.nonzero().tolist():
        byte = occurring.index(int(byte_T[token])) if given_byte else 0
        found[token // bytes_BS.shape[1], byte, domain.label_T[token], expert] -= 1
    assert not found.any()
    whole = preferences.table(routing, domain, byte_T if given_byte else None)
    apart = preferences.sequence_tables(routing, domain, ROWS, byte_T if given_byte else None)
    assert torch.equal(whole, apart.sum(0))


def test_experts_that_are_the_domains_tell_all_of_it_and_given_the_byte_what_a_loop_finds() -> None:
    bytes_BS = random_bytes()
    byte_T, domain = bytes_BS.flatten().long(), categories.by_domain(("a", "b", "c", "d"), bytes_BS)
    routing = preferences.routing_of(torch.nn.functional.one_hot(domain.label_T, 4).bool())
    alone = preferences.told(preferences.table(routing, domain))
    assert alone["normalised"] == pytest.approx(1)
    assert alone["information"] == pytest.approx(math.log(4))
    given = preferences.told(preferences.table(routing, domain, byte_T))
    of_byte = defaultdict(list)
    for byte, label in zip(byte_T.tolist(), domain.label_T.tolist(), strict=True):
        of_byte[byte].append(label)
    left = sum(
        -math.log(count / len(labels)) * count for labels in of_byte.values() for count in Counter(labels).values()
    )
    assert given["information"] == pytest.approx(left / len(byte_T))
    assert given["normalised"] == pytest.approx(1)


def test_what_a_known_table_tells() -> None:
    counts_XE = torch.tensor([[30, 10], [10, 30]])
    expected = sum(n / 80 * math.log((n / 80) / 0.25) for n in (30, 10, 10, 30))
    found = preferences.told(counts_XE)
    assert found["information"] == pytest.approx(expected)
    assert found["normalised"] == pytest.approx(expected / math.log(2))
    assert found["corrected"] == pytest.approx(expected - 1 / (2 * 80))


def test_dealt_out_categories_keep_their_numbers_and_those_of_sequences_stay_whole() -> None:
    bytes_BS, draws = random_bytes(), Generator().manual_seed(0)
    byte_T, domain = bytes_BS.flatten().long(), categories.by_domain(("a", "b"), bytes_BS)
    routing = preferences.routing_of(random_map(len(byte_T)))
    whole, by_byte = preferences.table(routing, domain), preferences.table(routing, domain, byte_T)
    dealt = preferences.dealt(routing, domain, draws)
    assert torch.equal(dealt.sum(0), whole.sum(0))
    assert torch.equal(dealt.sum(1), whole.sum(1))
    assert not torch.equal(dealt, whole)
    assert torch.equal(preferences.dealt(routing, domain, draws, byte_T).sum(2), by_byte.sum(2))
    of_row_BE = routing.map_TE.view(ROWS, -1, 4).sum(1)
    half_E = preferences.dealt_to_sequences(routing, domain, ROWS, draws)[0]
    halves = [sum(of_row_BE[row] for row in rows) for rows in product(range(ROWS), repeat=4) if len(set(rows)) == 4]
    assert any(torch.equal(half_E, torch.as_tensor(one)) for one in halves)


def test_an_interval_is_wide_where_sequences_differ_though_their_tokens_agree() -> None:
    """Two domains, 16 sequences each: once every sequence is an even mixture, once it has one expert throughout."""
    even = torch.tensor([[6, 2], [2, 6]]).repeat_interleave(16, dim=0)
    lumps = torch.tensor([[8, 0]] * 12 + [[0, 8]] * 8 + [[8, 0]] * 4 + [[0, 8]] * 8)
    widths = []
    for counts_BE in (even, lumps):
        tables_BXE = torch.zeros(32, 2, 2, dtype=torch.long)
        tables_BXE[:16, 0], tables_BXE[16:, 1] = counts_BE[:16], counts_BE[16:]
        found = preferences.interval(tables_BXE, 2, times=100, generator=Generator().manual_seed(0))
        low, high = found["normalised_corrected"]
        assert (low + high) / 2 == pytest.approx(preferences.told(tables_BXE.sum(0))["normalised_corrected"])
        widths.append(high - low)
    assert widths[0] == pytest.approx(0, abs=1e-12)
    assert widths[1] > 0.1


def test_sequences_are_drawn_within_their_own_kind_of_text() -> None:
    tables_BXE = torch.zeros(8, 2, 1, dtype=torch.long)
    tables_BXE[:4, 0], tables_BXE[4:, 1] = 5, 5
    found = preferences.interval(tables_BXE, 2, times=30, generator=Generator().manual_seed(0))
    low, high = found["corrected"]
    assert low == high


# what something simpler tells


def test_climbing_comes_near_the_best_routing_by_byte_and_none_tells_more_than_the_byte() -> None:
    chance = Random(0)
    for seed in range(5):
        byte_T = torch.tensor([chance.choice((97, 98, 99, 100, 101)) for _ in range(60)])
        domain = Categories(("a", "b", "c"), torch.tensor([chance.randrange(3) for _ in range(60)]))
        counts_XV = preferences.byte_table(byte_T, domain)
        best = max(_split(counts_XV, experts) for experts in product(range(2), repeat=counts_XV.shape[1]))
        found = preferences.told(preferences.by_best_byte(byte_T, domain, 2))["information"]
        assert best * 0.8 <= found <= best + 1e-9, seed
        assert best <= preferences.told(counts_XV)["information"] + 1e-9


def _split(counts_XV: Tensor, experts: tuple[int, ...]) -> float:
    by_expert = [counts_XV[:, [e == expert for e in experts]].sum(1) for expert in range(2)]
    return mutual_information(torch.stack(by_expert, dim=1)).item()


def test_bytes_that_name_their_domain_are_all_there_is_to_know() -> None:
    byte_T = torch.tensor([97, 98, 99, 100] * 5)
    domain = Categories(("a", "b"), (byte_T > 98).long())
    assert preferences.told(preferences.by_best_byte(byte_T, domain, 2))["normalised"] == pytest.approx(1)
    assert preferences.told(preferences.byte_table(byte_T, domain))["information"] == pytest.approx(math.log(2))


def test_a_hash_tells_no_more_than_the_byte_and_sends_each_token_to_k_experts() -> None:
    bytes_BS = random_bytes()
    byte_T, domain = bytes_BS.flatten().long(), categories.by_domain(("a", "b"), bytes_BS)
    counts_XE = preferences.by_hash(byte_T, domain, 4, 2, Generator().manual_seed(0))
    assert counts_XE.sum(1).tolist() == [byte_T.numel()] * 2
    bound = preferences.told(preferences.byte_table(byte_T, domain))["information"]
    assert preferences.told(counts_XE)["information"] <= bound


def test_the_same_routing_under_other_names_agrees_wholly_and_another_by_chance() -> None:
    one = preferences.routing_of(random_map(4000))
    fit_T = torch.arange(4000) % 2 == 0
    same = preferences.routing_of(one.map_TE[:, [2, 0, 3, 1]])
    assert preferences.agreement(one, same, fit_T) == 1
    other = preferences.routing_of(random_map(4000, seed=1))
    # two of four: both in common 1/6, one 4/6 and then a third of the union, none 1/6
    assert preferences.agreement(one, other, fit_T) == pytest.approx(1 / 6 + 4 / 6 / 3, abs=0.03)
