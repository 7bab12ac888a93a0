"""Memories move by value: out of one instance, into another, with their history, and nothing else."""

import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.export import ALL_STATES
from memory.imports import Imported
from memory.model import Change, Deriver, Item, Memory, Selection
from memory.store import transfer_sql
from memory.transfer import LineWriter, Moved, read_whole
from recalld.bootstrap import Parts, Service
from recalld.core import access
from recalld.core.access import Principal
from recalld.core.config import Limits, load_settings
from recalld.core.errors import Forbidden, InvalidInput
from recalld.core.scope import EVERYTHING, Scope
from tests.conftest import NOW, WHO, SerialIds, SetClock, erase, make_memory

Make = Callable[..., Service]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes instances, each in a folder of its own and with ids of its own."""
    made: list[Service] = []
    numbers = itertools.count(1)

    def make() -> Service:
        ids = SerialIds()
        ids._last = (len(made) + 1) * 1_000_000
        clock = SetClock(step=timedelta(milliseconds=1))
        given = load_settings(
            data_dir=tmp_path / f"data{next(numbers)}", models_dir=tmp_path / "m", encoder="hash", llm="none"
        )
        made.append(Service(given, Parts(clock=clock, ids=ids)))
        return made[-1]

    yield make
    for service in made:
        service.close()


def fill(service: Service, count: int = 30, namespace: str = "default") -> list[Memory]:
    """Memories of two users, some changed, one forgotten, one derived from two others."""
    who = Principal(namespace)
    items = [
        Item(
            f'note {n}: "naïve" café \\ \U0001f600\n{"long " * (n % 3 * 90)}',
            speaker="Zoë",
            external_id=f"e{n}" if n % 2 else None,
            metadata={"n": n, "deep": {"list": [1.5, None, "ü"]}},
            scope=Scope(user_id="ann" if n % 3 else "bob", session_id=f"s{n % 4}"),
            occurred_at=None if n % 5 else NOW - timedelta(days=n),
            expires_at=NOW + timedelta(days=999) if n % 7 == 0 else None,
        )
        for n in range(count)
    ]
    with service.write_store() as store:
        kept = service.memories.add(store, who, items)
        for n in range(0, count, 6):
            service.memories.update(store, who, kept[n].id, {"text": f"changed {n}", "metadata": {"n": None}}, None)
        service.memories.update(store, who, kept[0].id, {"text": "changed again"}, None)
        service.memories.set_state(store, who, kept[1].id, "forgotten")
        derived = make_memory(
            count, "both", namespace, kind="summary", sources=(kept[2].id, kept[3].id), deriver=Deriver("rules", "1"),
            external_id="recalld:rules:1",
        )  # fmt: skip
        store.insert(namespace, [replace(derived, id=service.ids.new("mem"))])
    return kept


def exported(service: Service, who: Principal = WHO, scope: Scope = EVERYTHING, vectors: bool = False) -> bytes:
    return b"".join(service.exports.lines(who, scope, vectors))


def imported(service: Service, data: bytes, who: Principal = WHO, restore_erased: bool = False) -> Imported:
    import_id, path = service.imports.spool()
    path.write_bytes(data)
    service.imports.begin(who, import_id, restore_erased)
    return service.imports.finish(import_id)


def counts(done: Imported) -> dict[str, int]:
    return {name: count for name, count in done.counts.items() if count}


def everything(service: Service, namespace: str = "default") -> list[Any]:
    """All memories and their versions and decisions by value, without what is the instance's own."""
    with service.database.read() as connection:
        rows = transfer_sql.page(connection, namespace, Selection(states=ALL_STATES), 0, 10_000)
        old = transfer_sql.histories(connection, namespace, rows)
        changes = [change for _, change in transfer_sql.changes_after(connection, namespace, 0, 10_000)]
    versions = [[replace(each, row=0, namespace="") for each in (row, *old[row.id])] for row in rows]
    told = sorted((change.id, change.action, change.reason, change.memory_ids, change.at) for change in changes)
    return [sorted(versions, key=lambda each: each[0].id), told]


def test_an_empty_instance_has_the_same_afterwards_and_a_second_time_changes_nothing(make: Make) -> None:
    source, target = make(), make()
    fill(source)
    data = exported(source)
    assert counts(imported(target, data)) == {"added": 31, "changes": 8}
    assert everything(target) == everything(source)
    before = everything(target)
    assert counts(imported(target, data)) == {"unchanged": 31}
    assert everything(target) == before
    target.indexer.apply_all()
    assert target.consistency.verify().clean
    assert not list(target.settings.spool_dir.iterdir())


def test_an_instance_that_has_half_gets_the_other_half_and_newer_versions(make: Make) -> None:
    source, target = make(), make()
    kept = fill(source)
    imported(target, exported(source, scope=Scope(user_id="ann")))
    with target.write_store() as store:
        service = target.memories
        [own] = service.add(store, WHO, [Item("only here")])
    with source.write_store() as store:
        source.memories.update(store, WHO, kept[2].id, {"text": "newer"}, None)
        source.memories.update(store, WHO, kept[2].id, {"text": "newest"}, None)
    done = counts(imported(target, exported(source)))
    assert done["advanced"] == 1
    assert done["added"] + done["unchanged"] == 30
    theirs = [versions for versions in everything(target)[0] if versions[0].id != own.id]
    assert theirs == everything(source)[0]


def test_what_differs_here_stays_and_is_counted(make: Make) -> None:
    source, target = make(), make()
    kept = fill(source)
    data = exported(source)
    imported(target, data)
    with target.write_store() as store:
        target.memories.update(store, WHO, kept[4].id, {"text": "mine"}, None)
    with source.write_store() as store:
        source.memories.update(store, WHO, kept[4].id, {"text": "theirs"}, None)
    assert counts(imported(target, exported(source))) == {"unchanged": 30, "conflicts": 1, "changes": 1}
    with target.read_store() as store:
        assert store.get("default", [kept[4].id])[0].item.text == "mine"


def test_what_was_erased_here_comes_back_only_when_asked_for(make: Make) -> None:
    source, target = make(), make()
    kept = fill(source)
    data = exported(source)
    imported(target, data)
    erase(target, kept[5].id)
    assert counts(imported(target, data)) == {"unchanged": 30, "erased": 1}
    assert counts(imported(target, data, restore_erased=True)) == {"unchanged": 30, "added": 1}


def test_vectors_that_move_along_are_not_encoded_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make(), make()
    fill(source)
    source.indexer.apply_all()
    data = exported(source, vectors=True)
    encoded: list[str] = []
    plain = type(target.encoder).encode_both
    monkeypatch.setattr(
        type(target.encoder), "encode_both", lambda self, texts: encoded.extend(texts) or plain(self, texts)
    )
    imported(target, data)
    target.indexer.apply_all()
    assert encoded == []
    assert target.consistency.verify().clean


def test_a_kill_in_the_middle_is_gone_on_with(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make(), make()
    fill(source, 60)
    monkeypatch.setattr("memory.imports.STEP_LINES", 7)
    import_id, path = target.imports.spool()
    path.write_bytes(exported(source))
    target.imports.begin(WHO, import_id, False)
    steps = itertools.count()
    plain = target.imports._keep

    def dying(*given: Any) -> Any:
        if next(steps) == 3:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(target.imports, "_keep", dying)
    with pytest.raises(KeyboardInterrupt):
        target.imports.finish(import_id)
    with target.read_store() as store:
        assert sum(store.counts("default").memories.values()) == 20
    assert target.imports.resume() == 1
    assert everything(target) == everything(source)
    assert not path.exists()


def test_only_files_that_no_import_names_are_swept_away(make: Make) -> None:
    target = make()
    import_id, path = target.imports.spool()
    path.write_bytes(exported(make()))
    target.imports.begin(WHO, import_id, False)
    _, forgotten = target.imports.spool()
    forgotten.write_bytes(b"half a line")
    target.imports.sweep()
    assert path.exists()
    assert not forgotten.exists()


def lines_of(service: Service) -> list[bytes]:
    return exported(service).splitlines(keepends=True)


def spoilt(lines: list[bytes]) -> dict[str, tuple[list[bytes], int]]:
    """Files that are not whole, and the line that an error must name."""
    count = len(lines)
    swapped = lines.copy()
    swapped[3], swapped[4] = swapped[4], swapped[3]
    wrong_type = json.loads(lines[2])
    wrong_type["memory"]["version"] = "two"
    too_long = json.loads(lines[2])
    too_long["memory"]["text"] = "x" * 70_000
    return {
        "empty": ([], 1),
        "foreign": ([b'{"hello": 1}\n'], 1),
        "not JSON": ([*lines[:5], b"}{\n", *lines[5:]], 6),
        "cut between lines": (lines[:9], 10),
        "cut within a line": ([*lines[:9], lines[9][:40]], 10),
        "without its last line": (lines[:-1], count),
        "a line left out": (lines[:4] + lines[5:], count - 1),
        "a line twice": ([*lines[:4], lines[3], *lines[4:]], 5),
        "lines swapped": (swapped, count),
        "more behind it": ([*lines, lines[3]], count + 1),
        "another schema": ([lines[0].replace(b'"schema":1', b'"schema":2'), *lines[1:]], 1),
        "a byte changed": ([*lines[:2], lines[2].replace(b"note", b"nose"), *lines[3:]], count),
        "a wrong type": ([*lines[:2], json.dumps(wrong_type).encode() + b"\n", *lines[3:]], 3),
        "a text too long": ([*lines[:2], json.dumps(too_long).encode() + b"\n", *lines[3:]], 3),
        "not UTF-8": ([*lines[:2], lines[2].replace(b"note", b"\xff\xfe"), *lines[3:]], 3),
    }


def test_of_a_file_that_is_not_whole_nothing_is_kept_and_the_line_is_named(make: Make) -> None:
    source, target = make(), make()
    fill(source)
    for name, (lines, number) in spoilt(lines_of(source)).items():
        with pytest.raises(InvalidInput) as refused:
            imported(target, b"".join(lines))
        assert refused.value.fields[0].field == f"line {number}", (name, refused.value.detail)
        assert "note" not in refused.value.detail
        assert everything(target) == [[], []]


def test_an_id_that_another_namespace_has_is_refused_whole(make: Make) -> None:
    source, target = make(), make()
    fill(source)
    data = exported(source)
    with target.database.write() as connection:
        access.ensure_namespace(connection, "other", target.clock)
    imported(target, data, Principal("other"))
    with pytest.raises(InvalidInput, match="line 2: id"):
        imported(target, data)
    assert everything(target) == [[], []]
    assert len(everything(target, "other")[0]) == 31


def test_an_external_id_that_another_memory_has_is_refused(make: Make) -> None:
    source, target = make(), make()
    kept = fill(source)
    with target.write_store() as store:
        target.memories.add(store, WHO, [Item("mine", external_id="e1", scope=kept[1].item.scope)])
    with pytest.raises(InvalidInput, match="line 3: external_id"):
        imported(target, exported(source))


def test_a_bound_key_moves_only_what_it_may_see(make: Make) -> None:
    source, target = make(), make()
    fill(source)
    ann = Principal("default", Scope(user_id="ann"))
    data = exported(source, ann)
    told = [json.loads(line) for line in data.splitlines()]
    memories = [line["memory"] for line in told if "memory" in line]
    assert {memory["scope"]["user_id"] for memory in memories} == {"ann"}
    shown = {memory_id for line in told if "change" in line for memory_id in line["change"]["memory_ids"]}
    assert shown <= {memory["id"] for memory in memories}
    with pytest.raises(Forbidden):
        exported(source, ann, Scope(user_id="bob"))
    with pytest.raises(InvalidInput, match="scope"):
        imported(target, exported(source), ann)
    assert imported(target, data, ann).counts["added"] == len(memories)


TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=50)
VALUES = st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none() | TEXT


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(TEXT, st.dictionaries(TEXT, VALUES)), max_size=5))
def test_what_is_written_is_read_back_equal(given: list[tuple[str, dict[str, Any]]]) -> None:
    memories = [make_memory(n + 1, text, metadata=meta) for n, (text, meta) in enumerate(given)]
    change = Change(f"chg_{1:026d}", "default", "add", "why", tuple(memory.id for memory in memories), NOW)
    writer = LineWriter()
    lines = [writer.header("default", NOW, None), *(writer.memory(Moved(memory)) for memory in memories)]
    data = b"".join([*lines, writer.change(change), writer.end()])
    values = [line.value for line in read_whole(io.BytesIO(data), "default", Limits())]
    assert values[1:-1] == [*(Moved(memory) for memory in memories), change]


def test_a_name_that_derived_memories_have_is_refused_of_what_was_not_derived(make: Make) -> None:
    stolen = make_memory(7, "mine", external_id="recalld:rules:1")
    writer = LineWriter()
    lines = [writer.header("default", NOW, None), writer.memory(Moved(stolen)), writer.end()]
    with pytest.raises(InvalidInput, match="line 2: external_id: must not begin with recalld:"):
        imported(make(), b"".join(lines))
