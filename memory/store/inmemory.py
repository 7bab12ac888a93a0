"""`Store` in plain dictionaries: the reference that the SQL store is compared with by value, and the store of fast
tests.

A "transaction" is `transaction()`: it works on a copy and puts it in place when the block ends without an error.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

import numpy as np

from memory.ingest import lexical_terms, row_traits
from memory.lifecycle import close, held_at
from memory.model import (
    EVERY_CHANGE,
    LINKS,
    Change,
    ChangeSelection,
    Deriver,
    Erased,
    LinkKind,
    Loose,
    Memory,
    Recalled,
    Selection,
    StandingLink,
    Uses,
    Votes,
)
from memory.ports import Counts, OutboxEntry, Searchable
from memory.store.columns import session_codes
from memory.store.filters_sql import NAMED_VALUES, as_number
from recalld.core.db import format_utc
from recalld.core.scope import Scope
from retrieval.analysis import query_terms
from retrieval.corpus import Columns
from retrieval.filter_match import holds
from retrieval.lexical_memory import InMemoryLexicalIndex
from retrieval.passages import key
from retrieval.ports import LexicalIndex
from retrieval.traits import Trait


@dataclass
class _State:
    rows: dict[int, Memory] = field(default_factory=dict)
    old: dict[str, list[Memory]] = field(default_factory=dict)
    outbox: dict[int, OutboxEntry] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    recalls: dict[str, tuple[str, Recalled]] = field(default_factory=dict)
    recalled_at: dict[str, datetime] = field(default_factory=dict)
    votes: dict[tuple[str, str, str], bool] = field(default_factory=dict)
    derived: dict[tuple[str, str], tuple[Deriver, int]] = field(default_factory=dict)
    last_row: int = 0
    last_entry: int = 0


class InMemoryStore:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._state = _State()

    @contextmanager
    def transaction(self) -> Iterator["InMemoryStore"]:
        """Changes made in the block are kept together, or not at all."""
        before = copy.deepcopy(self._state)
        committed = False
        try:
            yield self
            committed = True
        finally:
            if not committed:
                self._state = before

    # MemoryStore

    def insert(self, namespace: str, memories: Sequence[Memory]) -> list[Memory]:
        kept = []
        for memory in memories:
            self._state.last_row += 1
            sources = tuple(sorted(set(memory.sources)))
            kept.append(replace(memory, namespace=namespace, row=self._state.last_row, sources=sources))
            self._state.rows[kept[-1].row] = kept[-1]
        self._enqueue(namespace, [memory.row for memory in kept])
        return kept

    def replace(self, namespace: str, memory: Memory) -> None:
        current = self.get(namespace, [memory.id])[0]
        self._state.old.setdefault(memory.id, []).insert(0, close(current, memory))
        self._touch_successors(namespace, [current.row])
        self._state.rows[current.row] = memory
        self._enqueue(namespace, [current.row])

    def get(self, namespace: str, ids: Sequence[str]) -> list[Memory]:
        by_id = {memory.id: memory for memory in self._of(namespace)}
        return [by_id[memory_id] for memory_id in ids if memory_id in by_id]

    def find_external(self, namespace: str, scope: Scope, external_ids: Sequence[str]) -> dict[str, Memory]:
        return {
            memory.item.external_id: memory
            for memory in self._of(namespace)
            if memory.item.scope == scope and memory.item.external_id is not None
            and memory.item.external_id in external_ids
        }  # fmt: skip

    def select(self, namespace: str, selection: Selection, now: datetime, limit: int) -> list[Memory]:
        found = [memory for memory in self._of(namespace) if matches(memory, selection, now)]
        return sorted(found, key=lambda memory: -memory.row)[:limit]

    def facts(self, namespace: str, scope: Scope, slots: Sequence[str]) -> list[Memory]:
        return [
            memory
            for memory in sorted(self._of(namespace), key=lambda each: each.row)
            if (memory.item.kind, memory.item.scope) == ("fact", scope)
            and memory.deriver is not None
            and memory.item.metadata.get("slot") in slots
        ]

    def mark(self) -> object | None:
        return None

    def history(self, namespace: str, memory_id: str) -> list[Memory]:
        current = self.get(namespace, [memory_id])
        return current + self._state.old.get(memory_id, []) if current else []

    def erase(self, namespace: str, ids: Sequence[str]) -> tuple[list[Memory], Erased]:
        doomed = {memory.id: memory for memory in self.get(namespace, ids)}
        while True:
            fresh = [m for m in self._of(namespace) if m.id not in doomed and set(m.sources) & set(doomed)]
            if not fresh:
                break
            doomed |= {memory.id: memory for memory in fresh}
        rows = [memory.row for memory in doomed.values()]
        self._touch_successors(namespace, rows)
        waiting = [row for row in rows if row in self._state.outbox]
        removed = Erased(
            memories=len(doomed),
            versions=sum(len(self._state.old.pop(memory_id, [])) for memory_id in doomed),
            sources=sum(len(m.sources) for m in doomed.values()),
            fulltext=sum(len(lexical_terms(memory)) for memory in doomed.values()),
            outbox=len(waiting),
            changes=sum(len(set(change.memory_ids) & set(doomed)) for change in self._state.changes),
            recalls=sum(len(set(given.memory_ids) & set(doomed)) for _, given in self._state.recalls.values()),
            feedback=sum(memory_id in doomed for *_, memory_id in self._state.votes),
        )
        for row in rows:
            del self._state.rows[row]
        self._state.changes = [
            replace(c, memory_ids=tuple(i for i in c.memory_ids if i not in doomed)) for c in self._state.changes
        ]
        for name, (owner, given) in self._state.recalls.items():
            left = tuple(memory_id for memory_id in given.memory_ids if memory_id not in doomed)
            self._state.recalls[name] = (owner, Recalled(given.scope, left))
        self._state.votes = {key: vote for key, vote in self._state.votes.items() if key[2] not in doomed}
        self._enqueue(namespace, rows)
        return list(doomed.values()), removed

    # SearchStore

    def searchable(self, namespace: str, selection: Selection, now: datetime) -> Searchable:
        found = sorted((m for m in self._of(namespace) if matches(m, selection, now)), key=lambda m: m.row)
        passages = [(m, number, len(terms)) for m in found for number, terms in enumerate(lexical_terms(m))]
        sessions = [None if m.item.scope.session_id is None else m.item.scope for m, *_ in passages]
        columns = Columns(
            rows=np.array([key(m.row, number) for m, number, _ in passages], dtype=np.int64),
            lengths=np.array([length for *_, length in passages], dtype=np.int32),
            speakers=[m.item.speaker for m, *_ in passages],
            replies=np.array([m.item.role == "assistant" for m, *_ in passages], dtype=np.bool_),
            documents=np.array([m.item.kind == "document" for m, *_ in passages], dtype=np.bool_),
            traits=np.array([row_traits(m) for m, *_ in passages], dtype=np.int64),
            sessions=session_codes(sessions, [m.row for m, *_ in passages]),
            moments=np.array([format_utc(m.order_at)[:-1] for m, *_ in passages], dtype="datetime64[us]"),
        )
        return Searchable(columns, np.array([m.row for m in found if m.row in self._state.outbox], dtype=np.int64))

    def lexical(self, scope: Scope) -> LexicalIndex:
        index = InMemoryLexicalIndex()
        for memory in self._state.rows.values():
            if scope.covers(memory.item.scope):
                for number, terms in enumerate(lexical_terms(memory)):
                    index.add(memory.namespace, key(memory.row, number), terms)
        return index

    def load(self, namespace: str, rows: Sequence[int]) -> dict[int, Memory]:
        return {memory.row: memory for memory in self._of(namespace) if memory.row in rows}

    def previous_turns(self, namespace: str, rows: Sequence[int]) -> dict[int, Memory]:
        found = {}
        for memory in self.load(namespace, rows).values():
            before = [m for m in self._session(memory) if m.order < memory.order]
            if before:
                found[memory.row] = before[-1]
        return found

    def session_turns(
        self, namespace: str, scope: Scope, now: datetime, limit: int, *, lasting: bool = False
    ) -> list[Memory]:
        wanted = Selection(scope=scope, kinds=("turn",), derived=False)
        found = [m for m in self._of(namespace) if matches(m, wanted, now)]
        kept = [m for m in found if not lasting or row_traits(m) & Trait.LASTING]
        return sorted(kept, key=lambda m: m.order)[-limit:]

    def active_rows(self, namespace: str, after: int, limit: int) -> list[int]:
        rows = sorted(m.row for m in self._of(namespace) if m.state == "active" and m.row > after)
        return rows[:limit]

    def outbox(self, limit: int, namespace: str | None = None, after: int = 0) -> list[OutboxEntry]:
        wanted = [e for e in self._state.outbox.values() if e.number > after and namespace in (None, e.namespace)]
        return sorted(wanted, key=lambda entry: entry.number)[:limit]

    def waiting_namespaces(self) -> list[str]:
        return sorted({entry.namespace for entry in self._state.outbox.values()})

    def newest_entry(self) -> int:
        return max((entry.number for entry in self._state.outbox.values()), default=0)

    def finish(self, entries: Sequence[OutboxEntry]) -> None:
        for entry in entries:
            if self._state.outbox.get(entry.row) == entry:
                del self._state.outbox[entry.row]

    # Ledger

    def record_change(self, change: Change) -> None:
        self._state.changes.append(replace(change, number=len(self._state.changes) + 1))

    def record_recall(self, namespace: str, recall_id: str, at: datetime, scope: Scope, ids: Sequence[str]) -> None:
        here = {memory.id for memory in self._of(namespace)}
        self._state.recalls[recall_id] = (namespace, Recalled(scope, tuple(each for each in ids if each in here)))
        self._state.recalled_at[recall_id] = at

    def recalled(self, namespace: str, recall_id: str) -> Recalled | None:
        owner, given = self._state.recalls.get(recall_id, ("", None))
        return given if owner == namespace else None

    def vote(self, namespace: str, recall_id: str, memory_id: str, useful: bool | None, at: datetime) -> None:
        self._state.votes.pop((namespace, recall_id, memory_id), None)
        if useful is not None:
            self._state.votes[namespace, recall_id, memory_id] = useful

    def feedback(self, namespace: str, memory_id: str | None = None) -> dict[int, Votes]:
        found: dict[int, Votes] = {}
        for memory in self._of(namespace):
            votes = [vote for key, vote in self._state.votes.items() if key[::2] == (namespace, memory.id)]
            if votes and memory_id in (None, memory.id):
                found[memory.row] = Votes(votes.count(True), votes.count(False))
        return found

    def uses(self, namespace: str, rows: Sequence[int]) -> dict[int, Uses]:
        found: dict[int, Uses] = {}
        for row, memory in self.load(namespace, rows).items():
            moments = [
                self._state.recalled_at[name] for name, (_, given) in self._state.recalls.items()
                if memory.id in given.memory_ids
            ]  # fmt: skip
            if moments:
                found[row] = Uses(len(moments), max(moments))
        return found

    def changes(self, namespace: str, limit: int, wanted: ChangeSelection = EVERY_CHANGE) -> list[Change]:
        mine = [change for change in self._state.changes if change.namespace == namespace]
        if wanted.before_number is not None:
            mine = [change for change in mine if change.number < wanted.before_number]
        scopes = {memory.id: memory.item.scope for memory in self._of(namespace)}
        return [
            change
            for change in reversed(mine)
            if (not wanted.actions or change.action in wanted.actions)
            and (wanted.memory_id is None or wanted.memory_id in change.memory_ids)
            and (not wanted.scope.given() or _all_covered(wanted.scope, [scopes.get(i) for i in change.memory_ids]))
        ][:limit]

    def change(self, namespace: str, change_id: str) -> Change | None:
        mine = (each for each in self._state.changes if (each.namespace, each.id) == (namespace, change_id))
        return next(mine, None)

    def mark_undone(self, namespace: str, change_id: str, by: str | None) -> None:
        self._state.changes = [
            replace(each, undone_by=by) if (each.namespace, each.id) == (namespace, change_id) else each
            for each in self._state.changes
        ]

    def decided(self, namespace: str, digests: Sequence[str]) -> frozenset[str]:
        mine = {each.digest for each in self._state.changes if each.namespace == namespace}
        return frozenset(digest for digest in digests if digest in mine)

    def undone(self, namespace: str) -> frozenset[str]:
        return frozenset(
            each.digest
            for each in self._state.changes
            if each.namespace == namespace and each.digest is not None and each.undone_by is not None
        )

    def links(self, namespace: str, memory_ids: Sequence[str], known_at: datetime | None = None) -> list[StandingLink]:
        rows = {memory.id: memory.row for memory in self._of(namespace)}
        standing = [
            change
            for change in reversed(self._state.changes)
            if (change.namespace, change.undone_by) == (namespace, None)
            and change.action in LINKS
            and len(change.memory_ids) == 2
            and rows.keys() >= set(change.memory_ids)
            and not set(memory_ids).isdisjoint(change.memory_ids)
            and (known_at is None or change.at <= known_at)
        ]
        return [
            StandingLink(change.id, cast(LinkKind, change.action), newer, older, rows[newer], rows[older])
            for change in standing
            for newer, older in [change.memory_ids]
        ]

    def counts(self, namespace: str) -> Counts:
        mine = self._of(namespace)
        states = [memory.state for memory in mine]
        return Counts(
            {state: states.count(state) for state in dict.fromkeys(states)},
            sum(len(self._state.old.get(memory.id, [])) for memory in mine),
            sum(len(memory.item.text.encode()) for memory in mine),
            sum(entry.namespace == namespace for entry in self._state.outbox.values()),
        )

    def waiting(self) -> int:
        return len(self._state.outbox)

    # DerivedStore

    def newest_change(self, namespace: str) -> int:
        return max((number for number, _ in self._news(namespace)), default=0)

    def unseen_since(self, namespace: str, after: int) -> tuple[datetime, datetime] | None:
        moments = [change.at for number, change in self._news(namespace) if number > after]
        return (moments[0], moments[-1]) if moments else None

    def range_end(self, namespace: str, after: int, memories_max: int) -> int:
        end, total = after, 0
        for number, change in self._news(namespace):
            if number > after:
                if total and total + len(change.memory_ids) > memories_max:
                    break
                end, total = number, total + len(change.memory_ids)
        return end

    def changed(self, namespace: str, after: int, until: int) -> list[tuple[Scope, str]]:
        touched = {i for number, change in self._news(namespace) if after < number <= until for i in change.memory_ids}
        found = [m for m in self._of(namespace) if m.id in touched]
        found.sort(key=lambda m: (*((value is not None, value or "") for value in m.item.scope.values()), m.row))
        return [(memory.item.scope, memory.id) for memory in found]

    def session(self, namespace: str, scope: Scope, limit: int) -> list[Memory]:
        mine = [m for m in self._of(namespace) if m.item.scope == scope and m.deriver is None]
        newest = sorted(mine, key=lambda m: -m.row)[:limit]
        return sorted(newest, key=lambda m: m.order)

    def derived_by(self, namespace: str, deriver_name: str, source_ids: Sequence[str]) -> list[Memory]:
        made = [m for m in self._of(namespace) if m.deriver is not None and m.deriver.name == deriver_name]
        return sorted((m for m in made if set(m.sources) & set(source_ids)), key=lambda m: m.row)

    def derived_count(self, namespace: str) -> int:
        return sum(m.deriver is not None and m.state != "forgotten" for m in self._of(namespace))

    def loose(self, namespace: str) -> list[Loose]:
        used = {source for memory in self._of(namespace) for source in memory.sources}
        return [
            Loose(m.id, m.row, m.item.kind, m.recorded_at)
            for m in sorted(self._of(namespace), key=lambda each: each.row)
            if m.deriver is not None and m.state != "forgotten" and m.item.kind != "profile" and m.id not in used
        ]

    def derived_until(self, namespace: str, made_by: Deriver) -> int:
        version, number = self._state.derived.get((namespace, made_by.name), (made_by, 0))
        return number if version == made_by else 0

    def set_derived_until(self, namespace: str, made_by: Deriver, number: int) -> None:
        self._state.derived[namespace, made_by.name] = (made_by, number)

    # inside

    def _news(self, namespace: str) -> list[tuple[int, Change]]:
        """What callers changed, with numbers from 1 over all namespaces."""
        numbered = enumerate(self._state.changes, 1)
        return [
            (n, change)
            for n, change in numbered
            if change.namespace == namespace and change.digest is None and change.action != "derive"
        ]

    def _of(self, namespace: str) -> list[Memory]:
        return [memory for memory in self._state.rows.values() if memory.namespace == namespace]

    def _session(self, memory: Memory) -> list[Memory]:
        """The active turns of a turn's session, in order; none where it is no turn of a session."""
        if memory.item.scope.session_id is None or memory.item.kind != "turn":
            return []
        turns = [
            m for m in self._of(memory.namespace)
            if m.item.scope == memory.item.scope and m.item.kind == "turn" and m.state == "active"
        ]  # fmt: skip
        return sorted(turns, key=lambda m: m.order)

    def _enqueue(self, namespace: str, rows: Sequence[int]) -> None:
        for row in rows:
            self._put(namespace, row)
        self._touch_successors(namespace, rows)

    def _touch_successors(self, namespace: str, rows: Sequence[int]) -> None:
        for memory in self.load(namespace, rows).values():
            after = [m for m in self._session(memory) if m.order > memory.order]
            if after and after[0].row not in rows:
                self._put(namespace, after[0].row)

    def _put(self, namespace: str, row: int) -> None:
        self._state.last_entry += 1
        self._state.outbox[row] = OutboxEntry(self._state.last_entry, namespace, row)


def matches(memory: Memory, selection: Selection, now: datetime) -> bool:
    """Whether a memory is in a selection; the SQL conditions say the same."""
    item = memory.item
    happened = item.occurred_at or memory.created_at
    as_of, known_at = selection.as_of, selection.known_at
    return all(
        (
            selection.scope.covers(item.scope)
            or (selection.or_no_session and _outside_sessions(selection.scope, item.scope)),
            memory.state in selection.states,
            item.expires_at is None or item.expires_at > now,
            not selection.kinds or item.kind in selection.kinds,
            selection.since is None or happened >= selection.since,
            selection.until is None or happened < selection.until,
            as_of is None or item.occurred_at is None or item.occurred_at <= as_of,
            as_of is None or memory.valid_from is None or memory.valid_from <= as_of,
            as_of is None or memory.valid_to is None or memory.valid_to > as_of,
            known_at is None or memory.created_at <= known_at,
            selection.before_row is None or memory.row < selection.before_row,
            selection.source_id is None or selection.source_id in memory.sources,
            selection.text is None or _holds_all(memory, selection.text),
            all(metadata_equals(item.metadata, key, value) for key, value in selection.metadata.items()),
            selection.filter is None or holds(selection.filter, lambda name: _field(memory, name)),
            all((item.frame or {}).get(key) == value for key, value in selection.frame.items()),
            selection.valid_at is None or held_at(memory, selection.valid_at),
            selection.derived is None or selection.derived == (memory.deriver is not None),
        )
    )


def _outside_sessions(wanted: Scope, scope: Scope) -> bool:
    return scope.session_id is None and replace(wanted, session_id=None).covers(scope)


def _all_covered(scope: Scope, found: Sequence[Scope | None]) -> bool:
    return bool(found) and all(each is not None and scope.covers(each) for each in found)


def _field(memory: Memory, name: str) -> Any:
    """A field by the name that it has in a filter."""
    owner = next(one for one in (memory.item.scope, memory.item, memory) if hasattr(one, name))
    return getattr(owner, name)


def metadata_equals(metadata: Mapping[str, Any], key: str, wanted: str) -> bool:
    """Whether the value under `key` is text equal to `wanted`, a number of its value, or what it names."""
    if key not in metadata:
        return False
    value = metadata[key]
    if isinstance(value, str):
        return value == wanted
    if value is None or isinstance(value, bool):
        names = {None: "null", True: "true", False: "false"}
        return wanted in NAMED_VALUES and names[value] == wanted
    return isinstance(value, int | float) and as_number(str(value)) == as_number(wanted) is not None


def _holds_all(memory: Memory, words: str) -> bool:
    wanted = set(query_terms(words))
    return bool(wanted) and wanted <= set().union(*lexical_terms(memory))
