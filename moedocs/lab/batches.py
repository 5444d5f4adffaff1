"""The bytes a training reads: sequences drawn from the training text of its domains, and fixed ones to look at it by.

Shapes: B sequences · S sequence length
"""

import torch
from torch import Generator, Tensor

from moedocs.lab.corpora import text

VALIDATION_SEQUENCES = 16  # per domain


def training_texts(domains: tuple[str, ...]) -> list[Tensor]:
    """The training text of each domain, as bytes."""
    return [_bytes(text(domain).train) for domain in domains]


def draw(texts: list[Tensor], num_sequences: int, length: int, pieces: int, generator: Generator) -> Tensor:
    """B sequences (B, S + 1) from random places, in random order; the last byte is only a target.

    The domains come in turn, so that each has its share of every step. With several `pieces` a sequence is put together
    of equal parts of as many domains, that of its turn and those after it.
    """
    lengths = _parts(length + 1, pieces)
    rows = [
        torch.cat(
            [_stretch(texts[(row + number) % len(texts)], part, generator) for number, part in enumerate(lengths)]
        )
        for row in range(num_sequences)
    ]
    return torch.stack(rows)[torch.randperm(num_sequences, generator=generator)]


def validation(domains: tuple[str, ...], length: int) -> Tensor:
    """Evenly spaced sequences (B, S + 1) of validation text, `VALIDATION_SEQUENCES` of each domain in turn."""
    rows = []
    for domain in domains:
        source = _bytes(text(domain).validation)
        stride = (len(source) - length - 1) // VALIDATION_SEQUENCES
        rows += [source[row * stride : row * stride + length + 1] for row in range(VALIDATION_SEQUENCES)]
    return torch.stack(rows)


def _parts(length: int, pieces: int) -> list[int]:
    return [length * (number + 1) // pieces - length * number // pieces for number in range(pieces)]


def _stretch(source: Tensor, length: int, generator: Generator) -> Tensor:
    start = int(torch.randint(len(source) - length, (), generator=generator))
    return source[start : start + length]


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
