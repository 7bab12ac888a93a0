"""Half precision: two bytes a dimension, and the scan of such rows that every exact search goes through.

FAISS compares rows of float16 in .02 us each (AVX2, F16C), numpy needs .65 us to turn one into float32. The scan copies
rows into a block of its own, because FAISS reads its own memory only; a row's score has the same bits in whatever
block and at whatever place it is computed, so that equal vectors tie exactly.

Error: each component is rounded by at most 2^-11 of itself, or 2^-25 where it is below 2^-14, so that a score moves by
at most `2^-11 |query| |vector| + 2^-25 |query|_1` (IEEE 754, binary16).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from compress.vectors.codec import Bytes, Floats

Halves = NDArray[np.float16]
Places = NDArray[np.int64]
Check = Callable[[Places, Halves], None]

HALF_MAX = float(np.finfo(np.float16).max)
_BLOCK_ROWS = 1024
_local = threading.local()


@dataclass(frozen=True, slots=True)
class HalfCodec:
    """IEEE binary16."""

    dimensions: int

    @property
    def bytes_vector(self) -> int:
        return 2 * self.dimensions

    def encode(self, vectors: Floats) -> Bytes:
        return vectors.astype(np.float16).view(np.uint8)

    def decode(self, codes: Bytes) -> Floats:
        return np.ascontiguousarray(codes).view(np.float16).astype(np.float32)

    def score(self, query: Floats, codes: Bytes) -> Floats:
        return inner_products(np.ascontiguousarray(codes).view(np.float16), query)


def inner_products(rows: Halves, query: Floats) -> Floats:
    """Of each row with the query, `[N]`: what `scan` gives for it, to the bit."""
    order, scores = scan(rows, np.arange(len(rows)), query, len(rows))
    found = np.empty(len(rows), dtype=np.float32)
    found[order] = scores
    return found


def scan(rows: Halves, places: Places, query: Floats, limit: int, check: Check | None = None) -> tuple[Places, Floats]:
    """The exact inner products of the rows at `places` with the query: the best of them, in no particular order.

    Args:
        rows: `[N, D]`, in memory or mapped.
        places: `[K]` which rows, each once.
        query: `[D]` float32.
        limit: how many have to be there. More may be: whatever ties with the last one of its block is.
        check: is shown the rows of each block, after they were copied and before they are compared; may raise.

    Returns:
        which of `places` (numbers from 0), and their scores.
    """
    block = _block(rows.shape[1])
    found, scores = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(places), _BLOCK_ROWS):
        order, best = block.best(rows, places[start : start + _BLOCK_ROWS], query, limit, check)
        found.append(order + start)
        scores.append(best)
    return np.concatenate(found), np.concatenate(scores)


class _Block:
    """A FAISS index of `_BLOCK_ROWS` rows that are written over for each block of a scan."""

    def __init__(self, dimensions: int) -> None:
        kind = faiss.ScalarQuantizer.QT_fp16
        self._index = faiss.IndexScalarQuantizer(dimensions, kind, faiss.METRIC_INNER_PRODUCT)
        self._index.codes.resize(_BLOCK_ROWS * dimensions * 2)
        raw = faiss.rev_swig_ptr(self._index.codes.data(), _BLOCK_ROWS * dimensions * 2)
        self._rows: Halves = raw.view(np.float16).reshape(_BLOCK_ROWS, dimensions)

    def best(
        self, rows: Halves, places: Places, query: Floats, limit: int, check: Check | None
    ) -> tuple[Places, Floats]:
        count = len(places)
        if places[-1] - places[0] == count - 1 and (np.diff(places) == 1).all():
            self._rows[:count] = rows[places[0] : places[-1] + 1]
        else:
            np.take(rows, places, axis=0, out=self._rows[:count], mode="clip")
        if check is not None:
            check(places, self._rows[:count])
        self._index.ntotal = count
        asked = min(limit + 1, count)
        scores, labels = self._index.search(query[None], asked)
        if 1 < asked < count and scores[0, -1] == scores[0, -2]:
            # Which of several equal rows FAISS keeps is not said.
            scores, labels = self._index.search(query[None], count)
        return labels[0], scores[0]


def _block(dimensions: int) -> _Block:
    """This thread's block for vectors of this length."""
    blocks: dict[int, _Block] = _local.__dict__.setdefault("blocks", {})
    if dimensions not in blocks:
        faiss.omp_set_num_threads(1)
        blocks[dimensions] = _Block(dimensions)
    return blocks[dimensions]
