"""Late interaction against loops over every token and every neighbour, and the words that a query is weighted by."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.late import REACH, max_similarities, query_tokens, windowed
from retrieval.ports import Floats, TokenCodes, TokenVectors


def unit(generator: np.random.Generator, count: int, dimensions: int) -> Floats:
    vectors = generator.normal(size=(count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def naive_similarities(query: Floats, codes: TokenCodes) -> list[list[float]]:
    """MaxSim of each row, one bit after another."""
    dimensions = query.shape[1]
    found = []
    for start, end in zip(codes.starts[:-1].tolist(), codes.starts[1:].tolist(), strict=True):
        signs = [
            [1 if token[place // 8] & (128 >> place % 8) else -1 for place in range(dimensions)]
            for token in codes.bits[start:end].tolist()
        ]
        found.append(
            [
                max((float(np.dot(word, sign)) / math.sqrt(dimensions) for sign in signs), default=math.nan)
                for word in query
            ]
        )
    return found


@pytest.mark.parametrize("dimensions", [8, 11, 32])
@pytest.mark.parametrize("sizes", [(0,), (3,), (0, 2, 0, 0, 5, 0), (100, 0, 60, 1, 300, 7), (128, 128), (129,)])
def test_similarities_are_those_of_a_loop_over_every_bit(dimensions: int, sizes: tuple[int, ...]) -> None:
    generator = np.random.default_rng(sum(sizes) + dimensions)
    bits = generator.integers(0, 256, (sum(sizes), (dimensions + 7) // 8), dtype=np.uint8)
    codes = TokenCodes(np.arange(len(sizes)), np.cumsum([0, *sizes]), bits)
    query = unit(generator, 3, dimensions)
    found = max_similarities(query, codes)
    assert found.shape == (len(sizes), 3)
    np.testing.assert_allclose(found, naive_similarities(query, codes), atol=1e-6)


def test_nothing_is_like_nothing() -> None:
    none = TokenCodes(np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64), np.zeros((0, 1), dtype=np.uint8))
    assert max_similarities(np.ones((2, 8), dtype=np.float32), none).shape == (0, 2)
    two = TokenCodes(np.arange(2), np.array([0, 1, 1]), np.zeros((1, 1), dtype=np.uint8))
    assert max_similarities(np.zeros((0, 8), dtype=np.float32), two).shape == (2, 0)


turns = st.tuples(
    st.booleans(),
    st.integers(1, 4),
    st.lists(st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0, math.nan]), min_size=2, max_size=2),
)


@given(st.lists(turns, min_size=1, max_size=12))
def test_a_window_takes_in_the_neighbours_that_are_here(said: list[tuple[bool, int, list[float]]]) -> None:
    """A turn is (whether it begins a session, how far it stands from the one before, its similarities)."""
    sessions = np.cumsum([begins for begins, _, _ in said])
    places = np.cumsum([step for _, step, _ in said])
    best = np.array([values for _, _, values in said], dtype=np.float32)
    shares = {0: 1.0} | dict(enumerate(REACH, 1))
    wanted = []
    for here in range(len(said)):
        near = [
            np.float32(shares[abs(int(places[other] - places[here]))]) * best[other]
            for other in range(len(said))
            if sessions[other] == sessions[here] and abs(places[other] - places[here]) < len(shares)
        ]
        columns = [[value for value in column if not math.isnan(value)] for column in zip(*near, strict=True)]
        wanted.append([max(column, default=math.nan) for column in columns])
    kept = best.copy()
    np.testing.assert_allclose(windowed(best, sessions, places), wanted, atol=1e-7)
    np.testing.assert_array_equal(best, kept)


def test_the_weights_of_a_window() -> None:
    best = np.array([[1.0], [0], [0], [0], [np.nan]], dtype=np.float32)
    together = np.zeros(5, dtype=np.int64)
    wide = windowed(best, together, np.arange(5))
    np.testing.assert_allclose(wide[:, 0], [1.0, 0.8, 0.6, 0.0, 0.0], atol=1e-7)
    apart = windowed(best, np.array([0, 1, 1, 1, 1]), np.arange(5))
    np.testing.assert_allclose(apart[:, 0], [1.0, 0.0, 0.0, 0.0, 0.0], atol=1e-7)
    far = windowed(best, together, np.array([0, 2, 5, 9, 12]))
    np.testing.assert_allclose(far[:, 0], [1.0, 0.6, 0.0, 0.0, np.nan], atol=1e-7)


def encoded(*tokens: str) -> TokenVectors:
    return TokenVectors(tokens, np.eye(len(tokens), 8, dtype=np.float32))


def test_pieces_weigh_what_their_word_does_and_the_form_of_an_answer_less() -> None:
    asked: list[str] = []

    def rarity(word: str) -> float:
        asked.append(word)
        return {"lisbon": 2.0, "kind": 1.0, "bread": 1.7}[word]

    found = query_tokens(encoded("what", "kind", "of", "bread", "in", "lis", "##bon", "?"), rarity)
    assert asked == ["kind", "bread", "lisbon", "lisbon"]
    assert np.argmax(found.vectors, axis=1).tolist() == [1, 3, 5, 6]
    assert found.weights.tolist() == pytest.approx([0.05, 1.7 / 6, 2 / 6, 2 / 6])


def test_a_word_that_begins_like_a_stop_word_is_not_taken_for_the_end_of_another() -> None:
    found = query_tokens(encoded("history", "of", "on", "##cology"), {"history": 1.0, "oncology": 3.0}.__getitem__)
    assert found.weights.tolist() == [0.25, 0.75]


@given(st.lists(st.sampled_from(["what", "kind", "dog", "##s", "?", "park"]), max_size=8), st.floats(0, 10))
def test_weights_sum_to_1(tokens: list[str], rarity: float) -> None:
    found = query_tokens(encoded(*tokens), lambda _: rarity)
    assert len(found.weights) == len(found.vectors)
    assert found.weights.sum() == pytest.approx(1.0 if tokens else 0.0, abs=1e-5)
    assert (found.weights > 0).all()


def test_of_a_query_without_content_every_token_counts() -> None:
    assert query_tokens(encoded("what", "is", "it"), lambda _: 1.0).weights.tolist() == pytest.approx([1 / 3] * 3)
