"""The use cases: all or nothing, what an `external_id` means, whom a key may touch, what a receipt counts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from memory.model import Deriver, Item, Memory, Selection
from memory.ports import Store
from memory.service import MemoryService
from recalld.bootstrap import Service
from recalld.core.access import Principal
from recalld.core.errors import Conflict, Forbidden, InvalidInput, NotFound, PreconditionFailed
from recalld.core.scope import Scope
from tests.conftest import NOW, WHO, SerialIds, SetClock, Stores, make_memory

ANN = Principal("default", Scope("ann"))


@pytest.fixture
def memories(clock: SetClock, ids: SerialIds, service: Service) -> MemoryService:
    return MemoryService(clock, ids, service.settings)


class Desk:
    """The service over one kind of store, one transaction a call."""

    def __init__(self, memories: MemoryService, stores: Stores) -> None:
        self._memories = memories
        self._stores = stores

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*given: Any, who: Principal = WHO, **more: Any) -> Any:
            with self._stores.write() as store:
                return getattr(self._memories, name)(store, who, *given, **more)

        return call

    @contextmanager
    def store(self) -> Iterator[Store]:
        with self._stores.write() as store:
            yield store

    def texts(self, who: Principal = WHO, **fields: Any) -> list[str]:
        return [memory.item.text for memory in self.select(Selection(**fields), 100, who=who).items]


@pytest.fixture
def desk(memories: MemoryService, stores: Stores) -> Desk:
    return Desk(memories, stores)


def brief(kept: list[Memory]) -> list[tuple[str, int, str, int]]:
    return [(memory.item.text, memory.version, memory.state, memory.row) for memory in kept]


# --- add


def test_items_are_kept_in_order_with_ids_rows_and_times(desk: Desk, clock: SetClock) -> None:
    items = [Item("one"), Item("two", occurred_at=NOW - timedelta(days=9)), Item("one")]
    kept = desk.add(items)
    assert [memory.item for memory in kept] == items
    assert [memory.row for memory in kept] == [1, 2, 3]
    assert len({memory.id for memory in kept}) == 3
    assert {(m.namespace, m.created_at, m.recorded_at, m.version, m.state) for m in kept} == {
        ("default", NOW, NOW, 1, "active")
    }
    assert [desk.get(memory.id) for memory in kept] == kept


def test_one_wrong_item_keeps_none(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match=r"items\.1\.text"):
        desk.add([Item("fine"), Item("")])
    with pytest.raises(Forbidden):
        desk.add([Item("fine"), Item("x", scope=Scope("bob"))], who=ANN)
    with desk.store() as store:
        assert (store.counts("default").memories, store.changes("default", 9), store.waiting()) == ({}, [], 0)


def test_the_same_item_again_changes_nothing(desk: Desk, clock: SetClock) -> None:
    item = Item("I live in Porto.", external_id="home", metadata={"a": [1]}, scope=Scope("ann"))
    first = desk.add([item])
    clock.advance(hours=1)
    assert desk.add([item]) == first
    with desk.store() as store:
        assert len(store.changes("default", 9)) == 1
        assert store.history("default", first[0].id) == first


def test_another_item_under_its_external_id_is_a_new_version(desk: Desk, clock: SetClock) -> None:
    first = desk.add([Item("I live in Porto.", external_id="home")])[0]
    later = clock.advance(hours=1)
    second = desk.add([Item("I live in Lisbon.", external_id="home", speaker="Ann")])[0]
    wanted = Item("I live in Lisbon.", external_id="home", speaker="Ann")
    assert second == replace(first, item=wanted, version=2, recorded_at=later)
    assert desk.history(first.id) == [second, replace(first, superseded_at=later)]
    assert desk.texts() == ["I live in Lisbon."]
    with desk.store() as store:
        assert [(c.action, c.reason, c.memory_ids) for c in store.changes("default", 9)] == [
            ("update", "another item under its external_id", (first.id,)),
            ("add", "written by a caller", (first.id,)),
        ]


def test_an_external_id_in_another_scope_is_another_memory(desk: Desk) -> None:
    scopes = [Scope(), Scope("ann"), Scope("ann", "bot"), Scope(session_id="ann")]
    desk.add([Item(f"{scope}", external_id="e", scope=scope) for scope in scopes])
    desk.add([Item("other", external_id="e")], who=Principal("other"))
    assert sorted(desk.texts()) == sorted(f"{scope}" for scope in scopes)
    assert desk.texts(who=Principal("other")) == ["other"]


@pytest.mark.parametrize("text", ["x", "y"])
def test_a_forgotten_memory_stays_forgotten_and_says_so(desk: Desk, text: str) -> None:
    kept = desk.add([Item("x", external_id="e")])[0]
    forgotten = desk.set_state(kept.id, "forgotten")
    assert desk.add([Item(text, external_id="e")]) == [forgotten]
    assert (desk.get(kept.id).state, desk.texts()) == ("forgotten", [])


def test_one_batch_may_write_the_same_memory_many_times(desk: Desk) -> None:
    """Each item is told as it stands at the end, under the row of its memory."""
    written = [("a", "e"), ("c", "f"), ("c2", "f"), ("a", "e"), ("plain", None), ("a2", "e"), ("a2", "e")]
    batch = [Item(text, external_id=name) for text, name in written]
    kept = desk.add(batch)
    e_last, f_last, plain = ("a2", 2, "active", 1), ("c2", 2, "active", 2), ("plain", 1, "active", 3)
    assert brief(kept) == [e_last, f_last, f_last, e_last, plain, e_last, e_last]
    assert [m.item.text for m in desk.history(kept[0].id)] == ["a2", "a"]
    assert [desk.texts(text=word) for word in ("a", "a2", "c", "c2", "plain")] == [[], ["a2"], [], ["c2"], ["plain"]]
    with desk.store() as store:
        assert sorted(entry.row for entry in store.outbox(10)) == [1, 2, 3]
        told = {change.action: change.memory_ids for change in store.changes("default", 9)}
        assert sorted(told["update"]) == sorted({kept[0].id, kept[1].id})


def test_a_change_names_each_memory_once(desk: Desk) -> None:
    kept = desk.add([Item(text, external_id="e") for text in ("a", "b", "c")])
    assert kept[0].version == 3
    with desk.store() as store:
        assert [change.memory_ids for change in store.changes("default", 9)] == [(kept[0].id,)] * 2


# --- scopes and keys


def test_a_bound_key_fills_in_its_scope(desk: Desk) -> None:
    kept = desk.add([Item("x"), Item("y", scope=Scope("ann", "bot"))], who=ANN)
    assert [memory.item.scope for memory in kept] == [Scope("ann"), Scope("ann", "bot")]


def test_a_bound_key_sees_and_changes_its_scope_only(desk: Desk) -> None:
    mine, other = desk.add([Item("mine", scope=Scope("ann", "bot")), Item("other", scope=Scope("bob"))])
    nobodys = desk.add([Item("nobody's")])[0]
    assert desk.texts(who=ANN) == ["mine"]
    assert desk.get(mine.id, who=ANN) == mine
    for hidden in (other, nobodys):
        for call, *given in (
            ("get",),
            ("history",),
            ("sources",),
            ("update", {"text": "x"}, None),
            ("set_state", "forgotten"),
        ):
            with pytest.raises(NotFound):
                getattr(desk, str(call))(hidden.id, *given, who=ANN)
    with pytest.raises(Forbidden):
        desk.select(Selection(scope=Scope("bob")), 9, who=ANN)
    assert sorted(desk.texts()) == ["mine", "nobody's", "other"]


def test_another_namespace_does_not_exist(desk: Desk) -> None:
    kept = desk.add([Item("x")])[0]
    stranger = Principal("other")
    for act in (desk.get, desk.history, desk.sources):
        with pytest.raises(NotFound):
            act(kept.id, who=stranger)
    assert desk.texts(who=stranger) == []


# --- expiry


def test_an_expired_memory_does_not_exist(desk: Desk, clock: SetClock) -> None:
    kept = desk.add([Item("x", expires_at=NOW + timedelta(hours=1)), Item("y")])
    clock.advance(minutes=59, seconds=59.999999)
    assert desk.texts() == ["y", "x"]
    clock.advance(microseconds=1)
    assert desk.texts() == ["y"]
    for call, *given in (
        ("get",),
        ("history",),
        ("update", {"expires_at": None}, None),
        ("set_state", "forgotten"),
    ):
        with pytest.raises(NotFound):
            getattr(desk, str(call))(kept[0].id, *given)


def test_what_expired_is_no_source_to_show(desk: Desk, clock: SetClock) -> None:
    kept = desk.add([Item("x", expires_at=NOW + timedelta(hours=1)), Item("y"), Item("z", scope=Scope("ann"))])
    fact = make_memory(99, scope=Scope("ann"), sources=tuple(m.id for m in kept), deriver=Deriver("rules", "1"))
    with desk.store() as store:
        store.insert("default", [fact])
    assert [memory.item.text for memory in desk.sources(fact.id)] == ["x", "y", "z"]
    assert [memory.item.text for memory in desk.sources(fact.id, who=ANN)] == ["z"]
    clock.advance(hours=1)
    assert [memory.item.text for memory in desk.sources(fact.id)] == ["y", "z"]


# --- change, forget, restore


def test_a_patch_makes_a_version_where_anything_differs(desk: Desk, clock: SetClock) -> None:
    kept = desk.add([Item("x", metadata={"a": 1, "b": 2}, speaker="Ann")])[0]
    later = clock.advance(hours=1)
    changed = desk.update(kept.id, {"metadata": {"a": None, "c": 3}, "speaker": None}, '"1"')
    wanted = replace(kept, item=Item("x", metadata={"b": 2, "c": 3}), version=2, recorded_at=later)
    assert changed == desk.get(kept.id) == wanted
    clock.advance(hours=1)
    assert desk.update(kept.id, {"metadata": {"c": 3}}, '"2"') == wanted
    assert desk.update(kept.id, {}, None) == wanted
    with desk.store() as store:
        assert [change.action for change in store.changes("default", 9)] == ["update", "add"]


def test_a_stale_version_is_refused_everywhere(desk: Desk) -> None:
    kept = desk.add([Item("x")])[0]
    for call, *given in (("update", {"text": "y"}), ("set_state", "forgotten")):
        with pytest.raises(PreconditionFailed):
            getattr(desk, str(call))(kept.id, *given, '"2"')
    assert desk.get(kept.id) == kept


def test_a_patch_is_held_to_the_limits_of_an_item(desk: Desk) -> None:
    kept = desk.add([Item("x", metadata={"a": "x" * 16_000})])[0]
    with pytest.raises(InvalidInput) as refused:
        desk.update(kept.id, {"text": "", "metadata": {"b": "x" * 1000}}, None)
    assert [(error.field, error.limit) for error in refused.value.fields] == [("text", 65536), ("metadata", 16384)]
    assert desk.get(kept.id) == kept


def test_forgetting_takes_a_memory_out_and_restoring_brings_it_back(desk: Desk) -> None:
    kept = desk.add([Item("x")])[0]
    forgotten = desk.set_state(kept.id, "forgotten")
    assert (forgotten.version, desk.texts(), desk.texts(states=("forgotten",))) == (2, [], ["x"])
    assert desk.set_state(kept.id, "forgotten") == forgotten
    with pytest.raises(Conflict):
        desk.update(kept.id, {"text": "y"}, None)
    assert desk.set_state(kept.id, "active").version == 3
    assert desk.texts() == ["x"]
    with desk.store() as store:
        assert [change.action for change in store.changes("default", 9)] == ["restore", "forget", "add"]


# --- lists


def test_pages_hold_every_memory_once_newest_first(desk: Desk) -> None:
    desk.add([Item(str(number)) for number in range(7)])
    found, place = [], None
    while True:
        page = desk.select(Selection(before_row=place), 3)
        found += [memory.item.text for memory in page.items]
        place = page.next_row
        if place is None:
            break
    assert found == [str(number) for number in reversed(range(7))]
    assert desk.select(Selection(), 7).next_row is None
