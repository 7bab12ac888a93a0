"""The scan of half-precision rows: exact, the same bits wherever a row is, and whole ties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.vectors.half import inner_products, scan


@pytest.mark.parametrize("dimensions", [5, 8, 44, 384])
def test_a_score_has_the_same_bits_at_any_place_and_in_any_company(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    rows = rng.standard_normal((1500, dimensions)).astype(np.float16)
    query = rng.standard_normal(dimensions).astype(np.float32)
    alone = inner_products(rows, query)
    assert alone == pytest.approx(rows.astype(np.float64) @ query.astype(np.float64), abs=1e-4)
    for count, limit in ((1, 1), (2, 1), (700, 3), (1030, 700), (1500, 1500)):
        places = np.sort(rng.choice(1500, count, replace=False))
        order, scores = scan(rows, places, query, limit)
        assert np.array_equal(scores, alone[places[order]])
        assert set(np.sort(-alone[places])[:limit].tolist()) <= set((-scores).tolist())


@given(
    values=st.lists(st.integers(0, 2), min_size=1, max_size=40),
    limit=st.integers(0, 45),
)
@settings(max_examples=200, deadline=None)
def test_a_tie_at_the_cut_is_there_as_a_whole(values: list[int], limit: int) -> None:
    rows = np.array(values, dtype=np.float16)[:, None] * np.ones(4, dtype=np.float16)
    order, scores = scan(rows, np.arange(len(rows)), np.ones(4, dtype=np.float32), limit)
    assert len(set(order.tolist())) == len(order)
    assert scores.tolist() == [4.0 * values[place] for place in order.tolist()]
    cut = sorted(values, reverse=True)[: max(limit, 1)][-1]
    assert {place for place, value in enumerate(values) if value > cut or (limit and value >= cut)} <= set(
        order.tolist()
    )


def test_no_places_give_nothing() -> None:
    order, scores = scan(np.zeros((3, 4), np.float16), np.zeros(0, np.int64), np.ones(4, np.float32), 5)
    assert (len(order), len(scores)) == (0, 0)
