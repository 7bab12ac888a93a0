"""Refined memories: what a user corrected, asked for again or praised, word for word, beside what it is about.

    assistant: I booked the red one.     correction   "no, I meant ...", "that's wrong", "you got it wrong"
    user: No, I meant the blue one.      repeat       "as I said ...", "again, please", "... like last time"
                                         praise       "perfect", "that's exactly what I wanted", "I love how you ..."

Read by rules off turns of role `user`, one memory a turn, and one for all turns of a session that say the same: it
names each of them, was said when the last of them was, and counts them (`times`), so that recency and frequency tell
what matters; feedback and use on it count as on any derived memory (`memory.decay`). Which of several cues in a turn
counts is decided in the order above. A question corrects and praises nothing.

Source of the idea: MARK, memory augmented refinement of knowledge, where a user's corrections and repeated requests
are kept as a layer of their own. Invariant: each line is a part of a source, character for character.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from memory.consolidate import Proposal
from memory.derive.parts import SENTENCE, Part
from memory.model import Deriver, Item, Memory
from retrieval.analysis import terms

Sort = Literal["correction", "repeat", "praise"]

_NO: Final = r"(?:no|nope|nah|sorry|wait|actually|hmm|hold on|not quite)"
_IT_IS: Final = r"(?:that|this|it)(?:['’]s| is| was)"
CUES: Final[dict[Sort, re.Pattern[str]]] = {
    "correction": re.compile(
        rf"^(?:{_NO}[\s,.!;:—-]+)+(?:I|we)\s+(?:meant|mean|said|asked|wanted|want)\b"
        rf"|^(?:{_NO}[\s,.!;:—-]+)*(?:no|nope|nah)[\s,.!;:—-]+(?:{_IT_IS}|not|the|my|use)\s"
        r"|^I\s+(?:meant|said|asked\s+for)\b.*\bnot\b"
        rf"|\b{_IT_IS}\s+(?:(?:just|simply|still|completely|all)\s+)?(?:wrong|incorrect|a mistake)\b"
        rf"|\b{_IT_IS}(?:\s+not|n['’]t)\s+(?:(?:quite|at all)\s+)?(?:right|correct|true"
        r"|what\s+I\s+(?:asked|meant|wanted|said|need))\b"
        r"|\bthat(?:\s+is|['’]s|\s+was)?n['’]t\s+(?:right|correct|what\s+I\s+(?:asked|meant|wanted|said))\b"
        r"|\byou(?:['’]ve|\s+have)?\s+(?:got|had|have)\b.{0,30}\b(?:wrong|mixed\s+up|backwards)\b"
        r"|\byou(?:['’]ve|\s+have)?\s+(?:misunderstood|misread)\b"
        r"|^correction\s*:",
        re.IGNORECASE | re.DOTALL,
    ),
    "repeat": re.compile(
        r"\b(?:as|like)\s+I(?:['’]ve|\s+have)?\s+(?:already\s+)?(?:said|mentioned|told\s+you|asked|explained|wrote)\b"
        r"|\bI(?:['’]ve|\s+have)?\s+already\s+(?:said|told\s+you|asked|mentioned|explained)\b"
        r"|\bI\s+(?:told|asked)\s+you\s+(?:before|already|twice|to)\b"
        r"|^(?:please\s+)?(?:again|once\s+more|once\s+again|one\s+more\s+time)\s*[,:—-]"
        r"|^(?:please\s+)?(?:do|show|send|give|tell|make|write|repeat|explain|run)\b"
        r".{0,80}\b(?:again|once\s+more|as\s+(?:usual|always|before)|(?:like|as)\s+last\s+time)\b"
        r"|^(?:can|could|would)\s+you\s+(?:please\s+)?\w+\b.{0,80}\bagain\b"
        r"|\bsame\s+(?:\w+\s+)?as\s+(?:last\s+time|before|usual|always)\b",
        re.IGNORECASE | re.DOTALL,
    ),
    "praise": re.compile(
        r"^(?:(?:oh|wow|yes|ah|ok|okay)[\s,!.]+)*(?:perfect|excellent|brilliant|exactly|spot\s+on|well\s+done|nailed\s+it"
        r"|(?:great|good|nice|amazing)\s+(?:job|work|answer|explanation|summary|suggestion))(?:\s*[,.!;:—-]|\s*$)"
        r"|\b(?:that|this)(?:['’]s|\s+is)\s+(?:exactly|just|precisely)\s+(?:what|how|the\s+way)\s+I\s+"
        r"(?:need|want|meant|asked|like|(?:was|am|wanted|['’]m)\s+looking)"
        r"|^(?:yes[\s,!.]+)?(?:that|this)(?:['’]s|\s+is)\s+(?:perfect|excellent|brilliant)\s*(?:[,.!]|$)"
        r"|\bI\s+(?:really\s+)?(?:love|loved|like|liked|appreciate)\s+(?:(?:how|the\s+way)\s+you\b"
        r"|that\s+you\s+(?:kept|made|gave|added|included|wrote|remembered|explained|put|listed)\b)"
        r"|\byou\s+(?:got|did)\s+(?:it|this|that)\s+(?:exactly\s+|just\s+)?right\b",
        re.IGNORECASE,
    ),
}
"""What tells each sort, in a sentence without blanks around it; the first that fits counts."""


@dataclass(frozen=True, slots=True)
class RefinedSettings:
    """How much is kept of a turn.

    Attributes:
        sentences_max: from the one with the cue on.
        chars_max: a longer sentence is left out, a pasted text is no cue.
        same_from: the share of common terms (Jaccard) from which two turns say the same.
        terms_min: turns of fewer terms are only about what is before them, so they are the same as none.
    """

    sentences_max: int = 2
    chars_max: int = 400
    same_from: float = 0.6
    terms_min: int = 2


@dataclass(frozen=True, slots=True)
class Cue:
    """A turn that corrects, repeats or praises, and what it is about: the turn before it, where somebody else spoke."""

    sort: Sort
    said: tuple[Part, ...]
    about: Part | None

    @property
    def words(self) -> frozenset[str]:
        """The terms of what was said."""
        return frozenset(term for part in self.said for term in terms(part.text))


class Refined:
    """The deriver `refined`."""

    def __init__(self, settings: RefinedSettings = RefinedSettings()) -> None:
        self._settings = settings

    @property
    def made_by(self) -> Deriver:
        """Its name and version."""
        return Deriver("refined", "1")

    def derive(self, memories: Sequence[Memory], changed: frozenset[str]) -> list[Proposal]:
        """The refined memories of a session; outside any, a turn stands alone."""
        groups: list[list[Cue]] = []
        for at, memory in enumerate(memories):
            in_session = memory.item.scope.session_id is not None
            cue = read(memory, memories[at - 1] if in_session and at else None, self._settings)
            if cue is None:
                continue
            same = next((group for group in groups if in_session and self._same(group[0], cue)), None)
            if same is None:
                groups.append([cue])
            else:
                same.append(cue)
        return [_proposal(group) for group in groups]

    def _same(self, one: Cue, other: Cue) -> bool:
        if one.sort != other.sort or min(len(one.words), len(other.words)) < self._settings.terms_min:
            return False
        return len(one.words & other.words) >= self._settings.same_from * len(one.words | other.words)


def read(memory: Memory, before: Memory | None, settings: RefinedSettings = RefinedSettings()) -> Cue | None:
    """What a user's turn corrects, repeats or praises; None where it does nothing of it.

    Args:
        before: the turn before it.
    """
    if memory.item.kind != "turn" or memory.item.role != "user":
        return None
    parts = _sentences(memory, settings)
    for sort, cue in CUES.items():
        for at, part in enumerate(parts):
            asks = part.text.endswith(("?", "？"))
            if cue.search(part.text) and not (asks and sort != "repeat"):
                about = None
                if before is not None and before.item.role != "user":
                    about = next(iter(_sentences(before, settings)), None)
                return Cue(sort, tuple(parts[at : at + settings.sentences_max]), about)
    return None


def _sentences(memory: Memory, settings: RefinedSettings) -> list[Part]:
    found = []
    for match in SENTENCE.finditer(memory.item.text):
        said = match.group()
        if said.strip() and len(said) <= settings.chars_max:
            start = match.start() + len(said) - len(said.lstrip())
            found.append(Part(memory, start, match.start() + len(said.rstrip())))
    return found


def _proposal(group: Sequence[Cue]) -> Proposal:
    """One memory of turns that say the same: the words of the last one, the sources of all."""
    first, last = group[0], group[-1]
    shown = (*((last.about,) if last.about is not None else ()), *last.said)
    cited = [{"memory_id": part.memory.id, "start": part.start, "end": part.end} for part in shown]
    item = Item(
        "\n".join(part.line for part in shown),
        kind="summary",
        occurred_at=last.said[0].memory.item.occurred_at,
        metadata={"refined": last.sort, "times": len(group), "citations": cited},
    )
    sources = [part.memory.id for part in (*shown, *(cue.said[0] for cue in group))]
    return Proposal(first.said[0].memory.id, item, tuple(dict.fromkeys(sources)))
