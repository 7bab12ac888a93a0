"""The exact index on disk: many processes, crashes, damage, erased bytes, rebuilding.

Vectors hold small whole numbers here, whose inner products are exact in float32, so results are compared bit by bit.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import retrieval
from recalld.core.errors import IndexDamaged, Unavailable
from retrieval import vector_log
from retrieval.ports import Floats, VectorChange
from retrieval.vector_exact import ExactIndexSettings, ExactVectorIndex
from retrieval.vector_format import DELETE, PUT, named_by, record_type
from retrieval.vector_memory import InMemoryVectorIndex

D = 5
DIGEST = b"12345678"
SMALL = ExactIndexSettings(lock_seconds_max=5, dead_records_min=6)
ROOT = Path(retrieval.__file__).parents[1]

vectors = st.lists(st.integers(-3, 3), min_size=D, max_size=D).map(lambda values: np.array(values, dtype=np.float32))
changes = st.lists(
    st.builds(VectorChange, st.integers(0, 20), st.integers(1, 9), st.just(DIGEST), st.none() | vectors), max_size=8
)


def opened(folder: Path) -> ExactVectorIndex:
    return ExactVectorIndex(folder, D, "encoder-1", SMALL)


def put(row: int, *values: float) -> VectorChange:
    vector = np.zeros(D, dtype=np.float32)
    vector[: len(values)] = values
    return VectorChange(row, 1, DIGEST, vector)


def gone(row: int) -> VectorChange:
    return VectorChange(row, 1, DIGEST, None)


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*/*{suffix}"))


def check_disk(folder: Path) -> None:
    """Logs hold committed bytes only, and nothing but zeros in the body of a record that another one killed."""
    manifests = [manifest for path in files(folder, ".json") if (manifest := named_by(path)) is not None]
    assert {path.name for path in files(folder, ".log")} == {manifest.log for manifest in manifests}
    for path in files(folder, ".log"):
        manifest = next(manifest for manifest in manifests if manifest.log == path.name)
        data = path.read_bytes()
        assert len(data) == manifest.committed
        records = np.frombuffer(data, dtype=record_type(D))
        live = np.count_nonzero(records["operation"] == PUT)
        for killed in records["killed"][records["killed"] >= 0].tolist():
            dead = records[killed // records.dtype.itemsize]
            live -= dead["operation"] == PUT
            assert not dead["vector"].any()
            assert (dead["digest"], dead["version"], dead["check_body"]) == (0, 0, 0)
        assert live == manifest.rows


class SharedFolder(RuleBasedStateMachine):
    """Two indexes over one folder, as two processes have them, agree with the reference whatever happens."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.indexes = [opened(self.folder), opened(self.folder)]
        self.reference = InMemoryVectorIndex(D)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(batch=changes, writer=st.integers(0, 1), namespace=st.sampled_from("ab"))
    def apply(self, batch: list[VectorChange], writer: int, namespace: str) -> None:
        self.indexes[writer].apply(namespace, batch)
        self.reference.apply(namespace, batch)
        self.repair()
        check_disk(self.folder)

    @rule(
        query=vectors,
        limit=st.integers(0, 25),
        allowed=st.none() | st.sets(st.integers(0, 25)),
        reader=st.integers(0, 1),
    )
    def search(self, query: Floats, limit: int, allowed: set[int] | None, reader: int) -> None:
        rows = None if allowed is None else np.array(sorted(allowed), dtype=np.int64)
        found, scores = self.indexes[reader].search("a", query, limit, rows)
        wanted, wanted_scores = self.reference.search("a", query, limit, rows)
        assert found.tolist() == wanted.tolist()
        assert scores.tolist() == wanted_scores.tolist()

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.indexes[which] = opened(self.folder)

    @rule(tail=st.binary(max_size=150))
    def crash_before_the_commit(self, tail: bytes) -> None:
        """Records or parts of them behind the committed bytes, a half-written manifest, a log that nobody names."""
        for log in files(self.folder, ".log"):
            with log.open("ab") as file:
                file.write(tail)
            (log.parent / "manifest.tmp").write_bytes(b"{")
            (log.parent / "orphan.log").write_bytes(tail)

    @rule(batch=changes)
    def crash_after_the_commit(self, batch: list[VectorChange]) -> None:
        """The dead are not overwritten: the process ended before that."""
        with patch.object(vector_log, "erase_bodies"):
            opened(self.folder).apply("a", batch)
        self.reference.apply("a", batch)

    @rule(writer=st.integers(0, 1))
    def rebuild(self, writer: int) -> None:
        index = self.indexes[writer]
        rows, kept = self.reference.vectors("a", np.arange(30))
        states = self.reference.states("a")
        with index.rebuild("a") as rebuild:
            for row in set(rebuild.states()) - set(rows.tolist()):
                rebuild.add([gone(row)])
            rebuild.add(
                [
                    VectorChange(row, states[row].version, states[row].digest, vector)
                    for row, vector in zip(rows.tolist(), kept, strict=True)
                ]
            )
            rebuild.finish()

    @rule(writer=st.integers(0, 1))
    def drop(self, writer: int) -> None:
        self.indexes[writer].drop("b")
        self.reference.apply("b", [gone(row) for row in self.reference.states("b")])
        assert "b" not in self.indexes[1 - writer].namespaces()

    @invariant()
    def both_have_the_states_and_vectors_of_the_reference(self) -> None:
        for namespace in "ab":
            rows, kept = self.reference.vectors(namespace, np.arange(30))
            for index in self.indexes:
                assert dict(index.states(namespace)) == dict(self.reference.states(namespace))
                found, mine = index.vectors(namespace, np.arange(30))
                assert found.tolist() == rows.tolist()
                assert np.array_equal(mine, kept)

    def repair(self) -> None:
        """What the outbox's applier does: look at the states under the writer lock."""
        with self.indexes[0].writer_lock():
            for namespace in "ab":
                self.indexes[0].states(namespace)


TestSharedFolder = SharedFolder.TestCase
TestSharedFolder.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


def test_the_vector_of_a_deleted_or_replaced_row_leaves_the_disk(folder: Path) -> None:
    index = opened(folder)
    secret, other = put(1, 1.25, -7.5, 3.75), put(2, 9.5, 8.5, 7.5)
    assert secret.vector is not None
    assert other.vector is not None
    index.apply("n", [secret, other, put(3, 1)])
    [log] = files(folder, ".log")
    assert secret.vector.tobytes() in log.read_bytes()
    index.apply("n", [gone(1), put(2, 1, 2)])
    [log] = files(folder, ".log")
    assert secret.vector.tobytes() not in log.read_bytes()
    assert other.vector.tobytes() not in log.read_bytes()
    assert opened(folder).search("n", secret.vector, 5)[0].tolist() == [3, 2]


def test_states_under_the_writer_lock_erase_what_a_crash_left(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(1, 1.25, 2.5), put(2, 1)])
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


def test_a_log_of_mostly_dead_records_is_written_anew_while_an_old_reader_answers(folder: Path) -> None:
    index, reader = opened(folder), opened(folder)
    index.apply("n", [put(row, row) for row in range(10)])
    assert reader.statistics("n").rows == 10
    first = files(folder, ".log")
    index.apply("n", [gone(row) for row in range(8)])
    assert files(folder, ".log") != first
    assert files(folder, ".log")[0].stat().st_size == 2 * record_type(D).itemsize
    assert set(reader.states("n")) == {8, 9}
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
    log.write_bytes(right[:30] + b"\x01" + right[31:])
    assert set(opened(folder).states("n")) == {2}
    log.write_bytes(right[:10] + b"\x01" + right[11:])
    with pytest.raises(IndexDamaged):
        opened(folder).states("n")


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


def test_an_index_of_another_encoder_does_not_serve_and_can_be_rebuilt(folder: Path) -> None:
    opened(folder).apply("n", [put(1, 1)])
    for other in (
        ExactVectorIndex(folder, D, "encoder-2", SMALL),
        ExactVectorIndex(folder, D + 1, "encoder-1", SMALL),
    ):
        with pytest.raises(IndexDamaged, match="recalld reindex"):
            other.search("n", np.ones(other._dimensions, dtype=np.float32), 1)
        with pytest.raises(IndexDamaged, match="another encoder"):
            other.apply("n", [gone(1)])
    other = ExactVectorIndex(folder, D, "encoder-2", SMALL)
    with other.rebuild("n") as rebuild:
        rebuild.add([put(1, 5)])
        rebuild.finish()
    assert other.search("n", np.ones(D, dtype=np.float32), 1)[1].tolist() == [5.0]
    check_disk(folder)
    with pytest.raises(IndexDamaged):
        opened(folder).states("n")


def test_a_rebuild_goes_on_after_a_kill_and_the_old_index_serves_meanwhile(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(1, 1), put(2, 2), put(3, 3)])
    with index.rebuild("n") as rebuild:
        rebuild.add([put(1, 10), put(2, 20)])
        assert index.search("n", np.ones(D, dtype=np.float32), 1)[1].tolist() == [3.0]
    again = opened(folder)
    with again.rebuild("n") as rebuild:
        assert set(rebuild.states()) == {1, 2}
        rebuild.add([put(3, 30)])
        rebuild.finish()
        generation = index.statistics("n").generation
    assert index.search("n", np.ones(D, dtype=np.float32), 1)[1].tolist() == [30.0]
    assert generation > 1
    check_disk(folder)
    assert len(files(folder, ".log")) == len(files(folder, ".json")) == 1


def test_what_is_erased_during_a_rebuild_leaves_both_copies(folder: Path) -> None:
    index = opened(folder)
    secret = put(1, 1.25, -7.5, 3.75)
    assert secret.vector is not None
    index.apply("n", [secret, put(2, 2)])
    with index.rebuild("n") as rebuild:
        rebuild.add([secret, put(2, 2)])
        index.apply("n", [gone(1), put(4, 4)])
        assert all(secret.vector.tobytes() not in log.read_bytes() for log in files(folder, ".log"))
        assert set(rebuild.states()) == {2, 4}
        rebuild.finish()
    assert set(index.states("n")) == {2, 4}


def test_a_rebuild_repairs_a_damaged_index_and_can_be_resumed_beside_it(folder: Path) -> None:
    opened(folder).apply("n", [put(1, 1), put(2, 2)])
    [manifest] = files(folder, "manifest.json")
    manifest.write_bytes(b"{}")
    with opened(folder).rebuild("n") as rebuild:
        rebuild.add([put(1, 1)])
    index = opened(folder)
    with index.rebuild("n") as rebuild:
        assert set(rebuild.states()) == {1}
        rebuild.finish()
    assert set(index.states("n")) == {1}
    check_disk(folder)


def test_a_crash_between_the_last_two_steps_of_a_rebuild_leaves_one_index(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(1, 1)])
    with index.rebuild("n") as rebuild:
        rebuild.add([put(1, 10)])
        [unfinished] = files(folder, "rebuild.json")
        kept = unfinished.read_bytes()
        rebuild.finish()
    unfinished.write_bytes(kept)
    index.apply("n", [put(2, 20)])
    assert not unfinished.exists()
    assert set(opened(folder).states("n")) == {1, 2}
    check_disk(folder)


def test_a_second_rebuild_at_the_same_time_is_refused(folder: Path) -> None:
    with opened(folder).rebuild("n"), pytest.raises(Unavailable), opened(folder).rebuild("n"):
        pytest.fail("two rebuilds at once")


def test_a_rebuild_with_nothing_in_it_leaves_an_empty_index(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(1, 1)])
    with index.rebuild("n") as rebuild:
        rebuild.add([])
        rebuild.finish()
    assert dict(index.states("n")) == {}
    assert index.namespaces() == ["n"]


def test_the_writer_lock_is_reentrant_and_keeps_other_processes_out(folder: Path) -> None:
    index = opened(folder)
    other = ExactVectorIndex(folder, D, "encoder-1", ExactIndexSettings(lock_seconds_max=0.05))
    failed: list[Exception] = []

    def write() -> None:
        try:
            other.apply("n", [put(1, 1)])
        except Unavailable as error:
            failed.append(error)

    with index.writer_lock(), index.writer_lock():
        index.apply("n", [put(2, 2)])
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert len(failed) == 1
    other.apply("n", [put(1, 1)])
    assert set(index.states("n")) == {1, 2}


def test_threads_of_one_index_write_one_after_another(folder: Path) -> None:
    index = opened(folder)

    def write(first: int) -> None:
        for row in range(first, first + 15):
            index.apply("n", [put(row, 1)])

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(opened(folder).states("n")) == {first + i for first in (0, 100, 200) for i in range(15)}
    assert index.statistics("n").generation == 45


def test_namespaces_leave_memory_and_come_back(folder: Path) -> None:
    index = ExactVectorIndex(folder, D, "encoder-1", ExactIndexSettings(loaded_bytes_max=1))
    for number in range(5):
        index.apply(f"n{number}", [put(number, 1)])
    assert len(index._logs) == 1
    assert [set(index.states(f"n{number}")) for number in range(5)] == [{number} for number in range(5)]
    assert index.namespaces() == [f"n{number}" for number in range(5)]


def test_statistics_count_bytes(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(row, 1) for row in range(100)])
    statistics = index.statistics("n")
    [log], [manifest] = files(folder, ".log"), files(folder, ".json")
    assert statistics.rows == 100
    assert statistics.generation == 1
    assert statistics.bytes_disk == log.stat().st_size + manifest.stat().st_size
    assert log.stat().st_size == 100 * (40 + 4 * D)
    assert statistics.bytes_memory >= 100 * 4 * D


WRITER = """
import sys
from pathlib import Path
import numpy as np
from retrieval.ports import VectorChange
from retrieval.vector_exact import ExactIndexSettings, ExactVectorIndex

index = ExactVectorIndex(Path(sys.argv[1]), 5, "encoder-1", ExactIndexSettings(dead_records_min=20))
number = int(sys.argv[2])
while True:
    vector = np.full(5, number, dtype=np.float32)
    rows = {number, number // 2, *range(1000, 1010)}
    changes = [VectorChange(row, 1, b"12345678", vector) for row in sorted(rows)]
    index.apply("n", [*changes, VectorChange(number - 7, 1, b"12345678", None)] if number >= 7 else changes)
    print(number, flush=True)
    number += 1
"""


def expected(count: int) -> dict[int, float]:
    """The first number of each row's vector after `count` applies of `WRITER`."""
    kept: dict[int, float] = {}
    for number in range(count):
        kept |= dict.fromkeys([number, number // 2, *range(1000, 1010)], float(number))
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
        done = acknowledged[-1] + 1
        if found != expected(done):
            done += 1
            assert found == expected(done)
        with index.writer_lock():
            index.states("n")
        check_disk(folder)
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
        time.sleep(0.002)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    assert seen == sorted(seen)
    assert len(set(seen)) > 10


def test_a_search_in_progress_is_not_disturbed_by_an_apply(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(row, row) for row in range(20)])
    snapshot = index._log("n").snapshot()
    before = snapshot.search(np.ones(D, dtype=np.float32), 20, None)
    index.apply("n", [put(row, -row) for row in range(20, 80)] + [gone(row) for row in range(0, 20, 2)])
    index.apply("n", [put(row, 99) for row in range(40)])
    index.search("n", np.ones(D, dtype=np.float32), 3)
    after = snapshot.search(np.ones(D, dtype=np.float32), 20, None)
    assert [part.tolist() for part in before] == [part.tolist() for part in after]


def test_a_deleted_record_is_no_vector(folder: Path) -> None:
    opened(folder).apply("n", [put(1, 1)])
    opened(folder).apply("n", [gone(1)])
    [log] = files(folder, ".log")
    records = np.frombuffer(log.read_bytes(), dtype=record_type(D))
    assert records["operation"].tolist() == [PUT, DELETE]
    assert not records["vector"].any()
