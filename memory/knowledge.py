"""Facts learnt from sources: read, settled with what is stored, and written with the reason of each change.

What is stored is always what follows from the sources that are there (`memory.merge`), so learning a source twice
changes nothing, and a source that changed or went takes what it said with it. Only the slots that a source speaks of
are settled: their stored facts name their sources, and those are read again, which is cheaper than keeping statements.

Scope: a fact is about whoever speaks, not about one talk, so it is kept in the scope of its source without the session
where a user or an agent is named, and in the session's own where not.
"""

from collections.abc import Callable, Iterable, Sequence

from memory.derive import facts as fact_deriver
from memory.facts import Statement
from memory.merge import Vetoed, decay_digest, settle
from memory.model import LINKS, Change, Deriver, Memory, Selection
from memory.ports import Store
from memory.reconcile import Decided, Ground, reconcile, slot_name, within
from memory.told import sources_told, statements_kept
from recalld.core.clock import Clock
from recalld.core.ids import IdSource
from recalld.core.scope import Scope

SOURCES_READ_MAX = 10_000


class Knowledge:
    """See the module's docstring.

    Args:
        read: what a source says.
        deriver: its name and version, kept with each fact.
    """

    def __init__(
        self,
        clock: Clock,
        ids: IdSource,
        read: Callable[[Memory], list[Statement]] = fact_deriver.read,
        deriver: Deriver = fact_deriver.DERIVER,
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._read = read
        self._deriver = deriver

    @property
    def made_by(self) -> Deriver:
        """Its name and version."""
        return self._deriver

    def learn(self, store: Store, namespace: str, sources: Sequence[Memory]) -> list[Change]:
        """Take in what sources say; returns what changed."""
        by_scope: dict[Scope, list[Memory]] = {}
        for source in sources:
            if source.deriver is None and source.item.kind == "turn":
                by_scope.setdefault(scope_of_facts(source.item.scope), []).append(source)
        changes: list[Change] = []
        for scope, told in by_scope.items():
            statements = [statement for source in told for statement in self._said(source)]
            slots = {slot_name(statement.triple) for statement in statements}
            slots |= {slot for source in told if source.version > 1 for slot in self._slots_from(store, source)}
            changes += self._settle(store, namespace, scope, slots, told)
        return changes

    def take_in(
        self, store: Store, namespace: str, told: Sequence[Statement], sources: Sequence[Memory]
    ) -> list[Change]:
        """Take in statements that can not be read off these sources, in the place of those that were kept of them."""
        by_scope: dict[Scope, list[Memory]] = {}
        for source in sources:
            by_scope.setdefault(scope_of_facts(source.item.scope), []).append(source)
        changes: list[Change] = []
        for scope, read in by_scope.items():
            ids = {source.id for source in read}
            said = [each for each in told if each.source_id in ids]
            slots = {slot_name(each.triple) for each in said}
            slots |= {slot for source in read for slot in self._slots_from(store, source, only_told=True)}
            changes += self._settle(store, namespace, scope, slots, read, said)
        return changes

    def settle_again(self, store: Store, namespace: str, about: Iterable[Memory]) -> list[Change]:
        """Settle the slots of these facts anew, with these sources: after an undo, or when a source went."""
        facts = [memory for memory in about if "slot" in memory.item.metadata]
        sources = [memory for memory in about if memory.item.kind == "turn" and memory.deriver is None]
        slots: dict[Scope, set[str]] = {}
        for fact in facts:
            slots.setdefault(fact.item.scope, set()).add(str(fact.item.metadata["slot"]))
        return [
            change for scope, named in slots.items() for change in self._settle(store, namespace, scope, named, sources)
        ]

    def _said(self, source: Memory) -> list[Statement]:
        return self._read(source) if source.state == "active" else []

    def _slots_from(self, store: Store, source: Memory, only_told: bool = False) -> list[str]:
        """The slots that a source spoke of before; `only_told`: those of which statements of it are kept."""
        wanted = Selection(kinds=("fact",), states=("active", "superseded"), source_id=source.id)
        found = store.select(source.namespace, wanted, self._clock.now(), SOURCES_READ_MAX)
        return [
            str(fact.item.metadata["slot"])
            for fact in found
            if "slot" in fact.item.metadata and (not only_told or source.id in sources_told(fact))
        ]

    def _settle(
        self,
        store: Store,
        namespace: str,
        scope: Scope,
        slots: set[str],
        fresh: Sequence[Memory],
        told: Sequence[Statement] | None = None,
    ) -> list[Change]:
        """Settle slots; `told`: what was read in `fresh` otherwise than by rule, None where that was not done anew."""
        if not slots:
            return []
        stored = store.facts(namespace, scope, sorted(slots))
        known = {source.id: source for source in fresh}
        earlier = sorted({source for fact in stored for source in fact.sources} - known.keys())
        known |= {source.id: source for source in store.get(namespace, earlier)}
        statements = [
            statement
            for source in known.values()
            for statement in self._said(source)
            if slot_name(statement.triple) in slots
        ]
        anew = {source.id for source in fresh} if told is not None else set()
        kept = {source_id: source for source_id, source in known.items() if source_id not in anew}
        statements += [each for fact in stored for each in statements_kept(fact, kept)]
        statements += told or ()
        ground = Ground(namespace, scope, self._deriver)
        vetoed = vetoes(store.undone(namespace), scope)
        settled = settle(statements, vetoed)
        names = [within(decay_digest(fact.triple, fact.sources), scope) for fact in settled.facts]
        dropped = store.decided(namespace, names) - store.undone(namespace)
        decided = reconcile(
            settled,
            stored,
            ground,
            self._clock.now(),
            lambda: self._ids.new("mem"),
            vetoed,
            lambda name: within(name, scope) in dropped,
        )
        return self._carry_out(store, ground, decided)

    def _carry_out(self, store: Store, ground: Ground, decided: Sequence[Decided]) -> list[Change]:
        """Write what was decided, and each decision that was not taken before."""
        namespace = ground.namespace
        store.insert(namespace, [one.memory for one in decided if one.fresh and one.memory is not None])
        for one in decided:
            if one.memory is not None and not one.fresh:
                store.replace(namespace, one.memory)
        names = [within(one.digest, ground.scope) for one in decided]
        links = [name for one, name in zip(decided, names, strict=True) if one.action in LINKS]
        taken = store.decided(namespace, links)
        now = self._clock.now()
        changes = [
            Change(self._ids.new("chg"), namespace, one.action, one.reason, one.about, now, name)
            for one, name in zip(decided, names, strict=True)
            if name not in taken
        ]
        for change in changes:
            store.record_change(change)
        return changes


def scope_of_facts(scope: Scope) -> Scope:
    """Where the facts of a source of this scope are kept."""
    return Scope(scope.user_id, scope.agent_id) if scope.user_id or scope.agent_id else scope


def vetoes(undone: frozenset[str], scope: Scope) -> Vetoed:
    """Whether a decision in this scope was undone."""
    if not undone:
        return lambda digest: False
    return lambda digest: within(digest, scope) in undone
