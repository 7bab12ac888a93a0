"""Relevance: the probability that a row answers the question, which compares between recalls as a score does not.

A standard score says which row is best of those searched, whatever they are; a probability needs raw similarities. It
is a logistic regression on four of them, fitted conversation by conversation, so that each is told by weights that
never saw it (`python -m bench calibration` fits, and reports the reliability curve of the weights below).

Source: Platt, "Probabilistic Outputs for Support Vector Machines" (1999); Guo et al., "On Calibration of Modern Neural
Networks" (ICML 2017), for what is measured.
"""

from dataclasses import astuple, dataclass, fields

import numpy as np

from retrieval.ports import Floats


@dataclass(frozen=True, slots=True)
class Features:
    """What relevance is read from, `[N]` each, before any standard score.

    Attributes:
        late: the late interaction, windows included.
        cosine: of the pooled vectors.
        lexical: BM25 as a share of the most that any row could have.
        conflict: where the query names one person: how much nearer others than that one come to what is asked.
    """

    late: Floats
    cosine: Floats
    lexical: Floats
    conflict: Floats


FEATURES = tuple(feature.name for feature in fields(Features))


@dataclass(frozen=True, slots=True)
class RelevanceWeights:
    """The regression; one weight a feature, in the order of `Features`.

    The first three and the bias tell stores that answer from stores that do not. The conflict does not show there; its
    weight is as large as costs those recalls nothing that can be measured.
    """

    late: float = 21.9
    cosine: float = 5.9
    lexical: float = 3.4
    conflict: float = -30.0
    bias: float = -11.1


def relevance(features: Features, weights: RelevanceWeights = RelevanceWeights()) -> Floats:
    """The probability `[N]` that each row answers the question."""
    *slopes, bias = astuple(weights)
    columns = (getattr(features, name) for name in FEATURES)
    logit = bias + sum(slope * column.astype(np.float64) for slope, column in zip(slopes, columns, strict=True))
    found: Floats = (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
    return found


def speaker_conflict(similarity: Floats, speaker: Floats) -> float:
    """How much better the rows of others match than those of the one person whom the query names.

    Args:
        similarity: `[N]` late interaction without windows; NaN where unknown.
        speaker: `[N]` 1 for the rows of that person, 0 for the others; all below 1 where the query names nobody.
    """
    own = similarity[(speaker == 1.0) & ~np.isnan(similarity)]
    others = similarity[(speaker < 1.0) & ~np.isnan(similarity)]
    if not len(own) or not len(others):
        return 0.0
    return float(max(others.max() - own.max(), 0.0))
