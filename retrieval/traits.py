"""What kind of thing a text says, as bits that are read off it once, when it is stored.

A recall looks at hundreds of rows and must not read their texts: what it has to know of each is one number in the
table, made here by pure rules over English words. They say how a text speaks (it asks, it only agrees, it tells the
assistant what to do from now on) and what sort of answer it could hold (a time, a number, a place, a person).

Source: answer types after Li and Roth, "Learning Question Classifiers" (COLING 2002), its coarse classes; the weight of
each in a ranking is measured in `bench/results`.
"""

import re
import sys
from enum import IntFlag

REVISION = 1
TEXT_CHARS_MAX = 4000
_NOTE_CHARS_MAX = 400
QUESTION_MARKS = "?？؟"


class Trait(IntFlag):
    """One bit a trait; the numbers are stored, so they never change."""

    ASKS = 1
    AGREES = 2
    INSTRUCTS = 4
    PREFERS = 8
    TIME = 16
    NUMBER = 32
    PLACE = 64
    PERSON = 128
    # Not read off the text: whether it is known when it happened, and whether recalld derived it.
    DATED = 256
    DERIVED = 512
    # Read off it by `memory`: whether it says something for the whole session, and whether it says nothing to keep.
    LASTING = 1024
    NOISE = 2048


_MONTH = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?"
)
_WEEKDAY = "(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_KIN = (
    "mom|mum|mother|dad|father|parents?|sister|brother|friends?|wife|husband|partner|son|daughter|kids?|family|aunt"
    "|uncle|cousin|grand\\w+|boss|colleagues?|coach|teacher|girlfriend|boyfriend|neighbou?rs?|team\\w*"
)


class Spoken:
    """A pattern, written in small letters, that capitals meet as well.

    In ASCII text it is looked for among small letters: with `re.I` every alternative is tried at every word, which
    takes three times as long.
    """

    def __init__(self, pattern: str) -> None:
        self._small = re.compile(pattern)
        self._either = re.compile(pattern, re.I)

    def search(self, text: str, start: int = 0, end: int = sys.maxsize) -> re.Match[str] | None:
        """The first place in characters [start, end) of a text."""
        if text.isascii():
            return self._small.search(text[:end].lower(), start)
        return self._either.search(text, start, end)


_RULES: tuple[tuple[Trait, Spoken | re.Pattern[str]], ...] = (
    (
        Trait.AGREES,
        Spoken(
            r"^\W*(?:thanks|thank you|got it|sounds good|yeah|yes|yep|sure|ok(?:ay)?|great|perfect|that sounds|that's"
            r"|alright|cool|let's|hmm|absolutely|awesome)\b",
        ),
    ),
    (
        Trait.INSTRUCTS,
        Spoken(
            r"(?:^|[.!?\n]\s{0,8})(?:please\s+|also,?\s+)?(?:always|never|from now on|whenever|every time|any ?time"
            r"|remember to|don['’]t ever|do not ever)\b",
        ),
    ),
    (
        Trait.PREFERS,
        Spoken(
            r"\bi(?:['’]d| would)?(?: much| really)? prefer\b|\bmy preferences?\b|\bi(?:['’]d| would) rather\b"
            r"|\bi(?:['’]ve| have)? (?:chosen|decided) to\b",
        ),
    ),
    (
        Trait.TIME,
        Spoken(
            rf"\b(?:yesterday|today|tonight|tomorrow|last|next|ago|week(?:end)?s?|month|year|since|recently|just"
            rf"|this morning|{_WEEKDAY}|{_MONTH}|\d{{4}}|\d+(?:st|nd|rd|th))\b",
        ),
    ),
    (
        Trait.NUMBER,
        Spoken(
            r"\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|several|couple|few|dozen|many|once|twice"
            r"|first|second|third)\b",
        ),
    ),
    (Trait.PLACE, re.compile(r"\b(?:in|at|to|from|near|around|visit(?:ed)?)\s+(?:the\s+)?[A-Z][a-z]+")),
    (
        Trait.PERSON,
        re.compile(rf"\b(?:[Mm]y|[Oo]ur)\s+(?:\w+\s+)?(?:{_KIN})\b|(?<=[a-z,] )[A-Z][a-z]+"),
    ),
)
# The longest question word first: "how many" is not a "how".
_ASKED: tuple[tuple[Trait, re.Pattern[str]], ...] = (
    (
        Trait.TIME,
        re.compile(r"^when\b|\b(?:what|which) (?:date|day|month|year)\b|^what time\b|\bwhen (?:did|was|is)\b", re.I),
    ),
    (Trait.TIME | Trait.NUMBER, re.compile(r"\bhow (?:long|old|often)\b", re.I)),
    (Trait.NUMBER, re.compile(r"\bhow (?:many|much)\b", re.I)),
    (Trait.PLACE, re.compile(r"\bwhere\b|\b(?:what|which) (?:city|country|place|state|town)\b", re.I)),
    (Trait.PERSON, re.compile(r"\bwho(?:m|se)?\b", re.I)),
)


def traits(text: str) -> Trait:
    """The traits of a stored text; of a very long one the beginning is read, and how it ends."""
    found = Trait.ASKS if asks(text) else Trait(0)
    for trait, rule in _RULES:
        if rule.search(text, 0, TEXT_CHARS_MAX):
            found |= trait
    return found


def says(text: str, wanted: Trait) -> bool:
    """Whether a text has any of these traits that are read off it by a rule; cheaper than reading all of them."""
    return any(rule.search(text, 0, TEXT_CHARS_MAX) for trait, rule in _RULES if trait & wanted)


def asks(text: str) -> bool:
    """Whether a text ends in a question; a note in brackets behind it ("[photo: a dog]") does not count."""
    return without_note(text).endswith(tuple(QUESTION_MARKS))


def without_note(text: str) -> str:
    """The text without blanks and notes in square brackets at its end."""
    shown = text.rstrip()
    while shown.endswith("]"):
        opened = shown.rfind("[", max(0, len(shown) - _NOTE_CHARS_MAX))
        if opened <= 0:
            break
        shown = shown[:opened].rstrip()
    return shown


def answer_traits(query: str) -> Trait:
    """What sort of answer a question asks for: any of these traits would do; none where it does not say."""
    asked = query.strip()[:TEXT_CHARS_MAX]
    return next((trait for trait, rule in _ASKED if rule.search(asked)), Trait(0))
