"""Recall: a query and the rows it may see, to ranked rows with signals and a relevance.

    plan -> lexical + vector over the allowed rows -> fuse (sum of standard scores) -> pool
         -> speaker and date signals on the pool -> rerank -> best `limit`

SQL decides `Corpus.rows` before any search, so a filter never costs results. A row whose vector is not there yet
stands at the mean of the dense signal (0 standard deviations), and full text finds it all the same. Ties go to the
older row, so that the order does not depend on how rows were batched.

Source of the weights: the LoCoMo benchmark, `bench/results/locomo.json`, where each signal is an ablation row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from retrieval.fuse import zscore
from retrieval.plan import Plan, named_speakers
from retrieval.ports import Encoder, Floats, LexicalIndex, Reranker, Rows, VectorIndex
from retrieval.times import date_match, resolve

SIGNALS = ("dense", "lexical", "speaker", "date")


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """Weights of the signals and the size of the pool.

    Attributes:
        dense, lexical: weights of the standard scores over all searched rows.
        speaker: added where the speaker is the one person that the query names.
        date: times the date match in [0, 1].
        pool_rows: rows that get the signals which need the text.
        relevance_*: a logistic regression on the raw cosine and the share of the best possible BM25.
        relevant_from: the relevance from which a recall counts as answered.
    """

    dense: float = 1.0
    lexical: float = 1.0
    speaker: float = 1.5
    date: float = 2.0
    pool_rows: int = 200
    relevance_bias: float = -6.0
    relevance_cosine: float = 8.0
    relevance_lexical: float = 4.0
    relevant_from: float = 0.5


@dataclass(frozen=True, slots=True)
class RowText:
    """What the pipeline has to know of a row in the pool."""

    text: str
    speaker: str | None
    occurred_at: datetime | None


@dataclass(frozen=True, slots=True)
class Corpus:
    """The rows that a query may see, and how to look into them.

    Attributes:
        rows: `[N]` ascending.
        lengths: `[N]` analysed terms of each.
        lexical: the full-text index within the query's scope.
        fresh: vectors of rows that the index does not have yet, or has an older version of.
        describe: gives the texts of rows, in order.
    """

    rows: Rows
    lengths: NDArray[np.int32]
    lexical: LexicalIndex
    fresh: Mapping[int, Floats]
    describe: Callable[[Sequence[int]], Sequence[RowText]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ranked row: `score` orders within a recall, `relevance` is a probability and compares between recalls."""

    row: int
    score: float
    relevance: float
    signals: Mapping[str, float] = field(default_factory=dict)


class Pipeline:
    """The steps above, over one encoder and one vector index."""

    def __init__(
        self,
        encoder: Encoder,
        vectors: VectorIndex,
        reranker: Reranker,
        settings: PipelineSettings = PipelineSettings(),
    ) -> None:
        self._encoder = encoder
        self._vectors = vectors
        self._reranker = reranker
        self.settings = settings

    def search(self, namespace: str, query: Plan, corpus: Corpus, limit: int) -> list[Candidate]:
        """The best `limit` rows of `corpus`, best first: `limit` of them when so many exist."""
        if not len(corpus.rows):
            return []
        weights = self.settings
        cosines = self._cosines(namespace, query.query, corpus)
        lexical, share = self._lexical(namespace, query.terms, corpus)
        dense_z = np.nan_to_num(zscore(cosines))
        lexical_z = zscore(lexical)
        first = weights.dense * dense_z + weights.lexical * lexical_z
        pool = np.lexsort((corpus.rows, -first))[: max(limit, weights.pool_rows)]
        texts = corpus.describe([int(row) for row in corpus.rows[pool]])
        speaker, dates = _text_signals(query, texts)
        scores = (first[pool] + weights.speaker * speaker + weights.date * dates).astype(np.float32)
        scores = self._reranker.rerank(query.query, [text.text for text in texts], scores)
        relevance = self._relevance(np.nan_to_num(cosines[pool]), share[pool])
        best = np.lexsort((corpus.rows[pool], -scores))[:limit]
        signals = np.stack([dense_z[pool], lexical_z[pool], speaker, dates])
        return [
            Candidate(
                int(corpus.rows[pool[i]]),
                float(scores[i]),
                float(relevance[i]),
                dict(zip(SIGNALS, (round(float(value), 4) for value in signals[:, i]), strict=True)),
            )
            for i in best
        ]

    def _cosines(self, namespace: str, query: str, corpus: Corpus) -> Floats:
        """Cosine of the query with each row `[N]`; NaN where a row has no vector yet."""
        vector = self._encoder.encode([query])[0]
        cosines = np.full(len(corpus.rows), np.nan, dtype=np.float32)
        if self.settings.dense:
            rows, scores = self._vectors.search(namespace, vector, len(corpus.rows), corpus.rows)
            cosines[np.searchsorted(corpus.rows, rows)] = scores
            for row, fresh in corpus.fresh.items():
                cosines[np.searchsorted(corpus.rows, row)] = fresh @ vector
        return cosines

    def _lexical(self, namespace: str, terms: Sequence[str], corpus: Corpus) -> tuple[Floats, Floats]:
        """BM25 of each row `[N]`, 0 where no term matches, and its share of the most that the terms can give."""
        scores = np.zeros(len(corpus.rows), dtype=np.float32)
        if not terms or not self.settings.lexical:
            return scores, scores
        hits = corpus.lexical.search(namespace, terms, len(corpus.rows), corpus.rows, corpus.lengths)
        scores[np.searchsorted(corpus.rows, hits.rows)] = hits.scores
        return scores, scores / np.float32(max(hits.ceiling, 1e-9))

    def _relevance(self, cosines: Floats, share: Floats) -> Floats:
        weights = self.settings
        logit = weights.relevance_bias + weights.relevance_cosine * cosines + weights.relevance_lexical * share
        return (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)


def _text_signals(query: Plan, texts: Sequence[RowText]) -> tuple[Floats, Floats]:
    """Whether each row's speaker is the one that the query names, and how well its dates match."""
    named = named_speakers(query, [text.speaker for text in texts])
    speaker = np.zeros(len(texts), dtype=np.float32)
    if len(named) == 1:
        speaker = np.array([text.speaker in named for text in texts], dtype=np.float32)
    dates = np.zeros(len(texts), dtype=np.float32)
    if query.dates:
        matches = (date_match(query.dates, text.occurred_at, resolve(text.text, text.occurred_at)) for text in texts)
        dates = np.fromiter(matches, dtype=np.float32, count=len(texts))
    return speaker, dates
