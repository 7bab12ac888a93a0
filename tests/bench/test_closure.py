"""What closure would give inverted lists: codes that are read are counted, copies among them."""

import numpy as np

from bench.closure import near_lists, rows_read


def test_the_codes_read_are_those_of_the_lists_up_to_the_one_that_holds_the_nearest() -> None:
    """Four rows in two lists; the query reads list 0 first, and its nearest rows are one of each."""
    own = np.array([[0, 1], [0, 1], [0, 1], [1, 0]])
    order, exact = np.array([[0, 1]]), np.array([[0, 3]])
    nothing = np.zeros((4, 1), dtype=np.bool_)
    assert rows_read(own, nothing, order, exact, 2) == {"0.98": 1.0, "0.99": 1.0, "0.995": 1.0}
    copied = np.array([[False], [False], [False], [True]])
    assert rows_read(own, copied, order, exact, 2) == {"0.98": 1.0, "0.99": 1.0, "0.995": 1.0}
    assert rows_read(own, ~nothing, order, np.array([[0, 1]]), 2) == {"0.98": 1.0, "0.99": 1.0, "0.995": 1.0}
    assert rows_read(own, nothing, order, np.array([[0, 1]]), 2) == {"0.98": 0.75, "0.99": 0.75, "0.995": 0.75}


def test_lists_are_told_nearest_first_with_how_much_less_near_the_others_are() -> None:
    centroids = np.eye(3, dtype=np.float32)
    own, gaps = near_lists(np.array([[0.1, 0.9, 0.4]], dtype=np.float32), centroids)
    assert own.tolist() == [[1, 2, 0]]
    np.testing.assert_allclose(gaps, [[0.5, 0.8]], atol=1e-6)
