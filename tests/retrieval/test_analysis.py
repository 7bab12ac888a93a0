"""Terms: what is the same word, and that SQLite's full text keeps every term as it is."""

import random
import sqlite3
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.analysis import STOP_WORDS, query_terms, terms

TEXT_BYTES = 64 * 1024


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Moved to Lisbon in March.", ["move", "to", "lisbon", "in", "march"]),
        ("John's dogs weren't, we've, I'd, don’t", ["john", "dog", "werent", "we", "i", "dont"]),
        ("l'homme o'clock O'Brien", ["l", "homm", "o", "clock", "o", "brien"]),
        ("1,000 or 1,234,567 but 1,2 and 10:30", ["1000", "or", "1234567", "but", "1", "2", "and", "10", "30"]),
        ("gpt4 2nd snake_case e-mail x@y.org", ["gpt4", "2nd", "snake", "case", "e", "mail", "x", "y", "org"]),
        ("Café CAFE\u0301 cafe", ["cafe", "cafe", "cafe"]),
        ("Straße STRASSE ﬁne ２０２３ Ⅳ x²", ["strass", "strass", "fine", "2023", "iv", "x2"]),
        ("Москва за\u0301мок замок", ["москва", "замок", "замок"]),
        ("שָׁלוֹם שלום كِتَاب كتاب ٣٤", ["שלום", "שלום", "كتاب", "كتاب", "34"]),
        ("हिन्दी", ["हu93fनu94dदu940"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー", "東", "京"]),
        ("猫, 犬", ["猫", "犬"]),
        ("한국어", ["한국", "국어"]),
        ("ก\u0e34น", ["กue34", "ue34น"]),
        ("Great 👍🏽 ❤️ ok", ["great", "u1f44d", "u2764", "ok"]),
        ("a\u200db so\u00adft", ["ab", "soft"]),
        ("", []),
        ("... — $ + ─│┌ \u0301", []),
    ],
)
def test_terms(text: str, wanted: list[str]) -> None:
    assert terms(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("When did she move to Lisbon?", ["move", "lisbon"]),
        ("Who am I?", ["who", "am", "i"]),
        ("what's the dog's name", ["dog", "name"]),
        ("猫", ["猫"]),
        ("東京は", ["東京", "京は"]),
        ("?!", []),
    ],
)
def test_query_terms_drop_stop_words_unless_there_is_nothing_else(text: str, wanted: list[str]) -> None:
    assert query_terms(text) == wanted


def test_every_stop_word_is_dropped_beside_another_word() -> None:
    for word in STOP_WORDS:
        assert query_terms(f"{word} dog {word.upper()}") == ["dog"], word


@given(st.text())
def test_a_text_is_found_by_each_part_of_itself(text: str) -> None:
    assert set(query_terms(text)) <= set(terms(text))


@given(st.text(max_size=40))
def test_case_composition_and_compatibility_forms_make_no_difference_twice(text: str) -> None:
    once = terms(text)
    assert terms(unicodedata.normalize("NFD", text)) == once
    assert terms(unicodedata.normalize("NFC", text)) == once


@pytest.fixture(scope="module")
def full_text() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE t USING fts5(body, tokenize = 'unicode61 remove_diacritics 0')")
    connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, 'instance')")
    yield connection
    connection.close()


def kept_by(connection: sqlite3.Connection, bodies: list[str]) -> list[list[str]]:
    """The terms that SQLite makes of each body, in order."""
    connection.execute("DELETE FROM t")
    connection.executemany("INSERT INTO t(rowid, body) VALUES (?, ?)", list(enumerate(bodies, 1)))
    found: list[list[str]] = [[] for _ in bodies]
    for term, row in connection.execute("SELECT term, doc FROM v ORDER BY doc, offset"):
        found[row - 1].append(term)
    return found


def test_full_text_keeps_the_terms_of_every_character(full_text: sqlite3.Connection) -> None:
    """Each assigned code point, alone, inside a word and at its end."""
    points = map(chr, range(sys.maxunicode + 1))
    characters = [point for point in points if unicodedata.category(point) not in ("Cn", "Co", "Cs")]
    assert len(characters) > 140_000
    for start in range(0, len(characters), 100_000):
        analysed = [terms(f"{c} x{c}y z{c}") for c in characters[start : start + 100_000]]
        kept = kept_by(full_text, [" ".join(found) for found in analysed])
        wrong = [pair for pair in zip(analysed, kept, strict=True) if pair[0] != pair[1]]
        assert wrong == []


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_full_text_keeps_the_terms_of_any_text_and_finds_each(full_text: sqlite3.Connection, text: str) -> None:
    found = terms(text)
    assert kept_by(full_text, [" ".join(found)]) == [found]
    for term in set(found):
        assert full_text.execute("SELECT rowid FROM t WHERE t MATCH ?", [f'"{term}"']).fetchall() == [(1,)]


PATHOLOGICAL = {
    "marks out of order": "\u0301\u0316" * (TEXT_BYTES // 4),
    "marks in four classes": "".join(sorted("\u0345\u0301\u0316\u0334" * (TEXT_BYTES // 8), reverse=True)),
    "han": "東" * (TEXT_BYTES // 3),
    "thai with vowels": "กิ" * (TEXT_BYTES // 6),
    "one word": "a" * TEXT_BYTES,
    "apostrophes": "a'" * (TEXT_BYTES // 2),
    "contractions": "a't" * (TEXT_BYTES // 3),
    "thousands": "111," * (TEXT_BYTES // 4),
    "commas": "1," * (TEXT_BYTES // 2),
    "emoji": "😀" * (TEXT_BYTES // 4),
    "joiners": "a\u200d" * (TEXT_BYTES // 4),
    "long compatibility forms": "\ufdfa" * (TEXT_BYTES // 3),
    "modifier letters": "ʰ" * (TEXT_BYTES // 2),
    "random": "".join(chr(random.Random(7).randrange(0x20, 0xD800)) for _ in range(TEXT_BYTES // 3)),
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_the_longest_text_of_any_kind_takes_little_time(name: str) -> None:
    start = time.process_time()
    terms(PATHOLOGICAL[name])
    assert time.process_time() - start < 0.6


def test_a_very_long_word_is_found_by_its_first_characters() -> None:
    assert terms("x1" * 500) == terms("x1" * 400) == ["x1" * 32]


def test_threads_stem_alike() -> None:
    words = [f"running{suffix} hobbies generations" for suffix in "abcdefgh"] * 50
    wanted = [terms(text) for text in words]
    found: list[list[list[str]]] = []
    threads = [threading.Thread(target=lambda: found.append([terms(text) for text in words])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 4
