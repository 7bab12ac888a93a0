"""Questions whose answer is in several documents: the next one is what the first ones lead to.

The first document is the best one. The second is worth more the more it has of the question that the first one has
not. Those two name people, works and places which the question does not know ("the director of ..." is now a name), and
what follows is worth more the more of these names it has, and most of all where it is about one of them: the first name
of a document, all of whose words a document before it has, is an edge from that one to this one. No model is asked.

It is for documents only: in a conversation what belongs together stands together anyway, and jumping costs recall.

Source: the evidence pool of RFM-RAG (Li et al., 2025), with idf coverage in place of its model's feedback.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.analysis import STOP_WORDS, query_terms, terms
from retrieval.fuse import zscore
from retrieval.ports import Floats

COVERAGE_WEIGHT = 0.8
NAMES_WEIGHT = 0.7
SUBJECT_WEIGHT = 2.0
# To the second document there is one edge less to go by.
SECOND_SUBJECT_WEIGHT = 0.7
_SUBJECT_CHARS = 300
_NAME = re.compile(r"[A-Z][\w'’.-]*(?:\s+(?:(?:of|the|de|la|von|van|for|and)\s+)?[A-Z0-9][\w'’.-]*)*")


def names(text: str) -> list[str]:
    """The capitalised phrases of a text, in order, without those that are a stop word at the head of a sentence."""
    return [name for name in _NAME.findall(text) if name.lower() not in STOP_WORDS]


def subject_terms(text: str) -> frozenset[str]:
    """The analysed terms of what a document is about: the first name in its first line."""
    head = text[:_SUBJECT_CHARS].partition("\n")[0]
    return frozenset(query_terms(next(iter(names(head)), "")))


def unknown_name_terms(texts: Sequence[str], query_terms_: Sequence[str]) -> list[str]:
    """The analysed terms of the names in `texts` that the query lacks, once each."""
    known = set(query_terms_)
    found = (term for text in texts for name in names(text) for term in query_terms(name))
    return [term for term in dict.fromkeys(found) if term not in known]


def follow(
    base: Floats,
    holds: NDArray[np.bool_],
    rarity: Floats,
    query_terms_: Sequence[str],
    texts: Sequence[str],
    search: Callable[[Sequence[str]], Floats],
) -> list[int]:
    """The order in which to give candidates.

    Args:
        base: `[N]` their scores, standard scores over the pool.
        holds: `[T, N]` whether a candidate has each term of the query.
        rarity: `[T]` idf of the terms.
        query_terms_: analysed terms of the query.
        texts: `[N]`.
        search: BM25 `[N]` of the candidates for analysed terms.

    Returns:
        all places, best first.
    """
    known = frozenset(query_terms_)
    subjects = [subject_terms(text) for text in texts]

    def about(seeds: Sequence[int]) -> Floats:
        said = {term for seed in seeds for term in terms(texts[seed])}
        return np.array(
            [bool(subject) and subject <= said and not subject <= known for subject in subjects], np.float32
        )

    first = int(np.argmax(base))
    gained = rarity @ (holds & ~holds[:, first : first + 1])
    second_scores = base + np.float32(COVERAGE_WEIGHT) * zscore(gained.astype(np.float32))
    second_scores += np.float32(SECOND_SUBJECT_WEIGHT) * about([first])
    second_scores[first] = -np.inf
    seeds = list(dict.fromkeys([first, int(np.argmax(second_scores))]))
    led_to = search(unknown_name_terms([texts[seed] for seed in seeds], query_terms_))
    scores = base + np.float32(NAMES_WEIGHT) * zscore(led_to) + np.float32(SUBJECT_WEIGHT) * about(seeds)
    rest = [place for place in np.argsort(-scores, kind="stable").tolist() if place not in seeds]
    return [*seeds, *rest]
