"""Facts learnt, kept and taken back, on both stores: what stands, with its sources, times and reasons."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from memory.changes import ChangeLog
from memory.knowledge import Knowledge
from memory.model import Change, ChangeSelection, Item, Memory, Selection
from memory.ports import Store
from recalld.bootstrap import Service
from recalld.core.access import Principal
from recalld.core.errors import Conflict, NotFound
from recalld.core.scope import Scope
from tests.conftest import NOW, WHO, SerialIds, SetClock, Stores, make_memory

ALICE = Scope("alice")
EVERY = ("active", "superseded", "forgotten")


def turn(number: int, text: str, **fields: object) -> Memory:
    """A turn of Alice's, said `number` days after `NOW`."""
    given = {
        "role": "user",
        "scope": Scope("alice", session_id=f"s{number}"),
        "occurred_at": NOW + timedelta(days=number),
    }
    return make_memory(number, text, **(given | fields))


@pytest.fixture
def knowledge(clock: SetClock, ids: SerialIds) -> Knowledge:
    return Knowledge(clock, Offset(ids))


class Offset:
    """Ids that can not be those of `make_memory`."""

    def __init__(self, ids: SerialIds) -> None:
        self._ids = ids
        for _ in range(900):
            ids.new("mem")

    def new(self, prefix: str) -> str:
        return self._ids.new(prefix)  # type: ignore[arg-type]


def facts(store: Store, namespace: str = "default") -> list[tuple[str, str, str, str]]:
    """Predicate, object, state and until when, of every fact, in an order of its own."""
    found = store.select(namespace, Selection(kinds=("fact",), states=EVERY), NOW, 500)
    return sorted(
        (
            fact.item.frame["predicate"],
            fact.item.frame["object"],
            fact.state,
            "" if fact.valid_to is None else f"{fact.valid_to:%Y-%m-%d}",
        )
        for fact in found
        if fact.item.frame is not None
    )


def learn(store: Store, knowledge: Knowledge, *turns: Memory) -> list[Change]:
    """Keep turns and learn from them, all at once."""
    return knowledge.learn(store, "default", store.insert("default", turns))


PORTO = turn(1, "I live in Porto.")
AGAIN = turn(2, "I live in Porto, by the way.")
LISBON = turn(9, "I moved to Lisbon last week.")


def test_what_is_said_twice_is_one_fact_with_both_sources(stores: Stores, knowledge: Knowledge) -> None:
    with stores.write() as store:
        changes = learn(store, knowledge, PORTO) + learn(store, knowledge, AGAIN)
        (fact,) = store.select("default", Selection(kinds=("fact",)), NOW, 9)
    assert [change.action for change in changes] == ["add", "confirm"]
    assert fact.sources == (PORTO.id, AGAIN.id)
    assert fact.item.frame == {"subject": "user", "predicate": "lives in", "object": "Porto", "negated": False}
    assert (fact.item.text, fact.item.scope) == ("user lives in Porto", ALICE)
    assert changes[1].memory_ids == (fact.id, AGAIN.id)


def test_a_new_value_of_a_slot_closes_the_old_one_when_it_began(stores: Stores, knowledge: Knowledge) -> None:
    with stores.write() as store:
        learn(store, knowledge, PORTO)
        changes = learn(store, knowledge, LISBON)
        assert facts(store) == [
            ("lives in", "Lisbon", "active", ""),
            ("lives in", "Porto", "superseded", "2026-03-16"),
        ]
        by_object = {f.item.frame["object"]: f for f in store.facts("default", ALICE, _slots(store)) if f.item.frame}
    assert sorted(change.action for change in changes) == ["add", "supersede"]
    supersede = next(change for change in changes if change.action == "supersede")
    assert supersede.memory_ids == (by_object["Lisbon"].id, by_object["Porto"].id)
    assert supersede.reason == "one home at a time"


def _slots(store: Store) -> list[str]:
    found = store.select("default", Selection(kinds=("fact",), states=EVERY), NOW, 500)
    return [str(fact.item.metadata["slot"]) for fact in found]


SAID = (
    PORTO,
    LISBON,
    turn(12, "I moved back to Porto yesterday."),
    turn(5, "I love sushi."),
    turn(7, "I don't love sushi."),
)


@pytest.mark.parametrize("order", list(permutations(range(len(SAID))))[::7])
def test_any_order_of_arrival_gives_the_same_facts(stores: Stores, clock: SetClock, order: tuple[int, ...]) -> None:
    learner = Knowledge(clock, Offset(SerialIds()))
    with stores.write() as store:
        for place in order:
            learn(store, learner, SAID[place])
        assert facts(store) == [
            ("lives in", "Lisbon", "superseded", "2026-03-25"),
            ("lives in", "Porto", "active", ""),
            ("lives in", "Porto", "superseded", "2026-03-16"),
            ("loves", "sushi", "active", ""),
            ("loves", "sushi", "active", ""),
        ]
        links = store.changes("default", 99, ChangeSelection(actions=("conflict",)))
        assert len(links) == 1
        newer, older = store.get("default", links[0].memory_ids)
        assert [(each.item.frame or {})["negated"] for each in (newer, older)] == [True, False]


def test_learning_the_same_twice_changes_nothing(stores: Stores, knowledge: Knowledge) -> None:
    with stores.write() as store:
        kept = store.insert("default", SAID)
        knowledge.learn(store, "default", kept)
        before = facts(store)
        assert knowledge.learn(store, "default", kept) == []
        assert facts(store) == before


def test_what_a_source_said_goes_when_it_is_forgotten_or_changed(stores: Stores, knowledge: Knowledge) -> None:
    with stores.write() as store:
        learn(store, knowledge, PORTO)
        (kept,) = store.get("default", [PORTO.id])
        changed = replace(kept, item=replace(kept.item, text="I live in Braga."), version=2)
        store.replace("default", changed)
        changes = knowledge.learn(store, "default", [changed])
        assert [change.action for change in changes] == ["add", "retract"]
        assert facts(store) == [("lives in", "Braga", "active", ""), ("lives in", "Porto", "superseded", "")]
        gone = replace(changed, state="forgotten", version=3)
        store.replace("default", gone)
        knowledge.learn(store, "default", [gone])
        assert [state for *_, state, _ in facts(store)] == ["superseded", "superseded"]


@pytest.fixture
def log(clock: SetClock, knowledge: Knowledge) -> ChangeLog:
    ids = SerialIds()
    for _ in range(5000):
        ids.new("chg")
    return ChangeLog(clock, ids, knowledge)


def test_an_undone_supersede_is_not_taken_again(stores: Stores, knowledge: Knowledge, log: ChangeLog) -> None:
    with stores.write() as store:
        changes = learn(store, knowledge, PORTO) + learn(store, knowledge, LISBON)
        supersede = next(change for change in changes if change.action == "supersede")
        undo = log.undo(store, WHO, supersede.id)
        both = [("lives in", "Lisbon", "active", ""), ("lives in", "Porto", "active", "")]
        assert facts(store) == both
        knowledge.learn(store, "default", store.get("default", [PORTO.id, LISBON.id]))
        learn(store, knowledge, turn(20, "I live in Lisbon."))
        assert facts(store) == both
        assert store.change("default", supersede.id) == replace(supersede, undone_by=undo.id)
        with pytest.raises(Conflict):
            log.undo(store, WHO, supersede.id)
        log.undo(store, WHO, undo.id)
        assert [state for *_, state, _ in facts(store)] == ["active", "superseded"]


def test_an_undone_fact_stays_away_and_an_undone_source_leaves_it(
    stores: Stores, knowledge: Knowledge, log: ChangeLog
) -> None:
    with stores.write() as store:
        add, confirm = learn(store, knowledge, PORTO) + learn(store, knowledge, AGAIN)
        log.undo(store, WHO, confirm.id)
        (fact,) = store.select("default", Selection(kinds=("fact",)), NOW, 9)
        assert fact.sources == (PORTO.id,)
        undo = log.undo(store, WHO, add.id)
        knowledge.learn(store, "default", store.get("default", [PORTO.id, AGAIN.id]))
        assert store.select("default", Selection(kinds=("fact",)), NOW, 9) == []
        log.undo(store, WHO, undo.id)
        assert [fact.id for fact in store.select("default", Selection(kinds=("fact",)), NOW, 9)] == [add.memory_ids[0]]


def test_a_change_outside_the_keys_scope_is_none(stores: Stores, knowledge: Knowledge, log: ChangeLog) -> None:
    bob = Principal("default", Scope("bob"))
    with stores.write() as store:
        (add,) = learn(store, knowledge, PORTO)
        (bobs,) = learn(store, knowledge, turn(3, "I live in Faro.", scope=Scope("bob")))
        for who in (bob, Principal("other")):
            with pytest.raises(NotFound):
                log.undo(store, who, add.id)
        assert [change.id for change in log.select(store, bob, ChangeSelection(), 9).items] == [bobs.id]
        assert len(log.select(store, WHO, ChangeSelection(), 9).items) == 2
        assert len(facts(store)) == 2


def test_nothing_is_learnt_from_an_assistant_a_document_or_what_was_derived(
    stores: Stores, knowledge: Knowledge
) -> None:
    with stores.write() as store:
        changes = learn(
            store,
            knowledge,
            turn(1, "I live in Porto.", role="assistant"),
            turn(2, "I live in Porto.", kind="document"),
            turn(3, "I live in Porto.", kind="fact"),
        )
    assert changes == []


def test_facts_of_people_who_talk_are_of_the_speaker(stores: Stores, knowledge: Knowledge) -> None:
    session = Scope(session_id="talk")
    with stores.write() as store:
        learn(
            store,
            knowledge,
            turn(1, "I live in Porto.", role=None, speaker="Ann", scope=session),
            turn(2, "I live in Faro.", role=None, speaker="Bob", scope=session),
        )
        found = store.select("default", Selection(kinds=("fact",), frame={"subject": "Ann"}), NOW, 9)
        assert [(fact.item.text, fact.item.scope) for fact in found] == [("Ann lives in Porto", session)]
        assert len(facts(store)) == 2


def test_an_unknown_time_is_when_it_was_recorded(stores: Stores, knowledge: Knowledge) -> None:
    with stores.write() as store:
        learn(
            store,
            knowledge,
            turn(1, "I live in Porto.", occurred_at=None),
            turn(2, "I live in Faro.", occurred_at=None),
        )
        found = {f.item.text: (f.valid_from, f.valid_to) for f in store.facts("default", ALICE, _slots(store))}
    assert found == {
        "user lives in Porto": (NOW + timedelta(seconds=1), NOW + timedelta(seconds=2)),
        "user lives in Faro": (NOW + timedelta(seconds=2), None),
    }


def test_the_callers_own_facts_are_left_alone(stores: Stores, knowledge: Knowledge) -> None:
    frame = {"subject": "user", "predicate": "lives in", "object": "Braga", "negated": False}
    with stores.write() as store:
        (own,) = store.insert(
            "default", [make_memory(50, "user lives in Braga", kind="fact", scope=ALICE, frame=frame)]
        )
        learn(store, knowledge, PORTO)
        assert store.get("default", [own.id]) == [own]


def test_facts_are_dated(stores: Stores, knowledge: Knowledge) -> None:
    said_at = datetime(2024, 5, 15, 12, tzinfo=UTC)
    with stores.write() as store:
        learn(
            store,
            knowledge,
            turn(1, "I've worked at Acme since 2019. I plan to visit Rome by June 1.", occurred_at=said_at),
        )
        found = {f.item.text: f for f in store.select("default", Selection(kinds=("fact",)), NOW, 9)}
    assert found["user plans to visit Rome"].item.metadata["due"]["start"] == "2024-06-01T00:00:00+00:00"
    assert found["user plans to visit Rome"].valid_from == said_at


def test_consolidation_learns_what_is_new_and_is_then_done(service: Service) -> None:
    def consolidate() -> int:
        place, written = None, 0
        while True:
            planned = service.consolidator.plan("default", place)
            with service.write_store() as store:
                place = service.consolidator.write(store, "default", planned)
            written = place.written
            if planned.ended:
                return written

    def add(text: str, day: int) -> None:
        item = Item(
            text, role="user", occurred_at=NOW + timedelta(days=day), scope=Scope("alice", session_id=f"s{day}")
        )
        with service.write_store() as store:
            service.memories.add(store, WHO, [item])

    add("I live in Porto.", 1)
    assert consolidate() == 1
    add("I moved to Lisbon yesterday.", 9)
    assert consolidate() == 3, "a fact, what it closed, an episode"
    assert consolidate() == 0
    with service.read_store() as store:
        assert facts(store) == [("lives in", "Lisbon", "active", ""), ("lives in", "Porto", "superseded", "2026-03-22")]
        seen = service.consolidator.seen(store, "default")
        assert store.newest_change("default") == seen


def test_two_races_in_two_years_are_two_facts_however_often_they_are_told(
    stores: Stores, knowledge: Knowledge, log: ChangeLog
) -> None:
    first, second = turn(1, "I ran the marathon in 2019."), turn(2, "I ran the marathon in 2021.")
    with stores.write() as store:
        learn(store, knowledge, first)
        learn(store, knowledge, second)
        assert knowledge.learn(store, "default", [first, second]) == []
        learn(store, knowledge, turn(3, "I ran the marathon in May 2021."))
        found = store.select("default", Selection(kinds=("fact",)), NOW, 9)
        assert sorted(fact.sources for fact in found) == [(first.id,), (second.id, turn(3, "").id)]
