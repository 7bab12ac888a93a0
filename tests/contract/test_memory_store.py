"""The in-memory store and the SQL store give the same values for the same calls: rows, orders, counts, scores.

A state machine makes calls over two namespaces and compares everything that can be read after each of them; the tests
below it hold single promises of the port on each store.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from memory.lifecycle import new_version, set_state
from memory.model import Change, Deriver, Item, Memory, Selection
from memory.ports import OutboxEntry, Store
from memory.store.inmemory import InMemoryStore
from memory.store.sql import SqlStore
from recalld.core.db import Database
from recalld.core.scope import Scope
from retrieval.analysis import query_terms
from tests.conftest import NOW, Stores, make_memory

NAMESPACES = ("default", "other")
EVERYTHING = Selection(states=("active", "superseded", "forgotten"))
MOMENTS = [NOW + timedelta(days=day, microseconds=day) for day in range(-2, 3)]
SCOPES = [
    Scope(),
    Scope(session_id="s"),
    Scope("ann", session_id="s"),
    Scope("ann", "bot", "s"),
    Scope("ann"),
    Scope("bo'b", session_id="t"),
]
TEXTS = [
    "dog",
    "dog dog dogs in the park",
    "Did you go to Porto?",
    "Yes, last summer.",
    "It is hot. You like it?",
    "東京タワー",
    "great 👍🏽 ok",
    "O'Brien; DROP TABLE -- \"x\"",
    "…",
]
METADATA: list[dict[str, Any]] = [
    {},
    {"a": "1"},
    {"a": 1},
    {"a": 1.0},
    {"a": True},
    {"a": "true"},
    {"a": False, "b c": [1]},
    {"a": None},
    {"a": 10**400},
    {"a": {"a": "1"}},
    {'q"\\.$': "é", "a": "null"},
]
WANTED = [
    ("a", "1"), ("a", "1.0"), ("a", "true"), ("a", "false"), ("a", "null"), ("a", "nan"), ("a", "1e400"), ("a", " 1 "),
    ("b c", "[1]"), ('q"\\.$', "é"), ("zzz", "1"),
]  # fmt: skip

scopes = st.sampled_from(SCOPES)
moments = st.sampled_from(MOMENTS)
namespaces = st.sampled_from(NAMESPACES)
items = st.builds(
    Item,
    text=st.sampled_from(TEXTS),
    kind=st.sampled_from(["turn", "turn", "turn", "document", "fact"]),
    role=st.sampled_from([None, "user"]),
    speaker=st.sampled_from([None, "Ann"]),
    occurred_at=st.none() | moments,
    external_id=st.sampled_from([None, None, "e", "é'"]),
    metadata=st.sampled_from(METADATA),
    scope=scopes,
    expires_at=st.sampled_from([None, None, NOW, *MOMENTS]),
    frame=st.sampled_from([None, {"subject": "Ann", "n": [1, None]}]),
)
validity = st.fixed_dictionaries({"valid_from": st.none() | moments, "valid_to": st.none() | moments})
selections = st.builds(
    Selection,
    scope=st.sampled_from([Scope(), Scope(), Scope("ann"), Scope(agent_id="bot"), Scope("ann", session_id="s")]),
    kinds=st.sampled_from([(), (), ("turn",), ("fact", "document")]),
    states=st.sampled_from([("active",), ("active",), ("forgotten",), ("active", "superseded", "forgotten"), ()]),
    since=st.none() | moments,
    until=st.none() | moments,
    metadata=st.sampled_from(WANTED).map(lambda pair: dict([pair])) | st.just({}),
    text=st.sampled_from([None, None, "dog", "the", "dogs park", "東京", "タワー 👍🏽", "porto", "obrien", "?"]),
    as_of=st.none() | moments,
    known_at=st.none() | st.sampled_from([NOW, NOW + timedelta(seconds=3), NOW + timedelta(seconds=8)]),
    before_row=st.sampled_from([None, None, 3, 6]),
)


class Twins(RuleBasedStateMachine):
    """Both stores, given the same calls."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.transaction = database.write()
        self.stores: tuple[Store, Store] = (InMemoryStore(), SqlStore(self.transaction.__enter__()))
        self.ids: dict[str, list[str]] = {namespace: [] for namespace in NAMESPACES}
        self.made = 0

    def teardown(self) -> None:
        self.transaction.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    def both(self, act: Callable[[Store], Any]) -> Any:
        """What both give."""
        one, other = (act(store) for store in self.stores)
        assert one == other
        return one

    def number(self) -> int:
        self.made += 1
        return self.made

    def draw_ids(self, data: st.DataObject, namespace: str) -> list[str]:
        """Up to three memories that are or were in the namespace."""
        return data.draw(st.lists(st.sampled_from(self.ids[namespace]), unique=True, min_size=1, max_size=3))

    @rule(data=st.data(), namespace=namespaces, written=st.lists(items, min_size=1, max_size=5))
    def insert(self, data: st.DataObject, namespace: str, written: list[Item]) -> None:
        fresh = []
        taken: set[tuple[Scope, str]] = set()
        for item in written:
            if item.external_id is not None:
                named = (item.scope, item.external_id)
                known = self.both(lambda store, item=item: store.find_external(namespace, item.scope, ["e", "é'"]))
                if item.external_id in known or named in taken:
                    item = replace(item, external_id=None)
                taken.add(named)
            more = data.draw(validity)
            if self.ids[namespace] and data.draw(st.booleans()):
                sources = sorted(self.draw_ids(data, namespace))
                more |= {"sources": tuple(sources), "deriver": Deriver("rules", "1")}
            fresh.append(replace(make_memory(self.number(), namespace=namespace), item=item, **more))
        kept = self.both(lambda store: store.insert(namespace, fresh))
        assert [replace(memory, row=0) for memory in kept] == fresh
        self.ids[namespace] += [memory.id for memory in fresh]

    @precondition(lambda self: any(self.ids.values()))
    @rule(data=st.data(), item=items, to_state=st.sampled_from([None, "forgotten", "active"]))
    def change(self, data: st.DataObject, item: Item, to_state: Any) -> None:
        namespace = data.draw(st.sampled_from([name for name, ids in self.ids.items() if ids]))
        for memory in self.both(lambda store, ids=self.draw_ids(data, namespace): store.get(namespace, ids)):
            now = NOW + timedelta(seconds=self.number())
            kept = replace(item, scope=memory.item.scope, external_id=memory.item.external_id)
            later = set_state(memory, to_state, now, "").memory if to_state else new_version(memory, kept, now)
            if later != memory:
                self.both(lambda store, later=later: store.replace(namespace, later))

    @precondition(lambda self: any(self.ids.values()))
    @rule(data=st.data(), asked_in=namespaces)
    def erase(self, data: st.DataObject, asked_in: str) -> None:
        namespace = data.draw(st.sampled_from([name for name, ids in self.ids.items() if ids]))
        ids = self.draw_ids(data, namespace)

        def act(store: Store) -> Any:
            gone, removed = store.erase(asked_in, ids)
            return sorted(gone, key=lambda memory: memory.row), removed

        gone, removed = self.both(act)
        assert removed.memories == removed.fulltext == len(gone)
        assert not gone or asked_in == namespace

    @precondition(lambda self: any(self.ids.values()))
    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        namespace = data.draw(st.sampled_from([name for name, ids in self.ids.items() if ids]))
        ids = self.draw_ids(data, namespace)
        number = self.number()
        change = Change(f"chg_{number}", namespace, "update", "why not", tuple(ids), NOW)
        self.both(lambda store: store.record_change(change))
        self.both(lambda store: store.record_recall(namespace, f"rec_{number}", NOW, Scope("ann"), ids))

    @rule(data=st.data(), limit=st.integers(1, 20))
    def finish(self, data: st.DataObject, limit: int) -> None:
        """As the indexer does: the oldest entries, some of which were made anew meanwhile."""
        read = [store.outbox(limit) for store in self.stores]
        assert {places(entries) for entries in map(tuple, read)} == {places(read[0])}
        if read[0] and data.draw(st.booleans()):
            again = data.draw(st.sampled_from(read[0]))
            for memory in self.both(lambda store: store.load(again.namespace, [again.row])).values():
                self.both(lambda store: store.replace(again.namespace, new_version(memory, memory.item, NOW)))
        for store, entries in zip(self.stores, read, strict=True):
            store.finish(entries)

    @rule(namespace=namespaces, selection=selections, limit=st.sampled_from([1, 3, 100]))
    def look(self, namespace: str, selection: Selection, limit: int) -> None:
        self.both(lambda store: store.select(namespace, selection, NOW, limit))
        rows, lengths, *_ = self.both(lambda store: searchable(store, namespace, selection))
        one, other = (
            store.lexical(selection.scope).search(
                namespace, query_terms("dogs porto 東京"), 100, np.array(rows, np.int64), np.array(lengths, np.int32)
            )
            for store in self.stores
        )
        assert one.rows.tolist() == other.rows.tolist()
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
        assert one.ceiling == pytest.approx(other.ceiling, abs=1e-5)

    @rule(namespace=namespaces, source=st.integers(1, 6))
    def derived(self, namespace: str, source: int) -> None:
        selection = replace(EVERYTHING, source_id=f"mem_{source:026d}")
        self.both(lambda store: store.select(namespace, selection, NOW, 100))

    @invariant()
    def everything_is_equal(self) -> None:
        for namespace, ids in self.ids.items():
            self.both(lambda store, ids=ids, name=namespace: store.get(name, [*ids, "mem_nobody", *ids[:1]]))
            rows = range(1, self.made + 1)
            self.both(lambda store, name=namespace: store.previous_turns(name, rows))
            self.both(lambda store, name=namespace: store.active_rows(name, 1, 4))
            self.both(lambda store, name=namespace: store.changes(name, 3))
            self.both(lambda store, name=namespace: store.counts(name))
            for memory_id in ids[:3]:
                self.both(lambda store, name=namespace, one=memory_id: store.history(name, one))
        self.both(lambda store: places(store.outbox(1000)))
        self.both(lambda store: store.waiting())


def searchable(store: Store, namespace: str, selection: Selection) -> tuple[list[int], list[int], list[int], set[str]]:
    found = store.searchable(namespace, selection, NOW)
    return found.rows.tolist(), found.lengths.tolist(), found.pending.tolist(), set(found.speakers)


def places(entries: Sequence[OutboxEntry]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((entry.namespace, entry.row) for entry in entries))


def test_the_sql_store_does_what_the_in_memory_store_does(database: Database) -> None:
    settings = hypothesis.settings(
        max_examples=40, stateful_step_count=20, suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate]
    )
    run_state_machine_as_test(lambda: Twins(database), settings=settings)
