"""The calendar under the time rules: intervals in whole days and seconds that cannot run off either end of it.

Days are ordinals (1 is the first day of year 1, a Monday); seconds count from its midnight, in the zone of the anchor.
Python's integers do the arithmetic and `datetime` is used only inside years 1 to 9999, so nothing here raises; what
lies outside is None. Bounds are half-open: `(low, high)`.
"""

import calendar
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

Precision = Literal["instant", "day", "weekend", "week", "month", "season", "year", "decade", "range"]
Role = Literal["at", "since", "until"]
Mode = Literal["since", "was", "will", "near", "last", "next", "this"]
Bounds = tuple[int, int]

DAY: Final = 86_400
DAYS_END: Final = date.max.toordinal() + 1
_MONTHS_END: Final = 120_000
_DAYS_IN: Final = {"day": 1, "weekend": 7, "week": 7}
_MONTHS_IN: Final = {"month": 1, "year": 12, "decade": 120}
_PRECISIONS: Final[dict[str, Precision]] = {
    "day": "day",
    "weekend": "weekend",
    "week": "week",
    "month": "month",
    "year": "year",
    "decade": "decade",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A time expression's interval, `[low, high)` in local seconds.

    Attributes:
        anchored: whether the anchor was needed.
        yearless: whether only the year came from the anchor ("8 May").
        role: where the words of the expression themselves say it ("for a month now").
    """

    low: int
    high: int
    precision: Precision
    anchored: bool
    yearless: bool = False
    role: Role | None = None

    @property
    def days(self) -> Bounds:
        """The days that it touches."""
        return self.low // DAY + 1, -(-self.high // DAY) + 1


@dataclass(frozen=True, slots=True)
class Now:
    """The anchor in its own zone: day, second of the day, seconds east of UTC."""

    day: int
    second: int = 0
    offset: int = 0

    @property
    def year(self) -> int:
        """The calendar year."""
        return year_number(self.day)

    @property
    def month(self) -> int:
        """12 year + month - 1."""
        today = date.fromordinal(self.day)
        return 12 * today.year + today.month - 1


def whole(days: Bounds | None, precision: Precision, anchored: bool = True, yearless: bool = False) -> Span | None:
    """A span of whole days, cut to the calendar; None where nothing of it is inside."""
    if days is None or days[0] >= days[1] or days[1] <= 1 or days[0] >= DAYS_END:
        return None
    low, high = max(days[0], 1), min(days[1], DAYS_END)
    return Span((low - 1) * DAY, (high - 1) * DAY, precision, anchored, yearless)


def inside(span: Span) -> Span | None:
    """A span of seconds, None where it is not all inside the calendar."""
    return span if 0 <= span.low < span.high <= (DAYS_END - 1) * DAY else None


def one_day(year: int, month: int, day: int) -> Bounds | None:
    """The bounds of a date, None where there is no such date."""
    if not (1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return None
    ordinal = date(year, month, day).toordinal()
    return ordinal, ordinal + 1


def months(first: int, count: int = 1) -> Bounds | None:
    """The days of `count` months from month number `first` = 12 year + month - 1."""
    low, high = max(first, 12), min(first + count, _MONTHS_END)
    if low >= high:
        return None
    end = DAYS_END if high == _MONTHS_END else date(high // 12, high % 12 + 1, 1).toordinal()
    return date(low // 12, low % 12 + 1, 1).toordinal(), end


def year_of(year: int) -> Bounds | None:
    """The days of a year."""
    return months(12 * year, 12)


def shift(day: int, count: int, unit: str) -> int | None:
    """The day `count` units later; in months without such a day, their last. None outside the calendar."""
    if unit in _DAYS_IN:
        moved = day + count * _DAYS_IN[unit]
        return moved if 1 <= moved < DAYS_END else None
    if not 1 <= day < DAYS_END:
        return None
    here = date.fromordinal(day)
    month = months(12 * here.year + here.month - 1 + count * _MONTHS_IN[unit])
    return min(month[0] + here.day, month[1]) - 1 if month else None


def year_number(day: int) -> int:
    """The calendar year of a day inside the calendar."""
    return date.fromordinal(day).year


def week_start(day: int) -> int:
    """The Monday of the day's week."""
    return day - (day - 1) % 7


def unit_of(day: int | None, unit: str) -> Bounds | None:
    """The calendar day, weekend (of the same week), week, month, year or decade that holds the day."""
    if day is None or not 1 <= day < DAYS_END:
        return None
    if unit in _DAYS_IN:
        monday = week_start(day)
        return {"day": (day, day + 1), "week": (monday, monday + 7)}.get(unit, (monday + 5, monday + 7))
    here = date.fromordinal(day)
    if unit == "month":
        return months(12 * here.year + here.month - 1)
    return year_of(here.year) if unit == "year" else months(12 * (here.year // 10 * 10), 120)


def calendar_unit(day: int | None, unit: str, anchored: bool = True) -> Span | None:
    """`unit_of` as a span."""
    return whole(unit_of(day, unit), _PRECISIONS[unit], anchored)


def offset(base: int, least: int, most: int, unit: str, anchored: bool = True) -> Span | None:
    """Where something `least` to `most` units after the day `base` is (negative: before).

    One number gives that day, the week around it, or its weekend, month, year or decade; two give all between them.
    """
    near, far = shift(base, least, unit), shift(base, most, unit)
    if near is None or far is None:
        return None
    if least != most:
        return whole((min(near, far), max(near, far) + 1), "range", anchored)
    if unit == "week":
        return whole((near - 3, near + 4), "week", anchored)
    return calendar_unit(near, unit, anchored)


def third(days: Bounds, part: int, anchored: bool) -> Span | None:
    """The first, middle or last third (0, 1, 2) of the days."""
    length = days[1] - days[0]
    return whole((days[0] + part * length // 3, days[0] + (part + 1) * length // 3), "range", anchored)


def weekday_from(day: int, weekday: int, forward: bool) -> int:
    """The first such weekday after the day, or the last one before it."""
    distance = (weekday - (day - 1) % 7) % 7 or 7
    return day + distance if forward else day - (7 - distance or 7)


def nth_weekday(days: Bounds, weekday: int, nth: int) -> int | None:
    """The nth such weekday of the days, counted from 1, or from the end with -1."""
    if nth > 0:
        found = weekday_from(days[0] - 1, weekday, forward=True) + 7 * (nth - 1)
    else:
        found = weekday_from(days[1], weekday, forward=False)
    return found if days[0] <= found < days[1] else None


def easter(year: int) -> Bounds | None:
    """Easter Sunday (the anonymous Gregorian computus: Meeus, Astronomical Algorithms, chapter 8)."""
    century, rest = divmod(year, 100)
    moon = (19 * (year % 19) + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    sunday = (32 + 2 * (century % 4) + 2 * (rest // 4) - moon - rest % 4) % 7
    month, day = divmod(moon + sunday - 7 * ((year % 19 + 11 * moon + 22 * sunday) // 451) + 114, 31)
    return one_day(year, month, day + 1)


def choose(candidates: Iterable[Bounds | None], today: int, mode: Mode) -> Bounds | None:
    """One of the recurring intervals, given in order.

    since: the latest that has begun; last: the latest that is over; next: the first that has not begun; near and this:
    the nearest to today, the earlier of two; was and will: the nearest too, but what contradicts the tense counts as
    twice as far: a verb of the sentence is a weak sign of the date's own time ("I was told that it is due on 5 May").
    """
    bounds = [each for each in candidates if each]
    if mode == "since":
        return max((each for each in bounds if each[0] <= today), default=None)
    if mode == "last":
        return max((each for each in bounds if each[1] <= today), default=None)
    if mode == "next":
        return min((each for each in bounds if each[0] > today), default=None)

    def distance(each: Bounds) -> int:
        ahead, behind = each[0] - today, today - each[1] + 1
        return max(ahead * 2 if mode == "was" else ahead, behind * 2 if mode == "will" else behind, 0)

    return min(bounds, key=distance, default=None)
