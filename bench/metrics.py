"""How good a ranking is, and how sure that is. Pure.

`ranking` is ids best first, `evidence` the ids that answer the question: binary relevance. Source for recall, NDCG
and MRR: Manning, Raghavan and Schuetze, "Introduction to Information Retrieval" (2008), chapter 8; for the
interval: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13; for the calibration error:
Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017).
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
BINS = 10


def recall_at(k: int, ranking: Sequence[str], evidence: AbstractSet[str]) -> float:
    """|top k that are evidence| / |evidence|."""
    return len(set(ranking[:k]) & evidence) / len(evidence)


def hit_at(k: int, ranking: Sequence[str], evidence: AbstractSet[str]) -> float:
    """Whether any evidence is in the top k."""
    return float(not evidence.isdisjoint(ranking[:k]))


def ndcg_at(k: int, ranking: Sequence[str], evidence: AbstractSet[str]) -> float:
    """Discounted gain of the top k over that of a perfect ranking, binary gain."""
    gain = sum(1 / np.log2(place + 2) for place, found in enumerate(ranking[:k]) if found in evidence)
    return float(gain / sum(1 / np.log2(place + 2) for place in range(min(k, len(evidence)))))


def reciprocal_rank(ranking: Sequence[str], evidence: AbstractSet[str]) -> float:
    """1 / place of the first evidence; 0 where there is none."""
    return next((1 / place for place, found in enumerate(ranking, 1) if found in evidence), 0.0)


def session_hit_at(k: int, sessions: Sequence[str], evidence: AbstractSet[str]) -> float:
    """Whether an evidence session is among the first k distinct ones; `sessions` is that of each ranked row."""
    return hit_at(k, list(dict.fromkeys(sessions)), evidence)


def means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over the questions that have it, and how many questions there were."""
    names = dict.fromkeys(name for score in scores for name in score)
    values = {name: [score[name] for score in scores if name in score] for name in names}
    return {name: round(float(np.mean(found)), 4) for name, found in values.items()} | {"n": len(scores)}


def paired_interval(ours: Sequence[float], theirs: Sequence[float], seed: int) -> dict[str, float]:
    """The mean difference over the same questions, with its 95 % bootstrap interval."""
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(len(differences), size=(RESAMPLES, len(differences)))
    low, high = np.percentile(differences[draws].mean(axis=1), [2.5, 97.5])
    return {name: round(float(v), 4) for name, v in (("mean", differences.mean()), ("low", low), ("high", high))}


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """p50 and p95 of a sample, and its size."""
    if not samples:
        return {"n": 0}
    p50, p95 = np.percentile(samples, [50, 95])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "n": len(samples)}


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a positive scores above a negative; ties count half."""
    below = np.asarray(negative)[None, :]
    above = np.asarray(positive)[:, None]
    return float(((above > below) + 0.5 * (above == below)).mean())


def reliability(probabilities: NDArray[np.float64], outcomes: NDArray[np.bool_]) -> list[tuple[float, float, int]]:
    """The curve over `BINS` equal bins of probability: of each that holds any, mean, observed rate and count."""
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    members = (bins == number for number in np.unique(bins))
    return [(float(probabilities[bin_].mean()), float(outcomes[bin_].mean()), int(bin_.sum())) for bin_ in members]


def calibration_error(probabilities: NDArray[np.float64], outcomes: NDArray[np.bool_]) -> float:
    """Expected calibration error: how far each bin is off, weighed by its size."""
    curve = reliability(probabilities, outcomes)
    return sum(count * abs(observed - mean) for mean, observed, count in curve) / len(outcomes)
