"""BM25 against its formula written out, and what the in-memory index counts."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.lexical_memory import COUNT_MAX, BM25Settings, InMemoryLexicalIndex, Postings, hits, idf, score
from retrieval.ports import LexicalHits

texts = st.lists(st.lists(st.sampled_from("abcdef"), max_size=30), max_size=12)


def formula(query: list[str], documents: list[list[str]], settings: BM25Settings) -> list[float]:
    """The score of each document, one term of the query after another."""
    mean = max(sum(map(len, documents)) / max(len(documents), 1), 1.0)
    scores = []
    for document in documents:
        total = 0.0
        for term in query:
            holding = sum(term in other for other in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            count = min(document.count(term), COUNT_MAX)
            norm = settings.k1 * (1 - settings.b + settings.b * len(document) / mean)
            total += idf * count / (count + norm) if count else 0.0
        scores.append(total)
    return scores


def postings(term: str, *frequencies: int, weight: int = 1) -> Postings:
    counts = np.array(frequencies, dtype=np.int64)
    return Postings(term, np.flatnonzero(counts), counts[counts > 0], weight)


def searched(
    index: InMemoryLexicalIndex, documents: dict[int, list[str]], query: list[str], limit: int = 100
) -> LexicalHits:
    rows = np.array(sorted(documents), dtype=np.int64)
    lengths = np.array([len(documents[row]) for row in sorted(documents)], dtype=np.int32)
    return index.search("n", query, limit, rows, lengths)


@given(texts, st.lists(st.sampled_from("abcxyz"), max_size=6), st.floats(0.1, 3), st.floats(0, 1))
def test_search_gives_what_the_formula_gives(documents: list[list[str]], query: list[str], k1: float, b: float) -> None:
    settings = BM25Settings(k1, b)
    index = InMemoryLexicalIndex(settings)
    kept = {3 * number: document for number, document in enumerate(documents)}
    for row, document in kept.items():
        index.add("n", row, document)
    found = searched(index, kept, query)
    rows, scores = found.rows, found.scores
    wanted = {3 * number: value for number, value in enumerate(formula(query, documents, settings)) if value > 0}
    assert dict(zip(rows.tolist(), scores.tolist(), strict=True)) == pytest.approx(wanted, rel=1e-5)
    asked = list(Counter(query))
    assert list(found.terms) == asked
    holding = {term: sum(term in document for document in documents) for term in asked}
    assert found.rarity.tolist() == pytest.approx([idf(len(documents), holding[term]) for term in asked])
    assert found.holds.tolist() == [[term in kept[row] for row in rows.tolist()] for term in asked]
    pairs = list(zip((-scores).tolist(), rows.tolist(), strict=True))
    assert pairs == sorted(pairs)


def test_a_worked_example() -> None:
    """N = 2, df = 1: idf = ln(1 + 1.5 / 1.5) = ln 2; tf 2, length 4 of mean 3: norm = .9 * (.6 + .4 * 4 / 3)."""
    scores = score([postings("dog", 2, 0)], np.array([4, 2], dtype=np.int32)).scores
    assert scores.tolist() == pytest.approx([math.log(2) * 2 / (2 + 0.9 * (0.6 + 0.4 * 4 / 3)), 0.0])
    assert scores.dtype == np.float32


def test_rows_that_are_not_searched_change_no_score() -> None:
    documents = {1: ["dog", "park"], 2: ["dog"], 5: ["cat"]}
    index = InMemoryLexicalIndex()
    for row, document in documents.items():
        index.add("n", row, document)
    before = searched(index, documents, ["dog", "cat"])
    for row in range(10, 40):
        index.add("n", row, ["dog"] * row)
        index.add("other", row - 9, ["cat"])
    after = searched(index, documents, ["dog", "cat"])
    assert (after.rows.tolist(), after.scores.tolist()) == (before.rows.tolist(), before.scores.tolist())
    assert (after.rarity.tolist(), after.holds.tolist()) == (before.rarity.tolist(), before.holds.tolist())


def test_a_row_added_again_or_removed_counts_as_it_is_now() -> None:
    index = InMemoryLexicalIndex()
    index.add("n", 1, ["dog"])
    index.add("n", 2, ["dog"])
    index.add("n", 1, ["cat"])
    assert searched(index, {1: ["cat"], 2: ["dog"]}, ["dog"]).rows.tolist() == [2]
    index.remove("n", 2)
    index.remove("n", 2)
    index.remove("nobody", 2)
    assert searched(index, {1: ["cat"], 2: ["dog"]}, ["dog"]).rows.tolist() == []


def test_equal_scores_come_by_row_and_the_limit_cuts() -> None:
    documents = {row: ["dog"] for row in (9, 4, 7, 1)}
    index = InMemoryLexicalIndex()
    for row, document in documents.items():
        index.add("n", row, document)
    assert searched(index, documents, ["dog"], 3).rows.tolist() == [1, 4, 7]


def test_hits_leave_out_rows_without_any_term_and_say_which_terms_the_others_hold() -> None:
    asked = [postings("dog", 0, 2, 0, 0, weight=3), postings("cat", 0, 0, 0, 0), postings("park", 0, 1, 0, 7)]
    scores = score(asked, np.array([5, 5, 5, 5], dtype=np.int32))
    found = hits(scores, np.array([1, 2, 3, 9]), 3)
    assert (found.rows.tolist(), found.terms) == ([2, 9], ("dog", "cat", "park"))
    assert found.holds.tolist() == [[True, False], [False, False], [True, True]]
    rarity = [math.log(1 + 3.5 / 1.5), math.log(1 + 4.5 / 0.5), math.log(1 + 2.5 / 2.5)]
    assert found.rarity.tolist() == pytest.approx(rarity)
    assert found.ceiling == pytest.approx(sum(rarity))
    assert found.scores.tolist() == pytest.approx([3 * rarity[0] * 2 / 2.9 + rarity[2] / 1.9, rarity[2] * 7 / 7.9])


def test_the_rarity_of_a_term_falls_with_the_rows_that_hold_it_and_stays_above_0() -> None:
    assert idf(10, 0) == pytest.approx(math.log(22))
    values = [idf(10, holding) for holding in range(11)]
    assert values == sorted(values, reverse=True)
    assert values[-1] > 0


@given(texts, st.lists(st.sampled_from("abcxyz"), min_size=1, max_size=6, unique=True))
def test_no_score_of_distinct_terms_reaches_the_ceiling(documents: list[list[str]], query: list[str]) -> None:
    asked = [postings(term, *(document.count(term) for document in documents)) for term in query]
    lengths = np.array([len(document) for document in documents], dtype=np.int32)
    found = score(asked, lengths)
    assert (found.scores < found.ceiling).all()


def test_a_term_counts_up_to_the_maximum() -> None:
    lengths = np.array([50, 50, 50], dtype=np.int32)
    most, more, fewer = score([postings("dog", COUNT_MAX, COUNT_MAX + 9, COUNT_MAX - 1)], lengths).scores
    assert most == more
    assert fewer < most


def test_nothing_searched_gives_nothing() -> None:
    empty = np.zeros(0, dtype=np.int32)
    assert score([postings("dog")], empty).scores.tolist() == []
    assert searched(InMemoryLexicalIndex(), {}, ["dog"]).rows.tolist() == []
    assert searched(InMemoryLexicalIndex(), {1: []}, []).rows.tolist() == []
