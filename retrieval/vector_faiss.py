"""The vector index on disk: a small log of the newest rows and segments behind it, which many processes may share.

    <folder>/writer.lock              held by the one writer of the whole index
    <folder>/rebuild.lock             held while a rebuild goes on
    <folder>/merge.lock               held while segments are merged
    <folder>/<digest of namespace>/   manifest.json, the log, the token codes and the segments that it names,
                                      rebuild.json with its own meanwhile, merge.json while a merge goes on

A log-structured merge tree: `vector_log` is its mutable level, `vector_segment` a file of the others, `vector_merge`
what moves rows down, `vector_search` what a search reads of each.

Invariants: one writer at a time, over all processes; a search sees everything that was applied before it began, by
whatever process; the vector and the codes of a deleted or replaced row are off the disk when `apply` returns, or,
after a crash, when the namespace is next opened for writing (`apply`, or `states` under the writer lock); a damaged
file is an error, never an answer. Source: "Bitcask" (Sheehy and Smith, 2010) for a log with its index in memory,
LevelDB's CURRENT for the swap.
"""

import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock

from recalld.core.errors import IndexDamaged, Unavailable
from recalld.core.files import locked, name_of, sync_folder
from retrieval.ports import Floats, IndexStatistics, Rows, RowState, TokenCodes, VectorChange
from retrieval.vector_format import named_by, parse_manifest, read_bytes, write_manifest
from retrieval.vector_log import LogSettings, VectorLog
from retrieval.vector_memory import check_changes, check_vector
from retrieval.vector_merge import MergeSettings, merge
from retrieval.vector_search import SearchSettings
from retrieval.vector_segment import SUFFIX, give_up_merge
from retrieval.vector_snapshot import States

_MANIFEST = "manifest.json"
_REBUILD = "rebuild.json"
_BUSY = "another process is {} the vector index"


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How the index uses disk and memory.

    Attributes:
        lock_seconds_max: how long a writer waits for another one.
        log: when a log is written anew.
        search: when a search uses product codes.
        merge: when segments are merged, and into what.
        loaded_bytes_max: namespaces not used for longest leave memory above this.
    """

    lock_seconds_max: float = 60.0
    log: LogSettings = field(default_factory=LogSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    merge: MergeSettings = field(default_factory=MergeSettings)
    loaded_bytes_max: int = 2 << 30


class SegmentedVectorIndex:
    """See the module's docstring, and `VectorIndex`."""

    def __init__(
        self, folder: Path, dimensions: int, fingerprint: str, settings: IndexSettings = IndexSettings()
    ) -> None:
        """Open the index in `folder`, which is made where it is missing.

        Args:
            dimensions: D.
            fingerprint: the encoder's: an index built with another one is refused.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._dimensions = dimensions
        self._fingerprint = fingerprint
        self._settings = settings
        self._logs: OrderedDict[tuple[str, str], VectorLog] = OrderedDict()
        self._logs_lock = threading.Lock()
        self._threads = threading.RLock()
        self._writer: int | None = None
        self._file_lock = FileLock(folder / "writer.lock", thread_local=False)

    @contextmanager
    def writer_lock(self) -> Iterator[None]:
        """The one writer's lock, over all processes; re-entrant within a thread.

        Raises:
            Unavailable: another one held it for `lock_seconds_max`.
        """
        if not self._threads.acquire(timeout=self._settings.lock_seconds_max):
            raise Unavailable("another thread is writing the vector index")
        try:
            if self._writer == threading.get_ident():
                yield
                return
            with locked(self._file_lock, self._settings.lock_seconds_max, _BUSY.format("writing")):
                self._writer = threading.get_ident()
                try:
                    yield
                finally:
                    self._writer = None
        finally:
            self._threads.release()

    def apply(self, namespace: str, changes: Sequence[VectorChange]) -> None:
        """Apply changes in order; see `VectorIndex.apply`. A rebuild that goes on gets them as well."""
        check_changes(changes, self._dimensions)
        with self.writer_lock():
            self._repair(namespace)
            self._log(namespace).commit(changes)
            rebuild = self._rebuild_log(namespace)
            if rebuild is not None:
                rebuild.commit(changes)

    def search(self, namespace: str, query: Floats, limit: int, allowed: Rows | None = None) -> tuple[Rows, Floats]:
        """The best rows, exactly; see `VectorIndex.search`."""
        check_vector("query", query, self._dimensions)
        return self._log(namespace).search(query, limit, allowed, self._settings.search)

    def vectors(self, namespace: str, rows: Rows) -> tuple[Rows, Floats]:
        """Stored vectors; see `VectorIndex.vectors`."""
        return self._log(namespace).vectors(rows)

    def codes(self, namespace: str, rows: Rows) -> TokenCodes:
        """Stored token codes, read from disk; see `VectorIndex.codes`."""
        return self._log(namespace).codes(rows)

    def states(self, namespace: str) -> Mapping[int, RowState]:
        """Every live row's version and digest. To the holder of the writer lock it also repairs what a crash left."""
        if self._writer == threading.get_ident():
            self._repair(namespace)
        return States(self._log(namespace).snapshot())

    def statistics(self, namespace: str) -> IndexStatistics:
        """Sizes; see `VectorIndex.statistics`."""
        snapshot = self._log(namespace).snapshot()
        on_disk = sum(map(_bytes_of, self._path(namespace).glob("*")))
        return IndexStatistics(snapshot.count, on_disk, snapshot.bytes_memory, snapshot.generation)

    def namespaces(self) -> list[str]:
        """Those that have an index, in order."""
        found = ((path, read_bytes(path)) for path in self._folder.glob(f"*/{_MANIFEST}"))
        return sorted(parse_manifest(path, raw).namespace for path, raw in found if raw)

    def merge(self, namespace: str) -> int:
        """Merge segments until there is nothing to merge; returns how many times it did. Others search and write
        meanwhile; see `vector_merge`. While another process merges it does nothing.

        Raises:
            IndexDamaged: a row to be copied is damaged.
        """
        done = 0
        with suppress(Unavailable), locked(FileLock(self._folder / "merge.lock"), 0.0, _BUSY.format("merging")):
            head_rows = self._settings.log.head_rows_max
            while merge(self._log(namespace), self.writer_lock, head_rows, self._settings.merge):
                done += 1
        return done

    def drop(self, namespace: str) -> None:
        """Delete a namespace's index and what was rebuilt of it."""
        with self.writer_lock():
            folder = self._path(namespace)
            if folder.exists():
                (folder / _MANIFEST).unlink(missing_ok=True)
                sync_folder(folder)
                shutil.rmtree(folder)
                sync_folder(self._folder)
            with self._logs_lock:
                for name in (_MANIFEST, _REBUILD):
                    self._logs.pop((namespace, name), None)

    @contextmanager
    def rebuild(self, namespace: str) -> Iterator["Rebuild"]:
        """Begin a second copy of a namespace while the first one serves, or go on where one was left.

        Raises:
            Unavailable: another process is rebuilding.
        """
        with locked(FileLock(self._folder / "rebuild.lock"), 0.0, _BUSY.format("rebuilding")):
            with self.writer_lock():
                log = self._rebuild_log(namespace)
                if log is None:
                    log = self._log(namespace, _REBUILD)
                    log.create()
            yield Rebuild(self, namespace, log)

    def add_rebuilt(self, log: VectorLog, changes: Sequence[VectorChange]) -> None:
        """Write changes to a rebuilt log. `Rebuild.add` calls this."""
        check_changes(changes, self._dimensions)
        with self.writer_lock():
            log.commit(changes)

    def finish_rebuild(self, namespace: str, log: VectorLog) -> None:
        """Let a rebuilt log serve, and remove the one before it. `Rebuild.finish` calls this."""
        with self.writer_lock():
            manifest = log.repair().manifest
            if manifest is None:
                raise IndexDamaged(f"{log.path}: removed while the index was rebuilt; run `recalld reindex` again")
            path = self._path(namespace) / _MANIFEST
            give_up_merge(path.parent)
            before = named_by(path)
            generation = max(manifest.generation, before.generation if before else 0) + 1
            write_manifest(path, replace(manifest, generation=generation))
            log.path.unlink()
            self._sweep(namespace)

    def _rebuild_log(self, namespace: str) -> VectorLog | None:
        """The rebuild that goes on, if any. What is left of one that finished or cannot go on is removed."""
        if not (self._path(namespace) / _REBUILD).exists():
            return None
        log = self._log(namespace, _REBUILD)
        try:
            manifest = log.snapshot().manifest
        except IndexDamaged:
            manifest = None
        serving = named_by(self._path(namespace) / _MANIFEST)
        if manifest is None or (serving is not None and serving.log == manifest.log):
            log.path.unlink()
            self._sweep(namespace)
            return None
        return log

    def _repair(self, namespace: str) -> None:
        self._log(namespace).repair()
        self._sweep(namespace)

    def _sweep(self, namespace: str) -> None:
        """Remove logs and codes that no readable manifest names."""
        folder = self._path(namespace)
        manifests = [named_by(folder / name) for name in (_MANIFEST, _REBUILD)]
        kept = {name for manifest in manifests if manifest is not None for name in manifest.files}
        for pattern in ("*.log", "*.codes", f"*{SUFFIX}"):
            for path in folder.glob(pattern):
                if path.name not in kept:
                    path.unlink()

    def _log(self, namespace: str, name: str = _MANIFEST) -> VectorLog:
        """The log behind a manifest. Opening one takes others out of memory, those not used for longest."""
        key = namespace, name
        with self._logs_lock:
            if key not in self._logs:
                held = sum(log.bytes_memory for log in self._logs.values())
                while held > self._settings.loaded_bytes_max:
                    held -= self._logs.popitem(last=False)[1].bytes_memory
                self._logs[key] = VectorLog(
                    self._path(namespace) / name,
                    namespace,
                    self._dimensions,
                    self._fingerprint,
                    self._settings.log,
                )
            self._logs.move_to_end(key)
            return self._logs[key]

    def _path(self, namespace: str) -> Path:
        return self._folder / name_of(namespace)


class Rebuild:
    """A second copy of one namespace's index, durable after every `add`.

    Changes applied to the index meanwhile go into it as well. A batch encoded from what SQL held earlier may be older
    than those, so compare `states()` with SQL under the writer lock once more before `finish`.
    """

    def __init__(self, index: SegmentedVectorIndex, namespace: str, log: VectorLog) -> None:
        self._index = index
        self._namespace = namespace
        self._log = log

    def states(self) -> Mapping[int, RowState]:
        """What it holds already: after a kill, where to go on."""
        return States(self._log.snapshot())

    def add(self, changes: Sequence[VectorChange]) -> None:
        """Write changes to it, in order.

        Raises:
            InvalidInput: as in `apply`.
        """
        self._index.add_rebuilt(self._log, changes)

    def finish(self) -> None:
        """Let it serve in place of the first one, at once and for every process."""
        self._index.finish_rebuild(self._namespace, self._log)


def _bytes_of(path: Path) -> int:
    """A file's size; 0 when a writer has removed it meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
