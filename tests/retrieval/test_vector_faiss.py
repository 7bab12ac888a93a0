"""The vector index as a whole: two processes on one folder beside the reference, locks, memory, rebuilding.

Vectors hold small whole numbers here, whose inner products are exact in float32, so results are compared bit by bit.
"""

import json
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from recalld.core.errors import IndexDamaged, Unavailable
from retrieval import vector_log, vector_merge
from retrieval.ports import Floats, VectorChange
from retrieval.vector_faiss import IndexSettings, SegmentedVectorIndex
from retrieval.vector_format import Manifest, write_manifest
from retrieval.vector_log import LogSettings
from retrieval.vector_memory import InMemoryVectorIndex
from retrieval.vector_segment_write import write_segment
from tests.retrieval.vector_folder import DIGEST, SMALL, TINY, D, check_disk, files, gone, opened, put

vectors = (
    st.lists(st.integers(-3, 3), min_size=D, max_size=D)
    .filter(any)
    .map(lambda values: np.array(values, dtype=np.float32))
)
codes = st.binary(max_size=12).map(lambda bits: np.frombuffer(bits, dtype=np.uint8).reshape(-1, 1))
changes = st.lists(
    st.builds(
        VectorChange, st.integers(0, 20), st.integers(1, 9), st.just(DIGEST), st.none() | vectors, st.none() | codes
    ),
    max_size=8,
)


class Killed(BaseException):
    """The process ended here."""


def half_written(path: Path, *given: Any) -> None:
    write_segment(path, *given)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    raise Killed


def written(*given: Any) -> None:
    write_segment(*given)
    raise Killed


class SharedFolder(RuleBasedStateMachine):
    """Two indexes over one folder, as two processes have them, agree with the reference whatever happens."""

    @initialize(settings=st.sampled_from([SMALL, TINY]))
    def begin(self, settings: IndexSettings) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.settings = settings
        self.indexes = [opened(self.folder, settings), opened(self.folder, settings)]
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
        self.indexes[which] = opened(self.folder, self.settings)

    @rule(tail=st.binary(max_size=150))
    def crash_before_the_commit(self, tail: bytes) -> None:
        """Bytes behind the committed ones, a half-written manifest, files that nobody names."""
        for path in files(self.folder, ".log") + files(self.folder, ".codes"):
            with path.open("ab") as file:
                file.write(tail)
            (path.parent / "manifest.tmp").write_bytes(b"{")
            path.with_stem("orphan").write_bytes(tail)

    @rule(batch=changes)
    def crash_after_the_commit(self, batch: list[VectorChange]) -> None:
        """The dead are not overwritten: the process ended before that."""

        def killed(path: Path, manifest: Manifest) -> None:
            write_manifest(path, manifest)
            if manifest.generation:
                raise Killed

        with patch.object(vector_log, "write_manifest", killed), suppress(Killed):
            opened(self.folder, self.settings).apply("a", batch)
        self.reference.apply("a", batch)

    @rule(batch=changes, half=st.booleans())
    def crash_while_a_log_becomes_a_segment(self, batch: list[VectorChange], half: bool) -> None:
        """What was applied is committed before that."""
        with patch.object(vector_log, "write_segment", half_written if half else written), suppress(Killed):
            opened(self.folder, self.settings).apply("a", batch)
        self.reference.apply("a", batch)

    @rule(writer=st.integers(0, 1))
    def merge(self, writer: int) -> None:
        self.indexes[writer].merge("a")
        assert self.indexes[writer].merge("a") == 0

    @rule(writer=st.integers(0, 1), step=st.sampled_from(["half", "copied", "renamed", "swapped"]))
    def crash_while_merging(self, writer: int, step: str) -> None:
        steps: dict[str, tuple[Any, str, Any]] = {
            "half": (vector_merge, "write_segment", half_written),
            "copied": (vector_merge, "write_segment", written),
            "renamed": (vector_log, "write_manifest", Mock(side_effect=Killed)),
            "swapped": (Path, "unlink", Mock(side_effect=Killed)),
        }
        with patch.object(*steps[step]), suppress(Killed):
            self.indexes[writer].merge("a")
        self.indexes[writer] = opened(self.folder, self.settings)

    @rule(batch=changes, writer=st.integers(0, 1))
    def apply_while_merging(self, batch: list[VectorChange], writer: int) -> None:
        """Another process comes in after the rows were copied and before the manifest is swapped, at each attempt that
        does not hold the writer lock."""
        other = self.indexes[1 - writer]

        def overtaken(*given: Any) -> None:
            write_segment(*given)
            if self.indexes[writer]._writer is None:
                other.apply("a", batch)
                self.reference.apply("a", batch)

        with patch.object(vector_merge, "write_segment", overtaken):
            self.indexes[writer].merge("a")

    @rule(writer=st.integers(0, 1))
    def rebuild(self, writer: int) -> None:
        index = self.indexes[writer]
        rows, kept = self.reference.vectors("a", np.arange(30))
        states, codes = self.reference.states("a"), self.reference.codes("a", rows)
        with index.rebuild("a") as rebuild:
            for row in set(rebuild.states()) - set(rows.tolist()):
                rebuild.add([gone(row)])
            rebuild.add(
                [
                    VectorChange(row, states[row].version, states[row].digest, vector, codes.bits[start:end])
                    for row, vector, start, end in zip(
                        rows.tolist(), kept, codes.starts, codes.starts[1:], strict=False
                    )
                ]
            )
            rebuild.finish()

    @rule(writer=st.integers(0, 1))
    def drop(self, writer: int) -> None:
        self.indexes[writer].drop("b")
        self.reference.apply("b", [gone(row) for row in self.reference.states("b")])
        assert "b" not in self.indexes[1 - writer].namespaces()

    @invariant()
    def both_have_the_states_vectors_and_codes_of_the_reference(self) -> None:
        for namespace in "ab":
            rows, kept = self.reference.vectors(namespace, np.arange(30))
            wanted = self.reference.codes(namespace, np.arange(30))
            for index in self.indexes:
                assert dict(index.states(namespace)) == dict(self.reference.states(namespace))
                found, mine = index.vectors(namespace, np.arange(30))
                assert found.tolist() == rows.tolist()
                assert np.array_equal(mine, kept)
                read = index.codes(namespace, np.arange(30))
                assert (read.rows.tolist(), read.starts.tolist()) == (rows.tolist(), wanted.starts.tolist())
                assert np.array_equal(read.bits, wanted.bits)

    def repair(self) -> None:
        """What the outbox's applier does: look at the states under the writer lock."""
        with self.indexes[0].writer_lock():
            for namespace in "ab":
                self.indexes[0].states(namespace)


TestSharedFolder = SharedFolder.TestCase
TestSharedFolder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vectors"


def test_an_index_of_another_encoder_does_not_serve_and_can_be_rebuilt(folder: Path) -> None:
    opened(folder).apply("n", [put(1, 1)])
    for other in (
        SegmentedVectorIndex(folder, D, "encoder-2", SMALL),
        SegmentedVectorIndex(folder, D + 1, "encoder-1", SMALL),
    ):
        with pytest.raises(IndexDamaged, match="recalld reindex"):
            other.search("n", np.ones(other._dimensions, dtype=np.float32), 1)
        with pytest.raises(IndexDamaged, match="another encoder"):
            other.apply("n", [gone(1)])
    other = SegmentedVectorIndex(folder, D, "encoder-2", SMALL)
    with other.rebuild("n") as rebuild:
        rebuild.add([put(1, 5)])
        rebuild.finish()
    assert other.search("n", np.ones(D, dtype=np.float32), 1)[1].tolist() == [5.0]
    check_disk(folder)
    with pytest.raises(IndexDamaged):
        opened(folder).states("n")


def test_a_rebuild_goes_on_after_a_kill_and_the_old_index_serves_meanwhile(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(1, 1), put(2, 2)])
    for _ in range(5):
        index.apply("n", [put(3, 3)])
    before = index.statistics("n").generation
    with index.rebuild("n") as rebuild:
        rebuild.add([put(1, 10), put(2, 20)])
        assert index.search("n", np.ones(D, dtype=np.float32), 1)[1].tolist() == [3.0]
    again = opened(folder)
    with again.rebuild("n") as rebuild:
        assert set(rebuild.states()) == {1, 2}
        rebuild.add([put(3, 30)])
        rebuild.finish()
    assert index.search("n", np.ones(D, dtype=np.float32), 1)[1].tolist() == [30.0]
    assert index.statistics("n").generation > before
    check_disk(folder)
    assert len(files(folder, ".log")) == len(files(folder, ".codes")) == len(files(folder, ".json")) == 1


def test_what_is_erased_during_a_rebuild_leaves_both_copies(folder: Path) -> None:
    index = opened(folder)
    secret = put(1, 1.25, -7.5, 3.75, codes=b"secret")
    assert secret.vector is not None
    index.apply("n", [secret, put(2, 2)])
    with index.rebuild("n") as rebuild:
        rebuild.add([secret, put(2, 2)])
        index.apply("n", [gone(1), put(4, 4)])
        assert all(secret.vector.astype(np.float16).tobytes() not in log.read_bytes() for log in files(folder, ".log"))
        assert all(b"secret" not in codes.read_bytes() for codes in files(folder, ".codes"))
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
    other = SegmentedVectorIndex(folder, D, "encoder-1", IndexSettings(lock_seconds_max=0.05))
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
    index = SegmentedVectorIndex(folder, D, "encoder-1", IndexSettings(loaded_bytes_max=1))
    for number in range(5):
        index.apply(f"n{number}", [put(number, 1)])
    assert len(index._logs) == 1
    assert [set(index.states(f"n{number}")) for number in range(5)] == [{number} for number in range(5)]
    assert index.namespaces() == [f"n{number}" for number in range(5)]


def test_vectors_that_were_replaced_do_not_stay_in_memory(folder: Path) -> None:
    index = SegmentedVectorIndex(folder, D, "encoder-1", IndexSettings(log=LogSettings(dead_records_min=100_000)))
    for value in range(50):
        index.apply("n", [put(row, value) for row in range(100)])
        assert set(index.states("n")) == set(range(100))
    assert index.statistics("n").bytes_memory < 100 * 4 * (4 * D + 40)


def test_statistics_count_bytes(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [put(row, 1, codes=b"abc") for row in range(100)])
    statistics = index.statistics("n")
    [log], [codes], [manifest] = files(folder, ".log"), files(folder, ".codes"), files(folder, ".json")
    assert statistics.rows == 100
    assert statistics.generation == 1
    assert statistics.bytes_disk == log.stat().st_size + codes.stat().st_size + manifest.stat().st_size
    assert log.stat().st_size == 100 * (56 + 2 * D)
    assert codes.stat().st_size == 300
    assert statistics.bytes_memory >= 100 * 2 * D


def test_an_index_of_the_format_before_is_refused_and_rebuilt_from(folder: Path) -> None:
    """Format 1 had no codes. What a rebuild of that time left behind is thrown away."""
    index = opened(folder)
    index.apply("n", [put(1, 1, codes=b"abc")])
    [manifest] = files(folder, "manifest.json")
    values = json.loads(manifest.read_bytes()) | {"format": 1}
    for name in ("codes", "codes_committed", "segments"):
        del values[name]
    for name in ("manifest.json", "rebuild.json"):
        (manifest.parent / name).write_text(json.dumps(values))
    for call in (lambda: index.search("n", np.ones(D, dtype=np.float32), 1), lambda: index.apply("n", [put(2, 2)])):
        with pytest.raises(IndexDamaged, match="format 1, this version reads 3; `recalld reindex`"):
            call()
    with index.rebuild("n") as rebuild:
        assert dict(rebuild.states()) == {}
        rebuild.add([put(1, 2, codes=b"xyz")])
        rebuild.finish()
    assert index.codes("n", np.array([1])).bits.tobytes() == b"xyz"
    check_disk(folder)


def test_deleting_from_an_unknown_namespace_makes_no_index(folder: Path) -> None:
    index = opened(folder)
    index.apply("n", [gone(1)])
    index.apply("n", [])
    assert index.namespaces() == []
    assert files(folder, "") == []
