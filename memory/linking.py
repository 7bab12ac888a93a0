"""Links between turns that disagree, kept as changes: both turns stay, and what is asked for is the newer first.

A link is a change of kind `possibly_supersedes` or `conflict` on two turns, the newer first, with a reason; an undone
one is not made again. Only the newest `turns_max` turns of a speaker are compared, so that what is new costs the same
however much is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from memory.decisions import Decision, record_new
from memory.derive.disagreements import Said, disagreements
from memory.knowledge import scope_of_facts
from memory.merge import digest
from memory.model import Change, Deriver, Memory, Selection
from memory.ports import Store
from recalld.core.clock import Clock
from recalld.core.ids import IdSource
from recalld.core.scope import Scope

_REASONS = {
    "conflict": "one turn denies what the other speaks of",
    "possibly_supersedes": "another value of what seems to be the same, spoken of as changed",
}


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How many turns of one speaker are compared."""

    turns_max: int = 500


class Linker:
    """Learns which turns disagree."""

    def __init__(self, clock: Clock, ids: IdSource, settings: LinkSettings = LinkSettings()) -> None:
        self._clock = clock
        self._ids = ids
        self._settings = settings

    @property
    def made_by(self) -> Deriver:
        """Its name and version."""
        return Deriver("disagreements", "2")

    def learn(self, store: Store, namespace: str, sources: Sequence[Memory]) -> list[Change]:
        """Link what these turns disagree with, and what disagrees with them."""
        fresh = [each for each in sources if _speaks(each)]
        speakers = {(scope_of_facts(each.item.scope), each.item.speaker) for each in fresh}
        ids = {each.id for each in fresh}
        changes = []
        for scope, speaker in sorted(speakers, key=str):
            turns = [Said(each.id, each.item.text) for each in self._turns(store, namespace, scope, speaker)]
            found = [each for each in disagreements(turns) if each.newer in ids or each.older in ids]
            said = [
                Decision(each.kind, _REASONS[each.kind], pair, digest(each.kind, *pair), scope)
                for each in found
                for pair in [(each.newer, each.older)]
            ]
            changes += record_new(store, namespace, said, self._clock.now(), self._ids)
        return changes

    def _turns(self, store: Store, namespace: str, scope: Scope, speaker: str | None) -> list[Memory]:
        wanted = Selection(scope=scope, kinds=("turn",), derived=False)
        found = store.select(namespace, wanted, self._clock.now(), self._settings.turns_max)
        mine = [each for each in found if _speaks(each) and each.item.speaker == speaker]
        return sorted(mine, key=lambda each: each.order)


def _speaks(memory: Memory) -> bool:
    item = memory.item
    return memory.state == "active" and item.kind == "turn" and item.role in (None, "user") and memory.deriver is None
