"""BM25 as a pure function, and the in-memory `LexicalIndex` that the SQL one is compared with by value.

    score(d) = sum over terms t:  weight(t) * idf(t) * tf / (tf + k1 * (1 - b + b * length(d) / mean length))
    idf(t)   = ln(1 + (N - df + .5) / (df + .5))

This is Lucene's form: never negative, and without the constant factor k1 + 1. N, df and the mean length are those of
the searched rows only, so that no other row, of this tenant or another, changes a score. k1 = .9 and b = .4 are
Anserini's defaults, which suit short texts. A term frequency counts up to `COUNT_MAX`, where the fraction is almost
flat, so that an index may keep counts in few bits.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009); Kamphuis et al., "Which
BM25 Do You Mean?" (2020).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval import ranking
from retrieval.ports import Floats, LexicalHits, Rows

COUNT_MAX = 8


@dataclass(frozen=True, slots=True)
class Postings:
    """One query term: its frequency in each searched row `[N]`, and how often the query has it."""

    term: str
    frequencies: NDArray[np.int32]
    weight: int


@dataclass(frozen=True, slots=True)
class BM25Settings:
    """k1: how fast a repeated term saturates, > 0; b: how much a long text is held against it, in [0, 1]."""

    k1: float = 0.9
    b: float = 0.4


def score(postings: Sequence[Postings], lengths: NDArray[np.int32], settings: BM25Settings = BM25Settings()) -> Floats:
    """BM25 of each searched row.

    Args:
        postings: one a distinct query term.
        lengths: `[N]` analysed terms in each row.

    Returns:
        `[N]`; 0 exactly where a row has none of the terms.
    """
    total = np.zeros(len(lengths), dtype=np.float64)
    if not len(lengths):
        return total.astype(np.float32)
    relative = lengths / max(float(lengths.mean()), 1.0)
    saturation = settings.k1 * (1 - settings.b + settings.b * relative)
    for each in postings:
        held = np.flatnonzero(each.frequencies)
        capped = np.minimum(each.frequencies[held], COUNT_MAX)
        total[held] += each.weight * idf(len(lengths), len(held)) * capped / (capped + saturation[held])
    return total.astype(np.float32)


def hits(
    postings: Sequence[Postings],
    allowed: Rows,
    lengths: NDArray[np.int32],
    limit: int,
    settings: BM25Settings = BM25Settings(),
) -> LexicalHits:
    """The best `limit` of the rows that hold any term."""
    scores = score(postings, lengths, settings)
    held = np.flatnonzero(scores > 0)
    rows, best = ranking.best(allowed[held], scores[held], limit)
    places = np.searchsorted(allowed, rows)
    holds = np.array([each.frequencies[places] > 0 for each in postings], dtype=np.bool_)
    rarity = [idf(len(allowed), int(np.count_nonzero(each.frequencies))) for each in postings]
    return LexicalHits(
        rows,
        best,
        tuple(each.term for each in postings),
        np.array(rarity, dtype=np.float32),
        holds.reshape(len(postings), len(rows)),
    )


def idf(count: int, holding: int) -> float:
    """How rare a term is that `holding` of `count` rows have; above 0."""
    return float(np.log1p((count - holding + 0.5) / (holding + 0.5)))


class InMemoryLexicalIndex:
    """The reference of `LexicalIndex`: every search looks at every allowed row."""

    def __init__(self, settings: BM25Settings = BM25Settings()) -> None:
        self._settings = settings
        self._rows: dict[str, dict[int, Counter[str]]] = {}

    def add(self, namespace: str, row: int, terms: Sequence[str]) -> None:
        """Index a row by its analysed terms, in place of what it had."""
        self._rows.setdefault(namespace, {})[row] = Counter(terms)

    def remove(self, namespace: str, row: int) -> None:
        """Take a row out; a row that is not there is no error."""
        self._rows.get(namespace, {}).pop(row, None)

    def search(
        self, namespace: str, terms: Sequence[str], limit: int, allowed: Rows, lengths: NDArray[np.int32]
    ) -> LexicalHits:
        held = self._rows.get(namespace, {})
        counts = [held.get(row, Counter[str]()) for row in allowed.tolist()]
        postings = [
            Postings(term, np.array([count[term] for count in counts], dtype=np.int32), weight)
            for term, weight in Counter(terms).items()
        ]
        return hits(postings, allowed, lengths, limit, self._settings)
