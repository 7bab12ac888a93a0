"""How procedures and rationales turned out, and what that does to their rank. Pure.

Each report of an outcome is a version of the memory. What counts are the reports since its steps (or its reasoning)
were last changed: what failed and was corrected starts anew. The nudge is that of feedback (`retrieval.feedback`): one
success is a hint, many agree, repeated failures sink; similarity comes first.

Source: ARM-RAG: rationales that led to right answers are what is retrieved again.
"""

from collections.abc import Sequence
from typing import Any

from memory.model import Item, Kind, Memory, Votes
from retrieval.feedback import nudge

TRIED_KINDS: frozenset[Kind] = frozenset({"procedure", "rationale"})
WEIGHT = 1.0
"""Of a nudge, in deviations of the scores that are ranked."""


def subject_of(item: Item) -> str | None:
    """What a procedure or a rationale is for: its task, or its question; None for all else."""
    name = {"procedure": "task", "rationale": "question"}.get(item.kind)
    found = (item.frame or {}).get(name) if name is not None else None
    return found if isinstance(found, str) and found.strip() else None


def tally(history: Sequence[Memory]) -> Votes:
    """Successes (`useful`) and failures (`useless`) that were reported of a memory as it is now.

    Args:
        history: its versions, newest first.
    """
    told = [_reported(memory) for memory in history]
    kept = [_without_outcome(memory) for memory in history]
    same = next((at for at, frame in enumerate(kept) if frame != kept[0]), len(history))
    earlier = [*told[1:], None]
    reports = [now for now, before in list(zip(told, earlier, strict=True))[:same] if now is not None and now != before]
    wins = sum(report["success"] for report in reports)
    return Votes(wins, len(reports) - wins)


def worth(votes: Votes) -> float:
    """What a tally adds to a score."""
    return WEIGHT * nudge(votes.useful, votes.useless)


def _reported(memory: Memory) -> dict[str, Any] | None:
    outcome = (memory.item.frame or {}).get("outcome")
    return outcome if isinstance(outcome, dict) and isinstance(outcome.get("success"), bool) else None


def _without_outcome(memory: Memory) -> dict[str, Any]:
    return {name: value for name, value in (memory.item.frame or {}).items() if name != "outcome"}
