"""What stands is a function of the set of statements: any order and any grouping of their arrival gives the same."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.facts import Interval, Settled, Statement, Triple
from memory.merge import add_digest, confirm_digest, link_digest, settle, supersede_digest
from memory.model import Deriver, Memory
from memory.reconcile import Ground, reconcile
from recalld.core.scope import Scope
from tests.conftest import NOW, SerialIds

HOME, TASTE = "lives in", "likes"


def say(day: int, object_: str, predicate: str = HOME, **fields: Any) -> Statement:
    """What is said `day` days after `NOW`, by a source of its own."""
    triple = Triple("user", predicate, object_, fields.pop("negated", False))
    since = fields.pop("since", None)
    moment = None if since is None else NOW + timedelta(days=since)
    return Statement(
        triple,
        f"user {predicate} {object_}",
        f"mem_{day:03d}",
        NOW + timedelta(days=day),
        (day, 0),
        (0, 10),
        "test/1",
        valid_from=None if moment is None else Interval(moment, moment + timedelta(days=1), "day"),
        **fields,
    )


def told(settled: Settled) -> set[tuple[str, str, bool, int, int | None, tuple[str, ...]]]:
    """Each fact: predicate, object, negated, days from and to, sources."""
    return {
        (
            fact.triple.predicate,
            fact.triple.object,
            fact.triple.negated,
            (fact.valid_from - NOW).days,
            None if fact.valid_to is None else (fact.valid_to - NOW).days,
            fact.sources,
        )
        for fact in settled.facts
    }


def test_a_slot_of_one_value_closes_the_old_when_the_new_begins() -> None:
    settled = settle([say(1, "Porto"), say(9, "Lisbon", since=4)])
    assert told(settled) == {
        (HOME, "Porto", False, 1, 4, ("mem_001",)),
        (HOME, "Lisbon", False, 4, None, ("mem_009",)),
    }
    assert settled.facts[0].closed_by == Triple("user", HOME, "Lisbon")
    assert settled.links == ()


def test_a_value_told_more_fully_is_the_same_value() -> None:
    settled = settle([say(1, "Lisbon"), say(2, "Lisbon, Portugal")])
    assert told(settled) == {(HOME, "Lisbon", False, 1, None, ("mem_001", "mem_002"))}


def test_a_value_of_the_past_that_is_told_late_does_not_close_the_present_one() -> None:
    settled = settle([say(9, "Lisbon", since=5), say(12, "Porto", since=1)])
    assert told(settled) == {
        (HOME, "Porto", False, 1, 5, ("mem_012",)),
        (HOME, "Lisbon", False, 5, None, ("mem_009",)),
    }


def test_what_is_not_sure_stays_beside_with_a_link() -> None:
    settled = settle([say(1, "Porto"), say(2, "a small town", confidence=0.8)])
    assert {fact.valid_to for fact in settled.facts} == {None}
    (link,) = settled.links
    assert (link.kind, link.newer.object, link.older.object) == ("possibly_supersedes", "a small town", "Porto")


def test_other_predicates_hold_many_values_and_a_denial_is_a_conflict() -> None:
    settled = settle([say(1, "tea", TASTE), say(2, "coffee", TASTE), say(3, "The tea.", TASTE, negated=True)])
    assert len(settled.facts) == 3
    (link,) = settled.links
    assert (link.kind, link.newer.negated, link.older.negated) == ("conflict", True, False)


def test_from_a_to_b_closes_a_and_no_longer_closes_what_it_says() -> None:
    budget = [say(1, "$5", "budget"), say(2, "$6", "budget", replaces="$5", unique=True)]
    assert told(settle(budget)) == {
        ("budget", "$5", False, 1, 2, ("mem_001",)),
        ("budget", "$6", False, 2, None, ("mem_002",)),
    }
    taste = settle([say(1, "tea", TASTE), say(5, "tea", TASTE, ended=True)])
    assert told(taste) == {(TASTE, "tea", False, 1, 5, ("mem_001", "mem_005"))}


def test_values_of_what_is_spoken_of_as_one_thing_are_linked_and_stay() -> None:
    settled = settle([say(day, value, "budget", unique=True) for day, value in ((1, "$5"), (2, "$6"), (3, "$7"))])
    assert [(link.newer.object, link.older.object) for link in settled.links] == [("$6", "$5"), ("$7", "$6")]
    assert all(fact.valid_to is None for fact in settled.facts)


@pytest.mark.parametrize(
    ("undone", "left"),
    [
        (supersede_digest(Triple("user", HOME, "Porto"), Triple("user", HOME, "Lisbon")), {"Porto", "Lisbon"}),
        (add_digest(Triple("user", HOME, "Lisbon")), {"Porto"}),
        (confirm_digest(Triple("user", HOME, "Lisbon"), "mem_002"), {"Porto"}),
    ],
)
def test_what_was_undone_is_not_decided_again(undone: str, left: set[str]) -> None:
    settled = settle([say(1, "Porto"), say(2, "Lisbon")], lambda digest: digest == undone)
    assert {fact.triple.object for fact in settled.facts if fact.valid_to is None} == left


def test_an_undone_link_is_not_made_again() -> None:
    said = [say(1, "tea", TASTE), say(3, "tea", TASTE, negated=True)]
    (link,) = settle(said).links
    undone = link_digest(link.kind, link.newer, link.older)
    assert settle(said, lambda digest: digest == undone).links == ()


STATEMENTS = st.builds(
    lambda day, value, predicate, more: say(day, value, predicate, **more),
    st.integers(0, 30),
    st.sampled_from(["Porto", "Lisbon", "Faro", "Porto, Portugal"]),
    st.sampled_from([HOME, TASTE, "budget"]),
    st.fixed_dictionaries(
        {},
        optional={
            "negated": st.booleans(),
            "ended": st.booleans(),
            "unique": st.booleans(),
            "since": st.integers(0, 30),
            "confidence": st.sampled_from([0.8, 0.95]),
            "replaces": st.sampled_from(["Porto", "Faro"]),
        },
    ),
)


@given(st.lists(STATEMENTS, max_size=12).flatmap(lambda said: st.tuples(st.just(said), st.permutations(said))))
def test_any_order_gives_the_same_facts_and_links(orders: tuple[list[Statement], list[Statement]]) -> None:
    one, other = (settle(order) for order in orders)
    assert told(one) == told(other)
    assert set(one.links) == set(other.links)


@given(st.lists(STATEMENTS, max_size=12))
def test_every_statement_stands_in_a_fact_and_nothing_ends_before_it_begins(said: list[Statement]) -> None:
    settled = settle(said)
    assert {each for fact in settled.facts for each in fact.statements} == set(said)
    assert all(fact.valid_to is None or fact.valid_to >= fact.valid_from for fact in settled.facts)


def test_what_is_read_twice_at_one_place_stands_in_one_order() -> None:
    alike = [say(1, "tea", TASTE, confidence=0.5 + number / 20) for number in range(10)]
    (fact,) = settle(alike).facts
    assert fact.statements == tuple(sorted(alike, key=repr))


GROUND = Ground("default", Scope("alice"), Deriver("facts", "1"))


def applied(stored: list[Memory], said: list[Statement], ids: SerialIds) -> list[Memory]:
    """What is stored after all that was said is reconciled with it."""
    decided = reconcile(settle(said), stored, GROUND, NOW, lambda: ids.new("mem"))
    by_id = {memory.id: memory for memory in stored}
    for one in decided:
        if one.memory is not None:
            by_id[one.memory.id] = replace(one.memory, row=by_id.get(one.memory.id, one.memory).row or len(by_id) + 1)
    return list(by_id.values())


def shown(stored: list[Memory]) -> set[tuple[Any, ...]]:
    """What the stored facts say, but for their ids and versions."""
    standing = [memory for memory in stored if memory.state == "active" or memory.valid_to is not None]
    return {
        (each.item.text, (each.item.frame or {})["negated"], each.state, each.valid_from, each.valid_to, each.sources)
        for each in standing
    }


@given(st.lists(STATEMENTS, min_size=1, max_size=10), st.lists(st.integers(0, 9), max_size=4), st.randoms())
def test_any_batches_in_any_order_leave_the_same_in_the_store(
    said: list[Statement], cuts: list[int], random: Any
) -> None:
    at_once = applied([], said, SerialIds())
    arriving = list(said)
    random.shuffle(arriving)
    ids, stored = SerialIds(), list[Memory]()
    for end in sorted({*cuts, len(arriving)}):
        stored = applied(stored, arriving[:end], ids)
    assert shown(stored) == shown(at_once)
    assert reconcile(settle(said), stored, GROUND, NOW, lambda: ids.new("mem")) == [
        one
        for one in reconcile(settle(said), stored, GROUND, NOW, lambda: ids.new("mem"))
        if one.action in ("possibly_supersedes", "conflict")
    ]


@pytest.mark.parametrize(
    ("predicate", "less", "more", "same"),
    [
        (HOME, "Lisbon", "Lisbon, Portugal", True),
        (HOME, "York", "New York", False),
        (HOME, "Lisbon", "Lisbon Falls", False),
        (HOME, "Paris, Texas", "Paris, France", False),
        ("works as", "a nurse", "a nurse manager", False),
        ("name", "Ann", "Ann Lee", True),
        ("name", "Lee", "Ann Lee", False),
        ("name", "Jo", "Joanna", False),
        (HOME, "東京", "東京都", False),
    ],
)
def test_only_what_goes_on_behind_the_same_words_is_the_same_value(
    predicate: str, less: str, more: str, same: bool
) -> None:
    for first, second in ((less, more), (more, less)):
        facts = settle([say(1, first, predicate), say(2, second, predicate)]).facts
        assert [fact.sources for fact in facts] == ([("mem_001", "mem_002")] if same else [("mem_001",), ("mem_002",)])


def year(number: int) -> Interval:
    return Interval(datetime(number, 1, 1, tzinfo=UTC), datetime(number + 1, 1, 1, tzinfo=UTC), "year")


def test_what_happened_at_another_time_is_another_fact() -> None:
    ran = partial(say, object_="the marathon", predicate="ran")
    may = Interval(datetime(2019, 5, 1, tzinfo=UTC), datetime(2019, 6, 1, tzinfo=UTC), "month")
    said = [ran(1, time=year(2019)), ran(2, time=year(2021)), ran(3, time=may), ran(4), ran(5, time=year(2021))]
    for order in permutations(said):
        facts = settle(order).facts
        assert [fact.sources for fact in facts] == [("mem_001", "mem_003", "mem_004"), ("mem_002", "mem_005")]
