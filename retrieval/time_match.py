"""How rules run over coded words: what a rule may look at, and which matches count.

A rule is one row of a table: a pattern over the codes of `retrieval.time_words`, and a pure builder that makes a span
of the match or says no. The longest match wins, then the leftmost, then the earlier rule. Patterns are bounded, so that
a pass over a text is linear in its tokens. `applied` leaves one token `A` in place of each match, which other rules
build on.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from retrieval.time_spans import Mode, Now, Span
from retrieval.time_words import Reading

_CLAUSE_TOKENS_MAX: Final = 30
_MODES: Final[dict[str, Mode]] = {"l": "last", "s": "last", "x": "next", "h": "this"}
COUNTS: Final = "DYNnaf"  # codes of which a count is made
_COUNT: Final = "(?:[DYNn]|af?|f)o?"


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
        return self.get("U2yK") or "day"

    @property
    def count(self) -> tuple[int, int]:
        """How many, least and most: "two" is (2, 2), "a" (1, 1)."""
        count = self.get("f") or self.get("DYNn") or 1
        return count if isinstance(count, tuple) else (count, count)

    @property
    def tense(self) -> Mode | None:
        """Past or future: by "since", or by the sentence's nearest verb that tells, first before the match."""
        codes = self.reading.codes
        if self.before == "^":
            return "since"
        for side in (
            range(self.first - 1, max(-1, self.first - _CLAUSE_TOKENS_MAX), -1),
            range(self.last, min(len(codes), self.last + _CLAUSE_TOKENS_MAX)),
        ):
            for i in side:
                if codes[i] in "/d":
                    break
                if codes[i] in "<>":
                    return "was" if codes[i] == "<" else "will"
        return None

    @property
    def said(self) -> Mode | None:
        """What the words of the match say themselves: last, next or this."""
        return next((mode for code, mode in _MODES.items() if self.has(code)), None)


Builder = Callable[[Found], Span | None]
Rule = tuple[re.Pattern[str], Builder]


def rules(table: Sequence[tuple[str, Builder]]) -> tuple[Rule, ...]:
    """The rows of a table, compiled; in a pattern `#` is a count ("a couple of"), and `+` stands for "since" too."""
    return tuple((re.compile(pattern.replace("#", _COUNT).replace("+", "+^")), build) for pattern, build in table)


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
