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
from retrieval.ports import Floats, LexicalHits, LexicalScores, Rows

COUNT_MAX = 8


@dataclass(frozen=True, slots=True)
class Postings:
    """One query term: which of the searched rows hold it, ascending, how often each does, and how often the query."""

    term: str
    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    weight: int


@dataclass(frozen=True, slots=True)
class BM25Settings:
    """k1: how fast a repeated term saturates, > 0; b: how much a long text is held against it, in [0, 1]."""

    k1: float = 0.9
    b: float = 0.4


def saturation(lengths: NDArray[np.int32], settings: BM25Settings = BM25Settings()) -> NDArray[np.float64]:
    """What a term frequency is held against in each searched row `[N]`."""
    relative = lengths / max(float(lengths.mean()) if len(lengths) else 0.0, 1.0)
    return settings.k1 * (1 - settings.b + settings.b * relative)


def impact(counts: NDArray[np.int64], against: NDArray[np.float64], count: int) -> Floats:
    """What one term, asked for once, adds to the score of each row that holds it.

    Args:
        counts: `[K]` how often each of those rows holds it.
        against: `[K]` their `saturation`.
        count: N.
    """
    capped = np.minimum(counts, COUNT_MAX)
    added: Floats = (idf(count, len(counts)) * capped / (capped + against)).astype(np.float32)
    return added


def total(impacts: Sequence[tuple[str, int, NDArray[np.int64], Floats]], count: int) -> LexicalScores:
    """The scores of `count` rows from each term, its weight, the places that hold it and its impact on each."""
    scores = np.zeros(count, dtype=np.float64)
    for _, weight, places, added in impacts:
        scores[places] += weight * added
    return LexicalScores(
        scores.astype(np.float32),
        tuple(term for term, *_ in impacts),
        np.array([idf(count, len(places)) for _, _, places, _ in impacts], dtype=np.float32),
        tuple(places for _, _, places, _ in impacts),
    )


def score(
    postings: Sequence[Postings], lengths: NDArray[np.int32], settings: BM25Settings = BM25Settings()
) -> LexicalScores:
    """BM25 of each searched row.

    Args:
        postings: one a distinct query term.
        lengths: `[N]` analysed terms in each row.
    """
    against = saturation(lengths, settings)
    impacts = [
        (each.term, each.weight, each.places, impact(each.counts, against[each.places], len(lengths)))
        for each in postings
    ]
    return total(impacts, len(lengths))


def hits(found: LexicalScores, allowed: Rows, limit: int) -> LexicalHits:
    """The best `limit` of the rows that hold any term."""
    held = np.flatnonzero(found.scores > 0)
    rows, best = ranking.best(allowed[held], found.scores[held], limit)
    return LexicalHits(rows, best, found.terms, found.rarity, found.holds(np.searchsorted(allowed, rows)))


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
        return hits(self.score(namespace, terms, allowed, lengths), allowed, limit)

    def score(self, namespace: str, terms: Sequence[str], allowed: Rows, lengths: NDArray[np.int32]) -> LexicalScores:
        held = self._rows.get(namespace, {})
        counts = [held.get(row, Counter[str]()) for row in allowed.tolist()]
        frequencies = {term: np.array([count[term] for count in counts], dtype=np.int64) for term in terms}
        postings = [
            Postings(term, places, frequencies[term][places], weight)
            for term, weight in Counter(terms).items()
            for places in (np.flatnonzero(frequencies[term]),)
        ]
        return score(postings, lengths, self._settings)
