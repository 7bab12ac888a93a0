"""Codes without training, and FastScan over them, beside the plain arithmetic."""

import numpy as np
import pytest

from compress.vectors.codec import Floats
from compress.vectors.fastscan import FastScan, score_error
from compress.vectors.gaussian_pq import CENTROIDS, SUBVECTOR, GaussianPQ, normal_codebook, rotation


def unit(count: int, dimensions: int, seed: int = 1) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def test_the_codebook_is_as_good_as_one_of_four_normal_numbers_can_be() -> None:
    """Its loss is between the rate-distortion bound of one bit, .25, and that of one bit a number, 1 - 2 / pi."""
    fresh = np.random.default_rng(9).standard_normal((40_000, SUBVECTOR)).astype(np.float32)
    book = normal_codebook(1)
    squares = ((fresh[:, None] - book) ** 2).sum(axis=2)
    assert 0.25 < squares.min(axis=1).mean() / SUBVECTOR < 0.345
    taken = np.bincount(squares.argmin(axis=1), minlength=CENTROIDS)
    assert taken.min() > 0


@pytest.mark.parametrize("dimensions", [8, 44, 384])
def test_the_rotation_keeps_lengths(dimensions: int) -> None:
    matrix = rotation(dimensions, 1)
    assert matrix.T @ matrix == pytest.approx(np.eye(dimensions), abs=1e-5)
    assert not np.array_equal(matrix, rotation(dimensions, 2))


@pytest.mark.parametrize("dimensions", [1, 5, 8, 44, 384])
def test_each_part_has_the_nearest_centroid(dimensions: int) -> None:
    codec, vectors = GaussianPQ(dimensions), unit(50, dimensions)
    codes = codec.encode(vectors)
    parts = codec.rotated(vectors).reshape(50, -1, SUBVECTOR)
    squares = ((parts[:, :, None] - codec.centroids()) ** 2).sum(axis=-1)
    numbers = np.stack([codes & 15, codes >> 4], axis=-1).reshape(50, -1)
    chosen = np.take_along_axis(squares, numbers[..., None].astype(np.int64), axis=2)[..., 0]
    assert chosen == pytest.approx(squares.min(axis=2), abs=1e-6)


@pytest.mark.parametrize(("dimensions", "count"), [(5, 40), (44, 1000), (384, 3000)])
def test_a_scan_estimates_what_the_codec_scores(dimensions: int, count: int) -> None:
    codec, vectors, query = GaussianPQ(dimensions), unit(count, dimensions), unit(1, dimensions, 2)[0]
    codes = codec.encode(vectors)
    scan, rotated = FastScan(codec, codes), codec.rotated(query[None])[0]
    wanted = codec.score(query, codes)
    error = score_error(codec, query)
    keep = np.random.default_rng(3).random(count) < 0.3
    for allowed, limit in ((np.ones(count, dtype=np.bool_), 10), (keep, 10), (keep & False, 10)):
        places, scores = scan.search(rotated, limit, np.packbits(allowed, bitorder="little"))
        assert allowed[places].all()
        assert len(places) == min(limit, np.count_nonzero(allowed))
        assert np.abs(scores - wanted[places]).max(initial=0) <= error
        if len(places):
            assert wanted[places].min() >= np.sort(wanted[allowed])[-limit] - 2 * error


def test_codes_in_memory_are_the_bytes_that_are_promised() -> None:
    codec = GaussianPQ(384)
    scan = FastScan(codec, codec.encode(unit(1000, 384)))
    assert codec.bytes_vector == 48
    assert scan.bytes_memory <= 1024 * (48 + 8) + 4 * 384


def test_an_empty_scan_finds_nothing() -> None:
    codec = GaussianPQ(8)
    places, scores = FastScan(codec, np.zeros((0, 1), dtype=np.uint8)).search(np.ones(8, dtype=np.float32), 5)
    assert (len(places), len(scores)) == (0, 0)
