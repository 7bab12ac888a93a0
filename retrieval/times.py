"""Time expressions of English text as UTC intervals, and how well an interval matches them: the one date resolver.

Pure: no clock. Whatever is relative ("last Sunday", "in May", "8 May" without a year) is read from the anchor that is
passed in, the time at which the text was said; without an anchor it is left out. `retrieval.time_words` reads words,
`retrieval.time_rules` finds dates and says how ambiguous ones are read, `retrieval.time_relations` builds on them,
`retrieval.time_match` runs both, and `retrieval.time_spans` is the calendar. A text of n characters costs O(n); no text
and no anchor raises.

Days are those of the anchor's own zone (of UTC where it has none), then told in UTC. What falls outside years 1 to 9999
is no match; an interval that ends with year 9999 is cut at `datetime.max`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from retrieval.time_match import applied
from retrieval.time_relations import AROUND
from retrieval.time_rules import DATES
from retrieval.time_spans import DAY, DAYS_END, Now, Precision, Role, Span
from retrieval.time_words import Reading, read

__all__ = ["Expression", "Precision", "Role", "date_match", "overlap", "resolve"]

_TELLING: Final = frozenset("MmvSWwU2KPRXGYIQHOy@")  # a text without any of these codes has no date
_SECONDS_END: Final = (DAYS_END - 1) * DAY
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_NOWHERE: Final = Now(datetime(2000, 1, 1, tzinfo=UTC).toordinal())  # an anchor for what is then left out
_DAY: Final = timedelta(days=1)
_TOLERANCE: Final = _DAY  # the zone of a day that somebody names is not known
_TOLERATED: Final = 0.5
_LAST_DAY: Final = _LAST - 2 * _DAY
_ROLE_REACH: Final = 3  # tokens between a preposition and its date: "since about the ..."


@dataclass(frozen=True, slots=True)
class Expression:
    """One time expression.

    Attributes:
        start_char: where it begins in the text.
        end_char: where it ends, exclusive.
        start: the interval's start, UTC.
        end: its end, exclusive, UTC; after `start`.
        precision: the unit that was named; "range" for what is no calendar unit ("a few days ago", "early June").
        anchored: whether the anchor was needed: for "last Sunday" and "8 May" yes, for "8 May 2023" no.
        role: "since" ("since", "starting", "after"), "until" ("until", "by", "before") or "at".
    """

    start_char: int
    end_char: int
    start: datetime
    end: datetime
    precision: Precision
    anchored: bool
    role: Role


def resolve(text: str, anchor: datetime | None) -> list[Expression]:
    """The time expressions of a text, in order, without overlaps.

    Args:
        text: any text.
        anchor: when it was said; a naive one is UTC. None leaves out what needs it.
    """
    reading = read(text)
    if not _TELLING.intersection(reading.codes):
        return []
    now = _NOWHERE if anchor is None else _now(anchor)
    reading = applied(reading, DATES, now)
    if "A" not in reading.codes:
        return []
    reading = applied(applied(reading, AROUND, now), AROUND, now)
    expressions = []
    for i, code in enumerate(reading.codes):
        if code != "A":
            continue
        span: Span = reading.values[i]
        low, high = span.low - now.offset, span.high - now.offset
        if high > 0 and low < _SECONDS_END and not (span.anchored and anchor is None):
            role = span.role or _role(reading, i)
            expressions.append(
                Expression(*reading.spans[i], _utc(low), _utc(high), span.precision, span.anchored, role)
            )
    return expressions


def _now(anchor: datetime) -> Now:
    zone = anchor.utcoffset()
    second = anchor.hour * 3600 + anchor.minute * 60 + anchor.second
    return Now(anchor.toordinal(), second, int(zone.total_seconds()) if zone else 0)


def _utc(seconds: int) -> datetime:
    return _LAST if seconds >= _SECONDS_END else _FIRST + timedelta(seconds=max(seconds, 0))


def _role(reading: Reading, index: int) -> Role:
    """What the preposition before token `index` says."""
    for i in range(index - 1, max(-1, index - 1 - _ROLE_REACH), -1):
        code = reading.codes[i]
        if code in "+^BFL":
            role: Role = reading.values[i]
            return role
        if code not in "tuip":
            break
    return "at"


def overlap(query: Sequence[Expression], happened: tuple[datetime, datetime]) -> float:
    """How well an interval answers the dates of a query, in [0, 1]; of several dates the best counts.

    It is the chance that a moment drawn evenly from `happened` lies in the query's date: 1 inside it, 1/31 for a month
    against one of its days, 0 outside. A query's "since" reaches on for ever, its "until" back. A day (or an instant)
    also reaches a day further on both sides, where it counts half: the zone that people mean is not known.

    Args:
        query: expressions of the query.
        happened: `[start, end)`, UTC.
    """
    return max((_share(date, *happened) for date in query), default=0.0)


def _share(date: Expression, start: datetime, end: datetime) -> float:
    low = _FIRST if date.role == "until" else date.start
    high = _LAST if date.role == "since" else date.end
    inside = _common(low, high, start, end)
    if inside == 1.0 or date.precision not in ("day", "instant"):
        return inside
    low = low - _TOLERANCE if low - _FIRST > _TOLERANCE else _FIRST
    high = high + _TOLERANCE if _LAST - high > _TOLERANCE else _LAST
    return inside + _TOLERATED * (_common(low, high, start, end) - inside)


def _common(low: datetime, high: datetime, start: datetime, end: datetime) -> float:
    """The share of `[start, end)` that is in `[low, high)`; of a moment, whether it is."""
    if start >= high or end < low:
        return 0.0
    if start >= end:
        return float(low <= start)
    return max((min(high, end) - max(low, start)) / (end - start), 0.0)


def date_match(
    query_dates: Sequence[Expression], occurred_at: datetime | None, turn_dates: Sequence[Expression]
) -> float:
    """How well a turn answers the dates of a query, in [0, 1]: by the day it was said or a date that it mentions.

    Args:
        query_dates: expressions of the query; none match nothing.
        occurred_at: when the turn was said; a naive one is UTC.
        turn_dates: expressions of its text, resolved at that time.
    """
    if not query_dates:
        return 0.0
    best = max((overlap(query_dates, (date.start, date.end)) for date in turn_dates), default=0.0)
    if occurred_at is None or best == 1.0:
        return best
    zone = occurred_at.tzinfo or UTC
    midnight = occurred_at.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=zone)
    return max(best, overlap(query_dates, (midnight, midnight + _DAY if midnight < _LAST_DAY else _LAST)))
