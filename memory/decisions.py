"""Decisions on two memories that leave both as they are: recorded once, and not again where somebody undid one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from memory.model import Action, Change
from memory.ports import Store
from memory.reconcile import within
from recalld.core.ids import IdSource
from recalld.core.scope import Scope


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said of which memories, the newer first; `digest` names it within its scope."""

    action: Action
    reason: str
    about: tuple[str, ...]
    digest: str
    scope: Scope


def record_new(
    store: Store, namespace: str, decisions: Sequence[Decision], now: datetime, ids: IdSource
) -> list[Change]:
    """Record as changes those that were not taken before; returns them."""
    names = [within(each.digest, each.scope) for each in decisions]
    taken = store.decided(namespace, names)
    changes = [
        Change(ids.new("chg"), namespace, each.action, each.reason, each.about, now, name)
        for each, name in zip(decisions, names, strict=True)
        if name not in taken
    ]
    for change in changes:
        store.record_change(change)
    return changes
