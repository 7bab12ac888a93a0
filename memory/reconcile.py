"""What has to change in the store so that it says what stands: pure, with clock and ids passed in.

Stored facts are matched with what `memory.merge.settle` gives by triple, and of several alike by their sources, so that
a fact keeps its id while what is known of it grows. The result is a list of decisions, each with the memory as it is to
be, a reason and its evidence; carrying them out twice changes nothing the second time.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from memory.facts import Key, Settled, Standing, Triple
from memory.merge import Vetoed, add_digest, confirm_digest, decay_digest, digest, link_digest, supersede_digest
from memory.model import Action, Deriver, Item, Memory, State
from memory.told import to_json
from recalld.core.scope import Scope


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision.

    Attributes:
        action: what it is.
        reason: why, without a word of what it is about.
        memory: what is written: a new memory, or a new version; None where only the change log says it.
        about: the memories that it is on, the newer first.
        digest: what names it when it is taken again.
        fresh: whether `memory` is new.
    """

    action: Action
    reason: str
    about: tuple[str, ...]
    digest: str
    memory: Memory | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Ground:
    """Where facts are kept: their namespace, scope and deriver."""

    namespace: str
    scope: Scope
    deriver: Deriver


def reconcile(
    settled: Settled,
    stored: Sequence[Memory],
    ground: Ground,
    now: datetime,
    new_id: Callable[[], str],
    vetoed: Vetoed = lambda digest: False,
    dropped: Vetoed = lambda digest: False,
) -> list[Decided]:
    """The decisions that lead from `stored` to `settled`; none where it is so already.

    Args:
        stored: derived facts of the scope, in any state, of the slots that `settled` is about. A forgotten one stays
            so, whatever stands; it keeps its place among the others.
        dropped: whether decay dropped what a digest names: that is not written again.
    """
    decided: list[Decided] = []
    ids: dict[Key, str] = {}
    waiting = _by_key(stored)
    for fact in settled.facts:
        alike = sorted(waiting.get(fact.triple.key, []), key=lambda each: _fit(fact, each))
        existing = alike.pop(0) if alike else None
        waiting[fact.triple.key] = alike
        if existing is None and dropped(decay_digest(fact.triple, fact.sources)):
            continue
        memory = existing
        if memory is None or memory.state != "forgotten":
            memory = _memory(fact, existing, ground, now, new_id)
            decided += _changes(fact, existing, memory)
        if fact.valid_to is None or fact.triple.key not in ids:
            ids[fact.triple.key] = memory.id
    for key, left in waiting.items():
        decided += [one for each in left for one in _left_over(each, ids.get(key), now, vetoed)]
    named = [(one, _closer(one, settled, ids)) for one in decided]
    links = [
        Decided(
            link.kind,
            link.reason,
            (ids[link.newer.key], ids[link.older.key]),
            link_digest(link.kind, link.newer, link.older),
        )
        for link in settled.links
        if {link.newer.key, link.older.key} <= ids.keys()
    ]
    return [*(replace(one, about=about) for one, about in named), *links]


def render_metadata(fact: Standing) -> dict[str, Any]:
    """What a fact's memory says beside its triple: confidence, who read it where, and the times that were told."""
    last = fact.statements[-1]
    told: dict[str, Any] = {
        "slot": slot_name(fact.triple),
        "confidence": round(fact.confidence, 3),
        "extractor": last.extractor,
        "spans": {each.source_id: list(each.span) for each in fact.statements},
    }
    for name, interval in (("valid_from", last.valid_from), ("due", last.due), ("time", last.time)):
        if interval is not None:
            told[name] = interval.told()
    if kept := [to_json(each) for each in fact.statements if each.source_version is not None]:
        told["told"] = kept
    if fact.reason:
        told["closed_because"] = fact.reason
    return told


def within(name: str, scope: Scope) -> str:
    """What names a decision in a scope: the same one in another scope is another decision."""
    return digest(name, *(value or "" for value in scope.values()))


def slot_name(triple: Triple) -> str:
    """What the facts of one subject and predicate are found by."""
    return hashlib.blake2b("\x1f".join(triple.slot).encode(), digest_size=8).hexdigest()


def _by_key(stored: Sequence[Memory]) -> dict[Key, list[Memory]]:
    found: dict[Key, list[Memory]] = {}
    for memory in stored:
        triple = Triple.of(memory.item.frame)
        if triple is not None:
            found.setdefault(triple.key, []).append(memory)
    return found


def _fit(fact: Standing, memory: Memory) -> tuple[bool, int, float, int]:
    """How well a stored fact is this one, smallest best: not merged away, shared sources, nearest beginning, age."""
    merged_away = memory.state == "superseded" and memory.valid_to is None
    shared = len({*fact.sources} & {*memory.sources})
    apart = abs(((memory.valid_from or memory.created_at) - fact.valid_from).total_seconds())
    return (merged_away, -shared, apart, memory.row)


def _memory(
    fact: Standing, existing: Memory | None, ground: Ground, now: datetime, new_id: Callable[[], str]
) -> Memory:
    first = fact.statements[0]
    state: State = "active" if fact.valid_to is None else "superseded"
    item = Item(
        first.text,
        kind="fact",
        speaker=first.triple.subject,
        occurred_at=first.said_at,
        metadata=render_metadata(fact),
        scope=ground.scope,
        frame=fact.triple.frame(),
    )
    if existing is None:
        existing = Memory(new_id(), ground.namespace, item, now, now, version=0)
    moved = replace(
        existing,
        item=item,
        state=state,
        valid_from=fact.valid_from,
        valid_to=fact.valid_to,
        sources=fact.sources,
        deriver=ground.deriver,
    )
    return existing if moved == existing else replace(moved, version=existing.version + 1, recorded_at=now)


def _changes(fact: Standing, existing: Memory | None, memory: Memory) -> list[Decided]:
    """The decisions on one fact; the last one carries what is written."""
    about = (memory.id,)
    ending = Decided("supersede", fact.reason, about, supersede_digest(fact.triple, fact.closed_by), memory)
    if existing is None:
        add = Decided("add", "its source says so", about, add_digest(fact.triple), memory, fresh=True)
        return [add, replace(ending, memory=None)] if fact.valid_to is not None else [add]
    if memory == existing:
        return []
    if existing.state == "active" and fact.valid_to is not None:
        return [ending]
    if existing.state == "superseded" and fact.valid_to is None:
        return [Decided("restore", "nothing says any more that it ended", about, digest("open", fact.triple), memory)]
    more = sorted({*fact.sources} - {*existing.sources})
    if more:
        said = {each.source_id: each.triple for each in fact.statements}
        confirmed = [
            Decided("confirm", "another source says so", (memory.id, source), confirm_digest(said[source], source))
            for source in more
        ]
        return [replace(confirmed[0], memory=memory), *confirmed[1:]]
    return [Decided("update", "more is known of when it holds", about, digest("update", fact.triple), memory)]


def _left_over(memory: Memory, kept: str | None, now: datetime, vetoed: Vetoed) -> list[Decided]:
    """A stored fact that nothing stands for any more, or that another row stands for already."""
    triple = Triple.of(memory.item.frame)
    assert triple is not None
    gone = replace(memory, state="superseded", valid_to=None, version=memory.version + 1, recorded_at=now)
    settled = memory.state == "superseded" and memory.valid_to is None
    if settled or memory.state == "forgotten":
        return []
    if kept is None:
        return [Decided("retract", "no source says so any more", (memory.id,), digest("retract", triple), gone)]
    name = digest("merge", triple, memory.id)
    if vetoed(name):
        return []
    return [Decided("merge", "the same fact stands already", (kept, memory.id), name, gone)]


def _closer(one: Decided, settled: Settled, ids: dict[Key, str]) -> tuple[str, ...]:
    """What a decision is on, with what took the fact's place before it."""
    if one.action != "supersede":
        return one.about
    closers = {
        supersede_digest(fact.triple, fact.closed_by): fact.closed_by for fact in settled.facts if fact.closed_by
    }
    newer = closers.get(one.digest)
    return (ids[newer.key], *one.about) if newer is not None and newer.key in ids else one.about
