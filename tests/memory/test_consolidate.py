"""Consolidation reads what changed and nothing else, derives it once, and takes back what has no ground any more."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from memory.consolidate import Consolidator, Place, Proposal
from memory.model import Deriver, Item, Memory, Selection
from memory.service import MemoryService
from recalld.core.config import Settings
from recalld.core.scope import EVERYTHING, Scope
from tests.conftest import WHO, SerialIds, SetClock, Stores

S1, S2, ANN = Scope("ann", None, "s1"), Scope("bob", None, "s2"), Scope("ann")


@dataclass
class Counting:
    """Derives one summary a session ("3 turns: a b c"), and one of each memory outside any; notes what it was shown."""

    version: str = "1"
    shown: list[tuple[list[str], set[str]]] = field(default_factory=list)

    @property
    def made_by(self) -> Deriver:
        return Deriver("counting", self.version)

    def derive(self, memories: Sequence[Memory], changed: frozenset[str]) -> list[Proposal]:
        texts = [memory.item.text for memory in memories]
        self.shown.append((texts, {memory.item.text for memory in memories if memory.id in changed}))
        if not memories:
            return []
        if memories[0].item.scope.session_id is None:
            return [Proposal(m.id, Item(f"alone: {m.item.text}", kind="profile"), (m.id,)) for m in memories]
        item = Item(f"{len(texts)} turns: {' '.join(texts)}", kind="summary")
        return [Proposal("session", item, tuple(memory.id for memory in memories))]


class World:
    """One kind of store with a service, a deriver, and a consolidator over them."""

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self.stores = stores
        self.clock, self.ids = SetClock(), SerialIds()
        self.service = MemoryService(self.clock, self.ids, settings)
        self.deriver = Counting()
        self.consolidator = Consolidator([self.deriver], stores.write, self.clock, self.ids)

    def add(self, scope: Scope, *texts: str) -> list[Memory]:
        with self.stores.write() as store:
            return self.service.add(store, WHO, [Item(text, scope=scope) for text in texts])

    def run(self, scope: Scope = EVERYTHING, again: Sequence[Scope] = ()) -> Place:
        """To the end; each place goes through JSON, as a job's cursor does."""
        place = None
        while True:
            planned = self.consolidator.plan("default", place, scope, again)
            with self.stores.write() as store:
                reached = self.consolidator.write(store, "default", planned)
            if planned.ended:
                return reached
            place = Place.of(reached.to_json())

    def derived(self, *states: str) -> list[Memory]:
        kinds = Selection(kinds=("summary", "profile"), states=states or ("active",))  # type: ignore[arg-type]
        with self.stores.write() as store:
            return store.select("default", kinds, self.clock.now(), 99)[::-1]

    def texts(self) -> list[str]:
        return sorted(memory.item.text for memory in self.derived())

    def seen(self) -> int:
        with self.stores.write() as store:
            return self.consolidator.seen(store, "default")


@pytest.fixture
def world(stores: Stores, settings: Settings) -> Iterator[World]:
    return World(stores, settings)


def test_what_is_new_is_derived_with_its_session_and_nothing_else_is_read(world: World) -> None:
    world.add(S1, "a", "b")
    world.add(S2, "x")
    [lone] = world.add(ANN, "lone")
    reached = world.run()
    assert (reached.done, reached.written, reached.removed) == (3, 3, 0)
    assert world.texts() == ["1 turns: x", "2 turns: a b", "alone: lone"]
    summary = next(memory for memory in world.derived() if memory.item.text == "2 turns: a b")
    assert (summary.item.scope, summary.deriver, len(summary.sources)) == (S1, Deriver("counting", "1"), 2)
    world.deriver.shown.clear()
    assert (world.run().done, world.deriver.shown) == (0, [])
    world.add(S1, "c")
    reached = world.run()
    assert (reached.done, reached.written) == (1, 1)
    assert world.deriver.shown == [(["a", "b", "c"], {"c"})]
    renewed = next(memory for memory in world.derived() if memory.item.scope == S1)
    assert (renewed.id, renewed.version, renewed.item.text) == (summary.id, 2, "3 turns: a b c")
    assert lone.id in {source for memory in world.derived() for source in memory.sources}


def test_what_says_nothing_to_keep_is_not_shown_to_a_deriver(world: World) -> None:
    world.add(Scope("ann", session_id="s1"), "Thanks, talk soon!", "I moved to Lisbon.")
    world.run()
    assert [texts for texts, _ in world.deriver.shown] == [["I moved to Lisbon."]]


def test_deriving_again_changes_nothing(world: World) -> None:
    world.add(S1, "a", "b")
    world.run()
    before = world.derived()
    reached = world.run(again=[S1])
    assert (reached.done, reached.written, reached.removed) == (1, 0, 0)
    assert world.derived() == before


def test_another_version_of_a_deriver_derives_everything_again(world: World) -> None:
    world.add(S1, "a")
    world.add(S2, "x")
    world.run()
    world.deriver.version = "2"
    assert world.seen() == 0
    assert world.run().written == 2
    assert {memory.deriver for memory in world.derived()} == {Deriver("counting", "2")}


def test_a_forgotten_source_is_left_out_and_a_session_without_any_has_no_summary(world: World) -> None:
    kept = world.add(S1, "a", "b")
    world.run()
    for memory, texts in zip(kept, (["1 turns: b"], []), strict=True):
        with world.stores.write() as store:
            world.service.set_state(store, WHO, memory.id, "forgotten")
        world.run()
        assert world.texts() == texts


def test_an_older_version_of_a_summary_goes_with_the_source_that_it_tells_of(world: World) -> None:
    first, _ = world.add(S1, "secret", "b")
    world.run()
    with world.stores.write() as store:
        world.service.set_state(store, WHO, first.id, "forgotten")
    world.run()
    [summary] = world.derived()
    assert (summary.item.text, first.id in summary.sources) == ("1 turns: b", True)
    with world.stores.write() as store:
        gone, _ = store.erase("default", [first.id])
    assert {memory.id for memory in gone} == {first.id, summary.id}
    assert world.run(again=[S1]).written == 1
    with world.stores.write() as store:
        [summary] = store.select("default", Selection(kinds=("summary",)), world.clock.now(), 9)
        told = [version.item.text for version in store.history("default", summary.id)]
    assert told == ["1 turns: b"]


def test_what_its_user_forgot_is_not_derived_again(world: World) -> None:
    world.add(S1, "a")
    world.run()
    [summary] = world.derived()
    with world.stores.write() as store:
        world.service.set_state(store, WHO, summary.id, "forgotten")
    world.add(S1, "b")
    assert (world.run().written, world.texts()) == (0, [])


def test_a_scope_is_derived_alone_and_the_rest_is_still_new(world: World) -> None:
    world.add(S1, "a")
    world.add(S2, "x")
    assert world.run(Scope("ann")).written == 1
    assert (world.texts(), world.seen()) == (["1 turns: a"], 0)
    assert world.run().written == 1
    assert world.texts() == ["1 turns: a", "1 turns: x"]


def test_a_long_run_goes_in_steps_each_of_which_can_be_the_last(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.consolidate.STEP_MEMORIES", 2)
    monkeypatch.setattr("memory.consolidate.RANGE_MEMORIES", 5)
    for number in range(6):
        world.add(Scope("ann", None, f"s{number}"), "a", "b")
    place, steps = None, []
    while True:
        planned = world.consolidator.plan("default", place)
        # A worker that died here did nothing; the next one plans the same.
        assert world.consolidator.plan("default", place) == planned
        with world.stores.write() as store:
            reached = world.consolidator.write(store, "default", planned)
        steps.append((len(planned.units), reached.written, world.seen()))
        if planned.ended:
            break
        place = Place.of(reached.to_json())
    assert [units for units, *_ in steps] == [1] * 6
    assert [written for _, written, _ in steps] == [1, 2, 3, 4, 5, 6]
    assert [seen for *_, seen in steps] == sorted(seen for *_, seen in steps)
    assert len(world.derived()) == 6


def test_sources_that_changed_since_they_were_read_wait_for_the_next_run(world: World) -> None:
    [first] = world.add(S1, "a")
    planned = world.consolidator.plan("default", None)
    with world.stores.write() as store:
        world.service.update(store, WHO, first.id, {"text": "changed"}, None)
    with world.stores.write() as store:
        assert world.consolidator.write(store, "default", planned).written == 0
    assert world.run().written == 1
    assert world.texts() == ["1 turns: changed"]


def test_another_namespace_is_never_seen(world: World) -> None:
    world.add(S1, "a")
    planned = world.consolidator.plan("other", None)
    assert (planned.units, planned.ended) == ((), True)


def test_without_derivers_nothing_is_new(world: World) -> None:
    world.add(S1, "a")
    idle = Consolidator([], world.stores.write, world.clock, world.ids)
    with world.stores.write() as store:
        assert idle.seen(store, "default") == store.newest_change("default")
