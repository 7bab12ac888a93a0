"""Inverted lists, and what SPANN's closure would give them: how many codes a search reads to find what is near.

A row is in the list of its nearest centroid. With closure it is copied into others, where their centroids are nearly as
near; here the copies that a share of all rows pays for go where they are nearest to being right. What is told is the
share of codes, copies among them, that a search of the nearest lists reads until `FOUND` of the ten nearest of all
queries are in what it read: codes and shortlists lose nothing here. A copy takes 56 bytes of memory.

Source: Chen et al., "SPANN: Highly-efficient Billion-scale Approximate Nearest Neighbor Search" (NeurIPS 2021),
section 3.2. The sizes that are meant: `make bench BENCH="closure --vectors 16000 100000 1000000"`; up to
16,000 all vectors are of real texts.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.runner import Options, say
from bench.vectors import nearest, vectors
from compress.vectors.inverted import LIST_SAMPLE, LISTS_MAX, sample_rows, train
from recalld.bootstrap.making import make_encoder
from recalld.core.config import load_settings
from retrieval.ports import Floats

K = 10
FOUND = (0.98, 0.99, 0.995)
COPIES = (0.0, 0.25, 0.5, 1.0)
LISTS = (256, LISTS_MAX)
NEAREST = 8
_BLOCK_ROWS = 50_000

Numbers = NDArray[np.int64]


def run(options: Options) -> dict[str, Any]:
    """Each number of lists over each number of vectors."""
    encoder = make_encoder(load_settings(encoder=options.encoder))
    stages = []
    for size in options.vectors:
        found = vectors(encoder, size, options.seed)
        exact = nearest(found.base, found.queries, K)
        for lists in sorted({min(lists, -(-size // LIST_SAMPLE)) for lists in LISTS}):
            rng = np.random.default_rng(options.seed)
            drawn = rng.permutation(size)[: sample_rows(size, -(-size // lists))]
            centroids = train(found.base[drawn], options.seed)
            own, gaps = near_lists(found.base, centroids)
            order = np.argsort(-(found.queries @ centroids.T), axis=1)
            read = {
                str(copies): rows_read(own, gaps <= _cut(gaps, copies), order, exact, len(centroids))
                for copies in COPIES
            }
            stages.append({"vectors": size, "real": found.real, "lists": len(centroids), "read": read})
            say(str(stages[-1]))
    return {"k": K, "queries": len(found.queries), "stages": stages}


def near_lists(base: Floats, centroids: Floats) -> tuple[Numbers, Floats]:
    """The `NEAREST` lists of each row `[N, C]`, its own first, and how much less near than that each other is."""
    count = min(NEAREST, len(centroids))
    own = np.empty((len(base), count), dtype=np.int64)
    gaps = np.empty((len(base), count - 1), dtype=np.float32)
    for start in range(0, len(base), _BLOCK_ROWS):
        near = base[start : start + _BLOCK_ROWS] @ centroids.T
        best = np.argpartition(-near, count - 1, axis=1)[:, :count]
        scores = np.take_along_axis(near, best, axis=1)
        order = np.argsort(-scores, axis=1)
        own[start : start + len(near)] = np.take_along_axis(best, order, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        gaps[start : start + len(near)] = scores[:, :1] - scores[:, 1:]
    return own, gaps


def rows_read(own: Numbers, copied: NDArray[np.bool_], order: Numbers, exact: Numbers, lists: int) -> dict[str, float]:
    """The share of the codes, as one a row, that is read until each share in `FOUND` of the nearest is.

    Args:
        own: `[N, C]` lists of each row, its own first.
        copied: `[N, C - 1]` in which of the others it is too.
        order: `[Q, lists]` the lists as each query reads them.
        exact: `[Q, K]` its nearest rows.
    """
    held = np.concatenate([np.ones((len(own), 1), dtype=np.bool_), copied], axis=1)
    sizes = np.bincount(own[held], minlength=lists)
    ranks = np.argsort(order, axis=1)[np.arange(len(exact))[:, None, None], own[exact]]
    first = np.where(held[exact], ranks, lists).min(axis=2)
    needed = np.sort(first, axis=None)
    read = np.cumsum(sizes[order], axis=1).mean(axis=0) / len(own)
    return {str(share): round(float(read[needed[int(np.ceil(share * len(needed))) - 1]]), 3) for share in FOUND}


def _cut(gaps: Floats, copies: float) -> float:
    """The gap up to which rows are copied, so that there are so many copies a row."""
    count = int(copies * len(gaps))
    return float(np.partition(gaps, count - 1, axis=None)[count - 1]) if count else -1.0
