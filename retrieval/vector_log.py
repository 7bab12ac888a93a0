"""One namespace's log, codes and segments on disk: reading them as others write them, and writing them as the one
writer.

Reading: the manifest's bytes are read before every answer and compared with those that the snapshot is from. They name
all files and the generation, so equal bytes are an equal state (a file's inode and time can repeat, and reading it
takes 9 us). A reader that finds a file gone, or a record, row or codes overwritten, while the manifest moved on, starts
again; while the manifest stands still that is damage.

Writing (the caller holds the writer lock): append, commit, then overwrite what died. A log that is full becomes a
segment. A crash leaves bytes behind the committed ones, dead bodies or a file that nobody names; `repair` removes all
three, before every write, and a log is given up only when all that its records buried is overwritten.
"""

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from recalld.core.errors import IndexDamaged
from recalld.core.files import sync_folder
from retrieval import vector_codes
from retrieval.ports import Floats, Rows, TokenCodes, VectorChange
from retrieval.vector_codes import checked_size, damaged
from retrieval.vector_format import (
    IN_SEGMENT,
    NONE,
    Manifest,
    SegmentEntry,
    append,
    build_records,
    erase_bodies,
    parse_manifest,
    read_bytes,
    record_type,
    write_manifest,
)
from retrieval.vector_search import SearchSettings, search, unchanged
from retrieval.vector_segment import SUFFIX, give_up_merge
from retrieval.vector_segment_write import Part, write_segment
from retrieval.vector_snapshot import Snapshot, States, empty_snapshot, extend
from retrieval.vector_tokens import token_codes

_COPY_ROWS = 4096
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """When a log is written anew.

    Attributes:
        dead_records_min: a log is written anew when more records are dead than live, and more than this.
        head_rows_max: with more live rows than this it becomes a segment.
    """

    dead_records_min: int = 256
    head_rows_max: int = 8192


class VectorLog:
    """A manifest, and the log, codes and segments that it names."""

    def __init__(
        self, manifest: Path, namespace: str, dimensions: int, fingerprint: str, settings: LogSettings
    ) -> None:
        self.path = manifest
        self._namespace = namespace
        self._dimensions = dimensions
        self._fingerprint = fingerprint
        self._settings = settings
        self._record_bytes = record_type(dimensions).itemsize
        self._loading = threading.Lock()
        self._current = empty_snapshot(dimensions)
        self._unerased: list[int] = []
        self._unburied: list[int] = []

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
        return self._read_from(lambda snapshot: token_codes(snapshot, self.path.parent, rows))

    def search(self, query: Floats, limit: int, allowed: Rows | None, settings: SearchSettings) -> tuple[Rows, Floats]:
        """The best rows; see `vector_search.search`.

        Raises:
            IndexDamaged: what it would be from cannot be read.
        """
        return self._read_from(lambda snapshot: search(snapshot, query, limit, allowed, settings))

    def vectors(self, rows: Rows) -> tuple[Rows, Floats]:
        """The vectors of those of `rows` that are live now, by row.

        Raises:
            IndexDamaged: they cannot be read.
        """
        return self._read_from(lambda snapshot: snapshot.vectors(rows))

    def _read_from(self, read: Callable[[Snapshot], Found]) -> Found:
        """What a snapshot says, of rows that nobody overwrote while they were read."""
        while True:
            snapshot = self.snapshot()
            try:
                found = read(snapshot)
                if not snapshot.segments or unchanged(snapshot, self.snapshot()):
                    return found
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

    def commit(self, changes: Sequence[VectorChange]) -> None:
        """Apply checked changes, in order: durable and seen by all when this returns."""
        snapshot = self.repair()
        if snapshot.manifest is None:
            if all(change.vector is None for change in changes):
                return
            self.create()
            snapshot = self.snapshot()
        manifest = snapshot.manifest
        assert manifest is not None
        last = {change.row: change for change in changes}
        touched = np.array(sorted(last), dtype=np.int64)
        offsets, elsewhere = snapshot.offsets(touched), snapshot.in_segments(touched)
        known = offsets.keys() | elsewhere.keys()
        effective = [change for change in last.values() if change.vector is not None or change.row in known]
        if not effective:
            return
        killed = [offsets.get(row, IN_SEGMENT if row in elsewhere else NONE) for row in (c.row for c in effective)]
        records, codes = build_records(effective, killed, self._dimensions, manifest.codes_committed)
        (log, _), (code_file, _) = self._files(manifest)
        if codes:
            append(code_file, manifest.codes_committed, codes)
        append(log, manifest.committed, records)
        buried = Counter(elsewhere[change.row] for change in effective if change.row in elsewhere)
        puts = sum(change.vector is not None for change in effective)
        replaced = sum(change.row in offsets for change in effective)
        committed = replace(
            manifest,
            generation=manifest.generation + 1,
            committed=manifest.committed + len(records),
            codes_committed=manifest.codes_committed + len(codes),
            rows=manifest.rows + puts - replaced,
            segments=tuple(replace(entry, live=entry.live - buried[entry.name]) for entry in manifest.segments),
        )
        write_manifest(self.path, committed)
        fresh = self.snapshot()
        self._erase(committed)
        if committed.rows > self._settings.head_rows_max:
            self._flush(fresh, committed)
        elif committed.committed // self._record_bytes - committed.rows > max(
            committed.rows, self._settings.dead_records_min
        ):
            self._compact(fresh, committed)

    def merged(self, inputs: Sequence[str], output: SegmentEntry | None) -> None:
        """Let a segment take the place of some others; the caller repaired, and nothing died in them since."""
        manifest = self.snapshot().manifest
        assert manifest is not None
        kept = tuple(entry for entry in manifest.segments if entry.name not in inputs)
        added = () if output is None or not output.live else (output,)
        write_manifest(self.path, replace(manifest, generation=manifest.generation + 1, segments=kept + added))
        for name in inputs:
            (self.path.parent / name).unlink()
        self.snapshot()

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
                    self._unerased, self._unburied = [], []
                self._unerased += loaded.dead
                self._unburied += loaded.newly_buried.tolist()
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

    def _erase(self, manifest: Manifest) -> None:
        if self._unerased:
            (log, _), (codes, _) = self._files(manifest)
            erase_bodies(log, codes, self._unerased, self._record_bytes)
            self._unerased = []
        if self._unburied:
            rows = np.array(sorted(self._unburied), dtype=np.int64)
            give_up_merge(self.path.parent)
            for live in self._current.segments:
                live.segment.erase(live.segment.places(rows).tolist())
            self._unburied = []

    def _flush(self, snapshot: Snapshot, manifest: Manifest) -> None:
        """Make a segment of the log's live rows, name it and an empty log, and remove the old one."""
        name = f"{uuid.uuid4().hex}{SUFFIX}"
        entries = snapshot.entries[snapshot.slots]
        codes = vector_codes.read(self.path.parent / manifest.codes, entries)
        part = Part(
            snapshot.rows,
            entries["version"],
            entries["digest"],
            snapshot.matrix[snapshot.slots],
            None,
            codes.tobytes(),
            entries["codes_check"],
        )
        sizes = entries["codes_bytes"].astype(np.int64)
        (self.path.parent / name).touch()
        write_segment(self.path.parent / name, snapshot.rows, sizes, self._dimensions, [part])
        segments = (*manifest.segments, SegmentEntry(name, len(snapshot.rows)))
        self._swap(manifest, self._fresh(replace(manifest, rows=0, segments=segments)))

    def _fresh(self, manifest: Manifest) -> Manifest:
        """The next generation, with an empty log."""
        log, codes = _new_names()
        for name in (log, codes):
            append(self.path.parent / name, 0, b"")
        return replace(
            manifest, generation=manifest.generation + 1, log=log, committed=0, codes=codes, codes_committed=0
        )

    def _swap(self, before: Manifest, after: Manifest) -> None:
        """Let `after` serve, and remove the log before it."""
        write_manifest(self.path, after)
        for path, _ in self._files(before):
            path.unlink()
        self.snapshot()

    def _compact(self, snapshot: Snapshot, manifest: Manifest) -> None:
        """Write the live records and their codes to new files, name those, and remove the old ones."""
        fresh = self._fresh(manifest)
        for start in range(0, len(snapshot.rows), _COPY_ROWS):
            puts = self._puts(snapshot, snapshot.rows[start : start + _COPY_ROWS])
            written = build_records(puts, [NONE] * len(puts), self._dimensions, fresh.codes_committed)
            for (path, committed), data in zip(self._files(fresh), written, strict=True):
                append(path, committed, data)
            records, code_bytes = map(len, written)
            fresh = replace(
                fresh, committed=fresh.committed + records, codes_committed=fresh.codes_committed + code_bytes
            )
        self._swap(manifest, fresh)

    def _puts(self, snapshot: Snapshot, rows: Rows) -> list[VectorChange]:
        """The changes that make `rows` what they are."""
        states = States(snapshot)
        _, vectors = snapshot.vectors(rows)
        kept = token_codes(snapshot, self.path.parent, rows)
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
