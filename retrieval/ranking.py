"""The one order of every ranking: score descending, then row ascending.

Indexes, fusion and their references all cut with this function, so that equal scores come in the same order whoever
computed them. Selection is `partition` first (linear), then a sort of what is left.
"""

import numpy as np

from retrieval.ports import Floats, Rows


def best(rows: Rows, scores: Floats, limit: int) -> tuple[Rows, Floats]:
    """The `limit` rows of the highest scores, best first; equal scores by row, ascending.

    Args:
        rows: `[N]` in any order.
        scores: `[N]`, no NaN.

    Returns:
        rows `[K]` and scores `[K]`, K = min(limit, N).
    """
    if limit < 1:
        return rows[:0], scores[:0]
    if limit < len(scores):
        threshold = np.partition(scores, len(scores) - limit)[len(scores) - limit]
        kept = np.flatnonzero(scores >= threshold)
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort((rows, -scores))[:limit]
    return rows[order], scores[order]
