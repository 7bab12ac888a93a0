"""The words of time expressions: a text becomes a string of one-letter codes, one a token, on which the rules run.

Why codes: a rule over words ("the first weekend of August 2023") needs long, slow and dangerous regular expressions;
over codes it is short (`TKom`) and bounded, and a synonym is one word in a table. A text of n characters costs O(n):
every alternative of the token pattern consumes what it looked at.

Codes, with the values that their tokens carry:
    M month, m one that is short or also a name, v one in lower case that may be another word (1-12)
    W weekday, w a short one (0 Monday ... 6 Sunday)   S season (0 spring ... 3 winter)   P part of a day
    U day, week, month, year, decade, 2 several of them (its name)   K weekend   H hour, minute (seconds)
    R yesterday, today, tomorrow (-1, 0, 1)   e earlier, later (0, 1)   @ recently   C now   g ago
    X holiday, G holiday before "day" ((month, day) or the name of a moving one)   z new   y year's   V eve
    D 1-31   Y 1900-2099   N other number   n number word   O 5th   T fifth   J 5-8 (both)   Q 90s
    I numeric date (its parts)   a a   f few (least, most)   $ what is counted but is no time
    l last   x next   h this   s past   Z other   b early, mid, late; E beginning, middle, end (0, 1, 2)
    i in   p on, at, for   + by, during, starting   ^ since   B before   F after   r from   k to   L until   j between
    t the   o of   u about   & and, or   " possessive   % every, least   q function word, clock time
    < past verb   > word of the future   c comma   d full stop   ~ dash   / any other break   _ any other word
The value of a preposition is the role that it gives to the date after it: "at", "since" or "until".

Source: the types of time expressions follow TIMEX3 (ISO 24617-1).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

Token = tuple[str, Any]  # code, value

_COUNTED: Final = {  # code: words whose value is their place, from 1
    "M": "january february march april may june july august september october november december",
    "n": (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty"
    ),
    "T": (
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
        "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
    ),
}
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NAMES: Final = ("march", "april", "may", "june", "august")  # months that are also verbs or names of people
_SHORT_MONTHS: Final = {month[:3]: month for month in _COUNTED["M"].split() if month != "may"} | {"sept": "september"}
_SHORT_DAYS: Final = {day[:n]: day for day in _WEEKDAYS for n in (3, 4, 5) if n < len(day) - 2}
_ABBREVIATED: Final = frozenset({*_SHORT_MONTHS, *_SHORT_DAYS})
_TITLE_ONLY: Final = ("sun", "sat", "wed", "mon")

_PLAIN: Final = {  # code: words that are their own value
    "P": "morning afternoon evening night noon midnight",
    "@": "recently lately",
    "l": "last previous",
    "x": "next coming upcoming",
    "h": "this these",
    "s": "past",
    "g": "ago back",
    "a": "a an",
    "t": "the",
    "Z": "other",
    "C": "now",
    "o": "of",
    "u": "about around roughly approximately nearly almost circa maybe sometime",
    "&": "and or",
    "z": "new",
    "V": "eve",
    "$": (
        "people dollars usd euros eur pounds bucks euro miles mile km kilometers kilometres meters metres feet "
        "steps calories kcal words points users members votes percent grams kg lbs pages units items"
    ),
    "<": (
        "was were had did got went took made saw came met gave found bought began left told said felt thought "
        "knew held won lost ran wrote read built sent spent drove flew ate drank broke fell became grew heard "
        "kept led lent taught caught brought sold sang slept stood swam threw wore woke hung quit sat chose "
        "forgot happened"
    ),
    ">": (
        "will shall gonna going plan plans planning soon hope hoping hopefully want wants let's expect expecting "
        "scheduled leaving starting looking"
    ),
    "%": "every each any more most least",
    '"': "my your his her its our their",
    "q": (
        "i you he she it we they me him us them who which that what where when why how but so because if then "
        "than as while though although is are am be been being has have do does with without not no yes too also "
        "can could would should can't only even still already both all some there here yet instead again together pm"
    ),
}
_ROLES: Final = {  # code: {role: prepositions}
    "i": {"at": "in"},
    "+": {"at": "during throughout", "since": "starting beginning effective", "until": "by due"},
    "^": {"since": "since"},
    "p": {"at": "on over at for within towards toward"},
    "r": {"at": "from"},
    "k": {"at": "to through thru"},
    "j": {"at": "between"},
    "L": {"until": "until till til"},
    "B": {"until": "before"},
    "F": {"since": "after"},
}
_VALUES: Final[dict[str, dict[Any, str]]] = {  # code: {value: words}
    "U": {unit: unit for unit in ("day", "week", "month", "year", "decade")},
    "2": {
        "day": "days nights",
        "week": "weeks",
        "month": "months",
        "year": "years",
        "decade": "decades",
        "weekend": "weekends",
    },
    "y": {"year": "year's"},
    "K": {"weekend": "weekend"},
    "H": {60: "minute minutes", 3600: "hour hours"},
    "S": {0: "spring", 1: "summer", 2: "autumn fall", 3: "winter"},
    "R": {-1: "yesterday", 0: "today tonight", 1: "tomorrow"},
    "e": {0: "earlier", 1: "later"},
    "f": {(2, 6): "few", (2, 3): "couple", (3, 8): "several"},
    "b": {0: "early", 1: "mid", 2: "late"},
    "E": {0: "beginning start", 1: "middle", 2: "end"},
    "X": {
        (12, 25): "christmas xmas",
        (10, 31): "halloween",
        (2, 14): "valentine's valentines",
        "easter": "easter",
        "thanksgiving": "thanksgiving",
    },
    "G": {
        (12, 26): "boxing",
        (3, 17): "patrick's",
        (4, 1): "fools fool's",
        "mothers": "mother's",
        "fathers": "father's",
    },
}


def _vocabulary() -> dict[str, Token]:
    """Every known word in lower case, with its code and value."""
    words: dict[str, Token] = {}
    for code, listed in _PLAIN.items():
        words |= {word: (code, word) for word in listed.split()}
    for tables in (_ROLES, _VALUES):
        for code, by_value in tables.items():
            words |= {word: (code, value) for value, listed in by_value.items() for word in listed.split()}
    for code, listed in _COUNTED.items():
        words |= {word: (code, place) for place, word in enumerate(listed.split(), 1)}
    words |= {day: ("W", place) for place, day in enumerate(_WEEKDAYS)}
    words |= {month: ("m", words[month][1]) for month in _NAMES}
    words |= {short: ("m", words[month][1]) for short, month in _SHORT_MONTHS.items()}
    words |= {short: ("w", words[day][1]) for short, day in _SHORT_DAYS.items()}
    return words


_WORDS: Final = _vocabulary()
_LOWER_CASE: Final = {  # what a word in lower case is instead
    **{word: ("v", _WORDS[word][1]) for word in (*_SHORT_MONTHS, "may", "march")},
    **dict.fromkeys(_TITLE_ONLY, ("_", None)),
}
_MARKS: Final = {",": "c", ".": "d", "-": "~", "–": "~", "—": "~", **dict.fromkeys("'’\"*`", "")}
_OTHER: Final[Token] = ("_", None)
_TOKEN: Final = re.compile(
    r"(?P<word>[^\W\d_]+(?:['’][^\W\d_]*)?)"
    r"|(?P<number>\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)?(?!\w)"
    r"|\d+(?:[.:/–-]\d+|,\d{3}(?!\d))*(?:[^\W\d]\w*)?)"
    r"|(?P<mark>[^\w\s]|_|\n[^\S\n]*(?:\n|[-*#>|+•]|(?=\d{1,3}[.)]\s)))"
)
_WORDS_KEPT: Final = 4096
_NUMERIC: Final = (
    (re.compile(r"(\d\d?)(?:st|nd|rd|th)", re.IGNORECASE), "O"),
    (re.compile(r"(\d\d?)[-–](\d\d?)"), "J"),
    (re.compile(r"(?P<y>\d{4})([-/.])(?P<m>\d\d?)\2(?P<d>\d\d?)"), "I"),
    (re.compile(r"(?P<a>\d\d?)([/-])(?P<b>\d\d?)\2(?P<y>\d{4})"), "I"),
    (re.compile(r"(?P<a>\d\d?)/(?P<b>\d\d?)/(?P<y>\d\d)"), "I"),
    (re.compile(r"(?P<d>\d\d?)\.(?P<m>\d\d?)\.(?P<y>\d{4})"), "I"),
    (re.compile(r"(?P<y>(?:19|20)\d\d)-(?P<m>0[1-9]|1[0-2])"), "I"),
    (re.compile(r"(?P<y>(?:19|20)\d\d)[-–](?P<y2>(?:19|20)\d\d)"), "I"),
    (re.compile(r"(?P<decade>(?:1[89]|20)\d0)s"), "I"),
    (re.compile(r"(?P<instant>\d{4}-\d\d-\d\d[T ]\d\d:.*)"), "I"),
    (re.compile(r"([2-9]0)s"), "Q"),
    (re.compile(r"\d\d?(?::\d\d){0,2}(?:[ap]m)?", re.IGNORECASE), "q"),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as codes: `codes[i]`, `values[i]` and `spans[i]` (characters, half-open) belong to token i."""

    codes: str
    values: list[Any]
    spans: list[tuple[int, int]]


@lru_cache(maxsize=_WORDS_KEPT)
def _word(word: str) -> Token:
    lower = word.lower().replace("’", "'")
    found = _WORDS.get(lower)
    if found is None:
        base, apostrophe, rest = lower.partition("'")
        if apostrophe:  # "Friday's game", "a week' time"; every other contraction is a function word
            return _WORDS.get(base, ("q", None)) if rest in ("s", "") else (">" if rest == "ll" else "q", None)
        return ("<", None) if lower.endswith("ed") and len(lower) > 4 else _OTHER
    if word[0] == lower[0]:
        return _LOWER_CASE.get(lower, found)
    return found


def _number(text: str, start: int, end: int, codes: list[str]) -> Token:
    """The token of a number. One that is joined to something else (a price, a version, a model) is any other word."""
    before, after = text[start - 1] if start else " ", text[end : end + 1]
    if before in "$€£¥#/.:+@_%&=\\" or before.isalpha() or (after and after in "%°$€£_"):
        return _OTHER
    if before == "-" and start > 1 and text[start - 2].isalnum() and codes[-2] not in "bMmvOD":
        return _OTHER
    token = text[start:end]
    if token.isdecimal() and len(token) <= 4:
        value = int(token)
        return ("D" if 1 <= value <= 31 and len(token) < 3 else "Y" if 1900 <= value <= 2099 else "N"), value
    for pattern, code in _NUMERIC:
        if found := pattern.fullmatch(token):
            if code == "I":
                return "I", {name: part for name, part in found.groupdict().items() if part}
            values = [int(part) for part in found.groups()]
            return code, values[0] if len(values) == 1 else tuple(values)
    return _OTHER


def read(text: str) -> Reading:
    """The text as codes. Quotes and asterisks are left out, and so is the dot of "Jan."."""
    codes: list[str] = []
    values: list[Any] = []
    spans: list[tuple[int, int]] = []
    value: Any
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        if match.lastgroup == "word":
            code, value = _word(match.group())
        elif match.lastgroup == "number":
            code, value = _number(text, start, end, codes)
        else:
            code, value = _MARKS.get(match.group(), "/"), None
            if not code or (code == "d" and codes and text[slice(*spans[-1])].lower() in _ABBREVIATED):
                continue
        codes.append(code)
        values.append(value)
        spans.append((start, end))
    return Reading("".join(codes), values, spans)
