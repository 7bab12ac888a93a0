"""What "my" says: "my X is Y", a name beside a relation ("my sister Ana"), and a value that changed.

A definite singular ("my budget") speaks of one thing, so another value of it may be a newer one (`unique`). "From A to
B" says itself that A has ended.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from memory.derive.fact_words import KIN, SEVERAL

_NOUNS: Final = r"(?P<noun>(?:[a-zA-Z][\w'’/-]*\s+){0,3}?[a-zA-Z][\w'’/-]*)"
_NAME: Final = r"(?!(?:Mrs?|Ms|Dr|Miss|Sir)\b)[A-Z][a-z]+(?:\s+[A-Z][a-z]+)?"
_END: Final = (
    r"(?=[.!?;\n]|,\s|\s+(?:and|but|so|because|which|who|since|if|though|while|when|considering|thanks|after|due)\b|$)"
)
_VALUE: Final = (
    r"(?P<object>(?:about\s+|around\s+|now\s+)?(?:an?\s+|the\s+)?"
    rf"(?:[$€£]?\d(?:[\w.,:/%$€£-]*[\w%])?|{_NAME}\b|called|named)[^.!?;\n]*?)"
)
_IS: Final = re.compile(
    rf"\b(?P<my>[Mm]y|[Oo]ur)\s+{_NOUNS}(?P<ended>\s+(?:used to be|was|is no longer))?(?(ended)|\s*(?:is|are|['’]s))"
    rf"\s+(?:now\s+|currently\s+|actually\s+|called\s+|named\s+|set (?:to|for|at)\s+|scheduled for\s+)*{_VALUE}{_END}"
)
_FAVORITE: Final = re.compile(
    r"\b[Mm]y\s+(?P<noun>(?:all-time\s+)?favou?rite\s+(?:\w+\s+){0,2}?\w+)\s+(?:is|are|has to be|would be|['’]s)\s+"
    rf"(?:definitely\s+|probably\s+)?(?P<object>[^.!?;\n,]+?){_END}"
)
_KIN_NAME: Final = re.compile(
    rf"\b[Mm]y\s+(?:\w+\s+)?(?P<noun>(?:\w+\s+)?(?:{KIN}))(?:['’]s name is|,| named| called| is)?\s+(?P<object>{_NAME})"
    r"(?=[\s,.!?;]|['’]s\b|$)"
)
_NAME_KIN: Final = re.compile(rf"\b(?P<object>{_NAME}),\s+(?:who is |who['’]s )?my\s+(?P<noun>(?:\w+\s+)?(?:{KIN}))\b")
_CHANGE: Final = (
    r"(?:changed|moved|switched|updated|adjusted|increased|raised|extended|reduced|lowered|cut|rescheduled|postponed"
    r"|upgraded|improved|revised|bumped|pushed|grown|dropped|shifted|expanded)"
)
_QUANTITY: Final = (
    r"(?:[$€£]?\d(?:[\w.,:/%$€£-]*[\w%])?"
    r"(?:\s+(?!(?:on|in|at|for|to|and|by|with|from|after|but|so|which|since|because)\b)[A-Za-z%]+)?"
    r"|[A-Z][a-z]+(?:\s+\d{1,2}(?:st|nd|rd|th)?)?)"
)
_CHANGED: Final = re.compile(
    rf"\b(?:{_CHANGE}\s+(?:my|our|the)\s+{_NOUNS}|(?:[Mm]y|[Oo]ur|[Tt]he)\s+(?P<noun2>(?:[a-zA-Z][\w'’/-]*\s+){{0,3}}?"
    rf"[a-zA-Z][\w'’/-]*)\s+(?:has\s+|have\s+|was\s+|were\s+|been\s+|recently\s+|just\s+)*{_CHANGE})"
    rf"(?:\s+from\s+(?P<old>{_QUANTITY}))?\s+to\s+(?P<object>{_QUANTITY})"
)
_HAS_CHANGE: Final = re.compile(_CHANGE)
_HAS_KIN: Final = re.compile(KIN)
_BAD_NOUN: Final = re.compile(
    r"^(?:question|goal here|point|guess|concern|issue|problem|plan|thought|fear|understanding|code|hope)s?$"
    r"|\b(?:is|are|was|that|which|who|and|of|in|on|to|for|with|has|have|i)\b",
    re.IGNORECASE,
)
_ADJECTIVES: Final = re.compile(r"^(?:new|current|updated|increased|revised|old|own|total|overall)\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Possessive:
    """One find: `[start, end)` is the value, `[clause_start, clause_end)` all of it.

    Attributes:
        whole: whether that is all that its clause says.
    """

    predicate: str
    start: int
    end: int
    clause_start: int
    clause_end: int
    confidence: float = 0.95
    unique: bool = False
    ended: bool = False
    replaces: str | None = None
    whole: bool = False


def possessives(text: str) -> Iterator[Possessive]:
    """What a `readable` text says with "my" and "our"."""
    if "y " not in text and "ur " not in text and "to " not in text:
        return
    # What a rule can not do without is looked for first: most texts have none of it.
    for found in _CHANGED.finditer(text) if _HAS_CHANGE.search(text) else ():
        noun = _noun(found["noun"] or found["noun2"])
        if noun:
            yield _found(found, noun, unique=True, replaces=found["old"], whole=True)
    for found in _FAVORITE.finditer(text) if "favo" in text else ():
        yield _found(found, found["noun"].lower())
    for rule in (_KIN_NAME, _NAME_KIN):
        for found in rule.finditer(text) if "y " in text and _HAS_KIN.search(text) else ():
            noun = found["noun"].lower()
            yield _found(found, noun, unique=noun not in SEVERAL)
    for found in _IS.finditer(text):
        noun = _noun(found["noun"])
        if noun and not noun.startswith(("favorite", "favourite")) and noun.split()[-1] not in KIN.split("|"):
            ended = found["ended"] is not None
            yield _found(found, noun, unique=not noun.endswith("s") and not ended, ended=ended)


def _noun(noun: str) -> str | None:
    """A noun phrase as a predicate; None where it is not one."""
    bare = _ADJECTIVES.sub("", noun.strip()).lower()
    return None if not bare or _BAD_NOUN.search(bare) else bare


def _found(
    found: re.Match[str],
    predicate: str,
    *,
    unique: bool = False,
    ended: bool = False,
    replaces: str | None = None,
    whole: bool = False,
) -> Possessive:
    return Possessive(
        predicate,
        *found.span("object"),
        *found.span(),
        unique=unique,
        ended=ended,
        replaces=replaces,
        whole=whole,
    )
