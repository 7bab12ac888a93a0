"""Token codes by place."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.vector_codes import spans


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9))))
def test_spans_are_the_ranges_one_after_another(ranges: list[tuple[int, int]]) -> None:
    begins, sizes = np.array(ranges, dtype=np.int64).reshape(-1, 2).T
    wanted = [number for begin, size in ranges for number in range(begin, begin + size)]
    assert spans(begins, sizes).tolist() == wanted
