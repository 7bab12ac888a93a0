"""The order of a ranking."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.ranking import best


@given(st.dictionaries(st.integers(0, 1000), st.integers(-3, 3), max_size=60), st.integers(0, 70))
def test_best_is_the_front_of_the_whole_sorted(scores: dict[int, int], limit: int) -> None:
    rows = np.array(list(scores), dtype=np.int64)
    values = np.array(list(scores.values()), dtype=np.float32)
    found, kept = best(rows, values, limit)
    wanted = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:limit]
    assert list(zip(found.tolist(), kept.tolist(), strict=True)) == wanted
