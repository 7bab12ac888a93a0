"""The in-memory store and the SQL store give the same values for the same calls: rows, orders, counts, scores.

A state machine makes calls over two namespaces and compares everything that can be read after each of them; the tests
below it hold single promises of the port on each store.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from memory.ingest import lexical_terms
from memory.lifecycle import new_version, set_state
from memory.model import Change, Deriver, Erased, Item, Memory, Recalled, Selection, StandingLink, Votes
from memory.ports import Counts, OutboxEntry, Store
from memory.store.inmemory import InMemoryStore
from memory.store.sql import SqlStore
from recalld.core.db import Database
from recalld.core.errors import NotFound
from recalld.core.scope import Scope
from retrieval.analysis import query_terms
from retrieval.corpus import Columns
from retrieval.passages import key, rows_of
from tests.conftest import NOW, Stores, long_text, make_memory

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
    "I want a dog.",
    "It is hot. You like it?",
    "東京タワー",
    "great 👍🏽 ok",
    'O\'Brien; DROP TABLE -- "x"',
    "…",
    long_text("The dog ran.", "In Porto.", "Is it a dog?"),
    long_text("A park.", "東京タワー"),
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

    def both(self, call: str | Callable[..., Any], *given: Any) -> Any:
        """What both give, to a method's name or a function of the store."""
        one, other = (
            getattr(store, call)(*given) if isinstance(call, str) else call(store, *given) for store in self.stores
        )
        assert one == other
        return one

    def number(self) -> int:
        self.made += 1
        return self.made

    def decide(self, data: st.DataObject) -> bool:
        return data.draw(st.booleans())

    def draw_namespace(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from([namespace for namespace, ids in self.ids.items() if ids]))

    def draw_ids(self, data: st.DataObject, namespace: str) -> list[str]:
        """Up to three memories that are or were in the namespace."""
        return data.draw(st.lists(st.sampled_from(self.ids[namespace]), unique=True, min_size=1, max_size=3))

    @rule(data=st.data(), namespace=namespaces, written=st.lists(items, min_size=1, max_size=5))
    def insert(self, data: st.DataObject, namespace: str, written: list[Item]) -> None:
        fresh = []
        taken: set[tuple[Scope, str | None]] = set()
        for item in written:
            named = (item.scope, item.external_id)
            if named in taken or item.external_id in self.both("find_external", namespace, item.scope, ["e", "é'"]):
                item = replace(item, external_id=None)
            taken.add(named)
            more: dict[str, Any] = data.draw(validity)
            if self.ids[namespace] and self.decide(data):
                sources = sorted(self.draw_ids(data, namespace))
                more |= {"sources": tuple(sources), "deriver": Deriver("rules", "1")}
            fresh.append(replace(make_memory(self.number(), namespace=namespace), item=item, **more))
        kept = self.both("insert", namespace, fresh)
        assert [replace(memory, row=0) for memory in kept] == fresh
        self.ids[namespace] += [memory.id for memory in fresh]

    @precondition(lambda self: self.made)
    @rule(data=st.data(), item=items, to_state=st.sampled_from([None, "forgotten", "active"]))
    def change(self, data: st.DataObject, item: Item, to_state: Any) -> None:
        namespace = self.draw_namespace(data)
        for memory in self.both("get", namespace, self.draw_ids(data, namespace)):
            now = NOW + timedelta(seconds=self.number())
            kept = replace(item, scope=memory.item.scope, external_id=memory.item.external_id)
            later = set_state(memory, to_state, now, "").memory if to_state else new_version(memory, kept, now)
            if later != memory:
                self.both("replace", namespace, later)

    @precondition(lambda self: self.made)
    @rule(data=st.data(), asked_in=namespaces)
    def erase(self, data: st.DataObject, asked_in: str) -> None:
        namespace = self.draw_namespace(data)
        gone, removed = self.both(erase, asked_in, self.draw_ids(data, namespace))
        assert removed.memories == len(gone) <= removed.fulltext
        assert not gone or asked_in == namespace

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        namespace = self.draw_namespace(data)
        ids = self.draw_ids(data, namespace)
        number = self.number()
        self.both("record_change", Change(f"chg_{number}", namespace, "update", "why not", tuple(ids), NOW))
        self.both("record_recall", namespace, f"rec_{number}", NOW, Scope("ann"), ids)
        if len(ids) == 2:
            at = NOW + timedelta(seconds=number)
            self.both("record_change", Change(f"chg_l{number}", namespace, "conflict", "why not", tuple(ids), at))
            if self.decide(data):
                self.both("mark_undone", namespace, f"chg_l{number}", f"chg_{number}")

    @precondition(lambda self: self.made)
    @rule(data=st.data(), number=st.integers(1, 9), useful=st.sampled_from([True, True, False, None]))
    def vote(self, data: st.DataObject, number: int, useful: bool | None) -> None:
        namespace = self.draw_namespace(data)
        given = self.both("recalled", namespace, f"rec_{number}")
        if given is not None and given.memory_ids:
            memory_id = data.draw(st.sampled_from(given.memory_ids))
            self.both("vote", namespace, f"rec_{number}", memory_id, useful, NOW)

    @rule(data=st.data(), limit=st.integers(1, 20))
    def finish(self, data: st.DataObject, limit: int) -> None:
        """As the indexer does: the oldest entries, one of which may be made anew meanwhile."""
        read = [store.outbox(limit) for store in self.stores]
        assert places(read[0]) == places(read[1])
        if read[0] and self.decide(data):
            again = data.draw(st.sampled_from(read[0]))
            for memory in self.both("load", again.namespace, [again.row]).values():
                self.both("replace", again.namespace, new_version(memory, memory.item, NOW))
        for store, entries in zip(self.stores, read, strict=True):
            store.finish(entries)

    @rule(namespace=namespaces, selection=selections, limit=st.sampled_from([1, 3, 100]))
    def look(self, namespace: str, selection: Selection, limit: int) -> None:
        self.both("select", namespace, selection, NOW, limit)
        rows, lengths, *_ = self.both(searchable, namespace, selection)
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
        self.both("select", namespace, replace(EVERYTHING, source_id=f"mem_{source:026d}"), NOW, 100)

    @invariant()
    def everything_is_equal(self) -> None:
        for namespace, ids in self.ids.items():
            self.both("get", namespace, [*ids, "mem_nobody", *ids[:1]])
            self.both("previous_turns", namespace, range(1, self.made + 1))
            self.both("active_rows", namespace, 1, 4)
            for scope in SCOPES[1:3]:
                self.both("session_turns", namespace, scope, NOW, 3)
                self.both(partial(_lasting, namespace, scope))
            self.both("changes", namespace, 3)
            self.both("links", namespace, ids[:4])
            self.both("links", namespace, ids, NOW + timedelta(seconds=6))
            self.both("counts", namespace)
            self.both("feedback", namespace)
            for memory_id in ids[:3]:
                self.both("history", namespace, memory_id)
                self.both("feedback", namespace, memory_id)
        self.both(lambda store: places(store.outbox(1000)))
        self.both("waiting")


def erase(store: Store, namespace: str, ids: list[str]) -> tuple[list[Memory], Erased]:
    """By row: the port promises no order."""
    gone, removed = store.erase(namespace, ids)
    return sorted(gone, key=lambda memory: memory.row), removed


def searchable(store: Store, namespace: str, selection: Selection) -> tuple[Any, ...]:
    """Rows, lengths and every other column as lists; a session is a set of rows, because its number is any."""
    found = store.searchable(namespace, selection, NOW)
    columns = {column.name: getattr(found.columns, column.name) for column in fields(Columns) if column.compare}
    sessions: dict[int, list[int]] = {}
    for row, session in zip(columns["rows"].tolist(), columns.pop("sessions").tolist(), strict=True):
        sessions.setdefault(session, []).append(row)
    listed = [list(values) if name == "speakers" else values.tolist() for name, values in columns.items()]
    return *listed, sorted(sessions.values()), found.pending.tolist()


def _lasting(namespace: str, scope: Scope, store: Store) -> list[Memory]:
    return store.session_turns(namespace, scope, NOW, 3, lasting=True)


def places(entries: Sequence[OutboxEntry]) -> list[tuple[str, int]]:
    return sorted((entry.namespace, entry.row) for entry in entries)


def test_the_sql_store_does_what_the_in_memory_store_does(database: Database) -> None:
    settings = hypothesis.settings(
        max_examples=20, stateful_step_count=15, suppress_health_check=list(hypothesis.HealthCheck)
    )
    run_state_machine_as_test(lambda: Twins(database), settings=settings)  # type: ignore[arg-type]


# --- single promises, on each store


def insert(stores: Stores, *memories: Memory) -> list[Memory]:
    with stores.write() as store:
        return store.insert("default", memories)


def ids_of(memories: Iterable[Memory]) -> list[int]:
    return [int(memory.id.removeprefix("mem_")) for memory in memories]


def selected(stores: Stores, now: datetime = NOW, limit: int = 100, **fields: Any) -> list[int]:
    """What `select` gives, and `searchable` too."""
    with stores.write() as store:
        found = store.select("default", Selection(**fields), now, limit)
        rows = np.unique(rows_of(store.searchable("default", Selection(**fields), now).columns.rows))
        assert [memory.row for memory in found] == rows[::-1][:limit].tolist()
        return ids_of(found)


def pending(stores: Stores) -> list[int]:
    with stores.write() as store:
        return sorted(entry.row for entry in store.outbox(1000))


def drain(stores: Stores) -> None:
    with stores.write() as store:
        store.finish(store.outbox(1000))


def turn(number: int, at: int | None = None, **fields: Any) -> Memory:
    """A turn of one session, `at` minutes after `NOW`."""
    given = {"scope": Scope("ann", session_id="s"), "occurred_at": None if at is None else NOW + timedelta(minutes=at)}
    return make_memory(number, **(given | fields))


def test_a_thousand_memories_keep_their_order(stores: Stores) -> None:
    kept = insert(stores, *(make_memory(number) for number in range(1, 1001)))
    assert [memory.row for memory in kept] == list(range(1, 1001))
    assert ids_of(kept) == list(range(1, 1001))
    assert selected(stores, limit=3) == [1000, 999, 998]


def test_a_row_is_never_used_again(stores: Stores) -> None:
    newest = insert(stores, make_memory(1), make_memory(2))[-1]
    with stores.write() as store:
        store.erase("default", [newest.id])
    assert [memory.row for memory in insert(stores, make_memory(3))] == [3]


def test_an_error_undoes_the_whole_transaction(stores: Stores) -> None:
    kept = insert(stores, make_memory(1, "dog"))[0]
    drain(stores)

    def fail() -> None:
        with stores.write() as store:
            store.insert("default", [make_memory(2, "dog")])
            store.replace("default", new_version(kept, replace(kept.item, text="cat"), NOW))
            raise NotFound("")

    with pytest.raises(NotFound):
        fail()
    assert (selected(stores), selected(stores, text="dog"), selected(stores, text="cat")) == ([1], [1], [])
    assert pending(stores) == []
    with stores.write() as store:
        assert store.history("default", kept.id) == [kept]


def test_pages_by_row_give_everything_once(stores: Stores) -> None:
    insert(stores, *(make_memory(number) for number in range(1, 8)))
    found: list[int] = []
    while page := selected(stores, limit=3, before_row=found[-1] if found else None):
        found += page
    assert found == [7, 6, 5, 4, 3, 2, 1]


def test_what_has_expired_does_not_exist_from_that_moment_on(stores: Stores) -> None:
    insert(stores, make_memory(1, expires_at=NOW), make_memory(2, expires_at=NOW + timedelta(microseconds=1)))
    assert selected(stores, NOW - timedelta(microseconds=1)) == [2, 1]
    assert selected(stores, NOW) == [2]


def test_since_and_until_are_half_open_and_fall_back_to_the_record_time(stores: Stores) -> None:
    day = timedelta(days=1)
    insert(stores, make_memory(1, occurred_at=NOW - day), make_memory(2, occurred_at=NOW), make_memory(3))
    assert selected(stores, since=NOW - day, until=NOW) == [1]
    assert selected(stores, since=NOW) == [3, 2]
    assert selected(stores, until=NOW + timedelta(seconds=3)) == [2, 1]


def test_as_of_hides_what_occurred_or_was_valid_only_later(stores: Stores) -> None:
    later = NOW + timedelta(microseconds=1)
    insert(
        stores,
        make_memory(1),
        make_memory(2, occurred_at=NOW),
        make_memory(3, occurred_at=later),
        make_memory(4, valid_from=NOW),
        make_memory(5, valid_from=later),
        make_memory(6, valid_to=NOW),
        make_memory(7, valid_to=later),
    )
    assert selected(stores, as_of=NOW) == [7, 4, 2, 1]


def test_known_at_hides_what_was_first_recorded_later(stores: Stores) -> None:
    first = insert(stores, make_memory(1), make_memory(2))[0]
    with stores.write() as store:
        store.replace("default", new_version(first, replace(first.item, text="x"), NOW + timedelta(days=1)))
    assert selected(stores, known_at=NOW + timedelta(seconds=1)) == [1]
    assert selected(stores, known_at=NOW) == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("1", [1, 2, 3]),
        ("1.0", [2, 3]),
        ("1e0", [2, 3]),
        ("true", [4, 5]),
        ("false", [6]),
        ("null", [7, 8]),
        ("True", []),
        ("0", []),
        ("inf", []),
        ("", [10]),
        ('é " \\', [11]),
    ],
)
def test_metadata_is_compared_text_by_text_and_numbers_by_value(stores: Stores, wanted: str, found: list[int]) -> None:
    values = ["1", 1, 1.0, True, "true", False, None, "null", 10**400, "", 'é " \\', [1], {"1": 1}]
    insert(stores, *(make_memory(n, metadata={'a." $[0]': value, "b": 1}) for n, value in enumerate(values, start=1)))
    assert sorted(selected(stores, metadata={'a." $[0]': wanted})) == found
    assert sorted(selected(stores, metadata={'a." $[0]': wanted, "b": "1"})) == found
    assert selected(stores, metadata={'a." $[0]': wanted, "c": "1"}) == []


def test_text_finds_the_rows_that_hold_every_word(stores: Stores) -> None:
    insert(stores, make_memory(1, "The dogs ran."), make_memory(2, "A dog."), make_memory(3, "東京タワー"))
    assert selected(stores, text="dog") == [2, 1]
    assert selected(stores, text="DOG, ran!") == [1]
    assert selected(stores, text="the") == [1]
    assert selected(stores, text="東京") == [3]
    assert selected(stores, text="?!") == []
    assert selected(stores, text=" ".join(f"w{number}" for number in range(300))) == []


def test_text_finds_a_long_memory_whose_words_stand_in_different_passages(stores: Stores) -> None:
    written = long_text("The dogs ran.", "In Porto it was hot.", "We saw a whale.")
    insert(
        stores, make_memory(1, written, speaker="Ann"), make_memory(2, "A dog in Porto."), make_memory(3, "A whale.")
    )
    insert(stores, make_memory(4, long_text("A dog.", "A cat."), scope=Scope("ann")))
    with stores.write() as store:
        store.insert("other", [make_memory(5, long_text("A dog", "and a whale"), namespace="other")])
    assert selected(stores, text="dog whale") == [1]
    assert selected(stores, text="porto dog") == [2, 1]
    assert selected(stores, text="Ann whale") == [1]
    assert selected(stores, text="cat dog", scope=Scope("ann")) == [4]
    assert selected(stores, text="cat dog", scope=Scope("bob")) == []
    assert selected(stores, text="dog whale zebra") == []


def test_every_passage_of_a_long_memory_is_searchable_by_its_key_and_length(stores: Stores) -> None:
    many = [long_text(*["dog"] * count) for count in (1, 3, 1, 2)]
    insert(stores, *(make_memory(n, text or "x", speaker=f"s{n}") for n, text in enumerate(many, start=1)))
    with stores.write() as store:
        searched = store.searchable("default", Selection(), NOW)
        found = searched.columns
        assert found.rows.tolist() == [key(1), key(2), key(2, 1), key(2, 2), key(3), key(4), key(4, 1)]
        assert list(found.speakers) == ["s1", "s2", "s2", "s2", "s3", "s4", "s4"]
        memories = [memory for row in (1, 2, 3, 4) for memory in store.load("default", [row]).values()]
        assert found.lengths.tolist() == [len(terms) for memory in memories for terms in lexical_terms(memory)]
        assert searched.pending.tolist() == [1, 2, 3, 4]


def test_a_shorter_version_leaves_nothing_of_the_longer_one(stores: Stores) -> None:
    kept = insert(stores, make_memory(1, long_text("The dog ran.", "In Porto.", "A whale.")))[0]
    with stores.write() as store:
        short = new_version(kept, replace(kept.item, text="A cat."), NOW)
        store.replace("default", short)
        assert store.searchable("default", Selection(), NOW).columns.rows.tolist() == [key(1)]
        every = np.arange(key(1), key(2))
        hits = store.lexical(Scope()).search("default", ["whale", "cat"], 9, every, np.ones(len(every), np.int32))
        assert hits.rows.tolist() == [key(1)]
        long = replace(short.item, text=long_text("A cat.", "A whale."))
        store.replace("default", new_version(short, long, NOW))
        assert store.searchable("default", Selection(), NOW).columns.rows.tolist() == [key(1), key(1, 1)]
        _, removed = store.erase("default", [kept.id])
        assert (removed.memories, removed.fulltext) == (1, 2)
        hits = store.lexical(Scope()).search("default", ["whale", "cat"], 9, every, np.ones(len(every), np.int32))
        assert hits.rows.tolist() == []


def test_the_turn_before_is_the_active_one_by_time_then_arrival(stores: Stores) -> None:
    insert(
        stores,
        turn(1, 10),
        turn(2, 5),
        turn(3, 10),
        turn(4, 7, kind="document"),
        turn(5, 8, scope=Scope("bob", session_id="s")),
        turn(6, 9, state="forgotten"),
        make_memory(7),
        turn(8),
    )
    with stores.write() as store:
        found = store.previous_turns("default", range(1, 9))
    assert {row: memory.row for row, memory in found.items()} == {1: 2, 3: 1, 6: 2, 2: 8}


def test_a_write_puts_the_turn_after_it_in_the_outbox(stores: Stores) -> None:
    """What is encoded for a turn holds the question before it; here turns 1, 2, 3 follow each other."""
    one, two, three = insert(stores, turn(1, 1), turn(2, 2), turn(3, 3))
    drain(stores)
    with stores.write() as store:
        store.replace("default", new_version(one, replace(one.item, text="x"), NOW))
    assert pending(stores) == [one.row, two.row]
    drain(stores)
    moved = new_version(one, replace(one.item, occurred_at=NOW + timedelta(minutes=2, seconds=30)), NOW)
    with stores.write() as store:
        store.replace("default", moved)
    assert pending(stores) == [one.row, two.row, three.row]
    drain(stores)
    four = insert(stores, turn(4, 0))[0]
    assert pending(stores) == [two.row, four.row]
    drain(stores)
    with stores.write() as store:
        store.erase("default", [two.id])
    assert pending(stores) == [one.row, two.row]
    drain(stores)
    with stores.write() as store:
        store.replace("default", set_state(four, "forgotten", NOW, "").memory)
    assert pending(stores) == [one.row, four.row]


def test_an_entry_that_is_made_anew_is_not_finished(stores: Stores) -> None:
    """Also that of the turn after a written one: an indexer that has read it has encoded it after another question."""
    one, two = insert(stores, turn(1, 1), turn(2, 3))
    with stores.write() as store:
        read = store.outbox(10)
    insert(stores, turn(3, 2))
    with stores.write() as store:
        store.replace("default", new_version(one, replace(one.item, text="x"), NOW))
    with stores.write() as store:
        store.finish(read)
    assert pending(stores) == [one.row, two.row, 3]


def test_the_oldest_entries_come_first(stores: Stores) -> None:
    kept = insert(stores, make_memory(1), make_memory(2), make_memory(3))
    with stores.write() as store:
        store.replace("default", new_version(kept[0], replace(kept[0].item, text="x"), NOW))
        assert [entry.row for entry in store.outbox(10)] == [2, 3, 1]
        assert [entry.row for entry in store.outbox(2)] == [2, 3]
        assert store.waiting() == 3


def test_erasing_takes_what_was_derived_however_far_and_tells_the_rows(stores: Stores) -> None:
    def derived(number: int, *sources: int) -> Memory:
        origins = tuple(f"mem_{source:026d}" for source in sources)
        return make_memory(number, kind="fact", sources=origins, deriver=Deriver("rules", "1"))

    kept = insert(stores, turn(1, 1), turn(2, 2), derived(3, 1, 2), derived(4, 3), derived(5, 2))
    with stores.write() as store:
        store.replace("default", new_version(kept[0], replace(kept[0].item, text="x"), NOW))
        store.record_change(Change("chg_1", "default", "update", "why", tuple(m.id for m in kept), NOW))
        store.record_recall("default", "rec_1", NOW, Scope(), [kept[0].id, kept[1].id])
        store.vote("default", "rec_1", kept[0].id, True, NOW)
        store.vote("default", "rec_1", kept[1].id, False, NOW)
        store.finish(store.outbox(2))
    with stores.write() as store:
        assert store.erase("other", [kept[0].id]) == ([], Erased())
        gone, removed = store.erase("default", [kept[0].id, kept[0].id, "mem_nobody"])
    assert sorted(ids_of(gone)) == [1, 3, 4]
    assert removed == Erased(memories=3, versions=1, sources=3, fulltext=3, outbox=1, changes=3, recalls=1, feedback=1)
    with stores.write() as store:
        assert ids_of(store.get("default", [memory.id for memory in kept])) == [2, 5]
        assert ids_of(m for m in kept if m.id in store.changes("default", 5)[0].memory_ids) == [2, 5]
        assert [store.history("default", memory.id) for memory in kept[:1]] == [[]]
        assert {1, 3, 4} <= {entry.row for entry in store.outbox(10)}
        assert store.recalled("default", "rec_1") == Recalled(Scope(), (kept[1].id,))
        assert store.feedback("default") == {2: Votes(0, 1)}


def test_external_ids_belong_to_their_exact_scope(stores: Stores) -> None:
    insert(
        stores,
        make_memory(1, external_id="e"),
        make_memory(2, external_id="e", scope=Scope("ann")),
        make_memory(3, external_id="f", scope=Scope("ann")),
    )
    with stores.write() as store:
        found = store.find_external("default", Scope("ann"), ["e", "f", "g"])
        assert {name: ids_of([memory]) for name, memory in found.items()} == {"e": [2], "f": [3]}
        assert ids_of(store.find_external("default", Scope(), ["e", "f"]).values()) == [1]
        assert store.find_external("default", Scope("ann", "bot"), ["e"]) == {}
        assert store.find_external("other", Scope(), ["e"]) == {}


def test_history_is_newest_first_and_each_version_ends_where_the_next_begins(stores: Stores) -> None:
    first = insert(stores, make_memory(1, "one", metadata={"a": [1, {"b": None}]}, speaker="Ann"))[0]
    hour = timedelta(hours=1)
    second = new_version(first, replace(first.item, text="two", metadata={}, occurred_at=NOW), NOW + hour)
    third = set_state(second, "forgotten", NOW + 2 * hour, "").memory
    with stores.write() as store:
        store.replace("default", second)
        store.replace("default", third)
        assert store.history("default", first.id) == [
            third,
            replace(second, superseded_at=NOW + 2 * hour),
            replace(first, superseded_at=NOW + hour),
        ]
        assert store.history("other", first.id) == store.history("default", "mem_nobody") == []


def test_counts_tell_rows_versions_and_bytes_of_one_namespace(stores: Stores) -> None:
    kept = insert(stores, make_memory(1, "é"), make_memory(2, "abc"))
    with stores.write() as store:
        store.insert("other", [make_memory(3, "elsewhere", namespace="other")])
        store.replace("default", set_state(kept[1], "forgotten", NOW, "").memory)
        assert store.counts("default") == Counts({"active": 1, "forgotten": 1}, versions=1, text_bytes=5, outbox=2)
        assert store.counts("nobody") == Counts({}, 0, 0, 0)


def test_changes_come_newest_first_with_their_memories_in_order(stores: Stores) -> None:
    told = [Change(f"chg_{n}", "default", "add", f"why {n}", ("mem_b", "mem_a", f"mem_{n}"), NOW) for n in range(3)]
    with stores.write() as store:
        for change in told:
            store.record_change(change)
        store.record_change(replace(told[0], id="chg_9", namespace="other"))
        assert store.changes("default", 2) == [told[2], told[1]]


def test_links_stand_between_memories_that_are_there_until_they_are_undone(stores: Stores) -> None:
    one, two, three = insert(stores, make_memory(1), make_memory(2), make_memory(3))
    later = NOW + timedelta(hours=1)
    with stores.write() as store:
        elsewhere = store.insert("other", [make_memory(4, namespace="other")])[0]
        for number, (action, about, at) in enumerate(
            (
                ("conflict", (two.id, one.id), NOW),
                ("possibly_supersedes", (three.id, two.id), later),
                ("merge", (three.id, one.id), NOW),
                ("conflict", (elsewhere.id, one.id), NOW),
                ("conflict", ("mem_nobody", one.id), NOW),
                ("conflict", (three.id, one.id), NOW),
            )
        ):
            store.record_change(Change(f"chg_{number}", "default", action, "", about, at))  # type: ignore[arg-type]
        store.mark_undone("default", "chg_5", "chg_6")
        first = StandingLink("chg_0", "conflict", two.id, one.id, two.row, one.row)
        second = StandingLink("chg_1", "possibly_supersedes", three.id, two.id, three.row, two.row)
        assert store.links("default", [one.id, two.id, three.id]) == [second, first]
        assert store.links("default", [one.id]) == [first]
        assert store.links("default", [two.id], NOW) == [first]
        assert store.links("default", []) == store.links("other", [one.id, elsewhere.id]) == []
        store.mark_undone("default", "chg_5", None)
        assert [link.change_id for link in store.links("default", [one.id])] == ["chg_5", "chg_0"]
        store.erase("default", [two.id])
        assert [link.change_id for link in store.links("default", [one.id, two.id, three.id])] == ["chg_5"]


def test_links_of_more_memories_than_a_statement_takes_are_told_once(stores: Stores) -> None:
    kept = insert(stores, *(make_memory(number) for number in range(1, 1202)))
    with stores.write() as store:
        store.record_change(Change("chg_1", "default", "conflict", "", (kept[-1].id, kept[0].id), NOW))
        [link] = store.links("default", [memory.id for memory in kept])
        assert (link.newer_row, link.older_row) == (kept[-1].row, kept[0].row)


def test_a_recall_is_known_in_its_namespace_with_its_scope_order_and_what_is_there(stores: Stores) -> None:
    one, two = insert(stores, make_memory(1), make_memory(2))
    with stores.write() as store:
        elsewhere = store.insert("other", [make_memory(3, namespace="other")])[0]
        given = [two.id, "mem_nobody", elsewhere.id, one.id]
        store.record_recall("default", "rec_1", NOW, Scope("ann", session_id="s"), given)
        assert store.recalled("default", "rec_1") == Recalled(Scope("ann", session_id="s"), (two.id, one.id))
        assert store.recalled("other", "rec_1") is store.recalled("default", "rec_2") is None


def test_votes_are_counted_by_row_once_for_each_memory_of_each_recall(stores: Stores) -> None:
    one, two, three = insert(stores, make_memory(1), make_memory(2), make_memory(3))
    with stores.write() as store:
        elsewhere = store.insert("other", [make_memory(4, namespace="other")])[0]
        for recall_id, memory, useful in (
            ("rec_1", one, True), ("rec_1", one, False), ("rec_1", one, False), ("rec_2", one, True),
            ("rec_3", one, True), ("rec_1", two, True), ("rec_1", two, None), ("rec_2", three, False),
        ):  # fmt: skip
            store.vote("default", recall_id, memory.id, useful, NOW)
        store.vote("other", "rec_4", elsewhere.id, True, NOW)
        store.vote("default", "rec_5", "mem_nobody", True, NOW)
        store.vote("other", "rec_2", one.id, None, NOW)
        assert store.feedback("default") == {one.row: Votes(2, 1), three.row: Votes(0, 1)}
        assert store.feedback("default", one.id) == {one.row: Votes(2, 1)}
        assert store.feedback("default", two.id) == store.feedback("default", elsewhere.id) == {}
        assert store.feedback("other") == {elsewhere.row: Votes(1, 0)}
        assert store.feedback("nobody") == {}
