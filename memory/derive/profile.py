"""The profile of a person: the facts that stand now, the most lasting first, one a line, under a token budget.

    user lives in Lisbon            what holds one value at a time first, in the order of `memory.facts`
    user loves sushi                then what most sources say, then what was said last
    user plans to visit Rome        what is bound to a time last; left out once that time is over

Pure: the same facts at the same time give the same profile. Every line is a fact's own text and names the fact, so a
profile says nothing that no fact says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from memory.consolidate import Proposal
from memory.facts import SINGLE_VALUED, Triple
from memory.lifecycle import held_at
from memory.model import Item, Memory

_PLACE = {predicate: place for place, predicate in enumerate(SINGLE_VALUED)}
_INTERVALS = ("due", "time")
KEY = "person"


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """How long a profile is.

    Attributes:
        tokens_max: of the whole text, by the encoder's tokenizer.
        per_predicate_max: so many facts of one subject and predicate, so that one habit does not fill it.
        confidence_min: of a fact. What only a parser or a language model read is below it: a profile is read without
            what surrounds its sentences.
    """

    tokens_max: int = 256
    per_predicate_max: int = 8
    confidence_min: float = 0.75


def assemble(
    facts: Sequence[Memory],
    now: datetime,
    count_tokens: Callable[[str], int],
    settings: ProfileSettings = ProfileSettings(),
) -> Proposal | None:
    """The profile that follows from facts; None where none of them stands or fits.

    Args:
        facts: of one person, in any order and state.
        now: when they have to hold.
    """
    standing = sorted((fact for fact in facts if _sure(fact, settings) and _stands(fact, now)), key=_rank)
    chosen: list[Memory] = []
    said: set[str] = set()
    counts: dict[tuple[str, str], int] = {}
    left = settings.tokens_max
    for fact in standing:
        line = _line(fact)
        slot = _slot(fact)
        # A line costs its own tokens and at most one for the break before it.
        cost = count_tokens(line) + 1
        if line in said or cost > left or counts.get(slot, 0) == settings.per_predicate_max:
            continue
        said.add(line)
        counts[slot] = counts.get(slot, 0) + 1
        left -= cost
        chosen.append(fact)
    if not chosen:
        return None
    lines = [_line(fact) for fact in chosen]
    metadata = {"citations": [{"memory_id": fact.id, "line": line} for line, fact in enumerate(chosen)]}
    moments = [fact.item.occurred_at for fact in chosen if fact.item.occurred_at is not None]
    item = Item("\n".join(lines), kind="profile", occurred_at=max(moments, default=None), metadata=metadata)
    return Proposal(KEY, item, tuple(fact.id for fact in chosen))


def _sure(fact: Memory, settings: ProfileSettings) -> bool:
    return float(fact.item.metadata.get("confidence", 1.0)) >= settings.confidence_min


def _stands(fact: Memory, now: datetime) -> bool:
    """Whether it holds now, and speaks of nothing that is over: a plan that is past is no part of the picture."""
    if fact.state == "forgotten" or not held_at(fact, now) or (fact.item.expires_at or now) < now:
        return False
    due = fact.item.metadata.get("due")
    return not (isinstance(due, Mapping) and _is_over(due, now))


def _is_over(interval: Mapping[str, Any], now: datetime) -> bool:
    return datetime.fromisoformat(str(interval["end"])) <= now


def _rank(fact: Memory) -> tuple[int, bool, int, float, int]:
    """Smallest first; the row decides between equals."""
    bound_to_time = any(name in fact.item.metadata for name in _INTERVALS)
    said_at = (fact.item.occurred_at or fact.created_at).timestamp()
    return (_PLACE.get(_slot(fact)[1], len(_PLACE)), bound_to_time, -len(fact.sources), -said_at, fact.row)


def _slot(fact: Memory) -> tuple[str, str]:
    triple = Triple.of(fact.item.frame)
    return triple.slot if triple is not None else ("", "")


def _line(fact: Memory) -> str:
    return " ".join(fact.item.text.split())
