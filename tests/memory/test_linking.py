"""Links between turns, on both stores: made once, not made again when undone, only among one speaker's turns."""

from datetime import timedelta

from memory.changes import ChangeLog
from memory.knowledge import Knowledge
from memory.linking import Linker
from memory.model import Change, ChangeSelection, Memory
from memory.ports import Store
from recalld.core.scope import Scope
from tests.conftest import NOW, WHO, SerialIds, SetClock, Stores, make_memory

MET = "I met Kyle at a sneaker expo in 2018."
NEVER = "I've never met Kyle or been to a sneaker expo."


def turn(number: int, text: str, user: str = "alice", **fields: object) -> Memory:
    given = {"role": "user", "scope": Scope(user, session_id=f"s{number}"), "occurred_at": NOW + timedelta(days=number)}
    return make_memory(number, text, **(given | fields))


def told(store: Store, linker: Linker, *turns: Memory) -> list[tuple[str, tuple[str, ...]]]:
    changes: list[Change] = list(linker.learn(store, "default", store.insert("default", turns)))
    return [(change.action, change.memory_ids) for change in changes]


def test_a_link_is_made_once_the_newer_first(stores: Stores, clock: SetClock, ids: SerialIds) -> None:
    linker = Linker(clock, ids)
    met, never = turn(1, MET), turn(2, NEVER)
    with stores.write() as store:
        assert told(store, linker, never) == []
        assert told(store, linker, met) == [("conflict", (never.id, met.id))]
        assert linker.learn(store, "default", store.get("default", [met.id, never.id])) == []


def test_an_undone_link_is_not_made_again(stores: Stores, clock: SetClock, ids: SerialIds) -> None:
    linker = Linker(clock, ids)
    with stores.write() as store:
        kept = store.insert("default", [turn(1, MET), turn(2, NEVER)])
        (link,) = linker.learn(store, "default", kept)
        undo = ChangeLog(clock, ids, Knowledge(clock, ids)).undo(store, WHO, link.id)
        assert linker.learn(store, "default", kept) == []
        (shown,) = store.changes("default", 9, ChangeSelection(actions=("conflict",)))
        assert shown.undone_by == undo.id


def test_only_turns_of_one_speaker_and_scope_are_compared(stores: Stores, clock: SetClock, ids: SerialIds) -> None:
    linker = Linker(clock, ids)
    with stores.write() as store:
        assert told(store, linker, turn(1, MET), turn(2, NEVER, "bob")) == []
        assert told(store, linker, turn(3, NEVER, speaker="Zoë", role=None)) == []
        assert told(store, linker, turn(4, NEVER, role="assistant")) == []
