"""Salience: how much a derived memory is still worth, and which of them go when there are too many.

    recency     2^(-age / half-life)                 age: since it was recorded, or last given by a recall
    use         n / (n + PRIOR) * 2^(-idle / half-life)      n recalls gave it, the last one `idle` ago
    vote        (1 + nudge) / 2                      `retrieval.feedback`: .5 without votes
    salience    the mean of the three, in [0, 1]

What is recalled seldom and long ago is needed seldom (Anderson & Schooler, "Reflections of the environment in memory",
Psychological Science 1991); half-lives per kind make it an exponential, which needs no list of all uses.

Invariants: more votes for it, more or later uses, and a later record never lower a salience. In a ranking, use adds at
most `rank_max` to a nudge, and exactly nothing where there is none. Only derived memories are dropped, and only those
that nothing rests on, profiles excepted; each is forgotten, as a change of kind `decay` that can be undone, and erased
with all that is forgotten. What an undo brought back is not dropped again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from memory.facts import Triple
from memory.lifecycle import set_state
from memory.merge import decay_digest
from memory.model import Change, Loose, Memory, Uses, Votes
from memory.ports import Store, StoreTransaction
from memory.reconcile import within
from recalld.core.clock import Clock
from recalld.core.ids import IdSource
from retrieval.feedback import nudge

PRIOR = 3
"""So many uses make half of what any number of them can."""
NEVER_USED = Uses(0, datetime.min.replace(tzinfo=UTC))
REASON = "the least salient of what was derived, beyond the most that is kept"


@dataclass(frozen=True, slots=True)
class DecaySettings:
    """How fast what is known fades.

    Attributes:
        half_life_days: by kind; `other_days` for those that are not named.
        derived_max: so many derived memories of a namespace are kept.
        dropped_at_once: so many are dropped by one consolidation at most.
        rank_max: what use adds to a memory's nudge in a ranking, at most; 0: nothing.
    """

    half_life_days: Mapping[str, float] = field(default_factory=dict)
    other_days: float = 180.0
    derived_max: int = 100_000
    dropped_at_once: int = 500
    rank_max: float = 0.0

    def half_life(self, kind: str) -> timedelta:
        """Of a kind."""
        return timedelta(days=self.half_life_days.get(kind, self.other_days))


def faded(age: timedelta, half_life: timedelta) -> float:
    """2^(-age / half-life), in [0, 1]; 1 for what is not past yet."""
    return float(0.5 ** max(age / half_life, 0.0))


def use_share(uses: Uses, now: datetime, half_life: timedelta) -> float:
    """What recalls say of a memory, in [0, 1); exactly 0 where none gave it."""
    if uses.shown == 0:
        return 0.0
    return uses.shown / (uses.shown + PRIOR) * faded(now - uses.last_at, half_life)


def salience(since: datetime, uses: Uses, votes: Votes, now: datetime, half_life: timedelta) -> float:
    """How much a memory that was recorded at `since` is worth at `now`, in [0, 1]."""
    latest = max(since, uses.last_at) if uses.shown else since
    recency = faded(now - latest, half_life)
    return (recency + use_share(uses, now, half_life) + (1 + nudge(votes.useful, votes.useless)) / 2) / 3


def rank_nudge(uses: Uses, votes: Votes, now: datetime, half_life: timedelta, rank_max: float) -> float:
    """What votes and use add to a memory in a ranking, before the weight of both; use at most `rank_max`."""
    return nudge(votes.useful, votes.useless) + rank_max * use_share(uses, now, half_life)


def decision_of(memory: Memory) -> str:
    """What names the decision to drop a derived memory."""
    about = Triple.of(memory.item.frame) if memory.item.external_id is None else memory.item.external_id
    return within(decay_digest(about or memory.id, memory.sources), memory.item.scope)


class Decay:
    """Drops what is least salient, in two steps: chosen within a read transaction, dropped within a write."""

    def __init__(self, read: StoreTransaction, clock: Clock, ids: IdSource, settings: DecaySettings) -> None:
        self._read = read
        self._clock = clock
        self._ids = ids
        self.settings = settings

    def beyond(self, store: Store, namespace: str) -> int:
        """How many derived memories there are more than may be kept."""
        return max(0, store.derived_count(namespace) - self.settings.derived_max)

    def choose(self, namespace: str) -> list[Memory]:
        """What is to be dropped, least salient first; nothing while no more is kept than may be."""
        with self._read() as store:
            beyond = self.beyond(store, namespace)
            if not beyond:
                return []
            order = self._least_salient_first(store, namespace)
            wanted = min(beyond, self.settings.dropped_at_once)
            chosen: list[Memory] = []
            for start in range(0, len(order), wanted):
                part = store.get(namespace, [each.id for each in order[start : start + wanted]])
                known = store.decided(namespace, [decision_of(memory) for memory in part])
                chosen += [memory for memory in part if decision_of(memory) not in known]
                if len(chosen) >= wanted:
                    break
        return chosen[:wanted]

    def drop(self, store: Store, namespace: str, chosen: Sequence[Memory]) -> int:
        """Forget what was chosen and has not changed since; returns how many that were."""
        now = self._clock.now()
        current = {memory.id: memory for memory in store.get(namespace, [memory.id for memory in chosen])}
        same = [memory for memory in chosen if memory == current.get(memory.id)]
        for memory in same:
            store.replace(namespace, set_state(memory, "forgotten", now, REASON).memory)
            name = decision_of(memory)
            store.record_change(Change(self._ids.new("chg"), namespace, "decay", REASON, (memory.id,), now, name))
        return len(same)

    def _least_salient_first(self, store: Store, namespace: str) -> list[Loose]:
        loose = store.loose(namespace)
        uses = store.uses(namespace, [each.row for each in loose])
        votes = store.feedback(namespace)
        now = self._clock.now()

        def worth(each: Loose) -> tuple[float, int]:
            used = uses.get(each.row, NEVER_USED)
            half_life = self.settings.half_life(each.kind)
            return salience(each.since, used, votes.get(each.row, Votes()), now, half_life), each.row

        return sorted(loose, key=worth)
