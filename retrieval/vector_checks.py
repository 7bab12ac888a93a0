"""Checksums of many short rows at once: a sum of products with random odd numbers modulo 2^64, a row in one numpy pass.

A change within one word of 8 bytes is always seen; any other one is missed once in about 2^32 or less (Lemire and
Kaser, "Strongly Universal String Hashing is Fast", The Computer Journal 2014: MULTILINEAR). A CRC-32 of each row would
take a call of its own, 1 us, for each of a million rows. Beside that, which rows were read and checked already.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]


def words_of(rows: NDArray[np.generic]) -> Words:
    """The bytes of each row as `[n, ceil(bytes / 8)]` words, zeros behind the last."""
    width = rows.dtype.itemsize * math.prod(rows.shape[1:])
    raw = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), width)
    missing = -raw.shape[1] % 8
    if missing:
        raw = np.pad(raw, ((0, 0), (0, missing)))
    return raw.view("<u8")


def check_words(words: Words) -> Words:
    """The check of each row of words, `[n]`."""
    keys = _odd_numbers(words.shape[1] + 1)
    checks: Words = np.einsum("nw,w->n", words, keys[1:]) + keys[0]
    return checks


@lru_cache(maxsize=16)
def _odd_numbers(count: int) -> Words:
    """The first `count` of a fixed sequence: numpy promises to keep what a bit generator gives."""
    drawn = np.random.PCG64(20140101).random_raw(count)
    return np.asarray(drawn, dtype=np.uint64) | np.uint64(1)


class Seen:
    """Which rows of a segment were read already, a bit each."""

    def __init__(self, count: int) -> None:
        # What fills the last byte up counts as read.
        self._bits = np.packbits(np.arange(-(-count // 8) * 8) >= count, bitorder="little")
        self._every = False

    @property
    def bytes_memory(self) -> int:
        return self._bits.nbytes

    def lacks(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of `places` (numbers from 0) nobody read yet."""
        if self._every:
            return places[:0]
        return np.flatnonzero((self._bits[places >> 3] >> (places & 7).astype(np.uint8) & 1) == 0)

    def add(self, places: NDArray[np.int64]) -> None:
        """These are read now."""
        if len(places):
            np.bitwise_or.at(self._bits, places >> 3, np.uint8(1) << (places & 7).astype(np.uint8))
            self._every = bool((self._bits == 0xFF).all())
