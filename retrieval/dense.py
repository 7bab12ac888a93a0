"""The dense signal: cosines of the searched rows with the query, and their standard scores.

Few rows: the index compares all of them, and every figure is exact. Many rows (above `exact_rows_max`): the index gives
its best `dense_rows`, whose least cosine bounds all others, so the rest of the sum decides which rows could still come
into the pool; of those the stored vectors are compared (the threshold algorithm of Fagin et al., "Optimal Aggregation
Algorithms for Middleware", JCSS 2003, with random access). The pool is then the one that comparing all rows gives, but
for what the index itself misses and for more than `compared_max` rows that could come in. Mean and deviation of the
cosines are those over a fixed sample of the searched rows, chosen by a hash of their keys: it depends on what is
searched, never on the order in which it came.

Both sides of the switch rank alike (`tests/retrieval/test_dense.py`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.vectors.half import inner_products
from retrieval.corpus import Corpus
from retrieval.fuse import zscore
from retrieval.ports import Floats, VectorIndex
from retrieval.signals import Places

# Half of what cosines deviate by in a conversation: see `zscore`.
DEVIATION_MIN = 0.05
# Knuth's: spreads keys, which are close to each other, over all numbers.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class DenseSettings:
    """How much is compared.

    Attributes:
        exact_rows_max: up to so many searched rows all are.
        dense_rows: how many the index is asked for above that.
        compared_max: at most so many others are compared besides.
        sample_rows: of how many rows mean and deviation are taken.
    """

    exact_rows_max: int = 10_000
    dense_rows: int = 1024
    compared_max: int = 4096
    sample_rows: int = 2048


@dataclass(frozen=True, slots=True)
class Dense:
    """Of all searched rows `[N]`.

    Attributes:
        cosines: NaN where a row was not compared or has no vector yet.
        standard: standard scores; 0 where a row has no vector, and where it was not compared what it is at most.
        compared: `[C]` the rows that were compared or have no vector, ascending: the pool is of these.
    """

    cosines: Floats
    standard: Floats
    compared: Places


def compare_all(namespace: str, index: VectorIndex, corpus: Corpus, query: Floats) -> Dense:
    """Every row."""
    cosines = np.full(len(corpus.rows), np.nan, dtype=np.float32)
    rows, scores = index.search(namespace, query, len(corpus.rows), corpus.rows)
    cosines[np.searchsorted(corpus.rows, rows)] = scores
    _add_fresh(cosines, corpus, query)
    return Dense(cosines, zscore(cosines, DEVIATION_MIN), np.arange(len(corpus.rows)))


def compare_best(
    namespace: str,
    index: VectorIndex,
    corpus: Corpus,
    query: Floats,
    others: Floats,
    weight: float,
    wanted: int,
    settings: DenseSettings,
) -> Dense:
    """The rows that could be among the `wanted` of the highest sum.

    Args:
        others: `[N]` the rest of the sum.
        weight: of the standard score in the sum.
    """
    cosines = np.full(len(corpus.rows), np.nan, dtype=np.float32)
    limit = max(settings.dense_rows, wanted)
    rows, scores = index.search(namespace, query, limit, corpus.rows)
    cosines[np.searchsorted(corpus.rows, rows)] = scores
    _add_fresh(cosines, corpus, query)
    mean, deviation = _moments(namespace, index, corpus, query, settings.sample_rows)
    unknown = np.isnan(cosines)
    standard = (cosines - np.float32(mean)) / np.float32(deviation)
    # No other is above the last that was given, unless those were all.
    standard[unknown] = (float(scores[-1]) - mean) / deviation if len(rows) == limit else 0.0
    open_ = _could_come_in(others + np.float32(weight) * standard, unknown, wanted, settings.compared_max)
    unknown[open_] = False
    held, its_scores = index.search(namespace, query, len(open_), corpus.rows[open_])
    places = np.searchsorted(corpus.rows, held)
    cosines[places] = its_scores
    standard[open_] = 0.0
    standard[places] = (cosines[places] - np.float32(mean)) / np.float32(deviation)
    return Dense(cosines, standard, np.flatnonzero(~unknown))


def products(vectors: Floats, query: Floats) -> Floats:
    """`vectors [N, D]` times `query [D]`, in the precision that an index keeps: to the bit what it says itself."""
    return inner_products(vectors.astype(np.float16), query)


def _could_come_in(sums: Floats, unknown: NDArray[np.bool_], wanted: int, most: int) -> Places:
    """The unknown rows whose sum, which is what it is at most, reaches the `wanted`-th best known one; ascending."""
    known = sums[~unknown]
    if len(known) >= wanted:
        least = np.partition(known, len(known) - wanted)[len(known) - wanted]
        places = np.flatnonzero(unknown & (sums >= least))
    else:
        places = np.flatnonzero(unknown)
    if len(places) > most:
        best = np.lexsort((places, -sums[places]))[:most]
        places = np.sort(places[best])
    return places


def _add_fresh(cosines: Floats, corpus: Corpus, query: Floats) -> None:
    if corpus.vectors:
        places = np.searchsorted(corpus.rows, np.fromiter(corpus.vectors, dtype=np.int64))
        cosines[places] = products(np.array(list(corpus.vectors.values()), dtype=np.float32), query)


def _moments(namespace: str, index: VectorIndex, corpus: Corpus, query: Floats, rows_max: int) -> tuple[float, float]:
    """Mean and deviation of the cosines, over a sample."""

    def sample() -> Floats:
        hashed = corpus.rows.astype(np.uint64) * _MULTIPLIER
        chosen = np.sort(np.argpartition(hashed, rows_max)[:rows_max])
        return index.vectors(namespace, corpus.rows[chosen])[1]

    # BLAS would start threads for it, and wait for them on a busy machine: 8 ms, not .1.
    cosines = np.einsum("nd,d->n", corpus.memo.of("vector sample", sample), query).astype(np.float64)
    if not len(cosines):
        return 0.0, 1.0
    return float(cosines.mean()), max(float(cosines.std()), DEVIATION_MIN)
