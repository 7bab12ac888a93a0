"""Every `VectorIndex` gives what comparing everything gives, by value: rows, order and scores.

A new implementation is one line in `IMPLEMENTATIONS`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recalld.core.errors import InvalidInput
from retrieval.ports import Codes, Floats, Rows, RowState, VectorChange, VectorIndex
from retrieval.vector_faiss import SegmentedVectorIndex
from retrieval.vector_memory import InMemoryVectorIndex

D = 44
B = 6
DIGEST = b"12345678"

IMPLEMENTATIONS: dict[str, Callable[[Path], VectorIndex]] = {
    "memory": lambda folder: InMemoryVectorIndex(D),
    "segments": lambda folder: SegmentedVectorIndex(folder, D, "encoder-1"),
}


@pytest.fixture(params=IMPLEMENTATIONS)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> VectorIndex:
    return IMPLEMENTATIONS[request.param](tmp_path / "vectors")


def unit(count: int, seed: int) -> Floats:
    """Unit vectors that half precision holds exactly, so that every index can be held to the same values."""
    vectors = np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


def put(row: int, vector: Floats, version: int = 1, codes: Codes | None = None) -> VectorChange:
    return VectorChange(row, version, DIGEST, vector, codes)


def some_codes(tokens: int, seed: int) -> Codes:
    return np.random.default_rng(seed).integers(0, 256, (tokens, B), dtype=np.uint8)


def brute_force(rows: Rows, vectors: Floats, query: Floats, limit: int) -> tuple[list[int], list[float]]:
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    order = sorted(range(len(rows)), key=lambda place: (-scores[place], rows[place]))[:limit]
    return [int(rows[place]) for place in order], [float(scores[place]) for place in order]


@pytest.mark.parametrize("limit", [1, 7, 400, 1000])
@pytest.mark.parametrize("share", [None, 0.02, 0.5, 1.0])
def test_search_gives_what_comparing_everything_gives(index: VectorIndex, limit: int, share: float | None) -> None:
    rng = np.random.default_rng(3)
    rows = np.sort(rng.choice(10_000, 400, replace=False))
    vectors = unit(len(rows), 1)
    for start in range(0, len(rows), 63):
        part = slice(start, start + 63)
        index.apply("n", [put(int(row), vector) for row, vector in zip(rows[part], vectors[part], strict=True)])
    chosen = np.arange(len(rows)) if share is None else np.sort(rng.choice(400, int(400 * share), replace=False))
    query = unit(1, 2)[0]
    absent = np.array([10_001, 10_002])
    allowed = None if share is None else np.concatenate([rows[chosen], absent])
    found, scores = index.search("n", query, limit, allowed)
    wanted, wanted_scores = brute_force(rows[chosen], vectors[chosen], query, limit)
    assert found.tolist() == wanted
    assert scores.dtype == np.float32
    assert scores == pytest.approx(wanted_scores, abs=1e-6)


def test_a_vector_is_kept_and_scored_within_two_to_the_minus_eleven(index: VectorIndex) -> None:
    vectors = np.random.default_rng(13).standard_normal((50, D)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index.apply("n", [put(row, vector) for row, vector in enumerate(vectors)])
    _, kept = index.vectors("n", np.arange(50))
    assert np.abs(kept - vectors).max() <= 2**-11
    rows, scores = index.search("n", vectors[7], 50)
    exact = vectors.astype(np.float64) @ vectors[7].astype(np.float64)
    assert np.abs(scores - exact[rows]).max() <= 2**-11


def test_equal_scores_come_by_row_whatever_order_they_were_written_in(index: VectorIndex) -> None:
    vectors = unit(2, 5)
    rows = [17, 3, 90, 41, 5, 8, 60, 2]
    for row in rows:
        index.apply("n", [put(row, vectors[row % 2])])
    for limit in (2, 3, 8):
        for allowed in (None, np.array(sorted(rows))):
            found, scores = index.search("n", vectors[0], limit, allowed)
            assert found.tolist() == [2, 8, 60, 90, 3, 5, 17, 41][:limit]
            assert len(set(scores[:4].tolist())) == 1


def test_the_last_of_several_changes_to_a_row_holds(index: VectorIndex) -> None:
    vectors = unit(4, 6)
    index.apply("n", [put(1, vectors[0]), put(1, vectors[1], 2), VectorChange(2, 1, DIGEST, None), put(2, vectors[2])])
    index.apply("n", [put(3, vectors[3]), VectorChange(3, 1, DIGEST, None), VectorChange(9, 1, DIGEST, None)])
    rows, kept = index.vectors("n", np.array([1, 2, 3, 9]))
    assert rows.tolist() == [1, 2]
    assert np.array_equal(kept, vectors[1:3])
    assert dict(index.states("n")) == {1: RowState(2, DIGEST), 2: RowState(1, DIGEST)}
    assert index.statistics("n").rows == 2


def test_states_are_looked_up_like_a_dictionary(index: VectorIndex) -> None:
    digests = {row: bytes([row]) * 8 for row in (4, 2, 250)}
    index.apply("n", [VectorChange(row, row + 1, digest, unit(1, row)[0]) for row, digest in digests.items()])
    states = index.states("n")
    assert {row: states[row] for row in states} == {row: RowState(row + 1, digests[row]) for row in digests}
    assert 3 not in states
    assert states.get(251) is None
    assert len(states) == 3


def test_vectors_come_by_row_for_the_rows_that_are_there(index: VectorIndex) -> None:
    vectors = unit(3, 7)
    index.apply("n", [put(30, vectors[0]), put(10, vectors[1]), put(20, vectors[2])])
    rows, kept = index.vectors("n", np.array([30, 15, 10]))
    assert rows.tolist() == [10, 30]
    assert np.array_equal(kept, vectors[[1, 0]])


def test_codes_come_by_row_for_the_rows_that_are_there(index: VectorIndex) -> None:
    """Some hundred rows, put and replaced in no order, asked for in no order; some have no codes."""
    rng = np.random.default_rng(4)
    kept: dict[int, Codes] = {}
    for batch in range(12):
        rows = rng.choice(400, 60, replace=False).tolist()
        fresh = {row: some_codes(int(rng.integers(0, 30)), batch * 1000 + row) for row in rows}
        puts = [put(row, unit(1, row)[0], codes=codes if len(codes) else None) for row, codes in fresh.items()]
        index.apply("n", [*puts, VectorChange(rows[0], 1, DIGEST, None)])
        kept |= fresh
        del kept[rows[0]]
    for asked in (np.arange(400), rng.choice(600, 100, replace=False), np.array([399, 0]), np.zeros(0, dtype=np.int64)):
        wanted = [row for row in sorted(asked.tolist()) if row in kept]
        found = index.codes("n", asked)
        assert (found.rows.dtype, found.starts.dtype, found.bits.dtype) == (np.int64, np.int64, np.uint8)
        assert found.rows.tolist() == wanted
        assert found.starts.tolist() == np.cumsum([0, *(len(kept[row]) for row in wanted)]).tolist()
        assert found.bits.shape == (found.starts[-1], B)
        assert found.bits.tobytes() == b"".join(kept[row].tobytes() for row in wanted)


def test_codes_that_are_not_contiguous_are_kept_by_value(index: VectorIndex) -> None:
    codes = some_codes(10, 3)
    index.apply("n", [put(1, unit(1, 1)[0], codes=codes[::-2])])
    assert np.array_equal(index.codes("n", np.array([1])).bits, codes[::-2])


@pytest.mark.parametrize(
    "bad",
    [np.zeros((2, B - 1), np.uint8), np.zeros(B, np.uint8), np.zeros((2, B), np.int64), np.zeros((0, 0), np.uint8)],
)
def test_bad_codes_are_refused_and_nothing_of_their_batch_is_written(index: VectorIndex, bad: Codes) -> None:
    with pytest.raises(InvalidInput) as raised:
        index.apply("n", [put(1, unit(1, 1)[0]), put(2, unit(1, 2)[0], codes=bad)])
    assert [(error.field, error.limit) for error in raised.value.fields] == [("changes.1.codes", B)]
    assert dict(index.states("n")) == {}


def test_a_namespace_never_sees_another_one(index: VectorIndex) -> None:
    vectors = unit(2, 8)
    index.apply("a", [put(1, vectors[0])])
    index.apply("b", [put(2, vectors[1])])
    assert index.search("a", vectors[1], 5)[0].tolist() == [1]
    assert index.search("a", vectors[1], 5, np.array([1, 2]))[0].tolist() == [1]
    assert index.vectors("b", np.array([1, 2]))[0].tolist() == [2]
    assert index.codes("b", np.array([1, 2])).rows.tolist() == [2]
    assert set(index.states("b")) == {2}


def test_an_unknown_namespace_is_empty(index: VectorIndex) -> None:
    rows, scores = index.search("nobody", unit(1, 9)[0], 5)
    assert (rows.tolist(), scores.tolist()) == ([], [])
    rows, kept = index.vectors("nobody", np.array([1]))
    assert (rows.tolist(), kept.shape) == ([], (0, D))
    codes = index.codes("nobody", np.array([1]))
    assert (codes.rows.tolist(), codes.starts.tolist(), codes.bits.shape) == ([], [0], (0, B))
    assert dict(index.states("nobody")) == {}
    assert index.statistics("nobody").rows == 0


def test_no_limit_and_no_allowed_rows_give_nothing(index: VectorIndex) -> None:
    index.apply("n", [put(1, unit(1, 10)[0])])
    assert index.search("n", unit(1, 10)[0], 0)[0].tolist() == []
    assert index.search("n", unit(1, 10)[0], 5, np.zeros(0, dtype=np.int64))[0].tolist() == []


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(D - 1, dtype=np.float32),
        np.zeros((1, D), dtype=np.float32),
        np.zeros(D, dtype=np.float64),
        np.full(D, np.nan, dtype=np.float32),
        np.full(D, -np.inf, dtype=np.float32),
        np.zeros(D, dtype=np.float32),
        np.full(D, 70_000, dtype=np.float32),
    ],
)
def test_a_bad_vector_is_refused_and_nothing_of_its_batch_is_written(index: VectorIndex, bad: Floats) -> None:
    good = unit(2, 11)
    index.apply("n", [put(1, good[0])])
    before = index.statistics("n")
    with pytest.raises(InvalidInput) as raised:
        index.apply("n", [put(2, good[1]), VectorChange(1, 1, DIGEST, None), put(3, bad)])
    assert raised.value.fields[0].field == "changes.2.vector"
    with pytest.raises(InvalidInput):
        index.search("n", bad, 5)
    assert index.statistics("n") == before
    assert set(index.states("n")) == {1}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (VectorChange(-1, 1, DIGEST, None), "row"),
        (VectorChange(2**63, 1, DIGEST, None), "row"),
        (VectorChange(1, 2**32, DIGEST, None), "version"),
        (VectorChange(1, 1, b"short", None), "digest"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(index: VectorIndex, change: VectorChange, field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        index.apply("n", [change])
    assert raised.value.fields[0].field == f"changes.0.{field}"


def test_what_is_given_in_or_out_can_be_changed_without_changing_the_index(index: VectorIndex) -> None:
    vector, codes = unit(1, 12)[0], some_codes(3, 12)
    mine, my_codes = vector.copy(), codes.copy()
    index.apply("n", [put(1, mine, codes=my_codes)])
    mine[:] = 0
    my_codes[:] = 0
    _, kept = index.vectors("n", np.array([1]))
    kept[:] = 0
    index.codes("n", np.array([1])).bits[:] = 0
    assert np.array_equal(index.codes("n", np.array([1])).bits, codes)
    assert index.search("n", vector, 1)[1].tolist() == pytest.approx([vector @ vector], abs=1e-6)
