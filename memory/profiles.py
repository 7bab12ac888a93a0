"""Profiles kept by consolidation: one a scope of facts, assembled from what is valid, rebuilt and never edited.

It rests on the facts that it cites and on their sources, so it goes when one of them is erased, and the sources that
are left bring it back without that. One that its user forgot stays forgotten. It is derived, so a recall looks at it
only where its kind is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from memory.derive.profile import ProfileSettings, profile
from memory.ingest import RESERVED_EXTERNAL_ID
from memory.knowledge import scope_of_facts
from memory.lifecycle import new_version
from memory.model import Change, Deriver, Memory, Selection
from memory.ports import Store
from recalld.core.clock import Clock
from recalld.core.ids import IdSource
from recalld.core.scope import Scope

FACTS_MAX = 1000
EXTERNAL_ID = f"{RESERVED_EXTERNAL_ID}profile"


class Profiles:
    """Learns, after facts were learnt, what the standing picture of their scope is."""

    def __init__(
        self, clock: Clock, ids: IdSource, count_tokens: Callable[[str], int], settings: ProfileSettings
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._count_tokens = count_tokens
        self._settings = settings

    @property
    def made_by(self) -> Deriver:
        """Its name and version."""
        return Deriver("profile", "1")

    def learn(self, store: Store, namespace: str, sources: Sequence[Memory]) -> list[Change]:
        """Rebuild the profile of each scope that these sources may have told something of."""
        told = [each for each in sources if each.deriver is None and each.item.kind == "turn"]
        scopes = sorted({scope_of_facts(each.item.scope) for each in told}, key=str)
        return [change for scope in scopes for change in self._rebuild(store, namespace, scope)]

    def _rebuild(self, store: Store, namespace: str, scope: Scope) -> list[Change]:
        now = self._clock.now()
        wanted = Selection(scope=scope, kinds=("fact",), derived=True, valid_at=now)
        facts = [each for each in store.select(namespace, wanted, now, FACTS_MAX) if each.item.scope == scope]
        existing = store.find_external(namespace, scope, [EXTERNAL_ID]).get(EXTERNAL_ID)
        made = profile(facts, now, self._count_tokens, self._settings)
        if made is None:
            if existing is not None and existing.state == "active":
                store.erase(namespace, [existing.id])
            return []
        item = replace(made[0], scope=scope, external_id=EXTERNAL_ID)
        rests_on = {fact.id for fact in made[1]} | {source for fact in made[1] for source in fact.sources}
        if existing is None:
            fresh = Memory(
                self._ids.new("mem"), namespace, item, now, now, sources=tuple(sorted(rests_on)), deriver=self.made_by
            )
            [kept] = store.insert(namespace, [fresh])
        else:
            # What older versions told rests on their sources still.
            rests_on |= set(existing.sources)
            same = existing.item == item and rests_on == set(existing.sources) and existing.deriver == self.made_by
            if existing.state != "active" or same:
                return []
            kept = replace(new_version(existing, item, now), sources=tuple(sorted(rests_on)), deriver=self.made_by)
            store.replace(namespace, kept)
        told = f"derived by {self.made_by.name} {self.made_by.version}"
        change = Change(self._ids.new("chg"), namespace, "derive", told, (kept.id,), now)
        store.record_change(change)
        return [change]
