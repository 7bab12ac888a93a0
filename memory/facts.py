"""Facts as values: what one source says, and what stands when all of it is taken together.

A *statement* is one thing that one memory says: a triple, when it was said, and when it holds in the world as far as
the words tell. A *standing fact* is what follows from statements: the same triple said several times is one fact with
several sources, a slot that can hold one value at a time closes the old one. Two clocks never mix: `valid_from` and
`valid_to` are in the world, `recorded_at` and `superseded_at` are the memory's own (`memory.model`).

Triples are compared by `key`: case, articles and blanks do not count, and nothing else is guessed, because what is
merged wrongly is lost to whoever asks.

Source: bi-temporal relations after Snodgrass, Developing Time-Oriented Database Applications, ch. 10.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from memory.model import LinkKind
from retrieval.times import Precision

Key = tuple[str, str, str, bool]

CONFIDENT = 0.9
_ARTICLE = re.compile(r"^(?:an?|the|my|our)\s+", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")

SINGLE_VALUED: Mapping[str, str] = {
    "lives in": "one home at a time",
    "works at": "one employer at a time",
    "works as": "one occupation at a time",
    "name": "one name at a time",
    "is aged": "one age at a time",
    "is married to": "one spouse at a time",
    "is engaged to": "one partner at a time",
    "is dating": "one partner at a time",
    "phone number": "one number at a time",
    "email": "one address at a time",
    "email address": "one address at a time",
    "address": "one address at a time",
    "zip code": "one address at a time",
}
"""Slots that hold one value at a time, with the reason that a change gives. All others hold many."""


@dataclass(frozen=True, slots=True)
class Interval:
    """`[start, end)`, UTC, and the unit that was named."""

    start: datetime
    end: datetime
    precision: Precision

    def told(self) -> dict[str, str]:
        """As JSON."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat(), "precision": self.precision}


@dataclass(frozen=True)
class Triple:
    """Who, what, of what: `object` is in the words of its source."""

    subject: str
    predicate: str
    object: str
    negated: bool = False

    @cached_property
    def key(self) -> Key:
        """What makes two triples the same."""
        return (plain(self.subject), plain(self.predicate), plain(self.object), self.negated)

    @property
    def slot(self) -> tuple[str, str]:
        """Subject and predicate, compared as in `key`."""
        return self.key[:2]

    def frame(self) -> dict[str, Any]:
        """As a memory's `frame`."""
        return {
            "subject": self.subject,
            "predicate": self.predicate,
            "object": self.object,
            "negated": self.negated,
        }

    @classmethod
    def of(cls, frame: Mapping[str, Any] | None) -> "Triple | None":
        """The triple of a frame; None where it is not one of a fact."""
        parts = [(frame or {}).get(name) for name in ("subject", "predicate", "object")]
        if not all(isinstance(part, str) and part for part in parts):
            return None
        subject, predicate, object_ = map(str, parts)
        return cls(subject, predicate, object_, bool((frame or {}).get("negated", False)))


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that one memory says.

    Attributes:
        text: the fact in words of its own.
        said_at: when it was said; of a source with an unknown time when it was recorded.
        place: its place among statements said at the same time: the source's row, then the character.
        span: characters [start, end) of the source.
        valid_from: since when it holds, where that is told.
        due: until when it is to be done, where that is told.
        time: when it happened or will, where that is told.
        replaces: the object that it says has ended ("from A to B": A).
        ended: whether it says that this is over ("no longer", "used to").
        unique: whether its words speak of one thing ("my budget is"), so that another value may be a newer one.
        extractor: name and version of what read it.
        source_version: the version of its source that said so, where it can not be read off the source again.
    """

    triple: Triple
    text: str
    source_id: str
    said_at: datetime
    place: tuple[int, int]
    span: tuple[int, int]
    extractor: str
    confidence: float = 1.0
    valid_from: Interval | None = None
    due: Interval | None = None
    time: Interval | None = None
    replaces: str | None = None
    ended: bool = False
    unique: bool = False
    source_version: int | None = None

    @property
    def from_when(self) -> datetime:
        """Since when it holds, or, where that is not told, when it was said."""
        return self.valid_from.start if self.valid_from else self.said_at

    @property
    def order(self) -> tuple[datetime, datetime, tuple[int, int], Key]:
        """Where it stands among all statements, however late it came."""
        return (self.from_when, self.said_at, self.place, self.triple.key)


@dataclass(frozen=True, slots=True)
class Standing:
    """A fact as it stands.

    Attributes:
        statements: what says so, in order; never empty.
        valid_to: until when it holds; None: for all that is known, still.
        closed_by: the triple that took its place, where one did.
        reason: why it is closed.
    """

    statements: tuple[Statement, ...]
    valid_to: datetime | None = None
    closed_by: Triple | None = None
    reason: str = ""

    @property
    def triple(self) -> Triple:
        """In the words of its first statement."""
        return self.statements[0].triple

    @property
    def valid_from(self) -> datetime:
        """The earliest time of which a statement says that it holds."""
        return min(statement.from_when for statement in self.statements)

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the memories that say so."""
        return tuple(sorted({statement.source_id for statement in self.statements}))

    @property
    def confidence(self) -> float:
        """Of the surest statement."""
        return max(statement.confidence for statement in self.statements)


@dataclass(frozen=True, slots=True)
class Link:
    """Two standing facts of which the newer may make the older untrue: both stay."""

    kind: LinkKind
    newer: Triple
    older: Triple
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What follows from a set of statements, and the statements that an undo keeps out."""

    facts: tuple[Standing, ...]
    links: tuple[Link, ...] = ()
    ignored: tuple[Statement, ...] = field(default=())


def plain(text: str) -> str:
    """A text as triples are compared: small letters, single blanks, no article before it, no mark behind it."""
    return _ARTICLE.sub("", _BLANKS.sub(" ", text.casefold().replace("’", "'")).strip(" .,!;:\"'"))
