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

from compress.vectors.half import inner_products
from retrieval.analysis import terms
from retrieval.corpus import Corpus, RowText, turns
from retrieval.distinct import distinct_first, said
from retrieval.fuse import best_of_group, weighted_sum, zscore
from retrieval.hops import follow, unknown_name_terms
from retrieval.late import QueryTokens, query_tokens
from retrieval.lexical_memory import idf
from retrieval.passages import row_of
from retrieval.plan import Plan, in_first_person, named_speakers, spoken_shares, terms_without
from retrieval.ports import Encoder, Floats, LexicalHits, TokenVectors, VectorIndex
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
# Half of what these deviate by in a conversation.
_COSINE_DEVIATION_MIN = 0.05
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
    """

    cosines: Floats
    share: Floats
    signals: Mapping[str, Floats]
    score: Floats
    hits: LexicalHits
    tokens: QueryTokens


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
    ) -> None:
        self._encoder = encoder
        self._vectors = vectors
        self._relevance = relevance_weights
        self.settings = settings

    def search(self, namespace: str, query: Plan, corpus: Corpus, limit: int) -> list[Candidate]:
        """The best `limit` memories of `corpus`, best first: `limit` of them when so many exist."""
        if not len(corpus.rows):
            return []
        profile = corpus.profile()
        weights: Weights = getattr(self.settings, profile)
        first = self._first(namespace, query, corpus, weights)
        pool, _ = best(np.arange(len(corpus.rows)), first.score, max(limit, self.settings.pool_rows))
        ranked = self._rank(namespace, query, corpus, weights, first, pool)
        order = _best_passages(ranked, corpus)
        if self.settings.hops and profile == "documents":
            order = self._hop(namespace, query, corpus, first, ranked, order)
        if self.settings.distinct:
            order = _distinct(order, ranked, corpus, limit)
        found = _in_order([_candidate(ranked, place, corpus) for place in order[:limit]])
        return found + _others(found, first, corpus, limit)

    def _first(self, namespace: str, query: Plan, corpus: Corpus, weights: Weights) -> _First:
        """The cheap signals of all searched rows, and the sum that chooses the pool."""
        named = named_speakers(query, {speaker for speaker in corpus.speakers if speaker})
        asked = in_first_person(query, named) if self.settings.first_person else query.query
        pooled, found = self._encoder.encode_both([asked])
        searched = terms_without(query, named) if self.settings.names_out else list(query.terms)
        hits = corpus.lexical.search(namespace, searched, len(corpus.rows), corpus.rows, corpus.lengths)
        lexical = np.zeros(len(corpus.rows), dtype=np.float32)
        lexical[np.searchsorted(corpus.rows, hits.rows)] = hits.scores
        cosines = self._cosines(namespace, pooled[0], corpus)
        signals = {
            "dense": zscore(cosines, _COSINE_DEVIATION_MIN),
            "lexical": zscore(lexical),
            "speaker": speaker_signal(spoken_shares(query, named), corpus.speakers),
            "standing": standing_signal(corpus),
        }
        score = weighted_sum(
            signals | {"day": day_signal(query.dates, corpus)},
            {
                "dense": float(weights.dense > 0 or weights.late > 0),
                "lexical": _POOL_LEXICAL * (weights.lexical > 0),
                "speaker": _POOL_SHARE * weights.speaker,
                "standing": _POOL_SHARE * weights.standing,
                "day": _POOL_SHARE * weights.date,
            },
        )
        share = np.minimum(lexical / np.float32(max(hits.ceiling, 1e-9)), np.float32(1.0))
        return _First(cosines, share, signals, score, hits, _weighted(found[0], hits, len(corpus.rows)))

    def _cosines(self, namespace: str, query: Floats, corpus: Corpus) -> Floats:
        cosines = np.full(len(corpus.rows), np.nan, dtype=np.float32)
        rows, scores = self._vectors.search(namespace, query, len(corpus.rows), corpus.rows)
        cosines[np.searchsorted(corpus.rows, rows)] = scores
        if corpus.vectors:
            fresh = np.array(list(corpus.vectors.values()), dtype=np.float32).astype(np.float16)
            places = np.searchsorted(corpus.rows, np.fromiter(corpus.vectors, dtype=np.int64))
            cosines[places] = inner_products(fresh, query)
        return cosines

    def _rank(
        self, namespace: str, query: Plan, corpus: Corpus, weights: Weights, first: _First, pool: Places
    ) -> _Ranked:
        """All signals of the pool, their sum, and the pool in its order."""
        said_in_order = turns(corpus)
        late = late_signal(namespace, self._vectors, corpus, said_in_order, pool, first.tokens)
        signals = {name: values[pool] for name, values in first.signals.items()} | {
            "late": zscore(late.windowed, _LATE_DEVIATION_MIN),
            "date": self._dates(query, corpus, pool, weights),
            "answer": answer_signal(query.answer, corpus)[pool],
            "question": -corpus.has(Trait.ASKS)[pool].astype(np.float32),
            "agreement": -corpus.has(Trait.AGREES)[pool].astype(np.float32),
            "reply": -corpus.replies[pool].astype(np.float32),
            "exchange": zscore(exchange_signal(corpus, said_in_order, pool, late.own), _LATE_DEVIATION_MIN),
            "length": np.log1p(corpus.lengths[pool]).astype(np.float32),
        }
        alone = zscore(weighted_sum(signals, asdict(weights)))
        signals["previous"] = previous_signal(corpus, said_in_order, pool, late.own)
        alone = alone + np.float32(weights.previous) * signals["previous"]
        signals["session"] = zscore(best_of_group(alone, corpus.sessions[pool]))
        nudges = [corpus.nudges.get(row_of(key), 0.0) for key in corpus.rows[pool].tolist()]
        signals["feedback"] = np.array(nudges, dtype=np.float32)
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
        telling = np.flatnonzero(corpus.has(Trait.TIME)[pool])
        texts: list[RowText | None] = [None] * len(pool)
        for place, text in zip(telling.tolist(), corpus.describe(corpus.rows[pool[telling]].tolist()), strict=True):
            texts[place] = text.cut(self.settings.date_chars_max)
        return date_signal(query.dates, corpus, pool, texts)

    def _hop(
        self, namespace: str, query: Plan, corpus: Corpus, first: _First, ranked: _Ranked, order: list[int]
    ) -> list[int]:
        """The order of the pool's documents when those that complete the first ones are brought forward."""
        keys = corpus.rows[ranked.rows[order]]
        by_key = np.argsort(first.hits.rows)
        sorted_hits = first.hits.rows[by_key]
        at = np.minimum(np.searchsorted(sorted_hits, keys), max(len(sorted_hits) - 1, 0))
        holds = np.zeros((len(first.hits.terms), len(keys)), dtype=np.bool_)
        if len(sorted_hits):
            known = sorted_hits[at] == keys
            holds[:, known] = first.hits.holds[:, by_key[at[known]]]

        def read(place: int) -> str:
            return corpus.describe([int(keys[place])])[0].text

        def search(text: str) -> Floats:
            asked = unknown_name_terms([text], query.terms)
            found = corpus.lexical.search(namespace, asked, len(corpus.rows), corpus.rows, corpus.lengths)
            scores = np.zeros(len(corpus.rows), dtype=np.float32)
            scores[np.searchsorted(corpus.rows, found.rows)] = found.scores
            return scores[ranked.rows[order]]

        followed = follow(ranked.scores[order], holds, first.hits.rarity, read, search)
        return [order[place] for place in followed]


def _weighted(found: TokenVectors, hits: LexicalHits, count: int) -> QueryTokens:
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
