"""Recall: a query and the passages it may see, to ranked memories with signals and a relevance.

    plan -> dense + lexical + speaker + day over all searched rows -> pool
         -> on the pool: late interaction with its window, dates, answer type and the other signals -> a weighted sum
         -> + the best row of its session -> each memory's best passage -> documents that complete the first ones
         -> near-duplicates behind -> best `limit`

What is ranked is a passage under its key; "row" below is a row of the indexes, which are by key (`retrieval.passages`).

Standard scores are added, not ranks: how much better the best row is counts. Those of the dear signals are taken over
the pool, so their cost does not grow with what is stored, and it finds no less (`bench/results/locomo.json`).

SQL decides `Corpus.rows` before any search, so a filter never costs results; when the pool holds fewer memories than
are asked for, the others follow in the order of the cheap signals. A row whose vector is not there yet stands at the
mean of what is read from vectors, and full text finds it all the same. Ties go to the older row, so that the order does
not depend on how rows were batched.

Source of the weights: the LoCoMo and BEAM benchmarks, where each signal is an ablation row.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from retrieval.analysis import terms
from retrieval.corpus import Corpus, RowText, turns
from retrieval.dense import Dense, DenseSettings, compare_all, compare_best
from retrieval.distinct import distinct_first, said
from retrieval.fuse import best_of_group, weighted_sum, zscore
from retrieval.hops import follow
from retrieval.late import QueryTokens, query_tokens
from retrieval.lexical_memory import idf
from retrieval.passages import row_of
from retrieval.plan import Plan, in_first_person, named_speakers, spoken_shares, terms_without
from retrieval.ports import Encoder, Floats, LexicalScores, TokenVectors, VectorIndex
from retrieval.ranking import best
from retrieval.relevance import FEATURES, Features, RelevanceWeights, relevance, speaker_conflict
from retrieval.signals import (
    Places,
    answer_signal,
    date_signal,
    day_signal,
    exchange_signal,
    late_signal,
    previous_signal,
    speaker_signal,
    standing_signal,
)
from retrieval.traits import Trait
from retrieval.weights import PipelineSettings, Weights

# What the pool is chosen by: the cosine, with a share of what counts later.
_POOL_LEXICAL = 0.4
_POOL_SHARE = 1 / 3
# Half of what this deviates by in a conversation.
_LATE_DEVIATION_MIN = 0.02
# How many times what is asked for is looked at for near-duplicates.
_DISTINCT_TIMES = 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ranked memory, by its best passage.

    Attributes:
        row: the memory's.
        score: orders within a recall.
        relevance: a probability, compares between recalls.
        signals: each signal's value, before its weight.
        features: what relevance was read from.
        passage: characters [start, end) of its text; None for a memory of one passage.
    """

    row: int
    score: float
    relevance: float
    signals: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, float] = field(default_factory=dict)
    passage: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _First:
    """What is known of all searched rows, `[N]` each.

    Attributes:
        cosines: NaN where a row has no vector yet.
        share: BM25 as a share of the most that the query's terms can give.
        signals: by name; `score` is their sum.
        hits: of the lexical search.
        tokens: of the query.
        compared: `[C]` the rows among which the pool is.
    """

    cosines: Floats
    share: Floats
    signals: Mapping[str, Floats]
    score: Floats
    hits: LexicalScores
    tokens: QueryTokens
    compared: Places


@dataclass(frozen=True, slots=True)
class _Ranked:
    """The pool, ranked: `rows` are places in the corpus, `[P]` as all columns, best first."""

    rows: Places
    scores: Floats
    relevance: Floats
    signals: Mapping[str, Floats]
    features: Features


class Pipeline:
    """The steps above, over one encoder and one vector index."""

    def __init__(
        self,
        encoder: Encoder,
        vectors: VectorIndex,
        settings: PipelineSettings = PipelineSettings(),
        relevance_weights: RelevanceWeights = RelevanceWeights(),
        dense: DenseSettings = DenseSettings(),
    ) -> None:
        self._encoder = encoder
        self._vectors = vectors
        self._relevance = relevance_weights
        self._dense_settings = dense
        self.settings = settings

    def with_settings(self, settings: PipelineSettings) -> "Pipeline":
        """The same encoder and index, ranked by other settings."""
        return Pipeline(self._encoder, self._vectors, settings, self._relevance, self._dense_settings)

    def search(self, namespace: str, query: Plan, corpus: Corpus, limit: int) -> list[Candidate]:
        """The best `limit` memories of `corpus`, best first: `limit` of them when so many exist."""
        if not len(corpus.rows):
            return []
        profile = corpus.profile()
        weights: Weights = getattr(self.settings, profile)
        wanted = max(limit, self.settings.pool_rows)
        first = self._first(namespace, query, corpus, weights, wanted)
        pool, _ = best(first.compared, first.score[first.compared], wanted)
        ranked = self._rank(namespace, query, corpus, weights, first, pool)
        order = _best_passages(ranked, corpus)
        if self.settings.hops and profile == "documents":
            order = self._hop(namespace, query, corpus, first, ranked, order)
        if self.settings.distinct:
            order = _distinct(order, ranked, corpus, limit)
        found = _in_order([_candidate(ranked, place, corpus) for place in order[:limit]])
        return found + _others(found, first, corpus, limit)

    def _first(self, namespace: str, query: Plan, corpus: Corpus, weights: Weights, wanted: int) -> _First:
        """The cheap signals of all searched rows, and the sum that chooses the pool."""
        named = named_speakers(query, corpus.named())
        asked = in_first_person(query, named) if self.settings.first_person else query.query
        pooled, found = self._encoder.encode_both([asked])
        searched = terms_without(query, named) if self.settings.names_out else list(query.terms)
        hits = corpus.lexical.score(namespace, searched, corpus.rows, corpus.lengths)
        signals = {
            "lexical": zscore(hits.scores),
            "speaker": speaker_signal(spoken_shares(query, named), corpus.speakers),
            "standing": corpus.memo.of("standing", lambda: standing_signal(corpus)),
        }
        others = weighted_sum(
            signals | {"day": day_signal(query.dates, corpus)},
            {
                "lexical": _POOL_LEXICAL * (weights.lexical > 0),
                "speaker": _POOL_SHARE * weights.speaker,
                "standing": _POOL_SHARE * weights.standing,
                "day": _POOL_SHARE * weights.date,
            },
        )
        counted = float(weights.dense > 0 or weights.late > 0)
        dense = self._dense(namespace, pooled[0], corpus, others, counted, wanted)
        share = np.minimum(hits.scores / np.float32(max(hits.ceiling, 1e-9)), np.float32(1.0))
        tokens = _weighted(found[0], hits, len(corpus.rows))
        score = others + np.float32(counted) * dense.standard
        return _First(dense.cosines, share, signals | {"dense": dense.standard}, score, hits, tokens, dense.compared)

    def _dense(
        self, namespace: str, query: Floats, corpus: Corpus, others: Floats, weight: float, wanted: int
    ) -> Dense:
        if len(corpus.rows) <= self._dense_settings.exact_rows_max:
            return compare_all(namespace, self._vectors, corpus, query)
        return compare_best(namespace, self._vectors, corpus, query, others, weight, wanted, self._dense_settings)

    def _rank(
        self, namespace: str, query: Plan, corpus: Corpus, weights: Weights, first: _First, pool: Places
    ) -> _Ranked:
        """All signals of the pool, their sum, and the pool in its order."""
        said_in_order = turns(corpus, pool)
        late = late_signal(namespace, self._vectors, corpus, said_in_order, pool, first.tokens)
        signals = {name: values[pool] for name, values in first.signals.items()} | {
            "late": zscore(late.windowed, _LATE_DEVIATION_MIN),
            "date": self._dates(query, corpus, pool, weights),
            "answer": answer_signal(query.answer, corpus)[pool],
            "question": -corpus.has(Trait.ASKS, pool).astype(np.float32),
            "agreement": -corpus.has(Trait.AGREES, pool).astype(np.float32),
            "noise": -corpus.has(Trait.NOISE, pool).astype(np.float32),
            "reply": -corpus.replies[pool].astype(np.float32),
            "exchange": zscore(exchange_signal(corpus, said_in_order, pool, late.own), _LATE_DEVIATION_MIN),
            "length": np.log1p(corpus.lengths[pool]).astype(np.float32),
        }
        alone = zscore(weighted_sum(signals, asdict(weights)))
        signals["previous"] = previous_signal(corpus, said_in_order, pool, late.own)
        alone = alone + np.float32(weights.previous) * signals["previous"]
        signals["session"] = zscore(best_of_group(alone, corpus.sessions[pool]))
        memories = [row_of(key) for key in corpus.rows[pool].tolist()]
        nudges = corpus.nudges(list(dict.fromkeys(memories)))
        signals["feedback"] = np.array([nudges.get(row, 0.0) for row in memories], dtype=np.float32)
        scores = zscore(alone)
        for name in ("session", "feedback"):
            scores = scores + np.float32(getattr(weights, name)) * signals[name]
        conflict = speaker_conflict(late.own, signals["speaker"]) if signals["speaker"].max(initial=0.0) == 1.0 else 0.0
        features = Features(
            np.nan_to_num(late.windowed),
            np.nan_to_num(first.cosines[pool]),
            first.share[pool],
            np.full(len(pool), conflict, dtype=np.float32),
        )
        return _Ranked(pool, scores, relevance(features, self._relevance), signals, features)

    def _dates(self, query: Plan, corpus: Corpus, pool: Places, weights: Weights) -> Floats:
        if not query.dates or not weights.date:
            return np.zeros(len(pool), dtype=np.float32)
        telling = np.flatnonzero(corpus.has(Trait.TIME, pool))
        texts: list[RowText | None] = [None] * len(pool)
        for place, text in zip(telling.tolist(), corpus.describe(corpus.rows[pool[telling]].tolist()), strict=True):
            texts[place] = text.cut(self.settings.date_chars_max)
        return date_signal(query.dates, corpus, pool, texts)

    def _hop(
        self, namespace: str, query: Plan, corpus: Corpus, first: _First, ranked: _Ranked, order: list[int]
    ) -> list[int]:
        """The order of the pool's documents when those that complete the first ones are brought forward."""
        keys = corpus.rows[ranked.rows[order]]
        holds = first.hits.holds(ranked.rows[order])

        def search(asked: Sequence[str]) -> Floats:
            found = corpus.lexical.score(namespace, asked, corpus.rows, corpus.lengths)
            return found.scores[ranked.rows[order]]

        texts = [found.text for found in corpus.describe(keys.tolist())]
        followed = follow(ranked.scores[order], holds, first.hits.rarity, query.terms, texts, search)
        return [order[place] for place in followed]


def _weighted(found: TokenVectors, hits: LexicalScores, count: int) -> QueryTokens:
    """The query's tokens, each weighted by how rare its word is among the searched rows."""
    known = dict(zip(hits.terms, hits.rarity.tolist(), strict=True))

    def rarity(word: str) -> float:
        return max((known.get(term, idf(count, 0)) for term in terms(word)), default=0.0)

    return query_tokens(found, rarity)


def _best_passages(ranked: _Ranked, corpus: Corpus) -> list[int]:
    """Places in the pool, best first, of each memory's best passage; equal scores by key."""
    order = np.lexsort((ranked.rows, -ranked.scores)).tolist()
    seen: dict[int, int] = {}
    for place in order:
        seen.setdefault(row_of(int(corpus.rows[ranked.rows[place]])), place)
    return list(seen.values())


def _distinct(order: list[int], ranked: _Ranked, corpus: Corpus, limit: int) -> list[int]:
    """The same with near-duplicates behind, among those that could be given."""
    head, tail = order[: _DISTINCT_TIMES * limit], order[_DISTINCT_TIMES * limit :]
    rows = ranked.rows[head]
    texts = corpus.describe(corpus.rows[rows].tolist())
    compared = [said(text.text, corpus.speakers[row]) for text, row in zip(texts, rows.tolist(), strict=True)]
    return [head[place] for place in distinct_first(compared)] + tail


def _candidate(ranked: _Ranked, place: int, corpus: Corpus) -> Candidate:
    key = int(corpus.rows[ranked.rows[place]])
    features = ranked.features
    return Candidate(
        row_of(key),
        float(ranked.scores[place]),
        float(ranked.relevance[place]),
        {name: round(float(values[place]), 4) for name, values in ranked.signals.items()},
        {name: float(getattr(features, name)[place]) for name in FEATURES},
        corpus.describe([key])[0].passage,
    )


def _in_order(found: Sequence[Candidate]) -> list[Candidate]:
    """The same with scores that never rise: what was put behind something has no more than that."""
    scores = itertools.accumulate((candidate.score for candidate in found), min)
    return [replace(candidate, score=score) for candidate, score in zip(found, scores, strict=True)]


def _others(found: Sequence[Candidate], first: _First, corpus: Corpus, limit: int) -> list[Candidate]:
    """Memories that the pool had no passage of, when it had fewer than are asked for, by the cheap signals."""
    if len(found) >= limit:
        return []
    seen = {candidate.row for candidate in found}
    lowest = min((candidate.score for candidate in found), default=0.0)
    others: dict[int, int] = {}
    order = np.lexsort((corpus.rows, -first.score)).tolist()
    for place in order:
        row = row_of(int(corpus.rows[place]))
        if row not in seen:
            others.setdefault(row, place)
        if len(found) + len(others) == limit:
            break
    texts = corpus.describe([int(corpus.rows[place]) for place in others.values()])
    under = (first.score - first.score[order[0]]).tolist()
    return [
        Candidate(row, lowest + under[place], 0.0, passage=text.passage)
        for (row, place), text in zip(others.items(), texts, strict=True)
    ]
