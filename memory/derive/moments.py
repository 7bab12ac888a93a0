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

# "A lunchbox from the 70s" is not from the day on which it was bought.
_OF_A_NOUN: Final = re.compile(r"\b(?:from|of|my|our|their)\s+(?:the\s+)?$")
_BEHIND: Final = re.compile(
    r"\s+(?:yet|already|before|again|now|any\s?more|either|today|so far|as well|too|ever|for example|for instance"
    r"|speaking of|of course|together|(?:for\s+)?(?:quite\s+)?(?:a while|a bit|a long time|ages)"
    r"|for\s+(?:years|months|weeks)|(?:just\s+)?(?:for|from|the|an?|about|at|since|under|was|is|are|and|or|to|of|in|on"
    r"|with|can|by|as|than|like|such|that|which|who|what|how|where|why|if|my|our|only|especially|including|over))\s*$"
)


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
    found = resolve(text, said_at)
    return [_told(text, each) for each in found if not _is_attribute(text, each)]


def _is_attribute(text: str, found: Expression) -> bool:
    """Whether it tells of a noun ("from the 70s", "a 1960s-era camera") and not when something happened."""
    return text[found.end_char : found.end_char + 1] == "-" or bool(_OF_A_NOUN.search(text, 0, found.start_char))


def _told(text: str, found: Expression) -> Told:
    words = text[found.start_char : found.end_char].lower()
    interval = Interval(found.start, found.end, found.precision)
    return Told(found.start_char, found.end_char, interval, found.role, words in _VAGUE)


def with_lead(text: str, clause: tuple[int, int], told: Sequence[Told]) -> tuple[int, int]:
    """The clause with the time that stands before it ("Last week I went ...")."""
    lead = (each.start for each in told if each.end <= clause[0] and not text[each.end : clause[0]].strip(" ,"))
    return (min(lead, default=clause[0]), clause[1])


def dated(told: Sequence[Told], clause: tuple[int, int], *, planned: bool, begins: bool, ended: bool = False) -> Dates:
    """The dates of a fact that stands in a clause.

    Args:
        clause: characters [start, end).
        planned: whether it is still to come: then "by Friday" is when it is due.
        begins: whether it happened, so that what holds from then on began at its time.
        ended: whether it happened by a time ("finished by May"), and is not to happen by it ("set a goal by May").
    """
    within = [each for each in told if clause[0] <= each.start < clause[1]]
    exact = [each for each in within if not each.vague] or within
    since = next((each.interval for each in exact if each.role == "since"), None)
    until = next((each.interval for each in exact if each.role == "until"), None)
    at = next((each.interval for each in exact if each.role == "at"), None)
    if planned:
        return Dates(due=until, time=at or since)
    if begins:
        happened = at or (until if ended else None)
        return Dates(valid_from=since or happened, due=None if ended else until, time=happened)
    return Dates(valid_from=since, due=until, time=at)


def plausible(text: str, clause: tuple[int, int], said_at: datetime | None, dates: Dates, *, planned: bool) -> Dates:
    """The dates of a fact, read from its clause alone where they do not fit it: nothing that happened is yet to come.

    Another clause of the sentence can make "on March 1st" next year's; what stays wrong is left out.
    """
    if dates.time is None or said_at is None or _fits(dates.time, said_at, planned):
        return dates
    alone = dated(moments(text[slice(*clause)], said_at), (0, len(text)), planned=planned, begins=not planned)
    if alone.time is not None and _fits(alone.time, said_at, planned):
        return alone
    return Dates(due=dates.due)


def _fits(time: Interval, said_at: datetime, planned: bool) -> bool:
    return time.end > said_at if planned else time.start <= said_at


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
