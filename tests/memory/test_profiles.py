"""A profile says what is valid now, within its budget, cites it, follows it, and goes with it."""

from collections.abc import Callable
from typing import Any

import pytest

from memory.model import Item, Memory, Selection
from memory.recall import Question
from recalld.bootstrap import Parts, Service
from recalld.core.ids import UlidSource
from recalld.core.scope import Scope
from retrieval.encode_hash import HashEncoder
from tests.conftest import WHO, SetClock, erase


class World:
    """A service whose consolidations are done at once."""

    def __init__(self, make: Callable[..., Service], **settings: Any) -> None:
        clock = SetClock()
        self.service = make(Parts(clock=clock, ids=UlidSource(clock), encoder=HashEncoder()), **settings)

    def add(self, *texts: str, user: str = "ann", session: str = "s1") -> list[Memory]:
        items = [Item(text, speaker=user.title(), scope=Scope(user, None, session)) for text in texts]
        with self.service.write_store() as store:
            written = self.service.memories.add(store, WHO, items)
        self.consolidate()
        return written

    def consolidate(self) -> None:
        with self.service.write_work() as work:
            work.jobs.put("default", "consolidate", {})
        runner = self.service.job_runner()
        while runner.advance():
            pass

    def profiles(self, *states: Any) -> list[Memory]:
        wanted = Selection(kinds=("profile",), states=states or ("active",))
        with self.service.read_store() as store:
            return store.select("default", wanted, self.service.clock.now(), 99)[::-1]


@pytest.fixture
def world(make_service: Callable[..., Service]) -> World:
    return World(make_service)


def test_it_says_what_is_valid_once_and_cites_it_and_follows_a_change(world: World) -> None:
    world.add("I love chess.", "I live in Lisbon.")
    [first] = world.profiles()
    assert (first.item.text, first.item.scope) == ("Ann lives in Lisbon\nAnn loves chess", Scope("ann"))
    cited = [each["memory_id"] for each in first.item.metadata["citations"]]
    with world.service.read_store() as store:
        assert [fact.item.text for fact in store.get("default", cited)] == first.item.text.split("\n")
    assert set(cited) < set(first.sources)
    world.consolidate()
    assert world.profiles() == [first]
    world.service.clock.advance(days=1)  # type: ignore[attr-defined]
    world.add("I moved to Porto.", session="s2")
    [second] = world.profiles()
    assert (second.id, second.version, second.item.text.split("\n")[0]) == (first.id, 2, "Ann lives in Porto")
    assert "Lisbon" not in second.item.text


def test_each_scope_has_its_own_and_one_without_facts_has_none(world: World) -> None:
    world.add("I live in Lisbon.")
    world.add("I live in Rome.", user="bob")
    world.add("Good morning!", user="cid")
    told = {profile.item.scope.user_id: profile.item.text for profile in world.profiles()}
    assert told == {"ann": "Ann lives in Lisbon", "bob": "Bob lives in Rome"}


def test_it_is_within_its_budget(make_service: Callable[..., Service]) -> None:
    world = World(make_service, profile_tokens=32)
    world.add(*(f"I love Chopin {number}." for number in range(30)), "I live in Lisbon.")
    [profile] = world.profiles()
    assert profile.item.text.startswith("Ann lives in Lisbon\n")
    assert 16 < world.service.encoder.count_tokens(profile.item.text) <= 32


def test_it_goes_with_an_erased_source_and_comes_back_without_it(world: World) -> None:
    [chess, _] = world.add("I love chess.", "I live in Lisbon.")
    receipt = erase(world.service, chess.id)
    assert (receipt.state, world.profiles()) == ("succeeded", [])
    world.consolidate()
    assert [profile.item.text for profile in world.profiles()] == ["Ann lives in Lisbon"]


def test_without_any_fact_left_it_goes_and_a_forgotten_one_stays_so(world: World) -> None:
    [turn] = world.add("I live in Lisbon.")
    with world.service.write_store() as store:
        world.service.memories.set_state(store, WHO, turn.id, "forgotten")
    world.consolidate()
    assert world.profiles() == []
    world.add("I live in Rome.")
    with world.service.write_store() as store:
        world.service.memories.set_state(store, WHO, world.profiles()[0].id, "forgotten")
    world.add("I love chess.")
    assert (world.profiles(), [each.item.text for each in world.profiles("forgotten")]) == ([], ["Ann lives in Rome"])


def test_a_recall_sees_it_only_where_it_is_asked_for(world: World) -> None:
    world.add("I live in Lisbon.")
    world.service.indexer.apply_all()

    def recalled(*kinds: Any) -> list[str]:
        with world.service.read_store() as store:
            found = world.service.recaller.recall(store, WHO, Question("Lisbon", Scope("ann"), kinds=kinds))
        return [hit.memory.item.kind for hit in found.results]

    assert recalled() == ["turn"]
    assert sorted(recalled("turn", "profile")) == ["profile", "turn"]
