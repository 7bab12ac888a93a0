"""Facts about whoever speaks, read by a grammar of English first-person clauses: no model, no parser.

    I live in Lisbon.                     lives in | Lisbon
    I've moved to Porto last week.        lives in | Porto, valid from that week
    My budget was changed from 5 to 6.    budget | 6, replaces 5
    I've never been to Rome.              has been to | Rome, negated
    I'm planning to visit Rome in May.    plans to | visit Rome, time May

"I", "we" and "my" are the speaker; nobody else is resolved, so nothing else is read. A clause that is asked, supposed,
quoted or denied otherwise gives nothing (`memory.derive.clauses`). What an object says stays in the source's words,
without a time expression at its end, which is resolved by `retrieval.times` and kept as a time.

Invariant: a fact's span lies in its source, and its object is a part of it, character for character.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from memory.derive.clauses import Clause, clauses, readable
from memory.derive.fact_words import (
    COMPLETIONS,
    DOING,
    EVENTS_WITH_ARTICLE,
    FUTURE_DOING,
    HABITS,
    IRREGULAR,
    LIGHT_NOUNS,
    NO_EVENT,
    PARTICLES,
    STATES,
    STATES_IN_PROGRESS,
    TRAITS,
    base_of_gerund,
    event_verb,
    third_person,
)
from memory.derive.moments import Told, dated, moments, plausible, trimmed, with_lead
from memory.derive.possessives import possessives
from memory.facts import SINGLE_VALUED, Statement, Triple
from memory.model import Deriver, Memory

DERIVER: Final = Deriver("facts", "1")
SPEAKER: Final = "user"
"""The subject of a fact where the source does not name who speaks."""
OBJECT_WORDS_MAX: Final = 16
MEMORY_CHARS_MAX: Final = 8000

_PARTICLE: Final = re.compile(rf"\s+(?P<particle>{PARTICLES})(?=\s)", re.IGNORECASE)
_PRONOUN: Final = re.compile(
    r"^(?:and|or|but|make sure|it|that|this|them|you|him|her|his|its|their|your|these|those|what|how|why|when|where"
    r"|whether|ones?|some|so|all|everything|something|anything|nothing|me|us|there|here|more|much|many|to|not|if|like"
    r"|both|each other|who|whatever|any|too|as|such|every|another|well|up|out|it['’]s)\b"
    r"|\b(?:it|them|they|he|she|you|your|yours|him|these|those|myself|something|there|that)\b"
    r"|\b(?:this|that)\s+(?!week|month|year|summer|winter|spring|fall|autumn|morning|evening|afternoon|weekend|season)"
    r"|^(?:(?:an?|the|my|our|some|more|good|great|big|little|same|other|new)\s+)*"
    rf"(?:{LIGHT_NOUNS})(?!\s+(?:of\s+(?:my|our|the|an?)|\w+ing)\b)(?:\s|$)",
    re.IGNORECASE,
)
_RELATIVE: Final = re.compile(
    r",?\s+(?:that|who|which|where|whom|whose)\s|\s+(?:I|we)(?:['’]\w+)?\s|,?\s+\b(?:to make sure|so)\b"
    r"|,\s+(?:by the way|of course|actually|you know|for now|honestly|speaking of|after all)\b"
)
_ADVERB_BEHIND: Final = re.compile(
    r"^(?:learning more about|also|just|really|still|already|always|actually|finally|recently|currently)\s+"
)
_ARTICLE: Final = re.compile(r"(?:an?|the|my|our|some|two|three|four|five|\d+)\b", re.IGNORECASE)
_AGE: Final = re.compile(r"(?P<object>\d{1,3})(?:\s+years?\s+old|-years?-old)?\s*(?:$|,|and\b)", re.IGNORECASE)
_STATE: Final = re.compile(rf"(?P<state>{STATES})\s+(?P<object>\S.*)", re.IGNORECASE | re.DOTALL)
_TRAIT: Final = re.compile(rf"(?P<object>{TRAITS})\b", re.IGNORECASE)
_NOUN: Final = re.compile(
    r"(?P<object>(?:an?)\s+(?!bit\b|little\b|lot\b|while\b|few\b|big fan\b|huge fan\b)\S.*)", re.DOTALL
)
_SLOT_END: Final = re.compile(
    r",\s+(?![A-Z])"
    r"|\s+(?:with|for|because|and|as|but|near|at|doing|where|right|then|full|these|since|in|on|by|of my|to)\s"
)
_PERSONAL: Final = re.compile(r"\b(my|our|me|us|myself|ourselves)\b")
_DID: Final = rf"(?:\w+\s+)?(?:[a-z]{{3,}}ed|had|was|were|{'|'.join(sorted(IRREGULAR))})\b"
_AND_DID: Final = re.compile(
    rf",?\s+(?:and|then)\s+{_DID}|,\s+{_DID}|,\s+(?:\w{{3,}}ing)\b"
    r"|\s+and\s+(?:\w+\s+){1,4}(?:is|are|was|were|has|have)\b"
)
_EMPTY: Final = re.compile(
    r"(?:(?:the|an?|my|our|what|how|to|for|in|on|at|of|and|hard|together|apart|through|forward|nuts|crazy|ahead|using|going"
    r"|doing|being|getting|well|online|mostly)\b\s*)*"
)
_OPEN_QUOTE: Final = re.compile(r"(?:^|\s)(?:['‘](?=[A-Z])[^'’]*|[\"“][^\"”]*)$")
_THEIR: Final = {
    "my": "their",
    "our": "their",
    "me": "them",
    "us": "them",
    "myself": "themself",
    "ourselves": "themselves",
}
_NO_THING: Final = re.compile(
    r"(?:an?|some|any|the|no)\s+(?:\w+\s+){0,2}(?:question|idea|problem|issue|feeling|doubt|clue|time|day|hard time|way"
    r"|lot|bit|few|chance|look|good|great|plan|concern|blast|fun|trouble|couple|basic|structure|need)s?\b",
    re.IGNORECASE,
)
_HOME: Final = frozenset({"moved to", "relocated to", "moved back to", "lives in", "based in", "moved into"})
_PLACE: Final = re.compile(r"(?:the\s+)?[A-Z]")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a clause says, before it is dated: predicate and where the object stands."""

    predicate: str
    start: int
    end: int
    text: str
    negated: bool = False
    ended: bool = False
    confidence: float = 0.95
    unique: bool = False
    replaces: str | None = None
    begins: bool = False
    planned: bool = False
    clause: tuple[int, int] = (0, 0)
    whole: bool = False


def read(memory: Memory) -> list[Statement]:
    """The statements of one memory, in order; none of an assistant's or a document's.

    A user's turn that names no speaker is about `SPEAKER`.
    """
    item = memory.item
    if item.kind != "turn" or item.role not in (None, "user") or len(item.text) > MEMORY_CHARS_MAX:
        return []
    shown = readable(item.text)
    told = moments(shown, item.occurred_at)
    subject = item.speaker or SPEAKER
    owned = list(possessives_of(shown, told))
    said = [each for each in _of_clauses(shown, told) if not any(_says_it(other, each) for other in owned)]
    statements = [
        _statement(memory, subject, reading, told)
        for reading in sorted({*said, *owned}, key=lambda each: (each.start, each.end, each.predicate))
    ]
    seen: dict[tuple[str, str, str, bool], Statement] = {}
    for statement in statements:
        seen.setdefault(statement.triple.key, statement)
    return list(seen.values())


def deeds(memory: Memory) -> list[tuple[Clause, Statement]]:
    """What its speaker says to have done: clauses in the past tense that tell an event, each with its statement."""
    item = memory.item
    if item.kind != "turn" or item.role not in (None, "user") or len(item.text) > MEMORY_CHARS_MAX:
        return []
    shown = readable(item.text)
    told = moments(shown, item.occurred_at)
    past = [each for each in clauses(shown) if each.tense == "past" and not (each.denied or each.over)]
    read_ = [(clause, _event(shown, clause, told)) for clause in past if clause.verb != "be"]
    return [
        (clause, _statement(memory, item.speaker or SPEAKER, reading, told))
        for clause, reading in read_
        if reading is not None
    ]


def _says_it(owned: Reading, other: Reading) -> bool:
    """Whether what is owned is all that another reading of the same words says."""
    return owned.whole and other.clause[0] <= owned.start < other.clause[1]


def possessives_of(shown: str, told: list[Told]) -> Iterator[Reading]:
    """What "my X is Y" and the like say."""
    for found in possessives(shown):
        start, end = trimmed(shown, found.start, found.end, told)
        if _object_holds(shown[start:end]):
            yield Reading(
                found.predicate,
                start,
                end,
                "{subject}'s " + found.predicate + (" is no longer " if found.ended else " is ") + shown[start:end],
                ended=found.ended,
                confidence=found.confidence,
                unique=found.unique,
                replaces=found.replaces,
                clause=(found.clause_start, found.clause_end),
                whole=found.whole,
            )


def _of_clauses(shown: str, told: list[Told]) -> Iterator[Reading]:
    for clause in clauses(shown):
        reading = _read_clause(shown, clause, told)
        if reading is not None:
            yield reading


def _read_clause(shown: str, clause: Clause, told: list[Told]) -> Reading | None:
    if clause.verb == "be":
        return _being(shown, clause, told)
    if clause.tense == "present":
        return _habit(shown, clause, told)
    if clause.tense == "progressive":
        return _doing(shown, clause, told)
    if clause.tense == "going":
        return _reading(shown, clause, told, "plans to", clause.verb_end - len(clause.verb), planned=True)
    return _event(shown, clause, told)


def _habit(shown: str, clause: Clause, told: list[Told]) -> Reading | None:
    verb = clause.verb
    if verb == "plan" and shown[clause.verb_end : clause.verb_end + 4] == " to ":
        return _reading(shown, clause, told, "plans to", clause.verb_end + 4, planned=True)
    if verb not in HABITS or (verb == "have" and not _has_thing(shown, clause)):
        return None
    predicate, at = _with_particle(shown, clause, third_person(verb))
    predicate = "works at" if predicate == "works for" else predicate
    if verb in ("love", "like", "enjoy", "hate", "prefer") and shown[at:].lstrip().startswith("to "):
        at = shown.index("to ", at)
    home = predicate == "lives in"
    text = f"does not {verb}{predicate.removeprefix(third_person(verb))}" if clause.denied else predicate
    return _reading(shown, clause, told, predicate, at, text=text, sure=not home or not clause.plural)


def _has_thing(shown: str, clause: Clause) -> bool:
    """Whether what is had is a thing ("a dog"), not a feeling or a duty ("a question", "to go")."""
    rest = shown[clause.verb_end : clause.end].strip()
    return _ARTICLE.match(rest) is not None and not _NO_THING.match(rest)


def _doing(shown: str, clause: Clause, told: list[Told]) -> Reading | None:
    verb = clause.verb
    if clause.denied:
        return None
    if verb == "going":
        rest = shown[clause.verb_end : clause.end]
        if not rest.startswith(" to "):
            return None
        place = re.match(r"\s+to\s+(?:an?|the|my|our|[A-Z])", rest)
        return _reading(shown, clause, told, "is going to" if place else "plans to", clause.verb_end + 4, planned=True)
    if verb == "planning":
        to = shown[clause.verb_end :].startswith(" to ")
        at = clause.verb_end + (4 if to else 0)
        return _reading(shown, clause, told, "plans to" if to else "plans", at, planned=True)
    if verb not in DOING:
        return None
    predicate, at = _with_particle(shown, clause, f"is {verb}")
    base = base_of_gerund(verb)
    if base in STATES_IN_PROGRESS:
        predicate = predicate.replace(f"is {verb}", third_person(base))
        predicate = "works at" if predicate == "works for" else predicate
    return _reading(shown, clause, told, predicate, at, planned=verb in FUTURE_DOING)


def _event(shown: str, clause: Clause, told: list[Told]) -> Reading | None:
    past = event_verb(clause.verb)
    if clause.tense == "perfect" and past is None:
        been = re.match(r"\s*(?P<to>to)\s", shown[clause.verb_end - len(clause.verb) :])
        if clause.verb != "to" or been is None:
            return None
        text = "has never been to" if clause.denied else "has been to"
        return _reading(shown, clause, told, "has been to", clause.verb_end, text=text)
    verb = past or clause.verb
    rest = shown[clause.verb_end : clause.end].strip()
    if clause.denied and not clause.never:
        return None
    if clause.verb == "got" and clause.tense == "perfect":
        return _reading(shown, clause, told, "has", clause.verb_end) if _ARTICLE.match(rest) else None
    light = verb in EVENTS_WITH_ARTICLE and not _ARTICLE.match(rest)
    if not clause.never and (light or (verb in NO_EVENT and verb not in EVENTS_WITH_ARTICLE)):
        return None
    passive = clause.tense == "passive"
    predicate, at = _with_particle(shown, clause, f"was {clause.verb}" if passive else verb)
    if predicate in _HOME and not clause.denied and _PLACE.match(shown[at : clause.end].strip()):
        return _reading(shown, clause, told, "lives in", at, text="lives in", begins=True)
    text = f"never {predicate}" if clause.denied else predicate
    return _reading(shown, clause, told, predicate, at, text=text, begins=True)


def _being(shown: str, clause: Clause, told: list[Told]) -> Reading | None:
    at = clause.verb_end + 1
    rest = shown[at : clause.end]
    no = "is not" if clause.denied else "is"
    if age := _AGE.match(rest):
        if int(age["object"]) < 120 and not clause.denied:
            return _reading(shown, clause, told, "is aged", at, text="is aged", end=at + age.end("object"))
        return None
    if state := _STATE.match(rest):
        predicate = f"is {state['state'].lower()}"
        predicate = "lives in" if predicate == "is based in" else predicate
        text = predicate.replace("is ", f"{no} ", 1) if clause.denied else predicate
        return _reading(shown, clause, told, predicate, at + state.start("object"), text=text)
    found = _TRAIT.match(rest) or (_NOUN.match(rest) if not clause.plural else None)
    if found is None:
        return None
    return _reading(shown, clause, told, "is", at, text=no, end=at + found.end("object"))


def _with_particle(shown: str, clause: Clause, verb: str) -> tuple[str, int]:
    found = _PARTICLE.match(shown, clause.verb_end, clause.end)
    if found is None or not shown[found.end() : clause.end].strip():
        return verb, clause.verb_end
    return f"{verb} {found['particle'].lower()}", found.end()


def _reading(
    shown: str,
    clause: Clause,
    told: list[Told],
    predicate: str,
    at: int,
    *,
    text: str | None = None,
    end: int | None = None,
    sure: bool = True,
    begins: bool = False,
    planned: bool = False,
) -> Reading | None:
    clause_end = clause.end
    start, end = trimmed(shown, at, clause.end if end is None else end, told)
    if adverb := _ADVERB_BEHIND.match(shown[start:end]):
        start += adverb.end()
    for tail in (_RELATIVE, _AND_DID, *((_SLOT_END,) if predicate in SINGLE_VALUED else ())):
        if cut := tail.search(shown, start, end):
            clause_end = min(clause_end, cut.start())
            start, end = trimmed(shown, start, cut.start(), told)
    said = shown[start:end]
    if predicate in ("lives in", "works at") and not _PLACE.match(said):
        sure = False
    if any(each.start <= start and end <= each.end for each in told):
        return None
    if not _object_holds(said):
        return None
    verb = f"no longer {predicate}" if clause.over else (text or predicate)
    told_as = _PERSONAL.sub(lambda word: _THEIR[word.group().lower()], said)
    return Reading(
        predicate,
        start,
        end,
        "{subject} " + f"{verb} {told_as}",
        negated=clause.denied,
        ended=clause.over,
        confidence=0.95 if sure else 0.8,
        begins=begins,
        planned=planned,
        clause=(clause.start, clause_end),
    )


def _object_holds(said: str) -> bool:
    """Whether an object can be understood by itself."""
    if not said or _EMPTY.fullmatch(said) or "_" in said or len(said.split()) > OBJECT_WORDS_MAX:
        return False
    return not _PRONOUN.search(said) and not _OPEN_QUOTE.search(said)


def _statement(memory: Memory, subject: str, reading: Reading, told: list[Told]) -> Statement:
    shown = memory.item.text[reading.start : reading.end]
    clause = with_lead(memory.item.text, reading.clause, told)
    ended = reading.predicate.split()[0] in COMPLETIONS
    when = dated(told, clause, planned=reading.planned, begins=reading.begins, ended=ended)
    if reading.planned or reading.begins:
        said_at = memory.item.occurred_at
        when = plausible(memory.item.text, clause, said_at, when, planned=reading.planned)
    return Statement(
        triple=Triple(subject, reading.predicate, shown, reading.negated),
        text=reading.text.replace("{subject}", subject, 1),
        source_id=memory.id,
        said_at=memory.order_at,
        place=(memory.row, reading.start),
        span=reading.clause,
        extractor=f"{DERIVER.name}/{DERIVER.version}",
        confidence=reading.confidence,
        valid_from=when.valid_from,
        due=when.due,
        time=when.time,
        replaces=reading.replaces,
        ended=reading.ended,
        unique=reading.unique,
    )
