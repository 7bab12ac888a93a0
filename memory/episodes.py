"""The use cases on episodes: list them in the order of time, see where everybody stands, look up a question.

Everything is computed from rows when it is asked for, so nothing can be stale: what was erased, forgotten or superseded
is not read, a new version replaces the old one. What was derived counts only where it is asked for, as in recall.
`as_of` hides what began later, `known_at` what was recorded later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from memory.facts import plain
from memory.lifecycle import as_known
from memory.lookups import Answer, Lookups, asked
from memory.model import Memory, Selection
from memory.ports import MemoryStore
from memory.workspace import Event, Standing, event_of, fold, micros
from recalld.core.access import Principal
from recalld.core.clock import Clock
from recalld.core.scope import Scope

EPISODES_READ_MAX = 20_000
"""Of a scope that has more, the newest arrivals."""
WORKSPACES_KEPT = 16
"""How many are kept for the next question: each is used only until anything is written anywhere."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which episodes: every field that is given must match.

    Attributes:
        selection: scope, filter, `known_at`, and whether they may be derived.
        actor, place: a whole name; case and blanks do not count.
        since, until: those that were going on within `[since, until)`.
        as_of: those that had begun.
    """

    selection: Selection
    actor: str | None = None
    place: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None

    def holds(self, event: Event) -> bool:
        """Whether an event is meant."""
        return all(
            (
                self.actor is None or event.actor(self.actor) is not None,
                self.place is None or plain(event.place or "") == plain(self.place),
                self.since is None or event.until > self.since,
                self.until is None or event.start < self.until,
                self.as_of is None or event.start <= self.as_of,
            )
        )


@dataclass(frozen=True, slots=True)
class Told:
    """A memory, and the event that it tells."""

    memory: Memory
    event: Event

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in a list: the time as a number, then the row."""
        return (micros(self.event.start.astimezone(UTC)), self.memory.row)


@dataclass(frozen=True, slots=True)
class EpisodePage:
    """A part of a list, in the order of time; `next_place` continues it, None at its end."""

    items: list[Memory]
    next_place: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class LookUp:
    """What the workspace answers: each event, and the first memory that tells it."""

    answer: Answer
    told: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A workspace as it was at a mark of the store, and the memories that it is of."""

    mark: object
    lookups: Lookups
    by_id: Mapping[str, Memory]


class Episodes:
    """See the module's docstring."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[object, _Kept] = {}

    def select(
        self, store: MemoryStore, who: Principal, wanted: Wanted, limit: int, after: tuple[int, int] | None = None
    ) -> EpisodePage:
        """Memories that tell an event, earliest first, behind the place `after`."""
        found = [told for told in self._read(store, who, wanted) if after is None or told.place > after]
        found.sort(key=lambda told: told.place)
        page = found[:limit]
        return EpisodePage([told.memory for told in page], page[-1].place if len(found) > limit else None)

    def standings(self, store: MemoryStore, who: Principal, wanted: Wanted) -> list[Standing]:
        """Where everybody stood at `as_of` (None: now), by name; `actor` and `place` are of where they stand."""
        at = wanted.as_of or self._clock.now()
        everything = self._read(store, who, replace(wanted, actor=None, place=None, as_of=at))
        return [
            one
            for one in fold(told.event for told in everything).standings()
            if (wanted.actor is None or plain(one.name) == plain(wanted.actor))
            and (wanted.place is None or (one.place is not None and plain(one.place.value) == plain(wanted.place)))
        ]

    def look_up(
        self, store: MemoryStore, who: Principal, wanted: Wanted, query: str, now: datetime | None = None
    ) -> LookUp | None:
        """What the workspace answers to a question; None where it is no look-up, or there are no episodes.

        Args:
            now: the time from which "yesterday" is read; None: the clock's.
        """
        question = asked(query, now or wanted.as_of or self._clock.now())
        if question is None:
            return None
        kept = self._workspace(store, who, wanted)
        answer = kept.lookups.answer(question)
        if answer is None:
            return None
        return LookUp(answer, tuple(Told(kept.by_id[event.memory_ids[0]], event) for event in answer.events))

    def _workspace(self, store: MemoryStore, who: Principal, wanted: Wanted) -> _Kept:
        """The workspace of a selection: read again where anything was written since, else as it was."""
        scope, asked_for = _within(who, wanted), wanted.selection
        # A filter is a tree, and seldom the same twice.
        mark = store.mark() if asked_for.filter is None else None
        key = (who.namespace, scope, asked_for.known_at, asked_for.derived, wanted.as_of)
        known = self._kept.get(key)
        if mark is not None and known is not None and known.mark == mark:
            return known
        read = self._read(store, who, wanted)
        kept = _Kept(mark, Lookups(fold(told.event for told in read)), {told.memory.id: told.memory for told in read})
        # What expires changes without a write.
        if mark is not None and all(told.memory.item.expires_at is None for told in read):
            self._kept.pop(key, None)
            self._kept[key] = kept
            for oldest in list(self._kept)[:-WORKSPACES_KEPT]:
                self._kept.pop(oldest, None)
        return kept

    def _read(self, store: MemoryStore, who: Principal, wanted: Wanted) -> list[Told]:
        selection = replace(wanted.selection, scope=_within(who, wanted), kinds=("episode",))
        found = store.select(who.namespace, selection, self._clock.now(), EPISODES_READ_MAX)
        known = (known_version(store, memory, selection.known_at) for memory in found)
        events = ((memory, event_of(memory)) for memory in known if memory.state == "active")
        return [Told(memory, event) for memory, event in events if event is not None and wanted.holds(event)]


def _within(who: Principal, wanted: Wanted) -> Scope:
    return wanted.selection.scope.within(who.bound)


def known_version(store: MemoryStore, memory: Memory, known_at: datetime | None) -> Memory:
    """The version of a memory that was current at `known_at`; None: the current one."""
    if known_at is None or memory.recorded_at <= known_at:
        return memory
    return as_known(store.history(memory.namespace, memory.id), known_at)
