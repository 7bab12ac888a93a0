"""The dense signal of many rows against comparing all of them: the same pool, and scores within a stated bound."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.corpus import Columns, Corpus, RowText
from retrieval.dense import DenseSettings, compare_all, compare_best
from retrieval.lexical_memory import InMemoryLexicalIndex
from retrieval.pipeline import Pipeline
from retrieval.plan import plan
from retrieval.ports import Floats, VectorChange
from retrieval.vector_memory import InMemoryVectorIndex
from tests.conftest import NOW
from tests.retrieval.corpora import AxisEncoder, Row, World

D = 32
WANTED = 20


def corpus(rows: Sequence[int], fresh: dict[int, Floats]) -> Corpus:
    count = len(rows)
    none = np.zeros(count, dtype=np.int64)
    columns = Columns(
        rows=np.array(rows, dtype=np.int64),
        lengths=np.ones(count, dtype=np.int32),
        speakers=[None] * count,
        replies=none.astype(np.bool_),
        documents=none.astype(np.bool_),
        traits=none,
        sessions=none,
        moments=none.astype("datetime64[us]"),
    )

    def describe(keys: Sequence[int]) -> list[RowText]:
        return [RowText("", None) for _ in keys]

    return Corpus.over(columns, InMemoryLexicalIndex(), describe, vectors=fresh, codes={})


def unit(vectors: Any) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@given(
    seed=st.integers(0, 1000),
    count=st.integers(60, 400),
    dense_rows=st.integers(1, 60),
    weight=st.sampled_from([0.0, 1.0]),
    waiting=st.integers(0, 5),
    lacking=st.integers(0, 30),
)
def test_the_pool_is_that_of_comparing_all(
    seed: int, count: int, dense_rows: int, weight: float, waiting: int, lacking: int
) -> None:
    """With the moments of all rows (a sample of as many); some rows wait for their vectors, some are not there."""
    random = np.random.default_rng(seed)
    # In the precision that an index keeps, so that both ways of comparing see the same numbers.
    vectors = unit(random.standard_normal((count, D)) + 1).astype(np.float16).astype(np.float32)
    rows = np.sort(random.choice(10 * count, count, replace=False))
    index = InMemoryVectorIndex(D)
    index.apply(
        "n",
        [
            VectorChange(int(row), 1, b"12345678", vector)
            for row, vector in list(zip(rows, vectors, strict=True))[lacking + waiting :]
        ],
    )
    fresh = {int(row): vector for row, vector in zip(rows[:waiting], vectors, strict=False)}
    searched = corpus(rows.tolist(), fresh)
    query = unit(random.standard_normal(D) + 1)
    others = np.where(random.random(count) < 0.2, random.standard_normal(count) * 3, -0.1).astype(np.float32)
    settings = DenseSettings(dense_rows=dense_rows, sample_rows=count - 1)
    exact = compare_all("n", index, searched, query)
    found = compare_best("n", index, searched, query, others, weight, WANTED, settings)
    known = ~np.isnan(found.cosines)
    assert found.cosines[known] == pytest.approx(exact.cosines[known], abs=1e-6)
    assert found.standard[found.compared] == pytest.approx(exact.standard[found.compared], abs=0.35)
    sums = others + np.float32(weight) * (found.standard if weight else 0)
    pool = found.compared[np.argsort(-sums[found.compared], kind="stable")[:WANTED]]
    assert len(pool) == WANTED
    outside = np.setdiff1d(np.arange(count), pool)
    exactly = others + np.float32(weight) * _with_moments_of(exact.cosines, found)
    assert exactly[outside].max() <= exactly[pool].min() + 1e-4


def _with_moments_of(cosines: Floats, found: Any) -> Floats:
    """Standard scores of exact cosines with the moments that `found` was made with; 0 where a row has no vector."""
    known = np.flatnonzero(~np.isnan(found.cosines))
    low, high = known[np.argmin(found.cosines[known])], known[np.argmax(found.cosines[known])]
    slope = (found.standard[high] - found.standard[low]) / (found.cosines[high] - found.cosines[low])
    standard = found.standard[low] + (cosines - found.cosines[low]) * slope
    return np.where(np.isnan(cosines), 0.0, standard).astype(np.float32)


def test_no_more_rows_than_stated_are_compared_besides() -> None:
    random = np.random.default_rng(7)
    vectors = unit(random.standard_normal((500, D)))
    index = InMemoryVectorIndex(D)
    index.apply("n", [VectorChange(row, 1, b"12345678", vector) for row, vector in enumerate(vectors)])
    searched = corpus(range(500), {})
    settings = DenseSettings(dense_rows=30, compared_max=50, sample_rows=100)
    others = random.standard_normal(500).astype(np.float32) * 9
    found = compare_best("n", index, searched, vectors[0], others, 1.0, 25, settings)
    assert np.count_nonzero(~np.isnan(found.cosines)) == len(found.compared) == 30 + 50
    best = np.argsort(-others)[:25]
    assert np.isin(best, found.compared).all()


WORDS = ("dog", "park", "piano", "canoe", "rent", "lake", "tea")


def world(count: int, seed: int) -> World:
    random = np.random.default_rng(seed)
    rows = {}
    for number in range(count):
        words = random.choice(WORDS, 3)
        rows[1024 * (number + 1)] = Row(
            " ".join(words),
            angle=float(random.uniform(0, 180)),
            heard=" ".join(words),
            speaker=str(random.choice(["Ann", "Bob"])),
            session=int(number // 10),
            turn=number % 10,
        )
    return World(rows)


@pytest.mark.parametrize("query", ["dog", "where is Ann's canoe?", "tea by the lake"])
@pytest.mark.parametrize("seed", range(3))
def test_a_ranking_is_the_same_on_both_sides_of_the_switch(query: str, seed: int) -> None:
    """The pool is every row that counts; what moves a figure is the sample, so the order of the first ones holds."""
    told = world(600, seed)
    count = len(told.rows)
    asked = plan(query, NOW)
    settings = [DenseSettings(exact_rows_max=most, dense_rows=256, sample_rows=256) for most in (count, count - 1)]
    one, other = (
        Pipeline(AxisEncoder(), told.index(), dense=each).search("n", asked, told.corpus(), 10) for each in settings
    )
    assert len({found.row for found in one} & {found.row for found in other}) >= 9
    assert [found.score for found in other] == pytest.approx([found.score for found in one], abs=0.1)
    assert [found.features["cosine"] for found in other if found.row == one[0].row] == [
        pytest.approx(one[0].features["cosine"], abs=1e-6)
    ]
