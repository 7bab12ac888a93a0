"""Recall: a query and the rows it may see, to ranked rows with signals and a relevance.

    plan -> lexical + vector + speaker over the allowed rows -> fuse (a sum) -> pool
         -> on the pool: date, then the best score of the row's session -> rerank -> best `limit`

The session counts because a conversation stays on its subject: a turn beside the best answer is more likely to be
evidence than an equal one in a session that has nothing better.

SQL decides `Corpus.rows` before any search, so a filter never costs results. A row whose vector is not there yet
stands at the mean of the dense signal (0 standard deviations), and full text finds it all the same. Ties go to the
older row, so that the order does not depend on how rows were batched.

Source of the weights: the LoCoMo benchmark, `bench/results/locomo.json`, where each signal is an ablation row.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from retrieval.fuse import zscore
from retrieval.plan import Plan, in_first_person, named_speakers
from retrieval.ports import Encoder, Floats, LexicalIndex, Reranker, Rows, VectorIndex
from retrieval.ranking import best
from retrieval.times import date_match, resolve

SIGNALS = ("dense", "lexical", "speaker", "date", "session")


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """Weights of the signals and the size of the pool.

    Attributes:
        dense, lexical: weights of the standard scores over all searched rows.
        speaker: added where the speaker is the one person that the query names.
        date: times the date match in [0, 1].
        session: times the best sum of the above among the pool's rows of the same session; its own where it has none.
        first_person: whether the encoder sees the speakers that a query names as "I" and "my".
        pool_rows: rows that get the signals which need the text.
        date_chars_max: how much of a text is read for dates.
        relevance_*: a logistic regression on the raw cosine and the share of the best possible BM25.
        relevant_from: the relevance from which a recall counts as answered.
    """

    dense: float = 1.0
    lexical: float = 0.4
    speaker: float = 3.0
    date: float = 2.0
    session: float = 0.5
    first_person: bool = True
    pool_rows: int = 100
    date_chars_max: int = 1000
    relevance_bias: float = -7.8
    relevance_cosine: float = 10.5
    relevance_lexical: float = 20.0
    relevant_from: float = 0.5


@dataclass(frozen=True, slots=True)
class RowText:
    """What the pipeline has to know of a row in the pool; `session` is equal within one session, None outside any."""

    text: str
    occurred_at: datetime | None
    session: Hashable = None


@dataclass(frozen=True, slots=True)
class Corpus:
    """The rows that a query may see, and how to look into them.

    Attributes:
        rows: `[N]` ascending.
        lengths: `[N]` analysed terms of each.
        speakers: `[N]` who said each, where that is known.
        lexical: the full-text index within the query's scope.
        fresh: vectors of rows that the index does not have yet, or has an older version of.
        describe: gives the texts of rows, in order.
    """

    rows: Rows
    lengths: NDArray[np.int32]
    speakers: Sequence[str | None]
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
        named = named_speakers(query, {speaker for speaker in corpus.speakers if speaker})
        asked = in_first_person(query, named) if weights.first_person else query.query
        cosines = self._cosines(namespace, asked, corpus)
        lexical, share = self._lexical(namespace, query.terms, corpus)
        dense_z, lexical_z = zscore(cosines), zscore(lexical)
        speaker = _speaker_signal(named, corpus.speakers)
        first = weights.dense * dense_z + weights.lexical * lexical_z + weights.speaker * speaker
        pool, first = best(np.arange(len(first)), first, max(limit, weights.pool_rows))
        texts = corpus.describe(corpus.rows[pool].tolist())
        dates = _date_signal(query, texts, weights.date_chars_max)
        turn = (first + weights.date * dates).astype(np.float32)
        session = _best_of_session(turn, texts)
        scores = self._reranker.rerank(query.query, [text.text for text in texts], turn + weights.session * session)
        order = np.lexsort((pool, -scores))[:limit]
        relevance = self._relevance(np.nan_to_num(cosines[pool]), share[pool])
        signals = np.stack([dense_z[pool], lexical_z[pool], speaker[pool], dates, session])
        return [
            Candidate(
                int(corpus.rows[pool[i]]),
                float(scores[i]),
                float(relevance[i]),
                dict(zip(SIGNALS, (round(float(value), 4) for value in signals[:, i]), strict=True)),
            )
            for i in order
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


def _speaker_signal(named: frozenset[str], speakers: Sequence[str | None]) -> Floats:
    """1 for each row that was said by the one person whom the query names; 0 everywhere where it names none or more."""
    if len(named) != 1:
        return np.zeros(len(speakers), dtype=np.float32)
    return np.array([speaker in named for speaker in speakers], dtype=np.float32)


def _date_signal(query: Plan, texts: Sequence[RowText], chars_max: int) -> Floats:
    """How well each row's dates match those of the query, in [0, 1]."""
    if not query.dates:
        return np.zeros(len(texts), dtype=np.float32)
    matches = (
        date_match(query.dates, text.occurred_at, resolve(text.text[:chars_max], text.occurred_at)) for text in texts
    )
    return np.fromiter(matches, dtype=np.float32, count=len(texts))


def _best_of_session(scores: Floats, texts: Sequence[RowText]) -> Floats:
    """The best of `scores` in each row's session; a row outside any session is one of its own."""
    most: dict[Hashable, float] = {}
    sessions = [number if text.session is None else (text.session,) for number, text in enumerate(texts)]
    for session, score in zip(sessions, scores.tolist(), strict=True):
        most[session] = max(score, most.get(session, score))
    return np.array([most[session] for session in sessions], dtype=np.float32)
