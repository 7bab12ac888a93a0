"""Passages: they cover the text, in order and bounded, whatever it holds; and the keys that name them."""

import re
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.analysis import UNSPACED
from retrieval.passages import (
    PASSAGES_MAX,
    Passage,
    expand,
    key,
    keys,
    passage_of,
    possible_keys,
    row_of,
    rows_of,
    split,
)

KIB_64 = 64 * 1024
PIECES = [
    "The dog sleeps in the kitchen. ", "Why? ", "no stop here ", "\n", "\n\n", " ", "x" * 700,
    "東京タワーへ行きました。", "東京" * 90, "e" + "\u0301" * 3, "👩‍👩‍👧", "👍🏽", "🇵🇹🇫🇮",
    "ภาษาไทย", "1. ", '"Yes!" ', "Ελλάδα ",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=60).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=3000
)


def weight(text: str) -> int:
    return len(text) + 3 * len(re.findall(f"[{UNSPACED}]", text))


def pieces(text: str) -> list[str]:
    return [text[passage.start : passage.end] for passage in split(text)]


@given(text=texts)
def test_passages_cover_the_text_in_order_and_are_bounded(text: str) -> None:
    found = split(text)
    assert [passage.start for passage in found] == [0, *(passage.end for passage in found[:-1])]
    assert found[-1].end == len(text)
    for passage in found[:-1]:
        assert 436 < weight(text[passage.start : passage.end]) <= 1000
    assert weight(text[found[-1].start :]) <= 1200
    assert len(found) == 1 or weight(text) > 1200


@given(text=texts)
def test_a_cut_is_not_inside_a_character_as_it_is_read(text: str) -> None:
    for passage in split(text)[1:]:
        before, after = text[passage.start - 1], text[passage.start]
        assert before != "\u200d"
        assert unicodedata.category(after)[0] != "M"
        assert not "\U0001f3fb" <= after <= "\U0001f3ff"


def test_flags_are_not_cut_in_half() -> None:
    for ahead in range(4):
        for piece in pieces("x" * (960 + ahead) + "🇵🇹" * 20 + "y" * 700):
            assert len(re.findall("[\U0001f1e6-\U0001f1ff]", piece)) % 2 == 0


def test_a_short_text_is_one_passage() -> None:
    for text in ("", "dog", "a " * 600, "東" * 300):
        assert split(text) == [Passage(0, len(text))]
    assert len(split("a " * 600 + "a")) == 2
    assert len(split("東" * 301)) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("One two. " * 60 + "The end.\n\n", "Another paragraph. " * 50),
        ("One two three. " * 66, "A sentence here is next. " * 50),
        ("a wrapped line\nof prose " * 30 + "ends here.\n", "more of\nthe same " * 60),
        ('He said "no." ' * 71, "And a longer sentence that goes on and on. " * 30),
        ("an item\n" * 125, "another item\n" * 60),
        ("1. an item\n" * 90, "2. another one\n" * 40),
        ("word " * 200, "words " * 150),
        ("東京タワーへ行きました。" * 22, "とても高かったです、そうですね。" * 20),
        ("東京タワー、" * 41, "富士山と富士山" * 30),
        ("x" * 1000, "x" * 900),
    ],
    ids=[
        "paragraph", "sentence", "sentence in wrapped lines", "quoted", "line", "numbered lines", "word", "Japanese",
        "Japanese clause", "nothing",
    ],
)  # fmt: skip
def test_a_passage_ends_where_the_text_has_an_end(first: str, second: str) -> None:
    found = pieces(first + second)
    assert found[0] == first
    assert "".join(found[1:]) == second


@pytest.mark.parametrize(
    "piece",
    [
        "x",
        "word ",
        "Yes. ",
        "\n",
        ". ",
        "...",
        "東",
        "。",
        "ก",
        "e\u0301",
        "\u0301",
        "🇵🇹",
        "👩‍👩‍👧",
        "\u200d",
        "'",
        " \n",
    ],
)
def test_64_kib_of_anything_are_few_passages_in_linear_time(piece: str) -> None:
    text = piece * (KIB_64 // len(piece.encode()))
    started = time.perf_counter()
    found = split(text)
    assert time.perf_counter() - started < 0.5
    assert 15 < len(found) < 200
    assert all(weight(text[passage.start : passage.end]) <= 1200 for passage in found)


def test_no_text_has_more_passages_than_a_key_can_number() -> None:
    found = split("word " * 400_000)
    assert len(found) == PASSAGES_MAX
    assert found[-1].end == 2_000_000


def test_keys_are_the_row_above_the_passage() -> None:
    assert (key(0), key(1), key(3, 5)) == (0, 1024, 3077)
    assert (row_of(3077), passage_of(3077)) == (3, 5)
    assert (row_of(key(7, 1023)), passage_of(key(7, 1023)), key(8)) == (7, 1023, key(7, 1023) + 1)
    assert list(keys(3, 2)) == [3072, 3073]
    assert rows_of(np.array([0, 1023, 1024, 3077])).tolist() == [0, 0, 1, 3]
    assert possible_keys(np.array([1, 3])).tolist() == [*range(1024, 2048), *range(3072, 4096)]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 5)), max_size=20))
def test_expanding_gives_every_key_of_each_row(counted: list[tuple[int, int]]) -> None:
    rows, counts = (np.array([pair[place] for pair in counted], dtype=np.int64) for place in (0, 1))
    assert expand(rows, counts).tolist() == [key(row, number) for row, count in counted for number in range(count)]
