"""Rerankers without a model."""

import numpy as np

from retrieval.rerank import IdentityReranker


def test_identity_keeps_the_first_scores() -> None:
    scores = np.array([0.5, 2.0, -1.0], dtype=np.float32)
    assert IdentityReranker().rerank("q", ["a", "b", "c"], scores).tolist() == [0.5, 2.0, -1.0]
