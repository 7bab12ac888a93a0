"""Documents that complete the first ones: a question of two hops by value, and that none is left out."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from retrieval.fuse import zscore
from retrieval.hops import COVERAGE_WEIGHT, NAMES_WEIGHT, follow, names, subject_terms, unknown_name_terms
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
    asked: list[list[str]] = []

    def search(terms: Sequence[str]) -> Floats:
        asked.append(list(terms))
        return floats(0, 0, 0, 0, 6)

    texts = ["by Ann and Bob", "b", "c", "from Cork and Bob", "e"]
    order = follow(base, holds, floats(1, 1, 3), ["bob"], texts, search)
    assert asked == [["ann", "cork"]]
    assert order == [0, 3, 4, 1, 2]
    gained = zscore(floats(0, 0, 0, 3, 0))
    assert 0.0 + COVERAGE_WEIGHT * gained[3] > 0.2 + COVERAGE_WEIGHT * gained[1]
    led_to = zscore(floats(0, 0, 0, 0, 6))
    assert -0.3 + NAMES_WEIGHT * led_to[4] > 0.2 + NAMES_WEIGHT * led_to[1]


def test_where_nothing_is_gained_and_no_name_leads_on_the_order_stays() -> None:
    base = floats(0.5, 1.5, -1.0, 0.5)
    holds = np.zeros((0, 4), dtype=np.bool_)
    assert follow(base, holds, floats(), [], "abcd", lambda _: floats(0, 0, 0, 0)) == [1, 0, 3, 2]
    assert follow(base[:1], holds[:, :1], floats(), [], "a", lambda _: floats(0)) == [0]


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("Steven Spielberg\nSteven Allan Spielberg is a director.", {"steven", "spielberg"}),
        ("The film Jaws is of 1975.", {"jaw"}),
        ("nothing here\nAnn", set()),
        ("", set()),
        ("x" * 300 + " Ann", set()),
    ],
)
def test_a_document_is_about_the_first_name_of_its_first_line(text: str, subject: set[str]) -> None:
    assert subject_terms(text) == subject


def test_a_document_about_what_the_first_ones_name_is_brought_forward() -> None:
    """The query knows Jaws; the first document says who made it; the last one is about her."""
    base = floats(1.5, 0.4, 0.3, 0.2, -1.0)
    holds = np.zeros((0, 5), dtype=np.bool_)
    texts = [
        "Jaws\nA film by Verna Fields of Jaws.",
        "Jaws 2\nMore.",
        "Verna Bloom\nAn actor.",
        "Jaws\nA novel.",
        "Verna Fields",
    ]

    def nothing(_: Sequence[str]) -> Floats:
        return floats(0, 0, 0, 0, 0)

    assert follow(base, holds, floats(), ["jaw"], texts, nothing) == [0, 1, 4, 2, 3]
    assert follow(base, holds, floats(), ["jaw", "verna", "field"], texts, nothing) == [0, 1, 2, 3, 4]


scores = arrays.arrays(np.float32, st.integers(1, 8), elements=st.floats(-3, 3, width=32))


@given(base=scores, seed=st.integers(0, 99), terms=st.integers(0, 4))
def test_all_are_given_once_and_the_best_stays_first(base: Floats, seed: int, terms: int) -> None:
    generator = np.random.default_rng(seed)
    holds = generator.random((terms, len(base))) < 0.5
    rarity = generator.random(terms).astype(np.float32)
    led_to = generator.random(len(base)).astype(np.float32)
    order = follow(base, holds, rarity, [], [f"Ann {place}" for place in range(len(base))], lambda _: led_to)
    assert sorted(order) == list(range(len(base)))
    assert order[0] == int(np.argmax(base))
