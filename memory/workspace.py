"""The standing workspace: what episodes say, folded into one account of who was where, when, and did what. Pure.

    frames of memories -> Event -> fold: the same event told twice is one -> events in order -> where everybody stands

Invariants: the workspace is a function of the *set* of episodes: late, repeated and out-of-order arrivals give the same
one. Nothing is guessed: two accounts are one event when they name the same actors, action, object and time, and neither
says what the other denies; names are compared by case and blanks alone. Every event cites the memories that tell it.

Times of a frame are kept in the zone that they were written with, because "the 3rd" is a day where it happened.

Source: the reconciler and workspace of the Generative Semantic Workspace (GSW): operator frames are merged into a
persistent state of actors, roles, states, space and time.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from memory.facts import plain
from memory.frames import check_frame, moment
from memory.model import Memory

# Not `object`: an event has a field of that name.
Account = tuple[Any, ...]
_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody, or something that acts, in one event."""

    name: str
    role: str | None = None
    state: str | None = None

    @property
    def key(self) -> str:
        """What makes two names the same."""
        return plain(self.name)


@dataclass(frozen=True)
class Event:
    """What happened.

    Attributes:
        start: when it began; of an event with an unknown time when it was recorded (`dated` is False).
        end: when it was over, exclusive; None: it is told as a moment.
        memory_ids: the memories that tell it, by id.
    """

    actors: tuple[Actor, ...]
    action: str | None
    object: str | None
    place: str | None
    start: datetime
    end: datetime | None
    dated: bool
    memory_ids: tuple[str, ...]

    @cached_property
    def order(self) -> tuple[datetime, datetime, str]:
        """Where it stands among all events, however late it came."""
        told = [self.action, self.object, self.place, [[a.name, a.role, a.state] for a in self.actors]]
        return (self.start, self.until, json.dumps(told))

    @property
    def until(self) -> datetime:
        """The end of `[start, until)`, which is never empty."""
        if self.end is not None:
            return self.end
        return self.start + _INSTANT if self.start < datetime.max.replace(tzinfo=UTC) - _INSTANT else self.start

    @cached_property
    def same(self) -> Account:
        """What two accounts of one event have in common."""
        names = frozenset(actor.key for actor in self.actors)
        return (self.dated, self.start, self.end, names, plain(self.action or ""), plain(self.object or ""))

    def actor(self, name: str) -> Actor | None:
        """Who of its actors has this name."""
        wanted = plain(name)
        return next((actor for actor in self.actors if actor.key == wanted), None)


@dataclass(frozen=True, slots=True)
class Known:
    """A value, and the event that it is known from."""

    value: str
    event: Event


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of an actor: each from the last event that tells it.

    Attributes:
        name: as it was last written.
        last: the last event with this actor.
    """

    name: str
    last: Event
    role: Known | None
    state: Known | None
    place: Known | None


@dataclass(frozen=True)
class Workspace:
    """Events in the order of time; see `fold`."""

    events: tuple[Event, ...]

    def standings(self, at: datetime | None = None) -> list[Standing]:
        """Everybody who acted before or at a moment (None: ever), as they stood then, by name."""
        told: defaultdict[str, list[tuple[Actor, Event]]] = defaultdict(list)
        for event in self.events:
            if at is None or event.start <= at:
                for actor in event.actors:
                    told[actor.key].append((actor, event))
        return [_standing(told[key]) for key in sorted(told)]


def event_of(memory: Memory) -> Event | None:
    """What an episode says; None where it has no frame that says it."""
    item = memory.item
    if item.kind != "episode" or item.frame is None or check_frame("episode", item.frame, ""):
        return None
    frame = item.frame
    time = frame.get("time") or {}
    named = moment(time.get("start"))
    return Event(
        actors=tuple(Actor(a["name"], a.get("role"), a.get("state")) for a in frame.get("actors") or ()),
        action=frame.get("action"),
        object=frame.get("object"),
        place=frame.get("place"),
        start=named or item.occurred_at or memory.created_at,
        end=moment(time.get("end")),
        dated=(named or item.occurred_at) is not None,
        memory_ids=(memory.id,),
    )


def fold(events: Iterable[Event]) -> Workspace:
    """The workspace that events make, in whatever order they are given."""
    alike: defaultdict[Account, list[Event]] = defaultdict(list)
    for event in dict.fromkeys(events):
        alike[event.same].append(event)
    folded = [one for group in alike.values() for one in _reconciled(group)]
    return Workspace(tuple(sorted(folded, key=lambda event: (event.order, event.memory_ids))))


def micros(at: datetime) -> int:
    """Microseconds since the year 1: a moment as a number that sorts like it."""
    return (at - _EPOCH) // _INSTANT


def _reconciled(group: Sequence[Event]) -> list[Event]:
    """Accounts of what may be one event: one, where none denies another, with what each of them adds."""
    if len(group) == 1:
        return list(group)
    if not _agree(group):
        by_account: defaultdict[Account, list[Event]] = defaultdict(list)
        for event in group:
            by_account[_account(event)].append(event)
        return [_joined(each) for each in by_account.values()]
    return [_joined(group)]


def _account(event: Event) -> Account:
    """What an account says beyond what it has in common with others."""
    told = frozenset((actor.key, plain(actor.role or ""), plain(actor.state or "")) for actor in event.actors)
    return (plain(event.place or ""), told)


def _agree(group: Sequence[Event]) -> bool:
    said: defaultdict[Any, set[str]] = defaultdict(set)
    for event in group:
        said["place"].add(plain(event.place or ""))
        for actor in event.actors:
            said[actor.key, "role"].add(plain(actor.role or ""))
            said[actor.key, "state"].add(plain(actor.state or ""))
    return all(len(values - {""}) <= 1 for values in said.values())


def _joined(group: Sequence[Event]) -> Event:
    """One event of accounts that agree: each field from the first account, in order, that tells it."""
    ordered = sorted(group, key=lambda event: (event.order, event.memory_ids))
    first = ordered[0]
    actors = tuple(
        Actor(
            actor.name,
            actor.role or next((a.role for e in ordered if (a := e.actor(actor.name)) and a.role), None),
            actor.state or next((a.state for e in ordered if (a := e.actor(actor.name)) and a.state), None),
        )
        for actor in first.actors
    )
    cited = sorted({memory_id for event in group for memory_id in event.memory_ids})
    place = next((event.place for event in ordered if event.place), None)
    return replace(first, actors=actors, place=place, memory_ids=tuple(cited))


def _standing(told: Sequence[tuple[Actor, Event]]) -> Standing:
    name, last = told[-1][0].name, told[-1][1]
    back = told[::-1]
    return Standing(
        name,
        last,
        next((Known(actor.role, event) for actor, event in back if actor.role), None),
        next((Known(actor.state, event) for actor, event in back if actor.state), None),
        next((Known(event.place, event) for _, event in back if event.place), None),
    )
