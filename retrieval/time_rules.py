"""Rules that turn coded words into dates: "last Friday", "8 May 2023", "two weeks ago".

Each rule is one row of `DATES`: a pattern over the codes of `retrieval.time_words` and a pure builder, which may say no.
`applied` puts one token `A` where a rule matched, so that the rules of `retrieval.time_relations` can build on it. The longest
match wins, then the leftmost, then the earlier rule. Patterns are bounded, so it is linear in the number of tokens.

Readings that English leaves open, decided here: weeks begin on Monday; "last week" is the calendar week before this one,
"the last week" the seven days up to now; "last Friday" is the latest Friday before today, "next Friday" the first after it;
"last summer" is the latest that is over; 05/08/2023 is 8 May unless only the other order is a date, 05.08.2023 is 5 August;
a date without its year (or a weekday without its week) is past after a past verb in its sentence, future after "will" or the
like, else the nearest (the weekday: the next). Seasons are the northern, meteorological ones; winter 2022 ends in 2023.

Source: the types of time expressions follow TIMEX3 (ISO 24617-1).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from retrieval.time_spans import (
    DAY,
    Bounds,
    Mode,
    Now,
    Precision,
    Span,
    calendar_unit,
    choose,
    easter,
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
from retrieval.time_words import Reading

_CLAUSE_TOKENS_MAX: Final = 30
_RECENT_DAYS: Final = 30
_MODES: Final[dict[str, Mode]] = {"l": "last", "s": "last", "x": "next", "h": "this"}
_WINTER_FIRST: Final = 2  # months from January to the first month of season 0


@dataclass(frozen=True, slots=True)
class Found:
    """One match of a rule: tokens `[first, last)` of a reading."""

    reading: Reading
    first: int
    last: int
    now: Now

    def all(self, codes: str) -> list[Any]:
        """Values of the matched tokens that have one of these codes, in order."""
        here = self.reading.codes
        return [self.reading.values[i] for i in range(self.first, self.last) if here[i] in codes]

    def get(self, codes: str) -> Any:
        """The first of them, or None."""
        return next(iter(self.all(codes)), None)

    def has(self, codes: str) -> bool:
        """Whether a matched token has one of these codes."""
        return any(code in codes for code in self.reading.codes[self.first : self.last])

    @property
    def before(self) -> str:
        """The code of the token before the match."""
        return self.reading.codes[self.first - 1] if self.first else "/"

    @property
    def unit(self) -> str:
        """The unit or weekend of the match; a part of a day counts as its day."""
        return self.get("UK") or "day"

    @property
    def count(self) -> tuple[int, int]:
        """How many, least and most: "two" is (2, 2), "a" (1, 1)."""
        count = self.get("f") or self.get("DYNn") or 1
        return count if isinstance(count, tuple) else (count, count)

    @property
    def tense(self) -> Mode | None:
        """Past or future by the sentence's nearest verb that tells, before the match or else after it."""
        codes = self.reading.codes
        for side in (
            range(self.first - 1, max(-1, self.first - _CLAUSE_TOKENS_MAX), -1),
            range(self.last, min(len(codes), self.last + _CLAUSE_TOKENS_MAX)),
        ):
            for i in side:
                if codes[i] in "/d":
                    break
                if codes[i] in "<>":
                    return "past" if codes[i] == "<" else "future"
        return None

    @property
    def said(self) -> Mode | None:
        """What the words of the match say themselves: last, next or this."""
        return next((mode for code, mode in _MODES.items() if self.has(code)), None)


Builder = Callable[[Found], Span | None]


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
    return whole(year_of(found.get("Y")), "year", anchored=False)


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
        return Span(second, second + 60, "instant", anchored=False)
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
    return whole(choose(days, now.day, found.tense or "near"), "day")


def _near_day(found: Found) -> Span | None:
    """Yesterday, tonight, this morning, last night."""
    day = found.get("R") if found.has("R") else -1 if found.has("l") else 0
    return calendar_unit(found.now.day + day, "day")


def _weekday(found: Found) -> Span | None:
    weekday, today, tense = found.get("Ww"), found.now.day, found.tense
    if found.said == "this":
        day = week_start(today) + weekday
        day += 7 if tense == "future" and day < today else -7 if tense == "past" and day > today else 0
    else:
        day = weekday_from(today, weekday, (found.said or tense) not in ("last", "past"))
    return calendar_unit(day, "day")


def _cued_weekday(found: Found) -> Span | None:
    return _weekday(found) if found.tense else None


def _weekend(found: Found) -> Span | None:
    """Last and next are those of the calendar weeks beside this one; without a word, the latest that has begun."""
    said, today = found.said, found.now.day
    if found.has("s") or (said is None and found.tense != "future"):
        weeks = 0 if (today - 1) % 7 >= 5 else -1
    else:
        weeks = -1 if said == "last" else 1 if found.get("x") == "next" else 0
    return calendar_unit(today + 7 * weeks, "weekend")


def _rolling(found: Found) -> Span | None:
    """The last two weeks, the past month, the next few days: up to now, or from now on."""
    (_, most), today, unit = found.count, found.now.day, found.get("UH")
    if isinstance(unit, int):
        return _hours(found, 0, most * unit) if found.said == "last" else _hours(found, -most * unit, 0)
    end = shift(today, most if found.said == "next" else -most, unit)
    return whole((min(today, end), max(today, end) + 1), "range") if end else None


def _hours(found: Found, least: int, most: int) -> Span | None:
    """From `most` to `least` seconds ago."""
    now = (found.now.day - 1) * DAY + found.now.second
    return Span(now - most, now - least, "instant", anchored=True)


def _relative_unit(found: Found) -> Span | None:
    """Last week, next month, this year; "the last week" rolls."""
    unit = found.get("U")
    if unit == "day":
        return None
    if found.has("s") or (found.before == "t" and found.has("lx")):
        return _rolling(found)
    weeks = {"last": -1, "next": 1}.get(found.said or "this", 0)
    return calendar_unit(shift(found.now.day, weeks, unit), unit)


def _ago(found: Found) -> Span | None:
    least, most = found.count
    if unit := found.get("H"):
        return _hours(found, (least - 1) * unit, most * unit)
    return offset(found.now.day, -least, -most, found.unit)


def _ahead(found: Found) -> Span | None:
    """In two weeks: only where the sentence speaks of the future, as it is a duration elsewhere."""
    least, most = found.count
    sure = found.has("rC") or found.tense == "future"
    return offset(found.now.day, least, most, found.get("U")) if sure else None


def _since(found: Found) -> Span | None:
    """For a month now: it began a month ago."""
    span = _ago(found)
    return replace(span, role="since") if span else None


def _before_last(found: Found) -> Span | None:
    """The week before last, the weekend after next."""
    return calendar_unit(shift(found.now.day, 2 if found.has("F") else -2, unit := found.unit), unit)


def _so_far(found: Found) -> Span | None:
    """Earlier this week, later today: the calendar unit up to today, or from today on."""
    days = unit_of(found.now.day, found.unit)
    if days is None:
        return None
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


Rule = tuple[re.Pattern[str], Builder]


def rules(table: Sequence[tuple[str, Builder]]) -> tuple[Rule, ...]:
    """The rows of a table, with `#` for a count ("two", "a few", "a couple of") and their patterns compiled."""
    return tuple((re.compile(pattern.replace("#", COUNT)), builder) for pattern, builder in table)


COUNT: Final = "(?:[DYNn]|af?|f)o?"
DATES: Final = rules(
    (
        # 8 May 2023, the 8th of May, May 8th, 2023; a bare "may" or "march" in lower case is a verb unless a year or 8th follows
        (r"[DOT]o?[Mmv]c?[YN]|[Mmv]t?[DO]c?[YN]", _day),
        (r"(?:Oo?|To)[Mmv]|Do?[Mm]|[Mmv]t?O|[Mm]D(?![$UHKMm])|(?<=[ip+BFLrk])vD(?![$UHKMm])", _day),
        (r"[Mmv](?:J|[DO][~k&][DO])(?:c?Y)?|(?:J|[DO][~k&]t?[DO])o?[Mmv](?:c?Y)?", _days),
        (r"[Mmv][co]?Y", _month),
        (r"M|(?<=[i+BFLub])[mv]|(?<=b~)m|(?<=[EUTKlW]o)m|(?<=r)m(?=[kL~])|[lxhs]{1,2}[Mm]|lv", _month),
        (r"[Mmv][&k~L][Mmv][co]?Y|(?<=[i+rj])[Mm][&k~L][Mm]", _months),
        (r"(?<=[i+])Y(?![$UH_]?[$])(?![UH])|(?<=[BFLrk&u])Y(?![_$UH])|(?<=\()Y(?=\))|(?<=[EUTKlb]o)Y|(?<=b~)Y|(?<=b)Y", _year),
        (r"(?<=[i+rj])Y[kL~&]Y", _years),
        (r"So?Y|[lxhs]{1,2}S|(?<=[ip+BFL]t)S(?!_)|(?<=b)S", _season),
        (r"(?<=[tb])Q", _decade),
        (r"I", _numeric),
        (r"(?<=[p+BFLoW]t)O(?![_UKMmvHSPW$])", _day_of_month),
        (r"XV?U?W?c?[io]?Y|X[VU]|[lxhs]{1,2}XV?U?|(?<=[pi+BFLru])X(?!_)|GUY?", _holiday),
        (r"z[yU][VU]c?Y?|(?<=[pi+BFLr])zyY?(?!_)", _holiday),
        (r"RP?|[lh]P", _near_day),
        (r"[lxhs]{1,2}[Ww]P?(?!o)|(?<=[p+BFL])WP?(?![BFow~k]|c?t?[DOMmI]|[~k&]W)|(?<=p)w(?!_)", _weekday),
        (r"WP?(?![BFow~k_]|c?t?[DOMmI]|[~k&]W)", _cued_weekday),
        (r"[lxhs]{1,2}K(?!o)|(?<=[p+i]t)s?K(?![BFo_])", _weekend),
        (r"[lxhs]{1,2}U(?!o)", _relative_unit),
        (r"h?[lxs]#[UH](?!o)|[sx][UH](?!o)", _rolling),
        (r"#[UHKP](?:&n)?g(?!_)|aU&n?U?g", _ago),
        (r"(?<=i)#U(?!o)|#Ur[CR]", _ahead),
        (r"#UC", _since),
        (r"[UKP](?:Bl|Fx)", _before_last),
        (r"e(?:h|it)[UP]|eR", _so_far),
        (r"(?<=t)Z[UPK]", _other_day),
        (r"Eo[th][U]", _part_of_unit),
        (r"@", _recently),
    )
)


def _matches(reading: Reading, rows: Sequence[Rule], now: Now) -> list[tuple[int, int, Span]]:
    """Non-overlapping matches in order: the longest first, then the leftmost, then the earlier rule."""
    found: list[tuple[int, int, int, Span]] = []
    for rank, (pattern, builder) in enumerate(rows):
        for match in pattern.finditer(reading.codes):
            first, last = match.span()
            if span := builder(Found(reading, first, last, now)):
                found.append((first - last, first, rank, span))
    found.sort(key=lambda each: each[:3])
    taken = bytearray(len(reading.codes))
    chosen = []
    for length, first, _, span in found:
        if not any(taken[first : first - length]):
            taken[first : first - length] = b"\1" * -length
            chosen.append((first, first - length, span))
    return sorted(chosen, key=lambda each: each[0])


def applied(reading: Reading, rows: Sequence[Rule], now: Now) -> Reading:
    """The reading with one token `A`, whose value is its span, in place of each match."""
    codes: list[str] = []
    values: list[Any] = []
    spans: list[tuple[int, int]] = []
    done = 0
    end = len(reading.codes)
    for first, last, span in [*_matches(reading, rows, now), (end, end, None)]:
        codes.append(reading.codes[done:first])
        values += reading.values[done:first]
        spans += reading.spans[done:first]
        if span is not None:
            codes.append("A")
            values.append(span)
            spans.append((reading.spans[first][0], reading.spans[last - 1][1]))
        done = last
    return Reading("".join(codes), values, spans)
