"""Clauses that somebody says about themselves: "I", "we" or "my" in front, and the words up to where the clause ends.

No parser and no coreference: a clause counts where its subject is the speaker and its verb can be read by rule. What is
asked, supposed, quoted, pasted or code is left out, because it is no statement of the speaker's.

Auxiliaries are closed classes of English (Quirk et al., A Comprehensive Grammar of the English Language, ch. 3), which
is why words are listed here at all.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from memory.derive.fact_words import PASSIVES, event_verb

Tense = Literal["present", "progressive", "past", "perfect", "passive", "going", "being"]

CHARS_MAX: Final = 3000
"""Of a turn that is longer, the rest is most likely pasted."""
TITLE_WORDS_MAX: Final = 8
LINES_MAX: Final = 3
"""With more lines a text may be a list, a script or code, line by line."""
_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\[photo:[^\]]*\]|https?://\S+", re.DOTALL)
_PASTED_LINE: Final = re.compile(r"\s*(?:>|[A-Z][\w ]{0,20}:\s|[-*•|#]|\d+[.)]\s)|[^\n]*[{};=]\s*$")
_QUOTED: Final = re.compile(r"[\"“][^\"”\n]{0,400}[\"”]")
# A pattern that begins with the character looked for, and looks behind it, is found many times sooner.
_SENTENCE_END: Final = re.compile(
    r"[!?\n]+|\.(?!\w)(?<!\b[A-Z]\.)(?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bSt\.)(?<!\bMrs\.)(?<!\bvs\.)"
)
_SUBJECT: Final = re.compile(r"(?P<who>I(?<![\w'’-]I)|[Ww]e(?<![\w'’-][Ww]e))(?=['’ ])")
_SUPPOSED_WORD: Final = re.compile(
    r"\b(?:if|whether|unless|wish|suppose|supposing|imagine|pretend|when|whenever|until|once|says?|said|told|like)$",
    re.IGNORECASE,
)
_SUPPOSED_FROM: Final = re.compile(
    r"\W*(?:if|when|whenever|unless|imagine|suppose|once|say)\b[^,]*,?\s*(?:then\s+)?$", re.IGNORECASE
)
_BEFORE_MARKS: Final = ",;:(–—-"
_BEFORE_WORDS: Final = re.compile(
    r"\b(?:and|but|so|because|since|as|plus|although|though|while|then|also|yes|yeah|well|oh|actually"
    r"|honestly|now|currently|lately|recently|today|yesterday|the way|anyway|personally|hey|hi|\w+ly|ago"
    r"|(?:last|this|one|other|next|past|every|on)\s+\w+)$",
    re.IGNORECASE,
)
_WORDS_CHARS: Final = 120
"""More than the words have that are looked for at the end of what stands before a subject."""
_ADVERB: Final = (
    "really|just|also|always|actually|recently|finally|still|absolutely|totally|currently|already|usually|often|even"
    "|definitely|kinda|mostly|mainly|sometimes|typically|generally|especially|ever|once|only|truly|simply|so|very"
    "|pretty|quite|super|both|all|first|soon|originally|lately|normally|regularly|particularly|officially|now|then"
)
_AUXILIARY: Final = (
    "['’](?:m|ve|d|ll|re)|am|are|was|were|have|had|do|did|will|would|can|could|should|shall|might|may|must"
    "|don['’]t|didn['’]t|haven['’]t|hadn['’]t|won['’]t|wouldn['’]t|can['’]t|cannot|couldn['’]t|shouldn['’]t|wasn['’]t"
    "|weren['’]t|aren['’]t|gotta|gonna|wanna|not|never|no longer|been|used to|got to|get to"
)
_VERB: Final = re.compile(
    rf"(?P<aux>(?:\s*(?:{_AUXILIARY})(?![\w’']))*)(?P<adverbs>(?:\s+(?:{_ADVERB}|never|not)(?=\s))*)"
    rf"(?P<more>(?:\s+(?:{_AUXILIARY})(?=\s))*)(?P<adverbs2>(?:\s+(?:{_ADVERB}))*)\s+(?P<verb>[A-Za-z0-9]+(?:['’-]\w+)*)"
)
_MODAL: Final = frozenset(
    {"d", "ll", "will", "would", "can", "could", "should", "shall", "might", "may", "must", "get", "gotta", "wanna"}
    | {"won't", "wouldn't", "can't", "cannot", "couldn't", "shouldn't"}
)
_NEXT_CLAUSE: Final = re.compile(
    r"[;\n]|\s+[-–—]+\s+"
    r"|,?\s+(?:because|although|though|whereas|so that|which|considering|especially|even though|whenever|given that"
    r"|whether|unless|if|but|where|who|hence)\b"
    r"|,?\s+(?:since|while|when|as|until|before|after|once)\s+(?:I|we|it|he|she|they|my|you)\b"
    r"|,?\s+(?:and|or|so|plus|then)\s+(?:I|we|it|he|she|they|my|our|this|that['’]?s?|you|there|now|then|can|could|would"
    r"|should|what|how|do|is|are|will|was|want|need|hope|just|also|everyone|please|let|any|am|don['’]t)\b"
    r"|,\s*(?:can|could|would|should|do|does|did|is|are|what|how|why|when|where|any|got|and|but|so|I|we|my|it|he|she"
    r"|they|you|this|that|hopefully|maybe|please|though|right|thanks|let|hoping|thinking|wondering|trying|making|just"
    r"|then|yet|like|i|not|check|see|look|give|feel|what's|it['’]s|that['’]s|I['’]m|focusing|looking|there)\b"
    r"|\s+(?:lol|haha|too|though|as well|thanks)\b",
)


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause whose subject is the speaker.

    Attributes:
        start, end: characters of the source, from the subject to the end of the clause.
        verb: the main verb as it stands, in small letters; "be" where "I am" has no verb behind it.
        verb_end: where the words after the verb begin.
        denied: "not" or "never" before the verb; never: the latter.
        over: "no longer", "used to", "any more".
    """

    start: int
    end: int
    plural: bool
    tense: Tense
    verb: str
    verb_end: int
    denied: bool
    never: bool
    over: bool


def readable(text: str) -> str:
    """The text with code, quotations and pasted lines blanked out, character for character."""
    shown = text[:CHARS_MAX]
    shown = _CODE.sub(lambda found: _blank(found.group()), shown)
    shown = _QUOTED.sub(lambda found: found.group() if _is_title(found.group()) else _blank(found.group()), shown)
    lines = shown.split("\n")
    if len(lines) > LINES_MAX:
        shown = "\n".join(" " * len(line) if _PASTED_LINE.match(line) else line for line in lines)
    return shown


def _is_title(quoted: str) -> bool:
    """Whether a quotation is a name of something, and not what somebody said."""
    return len(quoted.split()) <= TITLE_WORDS_MAX and not re.search(r"\b(?:I|[Ww]e|[Mm]y)\b|[,.!?]\W*$", quoted)


def _blank(text: str) -> str:
    return re.sub(r"[^\s]", "_", text) if len(text) < 60 else re.sub(r"[^\n]", " ", text)


def sentences(text: str) -> Iterator[tuple[int, int, bool]]:
    """Characters [start, end) of each sentence, and whether it ends in a question mark."""
    start = 0
    for mark in _SENTENCE_END.finditer(text):
        if text[start : mark.start()].strip():
            yield start, mark.start(), "?" in mark.group()
        start = mark.end()
    if text[start:].strip():
        yield start, len(text), False


def clauses(text: str) -> Iterator[Clause]:
    """The clauses of a `readable` text about its speaker, in order."""
    for start, end, asked in sentences(text):
        for subject in _SUBJECT.finditer(text, start, end):
            before = text[start : subject.start()]
            if not begins(before):
                continue
            found = _read(text, subject, end)
            if found is not None and not (asked and found.end == end and _whole(before)):
                yield found


def begins(before: str) -> bool:
    """Whether a clause that is said, and not supposed, may begin behind these words of its sentence."""
    said = before.rstrip()
    end = said[-_WORDS_CHARS:]
    if said and said[-1] not in _BEFORE_MARKS and not _BEFORE_WORDS.search(end):
        return False
    return not (_SUPPOSED_WORD.search(end) or _SUPPOSED_FROM.match(before))


def _whole(before: str) -> bool:
    """Whether nothing but a greeting stands before a clause."""
    return len(before.split()) <= 2


def _read(text: str, subject: re.Match[str], sentence_end: int) -> Clause | None:
    found = _VERB.match(text, subject.end(), sentence_end)
    if found is None:
        return None
    said = f"{found['aux']} {found['adverbs']} {found['more']}".lower().replace("’", "'")
    words = said.replace("'", " '").replace("n 't", "n't").split() if said.strip() else []
    auxiliaries = [word.strip("'") if word.startswith("'") else word for word in words]
    verb = found["verb"].lower()
    end = sentence_end
    if boundary := _NEXT_CLAUSE.search(text, found.end(), sentence_end):
        end = boundary.start()
    tense = _tense(auxiliaries, verb)
    if tense is None:
        return None
    verb_end = found.end()
    if tense == "perfect" and "been" not in auxiliaries and not is_past(verb):
        tense, verb, verb_end = "present", "have", found.start("verb") - 1
        if "had" in auxiliaries:
            return None
    elif tense == "being":
        verb, verb_end = "be", found.start("verb") - 1
        tense = "present"
    never = "never" in auxiliaries
    denied = never or "not" in auxiliaries or any(word.endswith("n't") for word in auxiliaries)
    tail = text[verb_end:end].lower().strip()
    over = "longer" in auxiliaries or ("used" in auxiliaries and "to" in auxiliaries)
    over = over or (denied and tail.endswith(("anymore", "any more")))
    return Clause(subject.start(), end, subject["who"] != "I", tense, verb, verb_end, denied and not over, never, over)


def _tense(auxiliaries: list[str], verb: str) -> Tense | None:
    """None for what is only possible, wanted or asked."""
    words = set(auxiliaries)
    if words & _MODAL or "did" in words or "didn't" in words or {"got", "to"} <= words:
        return None
    be = words & {"m", "am", "re", "are", "aren't"}
    if be and "gonna" in words:
        return "going"
    if words & {"ve", "have", "haven't", "had", "hadn't"}:
        if "been" in words:
            if verb.endswith("ing"):
                return "progressive"
            return "passive" if verb in PASSIVES else None if is_past(verb) else "perfect"
        return "perfect"
    if words & {"was", "were", "wasn't", "weren't"}:
        return "passive" if verb in PASSIVES else None
    if be:
        return "progressive" if verb.endswith("ing") else "being"
    return "past" if is_past(verb) else "present"


def is_past(verb: str) -> bool:
    """Whether it has the form of a past or a participle."""
    return event_verb(verb) is not None
