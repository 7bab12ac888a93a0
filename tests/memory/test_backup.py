"""A backup is one consistent state, and a restore brings back everything but what was erased since."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memory import backup, ledger
from memory.model import Item, Memory, Selection
from recalld.bootstrap import Parts, Service, erasing_in_restored
from recalld.core.config import Settings, load_settings
from recalld.core.errors import Conflict, InvalidInput
from tests.conftest import NOW, WHO, erase

Open = Callable[[str], Service]


@pytest.fixture
def open_in(tmp_path: Path) -> Iterator[Open]:
    """Opens the instance in a folder."""
    made: list[Service] = []

    def open_in(name: str) -> Service:
        made.append(Service(settings_of(tmp_path / name), Parts()))
        return made[-1]

    yield open_in
    for service in made:
        service.close()


def settings_of(folder: Path) -> Settings:
    return load_settings(data_dir=folder, models_dir=folder.parent / "models", encoder="hash", llm="none")


def add(service: Service, *said: str) -> list[Memory]:
    with service.write_store() as store:
        return service.memories.add(store, WHO, [Item(text) for text in said])


def texts(service: Service) -> list[str]:
    with service.read_store() as store:
        found = service.memories.select(store, WHO, Selection(), 10_000).items
    return sorted(memory.item.text for memory in found)


def back_up(service: Service, target: Path) -> backup.BackedUp:
    return backup.make(service.database, service.settings.data_dir, target, NOW, "test", lambda done, total: None)


def restore(source: Path, folder: Path, newer: Path | None = None) -> backup.Restored:
    folder.mkdir(exist_ok=True)
    settings = settings_of(folder)
    return backup.restore(source, settings.sqlite_file, settings.index_dir, newer, erasing_in_restored(settings))


def test_what_was_there_is_there_again_and_nothing_that_came_later(open_in: Open, tmp_path: Path) -> None:
    source = open_in("data")
    add(source, "one", "two")
    back_up(source, tmp_path / "b")
    add(source, "three")
    assert restore(tmp_path / "b", tmp_path / "other").memories == 2
    restored = open_in("other")
    assert texts(restored) == ["one", "two"]
    restored.indexer.apply_all()
    assert restored.consistency.verify().clean
    assert restored.vectors.statistics("default").rows == 2


@pytest.mark.parametrize("how", ["the ledger given", "the folder that it replaces"])
def test_what_was_erased_since_is_erased_again(open_in: Open, tmp_path: Path, how: str) -> None:
    source = open_in("data")
    one, _ = add(source, "the quokka sleeps in the pantry", "two")
    back_up(source, tmp_path / "old")
    erase(source, one.id)
    back_up(source, tmp_path / "new")
    source.close()
    if how == "the ledger given":
        done = restore(tmp_path / "old", tmp_path / "other", tmp_path / "new" / backup.LEDGER)
        restored = open_in("other")
    else:
        done = restore(tmp_path / "old", tmp_path / "data")
        restored = open_in("data")
    assert (done.memories, done.erased) == (1, 1)
    assert texts(restored) == ["two"]
    assert restored.erasures.resume(again=True) == 1
    assert [p for p in restored.settings.data_dir.rglob("*") if p.is_file() and b"quokka" in p.read_bytes()] == []
    again = ledger.of_database(restored.database)
    assert list(again.erased([("default", one.id)])) == [("default", one.id)]


def test_a_backup_under_writes_is_one_state(open_in: Open, tmp_path: Path) -> None:
    source = open_in("data")
    add(source, *(f"filler {number} " * 40 for number in range(500)))
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            add(source, *(f"batch {len(written)}" for _ in range(5)))
            written.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    while len(written) < 3:
        pass
    before = len(written)
    back_up(source, tmp_path / "b")
    stop.set()
    writer.join()
    restore(tmp_path / "b", tmp_path / "other")
    restored = open_in("other")
    batches = [text for text in texts(restored) if text.startswith("batch")]
    counts = {batches.count(text) for text in batches}
    assert counts == {5}
    assert len(batches) >= 5 * before
    restored.indexer.apply_all()
    assert restored.consistency.verify().clean


def test_a_target_that_can_not_be_is_refused(open_in: Open, tmp_path: Path) -> None:
    source = open_in("data")
    with pytest.raises(InvalidInput, match="outside"):
        back_up(source, source.settings.data_dir / "b")
    (tmp_path / "there").mkdir()
    with pytest.raises(InvalidInput, match="already"):
        back_up(source, tmp_path / "there")


def test_what_is_no_whole_backup_is_refused_and_nothing_is_changed(open_in: Open, tmp_path: Path) -> None:
    source = open_in("data")
    add(source, "one")
    back_up(source, tmp_path / "b")
    source.close()
    (tmp_path / "no").mkdir()
    with pytest.raises(InvalidInput, match="no backup"):
        restore(tmp_path / "no", tmp_path / "data")
    raw = bytearray((tmp_path / "b" / backup.DATABASE).read_bytes())
    raw[5000] ^= 1
    (tmp_path / "b" / backup.DATABASE).write_bytes(raw)
    with pytest.raises(InvalidInput, match="not as it was written"):
        restore(tmp_path / "b", tmp_path / "data")
    assert texts(open_in("data")) == ["one"]


def test_what_is_no_ledger_is_refused(open_in: Open, tmp_path: Path) -> None:
    source = open_in("data")
    back_up(source, tmp_path / "b")
    wrong = tmp_path / "wrong"
    for content in ("", "{}", '{"recalld": "ledger", "schema": 2, "secret": ""}', '{"recalld": "export"}\n'):
        wrong.write_text(content)
        with pytest.raises(InvalidInput, match="no ledger"):
            restore(tmp_path / "b", tmp_path / "other", wrong)


def test_a_database_that_somebody_has_open_is_not_replaced(open_in: Open, tmp_path: Path) -> None:
    source = open_in("data")
    add(source, "one")
    back_up(source, tmp_path / "b")
    add(source, "two")
    with pytest.raises(Conflict, match="open"):
        restore(tmp_path / "b", tmp_path / "data")
    assert texts(source) == ["one", "two"]


def test_the_manifest_tells_what_it_is_of(open_in: Open, tmp_path: Path) -> None:
    source = open_in("data")
    made = back_up(source, tmp_path / "b")
    manifest: dict[str, Any] = json.loads((tmp_path / "b" / backup.MANIFEST).read_text())
    assert manifest["revision"] == source.database.newest_revision()
    assert made.bytes == sum(told["bytes"] for told in manifest["files"].values())
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == sorted(
        [backup.DATABASE, backup.LEDGER, backup.MANIFEST]
    )
