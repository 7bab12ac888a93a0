"""A profile is what stands of a person: built from facts, cited, small, and anew whenever one of its facts goes."""

from collections.abc import Callable
from typing import Any

import pytest

from memory.model import Item, Memory, Selection
from memory.recall import Question
from memory.store.sql import SqlStore
from recalld.bootstrap import Service
from recalld.core.access import Principal
from recalld.core.scope import EVERYTHING, Scope
from recalld.jobs.model import ENDED
from tests.conftest import NOW, WHO, SetClock, erase

ANN, BOB = Scope("ann"), Scope("bob")


def say(service: Service, scope: Scope, *texts: str, who: Principal = WHO) -> list[Memory]:
    """Keep turns of a user, ten days after those before, and consolidate."""
    now = service.clock.advance(days=10)  # type: ignore[attr-defined]
    with service.write_store() as store:
        items = [Item(text, role="user", scope=scope, occurred_at=now) for text in texts]
        kept = service.memories.add(store, who, items)
    consolidate(service)
    return kept


def consolidate(service: Service, scopes: list[Scope] | None = None) -> None:
    planned = service.consolidator.plan("default", None, EVERYTHING, scopes or ())
    with service.write_store() as store:
        service.consolidator.write(store, "default", planned)
    assert planned.ended


def run_jobs(service: Service) -> None:
    """Do everything that is queued."""
    runner = service.job_runner()
    for _ in range(20):
        runner.advance()
    with service.read_work() as work:
        assert all(job.state in ENDED for job in work.jobs.select("default", 50))


def profiles(service: Service, **wanted: Any) -> list[Memory]:
    with service.read_store() as store:
        return store.select("default", Selection(kinds=("profile",), **wanted), service.clock.now(), 9)


def lines(service: Service, scope: Scope = ANN) -> list[str]:
    found = [memory.item.text.split("\n") for memory in profiles(service) if memory.item.scope == scope]
    assert len(found) <= 1
    return found[0] if found else []


def test_it_is_the_facts_that_stand_cited_and_one_for_each_person(service: Service) -> None:
    say(service, Scope("ann", None, "s1"), "I love sushi.", "I live in Porto.")
    say(service, Scope("bob", None, "s1"), "I live in Rome.")
    say(service, Scope("ann", None, "s2"), "I moved to Lisbon yesterday.", "My name is Ann.")
    assert lines(service) == ["user lives in Lisbon", "user's name is Ann", "user loves sushi"]
    assert lines(service, BOB) == ["user lives in Rome"]
    profile = next(each for each in profiles(service) if each.item.scope == ANN)
    with service.read_store() as store:
        cited = store.get("default", [each["memory_id"] for each in profile.item.metadata["citations"]])
    assert [fact.item.text for fact in cited] == lines(service)
    assert {fact.id for fact in cited} <= set(profile.sources)
    assert (profile.deriver and profile.deriver.name, profile.version) == ("profile", 2)


def test_building_again_changes_nothing(service: Service) -> None:
    say(service, Scope("ann", None, "s1"), "I love sushi.", "I live in Porto.")
    before = profiles(service)
    consolidate(service, [ANN, Scope("ann", None, "s1")])
    assert profiles(service) == before


@pytest.mark.parametrize("scope", [Scope("ann", None, "s1"), ANN], ids=["in a session", "outside any"])
def test_a_fact_that_two_memories_say_outlives_one_of_them(service: Service, scope: Scope) -> None:
    kept = say(service, scope, "I love sushi.", "I love sushi!", "I live in Porto.")
    erase(service, kept[0].id)
    run_jobs(service)
    assert sorted(lines(service)) == ["user lives in Porto", "user loves sushi"]
    with service.read_store() as store:
        facts = store.select("default", Selection(kinds=("fact",)), service.clock.now(), 9)
    assert sorted(fact.sources for fact in facts) == [(kept[1].id,), (kept[2].id,)]
    erase(service, kept[1].id)
    run_jobs(service)
    assert lines(service) == ["user lives in Porto"]


@pytest.mark.parametrize("left", [0, 1])
def test_erasing_a_source_builds_it_without_what_that_said(service: Service, left: int) -> None:
    kept = say(service, Scope("ann", None, "s1"), "I love sushi.", "I live in Porto.")
    said = ["user loves sushi", "user lives in Porto"]
    erase(service, kept[1 - left].id)
    assert profiles(service) == []
    run_jobs(service)
    assert lines(service) == [said[left]]
    erase(service, kept[left].id)
    run_jobs(service)
    assert profiles(service) == []


def test_forgetting_a_source_or_a_fact_takes_it_out_and_restoring_brings_it_back(service: Service) -> None:
    kept = say(service, Scope("ann", None, "s1"), "I love sushi.", "I live in Porto.")
    with service.read_store() as store:
        facts = store.select("default", Selection(kinds=("fact",)), NOW, 9)
    love = next(fact for fact in facts if fact.item.text == "user loves sushi")
    for memory_id, rest in ((kept[1].id, ["user loves sushi"]), (love.id, ["user lives in Porto"])):
        for state, wanted in (("forgotten", rest), ("active", ["user lives in Porto", "user loves sushi"])):
            with service.write_store() as store:
                service.memories.set_state(store, WHO, memory_id, state)  # type: ignore[arg-type]
            consolidate(service)
            assert lines(service) == wanted


def test_undoing_a_decision_is_seen_at_once(service: Service) -> None:
    say(service, Scope("ann", None, "s1"), "I live in Porto.")
    say(service, Scope("ann", None, "s2"), "I moved to Lisbon yesterday.")
    with service.write_store() as store:
        supersede = next(each for each in store.changes("default", 9) if each.action == "supersede")
        service.changes.undo(store, WHO, supersede.id)
    assert sorted(lines(service)) == ["user lives in Lisbon", "user lives in Porto"]


def test_one_that_its_user_forgot_stays_so(service: Service) -> None:
    say(service, Scope("ann", None, "s1"), "I live in Porto.")
    [profile] = profiles(service)
    with service.write_store() as store:
        service.memories.set_state(store, WHO, profile.id, "forgotten")
    say(service, Scope("ann", None, "s2"), "I love sushi.")
    assert profiles(service) == []


def test_it_is_found_where_it_is_asked_for_and_nowhere_else(service: Service) -> None:
    say(service, Scope("ann", None, "s1"), "I live in Porto.")
    service.indexer.apply_all()
    with service.read_store() as store:
        found = service.recaller.recall(store, WHO, Question("Where does she live?", kinds=("profile",)))
        plain = service.recaller.recall(store, WHO, Question("Where does she live?"))
        strange = service.recaller.recall(
            store, Principal("default", BOB), Question("Where does she live?", kinds=("profile",))
        )
    assert [hit.memory.item.text for hit in found.results] == ["user lives in Porto"]
    assert [hit.memory.item.kind for hit in plain.results] == ["turn"]
    assert strange.results == []


def test_it_is_within_its_budget_and_the_lasting_comes_first(make_service: Callable[..., Service]) -> None:
    service = make_service(profile_tokens=30)
    say(service, Scope("ann", None, "s1"), *(f"I love the {word} cake." for word in "abcdefghijkl"), "I live in Porto.")
    shown = lines(service)
    assert shown[0] == "user lives in Porto"
    assert 1 < len(shown) < 12
    assert service.encoder.count_tokens("\n".join(shown)) <= 30


def test_who_has_no_name_has_a_profile_of_what_was_said_outside_any_session(service: Service) -> None:
    say(service, EVERYTHING, "I live in Porto.")
    say(service, Scope(None, None, "s1"), "I live in Rome.")
    assert lines(service, EVERYTHING) == ["user lives in Porto"]
    assert len(profiles(service)) == 1


def test_a_plan_that_is_past_is_no_part_of_it(service: Service, clock: SetClock) -> None:
    say(service, Scope("ann", None, "s1"), "I have to finish the report by March 30, 2026.", "I live in Porto.")
    clock.advance(days=30)
    consolidate(service, [ANN])
    assert lines(service) == ["user lives in Porto"]


def test_beyond_its_sources_it_begins_anew(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    say(service, Scope("ann", None, "s1"), "I live in Porto.")
    [first] = profiles(service)
    small = type(service.profiles._settings)(sources_max=1)
    monkeypatch.setattr(service.profiles, "_settings", small)
    say(service, Scope("ann", None, "s2"), "I moved to Lisbon yesterday.")
    [second] = profiles(service)
    assert (second.item.text, second.version, len(second.sources)) == ("user lives in Lisbon", 1, 1)
    with service.database.read() as connection:
        assert SqlStore(connection).get("default", [first.id]) == []
