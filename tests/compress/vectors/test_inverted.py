"""Inverted lists: every vector in the nearest one, and a scan of all lists finds what a flat scan finds."""

import numpy as np
import pytest

from compress.vectors.codec import Floats
from compress.vectors.fastscan import FastScan
from compress.vectors.gaussian_pq import GaussianPQ
from compress.vectors.inverted import LIST_SAMPLE, LIST_SAMPLE_MIN, LISTS_MAX, assign, sample_rows, train

D = 36


def unit(count: int, seed: int) -> Floats:
    """Around thirty centres."""
    rng = np.random.default_rng(seed)
    centres = 2 * np.random.default_rng(0).standard_normal((30, D))
    vectors = (centres[rng.integers(0, 30, count)] + rng.standard_normal((count, D))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def test_there_are_as_many_lists_as_rows_fill_and_each_is_the_mean_of_several() -> None:
    assert [sample_rows(rows, 1000) // LIST_SAMPLE for rows in (1, 12_000, 10**9)] == [1, 12, LISTS_MAX]
    assert len(train(unit(1, 1))) == 1
    assert len(train(unit(LIST_SAMPLE_MIN - 1, 1))) == 1
    assert len(train(unit(10 * LIST_SAMPLE, 1))) == 10
    sample = unit(sample_rows(10**9, 1000), 1)
    many = train(sample)
    assert LISTS_MAX / 2 < len(many) <= LISTS_MAX
    assert np.linalg.norm(many, axis=1) == pytest.approx(1, abs=1e-5)
    assert (train(unit(640, 1)) == train(unit(640, 1))).all()


def test_no_centroid_is_the_mean_of_a_few_rows_that_are_far_from_all_others() -> None:
    along = np.eye(1, D, dtype=np.float32)
    cone = along + 0.3 * unit(10 * LIST_SAMPLE, 1)
    sample = np.concatenate([cone, np.repeat(-along, LIST_SAMPLE_MIN - 1, axis=0)])
    sample /= np.linalg.norm(sample, axis=1, keepdims=True)
    for seed in range(60):
        assert (train(sample, seed) @ along[0]).min() > 0


def test_all_lists_hold_what_one_holds_and_a_few_the_nearest() -> None:
    vectors, codec = unit(4000, 2), GaussianPQ(D)
    codes, centroids = codec.encode(vectors), train(unit(2000, 3))
    lists = assign(vectors, centroids)
    near = centroids[lists]
    assert (np.einsum("nd,nd->n", vectors, near) >= (vectors @ centroids.T).max(axis=1) - 1e-6).all()
    flat, listed = FastScan(codec, codes), FastScan(codec, codes, (lists, centroids))
    allowed = np.packbits(np.arange(4000) % 3 == 0, bitorder="little")
    hits = 0
    for query in codec.rotated(unit(20, 4)):
        for bits in (None, allowed):
            wanted = dict(zip(*map(np.ndarray.tolist, flat.search(query, 4000, bits)), strict=True))
            assert dict(zip(*map(np.ndarray.tolist, listed.search(query, 4000, bits)), strict=True)) == wanted
        few = listed.search(query, 4000, None, 0.25)[0]
        assert 0 < len(few) < 4000
        hits += len(set(few.tolist()) & set(flat.search(query, 10)[0].tolist()))
    assert hits >= 0.95 * 200


def test_a_list_without_rows_is_scanned_as_empty() -> None:
    vectors, codec = unit(100, 5), GaussianPQ(D)
    centroids = np.concatenate([train(vectors), -train(vectors)])
    scan = FastScan(codec, codec.encode(vectors), (np.zeros(100, dtype=np.uint16), centroids))
    query = codec.rotated(vectors[:1])[0]
    assert len(scan.search(query, 200)[0]) == 100
    assert scan.bytes_memory >= 100 * codec.bytes_vector
