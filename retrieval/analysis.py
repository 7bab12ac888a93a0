"""Text to terms, the same way for the index and for the query. Pure.

    text -> NFKD, casefold, Latin accents off, NFKC -> one spelling per character -> words -> Snowball English stems

A word is a run of letters and digits; a possessive or contraction loses its tail ("John's" -> "john", "we've" -> "we")
but for "n't" ("don't" -> "dont"); "1,000" is "1000". Scripts written without spaces (Han, kana, Thai, Lao, Khmer,
Myanmar) and Hangul become overlapping character bigrams, with single Han characters beside them in the index, because
one may be a whole query (Lucene's CJKBigramFilter with outputUnigrams does the same). An emoji is a term.

Invariant: a term holds only characters that SQLite's FTS5 tokenizer `unicode61 remove_diacritics 0` keeps in one token
as they are, so terms stored with spaces between them are found again exactly. What it would drop or split at is
spelled by its code point: the emoji U+1F600 is `u1f600`, the Devanagari sign U+093F inside a word is `u93f`.

Invariant: linear time. Canonical ordering in `unicodedata.normalize` sorts a run of combining marks by insertion (64
KiB of them took 2.4 s), so runs are cut first, as in the Stream-Safe Text Format (UAX #15, section 13); a word is cut
at `_WORD_CHARACTERS_MAX`.
"""

import itertools
import re
import threading
import unicodedata
from functools import lru_cache

import Stemmer

_WORD_CHARACTERS_MAX = 64
_MARKS_MAX = 8

# Scripts without spaces, and Hangul, whose particles are glued to the word.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_EMOJI = "\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"

_is_unspaced = re.compile(f"[{UNSPACED}]").match
_is_han = re.compile(f"[{_HAN}]").match
_is_emoji = re.compile(f"[{_EMOJI}]").match
# The grapheme joiner and the variation selectors.
_is_ignored = re.compile("[\u034f\ufe00-\ufe0f\U000e0100-\U000e01ef]").match
_WORDS = re.compile(rf"([{UNSPACED}]+)|([^\W_{UNSPACED}]+)(?:'(s|t|m|d|ll|ve|re)(?!\w))?")
_LATIN_ACCENTS = re.compile("(?<=[a-z])[\u0300-\u036f]+")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
# Letters that were marks in older Unicode, and still are to some SQLite builds: New Tai Lue vowels, Vedic signs.
_LETTERS_UNSAFE = frozenset([*range(0x19B0, 0x19CA), 0x1CF2, 0x1CF3])

_ENGLISH_STOP_WORDS = """
    a about after again all also am an and any are arent as at be because been before being both but by can cannot cant
    could couldnt did didnt do does doesnt doing dont down each for from further had hadnt has hasnt have havent having
    he her here hers herself him himself his how i if in into is isnt it its itself just me more most my myself no nor
    not now of off on once only or other our ours ourselves out over own same shall she should shouldnt so some such
    than that the their theirs them themselves then there these they this those through to too under until up us very
    was wasnt we were werent what when where which while who whom whose why will with wont would wouldnt you your yours
    yourself yourselves
"""
STOP_WORDS = frozenset(_ENGLISH_STOP_WORDS.split())

_local = threading.local()


def terms(text: str) -> list[str]:
    """The terms of a text that is stored, in order, repeats kept."""
    found: list[str] = []
    for run, word in _words(text):
        found += _bigrams(run) + [_spelled(c) for c in run if len(run) > 1 and _is_han(c)] if run else [_stem(word)]
    return found


def query_terms(text: str) -> list[str]:
    """The terms of a query: stop words are dropped, unless there is nothing else."""
    words = _words(text)
    content = [(run, word) for run, word in words if run or word not in STOP_WORDS]
    found: list[str] = []
    for run, word in content or words:
        found += _bigrams(run) if run else [_stem(word)]
    return found


def _words(text: str) -> list[tuple[str, str]]:
    """Each word as (unspaced run, "") or ("", word)."""
    if text.isascii():
        plain = text.lower()
    else:
        plain = "".join(map(_piece, _folded(text)))
    found = []
    for match in _WORDS.finditer(_THOUSANDS.sub("", plain)):
        run, word, tail = match.groups()
        if run:
            found.append((run, ""))
        else:
            found.append(("", (word + "t" if tail == "t" else word)[:_WORD_CHARACTERS_MAX]))
    return found


def _folded(text: str) -> str:
    """One spelling for what looks or means the same: compatibility forms, case and Latin accents are gone."""
    decomposed = unicodedata.normalize("NFKD", _few_marks(text)).casefold()
    return unicodedata.normalize("NFKC", _LATIN_ACCENTS.sub("", decomposed))


def _few_marks(text: str) -> str:
    """The text with runs of combining marks cut to `_MARKS_MAX`, so that normalizing is linear."""
    kept = []
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= _MARKS_MAX:
            kept.append(character)
    return "".join(kept)


@lru_cache(maxsize=8192)
def _piece(character: str) -> str:
    """What stands for a folded character while words are looked for: itself, its spelling, a space or nothing."""
    category = unicodedata.category(character)
    if character.isascii():
        return character
    if character == "\u2019":
        return "'"
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category[0] in "LMN" and _is_unspaced(character):
        return character
    if category[0] in "LN" or category == "Mc":
        return _spelled(character)
    if category == "Mn":
        return "" if _is_ignored(character) or _is_accent(character) else _spelled(character)
    if _is_emoji(character) and category == "So":
        return f" {_spelled(character)} "
    joins = category == "Me" or (category == "Cf" and character != "\u200b")
    return "" if joins else " "


def _is_accent(mark: str) -> bool:
    """Accents, and the points of Hebrew and Arabic, that text is written with or without; not the vowels of Indic."""
    order = unicodedata.combining(mark)
    return 10 <= order <= 35 or order >= 200


@lru_cache(maxsize=8192)
def _spelled(character: str) -> str:
    """A character as it stands in a term: letters and digits as they are, others by their code point."""
    safe = unicodedata.category(character)[0] in "LN" and ord(character) not in _LETTERS_UNSAFE
    return character if safe else f"u{ord(character):x}"


def _bigrams(run: str) -> list[str]:
    """The overlapping pairs of a run, or its one character."""
    spelled = [_spelled(character) for character in run]
    if len(spelled) == 1:
        return spelled
    return [first + second for first, second in itertools.pairwise(spelled)]


def _stem(word: str) -> str:
    """The English stem of a word of ASCII letters; any other word as it is. A stemmer serves one thread only."""
    if not (word.isascii() and word.isalpha()):
        return word
    stemmer = getattr(_local, "stemmer", None)
    if stemmer is None:
        stemmer = _local.stemmer = Stemmer.Stemmer("english")
    stem: str = stemmer.stemWord(word)
    return stem
