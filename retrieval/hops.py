"""Questions whose answer is in several documents: the next one is what the first ones lead to.

The first document is the best one. The second is worth more the more it has of the question that the first one has
not. Those two name people, works and places which the question does not know ("the director of ..." is now a name), and
what follows is worth more the more of these names it has. No model is asked.

It is for documents only: in a conversation what belongs together stands together anyway, and jumping costs recall.

Source: the evidence pool of RFM-RAG (Li et al., 2025), with idf coverage in place of its model's feedback.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import STOP_WORDS, query_terms
from retrieval.fuse import zscore
from retrieval.ports import Floats

COVERAGE_WEIGHT = 0.8
NAMES_WEIGHT = 0.7
SEEDS = 2
_NAME = re.compile(r"[A-Z][\w'’.-]*(?:\s+(?:(?:of|the|de|la|von|van|for|and)\s+)?[A-Z0-9][\w'’.-]*)*")


def names(text: str) -> list[str]:
    """The capitalised phrases of a text, in order, without those that are a stop word at the head of a sentence."""
    return [name for name in _NAME.findall(text) if name.lower() not in STOP_WORDS]


def unknown_name_terms(texts: Sequence[str], query_terms_: Sequence[str]) -> list[str]:
    """The analysed terms of the names in `texts` that the query lacks, once each."""
    known = set(query_terms_)
    found = (term for text in texts for name in names(text) for term in query_terms(name))
    return [term for term in dict.fromkeys(found) if term not in known]


def follow(
    base: Floats, holds: NDArray[np.bool_], rarity: Floats, read: Callable[[int], str], search: Callable[[str], Floats]
) -> list[int]:
    """The order in which to give candidates.

    Args:
        base: `[N]` their scores, standard scores over the pool.
        holds: `[T, N]` whether a candidate has each term of the query.
        rarity: `[T]` idf of the terms.
        read: a candidate's text.
        search: BM25 `[N]` of the candidates for the names in a text that the query lacks.

    Returns:
        all places, best first.
    """
    first = int(np.argmax(base))
    gained = rarity @ (holds & ~holds[:, first : first + 1])
    second_scores = base + np.float32(COVERAGE_WEIGHT) * zscore(gained.astype(np.float32))
    second_scores[first] = -np.inf
    seeds = [first, int(np.argmax(second_scores))][: len(base)]
    led_to = search("\n".join(read(place) for place in dict.fromkeys(seeds)))
    scores = base + np.float32(NAMES_WEIGHT) * zscore(led_to)
    rest = [place for place in np.argsort(-scores, kind="stable").tolist() if place not in seeds]
    return [*dict.fromkeys(seeds), *rest]
