"""What is read fast is what the plain patterns read: the quick forms of `clauses` and `possessives` beside them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from memory.derive import possessives as possessives_
from memory.derive.clauses import begins, sentences
from memory.derive.possessives import possessives
from recalld.demo import conversation

BEFORE = re.compile(
    r"(?:^|[,;:(–—-]|\b(?:and|but|so|because|since|as|plus|although|though|while|then|also|yes|yeah|well|oh|actually"
    r"|honestly|now|currently|lately|recently|today|yesterday|the way|anyway|personally|hey|hi|\w+ly|ago"
    r"|(?:last|this|one|other|next|past|every|on)\s+\w+))\s*$",
    re.IGNORECASE,
)
SUPPOSED = re.compile(
    r"\b(?:if|whether|unless|wish|suppose|supposing|imagine|pretend|when|whenever|until|once|says?|said|told|like)\s*$"
    r"|^\W*(?:if|when|whenever|unless|imagine|suppose|once|say)\b[^,]*,?\s*(?:then\s+)?$",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[!?\n]+|(?<!\b[A-Z])(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bSt)(?<!\bMrs)(?<!\bvs)\.(?!\w)")
WORDS = (
    *("and", "so", "the way", "last", "week", "on", "Monday", "really", "ly", "ago", "if", "If", "when", "then", "say"),
    *(
        "said",
        "like",
        "whenever",
        "liked",
        "my",
        "Dr",
        "Mrs",
        "X",
        "vs",
        "St",
        "3",
        ".",
        ",",
        "-",
        "(",
        "\n",
        " ",
        "  ",
    ),
    *("?", "!", "\u00a0", "it's", "budget", "changed", "from 5 to 6", "is 7", "sister Ann", "our", "My", "favorite"),
)
said_of = st.lists(st.sampled_from(WORDS), max_size=9).flatmap(
    lambda words: st.sampled_from([" ".join(words), "".join(words), " ".join(words) + " "])
)


@given(said_of)
def test_a_clause_begins_where_the_plain_patterns_let_it(before: str) -> None:
    assert begins(before) == bool(BEFORE.search(before) and not SUPPOSED.search(before))


@given(said_of)
def test_sentences_end_where_the_plain_pattern_does(text: str) -> None:
    found, start = [], 0
    for mark in SENTENCE_END.finditer(text):
        if text[start : mark.start()].strip():
            found.append((start, mark.start(), "?" in mark.group()))
        start = mark.end()
    if text[start:].strip():
        found.append((start, len(text), False))
    assert list(sentences(text)) == found


@given(said_of)
def test_what_is_looked_for_first_leaves_no_possessive_out(text: str) -> None:
    assert _by_every_rule(text) <= {(each.start, each.end) for each in possessives(text)}


def test_the_shipped_conversation_reads_the_same() -> None:
    for turn in conversation():
        assert _by_every_rule(turn.text) <= {(each.start, each.end) for each in possessives(turn.text)}
        places = [match.span() for match in SENTENCE_END.finditer(turn.text)]
        ends = {end for _, end, _ in sentences(turn.text)}
        assert ends <= {start for start, _ in places} | {len(turn.text)}


def _by_every_rule(text: str) -> set[tuple[int, int]]:
    """What the rules find that are only tried where a word of theirs is in the text."""
    changed = [
        found.span("object")
        for found in possessives_._CHANGED.finditer(text)
        if possessives_._noun(found["noun"] or found["noun2"])
    ]
    rules = (possessives_._FAVORITE, possessives_._KIN_NAME, possessives_._NAME_KIN)
    return {*changed, *(found.span("object") for rule in rules for found in rule.finditer(text))}
