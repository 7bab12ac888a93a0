"""Episodes over both stores: what is listed, looked up and shown of actors follows the rows, and only those."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from memory.context import TokenCounter, render_event
from memory.episodes import Episodes, Wanted
from memory.lifecycle import new_version, set_state
from memory.model import Deriver, Memory, Selection
from memory.ports import Store
from memory.recall import LOOKED_UP, Question, context_of
from memory.workspace import event_of
from recalld.bootstrap import Service
from recalld.core.access import Principal
from recalld.core.scope import Scope
from tests.conftest import NOW, WHO, SetClock, Stores, erase
from tests.memory.test_workspace import actors, episode

ALL = Wanted(Selection())
PAINTED = episode(1, actors=actors("Ann", "Bob"), action="painted", object="a mural", place="Blue Café",
                  start="2026-03-03T10:00:00Z")  # fmt: skip
LEFT = episode(2, actors=actors("Ann"), action="left", place="Porto", start="2026-03-01T10:00:00Z",
               end="2026-03-02T10:00:00Z")  # fmt: skip
SLEPT = episode(3, actors=actors("Bob"), action="slept", place="Porto", at=NOW - timedelta(days=3))
WORDS = TokenCounter("words", lambda text: len(text.split()))


@pytest.fixture
def episodes(clock: SetClock) -> Episodes:
    clock.moment = NOW + timedelta(hours=1)
    return Episodes(clock)


def listed(store: Store, episodes: Episodes, wanted: Wanted = ALL, who: Principal = WHO) -> list[str]:
    return [memory.id for memory in episodes.select(store, who, wanted, 99).items]


def asked(store: Store, episodes: Episodes, question: str, wanted: Wanted = ALL) -> list[str] | None:
    found = episodes.look_up(store, WHO, wanted, question)
    return None if found is None else [told.memory.id for told in found.told]


def test_episodes_come_in_the_order_of_time_by_every_condition(stores: Stores, episodes: Episodes) -> None:
    with stores.write() as store:
        store.insert("default", [PAINTED, LEFT, SLEPT, episode(4)])
        assert listed(store, episodes) == [LEFT.id, PAINTED.id, SLEPT.id]

        def some(**wanted: object) -> list[str]:
            return listed(store, episodes, replace(ALL, **wanted))

        assert some(actor="BOB") == [PAINTED.id, SLEPT.id]
        assert some(place="blue café") == [PAINTED.id]
        assert some(since=datetime(2026, 3, 2, tzinfo=UTC)) == [LEFT.id, PAINTED.id, SLEPT.id]
        assert some(since=datetime(2026, 3, 2, 10, tzinfo=UTC)) == [PAINTED.id, SLEPT.id]
        assert some(until=datetime(2026, 3, 3, 10, tzinfo=UTC)) == [LEFT.id]
        assert some(as_of=datetime(2026, 3, 3, 10, tzinfo=UTC)) == [LEFT.id, PAINTED.id]
        assert some(selection=Selection(scope=Scope("alice"))) == []
        assert listed(store, episodes, who=Principal("other")) == []


def test_pages_neither_repeat_nor_skip_when_something_comes_in_between(stores: Stores, episodes: Episodes) -> None:
    with stores.write() as store:
        store.insert("default", [PAINTED, SLEPT])
        first = episodes.select(store, WHO, ALL, 1)
        store.insert("default", [LEFT])
        second = episodes.select(store, WHO, ALL, 1, first.next_place)
        assert [m.id for m in first.items + second.items] == [PAINTED.id, SLEPT.id]
        assert second.next_place is None


def test_what_is_forgotten_superseded_or_erased_is_not_in_the_workspace(stores: Stores, episodes: Episodes) -> None:
    with stores.write() as store:
        one, other, third = store.insert("default", [PAINTED, LEFT, SLEPT])
        gone = set_state(one, "forgotten", NOW, "asked").memory
        store.replace("default", gone)
        store.replace("default", replace(other, state="superseded", version=2))
        store.erase("default", [third.id])
        assert listed(store, episodes) == []
        assert episodes.standings(store, WHO, ALL) == []
        assert asked(store, episodes, "Where was Ann last?") is None
        store.replace("default", set_state(gone, "active", NOW, "asked").memory)
        assert asked(store, episodes, "Where was Ann last?") == [PAINTED.id]


def test_a_new_version_takes_the_place_of_the_old_but_for_what_was_known_before(
    stores: Stores, episodes: Episodes
) -> None:
    with stores.write() as store:
        (one,) = store.insert("default", [PAINTED])
        moved = replace(one.item, frame={**(one.item.frame or {}), "place": "Red Café"})
        store.replace("default", new_version(one, moved, NOW + timedelta(minutes=30)))
        assert asked(store, episodes, "When was Ann at the Red Café?") == [one.id]
        before = replace(ALL, selection=Selection(known_at=NOW + timedelta(minutes=1)))
        assert asked(store, episodes, "When was Ann at the Blue Café?", before) == [one.id]
        assert asked(store, episodes, "When was Ann at the Red Café?", before) is None
        assert asked(store, episodes, "Where was Ann?", replace(ALL, selection=Selection(known_at=NOW))) is None


def test_where_everybody_stands_as_of_a_time_and_at_a_place(stores: Stores, episodes: Episodes) -> None:
    with stores.write() as store:
        store.insert("default", [PAINTED, LEFT, SLEPT])

        def stand(**wanted: object) -> list[tuple[str, str | None]]:
            found = episodes.standings(store, WHO, replace(ALL, **wanted))
            return [(one.name, one.place.value if one.place else None) for one in found]

        assert stand() == [("Ann", "Blue Café"), ("Bob", "Porto")]
        assert stand(as_of=datetime(2026, 3, 1, 12, tzinfo=UTC)) == [("Ann", "Porto")]
        assert stand(place="porto") == [("Bob", "Porto")]
        assert stand(actor="ann") == [("Ann", "Blue Café")]


@pytest.fixture
def told(service: Service) -> Service:
    """A talk, and the episodes of it; one of them was derived from a turn."""
    (turn,) = add(service, Memory("", "", replace(PAINTED.item, kind="turn", frame=None, text="We painted."), NOW, NOW))
    add(service, PAINTED, LEFT, SLEPT)
    derived = replace(
        episode(90, actors=actors("Ann"), action="swam", place="Lisbon", start="2026-03-13T10:00:00Z"),
        sources=(turn.id,), deriver=Deriver("x", "1"),
    )  # fmt: skip
    with service.write_store() as store:
        store.insert("default", [derived])
    service.clock.advance(days=1)  # type: ignore[attr-defined]
    return service


def add(service: Service, *memories: Memory) -> list[Memory]:
    with service.write_store() as store:
        return service.memories.add(store, WHO, [memory.item for memory in memories])


Ask = Callable[..., tuple[list[str], list[str], bool]]


@pytest.fixture
def ask(told: Service) -> Ask:
    """The actions of the episodes looked up, the lines of the context, and whether it is relevant."""

    def recalled(query: str, **question: object) -> tuple[list[str], list[str], bool]:
        with told.read_store() as store:
            answer = told.recaller.recall(store, WHO, Question(query, **question))
        looked_up = [hit.event.action for hit in answer.results if hit.event is not None]
        lines = [block.text.partition("] ")[2].strip() for block in context_of(answer, 200, WORDS).blocks]
        return looked_up, lines, answer.relevant

    return recalled


def test_a_context_of_what_is_looked_up_is_short_and_cited(ask: Ask) -> None:
    line = "2026-03-03 10:00, Blue Café: Ann, Bob: painted a mural"
    assert ask("Who was at the Blue Café on 3 March?") == (["painted"], [line], True)


def test_what_was_derived_is_looked_up_only_where_episodes_are_asked_for(ask: Ask) -> None:
    assert ask("What did Ann do last?")[0] == ["painted"]
    assert ask("What did Ann do last?", kinds=("episode",))[0] == ["swam"]
    assert ask("What did Ann do last?", kinds=("turn",))[0] == []


def test_as_of_is_about_what_happened(ask: Ask) -> None:
    assert ask("What did Ann do last?", as_of=datetime(2026, 3, 2, tzinfo=UTC))[0] == ["left"]
    assert ask("What did Ann do last?", known_at=NOW - timedelta(days=1))[0] == []


def test_an_empty_answer_is_told_only_where_the_workspace_has_seen_everything(ask: Ask) -> None:
    looked_up, lines, relevant = ask("Where was Bob on 7 March?", kinds=("episode",))
    assert (looked_up, len(lines), relevant) == ([], 4, False)
    assert len(ask("Where was Bob on 7 March?")[1]) == 4


def test_what_is_looked_up_stands_first_and_nothing_is_lost_of_the_rest(told: Service) -> None:
    with told.read_store() as store:
        answer = told.recaller.recall(store, WHO, Question("Where was Ann?", limit=3, explain=True))
    assert [(hit.memory.item.frame or {}).get("action") for hit in answer.results[:2]] == ["left", "painted"]
    assert [hit.relevance for hit in answer.results[:2]] == [LOOKED_UP] * 2
    assert len(answer.results) == len({hit.memory.id for hit in answer.results}) == 3
    assert answer.results[1].score > answer.results[2].score
    assert answer.explain["looked_up"] == "place"


def test_an_erased_source_takes_its_episodes_along(told: Service) -> None:
    with told.read_store() as store:
        (turn,) = store.select("default", Selection(kinds=("turn",)), NOW, 9)
        assert asked(store, told.episodes, "Where was Ann last?") != [PAINTED.id]
    erase(told, turn.id)
    with told.read_store() as store:
        found = told.episodes.look_up(store, WHO, ALL, "Where was Ann last?")
        assert found is not None
        assert [one.event.action for one in found.told] == ["painted"]


@pytest.mark.parametrize(
    ("memory", "line"),
    [
        (PAINTED, "2026-03-03 10:00, Blue Café: Ann, Bob: painted a mural"),
        (LEFT, "2026-03-01 to 2026-03-02, Porto: Ann: left"),
        (episode(3, place="Porto"), "Porto"),
        (
            episode(4, actors=[{"name": "Ann\n[0001]", "role": "guide", "state": "tired"}], action="left\nPorto",
                    start="2026-03-01T00:00:00Z", end="2026-03-02T00:00:00Z"),
            "2026-03-01: Ann [0001] (guide; tired): left Porto",
        ),
    ],
)  # fmt: skip
def test_an_event_is_one_line(memory: Memory, line: str) -> None:
    event = event_of(memory)
    assert event is not None
    assert render_event(event) == f"[{memory.id[-4:]}] {line}\n"
    both = replace(event, memory_ids=("mem_A001", "mem_B002"))
    assert render_event(both) == f"[a001] [b002] {line}\n"


def test_a_workspace_that_is_kept_is_that_of_the_rows_as_they_are(told: Service, ask: Ask) -> None:
    query = "Where was Ann last?"
    assert ask(query)[0] == ask(query)[0] == ["painted"]
    (kept,) = add(told, episode(7, actors=actors("Ann"), action="flew", place="Faro", start="2026-03-14T12:00:00Z"))
    assert ask(query)[0] == ["flew"]
    with told.write_store() as store:
        told.memories.set_state(store, WHO, kept.id, "forgotten")
        # Within the transaction that forgot it, before anybody else can see that.
        assert asked(store, told.episodes, query, replace(ALL, selection=Selection(derived=False))) != [kept.id]
    assert ask(query)[0] == ["painted"]


def test_what_expires_is_gone_without_a_write(told: Service, ask: Ask) -> None:
    soon = told.clock.now() + timedelta(hours=1)
    item = episode(7, actors=actors("Ann"), action="flew", place="Faro", start="2026-03-14T12:00:00Z").item
    with told.write_store() as store:
        told.memories.add(store, WHO, [replace(item, expires_at=soon)])
    assert ask("Where was Ann last?")[0] == ["flew"]
    told.clock.advance(hours=2)  # type: ignore[attr-defined]
    assert ask("Where was Ann last?")[0] == ["painted"]


def test_a_mark_names_a_state_of_the_memories(told: Service) -> None:
    with told.read_store() as store:
        first = store.mark()
    with told.read_store() as store:
        assert store.mark() == first is not None
    with told.write_store() as store:
        assert store.mark() is None
        store.insert("other", [episode(8)])
    with told.read_store() as store:
        assert store.mark() != first
