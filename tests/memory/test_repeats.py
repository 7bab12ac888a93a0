"""Turns said again, on both stores: told once, by their texts; filters follow the change log, and are made anew."""

from datetime import timedelta
from pathlib import Path

import pytest

from bench.instance import consolidate
from memory.band_filters import FilterSettings
from memory.changes import ChangeLog
from memory.erase import Target
from memory.knowledge import Knowledge
from memory.model import Change, ChangeSelection, Memory
from memory.ports import Store
from memory.repeats import Repeats
from recalld.bootstrap import Service
from recalld.core.files import seal
from recalld.core.scope import Scope
from tests.conftest import NOW, WHO, SerialIds, SetClock, Stores, make_memory

SAID = "Yesterday evening I walked along the old harbour with the dog and watched the ferries come in."
AGAIN = "Yesterday evening I walked along the old harbour with the dog, and watched the ferries come in!"
OTHER = "Tomorrow we will meet at the station and take the early train to the mountains with our bikes."


@pytest.fixture
def repeats(tmp_path: Path, stores: Stores, clock: SetClock, ids: SerialIds) -> Repeats:
    return Repeats(tmp_path / "filters", stores.write, clock, ids)


def turn(number: int, text: str, user: str = "alice", **fields: object) -> Memory:
    given = {"role": "user", "scope": Scope(user, session_id="s"), "occurred_at": NOW + timedelta(days=number)}
    return make_memory(number, text, **(given | fields))


def added(store: Store, *turns: Memory) -> list[Memory]:
    """The turns as they are kept, with the change that says so."""
    kept = store.insert("default", turns)
    for each in kept:
        store.record_change(Change(f"chg_{each.id}", "default", "add", "", (each.id,), NOW))
    return kept


def learnt(store: Store, repeats: Repeats, kept: list[Memory]) -> list[tuple[str, tuple[str, ...]]]:
    found = [(change.action, change.memory_ids) for change in repeats.learn(store, "default", kept)]
    store.set_derived_until("default", repeats.made_by, store.newest_change("default"))
    return found


def test_what_is_said_again_is_told_once_the_newer_first(stores: Stores, repeats: Repeats) -> None:
    repeats.prepare("default")
    with stores.write() as store:
        kept = added(store, turn(1, SAID), turn(2, OTHER), turn(3, AGAIN))
        wanted = [("near_duplicate", (kept[2].id, kept[0].id))]
        assert learnt(store, repeats, kept) == wanted
        assert learnt(store, repeats, kept) == []


def test_the_earlier_one_may_come_later(stores: Stores, repeats: Repeats) -> None:
    with stores.write() as store:
        newer = added(store, turn(3, AGAIN))
        assert learnt(store, repeats, newer) == []
        older = added(store, turn(1, SAID))
        assert learnt(store, repeats, older) == [("near_duplicate", (newer[0].id, older[0].id))]


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("Only the response of the database.", "only the RESPONSE of the database"),
        (
            "Of course the increase of all the expenses is significant, and the overall response was a decision.",
            "Well, of course the increase of all the expenses is significant, and the overall response was a decision!",
        ),
    ],
)
def test_words_whose_stem_has_another_stem_are_found(stores: Stores, repeats: Repeats, said: str, again: str) -> None:
    with stores.write() as store:
        kept = added(store, turn(1, said), turn(2, OTHER), turn(3, again))
        assert learnt(store, repeats, kept) == [("near_duplicate", (kept[2].id, kept[0].id))]


def test_an_undone_one_is_not_made_again(stores: Stores, repeats: Repeats, clock: SetClock, ids: SerialIds) -> None:
    with stores.write() as store:
        kept = added(store, turn(1, SAID), turn(2, AGAIN))
        (change,) = repeats.learn(store, "default", kept)
        undo = ChangeLog(clock, ids, Knowledge(clock, ids)).undo(store, WHO, change.id)
        assert repeats.learn(store, "default", kept) == []
        (shown,) = store.changes("default", 9, ChangeSelection(actions=("near_duplicate",)))
        assert shown.undone_by == undo.id


def test_only_turns_of_one_speaker_and_exact_scope_repeat_each_other(stores: Stores, repeats: Repeats) -> None:
    with stores.write() as store:
        kept = added(
            store,
            turn(1, SAID),
            turn(2, AGAIN, "bob"),
            turn(3, AGAIN, speaker="Zoë"),
            turn(4, AGAIN, role="assistant"),
            turn(5, AGAIN, scope=Scope("alice", session_id="t")),
            turn(6, AGAIN, kind="document"),
        )
        assert learnt(store, repeats, kept) == []
        store.insert("other", [make_memory(7, SAID, role="user", scope=Scope("alice", session_id="s"))])
        assert (
            learnt(store, repeats, added(store, turn(8, "我昨天在港口看到了三艘船和一只白色的狗在海边走来走去"))) == []
        )


def test_another_process_and_a_restart_know_what_was_learned(
    tmp_path: Path, stores: Stores, repeats: Repeats, clock: SetClock, ids: SerialIds
) -> None:
    repeats.prepare("default")
    with stores.write() as store:
        kept = added(store, turn(1, SAID), *(turn(number, f"{OTHER} Part {number}.") for number in range(2, 30)))
        learnt(store, repeats, kept)
    other = Repeats(tmp_path / "filters", stores.write, clock, ids)
    other.prepare("default")
    with stores.write() as store:
        again = added(store, turn(50, AGAIN))
        assert learnt(store, other, again) == [("near_duplicate", (again[0].id, kept[0].id))]


def test_a_filter_that_was_saved_is_read_and_one_that_changed_is_made_anew(
    tmp_path: Path, stores: Stores, repeats: Repeats, clock: SetClock, ids: SerialIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memory.repeats._SAVE_TEXTS_MIN", 1)
    repeats.prepare("default")
    with stores.write() as store:
        kept = added(store, turn(1, SAID))
        learnt(store, repeats, kept)
    repeats.prepare("default")
    [path] = (tmp_path / "filters").glob("*.bands")
    right = path.read_bytes()

    def found(number: int, settings: FilterSettings = FilterSettings()) -> list[tuple[str, tuple[str, ...]]]:
        fresh = Repeats(tmp_path / "filters", stores.write, clock, ids, settings)
        fresh.prepare("default")
        with stores.write() as store:
            return learnt(store, fresh, added(store, turn(number, AGAIN)))

    assert found(2)[0][0] == "near_duplicate"
    changed, another = right[:2000] + b"\xff" + right[2001:], seal({"format": 1}, 1024) + right[1024:]
    for number, damaged in enumerate([b"", right[:500], right[:-1], changed, another], 3):
        path.write_bytes(damaged)
        assert len(found(number)) == 1
    assert len(found(20, FilterSettings(first_texts=64))) == 1


def test_an_erasure_removes_the_filters_of_every_process_and_what_is_left_is_found_again(
    tmp_path: Path, stores: Stores, repeats: Repeats, clock: SetClock, ids: SerialIds
) -> None:
    other = Repeats(tmp_path / "filters", stores.write, clock, ids)
    for each in (repeats, other):
        each.prepare("default")
    with stores.write() as store:
        kept = added(store, turn(1, SAID), turn(2, OTHER))
        learnt(store, repeats, kept)
    for each in (repeats, other):
        each.prepare("default")
    [path] = (tmp_path / "filters").glob("*.bands")
    with stores.write() as store:
        store.erase("default", [kept[1].id])
    beside = path.with_suffix(".tmp")
    beside.write_bytes(path.read_bytes())
    repeats.forget("default")
    assert not path.exists()
    assert not beside.exists()
    repeats.forget("default")
    other.prepare("default")
    assert other._known["default"].filters.texts == 1
    with stores.write() as store:
        again = added(store, turn(5, AGAIN), turn(6, OTHER))
        assert learnt(store, other, again) == [("near_duplicate", (again[0].id, kept[0].id))]


def test_a_database_that_is_older_than_the_filters_makes_them_anew(stores: Stores, repeats: Repeats) -> None:
    with stores.write() as store:
        learnt(store, repeats, added(store, turn(1, SAID)))
    repeats.prepare("default")
    before = repeats._known["default"]
    before.through += 100
    repeats.prepare("default")
    assert repeats._known["default"].epoch != before.epoch
    assert repeats._known["default"].filters.texts == 1


def test_consolidation_tells_and_an_erasure_forgets(service: Service) -> None:
    items = [turn(number, text).item for number, text in ((1, SAID), (2, AGAIN), (3, OTHER))]
    with service.write_store() as store:
        kept = service.memories.add(store, WHO, items)
    consolidate(service, "default")
    with service.read_store() as store:
        (change,) = store.changes("default", 9, ChangeSelection(actions=("near_duplicate",)))
    assert change.memory_ids == (kept[1].id, kept[0].id)
    assert len(list(service.settings.filters_dir.glob("*.bands"))) == 1
    with service.database.write() as connection:
        receipt = service.erasures.begin(connection, WHO, Target("ids", (kept[0].id,)))
    assert service.erasures.finish(receipt.id).state == "succeeded"
    assert list(service.settings.filters_dir.glob("*.bands")) == []
    consolidate(service, "default")
    with service.read_store() as store:
        (left,) = store.changes("default", 9, ChangeSelection(actions=("near_duplicate",)))
    assert left.memory_ids == (kept[1].id,)
