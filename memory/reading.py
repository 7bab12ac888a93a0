"""Reading by a language model: batches of what changed, one call each; for each deriver of `memory.derive.asked` apart.

    changes above the deriver's watermark -> sessions -> batches of turns -> one call -> proposals, statements
    a reply that is unusable -> its batch is put aside, the others go on -> at the end it is tried once more -> an error

A batch is as many whole segments (`memory.segments`) as one call holds: what belongs together is read together.

A step is one call, made while no transaction is open; its effects and the place commit together. A batch that is
still unusable at the second try raises: the job that reads fails for all to see, with the batch in its cursor, and to
retry it is to try that batch again. Sources are only read; nothing that rules derived waits for this.

Source: batches of segments instead of a call a message, after LightMem (Fang et al., 2025), section 3.2.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from memory.consolidate import RANGE_MEMORIES, SESSION_MEMORIES_MAX, Consolidator, Unit
from memory.derive.asked import Asked, Read
from memory.derive.asking import AskSettings, PaidReply, ask, fit
from memory.knowledge import Knowledge
from memory.model import Memory, Selection
from memory.noise import is_noise_turn
from memory.ports import Store, StoreTransaction
from memory.segments import Vectors, cuts, pieces, whole
from recalld.core.clock import Clock
from recalld.core.errors import UnusableReply
from recalld.core.scope import EVERYTHING, Scope
from recalld.llm.ports import LanguageModel, Usage

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ReadPlace:
    """How far a job is.

    Attributes:
        after, target: as in `memory.consolidate.Place`.
        unit: the exact scope at work, and `last` the order of the last memory of it that was read.
        aside: batches, by the ids of their memories, whose reply was unusable.
        counts: `calls`, `prompt_tokens`, `completion_tokens`, `memories`, `written`, `removed`, `dropped: REASON`.
    """

    after: int
    target: int
    unit: tuple[str | None, ...] | None = None
    last: tuple[str, int] | None = None
    aside: tuple[tuple[str, ...], ...] = ()
    counts: Counts = field(default_factory=dict)

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "ReadPlace":
        """From a saved cursor."""
        unit, last = saved["unit"], saved["last"]
        return cls(
            saved["after"],
            saved["target"],
            None if unit is None else tuple(unit),
            None if last is None else (last[0], last[1]),
            tuple(tuple(batch) for batch in saved["aside"]),
            saved["counts"],
        )

    def to_json(self) -> dict[str, Any]:
        """For a cursor."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """A step: what was read of a batch (None: nothing to write), and where the job is after it."""

    place: ReadPlace
    ended: bool
    scope: Scope = EVERYTHING
    batch: Sequence[Memory] = ()
    read: Read | None = None
    seen_until: int | None = None


class Reader:
    """Plans and writes the steps of one deriver."""

    def __init__(
        self,
        asked: Asked,
        model: Callable[[], LanguageModel],
        consolidator: Consolidator,
        knowledge: Knowledge,
        read: StoreTransaction,
        clock: Clock,
        settings: AskSettings,
        vectors: Vectors,
    ) -> None:
        self._asked = asked
        self._model = model
        self._consolidator = consolidator
        self._knowledge = knowledge
        self._read = read
        self._clock = clock
        self._settings = settings
        self._vectors = vectors

    def plan(
        self,
        namespace: str,
        place: ReadPlace | None,
        scope: Scope = EVERYTHING,
        again: Sequence[Scope] = (),
        turn: int = 0,
    ) -> ReadPlan:
        """The next step.

        Args:
            place: where the last step ended; None at the beginning.
            scope: only what is in it; the watermark stays then.
            again: exact scopes to read whether they changed or not.
            turn: which of the batches that were put aside comes first: another one at each retry.

        Raises:
            UnusableReply: a batch that was put aside is still unusable.
        """
        with self._read() as store:
            if place is None:
                seen = store.derived_until(namespace, self._asked.made_by)
                place = ReadPlace(seen, store.newest_change(namespace))
            until, waiting = self._waiting(store, namespace, place, scope, again)
        for exact, memories in waiting:
            batch = memories[: self._size(memories)]
            last = (batch[-1].order_at.isoformat(), batch[-1].row)
            batch = self._with_neighbours(namespace, batch)
            reached = replace(place, unit=exact.values(), last=last)
            try:
                return self._asked_of(reached, exact, batch)
            except PaidReply as error:
                aside = replace(reached, aside=(*place.aside, tuple(memory.id for memory in batch)))
                return ReadPlan(_counted(aside, calls=1, unusable=1, **_tokens(error.usage)), False)
        seen_until = until if scope == EVERYTHING and not again and place.after < place.target else None
        if until < place.target and not again:
            return ReadPlan(replace(place, after=until, unit=None, last=None), False, seen_until=seen_until)
        return self._aside(namespace, replace(place, after=place.target), turn, seen_until)

    def write(self, store: Store, namespace: str, planned: ReadPlan) -> ReadPlace:
        """Write a step within the caller's transaction; returns the place with what it counted."""
        if planned.seen_until is not None:
            store.set_derived_until(namespace, self._asked.made_by, planned.seen_until)
        if planned.read is None:
            return planned.place
        now = {memory.id: memory.version for memory in store.get(namespace, [each.id for each in planned.batch])}
        if any(now.get(memory.id) != memory.version for memory in planned.batch):
            # What changed meanwhile is in the feed.
            return planned.place
        unit = Unit(planned.scope, planned.batch)
        written, removed = self._consolidator.bring(store, namespace, unit, self._asked.made_by, planned.read.proposals)
        if self._asked.name == "facts":
            written += len(self._knowledge.take_in(store, namespace, planned.read.statements, planned.batch))
        return _counted(planned.place, written=written, removed=removed)

    def _aside(self, namespace: str, place: ReadPlace, turn: int, seen_until: int | None) -> ReadPlan:
        """Try a batch that was put aside once more."""
        with self._read() as store:
            left = [
                (ids, found)
                for ids in place.aside
                if (found := self._in_order([each for each in store.get(namespace, ids) if self._readable(each)]))
            ]
        place = replace(place, aside=tuple(ids for ids, _ in left))
        if not left or seen_until is not None:
            return ReadPlan(place, not left, seen_until=seen_until)
        ids, batch = left[turn % len(left)]
        reached = replace(place, aside=tuple(each for each in place.aside if each != ids))
        try:
            planned = self._asked_of(reached, batch[0].item.scope, batch, again=True)
        except PaidReply as error:
            raise UnusableReply(f"{error.detail}; batches that wait to be read: {len(left)}") from None
        return replace(planned, ended=not reached.aside)

    def _size(self, memories: Sequence[Memory]) -> int:
        """How many of these, from the first, are read in one call."""
        most = fit(memories, self._model(), self._settings)
        if most == len(memories):
            return most
        # One turn beyond the first that does not fit: it tells whether that one begins a segment.
        return whole(cuts(pieces(memories[: most + 2], self._vectors)), most)

    def _with_neighbours(self, namespace: str, batch: list[Memory]) -> list[Memory]:
        """A batch with the memories that its own were read with before: what was made of all of them is made anew."""
        with self._read() as store:
            made = store.derived_by(namespace, self._asked.made_by.name, [memory.id for memory in batch])
            others = {source for row in made for source in row.sources} - {memory.id for memory in batch}
            whole = self._in_order([*batch, *store.get(namespace, sorted(others))])
        twice = replace(self._settings, batch_tokens=2 * self._settings.batch_tokens)
        return whole if fit(whole, self._model(), twice) == len(whole) else batch

    def _asked_of(self, place: ReadPlace, scope: Scope, batch: Sequence[Memory], again: bool = False) -> ReadPlan:
        shown = [memory for memory in batch if self._alive(memory)]
        if not shown:
            return ReadPlan(place, False, scope, batch, Read())
        reply, usage = ask(self._model(), self._asked.name, shown, self._asked.shape, self._settings, again)
        read = self._asked.read(reply, shown)
        counted = _counted(
            place,
            calls=1,
            memories=len(shown),
            **_tokens(usage),
            **{f"dropped: {reason}": count for reason, count in read.dropped.items()},
        )
        return ReadPlan(counted, False, scope, batch, read)

    def _waiting(
        self, store: Store, namespace: str, place: ReadPlace, scope: Scope, again: Sequence[Scope]
    ) -> tuple[int, list[tuple[Scope, list[Memory]]]]:
        """Up to which change this range goes, and what of it is not read yet, by exact scope and in order."""
        if again:
            found = [(exact, self._all(store, namespace, exact)) for exact in sorted(again, key=_sort_key)]
            return place.target, self._left(found, place)
        if place.after >= place.target:
            return place.target, []
        until = min(store.range_end(namespace, place.after, RANGE_MEMORIES), place.target)
        touched = [each for each in store.changed(namespace, place.after, until) if scope.covers(each[0])]
        touched.sort(key=lambda each: _sort_key(each[0]))
        grouped = [(exact, [i for _, i in group]) for exact, group in groupby(touched, key=lambda each: each[0])]
        return until, self._left([(exact, store.get(namespace, ids)) for exact, ids in grouped], place)

    def _all(self, store: Store, namespace: str, exact: Scope) -> list[Memory]:
        if exact.session_id is not None:
            return store.session(namespace, exact, SESSION_MEMORIES_MAX)
        wanted = Selection(scope=exact, kinds=("turn",), derived=False)
        found = store.select(namespace, wanted, self._clock.now(), SESSION_MEMORIES_MAX)
        return [memory for memory in found if memory.item.scope == exact]

    def _left(
        self, found: Sequence[tuple[Scope, Sequence[Memory]]], place: ReadPlace
    ) -> list[tuple[Scope, list[Memory]]]:
        left = []
        for exact, memories in found:
            unit = None if place.unit is None else Scope(*place.unit)
            if unit is not None and _sort_key(exact) < _sort_key(unit):
                continue
            readable = self._in_order([memory for memory in memories if self._readable(memory)])
            if exact == unit and place.last is not None:
                at = (datetime.fromisoformat(place.last[0]), place.last[1])
                readable = [memory for memory in readable if memory.order > at]
            if readable:
                left.append((exact, readable))
        return left

    def _alive(self, memory: Memory) -> bool:
        expires = memory.item.expires_at
        return memory.state == "active" and (expires is None or expires > self._clock.now())

    @staticmethod
    def _readable(memory: Memory) -> bool:
        return memory.item.kind == "turn" and memory.deriver is None and not is_noise_turn(memory)

    @staticmethod
    def _in_order(memories: Sequence[Memory]) -> list[Memory]:
        return sorted(memories, key=lambda memory: memory.order)


def _tokens(usage: Usage) -> dict[str, int]:
    return {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}


def _counted(place: ReadPlace, **more: int) -> ReadPlace:
    total = Counter(place.counts)
    total.update({name: count for name, count in more.items() if count})
    return replace(place, counts=dict(total))


def _sort_key(scope: Scope) -> tuple[str, ...]:
    return tuple("" if value is None else f"={value}" for value in scope.values())
