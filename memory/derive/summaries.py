"""Session summaries by extraction: the sentences that say most of what a session is about, word for word, each with the
memory that it is from. Deterministic, and without a language model, so a summary can not say what nobody said.

A sentence's vector is its terms weighted by their rarity in the session (idf). Its centrality is its cosine with the
sum of all of them (the centroid of MEAD: Radev et al., "Centroid-based summarization of multiple documents",
Information Processing & Management 2004), and sentences are picked one by one for centrality less what the picked
ones say already (maximal marginal relevance: Carbonell & Goldstein, SIGIR 1998), until the token budget is full.

Invariants: the text is within the budget; each of its lines is a sentence of a source, in the order of the session.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memory.consolidate import Proposal
from memory.derive.parts import SENTENCE, Part
from memory.model import Deriver, Item, Memory
from retrieval.analysis import terms

Vector = dict[str, float]


@dataclass(frozen=True, slots=True)
class SummarySettings:
    """How long a summary is, and of what.

    Attributes:
        tokens_max: of the whole text, by the encoder's tokenizer.
        memories_min: a session of fewer is its own summary.
        terms_min: a sentence of fewer ("Yes, please.") says nothing by itself.
        novelty: how much a sentence loses for what is said already; 0: nothing.
        same_from: the cosine from which a sentence says nothing new at all.
        chars_max: a longer sentence is left out.
    """

    tokens_max: int = 160
    memories_min: int = 8
    terms_min: int = 4
    novelty: float = 0.5
    same_from: float = 0.95
    chars_max: int = 400


@dataclass(frozen=True, slots=True)
class Sentence(Part):
    """A part that is one sentence, and its unit vector."""

    vector: Vector


class SessionSummaries:
    """The deriver `summaries`: one summary for each session that is long enough."""

    def __init__(self, count_tokens: Callable[[str], int], settings: SummarySettings = SummarySettings()) -> None:
        self._count_tokens = count_tokens
        self._settings = settings

    @property
    def made_by(self) -> Deriver:
        """Its name and version."""
        return Deriver("summaries", "1")

    def derive(self, memories: Sequence[Memory], changed: frozenset[str]) -> list[Proposal]:
        """The summary of a session; none of a short one, and none of memories outside any."""
        if len(memories) < self._settings.memories_min or memories[0].item.scope.session_id is None:
            return []
        item = extract(memories, self._count_tokens, self._settings)
        return [] if item is None else [Proposal("session", item, cited(item))]


def extract(memories: Sequence[Memory], count_tokens: Callable[[str], int], settings: SummarySettings) -> Item | None:
    """What says most of these memories, and where each sentence of it is from; None where nothing does."""
    chosen = _chosen(sentences(memories, settings), count_tokens, settings)
    if not chosen:
        return None
    places = [{"memory_id": each.memory.id, "start": each.start, "end": each.end} for each in chosen]
    moments = [memory.item.occurred_at for memory in memories if memory.item.occurred_at is not None]
    return Item(
        text="\n".join(each.line for each in chosen),
        kind="summary",
        occurred_at=max(moments, default=None),
        metadata={"citations": places},
    )


def cited(item: Item) -> tuple[str, ...]:
    """The memories that a summary cites, each once."""
    return tuple(dict.fromkeys(each["memory_id"] for each in item.metadata["citations"]))


def _chosen(found: Sequence[Sentence], count_tokens: Callable[[str], int], settings: SummarySettings) -> list[Sentence]:
    """The best sentences that fit, in the order of the session."""
    centroid: Vector = {}
    for each in found:
        for term, weight in each.vector.items():
            centroid[term] = centroid.get(term, 0.0) + weight
    length = math.sqrt(sum(weight * weight for weight in centroid.values())) or 1.0
    central = [_dot(each.vector, centroid) / length for each in found]
    said = [0.0] * len(found)
    left, picked, budget = set(range(len(found))), [], settings.tokens_max
    while left:
        best = max(left, key=lambda n: (central[n] - settings.novelty * said[n], -n))
        left.remove(best)
        # A line costs its own tokens and at most one for the break before it.
        cost = count_tokens(found[best].line) + 1
        if cost > budget:
            break
        budget -= cost
        picked.append(best)
        for n in left:
            said[n] = max(said[n], _dot(found[n].vector, found[best].vector))
        left = {n for n in left if said[n] < settings.same_from}
    return [found[n] for n in sorted(picked)]


def sentences(memories: Sequence[Memory], settings: SummarySettings) -> list[Sentence]:
    """The sentences of a session that say something, with their vectors."""
    places = [
        (memory, match.start(), match.end(), Counter(terms(match.group())))
        for memory in memories
        for match in SENTENCE.finditer(memory.item.text)
        if len(match.group()) <= settings.chars_max
    ]
    useful = [place for place in places if len(place[3]) >= settings.terms_min]
    held = Counter(term for *_, counts in useful for term in counts)
    idf = {term: math.log(1 + len(useful) / count) for term, count in held.items()}
    return [_sentence(memory, start, end, counts, idf) for memory, start, end, counts in useful]


def _sentence(memory: Memory, start: int, end: int, counts: Counter[str], idf: Vector) -> Sentence:
    text = memory.item.text[start:end]
    start += len(text) - len(text.lstrip())
    weights = {term: (1 + math.log(count)) * idf[term] for term, count in counts.items()}
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return Sentence(memory, start, end, {term: weight / length for term, weight in weights.items()})


def _dot(one: Vector, other: Vector) -> float:
    small, large = (one, other) if len(one) < len(other) else (other, one)
    return sum(weight * large[term] for term, weight in small.items() if term in large)
