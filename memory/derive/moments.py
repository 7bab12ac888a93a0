"""The times that a clause tells, each as what it is: when it happened, since when it holds, by when it is due.

`retrieval.times` is the one resolver; it reads a text once, at the time at which it was said, and here each expression
goes to the clause that it stands in. "Recently" and "lately" never beat a date that is named beside them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from memory.facts import Interval
from retrieval.times import Expression, resolve

_DIGIT_OR_WORD: Final = re.compile(
    r"\d|\b(?:to(?:day|night|morrow)|yesterday|last|next|ago|week|month|year|spring|summer|autumn|fall|winter|morning"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|since|recently|lately"
    r"|christmas|easter|halloween|thanksgiving|decade)",
    re.IGNORECASE,
)
_VAGUE: Final = frozenset({"recently", "lately"})
_JOINT: Final = re.compile(
    r"[\s,(]*\b(?:(?:back\s+)?(?:in|on|at|by|since|during|from|until|till|before|for|around|about|starting|due|this|just"
    r"|early|late|of|as of)\s*)*$",
    re.IGNORECASE,
)

_BEHIND: Final = re.compile(r"\s+(?:yet|already|before|again|now|any\s?more|either|today|so far|as well|too)\s*$")


@dataclass(frozen=True, slots=True)
class Told:
    """One expression of a text: where it stands, when it is, and how it is meant."""

    start: int
    end: int
    interval: Interval
    role: str
    vague: bool


@dataclass(frozen=True, slots=True)
class Dates:
    """What a clause's expressions say of a fact."""

    valid_from: Interval | None = None
    due: Interval | None = None
    time: Interval | None = None


def moments(text: str, said_at: datetime | None) -> list[Told]:
    """The time expressions of a text, in order."""
    if not _DIGIT_OR_WORD.search(text):
        return []
    return [_told(text, expression) for expression in resolve(text, said_at)]


def _told(text: str, found: Expression) -> Told:
    words = text[found.start_char : found.end_char].lower()
    interval = Interval(found.start, found.end, found.precision)
    return Told(found.start_char, found.end_char, interval, found.role, words in _VAGUE)


def dated(told: Sequence[Told], clause: tuple[int, int], *, planned: bool, begins: bool) -> Dates:
    """The dates of a fact that stands in a clause.

    Args:
        clause: characters [start, end).
        planned: whether it is still to come: then "by Friday" is when it is due.
        begins: whether it happened, so that what holds from then on began at its time.
    """
    within = [each for each in told if clause[0] <= each.start < clause[1]]
    exact = [each for each in within if not each.vague] or within
    since = next((each.interval for each in exact if each.role == "since"), None)
    until = next((each.interval for each in exact if each.role == "until"), None)
    at = next((each.interval for each in exact if each.role == "at"), None)
    if planned:
        return Dates(due=until, time=at or since)
    return Dates(valid_from=since or (at if begins else None), due=until, time=at)


def trimmed(text: str, start: int, end: int, told: Sequence[Told]) -> tuple[int, int]:
    """Characters [start, end) without blanks and marks around, and without a time expression at its end."""
    while True:
        while start < end and text[start] in " \t\n,:*":
            start += 1
        while end > start and text[end - 1] in " \t\n,.!?:;-–—*)(":
            end -= 1
        if behind := _BEHIND.search(text, start, end):
            end = behind.start()
            continue
        last = next((each for each in told if start < each.start < end <= each.end), None)
        if last is None:
            return start, end
        joint = _JOINT.search(text, start, last.start)
        end = joint.start() if joint else last.start
