"""Recall over given vectors and texts, compared by value with the sum that its docstring states."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.analysis import terms
from retrieval.lexical_memory import InMemoryLexicalIndex
from retrieval.pipeline import SIGNALS, Candidate, Corpus, Pipeline, PipelineSettings, RowText
from retrieval.plan import plan
from retrieval.ports import Floats, TokenVectors, VectorChange
from retrieval.rerank import IdentityReranker
from retrieval.vector_memory import InMemoryVectorIndex

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
QUERY = "dog in the park"
PLAIN = PipelineSettings(
    dense=1.0, lexical=0.4, speaker=0, date=0, session=0, relevance_bias=-6, relevance_cosine=8, relevance_lexical=4
)


def at(degrees: float) -> Floats:
    """The unit vector at this angle from the query's."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], dtype=np.float32)


class OneQuery:
    """Encodes every text as the vector at 0 degrees, and remembers what it was asked."""

    name = fingerprint = "stub"
    dimensions = 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Floats:
        self.asked += texts
        return np.stack([at(0)] * len(texts))

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        raise NotImplementedError

    def count_tokens(self, text: str) -> int:
        raise NotImplementedError


@dataclass
class World:
    """Rows by number: a text, an angle in the index (None: not there), a fresh angle, speaker, session, time."""

    texts: dict[int, str]
    angles: dict[int, float] = field(default_factory=dict)
    fresh: dict[int, float] = field(default_factory=dict)
    speakers: dict[int, str] = field(default_factory=dict)
    sessions: dict[int, str] = field(default_factory=dict)
    times: dict[int, datetime] = field(default_factory=dict)
    described: list[int] = field(default_factory=list)

    def corpus(self) -> Corpus:
        rows = sorted(self.texts)
        lexical = InMemoryLexicalIndex()
        for row in rows:
            lexical.add("n", row, terms(self.texts[row]))

        def describe(wanted: Sequence[int]) -> list[RowText]:
            self.described += wanted
            return [RowText(self.texts[row], self.times.get(row), self.sessions.get(row)) for row in wanted]

        return Corpus(
            np.array(rows, dtype=np.int64),
            np.array([len(terms(self.texts[row])) for row in rows], dtype=np.int32),
            [self.speakers.get(row) for row in rows],
            lexical,
            {row: at(angle) for row, angle in self.fresh.items()},
            describe,
        )

    def search(
        self, limit: int = 10, settings: PipelineSettings = PLAIN, query: str = QUERY, encoder: OneQuery | None = None
    ) -> list[Candidate]:
        index = InMemoryVectorIndex(2)
        index.apply("n", [VectorChange(row, 1, b"12345678", at(angle)) for row, angle in self.angles.items()])
        pipeline = Pipeline(encoder or OneQuery(), index, IdentityReranker(), settings)
        return pipeline.search("n", plan(query, NOW), self.corpus(), limit)


def order(found: Sequence[Candidate]) -> list[int]:
    return [candidate.row for candidate in found]


def standard(values: dict[int, float]) -> dict[int, float]:
    numbers = np.array(list(values.values()))
    if not len(numbers) or np.ptp(numbers) == 0:
        return dict.fromkeys(values, 0.0)
    return {row: float((value - numbers.mean()) / numbers.std()) for row, value in values.items()}


worlds = st.integers(1, 12).flatmap(
    lambda count: st.builds(
        World,
        texts=st.fixed_dictionaries(
            {row: st.sampled_from(["a dog", "the park", "dog dog park", "cat", "?"]) for row in range(3, 3 + count)}
        ),
        angles=st.dictionaries(st.integers(1, 20), st.integers(0, 18).map(lambda n: n * 10.0)),
        fresh=st.dictionaries(st.integers(3, 2 + count), st.integers(0, 18).map(lambda n: n * 10.0), max_size=3),
        speakers=st.dictionaries(st.integers(3, 2 + count), st.sampled_from(["Ann", "Bob"])),
        sessions=st.dictionaries(st.integers(3, 2 + count), st.sampled_from(["s", "t"])),
    )
)


@given(world=worlds, limit=st.integers(1, 15), speaker=st.sampled_from([0.0, 1.5]), session=st.sampled_from([0.0, 0.5]))
def test_a_score_is_the_stated_sum(world: World, limit: int, speaker: float, session: float) -> None:
    settings = replace(PLAIN, speaker=speaker, session=session)
    query = f"Ann's {QUERY}"
    found = world.search(limit, settings, query)
    rows = sorted(world.texts)
    angles = {row: angle for row, angle in (world.angles | world.fresh).items() if row in world.texts}
    cosines = {row: float(at(angle)[0]) for row, angle in angles.items()}
    corpus = world.corpus()
    hits = corpus.lexical.search("n", plan(query, NOW).terms, 99, corpus.rows, corpus.lengths)
    bm25 = dict.fromkeys(rows, 0.0) | dict(zip(hits.rows.tolist(), hits.scores.tolist(), strict=True))
    dense, lexical = standard(cosines), standard(bm25)
    turn = {
        row: dense.get(row, 0.0) + 0.4 * lexical[row] + speaker * (world.speakers.get(row) == "Ann") for row in rows
    }
    most = {s: max(turn[row] for row in rows if world.sessions.get(row) == s) for s in world.sessions.values() if s}
    wanted = {row: turn[row] + session * most.get(world.sessions.get(row, ""), turn[row]) for row in rows}
    assert len(found) == min(limit, len(rows))
    assert [c.score for c in found] == pytest.approx(sorted(wanted.values(), reverse=True)[:limit], abs=1e-4)
    for candidate in found:
        assert candidate.score == pytest.approx(wanted[candidate.row], abs=1e-4)
        logit = -6.0 + 8.0 * cosines.get(candidate.row, 0.0) + 4.0 * bm25[candidate.row] / max(hits.ceiling, 1e-9)
        assert candidate.relevance == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)
        assert candidate.signals["dense"] == pytest.approx(dense.get(candidate.row, 0.0), abs=1e-3)
        assert candidate.signals["lexical"] == pytest.approx(lexical[candidate.row], abs=1e-3)
        assert tuple(candidate.signals) == SIGNALS
    pairs = [(-candidate.score, candidate.row) for candidate in found]
    assert pairs == sorted(pairs)


def test_nothing_to_search_finds_nothing() -> None:
    assert World({}).search() == []


def test_every_row_is_given_when_so_many_are_asked_for() -> None:
    world = World(dict.fromkeys(range(1, 301), "cat"), dict.fromkeys(range(1, 301, 2), 90.0))
    assert len(world.search(limit=100)) == 100
    assert order(world.search(limit=300)) == order(world.search(limit=1000))
    assert sorted(order(world.search(limit=300))) == list(range(1, 301))


def test_equal_rows_come_oldest_first() -> None:
    assert order(World(dict.fromkeys([9, 4, 7], "dog"), dict.fromkeys([4, 7, 9], 30.0)).search()) == [4, 7, 9]
    assert order(World(dict.fromkeys([9, 4, 7], "dog")).search()) == [4, 7, 9]


def test_a_row_without_a_vector_stands_at_the_mean() -> None:
    world = World(dict.fromkeys([1, 2, 3], "cat"), {1: 0.0, 2: 90.0})
    assert {c.row: c.score for c in world.search()} == {1: 1.0, 2: -1.0, 3: 0.0}


def test_a_fresh_vector_counts_and_takes_the_place_of_a_stale_one() -> None:
    world = World(dict.fromkeys([1, 2], "cat"), {1: 90.0, 2: 45.0}, fresh={1: 0.0})
    assert order(world.search()) == [1, 2]
    assert world.search()[0].relevance == pytest.approx(1 / (1 + np.exp(-2.0)), abs=1e-4)


def test_a_row_of_the_index_that_may_not_be_seen_changes_nothing() -> None:
    seen = World({2: "dog", 4: "cat"}, {2: 50.0, 4: 10.0})
    more = replace(seen, angles={**seen.angles, 1: 0.0, 3: 0.0, 9: 180.0})
    assert seen.search() == more.search()


def test_a_signal_of_weight_0_is_not_looked_up() -> None:
    world = World({1: "dog", 2: "cat"}, {1: 90.0, 2: 0.0})
    assert order(world.search(settings=replace(PLAIN, dense=0.0))) == [1, 2]
    assert order(world.search(settings=replace(PLAIN, lexical=0.0))) == [2, 1]


def test_only_the_pool_is_described_and_it_holds_the_limit() -> None:
    world = World({row: "dog" if row == 50 else "cat" for row in range(1, 101)})
    found = world.search(limit=3, settings=replace(PLAIN, pool_rows=7))
    assert (order(found), world.described) == ([50, 1, 2], [50, 1, 2, 3, 4, 5, 6])
    world.described.clear()
    assert len(world.search(limit=20, settings=replace(PLAIN, pool_rows=7))) == len(world.described) == 20


def test_the_one_speaker_that_is_named_counts_and_of_two_neither() -> None:
    world = World(dict.fromkeys([1, 2, 3], "cat"), speakers={2: "Ann", 3: "Bob"})
    settings = replace(PLAIN, speaker=2.0)
    assert [(c.row, c.score) for c in world.search(1, settings, "what did Ann say?")] == [(2, 2.0)]
    assert [c.score for c in world.search(3, settings, "did Ann meet Bob?")] == [0.0, 0.0, 0.0]
    assert [c.score for c in world.search(3, settings, "what did Zoe say?")] == [0.0, 0.0, 0.0]


def test_a_date_in_the_query_finds_what_happened_then_or_tells_of_it() -> None:
    world = World(
        {1: "cat", 2: "cat", 3: "I went there last week"},
        times={1: NOW - timedelta(days=60), 2: NOW - timedelta(days=1), 3: NOW - timedelta(days=53)},
    )
    settings = replace(PLAIN, date=2.0)
    assert order(world.search(1, settings, "what happened yesterday?")) == [2]
    found = {c.row: c.signals["date"] for c in world.search(3, settings, "what happened on 13 January 2026?")}
    assert found[1] == 1.0
    assert found[3] > found[2] == 0.0


def test_the_encoder_is_asked_in_the_first_person_where_a_speaker_is_named() -> None:
    world = World({1: "cat"}, speakers={1: "Ann"})
    encoder = OneQuery()
    world.search(1, replace(PLAIN, first_person=True), "What is Ann's job?", encoder)
    world.search(1, replace(PLAIN, first_person=False), "What is Ann's job?", encoder)
    assert encoder.asked == ["What is my job?", "What is Ann's job?"]


def test_a_reranker_has_the_last_word_and_equal_scores_stay_by_row() -> None:
    class Longest:
        def rerank(self, query: str, texts: Sequence[str], scores: Floats) -> Floats:
            assert (query, len(texts)) == (QUERY, len(scores))
            return np.array([len(text) for text in texts], dtype=np.float32)

    world = World({1: "dog", 2: "long cat", 3: "dog dog", 4: "even more"})
    pipeline = Pipeline(OneQuery(), InMemoryVectorIndex(2), Longest(), PLAIN)
    found = pipeline.search("n", plan(QUERY, NOW), world.corpus(), 4)
    assert [(c.row, c.score) for c in found] == [(4, 9.0), (2, 8.0), (3, 7.0), (1, 3.0)]
