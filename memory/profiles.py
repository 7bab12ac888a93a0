"""Profiles kept: each person's is built anew from the facts that stand, whenever consolidation touched that person.

A person is an exact scope without a session (`memory.knowledge.scope_of_facts`). A profile rests on the facts that it
names, so what erases one of them erases it too, and the consolidation that follows builds it from the others. It is
rebuilt, never edited: what was said in an older version is kept in its history, which is why its sources only grow;
beyond `sources_max` it begins anew, without a history.

Invariants: building again changes nothing; where nothing stands there is no profile; one that its user forgot stays so.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from memory.consolidate import Proposal, differs, external_id, next_version
from memory.derive.profile import KEY, ProfileSettings, assemble
from memory.knowledge import scope_of_facts
from memory.model import Change, Deriver, Memory, Selection
from memory.ports import Store
from recalld.core.clock import Clock
from recalld.core.ids import IdSource
from recalld.core.scope import Scope
from retrieval.filters import All, Comparison, Filter, Not


@dataclass(frozen=True, slots=True)
class RebuildSettings:
    """What a rebuild reads and keeps.

    Attributes:
        facts_max: so many facts are looked at, the newest, beside those that the profile names already.
        sources_max: so many sources a profile has at most, those of its older versions among them.
    """

    facts_max: int = 2000
    sources_max: int = 200


class Profiles:
    """See the module's docstring."""

    def __init__(
        self,
        clock: Clock,
        ids: IdSource,
        count_tokens: Callable[[str], int],
        profile: ProfileSettings,
        settings: RebuildSettings = RebuildSettings(),
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._count_tokens = count_tokens
        self._profile = profile
        self._settings = settings

    @property
    def made_by(self) -> Deriver:
        """Its name and version."""
        return Deriver("profile", "1")

    def rebuild(self, store: Store, namespace: str, scopes: Iterable[Scope]) -> int:
        """Build the profiles of whoever these scopes are of; returns how many rows that changed."""
        people = {scope_of_facts(scope) for scope in scopes}
        return sum(
            self._rebuild(store, namespace, person) for person in sorted(people, key=str) if person.session_id is None
        )

    def _rebuild(self, store: Store, namespace: str, person: Scope) -> int:
        name = external_id(self.made_by, KEY)
        there = store.find_external(namespace, person, [name]).get(name)
        if there is not None and there.state != "active":
            return 0
        now = self._clock.now()
        proposal = assemble(self._facts(store, namespace, person, there), now, self._count_tokens, self._profile)
        if proposal is None:
            return self._remove(store, namespace, there)
        made = self._memory(namespace, person, name, proposal)
        if there is not None and not differs(there, made):
            return 0
        if there is not None:
            following = next_version(there, made, now)
            if len(following.sources) <= self._settings.sources_max:
                store.replace(namespace, following)
                return self._told(store, namespace, following)
            self._remove(store, namespace, there)
        store.insert(namespace, [made])
        return self._told(store, namespace, made)

    def _facts(self, store: Store, namespace: str, person: Scope, there: Memory | None) -> list[Memory]:
        """What may stand of a person: the newest facts, and those that the profile names."""
        now = self._clock.now()
        wanted = Selection(
            scope=person, kinds=("fact",), states=("active", "superseded"), valid_at=now, filter=_nobody_else(person)
        )
        found = store.select(namespace, wanted, now, self._settings.facts_max)
        named = store.get(namespace, there.sources) if there is not None else []
        mine = [fact for fact in (*found, *named) if scope_of_facts(fact.item.scope) == person]
        return list({fact.id: fact for fact in mine}.values())

    def _remove(self, store: Store, namespace: str, there: Memory | None) -> int:
        if there is not None:
            store.erase(namespace, [there.id])
        return int(there is not None)

    def _memory(self, namespace: str, person: Scope, name: str, proposal: Proposal) -> Memory:
        now = self._clock.now()
        item = replace(proposal.item, scope=person, external_id=name)
        sources = tuple(sorted(proposal.sources))
        return Memory(self._ids.new("mem"), namespace, item, now, now, sources=sources, deriver=self.made_by)

    def _told(self, store: Store, namespace: str, memory: Memory) -> int:
        told = f"derived by {self.made_by.name} {self.made_by.version}"
        store.record_change(Change(self._ids.new("chg"), namespace, "derive", told, (memory.id,), self._clock.now()))
        return 1


def _nobody_else(person: Scope) -> Filter | None:
    """What keeps out the facts of those who have a field that this person has not."""
    absent = [name for name in ("user_id", "agent_id") if name not in person.given()]
    if not person.given():
        # Without a user or an agent a session's facts are its own.
        absent.append("session_id")
    parts = tuple(Not(Comparison(name, (), "exists")) for name in absent)
    return All(parts) if parts else None
