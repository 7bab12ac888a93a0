"""Checksums of rows of words, and which rows were read."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.vector_checks import Seen, check_words, words_of


@given(raw=st.binary(min_size=1, max_size=60), place=st.integers(0, 59), bits=st.integers(1, 255))
def test_a_change_within_a_word_is_always_seen(raw: bytes, place: int, bits: int) -> None:
    row = np.frombuffer(raw, dtype=np.uint8)[None]
    changed = row.copy()
    changed[0, place % len(raw)] ^= bits
    assert check_words(words_of(row))[0] != check_words(words_of(changed))[0]


@given(rows=st.lists(st.binary(min_size=21, max_size=21), min_size=1, max_size=6))
def test_a_check_depends_on_its_row_alone_and_on_the_order_of_its_words(rows: list[bytes]) -> None:
    table = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), 21)
    checks = check_words(words_of(table))
    assert [check_words(words_of(table[number : number + 1]))[0] for number in range(len(rows))] == checks.tolist()
    words = words_of(table)
    moved = check_words(np.roll(words, 1, axis=1))
    assert all(one != other for one, other, row in zip(checks, moved, words, strict=True) if len(set(row.tolist())) > 1)


@given(count=st.integers(1, 70), reads=st.lists(st.lists(st.integers(0, 69), unique=True), max_size=6))
def test_what_nobody_read_yet_is_what_no_read_named(count: int, reads: list[list[int]]) -> None:
    seen, read = Seen(count), set[int]()
    every = np.arange(count)
    for places in [*reads, list(range(count))]:
        asked = np.array([place for place in places if place < count], dtype=np.int64)
        assert asked[seen.lacks(asked)].tolist() == [place for place in asked.tolist() if place not in read]
        seen.add(asked)
        read |= set(asked.tolist())
        assert every[seen.lacks(every)].tolist() == sorted(set(range(count)) - read)
