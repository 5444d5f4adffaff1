"""Kinds of a token: ways to sort the bytes that a model reads.

Shapes: B sequences · S sequence length · T = B * S tokens, row by row · V bytes
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

VOCAB = 256
KINDS: dict[str, bytes] = {
    "lower case": string.ascii_lowercase.encode(),
    "upper case": string.ascii_uppercase.encode(),
    "digit": string.digits.encode(),
    "space": b" ",
    "line break, tab": b"\n\r\t",
    "punctuation": b".,;:!?",
    "quote": b"\"'`",
    "bracket": b"()[]{}<>",
    "operator, sign": b"+-*/%=&|^~@#$\\_",
    "first of two bytes": bytes(range(0xC2, 0xE0)),
    "first of three bytes": bytes(range(0xE0, 0xF0)),
    "first of four bytes": bytes(range(0xF0, 0xF5)),
    "continuation": bytes(range(0x80, 0xC0)),
    "control, not UTF-8": bytes([*range(9), 11, 12, *range(14, 32), 127, 0xC0, 0xC1, *range(0xF5, 0x100)]),
}
PLACES = {"outside": 0, "1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th to 8th": 8, "later": None}


@dataclass(frozen=True, eq=False)
class Categories:
    """One way to sort tokens: the names of its categories, and each token's number among them."""

    names: tuple[str, ...]
    label_T: Tensor


def by_domain(domains: Sequence[str], bytes_BS: Tensor) -> Categories:
    """The kind of text that a token stands in; the rows are of the domains in order, equally many of each."""
    rows, length = bytes_BS.shape
    if rows % len(domains):
        raise ValueError(f"{rows} sequences are not equally many of each of {len(domains)} domains")
    return Categories(tuple(domains), torch.arange(len(domains)).repeat_interleave(rows // len(domains) * length))


def by_kind(bytes_BS: Tensor) -> Categories:
    """What sort of byte it is: a function of the byte alone."""
    kind_V = torch.empty(VOCAB, dtype=torch.long)
    for kind, members in enumerate(KINDS.values()):
        kind_V[list(members)] = kind
    return Categories(tuple(KINDS), kind_V[bytes_BS.flatten().long()])


def by_position(bytes_BS: Tensor, parts: int = 8) -> Categories:
    """Where in its sequence a token stands, in parts as equal as can be; the first has number 0."""
    rows, length = bytes_BS.shape
    part_S = torch.arange(length) * parts // length
    first = [int((part_S < part).sum()) for part in range(parts + 1)]
    return Categories(tuple(f"{one}–{after - 1}" for one, after in pairwise(first)), part_S.repeat(rows))


def by_place_in_word(bytes_BS: Tensor) -> Categories:
    """Which character of its word a byte belongs to; words are runs of letters, digits, _ and all that is not ASCII.

    A word is counted from where the sequence shows it, and text written without spaces is one long word.
    """
    bytes_BS = bytes_BS.long()
    word_V = torch.tensor([chr(byte).isalnum() or byte == ord("_") or byte >= 128 for byte in range(VOCAB)])
    continues_BS = (bytes_BS & 0xC0) == 0x80
    places, place_B = [], torch.zeros(len(bytes_BS), dtype=torch.long)
    for byte_B, continues_B in zip(bytes_BS.T, continues_BS.T, strict=True):
        place_B = torch.where(word_V[byte_B], (place_B + ~continues_B).clamp_min(1), 0)
        places.append(place_B)
    ends = torch.tensor([end for end in PLACES.values() if end is not None])
    return Categories(tuple(PLACES), torch.bucketize(torch.stack(places, dim=1).flatten(), ends))


def by_difficulty(entropy_T: Tensor, parts: int = 8) -> Categories:
    """How unsure the model is of the byte that follows: equally many tokens in each part, the surest in the first."""
    label_T = torch.empty(len(entropy_T), dtype=torch.long)
    label_T[entropy_T.argsort(stable=True)] = torch.arange(len(entropy_T)) * parts // len(entropy_T)
    return Categories(("surest", *map(str, range(2, parts)), "least sure"), label_T)
