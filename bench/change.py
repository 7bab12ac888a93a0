"""Change: which turns that disagree are linked, how many links are wrong, and every automatic supersede.

BEAM's questions name the messages that an answer rests on: for `knowledge_update` an older value and a newer one, for
`contradiction_resolution` a statement and its denial. A pair counts where the user said at least two of them; it is
found when a link is between two. Every other link counts as false, though some may be right: BEAM plants more updates
than it asks for. LoCoMo's speakers are people who talk, among whom hardly a link is due.

Supersedes are made by `memory.merge` from facts, per user; `bench/labels/supersedes.json` says of each whether it is
right, by its turn and digest.

False merges: 200 pairs of turns that look alike and say different things (`bench/labels/false_merges.json`: another
object, name, number or time, or the denial) are written as a caller does and learnt from. A pair is merged falsely
where one of its turns is gone or changed, or where one fact rests on both.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, get_args

from bench.datasets import Conversation, Turn, beam, locomo, longmemeval
from bench.facts import UNKNOWN, digest
from bench.instance import consolidate, temporary_instance
from bench.runner import Options
from memory.derive.disagreements import Disagreement, Said, disagreements
from memory.derive.facts import read
from memory.facts import Standing
from memory.merge import settle
from memory.model import Item, Memory, Selection, State
from recalld.core.errors import ConfigError
from recalld.core.scope import Scope

LABELS = Path(__file__).parent / "labels" / "supersedes.json"
ALIKE = Path(__file__).parent / "labels" / "false_merges.json"
STATES: tuple[State, ...] = get_args(State)
MEMORIES_MAX = 100
PAIRS = {"possibly_supersedes": "knowledge_update", "conflict": "contradiction_resolution"}


def run(options: Options) -> dict[str, Any]:
    """Links on BEAM and LoCoMo, supersedes on all conversations that are here."""
    chats = beam("100K", options.data)
    results: dict[str, Any] = {"beam-100K": links_on(chats)}
    everything = list(chats)
    with suppress(ConfigError):
        talks = locomo()
        everything += talks
        found = [links_of(told) for told in talks]
        turns = sum(len(told.turns) for told in talks)
        results["locomo"] = {"turns": turns, "links per 1,000": _per_1000(sum(map(len, found)), turns)}
    for load in (longmemeval, partial(beam, "500K")):
        with suppress(ConfigError):
            everything += load()
    return results | {"supersedes": supersedes(everything), "false merges": false_merges(_alike())}


def speakers(told: Conversation) -> list[list[Turn]]:
    """The turns of each who speaks, but for the assistant's."""
    names = dict.fromkeys(turn.speaker for turn in told.turns if turn.role in (None, "user"))
    return [[turn for turn in told.turns if turn.role in (None, "user") and turn.speaker == name] for name in names]


def links_of(told: Conversation) -> list[Disagreement]:
    """The links in one conversation."""
    return [link for turns in speakers(told) for link in disagreements([Said(turn.id, turn.text) for turn in turns])]


def links_on(chats: Sequence[Conversation]) -> dict[str, Any]:
    """Pairs found and false links per 1,000 of the user's turns, by kind."""
    counted: dict[str, dict[str, int]] = {kind: {"pairs": 0, "found": 0, "links": 0, "right": 0} for kind in PAIRS}
    users = 0
    for told in chats:
        ids = {turn.id for turn in told.turns if turn.role == "user"}
        users += len(ids)
        links = links_of(told)
        for kind, category in PAIRS.items():
            mine = [(link.newer, link.older) for link in links if link.kind == kind]
            pairs = [asked.evidence & ids for asked in told.questions if asked.category == category]
            pairs = [pair for pair in pairs if len(pair) > 1]
            right = {link for link in mine if any(set(link) <= pair for pair in pairs)}
            counts = counted[kind]
            counts["pairs"] += len(pairs)
            counts["found"] += sum(any(set(link) <= pair for link in mine) for pair in pairs)
            counts["links"] += len(mine)
            counts["right"] += len(right)
    return {
        kind: {
            **counts,
            "share found": round(counts["found"] / counts["pairs"], 3) if counts["pairs"] else None,
            "false per 1,000 user turns": _per_1000(counts["links"] - counts["right"], users),
        }
        for kind, counts in counted.items()
    }


def supersedes(everything: Sequence[Conversation]) -> dict[str, Any]:
    """Every fact that was closed by another one, and how many of them are right."""
    closed = [(told.name, fact) for told in everything for fact in closed_facts(told)]
    labels = {tuple(each["fact"]): each["right"] for each in json.loads(LABELS.read_text(encoding="utf-8"))}
    judged = [labels[name] for each in closed if (name := name_of(*each)) in labels]
    return {
        "made": len(closed),
        "labelled": len(judged),
        "right": sum(judged),
        "precision": round(sum(judged) / len(judged), 3) if judged else None,
    }


def false_merges(pairs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many of these pairs were merged, and which; `read`: those of which both turns gave a fact."""
    merged: list[Sequence[str]] = []
    read_both = 0
    with temporary_instance("hash") as instance:
        for number, pair in enumerate(pairs):
            namespace = f"pair-{number}"
            instance.add(namespace, [Item(text, role="user", scope=Scope("ann")) for text in pair["said"]])
            consolidate(instance.service, namespace)
            with instance.service.read_store() as store:
                found = store.select(namespace, Selection(states=STATES), instance.service.clock.now(), MEMORIES_MAX)
            turns = {memory.id: memory for memory in found if memory.item.kind == "turn"}
            kept = sorted(memory.item.text for memory in turns.values() if memory.state == "active")
            facts = [memory for memory in found if memory.item.kind == "fact"]
            read_both += {source for fact in facts for source in fact.sources} == turns.keys()
            if kept != sorted(pair["said"]) or any(len(fact.sources) > 1 for fact in facts):
                merged.append(pair["said"])
    kinds = Counter(pair["kind"] for pair in pairs)
    return {"pairs": len(pairs), "by kind": dict(kinds), "read": read_both, "merged": len(merged), "which": merged}


def _alike() -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(ALIKE.read_text(encoding="utf-8"))
    return told


def closed_facts(told: Conversation) -> list[Standing]:
    """What was superseded in one conversation, taken as one user's."""
    memories = [
        Memory(turn.id, "bench", turn.item(), UNKNOWN, UNKNOWN, row=row)
        for place, turns in enumerate(speakers(told))
        for row, turn in enumerate(turns, place * 100_000)
    ]
    settled = settle([statement for memory in memories for statement in read(memory)])
    return [fact for fact in settled.facts if fact.closed_by is not None]


def name_of(conversation: str, fact: Standing) -> tuple[str, str, str]:
    """What its label is found by."""
    return (conversation, fact.statements[-1].source_id, digest(fact.statements[-1]))


def _per_1000(count: int, turns: int) -> float:
    return round(count / turns * 1000, 2)
