"""Whether text looks like the kind of text it should be: byte 4-grams against those of training texts.

Shapes: D kinds of text · G different 4-grams in all of them, and one entry more for any other
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LENGTH = 4
LEAST = 0.1  # what a 4-gram that a kind of text never had counts there


class Recogniser:
    """Naive Bayes over the byte 4-grams of texts of several kinds, as many bytes of each, so that none is favoured."""

    def __init__(self, texts: Sequence[bytes], *, most: int = 400_000) -> None:
        size = min(most, *map(len, texts))
        found = [np.unique(grams(text[:size]), return_counts=True) for text in texts]
        self._grams_G = np.unique(np.concatenate([codes for codes, _ in found]))
        self._counts_DG = np.zeros((len(texts), len(self._grams_G) + 1))
        for row, (codes, counts) in zip(self._counts_DG, found, strict=True):
            row[np.searchsorted(self._grams_G, codes)] = counts
        self._logs_DG = np.log((self._counts_DG + LEAST) / (self._counts_DG + LEAST).sum(1, keepdims=True))

    def kind(self, text: bytes) -> int:
        """The kind of text, counted from 0, under which this one is likeliest."""
        return int(self._logs_DG[:, self._places(text)].sum(1).argmax())

    def known_D(self, text: bytes) -> NDArray[np.float64]:
        """The share of the text's 4-grams that each kind of text has somewhere."""
        return np.asarray((self._counts_DG[:, self._places(text)] > 0).mean(1))

    def _places(self, text: bytes) -> NDArray[np.intp]:
        codes = grams(text)
        places = np.searchsorted(self._grams_G, codes)
        inside = np.append(self._grams_G, 0)[places] == codes
        return np.where(inside & (places < len(self._grams_G)), places, len(self._grams_G))


def grams(text: bytes) -> NDArray[np.int64]:
    """Each stretch of 4 bytes as one number; raises ValueError for a text without one."""
    if len(text) < LENGTH:
        raise ValueError(f"a text of {len(text)} bytes has no {LENGTH}-gram")
    bytes_N = np.frombuffer(text, dtype=np.uint8).astype(np.int64)
    return np.lib.stride_tricks.sliding_window_view(bytes_N, LENGTH) @ (256 ** np.arange(LENGTH))


def copied(text: bytes, source: bytes, length: int) -> float:
    """The share of a text's stretches of so many bytes that stand word for word in a source."""
    stretches = [text[start : start + length] for start in range(len(text) - length + 1)]
    return sum(stretch in source for stretch in stretches) / len(stretches)
