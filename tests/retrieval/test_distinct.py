"""Near-duplicates go behind: which texts say the same, and that none is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.distinct import distinct_first, near_duplicates, said

LONG = "we walked along the river until the old stone bridge came into sight behind tall green trees"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("I like green tea", "I like green tea", True),
        ("I like green tea.", "Well I do like green tea", False),
        ("I like green tea", "i LIKE Green tea!", False),
        (LONG, LONG + "!", True),
        (LONG, LONG.replace("tall ", ""), True),
        (LONG, LONG.replace("tall", "many").replace("green", "brown"), False),
        ("I weigh 80 kg", "I weigh 82 kg", False),
        (LONG + " at 8:30", LONG + " at 9:30", False),
        (LONG + " with Ann", LONG + " with Bob", False),
        (LONG + " with Ann", LONG, False),
        ("", "?", True),
        ("the of", "to and", False),
        ("dog", "cat", False),
    ],
)
def test_what_says_the_same(one: str, other: str, same: bool) -> None:
    assert near_duplicates(said(one, "Ann"), said(other, "Ann")) is same
    assert near_duplicates(said(other, "Ann"), said(one, "Ann")) is same


def test_the_same_words_of_somebody_else_are_another_fact() -> None:
    assert near_duplicates(said(LONG, None), said(LONG, None))
    assert not near_duplicates(said(LONG, "Ann"), said(LONG, "Bob"))
    assert not near_duplicates(said(LONG, "Ann"), said(LONG, None))


def test_the_share_of_words_in_common_decides() -> None:
    words = [f"{chr(97 + number)}zyx" for number in range(20)]
    whole = said(" ".join(words), None)
    assert near_duplicates(whole, said(" ".join(words[:17]), None))
    assert not near_duplicates(whole, said(" ".join(words[:16]), None))


def test_what_was_said_before_goes_behind_in_its_order() -> None:
    texts = ["tea", "tea", "bread", "tea", "bread", "salt"]
    assert distinct_first([said(text, None) for text in texts]) == [0, 2, 5, 1, 3, 4]
    assert distinct_first([]) == []


@given(st.lists(st.tuples(st.sampled_from(["tea", "tea!", "I weigh 80 kg", "I weigh 82 kg", LONG, ""]), st.booleans())))
def test_all_are_given_once_and_the_first_stays_first(texts: list[tuple[str, bool]]) -> None:
    order = distinct_first([said(text, "Ann" if named else None) for text, named in texts])
    assert sorted(order) == list(range(len(texts)))
    assert order[:1] == [0][: len(texts)]


@given(st.permutations(["tea", "bread", "salt", "I weigh 80 kg", "I weigh 82 kg"]))
def test_what_is_all_new_keeps_its_order(texts: list[str]) -> None:
    assert distinct_first([said(text, None) for text in texts]) == list(range(len(texts)))
