"""What was changed and why, and taking it back.

A decision by rule is taken back by its digest: it is marked as undone, and what stands is settled again without it, so
that neither this nor any later derivation takes it anew; what decay dropped is there again. What a caller did is taken
back by doing the opposite. An undo is a change like any other and can be undone itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from memory import lifecycle
from memory.consolidate import Portrays
from memory.knowledge import Knowledge
from memory.model import Change, ChangeSelection, Memory, State
from memory.ports import Store
from recalld.core.access import Principal
from recalld.core.clock import Clock
from recalld.core.errors import Conflict, NotFound
from recalld.core.ids import IdSource
from recalld.core.scope import Scope

_UNDO = "undo:"
_FOLLOWS = frozenset({"retract", "restore", "update"})
_OPPOSITE: dict[str, tuple[State, State]] = {  # action: the state that it led to, and the one to go back to
    "add": ("active", "forgotten"),
    "forget": ("forgotten", "active"),
    "restore": ("active", "forgotten"),
}


@dataclass(frozen=True, slots=True)
class ChangePage:
    """A part of the change log, newest first; `next_number` continues it, None at its end."""

    items: list[Change]
    next_number: int | None


class ChangeLog:
    """See the module's docstring."""

    def __init__(self, clock: Clock, ids: IdSource, knowledge: Knowledge, pictures: Sequence[Portrays] = ()) -> None:
        self._clock = clock
        self._ids = ids
        self._knowledge = knowledge
        self._pictures = pictures

    def select(self, store: Store, who: Principal, wanted: ChangeSelection, limit: int) -> ChangePage:
        """A page of changes, newest first, of those that are wholly in the scope that the key may see."""
        bound = replace(wanted, scope=wanted.scope.within(who.bound))
        found = store.changes(who.namespace, limit + 1, bound)
        return ChangePage(found[:limit], found[limit - 1].number if len(found) > limit else None)

    def undo(self, store: Store, who: Principal, change_id: str) -> Change:
        """Take a change back; returns the change that does.

        Raises:
            NotFound: no such change in the scope that the key is bound to.
            Conflict: it was taken back already, or can not be.
        """
        change = store.change(who.namespace, change_id)
        about = [] if change is None else store.get(who.namespace, change.memory_ids)
        if change is None or not _visible(who.bound, change, about):
            raise NotFound("no change has this id")
        if change.undone_by is not None:
            raise Conflict("the change was undone already")
        if change.digest is not None and change.action in _FOLLOWS:
            raise Conflict("the change follows from the sources: change those, or undo the decision before it")
        now = self._clock.now()
        decision = change.digest is not None
        undo = Change(
            self._ids.new("chg"),
            who.namespace,
            "undo",
            "asked for by its caller",
            change.memory_ids,
            now,
            _UNDO + change.id if decision else None,
        )
        store.mark_undone(who.namespace, change.id, undo.id)
        if change.action == "undo" and change.digest is not None:
            self._redo(store, who, change.digest.removeprefix(_UNDO), about)
        elif change.action == "decay":
            self._bring_back(store, about)
        elif change.digest is not None:
            self._knowledge.settle_again(store, who.namespace, about)
        else:
            self._take_back(store, change, about)
        for picture in self._pictures:
            picture.rebuild(store, who.namespace, {memory.item.scope for memory in about})
        store.record_change(undo)
        return undo

    def _redo(self, store: Store, who: Principal, undone_id: str, about: Sequence[Memory]) -> None:
        """Let a decision by rule stand again that was undone."""
        original = store.change(who.namespace, undone_id)
        if original is None or original.digest is None:
            raise Conflict("only the undo of a decision by rule can be undone")
        store.mark_undone(who.namespace, undone_id, None)
        if original.action == "decay":
            self._drop_again(store, about)
        else:
            self._knowledge.settle_again(store, who.namespace, about)

    def _bring_back(self, store: Store, about: Sequence[Memory]) -> None:
        """Put what decay dropped in the state that it had; what was erased since comes when it is derived again."""
        for memory in about:
            if memory.state == "forgotten":
                before = next(old for old in store.history(memory.namespace, memory.id) if old.state != "forgotten")
                back = lifecycle.set_state(memory, before.state, self._clock.now(), "the change before was undone")
                store.replace(memory.namespace, back.memory)
        for namespace in {memory.namespace for memory in about}:
            self._knowledge.settle_again(store, namespace, store.get(namespace, [memory.id for memory in about]))

    def _drop_again(self, store: Store, about: Sequence[Memory]) -> None:
        """Let what decay dropped be dropped after all."""
        for memory in about:
            gone = lifecycle.set_state(memory, "forgotten", self._clock.now(), "the undo was undone")
            if gone.changed:
                store.replace(memory.namespace, gone.memory)

    def _take_back(self, store: Store, change: Change, about: Sequence[Memory]) -> None:
        """Undo what a caller did."""
        if change.action not in _OPPOSITE or not about:
            raise Conflict("this change can not be undone")
        left, wanted = _OPPOSITE[change.action]
        if any(memory.state != left for memory in about):
            raise Conflict("the memory was changed since")
        for memory in about:
            decision = lifecycle.set_state(memory, wanted, self._clock.now(), "the change before was undone")
            store.replace(memory.namespace, decision.memory)


def _visible(bound: Scope, change: Change, about: Sequence[Memory]) -> bool:
    if not bound.given():
        return True
    whole = len(about) == len(set(change.memory_ids)) > 0
    return whole and all(bound.covers(memory.item.scope) for memory in about)
