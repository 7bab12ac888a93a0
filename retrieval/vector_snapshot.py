"""What one process holds in memory of an index: the log's vectors in float16, and the segments behind them.

A snapshot never changes. Slots of the log's matrix are only ever appended, behind every earlier snapshot's `used`, so a
search that runs while newer records are read is not disturbed; the matrix doubles when it is full, and is packed when
most of its slots are dead. A row lives in one place: a record for a row of a segment buries it there.

Vectors are kept in half precision wherever they are, and every score comes from the same scan of it
(`compress.vectors.half`): merging moves rows about and changes no score by a bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.vectors.half import Halves
from retrieval.ports import Floats, Rows, RowState
from retrieval.vector_codes import damaged
from retrieval.vector_format import (
    DELETE,
    IN_SEGMENT,
    NONE,
    PUT,
    Manifest,
    check_body,
    check_head,
    record_type,
    split_records,
)
from retrieval.vector_live import LiveSegment
from retrieval.vector_segment import Segment

_SLOTS_MIN = 64


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One namespace at one generation.

    Attributes:
        raw: the manifest's bytes: the identity of this state. Empty: there is no index.
        manifest: parsed; None where there is no index.
        rows: `[N]` live rows of the log, ascending.
        slots: `[N]` the slot of each.
        used: slots in use; what lies behind belongs to later snapshots.
        matrix: `[capacity, D]`.
        entries: `[capacity]` version, digest, log offset and place of the codes of each slot.
        dead: offsets of the records that the newest ones killed: those read for this snapshot, not for earlier ones.
        buried: rows of segments that records of the log took the place of, ascending.
        newly_buried: those of them by the newest records.
        segments: as the manifest lists them.
    """

    raw: bytes
    manifest: Manifest | None
    rows: Rows
    slots: NDArray[np.int64]
    used: int
    matrix: Halves
    entries: NDArray[np.void]
    dead: tuple[int, ...]
    buried: Rows
    newly_buried: Rows
    segments: tuple[LiveSegment, ...]

    @property
    def count(self) -> int:
        """Live rows."""
        return len(self.rows) + sum(segment.count for segment in self.segments)

    @property
    def generation(self) -> int:
        return self.manifest.generation if self.manifest else 0

    @property
    def bytes_memory(self) -> int:
        head = self.matrix.nbytes + self.entries.nbytes + self.rows.nbytes + self.slots.nbytes
        return head + sum(segment.bytes_memory for segment in self.segments)

    def leads_to(self, later: Manifest) -> bool:
        """Whether `later` only adds records to what this was read from."""
        mine = self.manifest
        return mine is not None and mine.log == later.log and mine.committed <= later.committed

    def offsets(self, rows: Rows) -> dict[int, int]:
        """Where in the log the records of those of `rows` (ascending) are that live in it."""
        held, slots = self.held(rows)
        return dict(zip(held.tolist(), self.entries["offset"][slots].tolist(), strict=True))

    def in_segments(self, rows: Rows) -> dict[int, str]:
        """Those of `rows` (ascending) that live in a segment, with its name."""
        return {
            row: segment.name for segment in self.segments for row in segment.segment.rows(segment.held(rows)).tolist()
        }

    def state(self, row: int) -> RowState | None:
        """A row's version and digest; None where it is not live."""
        wanted = np.array([row], dtype=np.int64)
        _, slots = self.held(wanted)
        entries = self.entries[slots]
        for segment in self.segments:
            if not len(entries):
                entries = segment.segment.entries(segment.held(wanted))
        if not len(entries):
            return None
        return RowState(int(entries["version"][0]), int(entries["digest"][0]).to_bytes(8, "little"))

    def all_rows(self) -> Rows:
        """Every live row, ascending."""
        parts = [self.rows, *(segment.segment.rows(segment.all.places) for segment in self.segments)]
        return np.sort(np.concatenate(parts))

    def vectors(self, rows: Rows) -> tuple[Rows, Floats]:
        """The vectors of those of `rows` that are live, by row.

        Raises:
            IndexDamaged: one of a segment changed.
        """
        wanted = np.sort(rows)
        held, slots = self.held(wanted)
        found, vectors = [held], [self.matrix[slots]]
        for segment in self.segments:
            places = segment.held(wanted)
            segment.segment.check_vectors(places)
            found.append(segment.segment.rows(places))
            vectors.append(segment.segment.vectors[places])
        rows_found = np.concatenate(found)
        order = np.argsort(rows_found, kind="stable")
        return rows_found[order], np.concatenate(vectors)[order].astype(np.float32)

    def held(self, rows: Rows) -> tuple[Rows, NDArray[np.int64]]:
        """Those of `rows` (ascending) that live in the log, and their slots."""
        if not len(self.rows):
            return rows[:0], np.zeros(0, dtype=np.int64)
        rows = rows[np.searchsorted(rows, self.rows[0]) : np.searchsorted(rows, self.rows[-1], side="right")]
        places = np.searchsorted(self.rows, rows)
        live = self.rows[places] == rows
        return rows[live], self.slots[places[live]]


class States(Mapping[int, RowState]):
    """The states of a snapshot's rows, looked up when asked for: a writer of few rows must not pay for all."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __getitem__(self, row: int) -> RowState:
        state = self._snapshot.state(row)
        if state is None:
            raise KeyError(row)
        return state

    def __iter__(self) -> Iterator[int]:
        return iter(self._snapshot.all_rows().tolist())

    def __len__(self) -> int:
        return self._snapshot.count


def empty_snapshot(dimensions: int) -> Snapshot:
    """No index."""
    return Snapshot(
        b"",
        None,
        np.zeros(0, dtype=np.int64),
        np.zeros(0, dtype=np.int64),
        0,
        np.zeros((0, dimensions), dtype=np.float16),
        np.zeros(0, dtype=_entry_type()),
        (),
        np.zeros(0, dtype=np.int64),
        np.zeros(0, dtype=np.int64),
        (),
    )


def extend(before: Snapshot, raw: bytes, manifest: Manifest, log: Path) -> Snapshot:
    """The snapshot after the records between `before` and `manifest`, read from the log, with its segments.

    Raises:
        FileNotFoundError: the log or a segment is gone.
        IndexDamaged: committed records are missing or changed, or a segment is damaged.
    """
    size = record_type(manifest.dimensions).itemsize
    known = {segment.name: segment for segment in before.segments}
    if not before.leads_to(manifest):
        before = empty_snapshot(manifest.dimensions)
    start = before.manifest.committed if before.manifest else 0
    with log.open("rb") as file:
        file.seek(start)
        data = file.read(manifest.committed - start)
    if len(data) != manifest.committed - start or len(data) % size:
        raise damaged(log, f"torn: {start + len(data)} of {manifest.committed} committed bytes")
    records = np.frombuffer(data, dtype=record_type(manifest.dimensions))
    raw_records = split_records(data, manifest.dimensions)
    last, dead, newly_buried = _follow(before, records, raw_records, start, log)
    buried = np.union1d(before.buried, newly_buried)
    touched = np.array(sorted(last), dtype=np.int64)
    fresh = np.array([last[row] for row in touched.tolist()], dtype=np.int64)
    put = records["operation"][fresh] == PUT
    for number in fresh[put].tolist():
        if check_body(raw_records[number]) != records["check_body"][number]:
            raise damaged(log, f"the record at byte {start + number * size} changed")
    kept = ~np.isin(before.rows, touched)
    rows = np.concatenate([before.rows[kept], touched[put]])
    if len(rows) != manifest.rows:
        raise damaged(log, f"{len(rows)} live rows, its manifest says {manifest.rows}")
    segments = tuple(
        _segment(known.get(entry.name), log.parent / entry.name, manifest.dimensions, entry.live, buried)
        for entry in manifest.segments
    )
    used = before.used + int(put.sum())
    slots = np.concatenate([before.slots[kept], np.arange(before.used, used)])
    order = np.argsort(rows, kind="stable")
    matrix, entries = _with_room(before, used)
    matrix[before.used : used] = records["vector"][fresh[put]]
    for name in ("version", "digest", "codes_at", "codes_bytes", "codes_check"):
        entries[name][before.used : used] = records[name][fresh[put]]
    entries["offset"][before.used : used] = start + fresh[put] * size
    grown = Snapshot(
        raw, manifest, rows[order], slots[order], used, matrix, entries, dead, buried, newly_buried, segments
    )
    return _packed(grown) if used > max(2 * len(rows), _SLOTS_MIN) else grown


def _segment(known: LiveSegment | None, path: Path, dimensions: int, live: int, buried: Rows) -> LiveSegment:
    """A segment without its buried rows. A row never comes back to life, so a count that is right is the right rows."""
    if known is not None:
        found = known.without(buried)
        if found.count == live:
            return found
    segment = Segment(path, dimensions) if known is None else known.segment
    found = LiveSegment(segment, segment.alive(segment.places(buried)))
    if found.count != live:
        raise damaged(path, f"{found.count} live rows, its manifest says {live}")
    return found


def _follow(
    before: Snapshot, records: NDArray[np.void], raw: Sequence[memoryview], start: int, log: Path
) -> tuple[dict[int, int], tuple[int, ...], Rows]:
    """Each touched row's last record among the new ones, the offsets of the records that these killed, and the rows of
    segments that they buried."""
    size = records.dtype.itemsize
    offsets = before.offsets(np.unique(records["row"]))
    last: dict[int, int] = {}
    dead, buried = [], []
    heads = zip(*(records[name].tolist() for name in ("check_head", "operation", "row", "killed")), strict=True)
    for number, (check, operation, row, killed) in enumerate(heads):
        offset = start + number * size
        right = check == check_head(raw[number])
        expected = offsets.pop(row, NONE)
        if not right or operation not in (PUT, DELETE) or (NONE if killed == IN_SEGMENT else killed) != expected:
            raise damaged(log, f"the record at byte {offset} changed")
        if killed == IN_SEGMENT:
            buried.append(row)
        elif killed != NONE:
            dead.append(killed)
        if operation == PUT:
            offsets[row] = offset
        last[row] = number
    return last, tuple(dead), np.array(sorted(buried), dtype=np.int64)


def _with_room(before: Snapshot, used: int) -> tuple[Halves, NDArray[np.void]]:
    """The matrix and entries of `before`, or larger copies, with room for `used` slots."""
    if used <= len(before.matrix):
        return before.matrix, before.entries
    capacity = max(used, 2 * len(before.matrix), _SLOTS_MIN)
    matrix = np.empty((capacity, before.matrix.shape[1]), dtype=np.float16)
    entries = np.empty(capacity, dtype=_entry_type())
    matrix[: before.used] = before.matrix[: before.used]
    entries[: before.used] = before.entries[: before.used]
    return matrix, entries


def _packed(sparse: Snapshot) -> Snapshot:
    """The same without dead slots."""
    count = len(sparse.rows)
    return replace(
        sparse,
        slots=np.arange(count),
        used=count,
        matrix=sparse.matrix[sparse.slots],
        entries=sparse.entries[sparse.slots],
    )


def _entry_type() -> np.dtype[np.void]:
    return np.dtype(
        [
            ("version", "<u4"),
            ("digest", "<u8"),
            ("offset", "<i8"),
            ("codes_at", "<i8"),
            ("codes_bytes", "<u4"),
            ("codes_check", "<u4"),
        ]
    )
