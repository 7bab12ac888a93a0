"""What a query asks for, read once before any search: its terms, the names in it, and its dates.

Pure: no index is looked at, and the time from which "last week" is read is passed in.

People speak of themselves in the first person: what answers "Where does Alice live?" is Alice saying "I live in
Lisbon". So for the encoder the names of those who speak become "I" and "my", and so do "she" and "her" where the query
names one person (`in_first_person`); full text leaves the names out, because the speaker is a signal of its own. On
conversation turns this alone took dense recall@10 from .39 to .66 (`bench/results/locomo.json` has the row without it).

"Recently" and "now" in a query say that something is current, not on which day it was said, so they are no dates here.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from retrieval.analysis import STOP_WORDS, query_terms, terms
from retrieval.times import Expression, resolve
from retrieval.traits import Trait, answer_traits

TERMS_MAX = 128
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_OWNER = re.compile(rf"({_WORD.pattern})(?:['’](?!\w))?")
_FULL_NAME = re.compile(r"\bI(?:\s+I)*\s+(I|my)\b")
_VAGUE = frozenset({"recently", "lately", "now", "currently", "today", "these days"})
_TOGETHER = re.compile(r"\b(?:and|both|together|each other)\b", re.IGNORECASE)
# What a query that names two people says of who speaks: the first is its subject, but the other one answers as well.
SUBJECT_SHARE = 1 / 3
_PRONOUNS = (
    (re.compile(r"\b(?:his|her)\b(?=\s+\w)", re.IGNORECASE), "my"),
    (re.compile(r"\b(?:he|she)\b", re.IGNORECASE), "I"),
    (re.compile(r"\b(?:him|himself|her|herself)\b", re.IGNORECASE), "me"),
)
_AGREEMENT = (
    (re.compile(r"\b(?i:does) I\b"), "do I"),
    (re.compile(r"\b(?i:has) I\b"), "have I"),
    (re.compile(r"\b(?i:is|are) I\b"), "am I"),
    (re.compile(r"\b(?i:were) I\b"), "was I"),
    (re.compile(r"\bI is\b"), "I am"),
    (re.compile(r"\bI has\b"), "I have"),
    (re.compile(r"\bI does\b"), "I do"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A query, read.

    Attributes:
        terms: analysed terms, repeats kept; of a very long query only its `TERMS_MAX` commonest.
        words: its words in lower case, to find out which speaker it names.
        dates: the time expressions in it, resolved, but for vague ones ("recently").
        answer: what sort of answer it asks for.
    """

    query: str
    terms: tuple[str, ...]
    words: frozenset[str]
    dates: tuple[Expression, ...]
    answer: Trait

    def names(self, speaker: str) -> bool:
        """Whether the query names this speaker: by the whole name or by a part of it of three letters or more."""
        return bool(self.parts_named(speaker))

    def parts_named(self, speaker: str) -> list[str]:
        """The parts of a speaker's name by which the query names him; "will" is a word, and only "Will" names him."""
        parts = _WORD.findall(speaker)
        held = [
            part
            for part in parts
            if part.lower() in self.words and (part.lower() not in STOP_WORDS or part in self.query)
        ]
        return held if len(held) == len(parts) else [part for part in held if len(part) >= 3]


def plan(query: str, now: datetime) -> Plan:
    """Read a query; `now` is the time that "last week" is relative to."""
    counted = Counter(query_terms(query))
    common = [term for term, count in counted.most_common(TERMS_MAX) for _ in range(count)]
    words = {word.lower().removesuffix("'s").removesuffix("’s") for word in _WORD.findall(query)}
    dates = tuple(date for date in resolve(query, now) if query[date.start_char : date.end_char].lower() not in _VAGUE)
    return Plan(query, tuple(common), frozenset(words), dates, answer_traits(query))


def named_speakers(query: Plan, speakers: Iterable[str]) -> frozenset[str]:
    """Which of these speakers the query names."""
    return frozenset(speaker for speaker in speakers if query.names(speaker))


def spoken_shares(query: Plan, named: Iterable[str]) -> dict[str, float]:
    """How likely each of the named is to be the one who says what is asked for: 1 for the only one named.

    Of two the first one named is the subject ("What did Ann give to Bob?") and gets `SUBJECT_SHARE`, unless the query
    is about both.
    """
    people = sorted(named)
    if len(people) == 1:
        return {people[0]: 1.0}
    if len(people) != 2 or _TOGETHER.search(query.query):
        return {}
    text = query.query.lower()
    return {min(people, key=lambda person: _place(text, query.parts_named(person))): SUBJECT_SHARE}


def terms_without(query: Plan, named: Iterable[str]) -> list[str]:
    """The query's terms without those of the speakers that it names, unless that leaves none."""
    names = {term for speaker in named for part in query.parts_named(speaker) for term in terms(part)}
    return [term for term in query.terms if term not in names] or list(query.terms)


def in_first_person(query: Plan, named: Iterable[str]) -> str:
    """The query as those whom it names would be asked it: their names become "I", or "my" where something is theirs."""
    people = list(named)
    names = {part for speaker in people for part in query.parts_named(speaker)}
    if not names:
        return query.query
    lowered = {name.lower() for name in names} - STOP_WORDS

    def told(found: re.Match[str]) -> str:
        name = found[1].removesuffix("'s").removesuffix("’s")
        if name not in names and name.lower() not in lowered:
            return found[0]
        return "I" if found[0] == name else "my"

    asked = _FULL_NAME.sub(r"\1", _OWNER.sub(told, query.query))
    for pattern, word in (*(_PRONOUNS if len(people) == 1 else ()), *_AGREEMENT):
        asked = pattern.sub(word, asked)
    return asked


def _place(text: str, parts: Iterable[str]) -> int:
    return min((text.find(part.lower()) for part in parts), default=len(text))
