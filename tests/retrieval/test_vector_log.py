"""The log of the exact index: bytes that leave the disk, damage, killed writers, readers that are overtaken."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

import retrieval
from recalld.core.errors import IndexDamaged
from retrieval import vector_codes, vector_log
from retrieval.ports import Codes
from retrieval.vector_codes import erase, read
from retrieval.vector_format import (
    DELETE,
    NONE,
    PUT,
    Manifest,
    append,
    build_records,
    named_by,
    record_type,
    write_manifest,
)
from retrieval.vector_search import SearchSettings, search
from retrieval.vector_snapshot import Snapshot, extend
from tests.retrieval.vector_folder import D, check_disk, files, gone, opened, put

ROOT = Path(retrieval.__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


def test_the_vector_of_a_deleted_or_replaced_row_leaves_the_disk(folder: Path) -> None:
    index = opened(folder)
    secret, other = put(1, 1.25, -7.5, 3.75, codes=b"secret"), put(2, 9.5, 8.5, 7.5, codes=b"other")
    assert secret.vector is not None
    index.apply("n", [secret, other, put(3, 1, codes=b"third")])
    [log], [codes] = files(folder, ".log"), files(folder, ".codes")
    stored = [change.vector.astype(np.float16).tobytes() for change in (secret, other) if change.vector is not None]
    assert all(vector in log.read_bytes() for vector in stored)
    assert codes.read_bytes() == b"secretotherthird"
    index.apply("n", [gone(1), put(2, 1, 2, codes=b"new")])
    [log], [codes] = files(folder, ".log"), files(folder, ".codes")
    assert not any(vector in log.read_bytes() for vector in stored)
    assert codes.read_bytes() == bytes(11) + b"thirdnew"
    assert opened(folder).search("n", secret.vector, 5)[0].tolist() == [3, 2]


def test_states_under_the_writer_lock_erase_what_a_crash_left(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(1, 1.25, 2.5, codes=b"secret"), put(2, 1, codes=b"kept")])
    with patch.object(vector_log, "erase_bodies", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        index.apply("n", [gone(1)])
    with pytest.raises(AssertionError):
        check_disk(folder)
    later = opened(folder)
    assert set(later.states("n")) == {2}
    with pytest.raises(AssertionError):
        check_disk(folder)
    with later.writer_lock():
        assert set(later.states("n")) == {2}
    check_disk(folder)
    assert files(folder, ".codes")[0].read_bytes() == bytes(6) + b"kept"


def test_a_crash_while_codes_are_overwritten_is_repaired(folder: Path) -> None:
    """Codes go before the record that tells where they are, so a record that still stands is done again."""
    index = opened(folder)
    index.apply("n", [put(1, 1.25, 2.5, codes=b"secret"), put(2, 1, codes=b"kept")])

    def half(path: Path, places: Iterable[tuple[int, int]]) -> None:
        [(offset, size)] = places
        erase(path, [(offset, size // 2)])
        raise KeyboardInterrupt

    with patch.object(vector_codes, "erase", half), pytest.raises(KeyboardInterrupt):
        index.apply("n", [gone(1)])
    assert files(folder, ".codes")[0].read_bytes() == bytes(3) + b"retkept"
    later = opened(folder)
    assert later.codes("n", np.array([1, 2])).bits.tobytes() == b"kept"
    later.apply("n", [])
    check_disk(folder)
    assert files(folder, ".codes")[0].read_bytes() == bytes(6) + b"kept"


@pytest.mark.parametrize("step", ["codes", "records", "manifest"])
def test_a_crash_at_any_step_of_an_apply_shows_nothing_of_it(folder: Path, step: str) -> None:
    index = opened(folder)
    index.apply("n", [put(1, 1, codes=b"first")])
    appended: list[str] = []

    def dying(path: Path, committed: int, data: bytes) -> None:
        append(path, committed, data[: len(data) // 2] if step == ("codes", "records")[len(appended)] else data)
        appended.append(path.suffix)
        if step == ("codes", "records")[len(appended) - 1]:
            raise KeyboardInterrupt

    broken = {"side_effect": KeyboardInterrupt} if step == "manifest" else {"wraps": write_manifest}
    with (
        patch.object(vector_log, "append", dying),
        patch.object(vector_log, "write_manifest", **broken),
        pytest.raises(KeyboardInterrupt),
    ):
        index.apply("n", [put(1, 2, codes=b"second"), put(2, 2, codes=b"more")])
    assert appended == {"codes": [".codes"]}.get(step, [".codes", ".log"])
    for reader in (index, opened(folder)):
        assert reader.codes("n", np.arange(5)).bits.tobytes() == b"first"
        assert reader.vectors("n", np.arange(5))[1][:, 0].tolist() == [1.0]
    index.apply("n", [put(3, 3, codes=b"later")])
    assert files(folder, ".codes")[0].read_bytes() == b"firstlater"
    check_disk(folder)


def test_a_log_of_mostly_dead_records_is_written_anew_while_an_old_reader_answers(folder: Path) -> None:
    index, reader = opened(folder), opened(folder)
    index.apply("n", [put(row, row, codes=b"code %d" % row) for row in range(10)])
    assert reader.statistics("n").rows == 10
    first = files(folder, ".log")
    index.apply("n", [gone(row) for row in range(8)])
    assert files(folder, ".log") != first
    assert files(folder, ".log")[0].stat().st_size == 2 * record_type(D).itemsize
    assert files(folder, ".codes")[0].read_bytes() == b"code 8code 9"
    assert set(reader.states("n")) == {8, 9}
    assert reader.codes("n", np.arange(10)).bits.tobytes() == b"code 8code 9"
    index.apply("n", [gone(8), gone(9)])
    assert dict(opened(folder).states("n")) == {}
    check_disk(folder)


def test_every_changed_byte_of_the_manifest_or_of_a_live_record_is_seen(folder: Path) -> None:
    opened(folder).apply("n", [put(row, row, 2) for row in range(3)])
    for path in files(folder, ".json") + files(folder, ".log"):
        right = path.read_bytes()
        for place in range(len(right)):
            path.write_bytes(right[:place] + bytes([right[place] ^ 0x04]) + right[place + 1 :])
            if _says_the_same(path, right):
                continue
            with pytest.raises(IndexDamaged, match=f"{path.parent.name}.*recalld reindex"):
                opened(folder).states("n")
        path.write_bytes(right)
    assert set(opened(folder).states("n")) == {0, 1, 2}


def _says_the_same(path: Path, right: bytes) -> bool:
    """Whether changed bytes are JSON that says what the right ones say: a space turned into another blank."""
    try:
        same: bool = path.suffix == ".json" and json.loads(path.read_bytes()) == json.loads(right)
    except ValueError:
        return False
    return same


def test_a_changed_head_of_a_dead_record_is_seen_and_its_body_does_not_matter(folder: Path) -> None:
    opened(folder).apply("n", [put(1, 1), put(2, 2)])
    opened(folder).apply("n", [gone(1)])
    [log] = files(folder, ".log")
    right = log.read_bytes()
    log.write_bytes(right[:40] + b"\x01" + right[41:])
    assert set(opened(folder).states("n")) == {2}
    log.write_bytes(right[:10] + b"\x01" + right[11:])
    with pytest.raises(IndexDamaged):
        opened(folder).states("n")


def test_every_changed_byte_of_the_codes_is_seen_when_they_are_read(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(1, 1, codes=b"one"), put(2, 2), put(3, 3, codes=b"three")])
    [path] = files(folder, ".codes")
    right = path.read_bytes()
    for place in range(len(right)):
        path.write_bytes(right[:place] + bytes([right[place] ^ 0x04]) + right[place + 1 :])
        with pytest.raises(IndexDamaged, match=f"{path.name}.*recalld reindex"):
            index.codes("n", np.arange(5))
        whole = 3 if place < 3 else 1
        assert index.codes("n", np.array([2, whole])).bits.tobytes() == {1: b"one", 3: b"three"}[whole]
    path.write_bytes(right)
    assert index.codes("n", np.arange(5)).bits.tobytes() == b"onethree"


@pytest.mark.parametrize("loaded", [False, True])
def test_missing_codes_are_damage(folder: Path, loaded: bool) -> None:
    index = opened(folder)
    index.apply("n", [put(1, 1, codes=b"one")])
    [path] = files(folder, ".codes")
    path.write_bytes(b"on")
    with pytest.raises(IndexDamaged, match=r"changed|torn"):
        (index if loaded else opened(folder)).codes("n", np.array([1]))
    path.unlink()
    with pytest.raises(IndexDamaged, match="missing"):
        (index if loaded else opened(folder)).codes("n", np.array([1]))
    with pytest.raises(IndexDamaged, match="missing"):
        (index if loaded else opened(folder)).apply("n", [put(2, 2)])


@pytest.mark.parametrize("doomed", [range(1), range(19)], ids=["codes overwritten", "file replaced"])
def test_a_reader_of_codes_that_a_writer_overtakes_starts_again(
    folder: Path, doomed: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer comes in after the reader took its snapshot and before it reads the codes."""
    writer, reader = opened(folder), opened(folder)
    writer.apply("n", [put(row, row, codes=b"code %2d" % row) for row in range(20)])
    reads = []

    def overtaken(path: Path, places: NDArray[np.void]) -> Codes:
        reads.append(path)
        if len(reads) == 1:
            with monkeypatch.context() as undone:
                undone.setattr(vector_codes, "read", read)
                writer.apply("n", [gone(row) for row in doomed])
        return read(path, places)

    monkeypatch.setattr(vector_codes, "read", overtaken)
    found = reader.codes("n", np.arange(20))
    assert found.rows.tolist() == sorted(set(range(20)) - set(doomed))
    assert found.bits.tobytes() == b"".join(b"code %2d" % row for row in found.rows.tolist())
    assert len(reads) == 2


@pytest.mark.parametrize("kept", [0, 1, 50, 113])
def test_a_log_shorter_than_committed_is_damage(folder: Path, kept: int) -> None:
    opened(folder).apply("n", [put(1, 1), put(2, 2)])
    [log] = files(folder, ".log")
    log.write_bytes(log.read_bytes()[:kept])
    with pytest.raises(IndexDamaged, match=log.name):
        opened(folder).search("n", np.ones(D, dtype=np.float32), 3)


def test_a_missing_log_is_damage(folder: Path) -> None:
    opened(folder).apply("n", [put(1, 1)])
    files(folder, ".log")[0].unlink()
    with pytest.raises(IndexDamaged, match="missing"):
        opened(folder).states("n")


def test_a_record_without_a_place_in_the_log_is_damage(folder: Path) -> None:
    """Two valid records in the wrong order: each checksum holds, the chain of kills does not."""
    opened(folder).apply("n", [put(1, 1)])
    opened(folder).apply("n", [gone(1), put(2, 2)])
    [log] = files(folder, ".log")
    size = record_type(D).itemsize
    data = log.read_bytes()
    log.write_bytes(data[size : 2 * size] + data[:size] + data[2 * size :])
    with pytest.raises(IndexDamaged):
        opened(folder).states("n")


def test_a_record_that_does_not_name_the_one_whose_place_it_takes_is_damage(folder: Path) -> None:
    """Every checksum and count is right: only the chain of kills tells that two writers were at work."""
    opened(folder).apply("n", [put(1, 1)])
    [log], [path] = files(folder, ".log"), files(folder, ".json")
    manifest = named_by(path)
    assert manifest is not None
    record, _ = build_records([put(1, 2)], [NONE], D, 0)
    append(log, manifest.committed, record)
    write_manifest(path, replace(manifest, generation=2, committed=manifest.committed + len(record)))
    with pytest.raises(IndexDamaged):
        opened(folder).states("n")


WRITER = """
import sys
from pathlib import Path
import numpy as np
from retrieval.ports import VectorChange
from retrieval.vector_faiss import IndexSettings, SegmentedVectorIndex
from retrieval.vector_log import LogSettings
from retrieval.vector_merge import MergeSettings

merging = MergeSettings(fanout=2, lists_rows_min=9)
settings = IndexSettings(log=LogSettings(dead_records_min=20, head_rows_max=20), merge=merging)
index = SegmentedVectorIndex(Path(sys.argv[1]), 5, "encoder-1", settings)
number = int(sys.argv[2])
while True:
    vector = np.full(5, number + 1, dtype=np.float32)
    codes = np.frombuffer(b"code %d" % number, dtype=np.uint8)[:, None]
    rows = {number, number // 2, *range(1000, 1010)}
    changes = [VectorChange(row, 1, b"12345678", vector, codes) for row in sorted(rows)]
    index.apply("n", [*changes, VectorChange(number - 7, 1, b"12345678", None)] if number >= 7 else changes)
    if number % 2:
        index.merge("n")
    print(number, flush=True)
    number += 1
"""


def expected(count: int) -> dict[int, float]:
    """The first number of each row's vector after `count` applies of `WRITER`."""
    kept: dict[int, float] = {}
    for number in range(count):
        kept |= dict.fromkeys([number, number // 2, *range(1000, 1010)], number + 1.0)
        if number >= 7:
            kept.pop(number - 7, None)
    return kept


def start_writer(folder: Path, number: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(number)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_a_writer_killed_at_any_moment_loses_nothing_that_was_acknowledged(folder: Path) -> None:
    done = 0
    delays = np.random.default_rng(1).uniform(0, 0.06, 8)
    for delay in delays.tolist():
        writer = start_writer(folder, done)
        assert writer.stdout is not None
        assert int(writer.stdout.readline()) == done
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        acknowledged = [done, *map(int, writer.stdout.read().split())]
        writer.wait()
        writer.stdout.close()
        index = opened(folder)
        rows, kept = index.vectors("n", np.arange(2000))
        found = dict(zip(rows.tolist(), kept[:, 0].tolist(), strict=True))
        assert index.codes("n", rows).bits.tobytes() == b"".join(b"code %d" % (value - 1) for value in kept[:, 0])
        done = acknowledged[-1] + 1
        if found != expected(done):
            done += 1
            assert found == expected(done)
        with index.writer_lock():
            index.states("n")
        index.merge("n")
        check_disk(folder)
        assert files(folder, ".new") == files(folder, "merge.json") == []
    assert done > len(delays)


def test_a_reader_sees_whole_states_only_while_another_process_writes(folder: Path) -> None:
    writer = start_writer(folder, 0)
    assert writer.stdout is not None
    writer.stdout.readline()
    index = opened(folder)
    seen = []
    for _ in range(300):
        rows, kept = index.vectors("n", np.arange(1000, 1010))
        assert len(rows) == 10
        values = set(kept.reshape(-1).tolist())
        assert len(values) == 1
        seen.append(values.pop())
        _, scores = index.search("n", np.ones(D, dtype=np.float32), 5, np.arange(1000, 1010))
        assert len(set(scores.tolist())) == 1
        assert scores[0] >= D * seen[-1]
        codes = index.codes("n", np.arange(1000, 1010))
        assert len({codes.bits[start:end].tobytes() for start, end in pairwise(codes.starts)}) == 1
        time.sleep(0.002)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    assert seen == sorted(seen)
    assert len(set(seen)) > 10


@pytest.mark.parametrize("doomed", [range(1), range(19)], ids=["record overwritten", "log replaced"])
def test_a_reader_that_a_writer_overtakes_starts_again(
    folder: Path, doomed: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer comes in after the reader read the manifest and before it reads the log."""
    writer = opened(folder)
    writer.apply("n", [put(row, row) for row in range(20)])
    reads = []

    def overtaken(before: Snapshot, raw: bytes, manifest: Manifest, log: Path) -> Snapshot:
        reads.append(manifest.generation)
        if len(reads) == 1:
            writer.apply("n", [gone(row) for row in doomed])
        return extend(before, raw, manifest, log)

    reader = opened(folder)
    monkeypatch.setattr(vector_log, "extend", overtaken)
    assert set(reader.states("n")) == set(range(20)) - set(doomed)
    assert reads[0] == 1


def test_a_search_in_progress_is_not_disturbed_by_an_apply(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(row, row) for row in range(20)])
    snapshot = index._log("n").snapshot()
    before = search(snapshot, np.ones(D, dtype=np.float32), 20, None, SearchSettings())
    index.apply("n", [put(row, -row) for row in range(20, 80)] + [gone(row) for row in range(0, 20, 2)])
    index.apply("n", [put(row, 99) for row in range(40)])
    index.search("n", np.ones(D, dtype=np.float32), 3)
    after = search(snapshot, np.ones(D, dtype=np.float32), 20, None, SearchSettings())
    assert [part.tolist() for part in before] == [part.tolist() for part in after]


def test_a_deleted_record_is_no_vector(folder: Path) -> None:
    opened(folder).apply("n", [put(1, 1)])
    opened(folder).apply("n", [gone(1)])
    [log] = files(folder, ".log")
    records = np.frombuffer(log.read_bytes(), dtype=record_type(D))
    assert records["operation"].tolist() == [PUT, DELETE]
    assert not records["vector"].any()
