"""Recall: a question to ranked memories, with citations and an honest "nothing relevant".

SQL decides which rows may be seen before the search and is asked again after it: what is returned is hydrated from
it, so a row that was forgotten or erased meanwhile is left out, whatever an index still says. A recall sees its
caller's own writes: full text has them at once, and of the rows whose vectors are still in the outbox it encodes up
to a stated number of passages itself and says how many rows are left (`pending`).

A question that the workspace of episodes answers (`memory.lookups`) has those episodes first, and nothing else in its
context: they are all that meets it. Where only procedures or rationales are asked for, those that turned out well come
before those that are as similar and did not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any

import numpy as np

from memory.context import Context, TokenCounter, pack
from memory.decay import NEVER_USED, DecaySettings, rank_nudge
from memory.disagreeing import Disagrees, newer_first, said_of
from memory.episodes import Episodes, LookUp, Told, Wanted, known_version
from memory.indexing import Indexer
from memory.ingest import check_text
from memory.model import SOURCE_KINDS, Kind, Memory, Selection, StandingLink, Votes
from memory.outcomes import TRIED_KINDS, tally, worth
from memory.ports import Searchable, Store
from memory.working import WorkingMemory
from memory.workspace import Event
from recalld.core.access import Principal
from recalld.core.clock import Clock
from recalld.core.config import Limits
from recalld.core.errors import InvalidInput
from recalld.core.ids import IdSource
from recalld.core.scope import EVERYTHING, Scope
from retrieval.corpus import Columns, Corpus, Memo, RowText
from retrieval.filters import Filter
from retrieval.passages import PASSAGE_BITS, Passage, key, passage_of, row_of, rows_of, split
from retrieval.pipeline import Candidate, Pipeline
from retrieval.plan import Plan, plan
from retrieval.ports import Rows
from retrieval.weights import TASKS

TRIED_MAX = 30
"""How many procedures or rationales are compared by how they turned out."""
NEWER_FIRST_FROM = 0.5
"""From which share of the older one's relevance on a newer memory that disagrees with it stands before it."""
LOOKED_UP = 0.95
"""The relevance of what the workspace answers: how often it is right (`bench/results/episodes.json`), rounded down."""


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
        event: what it tells, where the workspace answers the question with it.
        disagrees_with: other memories that say otherwise, the newest link first.
    """

    memory: Memory
    score: float
    relevance: float
    signals: dict[str, float]
    passage: tuple[int, int] | None = None
    features: dict[str, float] = field(default_factory=dict)
    event: Event | None = None
    disagrees_with: tuple[Disagrees, ...] = ()


@dataclass(frozen=True, slots=True)
class Recall:
    """The answer to a question: hits, best first, but for an older one that a newer one stands before.

    Attributes:
        relevant: whether anything here answers the question.
        pending: rows in scope whose vectors were not looked at, because they are not indexed yet.
        newer: by id, memories beside the results that are newer than one of them and disagree with it.
    """

    recall_id: str
    results: list[Hit]
    relevant: bool
    pending: int
    took_ms: float
    explain: dict[str, Any] = field(default_factory=dict)
    newer: Mapping[str, Memory] = field(default_factory=dict)


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
        self._episodes = Episodes(clock)
        # Tries of one task are alike, and none goes behind another for it.
        by_task = replace(pipeline.settings, people=TASKS, assistant=TASKS, documents=TASKS, distinct=False, hops=False)
        self._tried = pipeline.with_settings(by_task)
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
        tried = bool(question.kinds) and TRIED_KINDS.issuperset(question.kinds)
        pipeline, most = (self._tried, max(question.limit, TRIED_MAX)) if tried else (self._pipeline, question.limit)
        candidates = pipeline.search(who.namespace, asked, corpus, most)
        describe([key(candidate.row) for candidate in candidates])
        hits = [_hit(loaded[candidate.row], candidate) for candidate in candidates]
        if tried:
            hits = by_outcome(store, hits, question.known_at)[: question.limit]
        looked_up = self._look_up(store, who, question, selection)
        if looked_up is not None:
            hits = _with_looked_up(looked_up.told, hits)[: question.limit]
        hits, newer = self._disagreeing(store, who.namespace, question, found.columns, hits)
        best = max((hit.relevance for hit in hits), default=0.0)
        # Where only episodes are asked for, the workspace has seen all of them.
        none = looked_up is not None and not looked_up.told and question.kinds == ("episode",)
        took_ms = (perf_counter() - started) * 1000
        return Recall(
            self._ids.new("rec"),
            hits,
            best >= self._pipeline.settings.relevant_from and not none,
            len(found.pending) - len(newest),
            took_ms,
            self._explain(pipeline, asked, corpus, looked_up) if question.explain else {},
            newer,
        )

    def _look_up(self, store: Store, who: Principal, question: Question, selection: Selection) -> LookUp | None:
        """What the workspace answers; `as_of` is then on when something happened, and not on when it was told."""
        if question.kinds and "episode" not in question.kinds:
            return None
        wanted = Wanted(replace(selection, as_of=None), as_of=question.as_of)
        return self._episodes.look_up(store, who, wanted, question.query, question.now)

    def _disagreeing(
        self, store: Store, namespace: str, question: Question, columns: Columns, hits: list[Hit]
    ) -> tuple[list[Hit], dict[str, Memory]]:
        """The hits with what they disagree with, the newer before the older; and what is newer and not among them."""
        by_id = {hit.memory.id: hit for hit in hits}
        links = [
            link
            for link in store.links(namespace, list(by_id), question.known_at)
            if all(each in by_id or _has(columns, row) for each, row in _ends(link))
        ]
        if not links:
            return hits, {}
        told = {each: replace(hit, disagrees_with=said_of(each, links)) for each, hit in by_id.items()}
        rows = [link.newer_row for link in links if link.newer not in by_id]
        newer = self._load(store, namespace, list(dict.fromkeys(rows)), question.known_at)
        relevance = {each: hit.relevance for each, hit in by_id.items()}
        moving = [
            link
            for link in links
            if {link.newer, link.older} <= relevance.keys()
            and relevance[link.newer] >= NEWER_FIRST_FROM * relevance[link.older]
        ]
        return [told[each] for each in newer_first(list(by_id), moving)], {m.id: m for m in newer.values()}

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
        return {row: known_version(store, memory, known_at) for row, memory in loaded.items()}

    def _explain(self, pipeline: Pipeline, asked: Plan, corpus: Corpus, looked_up: LookUp | None) -> dict[str, Any]:
        profile = corpus.profile()
        return {
            "profile": profile,
            "weights": asdict(getattr(pipeline.settings, profile)),
            "terms": list(asked.terms),
            "searched": len(np.unique(rows_of(corpus.rows))),
            "looked_up": None if looked_up is None else looked_up.answer.wanted,
        }


def context_of(answer: Recall, token_budget: int, counter: TokenCounter, state: WorkingMemory | None = None) -> Context:
    """A recall as a text for a prompt: what the workspace answers, where it does, else a session's working memory and
    all that was recalled."""
    looked_up = [hit for hit in answer.results if hit.event is not None]
    hits = looked_up or answer.results
    block, said = (None, frozenset()) if state is None or looked_up else (state.block(), state.whole)
    known = dict(answer.newer) | {hit.memory.id: hit.memory for hit in hits}
    return pack(
        [hit.memory for hit in hits],
        token_budget,
        counter,
        [hit.passage for hit in hits],
        [hit.event for hit in hits],
        block,
        said,
        {hit.memory.id: found for hit in hits if (found := _newer_than(hit, known))},
    )


def _newer_than(hit: Hit, known: Mapping[str, Memory]) -> list[Memory]:
    """The newer ones that it disagrees with, newest first."""
    ids = dict.fromkeys(each.memory_id for each in hit.disagrees_with if each.newer)
    return sorted((known[each] for each in ids), key=lambda one: one.order, reverse=True)


def _ends(link: StandingLink) -> tuple[tuple[str, int], tuple[str, int]]:
    return (link.newer, link.newer_row), (link.older, link.older_row)


def _has(columns: Columns, row: int) -> bool:
    """Whether a row is among those that a question may look at."""
    at = int(np.searchsorted(columns.rows, key(row)))
    return at < len(columns.rows) and row_of(int(columns.rows[at])) == row


def by_outcome(store: Store, hits: Sequence[Hit], known_at: datetime | None = None) -> list[Hit]:
    """The same in the order of similarity and of how each turned out, as far as was known at `known_at`."""
    told: list[Hit] = []
    for hit in hits:
        history = store.history(hit.memory.namespace, hit.memory.id) if hit.memory.version > 1 else [hit.memory]
        known = [each for each in history if known_at is None or each.recorded_at <= known_at] or history[-1:]
        added = worth(tally(known))
        told.append(replace(hit, score=hit.score + added, signals=hit.signals | {"outcome": round(added, 4)}))
    return sorted(told, key=lambda hit: -hit.score)


def _with_looked_up(told: Sequence[Told], hits: Sequence[Hit]) -> list[Hit]:
    """What was looked up, in the order of time, before all else."""
    known = {one.memory.id for one in told}
    others = [hit for hit in hits if hit.memory.id not in known]
    score = max((hit.score for hit in hits), default=0.0) + 1.0
    first = [Hit(one.memory, score, LOOKED_UP, {"workspace": 1.0}, event=one.event) for one in told]
    return first + others


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
