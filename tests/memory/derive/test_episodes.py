"""Episodes by rule: only what speakers say they did, and when; nothing else."""

from datetime import UTC, datetime
from typing import Any

import pytest

from memory.derive.episodes import DERIVER, FirstPersonEpisodes
from memory.frames import check_frame
from memory.lookups import Lookups, asked
from memory.model import Memory, Selection
from memory.workspace import event_of, fold
from recalld.bootstrap import Service
from tests.conftest import NOW, WHO, SetClock, make_memory

TODAY = datetime(2026, 6, 10, 9, tzinfo=UTC)


def derived(text: str, **fields: Any) -> list[dict[str, Any]]:
    given = {"speaker": "Ann", "occurred_at": TODAY} | fields
    found = FirstPersonEpisodes().derive([make_memory(1, text, **given)], frozenset())
    frames = [dict(each.item.frame or {}) for each in found]
    assert [check_frame("episode", frame, "frame") for frame in frames] == [[]] * len(frames)
    return frames


def frame(action: str, thing: str, start: str, end: str, name: str = "Ann") -> dict[str, Any]:
    time = {"start": f"{start}T00:00:00+00:00", "end": f"{end}T00:00:00+00:00"}
    return {"actors": [{"name": name}], "action": action, "object": thing, "time": time}


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("I bought a red canoe yesterday.", [frame("bought", "a red canoe", "2026-06-09", "2026-06-10")]),
        ("We moved to Lisbon on 3 May.", [frame("moved to", "Lisbon", "2026-05-03", "2026-05-04")]),
        ("Last week I visited Porto.", [frame("visited", "Porto", "2026-06-01", "2026-06-08")]),
        ("I won a prize in 2019!", [frame("won", "a prize", "2019-01-01", "2020-01-01")]),
        ("She bought a canoe yesterday.", []),
        ("I didn't buy a canoe yesterday.", []),
        ("I buy a canoe every year.", []),
        ("I've bought a canoe last week.", []),
        ("I bought a canoe.", []),
        ("I sold my car a few days ago.", []),
        ("I'll buy a canoe tomorrow.", []),
        ("Did I buy a canoe yesterday?", []),
        ('He said "I bought a canoe yesterday, really."', []),
    ],
)
def test_only_first_person_past_and_dated_gives_an_episode(text: str, frames: list[dict[str, Any]]) -> None:
    assert derived(text) == frames


def test_a_relative_time_needs_the_time_of_its_turn() -> None:
    assert derived("I bought a red canoe yesterday.", occurred_at=None) == []
    assert len(derived("I bought a red canoe on 3 May 2026.", occurred_at=None)) == 1


@pytest.mark.parametrize("fields", [{"role": "assistant"}, {"kind": "document"}, {"kind": "fact"}])
def test_only_what_people_say_is_read(fields: dict[str, Any]) -> None:
    assert derived("I bought a red canoe yesterday.", **fields) == []


def test_whoever_has_no_name_is_the_user_who_asks() -> None:
    (found,) = derived("I bought a red canoe yesterday.", speaker=None, role="user")
    assert found["actors"] == [{"name": "user"}]
    event = event_of(make_memory(1, kind="episode", frame=found))
    assert event is not None
    question = asked("What did I buy yesterday?", TODAY)
    assert question is not None
    answer = Lookups(fold([event])).answer(question)
    assert answer is not None
    assert answer.events == (event,)


def test_an_episode_says_what_was_done_and_rests_on_its_turn() -> None:
    turn = make_memory(1, "I moved to Lisbon yesterday.", speaker="Ann", occurred_at=TODAY)
    (made,) = FirstPersonEpisodes().derive([turn], frozenset())
    assert (made.item.text, made.sources) == ("Ann moved to Lisbon", (turn.id,))
    assert made.item.occurred_at == datetime(2026, 6, 9, tzinfo=UTC)


def consolidate(service: Service) -> None:
    place, ended = None, False
    while not ended:
        planned = service.consolidator.plan("default", place)
        with service.write_store() as store:
            place = service.consolidator.write(store, "default", planned)
        ended = planned.ended


def episodes(service: Service) -> list[Memory]:
    with service.read_store() as store:
        return store.select("default", Selection(kinds=("episode",)), service.clock.now(), 9)


def test_consolidation_keeps_episodes_in_step_with_their_turns(service: Service, clock: SetClock) -> None:
    with service.write_store() as store:
        item = make_memory(1, "I bought a red canoe yesterday.", occurred_at=NOW, role="user").item
        (turn,) = service.memories.add(store, WHO, [item])
    consolidate(service)
    (made,) = episodes(service)
    assert (made.deriver, made.sources, made.item.text) == (DERIVER, (turn.id,), "user bought a red canoe")
    consolidate(service)
    assert episodes(service) == [made]
    with service.write_store() as store:
        service.memories.update(store, WHO, turn.id, {"text": "I sold a boat yesterday."}, None)
    consolidate(service)
    assert [each.item.text for each in episodes(service)] == ["user sold a boat"]
    with service.write_store() as store:
        service.memories.set_state(store, WHO, turn.id, "forgotten")
    consolidate(service)
    assert episodes(service) == []
