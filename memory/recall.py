"""Recall: a question to ranked memories, with citations and an honest "nothing relevant".

SQL decides which rows may be seen before the search and is asked again after it: what is returned is hydrated from
it, so a row that was forgotten or erased meanwhile is left out, whatever an index still says. A recall sees its
caller's own writes: full text has them at once, and of the rows whose vectors are still in the outbox it encodes up
to a stated number itself and says how many are left (`pending`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import perf_counter
from typing import Any

from memory.indexing import Indexer
from memory.ingest import check_text
from memory.model import Kind, Memory, Selection
from memory.ports import Store
from recalld.core.access import Principal
from recalld.core.clock import Clock
from recalld.core.config import Limits
from recalld.core.errors import InvalidInput
from recalld.core.ids import IdSource
from recalld.core.scope import EVERYTHING, Scope
from retrieval.pipeline import SIGNALS, Candidate, Corpus, Pipeline, RowText
from retrieval.plan import plan


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        as_of: hides what occurred or was not valid then; known_at: hides what was recorded later.
        now: the time from which "last week" is read; None: the clock's.
    """

    query: str
    scope: Scope = EVERYTHING
    limit: int = 10
    kinds: tuple[Kind, ...] = ()
    as_of: datetime | None = None
    known_at: datetime | None = None
    now: datetime | None = None
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One recalled memory; see `Candidate` for the figures."""

    memory: Memory
    score: float
    relevance: float
    signals: dict[str, float]


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
        self, pipeline: Pipeline, indexer: Indexer, clock: Clock, ids: IdSource, limits: Limits, pending_encode_max: int
    ) -> None:
        self._pipeline = pipeline
        self._indexer = indexer
        self._clock = clock
        self._ids = ids
        self.limits = limits
        self._pending_encode_max = pending_encode_max

    def recall(self, store: Store, who: Principal, question: Question) -> Recall:
        """Rank the memories that `who` may see.

        Raises:
            InvalidInput: the query is empty or too long, or the limit out of range.
        """
        started = perf_counter()
        self._check(question)
        scope = question.scope.within(who.bound)
        selection = Selection(scope=scope, kinds=question.kinds, as_of=question.as_of, known_at=question.known_at)
        now = self._clock.now()
        found = store.searchable(who.namespace, selection, now)
        newest = found.pending[-self._pending_encode_max :] if self._pending_encode_max else found.pending[:0]
        fresh = self._indexer.fresh_vectors(store, who.namespace, [int(row) for row in newest])
        loaded: dict[int, Memory] = {}

        def describe(rows: Sequence[int]) -> list[RowText]:
            loaded.update(self._load(store, who.namespace, rows, question.known_at))
            return [_row_text(loaded[row]) for row in rows]

        corpus = Corpus(found.rows, found.lengths, found.speakers, store.lexical(scope), fresh.vectors, describe)
        asked = plan(question.query, question.now or now)
        candidates = self._pipeline.search(who.namespace, asked, corpus, question.limit)
        hits = [_hit(loaded[candidate.row], candidate) for candidate in candidates]
        best = max((hit.relevance for hit in hits), default=0.0)
        took_ms = (perf_counter() - started) * 1000
        return Recall(
            self._ids.new("rec"),
            hits,
            best >= self._pipeline.settings.relevant_from,
            len(found.pending) - len(newest),
            took_ms,
            self._explain(asked.terms, len(found.rows)) if question.explain else {},
        )

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

    def _explain(self, terms: Sequence[str], searched: int) -> dict[str, Any]:
        weights = self._pipeline.settings
        return {
            "weights": {name: getattr(weights, name) for name in SIGNALS},
            "terms": list(terms),
            "searched": searched,
        }


def _as_known(store: Store, memory: Memory, known_at: datetime) -> Memory:
    """The version that was current at `known_at`."""
    if memory.recorded_at <= known_at:
        return memory
    versions = store.history(memory.namespace, memory.id)
    known = next((version for version in versions if version.recorded_at <= known_at), versions[-1])
    return replace(known, row=memory.row)


def _row_text(memory: Memory) -> RowText:
    item = memory.item
    session = item.scope if item.scope.session_id is not None else None
    return RowText(item.text, item.occurred_at, session)


def _hit(memory: Memory, candidate: Candidate) -> Hit:
    return Hit(memory, candidate.score, candidate.relevance, dict(candidate.signals))
