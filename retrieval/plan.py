"""What a query asks for, read once before any search: its terms, the names in it, and its dates.

Pure: no index is looked at, and the time from which "last week" is read is passed in.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from retrieval.analysis import query_terms
from retrieval.times import Expression, resolve

TERMS_MAX = 128
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


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
        parts = [part.lower() for part in _WORD.findall(speaker)]
        return any(len(part) >= 3 and part in self.words for part in parts) or (
            bool(parts) and set(parts) <= self.words
        )


def plan(query: str, now: datetime) -> Plan:
    """Read a query; `now` is the time that "last week" is relative to."""
    counted = Counter(query_terms(query))
    terms = [term for term, count in counted.most_common(TERMS_MAX) for _ in range(count)]
    words = {word.lower().removesuffix("'s").removesuffix("’s") for word in _WORD.findall(query)}
    return Plan(query, tuple(terms), frozenset(words), tuple(resolve(query, now)))


def named_speakers(query: Plan, speakers: Sequence[str | None]) -> frozenset[str]:
    """Which of these speakers the query names."""
    return frozenset(speaker for speaker in set(speakers) if speaker and query.names(speaker))
