"""The workspace: the same whatever came first, one event for accounts that agree, and where everybody stands."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.model import Memory
from memory.workspace import Actor, Event, Workspace, event_of, fold, micros
from tests.conftest import NOW, make_memory


def episode(number: int, *, start: str | None = None, end: str | None = None, **frame: Any) -> Memory:
    """An episode; `start` and `end` are its frame's, `at` is when it was told."""
    at = frame.pop("at", None)
    given = {name: value for name, value in frame.items() if value is not None}
    if start is not None:
        given["time"] = {"start": start} | ({"end": end} if end else {})
    return make_memory(number, kind="episode", frame=given, occurred_at=at)


def actors(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


def folded(*memories: Memory) -> Workspace:
    return fold(event for memory in memories if (event := event_of(memory)) is not None)


DAY = "2026-05-03T10:00:00Z"


def test_an_episode_without_a_fitting_frame_tells_no_event() -> None:
    assert event_of(make_memory(1, kind="episode")) is None
    assert event_of(make_memory(1, kind="episode", frame={"actors": [7]})) is None
    assert event_of(make_memory(1, kind="fact", frame={"place": "Porto"})) is None


def test_when_an_event_is() -> None:
    named = event_of(episode(1, place="Porto", start="2026-05-03T10:00:00+02:00", at=NOW))
    told, unknown = event_of(episode(2, place="Porto", at=NOW)), event_of(episode(3, place="Porto"))
    assert named is not None
    assert told is not None
    assert unknown is not None
    assert (named.start.isoformat(), named.dated) == ("2026-05-03T10:00:00+02:00", True)
    assert (told.start, told.dated) == (NOW, True)
    assert (unknown.start, unknown.dated) == (NOW + timedelta(seconds=3), False)


def test_accounts_of_one_event_are_joined_with_what_each_adds() -> None:
    one = episode(1, actors=actors("Ann"), action="painted", object="a mural", start=DAY)
    other = episode(2, actors=[{"name": "ann", "role": "guide"}], action="Painted", object="the mural",
                    place="Blue Café", start="2026-05-03T12:00:00+02:00")  # fmt: skip
    (event,) = folded(one, other).events
    assert event.memory_ids == (one.id, other.id)
    assert (event.place, event.actors[0].role) == ("Blue Café", "guide")


@pytest.mark.parametrize(
    "other",
    [
        {"place": "Red Café"},
        {"object": "a poster"},
        {"actors": actors("Ann", "Bob")},
        {"start": "2026-05-04T10:00:00Z"},
        {"end": "2026-05-03T11:00:00Z"},
        {"actors": [{"name": "Ann", "role": "cook"}]},
    ],
)
def test_what_denies_or_differs_is_another_event(other: dict[str, Any]) -> None:
    told: dict[str, Any] = {
        "actors": [{"name": "Ann", "role": "guide"}], "action": "painted", "object": "a mural",
        "place": "Blue Café", "start": DAY,
    }  # fmt: skip
    assert len(folded(episode(1, **told), episode(2, **told | other)).events) == 2
    assert len(folded(episode(1, **told), episode(2, **told)).events) == 1


def test_where_everybody_stands_is_the_last_that_is_told_of_each_thing() -> None:
    workspace = folded(
        episode(1, actors=[{"name": "Ann", "role": "guide", "state": "tired"}], place="Porto", start=DAY),
        episode(2, actors=actors("Bob", "ANN"), action="left", start="2026-05-05T10:00:00Z"),
        episode(3, actors=actors("Ann"), action="arrived", place="Lisbon", start="2026-05-09T10:00:00Z"),
    )
    ann, bob = workspace.standings(datetime(2026, 5, 6, tzinfo=UTC))
    assert (ann.name, ann.last.action, bob.name, bob.place) == ("ANN", "left", "Bob", None)
    assert [known.value for known in (ann.place, ann.role, ann.state) if known] == ["Porto", "guide", "tired"]
    now, _ = workspace.standings()
    assert now.place is not None
    assert (now.place.value, now.place.event.memory_ids, now.last.action) == ("Lisbon", (make_memory(3).id,), "arrived")
    assert workspace.standings(datetime(2026, 5, 1, tzinfo=UTC)) == []


NAMES = st.sampled_from(["Ann", "ann", "Bob", "Zoë", "Ann Lee"])
PHRASES = st.none() | st.sampled_from(["painted", "The Mural", "the mural", "Blue Café", "Porto"])
ACTORS = st.fixed_dictionaries({"name": NAMES}, optional={"role": st.sampled_from(["guide", "cook"])})
FRAMES = st.fixed_dictionaries(
    {
        "actors": st.lists(ACTORS, min_size=1, max_size=2),
        "action": PHRASES,
        "object": PHRASES,
        "place": PHRASES,
        "start": st.none() | st.sampled_from([DAY, "2026-05-03T12:00:00+02:00", "2026-05-04T10:00:00Z"]),
    }
)  # fmt: skip


@given(st.data(), st.lists(FRAMES, max_size=8))
def test_late_and_out_of_order_arrivals_give_the_same_workspace(
    data: st.DataObject, frames: list[dict[str, Any]]
) -> None:
    memories = [episode(number, **frame) for number, frame in enumerate(frames, 1)]
    shuffled = data.draw(st.permutations(memories))
    first, second = folded(*memories), folded(*shuffled)
    assert first == second
    assert first.standings() == second.standings()
    assert [event.start.utcoffset() for event in first.events] == [event.start.utcoffset() for event in second.events]
    cited = sorted(memory_id for event in first.events for memory_id in event.memory_ids)
    assert cited == sorted(memory.id for memory in memories)
    assert [event.start for event in first.events] == sorted(event.start for event in first.events)


@given(st.lists(FRAMES, max_size=8))
def test_what_is_told_again_changes_nothing(frames: list[dict[str, Any]]) -> None:
    memories = [episode(number, **frame) for number, frame in enumerate(frames, 1)]
    assert folded(*memories, *reversed(memories)) == folded(*memories)


def test_the_last_moment_there_is_has_an_end() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    event = Event((Actor("Ann"),), None, None, "Porto", last, None, True, ("mem_1",))
    assert event.until == last
    assert micros(last) < 2**63
