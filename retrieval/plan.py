"""What a query asks for, read once before any search: its terms, the names in it, and its dates.

Pure: no index is looked at, and the time from which "last week" is read is passed in.

People speak of themselves in the first person: what answers "Where does Alice live?" is Alice saying "I live in
Lisbon". So for the encoder the names of those who speak become "I" and "my" (`in_first_person`); full text keeps
the names. On conversation turns this alone took dense recall@10 from .39 to .66 (`bench/results/locomo.json` has
the row without it).
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from retrieval.analysis import STOP_WORDS, query_terms
from retrieval.times import Expression, resolve

TERMS_MAX = 128
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_OWNER = re.compile(rf"({_WORD.pattern})(?:['’](?!\w))?")
_FULL_NAME = re.compile(r"\bI(?:\s+I)*\s+(I|my)\b")


@dataclass(frozen=True, slots=True)
class Plan:
    """A query, read.

    Attributes:
        terms: analysed terms, repeats kept; of a very long query only its `TERMS_MAX` commonest.
        words: its words in lower case, to find out which speaker it names.
        dates: the time expressions in it, resolved.
    """

    query: str
    terms: tuple[str, ...]
    words: frozenset[str]
    dates: tuple[Expression, ...]

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
    terms = [term for term, count in counted.most_common(TERMS_MAX) for _ in range(count)]
    words = {word.lower().removesuffix("'s").removesuffix("’s") for word in _WORD.findall(query)}
    return Plan(query, tuple(terms), frozenset(words), tuple(resolve(query, now)))


def named_speakers(query: Plan, speakers: Iterable[str]) -> frozenset[str]:
    """Which of these speakers the query names."""
    return frozenset(speaker for speaker in speakers if query.names(speaker))


def in_first_person(query: Plan, named: Iterable[str]) -> str:
    """The query as those whom it names would be asked it: their names become "I", or "my" where something is theirs."""
    names = {part for speaker in named for part in query.parts_named(speaker)}
    if not names:
        return query.query
    lowered = {name.lower() for name in names} - STOP_WORDS

    def told(found: re.Match[str]) -> str:
        name = found[1].removesuffix("'s").removesuffix("’s")
        if name not in names and name.lower() not in lowered:
            return found[0]
        return "I" if found[0] == name else "my"

    return _FULL_NAME.sub(r"\1", _OWNER.sub(told, query.query))
