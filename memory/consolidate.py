"""Consolidation: what is derived from memories is brought up to date with what changed, and with nothing else.

The change log is the feed. For each namespace and deriver a watermark says up to which change it has been seen; a run
takes the changes above it, finds the sessions that they touch, and derives those again, so that its cost grows with
what is new and not with what is stored (after RxT, event-driven memory). A memory outside any session is derived by
itself. What derivers write is logged as `derive`, which the feed leaves out.

    changes above the watermark -> sessions touched -> Deriver.derive (pure) -> compare with what is there -> write

Invariants: deriving again changes nothing; a derived row names its sources and its deriver, and one that is no longer
proposed is erased; one that its user forgot, or decay dropped, stays forgotten; what is written rests on sources that
have not changed since they were read, else it waits for the change that is in the feed. Only derived rows are touched.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

from memory.ingest import RESERVED_EXTERNAL_ID
from memory.lifecycle import new_version
from memory.merge import decay_digest
from memory.model import Change, Deriver, Item, Memory
from memory.noise import is_noise_turn
from memory.ports import Store, StoreTransaction
from memory.reconcile import within
from recalld.core.clock import Clock
from recalld.core.ids import IdSource
from recalld.core.scope import EVERYTHING, SCOPE_FIELDS, Scope

# What one transaction may touch: memories read, and those of the changes that are taken together.
STEP_MEMORIES = 100
RANGE_MEMORIES = 5000
SESSION_MEMORIES_MAX = 2000


@dataclass(frozen=True, slots=True)
class Proposal:
    """A memory that a deriver would have.

    Attributes:
        key: its identity among this deriver's proposals for one session: the same key again is the same memory.
        item: its kind, text, frame and metadata; scope and external id are filled in.
        sources: ids of the memories that it rests on: when one is erased, it is too.
    """

    key: str
    item: Item
    sources: tuple[str, ...]
    valid_from: datetime | None = None
    valid_to: datetime | None = None


class Derives(Protocol):
    """Makes memories from memories: deterministic, and without a store."""

    @property
    def made_by(self) -> Deriver:
        """Its name and version; another version derives everything again."""
        ...

    def derive(self, memories: Sequence[Memory], changed: frozenset[str]) -> Sequence[Proposal]:
        """What follows from a session's active memories, in order; or from memories outside any.

        Args:
            changed: ids of those that are new or changed since this deriver saw them.

        Returns:
            everything that should be there for these memories, not only what is new.
        """
        ...


class Learns(Protocol):
    """Keeps what follows from memories of several sessions, and settles it with what is there itself."""

    @property
    def made_by(self) -> Deriver:
        """Its name and version; another version learns everything again."""
        ...

    def learn(self, store: Store, namespace: str, sources: Sequence[Memory]) -> Sequence[Change]:
        """Take in memories that are new or changed, in any state; a second time changes nothing."""
        ...


class Portrays(Protocol):
    """Keeps a picture of what stands for a person, built from what was derived before it."""

    @property
    def made_by(self) -> Deriver:
        """Its name and version; another version builds every picture again."""
        ...

    def rebuild(self, store: Store, namespace: str, scopes: Iterable[Scope]) -> int:
        """Build the pictures of whoever these scopes are of; returns how many rows that changed."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """How far a run is.

    Attributes:
        after, until: the changes at work are those above `after` up to `until`; None: the next ones have to be chosen.
        target: the newest change when the run began: it ends there.
        unit: the last exact scope that is done.
    """

    after: int
    target: int
    until: int | None = None
    unit: tuple[str | None, ...] | None = None
    done: int = 0
    written: int = 0
    removed: int = 0

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "Place":
        """From a saved cursor."""
        unit = saved["unit"]
        return cls(**{**saved, "unit": None if unit is None else tuple(unit)})

    def to_json(self) -> dict[str, Any]:
        """For a cursor."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Unit:
    """A session (or the changed memories outside any) as it was read, and what each deriver proposes for it."""

    scope: Scope
    memories: Sequence[Memory]
    proposed: Sequence[tuple[Deriver, Sequence[Proposal]]] = ()
    changed: Sequence[Memory] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """A step: units to write, and where the run is after it; `total` units are in the changes at work."""

    units: Sequence[Unit]
    place: Place
    ended: bool
    total: int = 0
    seen_until: int | None = None


class Consolidator:
    """Plans and writes steps. `recalld.bootstrap` hands in the tables of derivers, learners and pictures, and
    what a learner has to do before a step, outside of its transaction."""

    def __init__(
        self,
        derivers: Sequence[Derives],
        read: StoreTransaction,
        clock: Clock,
        ids: IdSource,
        learners: Sequence[Learns] = (),
        pictures: Sequence[Portrays] = (),
        prepare: Callable[[str], None] = lambda namespace: None,
    ) -> None:
        self._derivers = derivers
        self._learners = learners
        self._pictures = pictures
        self._prepare = prepare
        self._read = read
        self._clock = clock
        self._ids = ids

    def seen(self, store: Store, namespace: str) -> int:
        """Up to which change every deriver has seen the namespace."""
        everyone = self._everyone()
        if not everyone:
            return store.newest_change(namespace)
        return min(store.derived_until(namespace, made_by) for made_by in everyone)

    def _everyone(self) -> list[Deriver]:
        tables: tuple[Sequence[Derives | Learns | Portrays], ...] = (self._derivers, self._learners, self._pictures)
        return [each.made_by for table in tables for each in table]

    def plan(
        self,
        namespace: str,
        place: Place | None,
        scope: Scope = EVERYTHING,
        again: Sequence[Scope] = (),
        breathe: Callable[[], None] = lambda: None,
        alone: Sequence[str] = (),
    ) -> Planned:
        """The next step of a run.

        Args:
            place: where the last step ended; None at the beginning.
            scope: only what is in it; then the watermark stays, because others were not looked at.
            again: exact scopes to derive whether they changed or not, instead of what the feed says.
            alone: ids of the memories outside any session that are meant with those.
        """
        self._prepare(namespace)
        with self._read() as store:
            if place is None:
                place = Place(self.seen(store, namespace), store.newest_change(namespace))
            if not again and place.after >= place.target:
                return Planned((), place, True)
            if place.until is None:
                until = place.after if again else store.range_end(namespace, place.after, RANGE_MEMORIES)
                place = replace(place, until=min(until, place.target))
            assert place.until is not None
            touched = [] if again else store.changed(namespace, place.after, place.until)
            lone = [(memory.item.scope, memory.id) for memory in store.get(namespace, alone)]
        if again:
            return self._derived(namespace, place, again, None, breathe, alone=lone)
        inside = [(each, memory_id) for each, memory_id in touched if scope.covers(each)]
        changed = {each: [i for _, i in group] for each, group in groupby(inside, key=lambda pair: pair[0])}
        seen_until = place.until if scope == EVERYTHING else None
        return self._derived(namespace, place, list(changed), seen_until, breathe, changed)

    def write(self, store: Store, namespace: str, planned: Planned) -> Place:
        """Write a step, within the caller's transaction; returns the place with what it counted."""
        written = removed = 0
        changed: list[Memory] = []
        for unit in planned.units:
            if not self._unchanged(store, namespace, unit):
                continue
            for made_by, proposals in unit.proposed:
                wrote, erased = self.bring(store, namespace, unit, made_by, proposals)
                written, removed = written + wrote, removed + erased
            changed += unit.changed
        # At once, because what a learner compares with is the same for all sessions of a person.
        for learner in self._learners:
            written += len(learner.learn(store, namespace, changed))
        for picture in self._pictures:
            written += picture.rebuild(store, namespace, {unit.scope for unit in planned.units})
        if planned.seen_until is not None:
            for made_by in self._everyone():
                store.set_derived_until(namespace, made_by, planned.seen_until)
        place = planned.place
        return replace(place, written=place.written + written, removed=place.removed + removed)

    def _derived(
        self,
        namespace: str,
        place: Place,
        scopes: Sequence[Scope],
        seen_until: int | None,
        breathe: Callable[[], None],
        changed: Mapping[Scope, Sequence[str]] | None = None,
        alone: Sequence[tuple[Scope, str]] = (),
    ) -> Planned:
        """Derive as many of the scopes that follow as one step may hold."""
        order = sorted(scopes, key=_sort_key)
        left = [each for each in order if place.unit is None or _sort_key(each) > _sort_key(Scope(*place.unit))]
        units: list[Unit] = []
        size = 0
        for scope in left:
            breathe()
            ids = [one for where, one in alone if where == scope] if changed is None else changed.get(scope, ())
            with self._read() as store:
                memories = self._memories(store, namespace, scope, ids)
            active = _active(memories, self._clock.now())
            fresh = frozenset(ids) if changed is not None else frozenset(memory.id for memory in active)
            telling = [memory for memory in active if not is_noise_turn(memory)]
            proposed = [(each.made_by, each.derive(telling, fresh)) for each in self._derivers]
            units.append(Unit(scope, memories, proposed, [each for each in memories if each.id in fresh]))
            size += len(memories)
            if size >= STEP_MEMORIES:
                break
        done = place.done + len(units)
        if len(units) < len(left):
            place = replace(place, unit=units[-1].scope.values(), done=done)
            return Planned(units, place, False, done + len(left) - len(units))
        until = place.until if place.until is not None else place.after
        ended = changed is None or until >= place.target
        return Planned(units, replace(place, after=until, until=None, unit=None, done=done), ended, done, seen_until)

    def _memories(self, store: Store, namespace: str, scope: Scope, ids: Sequence[str]) -> list[Memory]:
        if scope.session_id is not None:
            return store.session(namespace, scope, SESSION_MEMORIES_MAX)
        return [memory for memory in store.get(namespace, ids) if memory.deriver is None]

    def _unchanged(self, store: Store, namespace: str, unit: Unit) -> bool:
        now = {memory.id: memory.version for memory in store.get(namespace, [memory.id for memory in unit.memories])}
        return all(now.get(memory.id) == memory.version for memory in unit.memories)

    def bring(
        self, store: Store, namespace: str, unit: Unit, made_by: Deriver, proposals: Sequence[Proposal]
    ) -> tuple[int, int]:
        """Make what is there be what is proposed; returns how many rows were written, and removed."""
        ids = [memory.id for memory in unit.memories]
        there = {memory.item.external_id: memory for memory in store.derived_by(namespace, made_by.name, ids)}
        wanted = {external_id(made_by, each.key): each for each in proposals}
        surplus = [m.id for name, m in there.items() if name not in wanted and m.state == "active"]
        if surplus:
            store.erase(namespace, surplus)
        now = self._clock.now()
        written: list[str] = []
        fresh: dict[str, Memory] = {}
        for name, each in wanted.items():
            existing = there.get(name)
            made = self._memory(namespace, unit.scope, name, each, made_by, now)
            if existing is None:
                fresh[within(decay_digest(name, made.sources), unit.scope)] = made
            elif existing.state == "active" and differs(existing, made):
                store.replace(namespace, next_version(existing, made, now))
                written.append(existing.id)
        dropped = store.decided(namespace, list(fresh)) - store.undone(namespace) if fresh else frozenset()
        kept = [memory for digest, memory in fresh.items() if digest not in dropped]
        written += [memory.id for memory in store.insert(namespace, kept)]
        if written:
            told = f"derived by {made_by.name} {made_by.version}"
            store.record_change(Change(self._ids.new("chg"), namespace, "derive", told, tuple(written), now))
        return len(written), len(surplus)

    def _memory(
        self, namespace: str, scope: Scope, name: str, proposal: Proposal, made_by: Deriver, now: datetime
    ) -> Memory:
        item = replace(proposal.item, scope=scope, external_id=name)
        return Memory(
            self._ids.new("mem"),
            namespace,
            item,
            created_at=now,
            recorded_at=now,
            valid_from=proposal.valid_from,
            valid_to=proposal.valid_to,
            sources=tuple(sorted(set(proposal.sources))),
            deriver=made_by,
        )


def next_version(existing: Memory, made: Memory, now: datetime) -> Memory:
    """The next version of a derived memory. Its links to sources stay: its older versions still tell of them."""
    return replace(
        new_version(existing, made.item, now),
        valid_from=made.valid_from,
        valid_to=made.valid_to,
        sources=tuple(sorted({*existing.sources, *made.sources})),
        deriver=made.deriver,
    )


def differs(existing: Memory, made: Memory) -> bool:
    """Whether what was made now says or rests on something else than what is there."""
    told = [(m.item, m.valid_from, m.valid_to, m.deriver) for m in (existing, made)]
    return told[0] != told[1] or not set(made.sources) <= set(existing.sources)


def external_id(made_by: Deriver, key: str) -> str:
    """What a derived memory is found by in its scope."""
    return f"{RESERVED_EXTERNAL_ID}{made_by.name}:{key}"


def _active(memories: Sequence[Memory], now: datetime) -> list[Memory]:
    return [m for m in memories if m.state == "active" and (m.item.expires_at is None or m.item.expires_at > now)]


def _sort_key(scope: Scope) -> tuple[str, ...]:
    return tuple("" if value is None else f"={value}" for value in scope.values())


def scopes_of(given: Sequence[Mapping[str, Any]]) -> Iterator[Scope]:
    """Scopes from JSON."""
    return (Scope(*(each.get(name) for name in SCOPE_FIELDS)) for each in given)
