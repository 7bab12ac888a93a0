"""Documents that complete the first ones: a question of two hops by value, and that none is left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from retrieval.fuse import zscore
from retrieval.hops import COVERAGE_WEIGHT, NAMES_WEIGHT, follow, names, unknown_name_terms
from retrieval.ports import Floats


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The film was made by Steven Spielberg.", ["The", "Steven Spielberg."]),
        ("She met the Duke of York in Paris", ["She", "Duke of York", "Paris"]),
        ("Lord of the Rings", ["Lord", "Rings"]),
        ("Area 51 is in Nevada", ["Area 51", "Nevada"]),
        ("It is Jean-Luc's", ["It", "Jean-Luc's"]),
        ("no name here", []),
        ("", []),
    ],
)
def test_names_are_capitalised_phrases(text: str, found: list[str]) -> None:
    stop_words = {"The", "She", "It"}
    assert names(text) == [name for name in found if name not in stop_words]


def test_the_terms_of_names_that_a_query_lacks_come_once() -> None:
    texts = ["The director of Jaws is Steven Spielberg", "Steven Spielberg lives in Los Angeles"]
    assert unknown_name_terms(texts, ["jaw", "director"]) == ["steven", "spielberg", "los", "angel"]
    assert unknown_name_terms(["nothing"], []) == []


def test_the_second_is_taken_by_coverage_and_what_follows_by_names() -> None:
    """The first has terms 0 and 1; of the others only number 3 has the rare term 2, though it scores below 1 and 2."""
    base = floats(1.5, 0.2, 0.1, 0.0, -0.3)
    holds = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 1, 0]], dtype=np.bool_)
    asked: list[str] = []

    def search(text: str) -> Floats:
        asked.append(text)
        return floats(0, 0, 0, 0, 6)

    order = follow(base, holds, floats(1, 1, 3), "abcde".__getitem__, search)
    assert asked == ["a\nd"]
    assert order == [0, 3, 4, 1, 2]
    gained = zscore(floats(0, 0, 0, 3, 0))
    assert 0.0 + COVERAGE_WEIGHT * gained[3] > 0.2 + COVERAGE_WEIGHT * gained[1]
    led_to = zscore(floats(0, 0, 0, 0, 6))
    assert -0.3 + NAMES_WEIGHT * led_to[4] > 0.2 + NAMES_WEIGHT * led_to[1]


def test_where_nothing_is_gained_and_no_name_leads_on_the_order_stays() -> None:
    base = floats(0.5, 1.5, -1.0, 0.5)
    holds = np.zeros((0, 4), dtype=np.bool_)
    assert follow(base, holds, floats(), "abcd".__getitem__, lambda _: floats(0, 0, 0, 0)) == [1, 0, 3, 2]
    assert follow(base[:1], holds[:, :1], floats(), "a".__getitem__, lambda _: floats(0)) == [0]


scores = arrays.arrays(np.float32, st.integers(1, 8), elements=st.floats(-3, 3, width=32))


@given(base=scores, seed=st.integers(0, 99), terms=st.integers(0, 4))
def test_all_are_given_once_and_the_best_stays_first(base: Floats, seed: int, terms: int) -> None:
    generator = np.random.default_rng(seed)
    holds = generator.random((terms, len(base))) < 0.5
    rarity = generator.random(terms).astype(np.float32)
    led_to = generator.random(len(base)).astype(np.float32)
    order = follow(base, holds, rarity, str, lambda _: led_to)
    assert sorted(order) == list(range(len(base)))
    assert order[0] == int(np.argmax(base))
