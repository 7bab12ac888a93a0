"""Rules that turn coded words into dates: "last Friday", "8 May 2023", "two weeks ago".

Each rule is one row of `DATES`, as `retrieval.time_match` runs them: the words become codes first. Readings that
English leaves open are decided here:
- weeks begin on Monday; "last week" is the calendar week before this one, "the last week" the seven days up to now;
- "last Friday" is the latest Friday before today, "next Friday" the first after it, "this Friday" this week's;
- "last summer" is the latest that is over; seasons are the northern, meteorological ones; winter 2022 ends in 2023;
- 05/08/2023 is 8 May unless only the other order is a date, 05.08.2023 is 5 August;
- "two weeks ago" is the week around that day, "two months ago" and "two years ago" a calendar month and year;
- a date without its year is the nearest, leaning to the tense of its sentence; a bare weekday and "the 20th" follow the
  tense (without one: the next weekday, the nearest 20th).
"may" and "march" in lower case are verbs unless a preposition, a year or "8th" says otherwise; a month that is also a
name ("April said") needs a preposition; a year too, and no quantity after it.

Source: the types of time expressions follow TIMEX3 (ISO 24617-1).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from retrieval.time_match import COUNTS, Found, rules
from retrieval.time_spans import (
    DAY,
    Bounds,
    Mode,
    Precision,
    Span,
    calendar_unit,
    choose,
    easter,
    inside,
    months,
    nth_weekday,
    offset,
    one_day,
    shift,
    third,
    unit_of,
    week_start,
    weekday_from,
    whole,
    year_of,
)

_RECENT_DAYS: Final = 30
_WINTER_FIRST: Final = 2  # months from January to the first month of season 0


def _yearly(found: Found, bounds: Callable[[int], Bounds | None], precision: Precision, reach: int = 1) -> Span | None:
    """What falls into every year: of the year that is given, else of the one that the words or the tense choose."""
    if year := found.get("YN"):
        return whole(bounds(year), precision, anchored=False) if year >= 1000 else None
    mode = found.said or found.tense or "near"
    years = range(found.now.year - reach, found.now.year + reach + 1)
    return whole(choose(map(bounds, years), found.now.day, mode), precision, yearless=found.said is None)


def _day(found: Found) -> Span | None:
    month, day = found.get("Mmv"), found.get("DOT")
    return _yearly(found, lambda year: one_day(year, month, day), "day", reach=8 if (month, day) == (2, 29) else 1)


def _days(found: Found) -> Span | None:
    first, last = found.get("J") or found.all("DO")
    month = found.get("Mmv")

    def bounds(year: int) -> Bounds | None:
        low, high = one_day(year, month, first), one_day(year, month, last)
        return (low[0], high[1]) if low and high else None

    return _yearly(found, bounds, "range")


def _month(found: Found) -> Span | None:
    month = found.get("Mmv")
    return _yearly(found, lambda year: months(12 * year + month - 1), "month")


def _months(found: Found) -> Span | None:
    first, last = found.all("Mmv")
    count = (last - first) % 12 + 1
    return _yearly(found, lambda year: months(12 * year + last - count, count), "range")


def _season(found: Found) -> Span | None:
    season = found.get("S")
    return _yearly(found, lambda year: months(12 * year + _WINTER_FIRST + 3 * season, 3), "season")


def _year(found: Found) -> Span | None:
    if found.get("U") not in (None, "year"):
        return None
    return whole(year_of(found.get("Y")), "year", anchored=False)


def _year_of_thing(found: Found) -> Span | None:
    """Her 2022 interview; a round number is more likely a quantity."""
    return _year(found) if found.get("Y") % 100 else None


def _years(found: Found) -> Span | None:
    first, last = found.all("Y")
    return whole(months(12 * first, 12 * (last - first + 1)), "range", anchored=False)


def _decade(found: Found) -> Span | None:
    short = found.get("Q")
    return whole(months(12 * (2000 + short if short <= 20 else 1900 + short), 120), "decade", anchored=False)


def _nth_of_month(month: int, weekday: int, nth: int) -> Callable[[int], Bounds | None]:
    def bounds(year: int) -> Bounds | None:
        day = nth_weekday(days, weekday, nth) if (days := months(12 * year + month - 1)) else None
        return (day, day + 1) if day else None

    return bounds


_MOVING: Final[dict[str, Callable[[int], Bounds | None]]] = {
    "easter": easter,
    "thanksgiving": _nth_of_month(11, 3, 4),
    "mothers": _nth_of_month(5, 6, 2),
    "fathers": _nth_of_month(6, 6, 3),
}


def _holiday(found: Found) -> Span | None:
    """A holiday, its eve, or "Christmas Day"; holidays of the United States where countries differ."""
    name = found.get("XG") or (1, 1)
    if found.get("U") not in (None, "day", "year"):
        return None

    def bounds(year: int) -> Bounds | None:
        if name == (1, 1) and found.has("V"):
            return one_day(year, 12, 31)
        day = one_day(year, *name) if isinstance(name, tuple) else _MOVING[name](year)
        return (day[0] - 1, day[1] - 1) if day and found.has("V") else day

    return _yearly(found, bounds, "day")


def _numeric(found: Found) -> Span | None:
    parts = found.get("I")
    if "instant" in parts:
        try:
            when = datetime.fromisoformat(parts["instant"])
        except ValueError:
            return None
        zone = when.utcoffset()
        second = (when.toordinal() - 1) * DAY + when.hour * 3600 + when.minute * 60 + when.second
        second += found.now.offset - int(zone.total_seconds()) if zone is not None else 0
        return inside(Span(second, second + 60, "instant", anchored=False))
    if "decade" in parts:
        return whole(months(12 * int(parts["decade"]), 120), "decade", anchored=False)
    numbers = {name: int(part) for name, part in parts.items()}
    year = numbers["y"]
    if "y2" in numbers:
        return whole(months(12 * year, 12 * (numbers["y2"] - year + 1)), "range", anchored=False)
    if "a" in numbers:
        year += 0 if year >= 100 else 2000 if year <= 68 else 1900  # two digits as POSIX reads them
        days = one_day(year, numbers["a"], numbers["b"]) or one_day(year, numbers["b"], numbers["a"])
        return whole(days, "day", anchored=False)
    if "d" in numbers:
        return whole(one_day(year, numbers["m"], numbers["d"]), "day", anchored=False)
    return whole(months(12 * year + numbers["m"] - 1), "month", anchored=False)


def _day_of_month(found: Found) -> Span | None:
    number, now = found.get("O"), found.now
    days = (one_day(month // 12, month % 12 + 1, number) for month in range(now.month - 2, now.month + 3))
    mode: Mode = "near" if found.tense is None else "next" if found.tense == "will" else "since"
    return whole(choose(days, now.day, mode), "day")


def _near_day(found: Found) -> Span | None:
    """Yesterday, tonight, this morning, last night."""
    day = found.get("R") if found.has("R") else -1 if found.has("l") else 0
    return calendar_unit(found.now.day + day, "day")


def _weekday(found: Found) -> Span | None:
    weekday, today, tense = found.get("Ww"), found.now.day, found.tense
    if found.said == "this":
        day = week_start(today) + weekday
        day += 7 if tense == "will" and day < today else -7 if tense == "was" and day > today else 0
    else:
        day = weekday_from(today, weekday, (found.said or tense) not in ("last", "was", "since"))
    return calendar_unit(day, "day")


def _cued_weekday(found: Found) -> Span | None:
    return _weekday(found) if found.tense else None


def _weekend(found: Found) -> Span | None:
    """Last and next are those of the calendar weeks beside this one; without a word, the latest that has begun."""
    said, today, tense = found.said, found.now.day, found.tense
    if found.has("s") or (said is None and tense != "will") or (said == "this" and tense == "was"):
        weeks = -1 if (today - 1) % 7 < 5 else 0
    else:
        weeks = -1 if said == "last" else 1 if found.get("x") == "next" else 0
    return calendar_unit(today + 7 * weeks, "weekend")


def _rolling(found: Found) -> Span | None:
    """The last two weeks, the past month, the next few days: up to now, or from now on."""
    (_, most), today, unit = found.count, found.now.day, found.get("H") or found.unit
    if unit == "day" and not found.has(COUNTS):
        return None  # "the next day" is another day's
    if isinstance(unit, int):
        ago = (0, most * unit) if found.said == "last" else (-most * unit, 0)
        return _seconds_ago(found, *ago, "range")
    end = shift(today, most if found.said == "next" else -most, unit)
    return whole((min(today, end), max(today, end) + 1), "range") if end else None


def _seconds_ago(found: Found, least: int, most: int, precision: Precision) -> Span | None:
    now = (found.now.day - 1) * DAY + found.now.second
    return inside(Span(now - most, now - least, precision, anchored=True))


def _relative_unit(found: Found) -> Span | None:
    """Last week, next month, this year; "the last week" rolls."""
    unit = found.unit
    if unit == "day":
        return None
    if found.has("s") or (found.before == "t" and found.has("lx")):
        return _rolling(found)
    weeks = {"last": -1, "next": 1}.get(found.said or "this", 0)
    return calendar_unit(shift(found.now.day, weeks, unit), unit)


def _ago(found: Found) -> Span | None:
    least, most = found.count
    if unit := found.get("H"):
        return _seconds_ago(found, (least - 1) * unit, most * unit, "instant")
    return offset(found.now.day, -least, -most, found.unit)


def _ahead(found: Found) -> Span | None:
    """In two weeks: only where the sentence speaks of the future, as it is a duration elsewhere."""
    least, most = found.count
    sure = found.has("rC") or found.tense == "will"
    return offset(found.now.day, least, most, found.unit) if sure else None


def _since(found: Found) -> Span | None:
    """For a month now: it began a month ago."""
    span = _ago(found)
    return replace(span, role="since") if span else None


def _before_last(found: Found) -> Span | None:
    """The week before last, the weekend after next."""
    return calendar_unit(shift(found.now.day, 2 if found.has("F") else -2, found.unit), found.unit)


def _so_far(found: Found) -> Span | None:
    """Earlier this week, later today: the calendar unit up to today, or from today on."""
    days = unit_of(found.now.day, found.unit)
    if days is None or (found.has("i") and found.unit == "day"):
        return None  # "later in the day" is of any day
    return whole((found.now.day, days[1]) if found.get("e") else (days[0], found.now.day + 1), "range")


def _other_day(found: Found) -> Span | None:
    """The other day, the other night: within a week; the other week: within three."""
    most = {"day": 7, "week": 21, "weekend": 21}.get(found.unit)
    return whole((found.now.day - most, found.now.day), "range") if most else None


def _recently(found: Found) -> Span | None:
    return whole((found.now.day - _RECENT_DAYS, found.now.day + 1), "range")


def _part_of_unit(found: Found) -> Span | None:
    """The end of the month."""
    days = unit_of(found.now.day, found.unit)
    return third(days, found.get("E"), anchored=True) if days and found.unit != "day" else None


DATES: Final = rules(
    (
        (r"(?:[DO]o?|To)[Mmv]c?[YN]|[Mmv]t?[DO]c?[YN]|Yc[Mm][DO]", _day),
        (r"(?:Oo?|To)[Mmv]|Do?[Mm]|[Mmv]t?O|[Mm]D(?![$U2HKMm])|(?<=[ip+BFLrk])vD(?![$U2HKMm])", _day),
        (r"[Mmv](?:J|[DO][~k&][DO])(?:c?Y)?|(?:J|[DO][~k&]t?[DO])o?[Mmv](?:c?Y)?", _days),
        (r"[Mmv][co]?Y", _month),
        (r"M|(?<=[i+BFLub])[mv]|(?<=b~)m|(?<=[EUTKlW]o)m|(?<=r)m(?=[kL~])|[mv](?=o[lxh]U)", _month),
        (r"[lxhs]{1,2}[Mm]|lv", _month),
        (r"[Mmv][&k~L][Mmv][co]?Y|[Mm][k~L][Mm]|(?<=[i+rj])[Mm]&[Mm]", _months),
        (r"(?<=[i+])Y(?![$U2H]|_\$)|(?<=[BFLru])Y(?![_$U2H])|(?<=[EUTKlb]o)Y|(?<=b~)Y|(?<=b)Y", _year),
        (r"UY", _year),
        (r"(?<=[ta\"])Y(?=_(?!\$))", _year_of_thing),
        (r"(?<=[i+rj])Y[kL~&]Y", _years),
        (r"So?Y|YS|[lxhs]{1,2}S|(?<=[ip+BFL]t)S(?!_)|(?<=b)S", _season),
        (r"(?<=[tb])Q", _decade),
        (r"I", _numeric),
        (r"(?<=[p+BFLoW]t)O(?![_U2KMmvHSPW$o]|[&c]O)", _day_of_month),
        (r"XV?U?W?c?[io]?Y|X[VU]|[lxhs]{1,2}XV?U?|(?<=[pi+BFLru])X(?!_)|GUY?", _holiday),
        (r"z[yU2][VU]c?Y?|(?<=[pi+BFLr])zyY?(?!_)", _holiday),
        (r"RP?|[lh]P", _near_day),
        (r"[lxhs]{1,2}[Ww]P?(?!o|i[Mm]|Bt?[DOTMmIX])|(?<=p)w(?!_)", _weekday),
        (r"(?<=[p+BFL])(?<![lxh]Up)WP?(?![BFow~k]|c?t?[DOMmI]|[~k&]W)", _weekday),
        (r"(?<![a%\"c&~])WP?(?![BFow~k_]|c?t?[DOMmI]|[~k&]W)", _cued_weekday),
        (r"[lxhs]{1,2}K(?!o|i[Mm]|Bt?[DOTMmIX])|(?<=[p+i]t)s?K(?![BFo_])", _weekend),
        (r"[lxhs]{1,2}[Uy](?!o)", _relative_unit),
        (r"h?[lxs]#[U2H](?!o)|[sx][UH](?!o)", _rolling),
        (r"#[U2HKP](?:&n)?g(?!_)|aU&ng", _ago),
        (r"(?<=i)#[U2](?!o)|#[U2]r[CR]", _ahead),
        (r"#[U2]C", _since),
        (r"[UKP](?:Bl|Fx)", _before_last),
        (r"eh[UP]|eitU|eR", _so_far),
        (r"(?<=t)Z[UPK]", _other_day),
        (r"Eo[th]U", _part_of_unit),
        (r"(?<!%)@", _recently),
    )
)
