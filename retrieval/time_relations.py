"""Rules that build on dates: "the Friday before 15 July", "early August", "from May to July", "the week of 9 June".

The dates found before are the tokens `A` of the reading (see `retrieval.time_match`). The rules are meant to run twice:
"from the end of A to A" needs a pass for "the end of A". A date that took its year from the anchor ("11 August") takes
it from the date beside it where that one has its own ("between 11 August and 15 August 2023").
"""

from typing import Final

from retrieval.time_match import COUNTS, Found, rules
from retrieval.time_spans import (
    Span,
    calendar_unit,
    nth_weekday,
    offset,
    shift,
    third,
    unit_of,
    weekday_from,
    whole,
    year_number,
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


def _day_of(found: Found) -> Span | None:
    """The 15th of last month."""
    (month,) = found.all("A")
    low, high = month.days
    day = low + found.get("O") - 1
    return calendar_unit(day, "day", month.anchored) if month.precision == "month" and low <= day < high else None


def _beside(found: Found) -> Span | None:
    """The Friday, the week or two weeks before or after a date."""
    (date,) = found.all("A")
    low, high = date.days
    after = found.has("F")
    if found.has("Ww"):
        day = weekday_from(high - 1 if after else low, found.get("Ww"), after)
        return calendar_unit(day, "day", date.anchored)
    if found.has(COUNTS):
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
    if found.has("W"):
        return calendar_unit(nth_weekday((low, high), found.get("W"), nth), "day", date.anchored)
    if found.unit == "weekend":
        return calendar_unit(nth_weekday((low, high), 5, nth), "weekend", date.anchored)
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


def _moved(date: Span, beside: Span, years: int = 0) -> Span | None:
    """A date that has no year of its own, in the year that the one beside it begins in, or `years` later."""
    low, high = date.days
    years += year_number(beside.days[0]) - year_number(low)
    first, end = shift(low, years, "year"), shift(high, years, "year")
    return whole((first, end), date.precision, beside.anchored) if first and end else None


def _with_year(found: Found) -> Span | None:
    """May of last year, last year at Christmas."""
    first, last = found.all("A")
    for date, year in ((first, last), (last, first)):
        if date.yearless and year.precision == "year":
            return _moved(date, year)
    return None


def _from_to(found: Found) -> Span | None:
    """Between A and A, from A to A; over the turn of a year too."""
    first, last = found.all("A")
    if first.yearless and not last.yearless:
        first = _moved(first, last) or first
    elif last.yearless and not first.yearless:
        last = _moved(last, first) or last
    if last.yearless and last.low < first.low:
        last = _moved(last, first, 1) or last
    if first.low >= last.high:
        return None
    return Span(first.low, last.high, "range", first.anchored or last.anchored)


AROUND: Final = rules(
    (
        (r"[Ww]c?t?A", _same_day),
        (r"WP?o?A|A[p+]?W", _weekday_of),
        (r"l?[WwUKP][BF]t?A|#[U2KP][BF]t?A", _beside),
        (r"Oo?A", _day_of),
        (r"[UKP]oA", _unit_with),
        (r"[TOl][UKW][oi]t?A", _nth),
        (r"b~?i?t?A|Eot?A", _part),
        (r"A[oip]?A", _with_year),
        (r"jA&A|rA[kL~]A|A[kL~]A", _from_to),
    )
)
