"""Recall: a question to ranked memories, with citations and an honest "nothing relevant".

SQL decides which rows may be seen before the search and is asked again after it: what is returned is hydrated from
it, so a row that was forgotten or erased meanwhile is left out, whatever an index still says. A recall sees its
caller's own writes: full text has them at once, and of the rows whose vectors are still in the outbox it encodes up
to a stated number of passages itself and says how many rows are left (`pending`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any

import numpy as np

from memory.decay import NEVER_USED, DecaySettings, rank_nudge
from memory.indexing import Indexer
from memory.ingest import check_text
from memory.lifecycle import as_known
from memory.model import SOURCE_KINDS, Kind, Memory, Selection, Votes
from memory.ports import Searchable, Store
from recalld.core.access import Principal
from recalld.core.clock import Clock
from recalld.core.config import Limits
from recalld.core.errors import InvalidInput
from recalld.core.ids import IdSource
from recalld.core.scope import EVERYTHING, Scope
from retrieval.corpus import Corpus, Memo, RowText
from retrieval.filters import Filter
from retrieval.passages import PASSAGE_BITS, Passage, key, passage_of, row_of, rows_of, split
from retrieval.pipeline import Candidate, Pipeline
from retrieval.plan import Plan, plan
from retrieval.ports import Rows


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        kinds: none: `SOURCE_KINDS`.
        as_of: hides what occurred or was not valid then; known_at: hides what was recorded later.
        now: the time from which "last week" is read; None: the clock's.
        filter: only memories for which it holds as they are now.
    """

    query: str
    scope: Scope = EVERYTHING
    limit: int = 10
    kinds: tuple[Kind, ...] = ()
    as_of: datetime | None = None
    known_at: datetime | None = None
    now: datetime | None = None
    explain: bool = False
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One recalled memory; see `Candidate` for the figures.

    Attributes:
        passage: characters [start, end) of its text, the part that answers best; None for a memory of one passage.
        features: what its relevance was read from.
    """

    memory: Memory
    score: float
    relevance: float
    signals: dict[str, float]
    passage: tuple[int, int] | None = None
    features: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recall:
    """The answer to a question: hits, best first.

    Attributes:
        relevant: whether anything here answers the question.
        pending: rows in scope whose vectors were not looked at, because they are not indexed yet.
    """

    recall_id: str
    results: list[Hit]
    relevant: bool
    pending: int
    took_ms: float
    explain: dict[str, Any] = field(default_factory=dict)


class Recaller:
    """Answers questions from one store, indexer and pipeline."""

    def __init__(
        self,
        pipeline: Pipeline,
        indexer: Indexer,
        clock: Clock,
        ids: IdSource,
        limits: Limits,
        pending_encode_max: int,
        decay: DecaySettings,
    ) -> None:
        self._pipeline = pipeline
        self._indexer = indexer
        self._clock = clock
        self._ids = ids
        self.limits = limits
        self._pending_encode_max = pending_encode_max
        self._decay = decay

    def recall(self, store: Store, who: Principal, question: Question) -> Recall:
        """Rank the memories that `who` may see.

        Raises:
            InvalidInput: the query is empty or too long, or the limit out of range.
        """
        started = perf_counter()
        self._check(question)
        scope = question.scope.within(who.bound)
        selection = Selection(
            scope=scope,
            kinds=question.kinds or SOURCE_KINDS,
            as_of=question.as_of,
            known_at=question.known_at,
            filter=question.filter,
            # What was derived annotates what was said, and is searched where it is asked for.
            derived=None if question.kinds else False,
        )
        now = self._clock.now()
        found = store.searchable(who.namespace, selection, now)
        newest = _newest(found, self._pending_encode_max)
        fresh = self._indexer.fresh_vectors(store, who.namespace, newest.tolist())
        loaded: dict[int, Memory] = {}
        passages: dict[int, list[Passage]] = {}

        def describe(keys: Sequence[int]) -> list[RowText]:
            rows = [row for row in dict.fromkeys(map(row_of, keys)) if row not in loaded]
            loaded.update(self._load(store, who.namespace, rows, question.known_at))
            passages.update({row: split(loaded[row].item.text) for row in rows})
            return [_row_text(loaded[row_of(each)], passages[row_of(each)], passage_of(each)) for each in keys]

        def nudges(rows: Sequence[int]) -> dict[int, float]:
            return self._nudges(store, who.namespace, rows, now)

        # What is worked out of rows that wait for their vectors would be wrong for the next recall.
        columns = replace(found.columns, memo=Memo()) if len(found.pending) else found.columns
        corpus = Corpus.over(
            columns, store.lexical(scope), describe, vectors=fresh.vectors, codes=fresh.codes, nudges=nudges
        )
        asked = plan(question.query, question.now or now)
        candidates = self._pipeline.search(who.namespace, asked, corpus, question.limit)
        describe([key(candidate.row) for candidate in candidates])
        hits = [_hit(loaded[candidate.row], candidate) for candidate in candidates]
        best = max((hit.relevance for hit in hits), default=0.0)
        took_ms = (perf_counter() - started) * 1000
        return Recall(
            self._ids.new("rec"),
            hits,
            best >= self._pipeline.settings.relevant_from,
            len(found.pending) - len(newest),
            took_ms,
            self._explain(asked, corpus) if question.explain else {},
        )

    def _nudges(self, store: Store, namespace: str, rows: Sequence[int], now: datetime) -> dict[int, float]:
        """What votes and, where that is set, uses add to the score of those rows that have any."""
        votes = store.feedback(namespace)
        uses = store.uses(namespace, rows) if self._decay.rank_max else {}
        half_life = timedelta(days=self._decay.other_days)
        return {
            row: rank_nudge(uses.get(row, NEVER_USED), votes.get(row, Votes()), now, half_life, self._decay.rank_max)
            for row in rows
            if row in votes or row in uses
        }

    def _check(self, question: Question) -> None:
        wrong = check_text(question.query, self.limits.text_bytes_max, "query")
        if wrong:
            raise InvalidInput(f"query: {wrong[0].message}", wrong)
        most = self.limits.recall_limit_max
        if not 1 <= question.limit <= most:
            raise InvalidInput.of("limit", f"1 to {most}", most)

    def _load(self, store: Store, namespace: str, rows: Sequence[int], known_at: datetime | None) -> dict[int, Memory]:
        loaded = store.load(namespace, rows)
        if known_at is None:
            return loaded
        return {row: _as_known(store, memory, known_at) for row, memory in loaded.items()}

    def _explain(self, asked: Plan, corpus: Corpus) -> dict[str, Any]:
        profile = corpus.profile()
        return {
            "profile": profile,
            "weights": asdict(getattr(self._pipeline.settings, profile)),
            "terms": list(asked.terms),
            "searched": len(np.unique(rows_of(corpus.rows))),
        }


def _as_known(store: Store, memory: Memory, known_at: datetime) -> Memory:
    """The version that was current at `known_at`."""
    if memory.recorded_at <= known_at:
        return memory
    return as_known(store.history(memory.namespace, memory.id), known_at)


def _newest(found: Searchable, passages_max: int) -> Rows:
    """The newest rows that wait, as many as have at most so many passages; a document that has more by itself waits."""
    ends = [np.searchsorted(found.columns.rows, (found.pending + more) << PASSAGE_BITS) for more in (0, 1)]
    counts = ends[1] - ends[0]
    few = counts <= passages_max
    fitting = np.cumsum(counts[few][::-1])[::-1] <= passages_max
    return found.pending[few][fitting]


def _row_text(memory: Memory, passages: Sequence[Passage], number: int) -> RowText:
    """One passage as the pipeline sees it; the last one where an older version of the memory has fewer."""
    item = memory.item
    one = passages[min(number, len(passages) - 1)]
    place = (one.start, one.end) if len(passages) > 1 else None
    return RowText(item.text[one.start : one.end], item.occurred_at, place)


def _hit(memory: Memory, candidate: Candidate) -> Hit:
    return Hit(
        memory,
        candidate.score,
        candidate.relevance,
        dict(candidate.signals),
        candidate.passage,
        dict(candidate.features),
    )
