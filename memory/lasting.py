"""What a turn says for the whole session: instructions, goals, values. Pure rules over English sentences.

A session's working memory keeps the newest of these however long ago they were said (`memory.working`), so whether a
turn has any is a trait of its row. The rules are coarse on purpose: they choose sentences, which are shown word for
word with their citation, and assert nothing.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from memory.derive.clauses import sentences
from memory.model import Memory
from retrieval.traits import Spoken, Trait, says

LastingSlot = Literal["instruction", "goal", "value"]

TEXT_CHARS_MAX: Final = 4000
SENTENCE_CHARS_MAX: Final = 400
SENTENCES_MAX: Final = 2
"""Of one turn: a long one must not fill the working memory by itself."""

_GOAL: Final = Spoken(
    r"\b(?:i|we)(?:['’](?:m|re|ve|d)| am| are| have| would)?(?: been)?(?: really| still| also| just)?"
    r" (?:want(?:ed)?|need|plan(?:ning)?|hop(?:e|ing)|aim(?:ing)?|try(?:ing)?|going|intend(?:ing)?|like|decided) to\b"
    r"|\b(?:i|we)(?:['’](?:m|re)| am| are)(?: currently)? (?:working on|looking for|saving for)\b"
    r"|\b(?:my|our) (?:\w+ )?(?:goal|plan|aim|target)s? (?:is|are|for)\b",
)
_VALUE: Final = Spoken(
    r"\b(?:my|our) (?:[\w'’-]+ ){1,4}(?:is|are|was|were|has been|costs?|equals)\b"
    r"|\bi(?:['’]m| am) (?:an?|called|named|allergic|from|based|married|engaged|\d+)\b"
    r"|\b(?:i|we)(?:['’]ve| have)?(?: just| recently)?"
    r" (?:live|work(?:ed)? (?:at|as|for|in)|moved|own|bought|adopted|use|changed|switched|started|signed|booked)\b",
)
_STANDING: Final = Trait.INSTRUCTS | Trait.PREFERS
# "Whenever I hear it, I think of you" tells of a habit and asks for nothing.
_HABIT: Final = re.compile(
    r"^\W*(?:whenever|every time|any ?time)\b[^,]{0,200},\s*(?:I|we|it|they|he|she)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Lasting:
    """Characters [start, end) of a text, a sentence, and what it is."""

    slot: LastingSlot
    start: int
    end: int


def lasting(memory: Memory) -> list[Lasting]:
    """The first sentences of a turn that last, in order; none of an assistant's, of a document, or of a question."""
    item = memory.item
    if item.kind != "turn" or item.role not in (None, "user"):
        return []
    found: list[Lasting] = []
    text = item.text[:TEXT_CHARS_MAX]
    if not (says(text, _STANDING) or _GOAL.search(text) or _VALUE.search(text)):
        return []
    for start, end, asked in sentences(text):
        slot = None if asked or end - start > SENTENCE_CHARS_MAX else _slot(text[start:end].strip())
        if slot is not None:
            found.append(Lasting(slot, start, end))
        if len(found) == SENTENCES_MAX:
            break
    return found


def _slot(sentence: str) -> LastingSlot | None:
    if says(sentence, _STANDING) and not _HABIT.search(sentence):
        return "instruction"
    if _GOAL.search(sentence):
        return "goal"
    return "value" if _VALUE.search(sentence) else None
