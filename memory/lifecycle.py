"""What a write does to what is there: pure decisions, with clock and ids passed in.

nothing there            -> add
the same item again      -> unchanged
another item             -> new version
forgotten                -> stays forgotten, whatever is written
forget / restore         -> new version in the other state; a second time changes nothing
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from memory.model import Item, Memory, State
from recalld.core.errors import Conflict, PreconditionFailed


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a memory.

    Attributes:
        memory: the version that is current afterwards.
        changed: whether it differs from what was there.
        reason: why, in a few words, for the change log.
    """

    memory: Memory
    changed: bool
    reason: str


def add(existing: Memory | None, fresh: Memory) -> Decision:
    """Decide on a written item, given what its `external_id` already names."""
    if existing is None:
        return Decision(fresh, True, "written by a caller")
    if existing.state == "forgotten":
        return Decision(existing, False, "it was forgotten and stays so")
    if _same(existing.item, fresh.item):
        return Decision(existing, False, "the same item again")
    return Decision(new_version(existing, fresh.item, fresh.recorded_at), True, "another item under its external_id")


def update(existing: Memory, item: Item, now: datetime) -> Decision:
    """Decide on a change of a memory's item.

    Raises:
        Conflict: the memory is forgotten.
    """
    if existing.state == "forgotten":
        raise Conflict("the memory is forgotten: restore it before changing it")
    if _same(existing.item, item):
        return Decision(existing, False, "nothing differs")
    return Decision(new_version(existing, item, now), True, "changed by its caller")


def set_state(existing: Memory, state: State, now: datetime, reason: str) -> Decision:
    """Decide on forgetting or restoring."""
    if existing.state == state:
        return Decision(existing, False, "it already was")
    moved = replace(existing, state=state, version=existing.version + 1, recorded_at=now)
    return Decision(moved, True, reason)


def new_version(existing: Memory, item: Item, now: datetime) -> Memory:
    """The next version of `existing`, holding `item`. Its place, id and first record time stay."""
    return replace(existing, item=item, version=existing.version + 1, recorded_at=now)


def close(version: Memory, successor: Memory) -> Memory:
    """`version` as it stands in the history once `successor` took its place."""
    return replace(version, superseded_at=successor.recorded_at)


def as_known(history: Sequence[Memory], known_at: datetime) -> Memory:
    """Of all versions, newest first, the one that was current at `known_at`; the first one before that."""
    known = next((version for version in history if version.recorded_at <= known_at), history[-1])
    return replace(known, row=history[0].row)


def held_at(memory: Memory, moment: datetime) -> bool:
    """Whether it held then; what was merged away never did by itself."""
    if memory.valid_from is not None and memory.valid_from > moment:
        return False
    return memory.valid_to > moment if memory.valid_to is not None else memory.state != "superseded"


def check_version(existing: Memory, if_match: str | None) -> None:
    """Compare an `If-Match` header with the current version.

    Raises:
        PreconditionFailed: it names another version.
    """
    if if_match is None or if_match.strip() == "*":
        return
    tags = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
    if etag(existing) not in tags:
        raise PreconditionFailed(f"If-Match: the current version is {existing.version}")


def etag(memory: Memory) -> str:
    """The entity tag of a memory's current version."""
    return f'"{memory.version}"'


def merge_patch(item: Item, patch: Mapping[str, Any]) -> Item:
    """Apply a JSON merge patch (RFC 7396) to the fields that can change; null removes."""
    values = dict(patch)
    if "metadata" in values:
        values["metadata"] = _merge(item.metadata, values["metadata"])
    if values.get("frame") is not None:
        values["frame"] = _merge(item.frame or {}, values["frame"])
    return replace(item, **values)


def _same(one: Item, other: Item) -> bool:
    """Whether two items are equal, and their JSON too: Python takes `true` and 1 for the same."""
    written = [json.dumps([item.metadata, item.frame], sort_keys=True) for item in (one, other)]
    return one == other and written[0] == written[1]


def _merge(target: Mapping[str, Any], patch: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = dict(target) if patch is not None else {}
    for key, value in (patch or {}).items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            inner = merged.get(key)
            merged[key] = _merge(inner if isinstance(inner, dict) else {}, value)
        else:
            merged[key] = value
    return merged
