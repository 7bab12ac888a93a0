"""Recalls are written later, once, and without what was erased meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from memory import recall_log
from memory.model import Item
from memory.ports import Store
from memory.recall_log import RecallLog
from recalld.bootstrap import Service
from recalld.core.errors import Unavailable
from recalld.core.scope import Scope
from tests.conftest import NOW, WHO, hide


def written(service: Service) -> list[tuple[str, list[str]]]:
    """Each recall and its memories in order."""
    links = text("SELECT recall_id, memory_id FROM recall_memories ORDER BY recall_id, place")
    with service.database.read() as connection:
        found: dict[str, list[str]] = {row[0]: [] for row in connection.execute(text("SELECT id FROM recalls"))}
        for recall_id, memory_id in connection.execute(links):
            found[recall_id].append(memory_id)
    return sorted(found.items())


def test_what_waits_is_written_once_in_its_order_and_without_what_is_gone(service: Service) -> None:
    with service.write_store() as store:
        one, two, three = (m.id for m in service.memories.add(store, WHO, [Item("a"), Item("b"), Item("c")]))
    service.recall_log.add("default", "rec_1", NOW, Scope("ann"), (three, one, two))
    service.recall_log.add("default", "rec_2", NOW, Scope(), ())
    service.recall_log.add("other", "rec_3", NOW, Scope(), (one,))
    assert written(service) == []
    hide(service, WHO, one)
    service.recall_log.flush()
    service.recall_log.flush()
    assert written(service) == [("rec_1", [three, two]), ("rec_2", []), ("rec_3", [])]


def test_closing_a_service_writes_what_waits(service: Service) -> None:
    service.recall_log.add("default", "rec_1", NOW, Scope(), ())
    service.close()
    assert written(service) == [("rec_1", [])]


def test_what_can_not_be_written_waits_on(service: Service) -> None:
    failing = [True, False]

    @contextmanager
    def write() -> Iterator[Store]:
        with service.write_store() as store:
            yield store
            if failing.pop(0):
                raise Unavailable("the disk is full")

    log = RecallLog(write)
    log.add("default", "rec_1", NOW, Scope(), ())
    with pytest.raises(Unavailable):
        log.flush()
    log.add("default", "rec_2", NOW, Scope(), ())
    log.flush()
    assert written(service) == [("rec_1", []), ("rec_2", [])]


def test_more_than_so_many_do_not_wait(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_log, "WAITING_MAX", 2)
    for number in range(4):
        service.recall_log.add("default", f"rec_{number}", NOW, Scope(), ())
    service.recall_log.flush()
    assert [recall_id for recall_id, _ in written(service)] == ["rec_0", "rec_1"]
