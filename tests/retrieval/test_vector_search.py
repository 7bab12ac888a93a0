"""Searching by product codes: every score is exact, a filter costs no results, and little is missed."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.ports import Floats, Rows, VectorChange
from retrieval.vector_faiss import IndexSettings, SegmentedVectorIndex
from retrieval.vector_log import LogSettings
from retrieval.vector_memory import InMemoryVectorIndex
from retrieval.vector_merge import MergeSettings
from retrieval.vector_search import SearchSettings

D = 64
COUNT = 3000
SETTINGS = IndexSettings(
    log=LogSettings(head_rows_max=500),
    search=SearchSettings(exact_rows_max=200, shortlist_rows_min=120, shortlist_times=3),
    merge=MergeSettings(lists_rows_min=1000, list_rows=60),
)


def unit(count: int, seed: int) -> Floats:
    """Around forty centres, as texts are: neighbours that stand out, and many that do not."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((40, D))
    vectors = (centres[rng.integers(0, 40, count)] + rng.standard_normal((count, D))).astype(np.float16)
    vectors = vectors.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> tuple[SegmentedVectorIndex, InMemoryVectorIndex]:
    """One index with several segments, a log and dead rows in both, and the reference."""
    index = SegmentedVectorIndex(tmp_path_factory.mktemp("vectors"), D, "encoder-1", SETTINGS)
    reference = InMemoryVectorIndex(D)
    vectors, rows = unit(COUNT, 1), np.random.default_rng(2).permutation(COUNT)
    for start in range(0, COUNT, 300):
        changes = [VectorChange(int(row), 1, b"12345678", vectors[row]) for row in rows[start : start + 300]]
        changes += [VectorChange(int(row), 1, b"12345678", None) for row in rows[:start:37]]
        for each in (index, reference):
            each.apply("n", changes)
    assert len(index._log("n").snapshot().segments) > 3
    return index, reference


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("share", [None, 0.1, 0.5])
def test_scores_are_exact_filters_hold_and_nine_in_ten_are_found(
    indexes: tuple[SegmentedVectorIndex, InMemoryVectorIndex], share: float | None, merged: bool
) -> None:
    index, reference = indexes
    if merged:
        index.merge("n")
    hits = 0
    for seed, query in enumerate(unit(20, 5)):
        allowed = None if share is None else chosen(share, seed)
        found, scores = index.search("n", query, 10, allowed)
        wanted, _ = reference.search("n", query, 10, allowed)
        assert len(found) == 10
        assert allowed is None or np.isin(found, allowed).all()
        rows, exact = reference.search("n", query, 10, np.sort(found))
        assert found.tolist() == rows.tolist()
        assert scores == pytest.approx(exact, abs=2e-6)
        hits += len(set(found.tolist()) & set(wanted.tolist()))
    assert hits >= 0.95 * 200


def chosen(share: float, seed: int) -> Rows:
    return np.sort(np.random.default_rng(seed).choice(COUNT, int(share * COUNT), replace=False))


def test_as_many_rows_as_are_asked_for_come_back_whatever_the_shortlist_holds(
    indexes: tuple[SegmentedVectorIndex, InMemoryVectorIndex],
) -> None:
    index, reference = indexes
    query, live = unit(1, 7)[0], len(reference.states("n"))
    for limit in (1, 10, 400, live - 1, live, COUNT):
        found, scores = index.search("n", query, limit)
        assert len(found) == len(set(found.tolist())) == min(limit, live)
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    found, scores = index.search("n", query, COUNT)
    wanted, wanted_scores = reference.search("n", query, COUNT)
    assert set(found.tolist()) == set(wanted.tolist())
    assert scores == pytest.approx(wanted_scores, abs=2e-6)


def test_few_allowed_rows_are_looked_for_in_every_list(
    indexes: tuple[SegmentedVectorIndex, InMemoryVectorIndex],
) -> None:
    """What a filter leaves may be far from the query, where the nearest lists hold none of it."""
    index, reference = indexes
    index.merge("n")
    assert any(segment.segment.layout.lists > 1 for segment in index._log("n").snapshot().segments)
    settings = SearchSettings(lists_share=0.1, lists_rows_times=1)
    assert settings.share(shortlist=100, allowed=1_000_000, rows=1_000_000) == pytest.approx(0.1)
    assert settings.share(shortlist=100, allowed=10_000, rows=1_000_000) > 1
    assert settings.share(shortlist=500_000, allowed=1_000_000, rows=1_000_000) >= 0.5
    query, allowed = unit(1, 21)[0], chosen(0.1, 6)
    found, _ = index.search("n", query, 10, allowed)
    assert len(found) == 10
    assert set(found.tolist()) <= set(allowed.tolist())
    assert len(set(found.tolist()) & set(reference.search("n", query, 10, allowed)[0].tolist())) >= 9


def test_lists_are_made_of_rows_of_every_kind_whatever_the_distance_of_like_rows_is(tmp_path: Path) -> None:
    settings = replace(SETTINGS, merge=MergeSettings(lists_rows_min=1000, list_rows=320))
    index = SegmentedVectorIndex(tmp_path, D, "encoder-1", settings)
    kinds = np.eye(5, D, dtype=np.float32)
    vectors = kinds[np.arange(3000) % 5] + 0.2 * unit(3000, 13)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for start in range(0, 3000, 600):
        index.apply("n", [VectorChange(row, 1, b"12345678", vectors[row]) for row in range(start, start + 600)])
    assert index.merge("n")
    centroids = max((s.segment.centroids for s in index._log("n").snapshot().segments), key=len)
    assert ((kinds @ centroids.T).max(axis=1) > 0.9).all()


def test_merging_changes_no_score_by_a_bit(tmp_path: Path) -> None:
    exact = replace(SETTINGS, search=SearchSettings())
    index = SegmentedVectorIndex(tmp_path, D, "encoder-1", exact)
    vectors, query = unit(1200, 8), unit(1, 9)[0]
    for start in range(0, 1200, 100):
        index.apply("n", [VectorChange(row, 1, b"12345678", vectors[row]) for row in range(start, start + 100)])
    before = index.search("n", query, 1200)
    assert index.merge("n") == 0 or index.search("n", query, 1200)[1].tolist() == before[1].tolist()
    small = SegmentedVectorIndex(tmp_path / "small", D, "encoder-1")
    small.apply("n", [VectorChange(row, 1, b"12345678", vectors[row]) for row in range(1200)])
    for part, wanted in zip(small.search("n", query, 1200), before, strict=True):
        assert part.tolist() == wanted.tolist()


def test_a_filter_that_nobody_can_write_to_is_looked_up_once(
    indexes: tuple[SegmentedVectorIndex, InMemoryVectorIndex],
) -> None:
    index, _ = indexes
    query, allowed = unit(1, 10)[0], chosen(0.5, 3)
    loose = index.search("n", query, 10, allowed)
    allowed.setflags(write=False)
    for _ in range(2):
        assert index.search("n", query, 10, allowed)[0].tolist() == loose[0].tolist()
    segments = index._log("n").snapshot().segments
    assert all(segment.chosen(allowed) is segment.chosen(allowed) for segment in segments)
    assert all(segment.chosen(allowed.copy()) is not segment.chosen(allowed) for segment in segments)


def test_threads_get_the_same_answer_while_segments_come_die_and_are_merged(tmp_path: Path) -> None:
    settings = replace(
        SETTINGS, log=LogSettings(head_rows_max=60), search=SearchSettings(), merge=MergeSettings(fanout=2)
    )
    index = SegmentedVectorIndex(tmp_path, D, "encoder-1", settings)
    vectors, query = unit(300, 11), unit(1, 12)[0]
    index.apply("n", [VectorChange(row, 1, b"12345678", vectors[row]) for row in range(300)])
    wanted = [part.tolist() for part in index.search("n", query, 10)]
    seen: list[object] = []
    stopped = threading.Event()

    def read() -> None:
        while not stopped.is_set():
            seen.append([part.tolist() for part in index.search("n", query, 10)])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    away = (-query).astype(np.float16).astype(np.float32)
    merged = 0
    for start in range(1000, 2000, 50):
        index.apply("n", [VectorChange(row, 1, b"12345678", away) for row in range(start, start + 50)])
        index.apply("n", [VectorChange(row, 1, b"12345678", None) for row in range(start, start + 40)])
        merged += index.merge("n")
    stopped.set()
    for reader in readers:
        reader.join()
    assert merged > 2
    assert len(seen) > 20
    assert all(each == wanted for each in seen)
