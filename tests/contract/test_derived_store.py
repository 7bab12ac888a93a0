"""What consolidation reads of the change log, on both stores: the same values for the same history, whatever it was.

Histories are drawn: memories in several scopes and namespaces, some of them derived, changes by callers, by derivers
and by rule. After each of them everything that the port reads is compared; the tests below hold its promises singly.
"""

from contextlib import suppress
from datetime import timedelta
from itertools import pairwise

import hypothesis
from hypothesis import strategies as st

from memory.lifecycle import set_state
from memory.model import Action, Change, Deriver, Memory
from memory.ports import DerivedStore, Store
from memory.store.inmemory import InMemoryStore
from memory.store.sql import SqlStore
from recalld.core.db import Database
from recalld.core.scope import Scope
from tests.conftest import NOW, Stores, make_memory

NAMESPACES = ("default", "other")
SCOPES = (Scope(), Scope("ann"), Scope("ann", session_id="s"), Scope("ann", "bot", "s"), Scope(session_id="s"))
DERIVERS = (Deriver("facts", "1"), Deriver("facts", "2"), Deriver("summaries", "1"))


class RolledBack(Exception):
    """Ends an example: nothing of it stays."""


memory_of = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(SCOPES), st.sampled_from((None, None, *DERIVERS)))
change_of = st.tuples(
    st.sampled_from(NAMESPACES),
    st.sampled_from(("add", "update", "forget", "derive", "supersede")),
    st.sets(st.integers(0, 7), min_size=1, max_size=4),
    st.booleans(),
)
seen_of = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(DERIVERS), st.integers(0, 9))


def made(number: int, namespace: str, scope: Scope, deriver: Deriver | None) -> Memory:
    """A memory; one that was derived rests on the two before it."""
    rests_on = tuple(f"mem_{before:026d}" for before in (number - 2, number - 1) if before >= 0)
    return make_memory(number, namespace=namespace, scope=scope, deriver=deriver, sources=rests_on if deriver else ())


def change(number: int, namespace: str, action: Action, on: set[int], by_rule: bool = False) -> Change:
    told = tuple(f"mem_{each:026d}" for each in sorted(on))
    at = NOW + timedelta(seconds=number)
    return Change(f"chg_{number:026d}", namespace, action, "told", told, at, f"rule {number}" if by_rule else None)


def everything(store: DerivedStore, namespace: str, changes: int, ids: list[str]) -> list[object]:
    """All that the port reads, with each edge that a caller may ask for."""
    edges = range(changes + 2)
    return [
        store.newest_change(namespace),
        [store.unseen_since(namespace, after) for after in edges],
        [store.range_end(namespace, after, most) for after in edges for most in (1, 2, 5)],
        [store.changed(namespace, after, until) for after in edges for until in edges],
        [told(store.session(namespace, scope, limit)) for scope in SCOPES if scope.session_id for limit in (1, 2, 9)],
        [told(store.derived_by(namespace, name, ids[at:])) for name in ("facts", "summaries") for at in (0, 3, 7)],
        [store.derived_until(namespace, each) for each in DERIVERS],
    ]


def told(memories: list[Memory]) -> list[tuple[str, int]]:
    return [(memory.id, memory.version) for memory in memories]


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    memories=st.lists(memory_of, min_size=1, max_size=8),
    changes=st.lists(change_of, max_size=8),
    seen=st.lists(seen_of, max_size=4),
)
def test_both_stores_read_the_same_of_any_history(
    database: Database,
    memories: list[tuple[str, Scope, Deriver | None]],
    changes: list[tuple[str, Action, set[int], bool]],
    seen: list[tuple[str, Deriver, int]],
) -> None:
    kept = [made(number, *each) for number, each in enumerate(memories)]

    def write(store: Store) -> None:
        for memory in kept:
            store.insert(memory.namespace, [memory])
        for number, (namespace, action, on, by_rule) in enumerate(changes):
            here = {each for each in on if each < len(kept) and kept[each].namespace == namespace}
            if here:
                store.record_change(change(number, namespace, action, here, by_rule))
        for namespace, deriver, until in seen:
            store.set_derived_until(namespace, deriver, until)

    ids = [memory.id for memory in kept]
    reference = InMemoryStore()
    write(reference)
    with suppress(RolledBack), database.write() as connection:
        store = SqlStore(connection)
        write(store)
        for namespace in (*NAMESPACES, "nobody's"):
            read = everything(store, namespace, len(changes), ids)
            assert read == everything(reference, namespace, len(changes), ids)
        raise RolledBack


def test_what_derivers_and_rules_wrote_is_no_news(stores: Stores) -> None:
    with stores.write() as store:
        store.insert("default", [made(0, "default", Scope("ann"), None)])
        store.record_change(change(0, "default", "add", {0}))
        store.record_change(change(1, "default", "derive", {0}))
        store.record_change(change(2, "default", "supersede", {0}, by_rule=True))
    with stores.write() as store:
        assert store.newest_change("default") == 1
        assert store.changed("default", 0, 9) == [(Scope("ann"), f"mem_{0:026d}")]
        assert store.unseen_since("default", 0) == (NOW, NOW)
        assert store.unseen_since("default", 1) is None


def test_a_range_holds_at_least_one_change_and_then_no_more_than_asked(stores: Stores) -> None:
    with stores.write() as store:
        store.insert("default", [made(number, "default", Scope(), None) for number in range(7)])
        for number, on in enumerate(({0, 1, 2}, {3}, {4, 5}, {6})):
            store.record_change(change(number, "default", "add", on))
    with stores.write() as store:
        edges = [0]
        while (end := store.range_end("default", edges[-1], 3)) > edges[-1]:
            edges.append(end)
        assert [len(store.changed("default", after, until)) for after, until in pairwise(edges)] == [3, 3, 1]
        assert store.range_end("default", 0, 1) == edges[1], "a change of three is not cut"


def test_a_session_is_read_in_its_own_order_and_keeps_the_newest(stores: Stores) -> None:
    scope = Scope("ann", session_id="s")
    late, early, unknown = (
        make_memory(number, scope=scope, occurred_at=None if days is None else NOW + timedelta(days=days))
        for number, days in ((1, 3), (2, -3), (3, None))
    )
    other = made(4, "default", Scope("ann", "bot", "s"), None)
    with stores.write() as store:
        stored = store.insert("default", [late, early, unknown, other])
        store.replace("default", set_state(stored[1], "forgotten", NOW, "asked").memory)
    with stores.write() as store:
        assert [memory.id for memory in store.session("default", scope, 9)] == [early.id, unknown.id, late.id]
        assert [memory.id for memory in store.session("default", scope, 2)] == [early.id, unknown.id]
        assert store.session("other", scope, 9) == []


def test_another_version_of_a_deriver_has_seen_nothing(stores: Stores) -> None:
    old, new, other = DERIVERS
    with stores.write() as store:
        store.set_derived_until("default", old, 7)
    with stores.write() as store:
        assert [store.derived_until("default", each) for each in DERIVERS] == [7, 0, 0]
        assert store.derived_until("other", old) == 0
        store.set_derived_until("default", new, 3)
    with stores.write() as store:
        assert [store.derived_until("default", each) for each in (old, new, other)] == [0, 3, 0]
