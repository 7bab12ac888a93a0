"""One namespace's log and codes on disk: reading them as others write them, and writing them as the one writer.

Reading: the manifest's bytes are read before every answer and compared with those that the snapshot is from. They name
both files and the generation, so equal bytes are an equal state (a file's inode and time can repeat, and reading it
takes 9 us). A reader that finds a file gone, or a record or codes overwritten, while the manifest moved on, starts
again; while the manifest stands still that is damage.

Writing (the caller holds the writer lock): append, commit, then overwrite what died. A crash leaves bytes behind the
committed ones, dead bodies or a file that nobody names; `repair` removes all three, before every write.
"""

import threading
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from recalld.core.errors import IndexDamaged
from retrieval import vector_codes
from retrieval.ports import Rows, TokenCodes, VectorChange
from retrieval.vector_codes import checked_size, damaged
from retrieval.vector_format import (
    NONE,
    Manifest,
    append,
    build_records,
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
    """A manifest, and the log and codes that it names."""

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

    def codes(self, rows: Rows) -> TokenCodes:
        """The token codes of those of `rows` that are live now, by row.

        Raises:
            IndexDamaged: they cannot be read.
        """
        while True:
            snapshot = self.snapshot()
            try:
                return self._codes(snapshot, rows)
            except (FileNotFoundError, IndexDamaged) as error:
                self._raise_unless_overtaken(error, snapshot.raw)

    def create(self) -> None:
        """Begin an empty log."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        sync_folder(self.path.parent.parent)
        log, codes = _new_names()
        for name in (log, codes):
            append(self.path.parent / name, 0, b"")
        write_manifest(
            self.path, Manifest(self._namespace, self._fingerprint, self._dimensions, 0, log, 0, codes, 0, rows=0)
        )

    def repair(self) -> Snapshot:
        """Remove what an interrupted write left: bytes behind the committed ones, and bodies of dead records."""
        snapshot = self.snapshot()
        if snapshot.manifest is not None:
            for path, committed in self._files(snapshot.manifest):
                if checked_size(path, committed) > committed:
                    append(path, committed, b"")
            self._erase(snapshot.manifest)
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
        records, codes = build_records(effective, killed, self._dimensions, manifest.codes_committed)
        (log, _), (code_file, _) = self._files(manifest)
        if codes:
            append(code_file, manifest.codes_committed, codes)
        append(log, manifest.committed, records)
        added = sum(change.row not in offsets for change in effective)
        removed = sum(change.vector is None for change in effective)
        committed = replace(
            manifest,
            generation=manifest.generation + 1,
            committed=manifest.committed + len(records),
            codes_committed=manifest.codes_committed + len(codes),
            rows=manifest.rows + added - removed,
        )
        write_manifest(self.path, committed)
        fresh = self.snapshot()
        self._erase(committed)
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
                    self._raise_unless_overtaken(error, raw)
                    continue
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
        (log, _), (codes, committed) = self._files(manifest)
        checked_size(codes, committed)
        return extend(self._current, raw, manifest, log)

    def _raise_unless_overtaken(self, error: FileNotFoundError | IndexDamaged, raw: bytes) -> None:
        """A writer may have gone on since the manifest was `raw`: then read again. Otherwise it is damage."""
        if read_bytes(self.path) != raw:
            return
        if isinstance(error, IndexDamaged):
            raise error
        raise damaged(self.path, "a file that it names is missing") from error

    def _codes(self, snapshot: Snapshot, rows: Rows) -> TokenCodes:
        held, places = snapshot.code_places(rows)
        width = vector_codes.width(self._dimensions)
        counts = places["codes_bytes"] // width
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])
        if snapshot.manifest is None or not starts[-1]:
            return TokenCodes(held, starts, np.zeros((0, width), dtype=np.uint8))
        bits = vector_codes.read(self.path.parent / snapshot.manifest.codes, places)
        return TokenCodes(held, starts, bits.reshape(-1, width))

    def _erase(self, manifest: Manifest) -> None:
        if self._unerased:
            (log, _), (codes, _) = self._files(manifest)
            erase_bodies(log, codes, self._unerased, self._record_bytes)
            self._unerased = []

    def _compact(self, snapshot: Snapshot, manifest: Manifest) -> None:
        """Write the live records and their codes to new files, name those, and remove the old ones."""
        log, codes = _new_names()
        fresh = replace(
            manifest, generation=manifest.generation + 1, log=log, committed=0, codes=codes, codes_committed=0
        )
        for start in range(0, max(len(snapshot.rows), 1), _COPY_ROWS):
            puts = self._puts(snapshot, snapshot.rows[start : start + _COPY_ROWS])
            written = build_records(puts, [NONE] * len(puts), self._dimensions, fresh.codes_committed)
            for (path, committed), data in zip(self._files(fresh), written, strict=True):
                append(path, committed, data)
            records, code_bytes = map(len, written)
            fresh = replace(
                fresh, committed=fresh.committed + records, codes_committed=fresh.codes_committed + code_bytes
            )
        write_manifest(self.path, fresh)
        for path, _ in self._files(manifest):
            path.unlink()
        self.snapshot()

    def _puts(self, snapshot: Snapshot, rows: Rows) -> list[VectorChange]:
        """The changes that make `rows` what they are."""
        states = States(snapshot)
        _, vectors = snapshot.vectors(rows)
        kept = self._codes(snapshot, rows)
        return [
            VectorChange(row, states[row].version, states[row].digest, vector, kept.bits[start:end])
            for row, vector, start, end in zip(rows.tolist(), vectors, kept.starts, kept.starts[1:], strict=False)
        ]

    def _files(self, manifest: Manifest) -> tuple[tuple[Path, int], tuple[Path, int]]:
        """The log and the file of codes, each with its committed bytes."""
        folder = self.path.parent
        return (folder / manifest.log, manifest.committed), (folder / manifest.codes, manifest.codes_committed)


def _new_names() -> tuple[str, str]:
    """Names for a log and its codes."""
    stem = uuid.uuid4().hex
    return f"{stem}.log", f"{stem}.codes"
