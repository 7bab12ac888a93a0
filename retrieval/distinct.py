"""Near-duplicates behind what is new: the same thing said again tells a reader nothing, but would fill the first k.

Two memories are near-duplicates when the same one said them and they differ in few words, none of which is a number or
a name: "I weigh 80 kg" and "I weigh 82 kg" are two facts. They are put behind, never left out, so that asking for k
gives k. Source: Carbonell and Goldstein, "The Use of MMR" (SIGIR 1998), with a rule in place of a similarity, because a
cosine cannot tell a changed number.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from retrieval.analysis import query_terms

OVERLAP_MIN = 0.85
_TELLING = re.compile(r"\d[\d.,:]*|(?<=\w )[A-Z]\w*")


@dataclass(frozen=True)
class Said:
    """What decides whether two texts say the same."""

    text: str
    speaker: str | None
    telling: frozenset[str]

    @cached_property
    def terms(self) -> frozenset[str]:
        """Its words, analysed only where the rest is the same: that is most of the work."""
        return frozenset(query_terms(self.text))


def said(text: str, speaker: str | None) -> Said:
    """A text as it is compared."""
    return Said(text, speaker, frozenset(_TELLING.findall(text)))


def near_duplicates(one: Said, other: Said) -> bool:
    """Whether two texts say the same."""
    if one.speaker != other.speaker or one.telling != other.telling:
        return False
    union = len(one.terms | other.terms)
    return not union or len(one.terms & other.terms) >= OVERLAP_MIN * union


def distinct_first(texts: Sequence[Said]) -> list[int]:
    """The places of all texts: first those that say something new, then the others, each in their order."""
    new: list[int] = []
    again: list[int] = []
    for place, text in enumerate(texts):
        seen = any(near_duplicates(text, texts[kept]) for kept in new)
        (again if seen else new).append(place)
    return new + again
