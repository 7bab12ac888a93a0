"""One namespace's log on disk: reading it as others write it, and writing it as the one writer.

Reading: the manifest's bytes are read before every answer and compared with those that the snapshot is from. They name
the log and the generation, so equal bytes are an equal state (a file's inode and time can repeat, and reading it takes
9 us). A reader that finds its log gone, or a record overwritten, while the manifest moved on, starts
again; while the manifest stands still that is damage.

Writing (the caller holds the writer lock): append, commit, then overwrite what died. A crash leaves bytes behind the
committed ones, dead bodies or a log that nobody names; `repair` removes all three, before every write.
"""

import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from recalld.core.errors import IndexDamaged
from retrieval.ports import VectorChange
from retrieval.vector_format import (
    NONE,
    Manifest,
    append,
    build_records,
    damaged,
    erase_bodies,
    parse_manifest,
    read_bytes,
    record_type,
    sync_folder,
    write_manifest,
)
from retrieval.vector_snapshot import Snapshot, States, empty_snapshot, extend

_COPY_ROWS = 4096


class VectorLog:
    """A manifest and the log that it names."""

    def __init__(self, manifest: Path, namespace: str, dimensions: int, fingerprint: str) -> None:
        self.path = manifest
        self._namespace = namespace
        self._dimensions = dimensions
        self._fingerprint = fingerprint
        self._record_bytes = record_type(dimensions).itemsize
        self._loading = threading.Lock()
        self._current = empty_snapshot(dimensions)
        self._unerased: list[int] = []

    @property
    def bytes_memory(self) -> int:
        """Held now, whether or not it is up to date."""
        return self._current.bytes_memory

    def snapshot(self) -> Snapshot:
        """The state that is committed now.

        Raises:
            IndexDamaged: it cannot be read, or was built with another encoder.
        """
        current = self._current
        return current if read_bytes(self.path) == current.raw else self._load()

    def create(self) -> None:
        """Begin an empty log."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(self.path.parent.parent)
        name = f"{uuid.uuid4().hex}.log"
        append(self.path.parent / name, 0, b"")
        write_manifest(
            self.path, Manifest(self._namespace, self._fingerprint, self._dimensions, 0, name, committed=0, rows=0)
        )

    def repair(self) -> Snapshot:
        """Remove what an interrupted write left: bytes behind the committed ones, and bodies of dead records."""
        snapshot = self.snapshot()
        if snapshot.manifest is not None:
            log = self._log(snapshot.manifest)
            if log.stat().st_size > snapshot.manifest.committed:
                append(log, snapshot.manifest.committed, b"")
            self._erase(log)
        return snapshot

    def commit(self, changes: Sequence[VectorChange], dead_records_min: int) -> None:
        """Apply checked changes, in order: durable and seen by all when this returns.

        Args:
            dead_records_min: with fewer dead records the log is not written anew.
        """
        snapshot = self.repair()
        if snapshot.manifest is None:
            if all(change.vector is None for change in changes):
                return
            self.create()
            snapshot = self.snapshot()
        manifest = snapshot.manifest
        assert manifest is not None
        last = {change.row: change for change in changes}
        offsets = snapshot.offsets(np.array(sorted(last), dtype=np.int64))
        effective = [change for change in last.values() if change.vector is not None or change.row in offsets]
        if not effective:
            return
        killed = [offsets.get(change.row, NONE) for change in effective]
        records = build_records(effective, killed, self._dimensions)
        append(self._log(manifest), manifest.committed, records)
        added = sum(change.row not in offsets for change in effective)
        removed = sum(change.vector is None for change in effective)
        committed = replace(
            manifest,
            generation=manifest.generation + 1,
            committed=manifest.committed + len(records),
            rows=manifest.rows + added - removed,
        )
        write_manifest(self.path, committed)
        fresh = self.snapshot()
        self._erase(self._log(committed))
        if committed.committed // self._record_bytes - committed.rows > max(committed.rows, dead_records_min):
            self._compact(fresh, committed)

    def _load(self) -> Snapshot:
        with self._loading:
            while True:
                raw = read_bytes(self.path)
                if raw == self._current.raw:
                    return self._current
                try:
                    loaded = self._read(raw)
                except (FileNotFoundError, IndexDamaged) as error:
                    if read_bytes(self.path) != raw:
                        continue
                    if isinstance(error, IndexDamaged):
                        raise
                    raise damaged(self.path, "the log that it names is missing") from error
                if loaded.manifest is None or not self._current.leads_to(loaded.manifest):
                    self._unerased = []
                self._unerased += loaded.dead
                self._current = loaded
                return loaded

    def _read(self, raw: bytes) -> Snapshot:
        if not raw:
            return empty_snapshot(self._dimensions)
        manifest = parse_manifest(self.path, raw)
        if (manifest.fingerprint, manifest.dimensions) != (self._fingerprint, self._dimensions):
            raise damaged(self.path, f"built with another encoder, {manifest.dimensions} dimensions")
        return extend(self._current, raw, manifest, self._log(manifest))

    def _erase(self, log: Path) -> None:
        if self._unerased:
            erase_bodies(log, self._unerased, self._record_bytes)
            self._unerased = []

    def _compact(self, snapshot: Snapshot, manifest: Manifest) -> None:
        """Write the live records to a new log, name that, and remove the old one."""
        name = f"{uuid.uuid4().hex}.log"
        states = States(snapshot)
        committed = 0
        for start in range(0, len(snapshot.rows), _COPY_ROWS):
            rows, vectors = snapshot.vectors(snapshot.rows[start : start + _COPY_ROWS])
            puts = [
                VectorChange(row, states[row].version, states[row].digest, vector)
                for row, vector in zip(rows.tolist(), vectors, strict=True)
            ]
            records = build_records(puts, [NONE] * len(puts), self._dimensions)
            append(self.path.parent / name, committed, records)
            committed += len(records)
        if not committed:
            append(self.path.parent / name, 0, b"")
        write_manifest(self.path, replace(manifest, generation=manifest.generation + 1, log=name, committed=committed))
        self._log(manifest).unlink()
        self.snapshot()

    def _log(self, manifest: Manifest) -> Path:
        return self.path.parent / manifest.log
