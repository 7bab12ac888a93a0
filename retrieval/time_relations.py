"""Rules that build on a date found before: "the Friday before 15 July", "early August", "from May to July", "the week of A".

The dates of a reading are its tokens `A` (see `retrieval.time_rules`, which also applies these rows, twice: "from the end of
A to A" needs the first pass for "the end of A"). A date that took its year from the anchor ("11 August") takes it from the
date beside it where that one has its own ("between 11 August and 15 August 2023").
"""

from dataclasses import replace
from typing import Final

from retrieval.time_rules import Found, rules
from retrieval.time_spans import (
    DAY,
    Span,
    calendar_unit,
    nth_weekday,
    offset,
    shift,
    third,
    unit_of,
    weekday_from,
    whole,
    year_of,
)

_PARTS_OF: Final = frozenset({"week", "month", "season", "year", "decade"})


def _same_day(found: Found) -> Span | None:
    """Friday, 15 July: one expression, where the weekday is right."""
    (date,) = found.all("A")
    right = date.precision == "day" and (date.days[0] - 1) % 7 == found.get("Ww")
    return date if right else None


def _weekday_of(found: Found) -> Span | None:
    """Friday of last week, next week on Tuesday."""
    (week,) = found.all("A")
    if week.precision != "week":
        return None
    return calendar_unit(nth_weekday(week.days, found.get("W"), 1), "day", week.anchored)


def _beside(found: Found) -> Span | None:
    """The Friday, the week or two weeks before or after a date."""
    (date,) = found.all("A")
    low, high = date.days
    after = found.has("F")
    if found.has("Ww"):
        day = weekday_from(high - 1 if after else low, found.get("Ww"), after)
        return calendar_unit(day, "day", date.anchored)
    if found.has("DYNnaf"):
        least, most = found.count
        sign = 1 if after else -1
        return offset(high - 1 if after else low, sign * least, sign * most, found.unit, date.anchored)
    if found.unit == "weekend":
        saturday = weekday_from(high - 1 if after else low - 1, 5, after)
        return whole((saturday, saturday + 2), "weekend", date.anchored)
    other = shift(high if after else low, 1 if after else -1, found.unit)
    if other is None:
        return None
    unit = calendar_unit(low, found.unit)
    return whole((high, other) if after else (other, low), unit.precision, date.anchored) if unit else None


def _unit_with(found: Found) -> Span | None:
    """The week of 23 August: the calendar unit that holds the date."""
    (date,) = found.all("A")
    days = unit_of(date.days[0], found.unit)
    holds = days and ((days[0] <= date.days[0] and date.days[1] <= days[1]) or found.unit == "weekend")
    return calendar_unit(date.days[0], found.unit, date.anchored) if holds else None


def _nth(found: Found) -> Span | None:
    """The first week, the last Monday, the second weekend of a month or a year; weeks count from its first day."""
    (date,) = found.all("A")
    if date.precision not in _PARTS_OF:
        return None
    low, high = date.days
    nth = -1 if found.has("l") else found.get("TO")
    if found.has("WK"):
        day = nth_weekday((low, high), found.get("W") if found.has("W") else 5, nth)
        return whole((day, day + (1 if found.has("W") else 2)), "day" if found.has("W") else "weekend", date.anchored) if day else None
    edge = shift(high if nth < 0 else low, -1 if nth < 0 else nth - 1, found.unit)
    end = shift(edge, 1, found.unit) if edge else None
    if not edge or not end or end > high or edge < low:
        return None
    unit = calendar_unit(edge, found.unit)
    return whole((edge, end), unit.precision, date.anchored) if unit else None


def _part(found: Found) -> Span | None:
    """Early August, mid-2022, the end of last week: a third of it."""
    (date,) = found.all("A")
    return third(date.days, found.get("bE"), date.anchored) if date.precision in _PARTS_OF else None


def _moved(date: Span, year: int) -> Span | None:
    """The same days of another year."""
    low, high = date.days
    old = calendar_unit(low, "year")
    if old is None:
        return None
    count = year - old_year(date)
    first, last = shift(low, count, "year"), shift(high - 1, count, "year")
    return whole((first, last + 1), date.precision, date.anchored) if first and last else None
