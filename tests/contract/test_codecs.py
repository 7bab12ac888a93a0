"""Every vector codec by value: against the vectors themselves, within the bound that each one states.

A new codec is one line in `compress.vectors.registry.CODECS` and one in `ERROR`.
"""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.vectors.codec import SCORE_ERROR_MAX, Codec, Floats
from compress.vectors.distortion import measure
from compress.vectors.registry import CODECS, TRAINED

D = 32


def unit(count: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((count, D)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def lengths(vectors: Floats) -> Floats:
    found: Floats = np.linalg.norm(vectors, axis=1)
    return found


# How far what a code decodes to may be from the vector `[N, D]`, for any vector.
ERROR: dict[str, Callable[[Floats], Floats]] = {
    "f32": lambda vectors: lengths(vectors) * 0,
    "f16": lambda vectors: lengths(vectors) * 2.0**-11 + 2.0**-25 * np.sqrt(D),
    "int8": lambda vectors: np.abs(vectors).max(axis=1) / 127 * np.sqrt(D) / 2 * 1.01,
    # The best of two signs of one length; the length is right for normal components only.
    "binary": lambda vectors: lengths(vectors - np.where(vectors > 0, 1, -1) * np.sqrt(2 / np.pi / D)) + 1e-5,
    # Its own component is exact, so what is lost is at right angles to the vector: the vector's length times a tangent.
    "rabitq": lambda vectors: lengths(vectors) * np.sqrt(D),
}
# The share of the energy of normal vectors that may be lost: the codec's theory, and .02 for a sample.
LOST = {
    "f32": 0.0,
    "f16": 2.0**-22,
    "int8": 0.001,
    "binary": 1 - 2 / np.pi,
    "rabitq": np.pi / 2 - 1,
    "gaussian-pq4": 0.341,
    "pq4": 0.341,
    "opq4": 0.341,
    "balanced-pq4": 0.345,
    "pq8": 0.341,
}


@pytest.fixture(scope="module", params=CODECS)
def made(request: pytest.FixtureRequest) -> tuple[str, Codec]:
    return request.param, CODECS[request.param](unit(3000, 1), 1)


def test_every_codec_states_what_it_loses() -> None:
    assert set(LOST) == set(CODECS)
    assert set(ERROR) == set(CODECS) - TRAINED - {"gaussian-pq4"}


def test_codes_have_the_stated_bytes_and_no_more_is_lost_than_stated(made: tuple[str, Codec]) -> None:
    name, codec = made
    vectors = unit(1500, 2)
    codes = codec.encode(vectors)
    assert (codes.dtype, codes.shape) == (np.uint8, (1500, codec.bytes_vector))
    found = measure(codec, vectors, unit(5, 3))
    assert found.bytes_vector == codec.bytes_vector
    assert found.lost <= LOST[name] + 0.02 * (name not in ("f32", "f16", "int8"))
    # The error of a score is the part of what is lost that lies along the query.
    assert found.score_error <= 1.3 * np.sqrt((found.lost + 1e-12) / D)


@given(
    values=st.lists(st.lists(st.floats(-1, 1, width=32), min_size=D, max_size=D), min_size=1, max_size=4),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("name", CODECS)
def test_any_vector_decodes_within_its_bound_and_scores_as_it_decodes(
    name: str, values: list[list[float]], seed: int
) -> None:
    codec = MADE[name]
    vectors, query = np.array(values, dtype=np.float32), unit(1, seed)[0]
    codes = codec.encode(vectors)
    decoded = codec.decode(codes)
    rounding = SCORE_ERROR_MAX * max(1.0, float(lengths(decoded).max()))
    assert codec.score(query, codes) == pytest.approx(decoded @ query, abs=rounding)
    off = lengths(decoded - vectors)
    if name in ERROR:
        assert (off <= ERROR[name](vectors) + 1e-6).all()
    # Cauchy and Schwarz: no score is further off than its vector.
    assert (np.abs(codec.score(query, codes) - vectors @ query) <= off + rounding).all()


def test_a_code_depends_on_its_vector_alone_and_the_same_sample_gives_the_same_codec(made: tuple[str, Codec]) -> None:
    name, codec = made
    vectors = unit(60, 4)
    codes = codec.encode(vectors)
    order = np.random.default_rng(5).permutation(60)
    assert np.array_equal(codec.encode(vectors[order]), codes[order])
    assert all(np.array_equal(codec.encode(vectors[row : row + 1])[0], codes[row]) for row in (0, 17, 59))
    assert np.array_equal(CODECS[name](unit(3000, 1), 1).encode(vectors), codes)


def test_nothing_gives_nothing(made: tuple[str, Codec]) -> None:
    codec = made[1]
    none = codec.encode(np.zeros((0, D), dtype=np.float32))
    assert none.shape == (0, codec.bytes_vector)
    assert codec.decode(none).shape == (0, D)
    assert codec.score(unit(1, 6)[0], none).shape == (0,)


MADE = {name: maker(unit(3000, 1), 1) for name, maker in CODECS.items()}
