"""The derivers that ask a language model, one entry each in `ASKED`: the shape of a reply, and what is made of it.

They propose: a reply's fact becomes a statement that `memory.merge` settles with all others, at a confidence that
closes nothing; the rest becomes derived memories. Whatever does not cite a line that was shown, or quotes words that
are not in it, is dropped and counted, by reason; nothing is looked up, guessed or repaired.

    facts      -> statements           episodes -> `episode` with a frame, its time resolved from the quote by rule
    summaries  -> `summary`, cited     refined  -> `rationale`: what was corrected, praised, asked for again (MARK)
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, Field

from memory.consolidate import Proposal
from memory.derive.asking import prompt
from memory.derive.facts import SPEAKER
from memory.derive.moments import dated, moments
from memory.facts import Statement, Triple
from memory.model import Deriver, Item, Memory

CONFIDENCE = 0.6
"""Below `memory.facts.CONFIDENT`: what only a model read ends no other fact."""
_SELF = frozenset({"user", "i", "me", "speaker", "the user"})


class FactReply(BaseModel):
    """One fact of a reply."""

    subject: str = Field(min_length=1, max_length=80)
    predicate: str = Field(min_length=1, max_length=40)
    object: str = Field(min_length=1, max_length=200)
    negated: bool = False
    quote: str = Field(min_length=1, max_length=1000)
    source: int


class FactsReply(BaseModel):
    """The reply of `facts`."""

    facts: list[FactReply] = Field(max_length=200)


class SentenceReply(BaseModel):
    """One sentence of a summary."""

    text: str = Field(min_length=1, max_length=500)
    sources: list[int] = Field(max_length=100)


class SummaryReply(BaseModel):
    """The reply of `summaries`."""

    sentences: list[SentenceReply] = Field(max_length=20)


class ActorReply(BaseModel):
    """Who took part."""

    name: str = Field(min_length=1, max_length=80)
    role: str = Field("", max_length=80)
    state: str = Field("", max_length=120)


class EpisodeReply(BaseModel):
    """One event of a reply."""

    actors: list[ActorReply] = Field(max_length=20)
    action: str = Field(min_length=1, max_length=120)
    object: str = Field("", max_length=200)
    place: str = Field("", max_length=120)
    quote: str = Field(min_length=1, max_length=1000)
    source: int


class EpisodesReply(BaseModel):
    """The reply of `episodes`."""

    episodes: list[EpisodeReply] = Field(max_length=100)


class RefinedReply(BaseModel):
    """One correction, praise or repeated wish."""

    outcome: Literal["corrected", "praised", "asked again"]
    guidance: str = Field(min_length=1, max_length=300)
    quote: str = Field(min_length=1, max_length=1000)
    source: int


class RefinedReplies(BaseModel):
    """The reply of `refined`."""

    refined: list[RefinedReply] = Field(max_length=100)


@dataclass(slots=True)
class Read:
    """What a reply came to: proposals, statements, and how many of its entries were dropped, by reason."""

    proposals: list[Proposal] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Asked:
    """One deriver: the prompt's name, the reply's shape, and how a reply to a batch is read."""

    name: str
    shape: type[BaseModel]
    read: Callable[[Any, Sequence[Memory]], Read]

    @property
    def made_by(self) -> Deriver:
        """The version is the prompt's."""
        return _deriver(self.name)


def facts(reply: FactsReply, batch: Sequence[Memory]) -> Read:
    """Statements, each of words that its turn holds."""
    made_by, read = _deriver("facts"), Read()
    for each in reply.facts:
        source, span = _cited(read, batch, each.source, each.quote)
        if source is None:
            continue
        subject, known = _subject(each.subject, source)
        object_ = _found(each.object, source.item.text)
        if source.item.kind != "turn" or source.item.role not in (None, "user"):
            read.dropped["not said by a person"] += 1
        elif not known or object_ is None:
            read.dropped["not in the words of its source"] += 1
        else:
            predicate = " ".join(each.predicate.lower().replace("_", " ").split())
            triple = Triple(subject, predicate, source.item.text[slice(*object_)], each.negated)
            read.statements.append(_statement(triple, source, span, f"{made_by.name}/{made_by.version}"))
    return read


def summaries(reply: SummaryReply, batch: Sequence[Memory]) -> Read:
    """One summary of the batch; only sentences that cite a turn of it."""
    read = Read()
    cited = []
    for each in reply.sentences:
        sources = [batch[number - 1].id for number in dict.fromkeys(each.sources) if 1 <= number <= len(batch)]
        if sources:
            cited.append((" ".join(each.text.split()), sources))
        else:
            read.dropped["no such source"] += 1
    if not cited:
        return read
    moments_ = [memory.item.occurred_at for memory in batch if memory.item.occurred_at is not None]
    item = Item(
        "\n".join(text for text, _ in cited),
        kind="summary",
        occurred_at=max(moments_, default=None),
        metadata={"citations": [{"memory_ids": sources} for _, sources in cited]},
    )
    read.proposals.append(Proposal(batch[0].id, item, tuple(memory.id for memory in batch)))
    return read


def episodes(reply: EpisodesReply, batch: Sequence[Memory]) -> Read:
    """Frames; the time is what `retrieval.times` makes of the quote, whatever the model thinks."""
    read = Read()
    for each in reply.episodes:
        source, span = _cited(read, batch, each.source, each.quote)
        if source is None:
            continue
        told = moments(source.item.text, source.item.occurred_at)
        when = dated(told, span, planned=False, begins=False)
        time = when.time or when.valid_from or when.due
        frame: dict[str, Any] = {
            "actors": [{**actor.model_dump(), "name": _subject(actor.name, source)[0]} for actor in each.actors],
            "action": each.action,
            "object": each.object or None,
            "place": each.place or None,
            "time": {"start": time.told()["start"], "end": time.told()["end"]} if time else None,
        }
        who = ", ".join(actor["name"] for actor in frame["actors"])
        text = " ".join(part for part in (who, each.action, each.object, each.place and f"({each.place})") if part)
        item = Item(
            text, kind="episode", occurred_at=source.item.occurred_at, frame=frame, metadata=_span(source, span)
        )
        read.proposals.append(Proposal(_key(source.id, who, each.action, each.object), item, (source.id,)))
    return read


def refined(reply: RefinedReplies, batch: Sequence[Memory]) -> Read:
    """Rationales, each of a user's own words."""
    read = Read()
    for each in reply.refined:
        source, span = _cited(read, batch, each.source, each.quote)
        if source is None:
            continue
        if source.item.role not in (None, "user"):
            read.dropped["not said by a person"] += 1
            continue
        said = source.item.text[slice(*span)]
        frame = {"question": said, "reasoning": each.guidance, "outcome": each.outcome}
        item = Item(
            each.guidance, kind="rationale", occurred_at=source.item.occurred_at, frame=frame,
            metadata=_span(source, span),
        )  # fmt: skip
        read.proposals.append(Proposal(_key(source.id, each.outcome), item, (source.id,)))
    return read


ASKED: Mapping[str, Asked] = {
    "facts": Asked("facts", FactsReply, facts),
    "summaries": Asked("summaries", SummaryReply, summaries),
    "episodes": Asked("episodes", EpisodesReply, episodes),
    "refined": Asked("refined", RefinedReplies, refined),
}
"""Those that `RECALLD_DERIVE_LLM` may name."""


def _deriver(name: str) -> Deriver:
    return Deriver(f"llm_{name}", prompt(name).version)


def _cited(read: Read, batch: Sequence[Memory], number: int, quote: str) -> tuple[Memory | None, tuple[int, int]]:
    """The memory that is cited, and where it says what is quoted; None, counted, where it does not."""
    if not 1 <= number <= len(batch):
        read.dropped["no such source"] += 1
        return None, (0, 0)
    source = batch[number - 1]
    span = _found(quote, source.item.text)
    if span is None:
        read.dropped["not in the words of its source"] += 1
        return None, (0, 0)
    return source, span


def _found(words: str, text: str) -> tuple[int, int] | None:
    """Where a text holds these words; case and blanks do not count."""
    parts = [re.escape(word) for word in words.strip(" \t\n\"'.,;:!?").split()]
    match = re.search(r"\s+".join(parts), text, re.IGNORECASE) if parts else None
    return match.span() if match else None


def _subject(name: str, source: Memory) -> tuple[str, bool]:
    """Who is meant, and whether the source names them: its speaker, or a name in its text."""
    speaker = source.item.speaker or SPEAKER
    plain = " ".join(name.split())
    if plain.lower() in _SELF or plain.lower() == speaker.lower():
        return speaker, True
    return plain, _found(plain, source.item.text) is not None


def _statement(triple: Triple, source: Memory, span: tuple[int, int], extractor: str) -> Statement:
    told = moments(source.item.text, source.item.occurred_at)
    when = dated(told, span, planned=triple.predicate.startswith("plan"), begins=False)
    denied = "not: " if triple.negated else ""
    return Statement(
        triple,
        f"{triple.subject} {denied}{triple.predicate} {triple.object}",
        source.id,
        said_at=source.order_at,
        place=(source.row, span[0]),
        span=span,
        extractor=extractor,
        confidence=CONFIDENCE,
        valid_from=when.valid_from,
        due=when.due,
        time=when.time,
        source_version=source.version,
    )


def _span(source: Memory, span: tuple[int, int]) -> dict[str, Any]:
    return {"spans": {source.id: list(span)}}


def _key(*parts: str) -> str:
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=12).hexdigest()
