"""The comparison of indexes: recall, rows and reasons are counted as they are, whatever an engine does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench.index_engines import FaissFlat, NotHere, Ours, OursTogether, Tags, Window
from bench.vector_index import K, compare, difficulty
from bench.vectors import nearest
from retrieval.ports import Floats


class Half:
    """An engine that finds every other one of the right rows."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        self.base = np.zeros((0, dimensions), dtype=np.float32)

    def build(self, vectors: Floats, tags: Tags | None) -> None:
        self.base = vectors

    def search(self, query: Floats, k: int, window: Window | None) -> Sequence[int]:
        found: list[int] = nearest(self.base, query[None], k)[0, ::2].tolist()
        return found

    def told(self) -> dict[str, int]:
        return {"memory": 7}


class Missing(Half):
    def build(self, vectors: Floats, tags: Tags | None) -> None:
        raise NotHere("not today")


def unit(count: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((count, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def test_what_is_found_and_what_comes_back_is_counted() -> None:
    base, queries = unit(300, 1), unit(8, 2)
    makers = {"ours": Ours, "flat": FaissFlat, "half": Half, "missing": Missing}
    figures, left_out = compare(makers, base, queries, nearest(base, queries, K), np.random.default_rng(1))
    assert left_out == {"missing": "not today"}
    assert {name: (one["recall"], one["returned"]) for name, one in figures.items()} == {
        "ours": (1.0, 1.0),
        "flat": (1.0, 1.0),
        "half": (0.5, 0.5),
    }
    assert figures["half"]["told"] == {"memory": 7}
    assert all(one["ms"]["n"] == 8 for one in figures.values())


@pytest.mark.parametrize("engine", [Ours, OursTogether, FaissFlat])
def test_a_window_keeps_its_tenant_and_its_time(engine: type[Ours] | type[FaissFlat]) -> None:
    base, query = unit(400, 3), unit(1, 4)
    rng = np.random.default_rng(5)
    tags = Tags(rng.integers(0, 3, 400), np.arange(400))
    window = Window(1, 100, 130)
    kept = np.flatnonzero((tags.tenant == 1) & (tags.at >= 100) & (tags.at < 130))
    exact = np.full((1, K), -1)
    best = kept[nearest(base[kept], query, K)[0]]
    exact[0, : len(best)] = best
    figures, _ = compare({"one": engine}, base, query, exact, rng, tags, [window])
    assert figures["one"]["recall"] == 1.0
    assert figures["one"]["returned"] == 1.0


def test_noise_is_harder_than_one_that_stands_out() -> None:
    queries = unit(30, 6)
    noise = unit(2000, 7)
    close = noise.copy()
    close[: 30 * 10] = np.repeat(queries, 10, axis=0) + 0.1 * noise[: 30 * 10]
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    hard, easy = (difficulty(base, queries) for base in (noise, close))
    assert easy["codes_recall"] > hard["codes_recall"]
    assert easy["contrast"] > hard["contrast"]
