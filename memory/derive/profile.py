"""The profile of a scope: its valid facts, the standing ones first, as many as a budget holds. Pure.

Slots that hold one value (home, employer, name, ...) come first, in the order of `memory.facts.SINGLE_VALUED`; then
what most sources say, then what was said last. A fact below `confidence_min` (so all that only a language model read),
a plan whose time is over and a second value of a slot that holds one are left out: a profile is read without what
surrounds its sentences.

Invariant: each line is the text of one fact, which is cited in its place; the text is within the budget.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from memory.facts import SINGLE_VALUED, Triple
from memory.model import Item, Memory

_ORDER = {predicate: place for place, predicate in enumerate(SINGLE_VALUED)}


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """How long a profile is: `tokens_max` by the encoder's tokenizer; and how sure what it says."""

    tokens_max: int = 256
    confidence_min: float = 0.8


def profile(
    facts: Sequence[Memory], now: datetime, count_tokens: Callable[[str], int], settings: ProfileSettings
) -> tuple[Item, list[Memory]] | None:
    """The profile that valid facts of one scope give, and those that it cites; None of none."""
    chosen: list[Memory] = []
    left = settings.tokens_max
    slots: set[tuple[str, str]] = set()
    for fact in sorted(facts, key=_rank):
        triple = Triple.of(fact.item.frame)
        if triple is None or not _tells(fact, now, settings):
            continue
        if triple.slot[1] in _ORDER and triple.slot in slots:
            continue
        # A line costs its own tokens and at most one for the break before it.
        cost = count_tokens(fact.item.text) + 1
        if cost <= left:
            left -= cost
            slots.add(triple.slot)
            chosen.append(fact)
    if not chosen:
        return None
    cited = {"citations": [{"memory_id": fact.id} for fact in chosen]}
    return Item("\n".join(fact.item.text for fact in chosen), kind="profile", metadata=cited), chosen


def _rank(fact: Memory) -> tuple[int, int, float, int]:
    triple = Triple.of(fact.item.frame)
    slot = _ORDER.get(triple.slot[1], len(_ORDER)) if triple else len(_ORDER)
    return (slot, -len(fact.sources), -(fact.valid_from or fact.created_at).timestamp(), -fact.row)


def _tells(fact: Memory, now: datetime, settings: ProfileSettings) -> bool:
    told = fact.item.metadata
    over = [told[name]["end"] for name in ("due", "time") if name in told and told[name]["end"] <= now.isoformat()]
    planned = str((fact.item.frame or {}).get("predicate", "")).startswith("plan")
    return told.get("confidence", 1.0) >= settings.confidence_min and not (planned and over)
