"""What memory needs from its store: three small seams, each with an in-memory reference and SQLite; and what it needs
from the layers above it (`JobSink`, `Erasable`), handed in by `recalld.bootstrap`.

A store is bound to one transaction; whoever opened it (a route's dependency, the worker, the command line) commits
it. The namespace is a required argument everywhere: a store never reads or writes a row of another one.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from memory.model import (
    EVERY_CHANGE,
    Change,
    ChangeSelection,
    Deriver,
    Erased,
    Loose,
    Memory,
    Recalled,
    Selection,
    StandingLink,
    Uses,
    Votes,
)
from recalld.core.scope import Scope
from retrieval.corpus import Columns
from retrieval.ports import LexicalIndex, Rows


@dataclass(frozen=True, slots=True)
class Searchable:
    """The rows that a recall may look at, decided by SQL before any search.

    Attributes:
        columns: every passage of those rows, ascending by key.
        pending: the rows among them whose vectors are not indexed yet, ascending.
    """

    columns: Columns
    pending: Rows


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One row whose vector has to be brought up to date; `number` is the entry's own."""

    number: int
    namespace: str
    row: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What a namespace holds."""

    memories: Mapping[str, int]
    versions: int
    text_bytes: int
    outbox: int


class MemoryStore(Protocol):
    """Memories with their versions. Every write also writes full text and outbox, in the same transaction."""

    def insert(self, namespace: str, memories: Sequence[Memory]) -> list[Memory]:
        """Keep new memories, in order. Returns them with their rows."""
        ...

    def replace(self, namespace: str, memory: Memory) -> None:
        """Make `memory` the current version; what was current is kept in its history."""
        ...

    def get(self, namespace: str, ids: Sequence[str]) -> list[Memory]:
        """The current versions of those of `ids` that exist, in the order of `ids`."""
        ...

    def find_external(self, namespace: str, scope: Scope, external_ids: Sequence[str]) -> dict[str, Memory]:
        """Memories of exactly this scope by their `external_id`."""
        ...

    def select(self, namespace: str, selection: Selection, now: datetime, limit: int) -> list[Memory]:
        """The newest `limit` memories that match and have not expired, newest arrival first."""
        ...

    def facts(self, namespace: str, scope: Scope, slots: Sequence[str]) -> list[Memory]:
        """Derived facts of exactly this scope whose metadata names one of these slots, in any state, by row."""
        ...

    def mark(self) -> object | None:
        """What names the state of all memories, whoever wrote them: equal marks, equal memories. None: it is not known,
        as in a transaction that writes."""
        ...

    def history(self, namespace: str, memory_id: str) -> list[Memory]:
        """Every version, newest first; empty where there is no such memory."""
        ...

    def erase(self, namespace: str, ids: Sequence[str]) -> tuple[list[Memory], Erased]:
        """Remove memories, what was derived from them, and every row that tells of them. Returns what went."""
        ...


class SearchStore(Protocol):
    """What indexing and recall read, and the outbox between them."""

    def searchable(self, namespace: str, selection: Selection, now: datetime) -> Searchable:
        """The rows that match."""
        ...

    def lexical(self, scope: Scope) -> LexicalIndex:
        """The full-text index as this transaction sees it, for queries within `scope`."""
        ...

    def load(self, namespace: str, rows: Sequence[int]) -> dict[int, Memory]:
        """Memories by row, those that exist."""
        ...

    def previous_turns(self, namespace: str, rows: Sequence[int]) -> dict[int, Memory]:
        """For each row that has one: the active turn before it in its session."""
        ...

    def session_turns(
        self, namespace: str, scope: Scope, now: datetime, limit: int, *, lasting: bool = False
    ) -> list[Memory]:
        """The newest active turns of the session that `scope` names, as callers wrote them, in the session's order.

        Args:
            lasting: only those that say something for the whole session.
        """
        ...

    def active_rows(self, namespace: str, after: int, limit: int) -> list[int]:
        """Rows of active memories above `after`, ascending: to walk through all that has to be indexed."""
        ...

    def outbox(self, limit: int, namespace: str | None = None, after: int = 0) -> list[OutboxEntry]:
        """The oldest entries with a number above `after`, of one namespace or (for the worker) of all."""
        ...

    def waiting_namespaces(self) -> list[str]:
        """Those that have entries, by name."""
        ...

    def newest_entry(self) -> int:
        """The highest number in the outbox, 0 where it is empty: what is put in later has a higher one."""
        ...

    def finish(self, entries: Sequence[OutboxEntry]) -> None:
        """Take entries out, unless they were made anew since."""
        ...


class Ledger(Protocol):
    """What happened: decisions, recalls and the votes on them, and how much is kept."""

    def record_change(self, change: Change) -> None:
        """Keep a decision."""
        ...

    def record_recall(self, namespace: str, recall_id: str, at: datetime, scope: Scope, ids: Sequence[str]) -> None:
        """Keep which memories a recall gave, those that are still there, best first: feedback can refer to it."""
        ...

    def recalled(self, namespace: str, recall_id: str) -> Recalled | None:
        """What a recall gave; None where none of this namespace has the id."""
        ...

    def vote(self, namespace: str, recall_id: str, memory_id: str, useful: bool | None, at: datetime) -> None:
        """Keep a vote on a memory that a recall gave, in the place of an earlier one; None only takes that out."""
        ...

    def feedback(self, namespace: str, memory_id: str | None = None) -> dict[int, Votes]:
        """The votes on each memory that has any, or on this one, by row."""
        ...

    def uses(self, namespace: str, rows: Sequence[int]) -> dict[int, Uses]:
        """How recalls used each of these memories that any of them gave, by row."""
        ...

    def changes(self, namespace: str, limit: int, wanted: ChangeSelection = EVERY_CHANGE) -> list[Change]:
        """The newest changes that match, newest first."""
        ...

    def change(self, namespace: str, change_id: str) -> Change | None:
        """One change; None where none of this namespace has the id."""
        ...

    def mark_undone(self, namespace: str, change_id: str, by: str | None) -> None:
        """Say that a change was taken back by another one; None: that it stands again."""
        ...

    def decided(self, namespace: str, digests: Sequence[str]) -> frozenset[str]:
        """Those of these decisions that were taken, whether or not they were undone since."""
        ...

    def undone(self, namespace: str) -> frozenset[str]:
        """The digests of all decisions that were undone."""
        ...

    def links(self, namespace: str, memory_ids: Sequence[str], known_at: datetime | None = None) -> list[StandingLink]:
        """The links that stand between one of these memories and another one, both still there, newest link first.

        Args:
            known_at: leaves out what was decided later.
        """
        ...

    def counts(self, namespace: str) -> Counts:
        """How much is kept."""
        ...

    def waiting(self) -> int:
        """Outbox entries of every namespace."""
        ...


class DerivedStore(Protocol):
    """What consolidation reads of the change log, and what it keeps of how far it is."""

    def newest_change(self, namespace: str) -> int:
        """The number of the newest change of what callers wrote, 0 where there is none."""
        ...

    def unseen_since(self, namespace: str, after: int) -> tuple[datetime, datetime] | None:
        """When the oldest and the newest such change above `after` were; None where there is none."""
        ...

    def range_end(self, namespace: str, after: int, memories_max: int) -> int:
        """The last of the changes above `after` that together tell of at most so many memories; at least one."""
        ...

    def changed(self, namespace: str, after: int, until: int) -> list[tuple[Scope, str]]:
        """The memories that callers changed in (after, until], derived ones too, with their exact scopes, by scope."""
        ...

    def session(self, namespace: str, scope: Scope, limit: int) -> list[Memory]:
        """The newest memories of exactly this scope that callers wrote, in the order of the session, in any state."""
        ...

    def derived_by(self, namespace: str, deriver_name: str, source_ids: Sequence[str]) -> list[Memory]:
        """What this deriver made of any of these memories."""
        ...

    def derived_count(self, namespace: str) -> int:
        """How many derived memories there are that nobody forgot."""
        ...

    def loose(self, namespace: str) -> list[Loose]:
        """Derived memories that nobody forgot, but for profiles, and that no other memory rests on, by row."""
        ...

    def derived_until(self, namespace: str, made_by: Deriver) -> int:
        """Up to which change this version of a deriver has seen the namespace; 0: none."""
        ...

    def set_derived_until(self, namespace: str, made_by: Deriver, number: int) -> None:
        """Keep that."""
        ...


class Store(MemoryStore, SearchStore, Ledger, DerivedStore, Protocol):
    """All four, over one transaction."""


StoreTransaction = Callable[[], AbstractContextManager[Store]]


class JobSink(Protocol):
    """Where work is put that may wait. What is put commits with the caller's transaction."""

    def put(
        self,
        namespace: str,
        task: str,
        arguments: Mapping[str, Any],
        *,
        dedup_key: str | None = None,
        priority: int = 0,
        due_at: datetime | None = None,
    ) -> str:
        """Queue a job.

        Args:
            arguments: a JSON object; its `scope`, where it has one, says whose job this is.
            dedup_key: a job of this task that waits under the same key is joined: brought forward, never put off.
            priority: higher ones are done first.
            due_at: not before then; None: at once.

        Returns:
            the job's id, or that of the waiting one.
        """
        ...


class Erasable(Protocol):
    """Something that keeps copies or ids of memories outside the memory tables."""

    def erase(self, namespace: str, memory_ids: Sequence[str]) -> dict[str, int]:
        """Take out everything that tells of these memories; returns how much was removed, by place."""
        ...
