"""Recall over rows that are told in a line each: what each signal does to the order, and what no order may break."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.fuse import zscore
from retrieval.passages import key
from retrieval.pipeline import Candidate, Pipeline
from retrieval.plan import plan
from retrieval.ports import VectorChange
from retrieval.relevance import FEATURES
from retrieval.vector_memory import InMemoryVectorIndex
from retrieval.weights import SIGNALS, PipelineSettings, Weights
from tests.retrieval.corpora import NOW, UNIT, AxisEncoder, Row, World, at, codes, memories

NOTHING = Weights(feedback=0)
QUERY = "dog park"


def settings(weights: Weights, **other: Any) -> PipelineSettings:
    """The same weights for every kind of memory, and nothing that reorders them."""
    plain = PipelineSettings(people=weights, assistant=weights, documents=weights, hops=False, distinct=False)
    return replace(plain, **other)


def search(
    world: World, how: PipelineSettings = PipelineSettings(), limit: int = 10, query: str = QUERY
) -> list[Candidate]:
    return Pipeline(AxisEncoder(), world.index(), how).search("n", plan(query, NOW), world.corpus(), limit)


def order(found: Sequence[Candidate]) -> list[int]:
    return [candidate.row for candidate in found]


YESTERDAY, LONG_AGO = NOW - timedelta(days=1), NOW - timedelta(days=60)
# What raises a row: its signal, the row, the others, the query, the signal's value for it and for the others.
HIGH, LOW = 2**0.5, -(2**-0.5)
RAISED = [
    ("late", Row(angle=0, heard="dog park"), Row(angle=0, heard="cat"), QUERY, HIGH, LOW),
    ("dense", Row(angle=10), Row(angle=80), QUERY, HIGH, LOW),
    ("lexical", Row("a dog"), Row("a cat"), QUERY, HIGH, LOW),
    ("speaker", Row(speaker="Ann"), Row(speaker="Bob"), "what did Ann say?", 1, 0),
    ("speaker", Row(speaker="Ann"), Row(speaker="Bob"), "what did Ann say to Bob?", 1 / 3, 0),
    ("date", Row(said=YESTERDAY), Row(said=LONG_AGO), "what happened yesterday?", 1, 0),
    ("answer", Row("in Lisbon"), Row("a lamp"), "where?", 2 / 3, -1 / 3),
    ("standing", Row("Always use tabs."), Row("a lamp"), QUERY, 1, 0),
    ("question", Row("a lamp"), Row("a lamp?"), QUERY, 0, -1),
    ("agreement", Row("a lamp"), Row("yes, a lamp"), QUERY, 0, -1),
    ("noise", Row(), Row(noise=True), QUERY, 0, -1),
    ("reply", Row(), Row(reply=True), QUERY, 0, -1),
    ("length", Row("a lamp and a cup"), Row("a lamp"), QUERY, np.log(6), np.log(3)),
]


@pytest.mark.parametrize(("signal", "raised", "plain", "query", "high", "low"), RAISED)
def test_a_signal_raises_its_row_and_of_weight_0_it_does_not(
    signal: str, raised: Row, plain: Row, query: str, high: float, low: float
) -> None:
    if query.endswith("Bob?"):
        plain = Row(speaker="Eve")
    rows = memories(plain, plain, raised)
    if query.endswith("Bob?"):
        rows = rows | {key(4): Row(speaker="Bob")}
    found = search(World(rows), settings(replace(NOTHING, **{signal: 2.0})), 3, query)
    assert order(found) == [3, 1, 2]
    assert [candidate.signals[signal] for candidate in found] == pytest.approx([high, low, low], abs=1e-4)
    without = search(World(rows), settings(NOTHING), 3, query)
    assert order(without) == [1, 2, 3]
    assert [candidate.score for candidate in without] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("signal", "raised", "plain", "query"),
    [each[:4] for each in RAISED if each[0] in ("dense", "lexical", "standing")]
    + [("late", Row(angle=10), Row(angle=80), QUERY)]
    + [("date", Row(said=YESTERDAY), Row(said=LONG_AGO), "what happened yesterday?")]
    + [("speaker", Row(speaker="Ann"), Row(speaker="Bob"), "what did Ann say?")],
)
def test_a_signal_of_all_rows_brings_its_row_into_the_pool(signal: str, raised: Row, plain: Row, query: str) -> None:
    world = World(memories(plain, plain, raised))
    assert order(search(world, settings(replace(NOTHING, **{signal: 2.0}), pool_rows=1), 1, query)) == [3]
    assert order(search(world, settings(NOTHING, pool_rows=1), 1, query)) == [1]


def test_what_follows_a_question_is_raised_by_previous() -> None:
    turns = [Row("a lamp?", session=1, turn=0), Row(session=1, turn=1, angle=0, heard="dog park")]
    rows = memories(Row(angle=0, heard="dog park"), Row(angle=0, heard="cat"), *turns)
    assert order(search(World(rows), settings(replace(NOTHING, previous=1.0)))) == [4, 1, 2, 3]
    assert order(search(World(rows), settings(NOTHING))) == [1, 2, 3, 4]


def test_what_is_answered_with_what_is_asked_for_is_raised_by_exchange() -> None:
    turns = [
        Row(session=1, turn=turn, angle=0, heard=words, reply=turn % 2 == 1)
        for turn, words in enumerate(["film", "cat", "film", "dog park"])
    ]
    assert order(search(World(memories(*turns)), settings(replace(NOTHING, exchange=1.0)))) == [3, 2, 4, 1]
    assert order(search(World(memories(*turns)), settings(NOTHING))) == [1, 2, 3, 4]


def test_the_best_row_of_a_session_raises_the_others() -> None:
    rows = memories(Row(), Row("a dog", session=5), Row(), Row(session=5))
    found = search(World(rows), settings(replace(NOTHING, lexical=1.0, session=0.5)))
    assert order(found) == [2, 4, 1, 3]
    assert {c.row: c.signals["session"] for c in found} == {2: 1.0, 4: 1.0, 1: -1.0, 3: -1.0}
    assert order(search(World(rows), settings(replace(NOTHING, lexical=1.0)))) == [2, 1, 3, 4]


angles = st.sampled_from([None, 0.0, 20.0, 45.0, 90.0, 150.0])
heard = st.sampled_from(["dog", "park", "cat", "dog park", ""])
plain_rows = st.builds(
    Row,
    text=st.sampled_from(["a dog", "the park", "dog dog park", "a cat", "yes", "what?", "Always!", "in Lisbon"]),
    angle=angles,
    heard=heard,
    fresh=st.none() | st.tuples(st.sampled_from([0.0, 60.0]), heard),
    speaker=st.sampled_from([None, "Ann", "Bob"]),
    session=st.sampled_from([None, 1, 2]),
    said=st.sampled_from([None, YESTERDAY, LONG_AGO]),
    turn=st.integers(0, 3),
    reply=st.booleans(),
)
worlds = st.lists(plain_rows, min_size=1, max_size=10).map(lambda rows: memories(*rows))
weightings = st.builds(Weights, **{name: st.sampled_from([0.0, 0.5, 2.0]) for name in SIGNALS})
queries = st.sampled_from(["Where did Ann go with the dog yesterday?", "dog park", "When did Bob and Ann meet?", ""])


@given(worlds, weightings, queries)
def test_a_score_is_the_stated_sum(rows: dict[int, Row], weights: Weights, query: str) -> None:
    nudges = {1: 0.5, 2: -0.75}
    found = search(World(rows, nudges), settings(weights), len(rows), query)
    assert sorted(order(found)) == list(range(1, len(rows) + 1))
    signals = {name: np.array([c.signals[name] for c in found], dtype=np.float64) for name in SIGNALS}
    own = {name: weight for name, weight in asdict(weights).items() if name not in ("previous", "session", "feedback")}
    total = sum(weight * signals[name] for name, weight in own.items())
    if np.ptp(total) < 0.01:
        return
    alone = zscore(total) + weights.previous * signals["previous"]
    wanted = zscore(alone) + weights.session * signals["session"] + weights.feedback * signals["feedback"]
    assert [c.score for c in found] == pytest.approx(wanted.tolist(), abs=0.02)
    assert signals["feedback"].tolist() == [nudges.get(c.row, 0.0) for c in found]


@given(worlds, queries, st.integers(1, 12), st.integers(1, 4), st.booleans())
def test_what_no_order_may_break(rows: dict[int, Row], query: str, limit: int, pool_rows: int, documents: bool) -> None:
    world = World({each: replace(row, document=documents) for each, row in rows.items()})
    found = search(world, PipelineSettings(pool_rows=pool_rows), limit, query)
    assert len(set(order(found))) == len(found) == min(limit, len(rows))
    scores = [candidate.score for candidate in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= candidate.relevance <= 1 for candidate in found)
    assert np.isfinite(scores).all()


@given(worlds, queries, st.randoms(use_true_random=False))
def test_the_order_in_which_rows_were_written_changes_nothing(rows: dict[int, Row], query: str, random: Random) -> None:
    world, written = World(rows), list(rows)
    random.shuffle(written)
    pipeline = Pipeline(AxisEncoder(), world.index(written))
    mixed = replace(world, rows={each: rows[each] for each in written})
    assert pipeline.search("n", plan(query, NOW), mixed.corpus(written), 10) == search(world, limit=10, query=query)


def test_nothing_to_search_finds_nothing_and_one_row_is_found() -> None:
    assert search(World({})) == []
    (only,) = search(World(memories(Row())))
    assert (only.row, only.score, only.passage) == (1, 0.0, None)


def test_rows_without_vectors_and_codes_are_found_by_their_words() -> None:
    rows = memories(*[Row(angle=90, heard="cat")] * 3, Row("the dog in the park"))
    found = search(World(rows))
    assert order(found)[0] == 4
    assert (found[0].signals["dense"], found[0].features["cosine"], found[0].features["late"]) == (0.0, 0.0, 0.0)
    assert order(search(World(memories(*[Row()] * 3)))) == [1, 2, 3]


def test_a_fresh_vector_takes_the_place_of_a_stale_one() -> None:
    world = World(memories(Row(angle=45), Row(angle=90, fresh=(0, "dog park"))))
    found = search(world, settings(replace(NOTHING, dense=1.0)))
    assert [(c.row, c.features["cosine"], c.features["late"]) for c in found] == [
        (2, 1.0, pytest.approx(UNIT)),
        (1, pytest.approx(0.5**0.5), 0.0),
    ]


def test_a_row_of_the_index_that_may_not_be_seen_changes_nothing() -> None:
    world = World({key(2): Row("dog", angle=50), key(4): Row(angle=10)})
    index = world.index()
    index.apply("n", [VectorChange(key(row), 1, b"12345678", at(0), codes("dog park")) for row in (1, 3, 9)])
    seen = Pipeline(AxisEncoder(), index).search("n", plan(QUERY, NOW), world.corpus(), 10)
    assert seen == search(world)


def document(passages: int) -> dict[int, Row]:
    """Memory 1: a document of so many passages; the middle one is the nearest."""
    return {
        key(1, number): Row(angle=40 * (number != passages // 2), document=True, passage=(number, number + 1))
        for number in range(passages)
    }


def test_a_memory_comes_once_by_its_best_passage() -> None:
    world = World(document(5) | {key(2): Row(angle=20, document=True)})
    found = search(world, settings(replace(NOTHING, dense=1.0)))
    assert [(c.row, c.passage) for c in found] == [(1, (2, 3)), (2, None)]


def test_memories_that_the_pool_has_no_passage_of_follow_with_theirs() -> None:
    others = {key(row): Row(angle=60 + row, document=True) for row in (2, 3, 4)}
    fifth = {key(5, 0): Row(angle=150, document=True, passage=(0, 9)), key(5, 1): Row(angle=70, passage=(9, 12))}
    world = World(document(20) | others | fifth)
    found = search(world, settings(replace(NOTHING, dense=1.0), pool_rows=4), 4)
    assert [(c.row, c.passage) for c in found] == [(1, (10, 11)), (2, None), (3, None), (4, None)]
    every = search(world, settings(replace(NOTHING, dense=1.0), pool_rows=4), 9)
    assert [(c.row, c.passage) for c in every] == [(1, (10, 11)), (2, None), (3, None), (4, None), (5, (9, 12))]
    assert [c.score for c in every] == sorted((c.score for c in every), reverse=True)
    assert {key(row) for row in (2, 3, 4)} | {key(5, 1)} <= set(world.described)


def test_only_what_is_given_or_tells_a_time_is_described() -> None:
    world = World({key(row): Row("dog" if row == 50 else "cat") for row in range(1, 101)})
    found = search(world, settings(replace(NOTHING, lexical=1.0), pool_rows=7), 3)
    assert (order(found), world.described) == ([50, 1, 2], [key(50), key(1), key(2)])
    world = World(memories(Row("last week"), Row("a lamp"), Row("in May")))
    search(world, settings(replace(NOTHING, date=1.0)), 1, "what happened yesterday?")
    assert world.described == [key(1), key(3), key(1)]


def test_ten_thousand_identical_rows_come_oldest_first_and_fast() -> None:
    rows = {key(row): Row("a dog in the park") for row in range(1, 10_001)}
    world = World(rows)
    vector = np.random.default_rng(1).normal(size=16).astype(np.float32)
    vector /= np.linalg.norm(vector)
    index = InMemoryVectorIndex(16)
    index.apply("n", [VectorChange(each, 1, b"12345678", vector, codes("dog park")) for each in rows])
    corpus, asked = world.corpus(), plan(QUERY, NOW)
    started = time.perf_counter()
    found = Pipeline(AxisEncoder(), index).search("n", asked, corpus, 100)
    assert time.perf_counter() - started < 2.0
    assert order(found) == list(range(1, 101))
    assert {candidate.score for candidate in found} == {0.0}


def test_near_duplicates_are_behind_and_present() -> None:
    texts = ["I weigh 80 kg", "I weigh 80 kg.", "I weigh 82 kg", "the dog", "I weigh 80 kg!"]
    world = World(memories(*(Row(text, angle=10 * number) for number, text in enumerate(texts))))
    how = settings(replace(NOTHING, dense=1.0), distinct=True)
    assert order(search(world, how, 5)) == [1, 3, 4, 2, 5]
    assert order(search(world, how, 2)) == [1, 3]
    scores = [candidate.score for candidate in search(world, how, 5)]
    assert scores[2] == scores[3] > scores[4]
    assert order(search(world, settings(replace(NOTHING, dense=1.0)), 5)) == [1, 2, 3, 4, 5]


def test_votes_move_their_row_by_their_weight_and_no_other_one() -> None:
    rows = memories(*(Row(text, angle=angle) for text, angle in (("dog", 10), ("cat", 20), ("dog", 30), ("cat", 80))))
    weights = replace(NOTHING, dense=1.0, lexical=0.4, session=0.5)
    plain = {candidate.row: candidate for candidate in search(World(rows), settings(weights))}
    nudges = {2: 0.75, 3: -0.5, 99: 1.0}
    for weight in (1.0, 2.0, 0.0):
        voted = search(World(rows, nudges), settings(replace(weights, feedback=weight)))
        for candidate in voted:
            nudge = nudges.get(candidate.row, 0.0)
            assert candidate.score == pytest.approx(plain[candidate.row].score + weight * nudge, abs=1e-6)
            assert candidate.signals == {**plain[candidate.row].signals, "feedback": nudge}
            assert candidate.relevance == plain[candidate.row].relevance


def test_documents_that_complete_the_first_are_brought_forward_and_turns_are_not() -> None:
    texts = ["Jaws was made by director Steven Spielberg.", "A director of a bank.", "A cup.", "Spielberg in Ohio."]
    rows = [Row(text, angle=angle, document=True) for text, angle in zip(texts, (0, 30, 40, 41), strict=True)]
    weights = replace(NOTHING, dense=1.0)
    query = "director of Jaws"
    assert order(search(World(memories(*rows)), settings(weights), query=query)) == [1, 2, 3, 4]
    assert order(search(World(memories(*rows)), settings(weights, hops=True), query=query)) == [1, 2, 4, 3]
    turns = World(memories(*(replace(row, document=False) for row in rows)))
    assert order(search(turns, settings(weights, hops=True), query=query)) == [1, 2, 3, 4]


def test_each_kind_of_memory_has_its_own_weights() -> None:
    rows = [Row("a dog", angle=90), Row(angle=0)]
    how = settings(NOTHING)
    how = replace(how, people=replace(NOTHING, lexical=1.0), documents=replace(NOTHING, dense=1.0))
    assert order(search(World(memories(*(replace(row, speaker="Ann") for row in rows))), how)) == [1, 2]
    assert order(search(World(memories(*(replace(row, document=True) for row in rows))), how)) == [2, 1]
    assert [candidate.score for candidate in search(World(memories(*rows)), how)] == [0.0, 0.0]


def test_relevance_is_read_from_raw_similarities() -> None:
    rows = memories(Row("the dog park", angle=0, heard="dog park"), Row(angle=90, heard="cat"))
    first, second = search(World(rows))
    assert tuple(first.features) == FEATURES
    assert first.features["late"] == pytest.approx(UNIT)
    assert (first.features["cosine"], second.features["cosine"]) == pytest.approx((1.0, 0.0), abs=1e-6)
    assert second.features["lexical"] == 0.0
    assert first.features["lexical"] == pytest.approx(1 / (1 + 0.9 * (0.6 + 0.4 * 3 / 2)))
    assert first.relevance > 0.5 > second.relevance


def test_others_who_match_better_than_the_one_named_make_all_less_relevant() -> None:
    rows = [Row(angle=0, heard="dog park", speaker="Bob"), Row(angle=0, heard="cat", speaker="Ann")]
    named = search(World(memories(*rows)), query="dog park Ann")
    assert [candidate.features["conflict"] for candidate in named] == pytest.approx([2 * UNIT] * 2)
    assert [candidate.features["conflict"] for candidate in search(World(memories(*rows)))] == [0.0, 0.0]


def test_the_encoder_is_asked_in_the_first_person_and_full_text_without_names() -> None:
    world = World(memories(Row("Ann", speaker="Ann"), Row("a job", speaker="Ann")))
    encoder = AxisEncoder()
    for first_person in (True, False):
        how = settings(NOTHING, first_person=first_person)
        Pipeline(encoder, world.index(), how).search("n", plan("What is Ann's job?", NOW), world.corpus(), 1)
    assert encoder.asked == ["What is my job?", "What is Ann's job?"]
    lexical = replace(NOTHING, lexical=1.0)
    assert order(search(world, settings(lexical), query="What is Ann's job?")) == [2, 1]
    assert order(search(world, settings(lexical, names_out=False), query="Ann's Ann job?")) == [1, 2]
