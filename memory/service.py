"""The use cases on memories: add, read, change, forget, restore, vote.

Each takes the store of the caller's transaction and commits nothing. Decisions are `memory.lifecycle`'s; this file
reads what they need, writes what they decide, and keeps the reason in the change log. A memory outside the caller's
scope, or expired, does not exist for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from memory import lifecycle
from memory.ingest import check, check_item
from memory.lifecycle import Decision
from memory.model import Action, Change, Item, Memory, Selection, State, Votes
from memory.ports import MemoryStore, Store
from recalld.core.access import Principal
from recalld.core.clock import Clock
from recalld.core.config import Limits
from recalld.core.errors import InvalidInput, NotFound
from recalld.core.ids import IdSource
from recalld.core.scope import Scope


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, newest first; `next_row` continues it, None at its end."""

    items: list[Memory]
    next_row: int | None


class MemoryService:
    """See the module's docstring. `who` is whose request it is: its namespace and the scope that it is bound to."""

    def __init__(self, clock: Clock, ids: IdSource, limits: Limits) -> None:
        self._clock = clock
        self._ids = ids
        self._limits = limits

    def add(self, store: Store, who: Principal, items: Sequence[Item]) -> list[Memory]:
        """Keep items, all or none, in order.

        An item whose `external_id` names a memory of its exact scope changes that one, or nothing where it is the same.

        Raises:
            InvalidInput: an item breaks a limit; names each field.
            Forbidden: an item's scope is not the one that the key is bound to.
        """
        check(items, self._limits)
        bound = [replace(item, scope=item.scope.within(who.bound)) for item in items]
        known = _by_external_id(store, who.namespace, bound)
        now = self._clock.now()
        order: list[str] = []
        current: dict[str, Memory] = {}
        fresh: list[Memory] = []
        changed: list[Decision] = []
        for item in bound:
            written = Memory(self._ids.new("mem"), who.namespace, item, created_at=now, recorded_at=now)
            named = (item.scope, item.external_id)
            existing = known.get(named)
            decision = lifecycle.add(existing, written)
            if existing is not None and decision.changed:
                self._insert(store, who.namespace, fresh, current)
            memory = replace(decision.memory, row=current.get(decision.memory.id, decision.memory).row)
            if existing is None:
                fresh.append(memory)
            elif decision.changed:
                store.replace(who.namespace, memory)
                changed.append(decision)
            if item.external_id is not None:
                known[named] = memory
            current[memory.id] = memory
            order.append(memory.id)
        self._insert(store, who.namespace, fresh, current)
        self._log(store, who.namespace, "update", changed)
        return [current[memory_id] for memory_id in order]

    def get(self, store: MemoryStore, who: Principal, memory_id: str) -> Memory:
        """One memory.

        Raises:
            NotFound: there is none, or it has expired, or it is outside the scope that the key is bound to.
        """
        found = store.get(who.namespace, [memory_id])
        if not found or not who.bound.covers(found[0].item.scope) or self._expired(found[0]):
            raise NotFound("no memory has this id")
        return found[0]

    def select(self, store: MemoryStore, who: Principal, selection: Selection, limit: int) -> Page:
        """A page of memories, newest arrival first."""
        bound = replace(selection, scope=selection.scope.within(who.bound))
        return self._page(store, who, bound, limit)

    def facts(
        self, store: MemoryStore, who: Principal, wanted: Selection, valid_at: datetime | None, limit: int
    ) -> Page:
        """Facts that held at `valid_at` (None: now) as far as was known at `wanted.known_at` (None: now), newest first.

        A fact that ended, or was merged with another, shows only for a time before. Facts of a person are kept without
        a session: a scope with one finds them too, unless the key is bound to it.
        """
        now = self._clock.now()
        moment = valid_at or now
        known_at = wanted.known_at
        states: tuple[State, ...] = ("active", "superseded")
        scope = wanted.scope.within(who.bound)
        person = (scope.user_id or scope.agent_id) is not None and who.bound.session_id is None
        bound = replace(wanted, scope=scope, kinds=("fact",), states=states, or_no_session=person)
        if known_at is None:
            return self._page(store, who, replace(bound, valid_at=moment), limit)
        found: list[Memory] = []
        place = bound.before_row
        while len(found) <= limit:
            candidates = store.select(who.namespace, replace(bound, before_row=place), now, limit + 1)
            known = (lifecycle.as_known(store.history(who.namespace, each.id), known_at) for each in candidates)
            found += [each for each in known if each.state in states and lifecycle.held_at(each, moment)]
            if len(candidates) <= limit:
                break
            place = candidates[-1].row
        return Page(found[:limit], found[limit - 1].row if len(found) > limit else None)

    def _page(self, store: MemoryStore, who: Principal, bound: Selection, limit: int) -> Page:
        found = store.select(who.namespace, bound, self._clock.now(), limit + 1)
        return Page(found[:limit], found[limit - 1].row if len(found) > limit else None)

    def history(self, store: MemoryStore, who: Principal, memory_id: str) -> list[Memory]:
        """Every version, newest first."""
        self.get(store, who, memory_id)
        return store.history(who.namespace, memory_id)

    def sources(self, store: MemoryStore, who: Principal, memory_id: str) -> list[Memory]:
        """The memories that this one was derived from, those that the key may see."""
        found = store.get(who.namespace, self.get(store, who, memory_id).sources)
        return [memory for memory in found if who.bound.covers(memory.item.scope) and not self._expired(memory)]

    def update(
        self, store: Store, who: Principal, memory_id: str, patch: Mapping[str, Any], if_match: str | None
    ) -> Memory:
        """Apply a JSON merge patch; a new version where anything differs.

        Raises:
            PreconditionFailed: `if_match` names a version that is no longer current.
            Conflict: the memory is forgotten.
            InvalidInput: the result breaks a limit.
        """
        existing = self.get(store, who, memory_id)
        lifecycle.check_version(existing, if_match)
        item = lifecycle.merge_patch(existing.item, patch)
        wrong = check_item(item, self._limits)
        if wrong:
            raise InvalidInput(f"{wrong[0].field}: {wrong[0].message}", wrong)
        decision = lifecycle.update(existing, item, self._clock.now())
        return self._carry_out(store, who.namespace, decision, "update")

    def set_state(
        self, store: Store, who: Principal, memory_id: str, state: State, if_match: str | None = None
    ) -> Memory:
        """Forget (`forgotten`) or restore (`active`) a memory; a second time changes nothing."""
        existing = self.get(store, who, memory_id)
        lifecycle.check_version(existing, if_match)
        action: Action = "forget" if state == "forgotten" else "restore"
        decision = lifecycle.set_state(existing, state, self._clock.now(), "asked for by its caller")
        return self._carry_out(store, who.namespace, decision, action)

    def vote(self, store: Store, who: Principal, recall_id: str, memory_id: str, useful: bool | None) -> Votes:
        """Keep a vote on a memory that a recall gave, in the place of an earlier one; None withdraws it.

        Returns:
            the votes on this memory, over all recalls.

        Raises:
            NotFound: no such recall in the scope that the key is bound to, or it did not give this memory, or the
                memory is gone since.
        """
        given = store.recalled(who.namespace, recall_id)
        if given is None or not who.bound.covers(given.scope):
            raise NotFound("no recall has this id")
        if memory_id not in given.memory_ids:
            raise NotFound("this recall gave no memory with this id")
        memory = self.get(store, who, memory_id)
        store.vote(who.namespace, recall_id, memory_id, useful, self._clock.now())
        return store.feedback(who.namespace, memory_id).get(memory.row, Votes())

    def _expired(self, memory: Memory) -> bool:
        return memory.item.expires_at is not None and memory.item.expires_at <= self._clock.now()

    def _insert(self, store: Store, namespace: str, fresh: list[Memory], current: dict[str, Memory]) -> None:
        """Insert what waits, note its rows, and log it as one change."""
        if not fresh:
            return
        kept = store.insert(namespace, fresh)
        current.update({memory.id: memory for memory in kept})
        self._log(store, namespace, "add", [Decision(memory, True, "written by a caller") for memory in kept])
        fresh.clear()

    def _carry_out(self, store: Store, namespace: str, decision: Decision, action: Action) -> Memory:
        if decision.changed:
            store.replace(namespace, decision.memory)
            self._log(store, namespace, action, [decision])
        return decision.memory

    def _log(self, store: Store, namespace: str, action: Action, decisions: Sequence[Decision]) -> None:
        """One change for each reason."""
        reasons = dict.fromkeys(decision.reason for decision in decisions)
        for reason in reasons:
            ids = tuple(dict.fromkeys(decision.memory.id for decision in decisions if decision.reason == reason))
            store.record_change(Change(self._ids.new("chg"), namespace, action, reason, ids, self._clock.now()))


def _by_external_id(
    store: MemoryStore, namespace: str, items: Sequence[Item]
) -> dict[tuple[Scope, str | None], Memory]:
    """What the items' external ids already name."""
    wanted: dict[Scope, list[str]] = {}
    for item in items:
        if item.external_id is not None:
            wanted.setdefault(item.scope, []).append(item.external_id)
    return {
        (scope, external_id): memory
        for scope, external_ids in wanted.items()
        for external_id, memory in store.find_external(namespace, scope, external_ids).items()
    }
