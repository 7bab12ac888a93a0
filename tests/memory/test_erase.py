"""Erased means: in no answer from the first moment on, and soon in no byte of any file, whatever happens in between."""

import itertools
import random
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from memory.erase import EraseSettings, Target
from memory.model import Deriver, Item, Memory, Receipt, Selection
from memory.store import erasures_sql
from recalld.bootstrap import Service
from recalld.core.access import Principal
from recalld.core.errors import Forbidden, NotFound
from recalld.core.scope import Scope
from retrieval.filters import parse
from tests.conftest import WHO, erase, hide, make_memory

ANN = Principal("default", Scope(user_id="ann"))


def add(service: Service, *items: Item, who: Principal = WHO) -> list[Memory]:
    with service.write_store() as store:
        kept = service.memories.add(store, who, items)
    service.indexer.apply_all()
    return kept


def texts(service: Service, who: Principal = WHO) -> list[str]:
    with service.read_store() as store:
        return [memory.item.text for memory in service.memories.select(store, who, Selection(), 1000).items]


def holding(service: Service, *wanted: str) -> list[tuple[str, str]]:
    """Which files of the data folder hold any of these; a search of its own."""
    return [
        (path.name, said)
        for path in sorted(service.settings.data_dir.rglob("*"))
        if path.is_file()
        for said in wanted
        if said.encode() in path.read_bytes()
    ]


def begin(service: Service, target: Target, who: Principal = WHO) -> Receipt:
    with service.database.write() as connection:
        return service.erasures.begin(connection, who, target)


def test_what_is_hidden_is_in_no_answer_before_anything_is_removed(service: Service) -> None:
    one, _ = add(service, Item("the quokka sleeps", scope=Scope(session_id="s")), Item("the walrus sings"))
    hide(service, WHO, one.id)
    assert texts(service) == ["the walrus sings"]
    with service.read_store() as store:
        for act in (service.memories.get, service.memories.history, service.memories.sources):
            with pytest.raises(NotFound):
                act(store, WHO, one.id)
        found = service.memories.select(store, WHO, Selection(text="quokka"), 9)
        assert found.items == []
    assert holding(service, "quokka") != []


def test_nothing_of_it_is_left_in_any_file_and_the_others_are_untouched(service: Service) -> None:
    rng = random.Random(1)
    words = [f"{one}{two}" for one in ("quo", "bar", "lim", "nor") for two in ("kka", "ton", "ber", "ven")]
    items = [
        Item(
            f'{" ".join(rng.choices(words, k=9))} unique{number:04d}zx "quoted" ü',
            speaker=f"Speaker{number:04d}q",
            metadata={"note": f"meta {number:04d} is here"},
        )
        for number in range(300)
    ]
    kept = add(service, *items)
    with service.write_store() as store:
        for memory in kept[::9]:
            service.memories.update(store, WHO, memory.id, {"text": f"changed{memory.row:04d}zy once"}, None)
    doomed = rng.sample(kept, 40)
    before = {memory.id: memory for memory in _all(service)}
    marks = [f"{memory.row - 1:04d}zx" for memory in doomed] + [f"{memory.row:04d}zy" for memory in doomed]
    assert len(holding(service, *marks)) > 40
    for memory in doomed:
        receipt = erase(service, memory.id)
        assert (receipt.state, receipt.memories) == ("succeeded", 1)
        assert receipt.rescan is not None
        assert receipt.rescan.found == 0
    assert holding(service, *marks, *(f"Speaker{memory.row - 1:04d}q" for memory in doomed)) == []
    gone = {memory.id for memory in doomed}
    assert {memory.id: memory for memory in _all(service)} == {
        memory_id: memory for memory_id, memory in before.items() if memory_id not in gone
    }
    assert service.consistency.verify().clean


def _all(service: Service) -> list[Memory]:
    with service.read_store() as store:
        found = store.select("default", Selection(states=("active", "forgotten")), service.clock.now(), 10_000)
        return [version for memory in found for version in store.history("default", memory.id)]


def test_what_a_live_memory_says_too_is_no_remainder(service: Service) -> None:
    one, _ = add(service, Item("Yes, we did that in Lisbon"), Item("Yes, we did that in Lisbon"))
    assert erase(service, one.id).state == "succeeded"
    assert texts(service) == ["Yes, we did that in Lisbon"]


def test_a_copy_that_nothing_accounts_for_is_found_and_named(service: Service) -> None:
    [one] = add(service, Item("the quokka sleeps in the pantry of the lighthouse"))
    stray = service.settings.data_dir / "stray.txt"
    stray.write_text("... pantry of the lighthouse ...", encoding="utf-16-le")
    receipt = erase(service, one.id)
    assert receipt.rescan is not None
    assert (receipt.state, receipt.rescan.places) == ("running", ("stray.txt",))
    stray.unlink()
    assert service.erasures.resume(again=False) == 0
    assert service.erasures.resume(again=True) == 1
    with service.database.read() as connection:
        assert service.erasures.get(connection, WHO, receipt.id).state == "succeeded"


def test_what_is_gone_at_a_second_look_is_no_remainder(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """As what another process had written to a file, and taken out before its rows were read."""
    [one] = add(service, Item("the quokka sleeps in the pantry of the lighthouse"))
    stray = service.settings.data_dir / "stray.txt"
    stray.write_text("... pantry of the lighthouse ...")
    plain = service.erasures._rescan
    seen = []

    def then_gone(erasure_id: str) -> Any:
        seen.append(plain(erasure_id))
        stray.unlink(missing_ok=True)
        return seen[-1]

    monkeypatch.setattr(service.erasures, "_rescan", then_gone)
    receipt = erase(service, one.id)
    assert [each.found > 0 for each in seen] == [True, False]
    assert (receipt.state, receipt.attempts) == ("succeeded", 1)


def test_a_copy_that_stays_makes_it_fail_in_the_end(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.erasures, "_settings", EraseSettings(attempts_max=3))
    [one] = add(service, Item("the quokka sleeps in the pantry"))
    (service.settings.data_dir / "stray.txt").write_text("the quokka sleeps in the pantry")
    receipt = erase(service, one.id)
    states = [receipt.state, *(service.erasures.finish(receipt.id).state for _ in range(2))]
    assert states == ["running", "running", "failed"]
    assert service.erasures.resume(again=True) == 0


@pytest.mark.parametrize("at", range(8))
def test_a_crash_at_any_point_is_gone_on_with(
    service: Service, make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    kept = add(service, *(Item(f"the quokka number {n:03d}zx sleeps") for n in range(30)), Item("the walrus sings"))
    receipt = begin(service, Target("ids", tuple(memory.id for memory in kept[:30])))
    monkeypatch.setattr(service.erasures, "_settings", EraseSettings(step_memories=10))
    points = itertools.count()

    def dying(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if next(points) == at:
                raise KeyboardInterrupt
            return plain(*given, **named)

        return call

    for owner, name in (
        (erasures_sql, "keep_windows"),
        (erasures_sql, "merge_fulltext"),
        (erasures_sql, "close"),
        (service.database, "truncate_log"),
        (service.indexer, "apply_since"),
    ):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))
    with pytest.raises(KeyboardInterrupt):
        service.erasures.finish(receipt.id)
    monkeypatch.undo()
    again = make_service()
    again.erasures.resume(again=True)
    with again.database.read() as connection:
        done = again.erasures.get(connection, WHO, receipt.id)
    assert (done.state, done.removed["memories"], done.removed["vectors"]) == ("succeeded", 30, 30)
    assert texts(again) == ["the walrus sings"]
    assert holding(again, "quokka", "29zx") == []
    assert again.consistency.verify().clean


def test_what_was_derived_goes_with_it_and_is_derived_anew_from_what_is_left(service: Service) -> None:
    one, two = add(service, Item("one", scope=Scope("ann")), Item("two", scope=Scope("ann")))
    both = make_memory(9, "one and two", kind="summary", sources=(one.id, two.id), deriver=Deriver("rules", "1"))
    only = make_memory(10, "one alone", kind="summary", sources=(one.id,), deriver=Deriver("rules", "1"))
    with service.write_store() as store:
        store.insert("default", [both, only])
    receipt = begin(service, Target("ids", (one.id,)))
    assert sorted(receipt.memory_ids) == sorted([one.id, both.id, only.id])
    with service.read_work() as work:
        jobs = work.jobs.select("default", 9, tasks=("consolidate",))
    assert [job.arguments for job in jobs] == [{"scopes": [{"user_id": "ann"}], "alone": [two.id]}]
    assert service.erasures.finish(receipt.id).removed["memories"] == 3
    assert texts(service) == ["two"]


def test_each_kind_of_target_is_what_it_says_within_what_the_key_may_see(service: Service) -> None:
    add(
        service,
        Item("a", scope=Scope("ann", session_id="s1")),
        Item("b", scope=Scope("ann", session_id="s2"), metadata={"n": 1}),
        Item("c", scope=Scope("bob", session_id="s1"), metadata={"n": 1}),
    )
    by_filter = Target("filter", selection=Selection(filter=parse({"metadata.n": 1})))
    by_scope = Target("scope", selection=Selection(scope=Scope(session_id="s1")))
    with service.database.read() as connection:
        for target, who, wanted in (
            (by_filter, WHO, 2),
            (by_filter, ANN, 1),
            (by_scope, WHO, 2),
            (by_scope, ANN, 1),
            (Target("all"), WHO, 3),
            (Target("all"), ANN, 2),
            (Target("all"), Principal("other"), 0),
        ):
            assert service.erasures.count(connection, who, target)["memories"] == wanted
        with pytest.raises(Forbidden):
            service.erasures.count(connection, ANN, Target("scope", selection=Selection(scope=Scope("bob"))))
    begin(service, Target("all"), ANN)
    assert texts(service) == ["c"]


def test_forgotten_and_expired_memories_are_erased_too(service: Service, clock: Any) -> None:
    one, _ = add(service, Item("one"), Item("two", expires_at=clock.moment + timedelta(seconds=5)))
    with service.write_store() as store:
        service.memories.set_state(store, WHO, one.id, "forgotten")
    clock.advance(minutes=1)
    assert begin(service, Target("all")).memories == 2


def test_a_receipt_is_shown_to_whoever_could_have_asked_for_it(service: Service) -> None:
    add(service, Item("a", scope=Scope("ann")))
    receipt = begin(service, Target("all"), ANN)
    with service.database.read() as connection:
        assert service.erasures.get(connection, WHO, receipt.id).memories == 1
        assert service.erasures.get(connection, ANN, receipt.id).memories == 1
        for stranger in (Principal("default", Scope("bob")), Principal("other")):
            with pytest.raises(NotFound):
                service.erasures.get(connection, stranger, receipt.id)


def test_the_ledger_knows_the_id_and_holds_neither_it_nor_any_text(service: Service) -> None:
    one, two = add(service, Item("the quokka"), Item("the walrus"))
    erase(service, one.id)
    with service.database.write() as connection:
        assert erasures_sql.erased_here(connection, [one.id, two.id]) == {one.id}
    service.close()
    with sqlite3.connect(service.database.file) as raw:
        ledger = str(raw.execute("SELECT * FROM erased_memories").fetchall())
        assert raw.execute("SELECT count(*) FROM erasure_windows").fetchone() == (0,)
    assert one.id not in ledger
    assert Path(service.database.file).read_bytes().count(one.id.encode()) == 0
