"""Segments: where a stream of turns goes over to something else. Pure, and with a state of constant size.

    another session               a segment ends
    a gap in time                 it ends, where both times are known
    turns_max or tokens_max       it ends
    cohesion drops                it ends, once it has turns_min

The cohesion of a turn is its cosine with the nearest of the last few turns of the segment, averaged with that of the
turn after it: a reply tells more of what a short question is about than the question does. So a turn is decided on when
the next one comes. It drops where it is below a fixed cosine, and below the running mean by so many deviations.

Source: the sensory and short-term stages of LightMem (Fang et al., 2025, sections 3.1 and 3.2), which cut a buffer by
attention and similarity; here by cosines alone. What it is worth is in `bench/results/segments.json`: it groups what
one chat says of several things; within one long relationship it finds little. So segments say what
is read or summed up together; nothing is left out, hidden or dropped by them.

Invariant: turns that come in any portions are cut at the same places.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from memory.model import Memory
from retrieval.ports import Floats

Reason = Literal["session", "time", "size", "topic"]
Vectors = Callable[[str, Sequence[Memory]], Sequence[Floats | None]]
"""Of memories of a namespace, the vectors that the index has: nothing is encoded for a segment."""
_DEVIATION_FIRST = 0.14
"""Of cosines, before there are any to measure it on."""


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """When a segment ends.

    Attributes:
        gap_s: seconds between two turns, above which they are of two segments.
        cohesion_min: a turn that coheres with its segment as much as this is of it.
        deviations: how far below the running mean a turn's cohesion has to be besides.
        rate: the weight of the newest turn in that mean and its deviation.
        nearest_of: how many of the last turns of a segment a turn is compared with.
        turns_min: of a segment that a drop in cohesion ends.
        turns_max, tokens_max: of any segment; one turn may have more tokens by itself.
    """

    gap_s: float = 3600.0
    cohesion_min: float = 0.3
    deviations: float = 1.0
    rate: float = 0.1
    nearest_of: int = 3
    turns_min: int = 2
    turns_max: int = 200
    tokens_max: int = 100_000


@dataclass(frozen=True, slots=True)
class Piece:
    """What is looked at of one turn; `vector` `[D]` is of unit length, None where there is none."""

    session: str | None
    at: datetime | None
    vector: Floats | None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """A segment begins with the turn at `place`, counted from 0 over the whole stream."""

    place: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Stream:
    """What is known of the turns so far.

    Attributes:
        seen: how many turns came; the last one is `last`, on which nothing is decided yet.
        turns, tokens: of the running segment, without `last`.
        before: the turn before `last`.
        recent: `[D]` each, the vectors of the segment's last turns.
        mean, variance: of the cohesion of turns that were of their segment, over all segments.
    """

    seen: int = 0
    last: Piece | None = None
    before: Piece | None = None
    turns: int = 0
    tokens: int = 0
    recent: tuple[Floats, ...] = ()
    mean: float | None = None
    variance: float = _DEVIATION_FIRST**2


EMPTY = Stream()


def push(stream: Stream, piece: Piece, settings: SegmentSettings) -> tuple[Stream, Cut | None]:
    """Take in a turn; decides on the one before it."""
    decided, cut = _decide(stream, piece, settings)
    return replace(decided, seen=stream.seen + 1, last=piece), cut


def end(stream: Stream, settings: SegmentSettings) -> Cut | None:
    """What is decided on the last turn where no other one comes."""
    return _decide(stream, None, settings)[1]


def cuts(pieces: Iterable[Piece], settings: SegmentSettings = SegmentSettings()) -> list[Cut]:
    """Where segments begin in these turns, but for the first one."""
    stream, found = EMPTY, []
    for piece in pieces:
        stream, cut = push(stream, piece, settings)
        found.append(cut)
    found.append(end(stream, settings))
    return [cut for cut in found if cut is not None]


def pieces(memories: Sequence[Memory], vectors: Vectors) -> list[Piece]:
    """The turns of one session as they are looked at; an unknown time is that of their arrival, as in their order."""
    if not memories:
        return []
    found = vectors(memories[0].namespace, memories)
    return [
        Piece(memory.item.scope.session_id, memory.order_at, vector)
        for memory, vector in zip(memories, found, strict=True)
    ]


def whole(found: Sequence[Cut], most: int) -> int:
    """How many turns, of at most so many from the first, end where a segment does; `most` where few of them would be
    left then, or a segment has more."""
    places = [cut.place for cut in found if most // 2 < cut.place <= most]
    return max(places, default=most)


def _decide(stream: Stream, after: Piece | None, settings: SegmentSettings) -> tuple[Stream, Cut | None]:
    """The stream with its last turn in a segment, and the cut where it begins one."""
    last = stream.last
    if last is None:
        return stream, None
    cohesion = _cohesion(stream, last, after, settings)
    reason = _reason(stream, last, cohesion, settings)
    own = () if last.vector is None else (last.vector,)
    if reason is not None:
        begun = replace(stream, before=last, turns=1, tokens=last.tokens, recent=own)
        return begun, Cut(stream.seen - 1, reason)
    recent = (*stream.recent, *own)[-settings.nearest_of :]
    turns, tokens = stream.turns + 1, stream.tokens + last.tokens
    joined = replace(stream, before=last, turns=turns, tokens=tokens, recent=recent)
    if cohesion is None:
        return joined, None
    if stream.mean is None:
        return replace(joined, mean=cohesion), None
    off, rate = cohesion - stream.mean, settings.rate
    variance = (1 - rate) * (stream.variance + rate * off * off)
    return replace(joined, mean=stream.mean + rate * off, variance=variance), None


def _reason(stream: Stream, last: Piece, cohesion: float | None, settings: SegmentSettings) -> Reason | None:
    before = stream.before
    if before is None:
        return None
    if last.session != before.session:
        return "session"
    if _apart(before, last, settings):
        return "time"
    if stream.turns >= settings.turns_max or stream.tokens + last.tokens > settings.tokens_max:
        return "size"
    if cohesion is None or stream.turns < settings.turns_min:
        return None
    below = settings.cohesion_min
    if stream.mean is not None:
        below = min(below, stream.mean - settings.deviations * math.sqrt(stream.variance))
    return "topic" if cohesion < below else None


def _cohesion(stream: Stream, last: Piece, after: Piece | None, settings: SegmentSettings) -> float | None:
    """Of the last turn with those before it, averaged with the next one's where that follows; None without vectors."""
    if not stream.recent or last.vector is None:
        return None
    own = _nearest(stream.recent, last.vector)
    if after is None or after.vector is None or after.session != last.session or _apart(last, after, settings):
        return own
    return (own + _nearest(stream.recent, after.vector)) / 2


def _apart(one: Piece, other: Piece, settings: SegmentSettings) -> bool:
    return one.at is not None and other.at is not None and (other.at - one.at).total_seconds() > settings.gap_s


def _nearest(recent: Sequence[Floats], vector: Floats) -> float:
    return max(float(other @ vector) for other in recent)
