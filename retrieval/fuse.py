"""Several signals to one ranking. Pure.

Standard scores keep how much better the best row is, which ranks throw away: on conversation turns the sum of standard
scores found more than reciprocal rank fusion did. Rank fusion is for lists whose scores cannot be compared at all.

Source: Cormack et al., "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods" (SIGIR
2009); for standard scores, Bruch et al., "An Analysis of Fusion Functions for Hybrid Retrieval" (TOIS 2023), section 3.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.ports import Floats, Rows

# From Cormack et al.; it damps how much the first places weigh.
RANK_CONSTANT = 60.0
# Equal vectors at other places of a batch differ by about 1e-8, which must not become a whole deviation.
_SPREAD_MIN = 1e-6


def zscore(scores: Floats, deviation_min: float = 0.0) -> Floats:
    """Standard scores over all searched rows.

    Args:
        scores: `[N]`; NaN says that the signal does not know a row.
        deviation_min: a smaller deviation counts as this one: among few rows that are all but alike, what is left
            between them is not a reason.

    Returns:
        `[N]`, mean 0 and deviation 1 over the known; 0 where unknown, and everywhere if all known scores are equal
        but for rounding.
    """
    known = ~np.isnan(scores)
    every = bool(known.all())
    values = (scores if every else scores[known]).astype(np.float64)
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    standard = np.zeros(len(scores), dtype=np.float32)
    if high - low > _SPREAD_MIN * max(1.0, -low, high):
        standard[slice(None) if every else known] = (values - values.mean()) / max(values.std(), deviation_min)
    return standard


def weighted_sum(signals: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """The sum over signals `[N]` of weight times value; a signal without a weight counts nothing."""
    total = np.zeros(len(next(iter(signals.values()))), dtype=np.float64)
    for name, values in signals.items():
        if weights.get(name):
            total += weights[name] * values.astype(np.float64)
    return total.astype(np.float32)


def best_of_group(scores: Floats, groups: NDArray[np.int64]) -> Floats:
    """For each row the best score `[N]` among the rows of its group."""
    _, members = np.unique(groups, return_inverse=True)
    most = np.full(members.max(initial=-1) + 1, -np.inf, dtype=np.float32)
    np.maximum.at(most, members, scores)
    return most[members]


def reciprocal_rank_fusion(
    rankings: Sequence[Rows], weights: Sequence[float] | None = None, constant: float = RANK_CONSTANT
) -> tuple[Rows, Floats]:
    """The sum over rankings of weight / (constant + place), places from 1; a row that a ranking lacks gets 0 from it.

    Args:
        rankings: rows, best first, distinct within one ranking.
        weights: one a ranking; 1 each by default.

    Returns:
        all rows `[N]`, best first, equal scores by row, and their scores `[N]`.
    """
    shares = weights if weights is not None else [1.0] * len(rankings)
    if not rankings:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    rows, places = np.unique(np.concatenate(rankings), return_inverse=True)
    parts = [share / (constant + np.arange(1, len(ranked) + 1)) for share, ranked in zip(shares, rankings, strict=True)]
    total = np.bincount(places, weights=np.concatenate(parts), minlength=len(rows)).astype(np.float32)
    order = np.lexsort((rows, -total))
    return rows[order], total[order]
