"""Whether a turn nearly repeats an earlier one: what is compared, and when two say the same. Pure.

Only turns that callers wrote are compared, and only with turns of exactly the same scope and speaker: whoever sees one
of them sees the other, so that a flag never tells of what its reader may not know. What is compared:

- turns of eight terms or more by the Jaccard similarity of their shingles, .7 or above;
- shorter ones by all their terms: one word more or less is another statement;
- turns of one or two terms not at all: "Yes." and "Thanks!" answer what was said before them, each time anew.

Numbers, names and negations must be the same, in any case: "I weigh 80 kg" and "I weigh 82 kg" are two facts. A filter
(`memory.band_filters`) proposes by keys, `repeats` decides on the texts.

Source: Khan et al., "LSHBloom" (2024); the rule on numbers and names is `retrieval.distinct`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memory.minhash import Bands, Hashes, band_keys, jaccard, salted, shingles, signatures, text_keys
from memory.model import Memory
from retrieval.analysis import terms
from retrieval.distinct import said

SIMILARITY_MIN = 0.7
TERMS_MIN = 3
SHINGLED_TERMS_MIN = 8
TERMS_MAX = 4096
GROUPS = 6
GROUP_TERMS = 4
_NEGATION_WORDS = """
    no not never none nobody nothing neither nor cannot without dont doesnt didnt isnt arent wasnt werent wont wouldnt
    cant couldnt shouldnt havent hasnt hadnt
"""
_NEGATIONS = frozenset(_NEGATION_WORDS.split())
BANDS = Bands()


@dataclass(frozen=True, slots=True)
class Compared:
    """A turn as it is compared: its terms, and whose it is."""

    text: str
    terms: tuple[str, ...]
    whose: str


def compared(memory: Memory) -> Compared | None:
    """A turn as it is compared; None where it is not."""
    if memory.item.kind != "turn" or memory.deriver is not None or memory.state != "active":
        return None
    found = tuple(terms(memory.item.text)[:TERMS_MAX])
    return Compared(memory.item.text, found, _whose(memory)) if len(found) >= TERMS_MIN else None


def keys(texts: Sequence[Compared], bands: Bands = BANDS) -> Hashes:
    """The keys `[N, B]` of turns: near-duplicates most likely share one."""
    found = np.empty((len(texts), bands.count), dtype=np.uint64)
    long = [place for place, text in enumerate(texts) if len(text.terms) >= SHINGLED_TERMS_MIN]
    if long:
        found[long] = band_keys(signatures([texts[place].terms for place in long], bands.permutations), bands)
    for place in set(range(len(texts))).difference(long):
        found[place] = text_keys(texts[place].terms, bands)
    for place, text in enumerate(texts):
        found[place] = salted(found[place], text.whose)
    return found


def repeats(one: Compared, other: Compared) -> bool:
    """Whether two turns say the same."""
    if one.whose != other.whose or not (_tells_all(one, other) and _tells_all(other, one)):
        return False
    if _NEGATIONS.intersection(one.terms) != _NEGATIONS.intersection(other.terms):
        return False
    if min(len(one.terms), len(other.terms)) < SHINGLED_TERMS_MIN:
        return one.terms == other.terms
    return jaccard(shingles(one.terms), shingles(other.terms)) >= SIMILARITY_MIN


def term_groups(words: Sequence[str]) -> list[list[str]]:
    """Groups of terms, the longest ones: a near-duplicate has at least one whole, unless each holds a changed word.

    Long terms are rare ones, so a group finds few other texts.
    """
    chosen = sorted(dict.fromkeys(words), key=lambda term: (-len(term), term))[: GROUPS * GROUP_TERMS]
    count = min(GROUPS, max(1, len(chosen) // 2))
    return [chosen[start::count] for start in range(count)] if chosen else []


def words_of(text: Compared) -> dict[str, str]:
    """A word of the text for each term that one makes: a search stems what it is given, and a stem may have another
    stem ("response" is "respons", which is "respon").
    """
    made = {word: terms(word) for word in text.text.split()}
    return {found[0]: word for word, found in made.items() if len(found) == 1}


def _tells_all(one: Compared, other: Compared) -> bool:
    """Whether one says every number and name that the other says."""
    missing = said(other.text, None).telling - said(one.text, None).telling
    return set(one.terms).issuperset(terms(" ".join(sorted(missing))))


def _whose(memory: Memory) -> str:
    """Its exact scope, speaker and role as one string."""
    return repr((memory.item.scope.values(), memory.item.speaker, memory.item.role))
