"""Questions that the workspace answers: who, where, when, what, and what last. Pure.

A question is looked up only where *every* word of it is understood: it asks for actors, places, times or events, and
all else in it is a date, the name of an actor or a place, a word of the events themselves, or says nothing. One word
that no event has, a "why", a "not" or a "she", and it is no look-up: ordinary recall answers it, which can do with half
a question. So an answer is all events that meet every condition, and it needs no score.

    "Where was Ann on the 3rd?"     asks for places; Ann; [3rd, 4th)
    "Who painted a mural in May?"   asks for actors; words of an event; [May, June)
    "What did Ann do last?"         asks for events; Ann; only the last ones

Days are those of the place where it happened: a date is compared with the clock that a frame's time was written by.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from memory.facts import plain
from memory.verbs import base
from memory.workspace import Event, Workspace
from retrieval.analysis import STOP_WORDS, terms
from retrieval.times import Expression, resolve

Wanted = Literal["actors", "place", "time", "event"]
Named = tuple[Literal["actor", "place"], str]

QUERY_CHARS_MAX: Final = 400
"""A longer query is no question, but a text to find the like of."""
_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def _asks_for(pronoun: str, nouns: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{pronoun})\b|\b(?:which|what|list|name)\s+(?:(?:all|every|the|of)\s+)*(?:{nouns})\b")


_ASKS: Final[Sequence[tuple[Wanted, re.Pattern[str]]]] = (
    ("actors", _asks_for("who|whom", "people|persons?|actors?")),
    ("place", _asks_for("where", "places?|locations?")),
    ("time", _asks_for("when", "dates?|days?|times?")),
    ("event", _asks_for("what|which", "events?")),
)
_UNREADABLE: Final = re.compile(
    r"\b(?:not|never|no|nobody|none|nothing|without|except|but|or|if|than|why|how|whose|before|after|until|till|since"
    r"|while|during|between|he|she|it|they|you|him|her|them|his|hers|its|their|theirs|your|this|that|these|those|other"
    r"|others|else|same|more|most|few|fewer|less|only|own|again|still)\b|n['’]t\b"
)
_LAST: Final = re.compile(
    r"\b(?:last|latest|lately|(?:most )?recent(?:ly)?|now|currently|at the moment|these days)\b"
    r"|\b(?:where|who|what)(?:\s+(?:is|are|am)\b|['’]s\b)"
)
_FIRST: Final = re.compile(r"\b(?:first|earliest)\b")
_PREPOSITION: Final = re.compile(
    r"\b(?P<word>before|after|since|until|till|by|during|from|starting|on|in|at)\s+(?:the\s+)?$"
)
_SPEAKER: Final = re.compile(r"(?<!\btell )(?<!\bshow )(?<!\bgive )\b(?:i|me|my|we|us|our)\b")
_SELF: Final = frozenset({"user", "i", "me"})
"""Who asks, as an actor's name."""
_GENERIC = """
    list name tell show give please every everything everyone everybody anyone anybody event events happen happened
    happens happening occur occurred took take taken taking part place places location locations date dates day days
    time times person persons people actor actors present seen involved went go going gone last latest lately recent
    recently currently moment first earliest found visit visited visiting thing things ever together located exactly
"""
_SAYS_NOTHING: Final = STOP_WORDS | frozenset(_GENERIC.split())
_ALWAYS: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
# "On Friday" said of what is over is the last one, and so is "in May".
_STEPS_BACK: Final = (timedelta(0), timedelta(days=7), timedelta(days=31), timedelta(days=366))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the workspace answers.

    Attributes:
        wanted: what was asked for.
        events: all that meet the question, in the order of time; none: it was understood, and nothing does.
    """

    wanted: Wanted
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class _Dated:
    """Characters [start, end) of a question that name a time, and the time, `[low, high)` of some clock."""

    start: int
    end: int
    low: datetime
    high: datetime


@dataclass(frozen=True, slots=True)
class _Term:
    """One term of a question, and the word that it is of."""

    term: str
    word: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that may be looked up.

    Attributes:
        text: the question without its dates, in small letters.
        now: what begins later is not "last" yet.
    """

    wanted: Wanted
    text: str
    dates: tuple[_Dated, ...]
    now: datetime


def asked(query: str, now: datetime) -> Asked | None:
    """A question as far as it can be read without the workspace; None where it is no look-up.

    Args:
        now: the time from which "yesterday" is read.
    """
    if len(query) > QUERY_CHARS_MAX:
        return None
    dates = _dates(query, now)
    text = _blanked(query, dates).lower()
    wanted = next((kind for kind, pattern in _ASKS if pattern.search(text)), None)
    if wanted is None or _UNREADABLE.search(_LAST.sub(" ", text)):
        return None
    return Asked(wanted, text, tuple(dates), now)


class Lookups:
    """A workspace, ready to be asked: the names and words of its events, each phrase read once."""

    def __init__(self, workspace: Workspace) -> None:
        self._events = workspace.events
        self._read: dict[str, frozenset[str]] = {}
        self._names: dict[tuple[str, ...], set[Named]] = {}
        for event in workspace.events:
            for actor in event.actors:
                self._names.setdefault(tuple(terms(actor.key)), set()).add(("actor", actor.key))
            if event.place:
                self._names.setdefault(tuple(terms(plain(event.place))), set()).add(("place", plain(event.place)))
        self._names.pop((), None)
        self._lengths = sorted({len(name) for name in self._names}, reverse=True)
        self._words = [self._words_of(event) for event in workspace.events]
        self._known = frozenset[str]().union(*self._words)

    def answer(self, question: Asked) -> Answer | None:
        """All events that meet a question; None where a word of it is not understood."""
        mentions, left = self._mentions(_terms_of(question.text))
        if _SPEAKER.search(question.text):
            mentions.append(self._speaker())
        content = frozenset(base(each.term) for each in left if each.word not in _SAYS_NOTHING)
        newest, oldest = bool(_LAST.search(question.text)), bool(_FIRST.search(question.text))
        something = mentions or content or question.dates or newest or oldest
        if not all(mentions) or not content <= self._known or not something:
            return None
        found = [
            event
            for event, words in zip(self._events, self._words, strict=True)
            if _tells(event, question.wanted, mentions)
            and all(any(_has(event, name) for name in alternatives) for alternatives in mentions)
            and (not question.dates or any(_overlaps(event, date) for date in question.dates))
            and content <= words
        ]
        if newest or oldest:
            found = _extreme(found, question.now, newest)
        return Answer(question.wanted, tuple(found))

    def _words_of(self, event: Event) -> frozenset[str]:
        told = [event.action, event.object, event.place]
        told += [said for actor in event.actors for said in (actor.name, actor.role, actor.state)]
        return frozenset[str]().union(*(self._terms(said) for said in told if said))

    def _speaker(self) -> list[Named]:
        """The actors that are whoever asks."""
        return sorted(named for names in self._names.values() for named in names if named[1] in _SELF)

    def _mentions(self, question: Sequence[_Term]) -> tuple[list[list[Named]], list[_Term]]:
        """The whole names in a question, longest first, each with who or what it may be; and the terms left."""
        left: list[_Term | None] = list(question)
        found: list[list[Named]] = []
        for length in self._lengths:
            for at in range(len(left) - length + 1):
                here = [each for each in left[at : at + length] if each is not None]
                named = self._names.get(tuple(each.term for each in here)) if len(here) == length else None
                if named is not None:
                    found.append(sorted(named))
                    left[at : at + length] = [None] * length
        return found, [each for each in left if each is not None]

    def _terms(self, said: str) -> frozenset[str]:
        if said not in self._read:
            self._read[said] = frozenset(map(base, terms(said)))
        return self._read[said]


def _terms_of(text: str) -> list[_Term]:
    words = _WORD.findall(text)
    return [_Term(term, re.sub(r"['’]s$", "", word.lower())) for word in words for term in terms(word)]


def _dates(query: str, now: datetime) -> list[_Dated]:
    return [_dated(query, date) for date in _past(query, resolve(query, now), now) if not _vague(query, date)]


def _vague(query: str, date: Expression) -> bool:
    return bool(_LAST.fullmatch(query[date.start_char : date.end_char].lower()))


def _past(query: str, dates: Sequence[Expression], now: datetime) -> list[Expression]:
    """Dates that the question leaves open ("on Friday"), taken as those before now."""
    found = list(dates)
    for step in _STEPS_BACK[1:]:
        if not any(date.anchored and date.start > now for date in found) or now - _ALWAYS[0] < step:
            break
        earlier = {(date.start_char, date.end_char): date for date in resolve(query, now - step)}
        found = [
            earlier.get((date.start_char, date.end_char), date) if date.anchored and date.start > now else date
            for date in found
        ]
    return found


def _dated(query: str, date: Expression) -> _Dated:
    """What a date and the preposition before it say together."""
    before = _PREPOSITION.search(query[: date.start_char].lower())
    word = before["word"] if before else ""
    low, high = date.start, date.end
    if date.role == "since":
        low, high = high if word == "after" else low, _ALWAYS[1]
    elif date.role == "until":
        low, high = _ALWAYS[0], low if word == "before" else high
    return _Dated(before.start() if before else date.start_char, date.end_char, low, high)


def _blanked(query: str, dates: Sequence[_Dated]) -> str:
    for date in dates:
        query = query[: date.start] + " " * (date.end - date.start) + query[date.end :]
    return query


def _tells(event: Event, wanted: Wanted, mentions: Sequence[Sequence[Named]]) -> bool:
    """Whether it says what is asked for: of actors, one whom the question does not name."""
    if wanted == "actors":
        named = {name for alternatives in mentions for kind, name in alternatives if kind == "actor"}
        return any(actor.key not in named for actor in event.actors)
    if wanted == "place":
        return event.place is not None
    return event.dated if wanted == "time" else bool(event.action or event.object)


def _has(event: Event, name: Named) -> bool:
    kind, value = name
    if kind == "actor":
        return event.actor(value) is not None
    return event.place is not None and plain(event.place) == value


def _overlaps(event: Event, date: _Dated) -> bool:
    """By the clock of the place: both are compared without their zones."""
    if not event.dated:
        return False
    return event.start.replace(tzinfo=UTC) < date.high and event.until.replace(tzinfo=UTC) > date.low


def _extreme(found: Sequence[Event], now: datetime, newest: bool) -> list[Event]:
    """Those that began last (by now), or first; an event with an unknown time only where no other is there."""
    begun = [event for event in found if event.start <= now]
    begun = [event for event in begun if event.dated] or begun
    moment = (max if newest else min)((event.start for event in begun), default=now)
    return [event for event in begun if event.start == moment]
