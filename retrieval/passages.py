"""Passages: the parts of a long text that are indexed each by itself, and the keys that name them in every index.

The encoder sees 256 tokens, and one vector of a whole document says little of any one sentence in it. So a text of
more than about 1,200 characters is cut into passages of at most 1,000, at the end of a paragraph, a sentence, a line
or a word, whichever is the first of these that the second half of those 1,000 has. A character of a script that is
written without spaces counts 4, because it is about a token by itself, as four letters of English are. What is left at
the end may be 1,200, so that no passage is a short rest.

Invariants: passages are in order, none is empty, and together they cover the text without overlap; a text of 64 KiB
has fewer than 200, whatever it holds; no text has more than 1,024 (the last one is then longer), so that a passage's
number fits into the 10 low bits of a key; linear time.

A key is `row << 10 | passage`: a memory's keys are next to each other and ascend with its row. A memory of one passage
has the one key `row << 10`.
"""

import re
import unicodedata
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from retrieval.analysis import UNSPACED
from retrieval.ports import Rows

CHARS_WHOLE_MAX = 1200
CHARS_MAX = 1000
UNSPACED_WEIGHT = 4

PASSAGE_BITS = 10
PASSAGES_MAX = 1 << PASSAGE_BITS

_UNSPACED = re.compile(f"[{UNSPACED}]+")
# By preference. A passage ends where a match ends: blanks and closing quotes stay with what they follow.
_ENDS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n[^\S\n]*\n\s*",
        # Not the "1." of a list.
        r"(?<!\b\w)[.!?…][\"'”’)\]]{0,2}\s+|[。！？][”’」』）]{0,2}",
        r"\n\s*",
        r"\s+|[、，；：]",
    )
)
# Longer runs of marks, joiners or flags are cut anywhere.
_CLUSTER_CHARS_MAX = 64
_JOINER = "\u200d"
_is_joined = re.compile("[\u200d\U0001f3fb-\U0001f3ff\u1160-\u11ff]").match
_is_half_a_flag = re.compile("[\U0001f1e6-\U0001f1ff]").match


@dataclass(frozen=True, slots=True)
class Passage:
    """Characters [start, end) of a text."""

    start: int
    end: int


def split(text: str) -> list[Passage]:
    """The passages of a text: one, all of it, for a short text; an empty one for an empty text."""
    if len(text) * UNSPACED_WEIGHT <= CHARS_WHOLE_MAX:
        return [Passage(0, len(text))]
    weights = np.ones(len(text), dtype=np.int64)
    for run in _UNSPACED.finditer(text):
        weights[run.start() : run.end()] = UNSPACED_WEIGHT
    ends = np.cumsum(weights)
    found: list[Passage] = []
    start, taken = 0, 0
    while ends[-1] - taken > CHARS_WHOLE_MAX and len(found) < PASSAGES_MAX - 1:
        least, most = np.searchsorted(ends, [taken + CHARS_MAX // 2, taken + CHARS_MAX], side="right").tolist()
        end = _end(text, least, most)
        found.append(Passage(start, end))
        start, taken = end, int(ends[end - 1])
    return [*found, Passage(start, len(text))]


def key(row: int, passage: int = 0) -> int:
    """The key of one passage of a memory."""
    return row << PASSAGE_BITS | passage


def keys(row: int, count: int) -> range:
    """The keys of the first `count` passages of a memory."""
    return range(key(row), key(row, count))


def row_of(key: int) -> int:
    """The memory row that a key belongs to."""
    return key >> PASSAGE_BITS


def passage_of(key: int) -> int:
    """Which passage of its memory a key stands for, from 0."""
    return key & PASSAGES_MAX - 1


def rows_of(keys: Rows) -> Rows:
    """The memory row `[N]` of each key `[N]`."""
    return keys >> PASSAGE_BITS


def possible_keys(rows: Rows) -> Rows:
    """Every key that memories could have, `[N * PASSAGES_MAX]`, ascending where `rows` are."""
    return (rows[:, None] << PASSAGE_BITS | np.arange(PASSAGES_MAX)).reshape(-1)


def expand(rows: Rows, counts: Rows) -> Rows:
    """The keys of memories that have `counts` passages `[N]` each, in order of `rows` `[N]`."""
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(rows << PASSAGE_BITS, counts) + np.arange(len(firsts)) - firsts


def _end(text: str, least: int, most: int) -> int:
    """Where a passage ends that has to end in (least, most]."""
    for pattern in _ENDS:
        places = [match.end() for match in pattern.finditer(text, least, most)]
        if places:
            return places[-1]
    return _between_clusters(text, most)


def _between_clusters(text: str, end: int) -> int:
    """The last place up to `end` that is not inside what is read as one character."""
    for place in range(end, end - _CLUSTER_CHARS_MAX, -1):
        if not _inside_a_cluster(text, place):
            return place
    return end


def _inside_a_cluster(text: str, place: int) -> bool:
    """Whether the characters around `place` are read as one: marks, joined emoji, skin tones, jamo, flags."""
    after = text[place]
    if text[place - 1] == _JOINER or _is_joined(after) or unicodedata.category(after)[0] == "M":
        return True
    before = reversed(text[max(0, place - _CLUSTER_CHARS_MAX) : place])
    halves = sum(1 for _ in takewhile(_is_half_a_flag, before))
    return halves % 2 == 1 and _is_half_a_flag(after) is not None
