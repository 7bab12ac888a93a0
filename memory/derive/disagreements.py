"""Turns that disagree: a denial beside what it denies, and a value beside an earlier one of the same thing.

Rules find these in one case of two or three, so they never hide anything: the result is a link between two turns, the
newer first, and both stay.

    conflict              "I've never met Kyle"            with  "I met Kyle at an expo in 2018"
    possibly_supersedes   "the new April 25 deadline ..."  with  "my April 20 deadline for the draft"

What both speak of is told by the words that they share, each weighted by how rare it is among the speaker's turns (idf:
Sparck Jones, "A statistical interpretation of term specificity", 1972): the share of the denial's, or of the two
values' surroundings', weight. A turn is linked to the one that it fits best; of those that a denial could fit, a long
one has to share more, because it has more words to share (after the pivoted length normalisation of Singhal, Buckley
and Mitra, 1996).
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from memory.derive.clauses import Clause, clauses, readable
from memory.model import LinkKind
from retrieval.analysis import STOP_WORDS, terms

ValueKind = Literal["money", "percent", "clock", "date", "count"]

_VALUE: Final = re.compile(
    r"(?P<money>[$€£]\s?\d[\d,]*(?:\.\d+)?)"
    r"|(?P<percent>\d[\d,]*(?:\.\d+)?\s?(?:%|percent\b))"
    r"|(?P<clock>\b\d{1,2}(?::\d\d)?\s?(?:am|pm|AM|PM)\b)"
    r"|(?P<date>\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?\s\d{1,2}\b(?!\d))"
    r"|(?P<count>(?<![\w.$-])\d[\d,]*(?:\.\d+)?(?:ms)?(?=\s+[a-z]|ms\b))"
)
_BREAK: Final = re.compile(r"[.!?;\n](?:\s|$)|,\s+(?:and|but|so|which|can|could|do|what|how|I)\b")
_CHANGED: Final = re.compile(
    r"\b(?:new|increased|extended|adjusted|updated|changed|moved|rescheduled|postponed|reached|revised|expanded|pushed"
    r"|bumped|recent(?:ly)?|now|growth|instead)\b",
    re.IGNORECASE,
)
_AROUND: Final = 80
_CUE_BEFORE: Final = 60
_CUE_BEHIND: Final = 20
Weights = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DisagreementSettings:
    """From which share of common weight two turns are linked.

    Attributes:
        denied_from: of a denial's words.
        changed_from: of the surroundings of two values, of which the later one speaks of a change.
        shared_min: words that both must share at least.
        same_denial: from which share a denial is one that was made before.
        links_max: turns that a denial is linked to.
        ordinary_words: up to so many content words a turn is not long.
    """

    denied_from: float = 0.3
    changed_from: float = 0.2
    shared_min: int = 2
    same_denial: float = 0.6
    links_max: int = 1
    ordinary_words: int = 20


@dataclass(frozen=True, slots=True)
class Said:
    """A turn: its id, text and place among those of its speaker."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two turns, the newer first, and the share of weight that they have in common."""

    kind: LinkKind
    newer: str
    older: str
    share: float


@dataclass(frozen=True, slots=True)
class Value:
    """A value in a turn, with the words around it."""

    turn: int
    kind: ValueKind
    text: str
    around: frozenset[str]
    changed: bool


def disagreements(said: Sequence[Said], settings: DisagreementSettings = DisagreementSettings()) -> list[Disagreement]:
    """The disagreements among one speaker's turns, which are in order."""
    shown = [readable(each.text) for each in said]
    words = [frozenset(terms(text)) for text in shown]
    counts = Counter(word for each in words for word in each)
    weights = {word: math.log(1 + len(said) / count) for word, count in counts.items()}
    found = [*_denied(said, shown, weights, settings), *_changed(said, shown, weights, settings)]
    return list({(each.kind, each.newer, each.older): each for each in found}.values())


def _denied(
    said: Sequence[Said], shown: Sequence[str], weights: Weights, settings: DisagreementSettings
) -> Iterator[Disagreement]:
    """Each denial beside the turns that fit it best; one that was made before is not looked at again."""
    denials = [[clause for clause in clauses(text) if clause.never] for text in shown]
    affirmed = [_content(_without(text, cut)) for text, cut in zip(shown, denials, strict=True)]
    made: list[frozenset[str]] = []
    for at, found in enumerate(denials):
        for clause in found:
            denied = _content(shown[at][clause.verb_end - len(clause.verb) : clause.end]) - _EMPTY
            total = sum(weights.get(word, 1.0) for word in denied)
            if not total or any(_weight(denied & each, weights) >= settings.same_denial * total for each in made):
                continue
            made.append(denied)
            fits = sorted(
                (
                    (share / math.sqrt(max(len(other), settings.ordinary_words)), -abs(at - place), place, share)
                    for place, other in enumerate(affirmed)
                    if place != at
                    and len(denied & other) >= settings.shared_min
                    and (share := _weight(denied & other, weights) / total) >= settings.denied_from
                ),
                reverse=True,
            )
            for *_, best, share in fits[: settings.links_max]:
                newer, older = (at, best) if at > best else (best, at)
                yield Disagreement("conflict", said[newer].id, said[older].id, share)


def _without(text: str, cut: Sequence[Clause]) -> str:
    for clause in reversed(cut):
        text = text[: clause.start] + text[clause.end :]
    return text


def _weight(words: frozenset[str], weights: Weights) -> float:
    return sum(weights.get(word, 1.0) for word in words)


def _changed(
    said: Sequence[Said], shown: Sequence[str], weights: Weights, settings: DisagreementSettings
) -> Iterator[Disagreement]:
    """Each turn that speaks of a change, with the earlier turn whose value fits one of its own best."""
    earlier: dict[ValueKind, list[Value]] = {}
    for at, text in enumerate(shown):
        values = list(values_of(at, text))
        fits = (
            (_share(value, other, weights, settings), other.turn)
            for value in values
            if value.changed
            for other in earlier.get(value.kind, ())
            if other.text != value.text
        )
        share, best = max(fits, default=(0.0, at))
        if share >= settings.changed_from:
            yield Disagreement("possibly_supersedes", said[at].id, said[best].id, share)
        for value in values:
            earlier.setdefault(value.kind, []).append(value)


def _share(value: Value, other: Value, weights: Weights, settings: DisagreementSettings) -> float:
    both = value.around & other.around
    if len(both) < settings.shared_min:
        return 0.0
    return _weight(both, weights) / math.sqrt(_weight(value.around, weights) * _weight(other.around, weights))


_FUNCTION: Final = frozenset(term for word in STOP_WORDS for term in terms(word)) | frozenset(
    terms("kinda trying want help need sure make get got wondering looking know like just recently already now new")
)
_EMPTY: Final = frozenset(terms("ever before any anything actually never have been project kind"))


def values_of(turn: int, text: str) -> Iterator[Value]:
    """The values in a `readable` text, each with the content words around it.

    Those are of its clause and of `_AROUND` characters on both sides: what is counted is often named a clause before.
    """
    for found in _VALUE.finditer(text):
        kind: ValueKind = found.lastgroup  # type: ignore[assignment]
        start = max((mark.end() for mark in _BREAK.finditer(text, 0, found.start())), default=0)
        end = next((mark.start() for mark in _BREAK.finditer(text, found.end())), len(text))
        first, last = min(start, max(0, found.start() - _AROUND)), max(end, found.end() + _AROUND)
        around = _content(text[first : found.start()] + " " + text[found.end() : last])
        near = text[max(start, found.start() - _CUE_BEFORE) : min(end, found.end() + _CUE_BEHIND)]
        changed = _CHANGED.search(near) is not None
        yield Value(turn, kind, found.group().strip(" ,").replace(" ", "").lower(), around, changed)


def _content(text: str) -> frozenset[str]:
    return frozenset(word for word in terms(text) if word not in _FUNCTION and not word[0].isdigit())
