"""The files of the vector index: fixed-size records in an append-only log, and the manifest that commits them.

    record    head, 36 bytes: check_head u32 | operation u32 | row i64 | killed i64 | codes_at i64 | codes_bytes u32
              body: check_body u32 | version u32 | digest u64 | codes_check u32 | D float16; zeros once another record
              kills this one
    codes     the token codes that records put, one after another; zeros where their record is dead
    manifest  JSON: format, namespace, fingerprint, dimensions, generation, log, committed (bytes), codes,
              codes_committed, rows (of the log), segments (name and live rows of each), check

`killed` is the offset of the record whose place this one takes (-1: none, -2: it is a row of a segment), so that which
bodies are dead is read from heads alone: heads never change, and a body that is half overwritten with zeros is as dead
as before. The check of a body starts from its head's, so a body under another head is seen. Numbers are little-endian.

Invariant: a change is made durable in this order: codes, fsync; records, fsync; manifest beside the old one, fsync,
rename, fsync of the folder; only then dead codes are overwritten, and after them dead bodies. Whatever lies behind
`committed` and `codes_committed` was never acknowledged.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recalld.core.errors import IndexDamaged
from recalld.core.files import swap
from retrieval import vector_codes
from retrieval.ports import VectorChange
from retrieval.vector_codes import code_bytes, damaged

FORMAT = 3
PUT = 1
DELETE = 2
NONE = -1
IN_SEGMENT = -2

_HEAD_BYTES = 36
_CHECK_BYTES = 4
_CODES_IN_HEAD = struct.Struct("<qI")

Records = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment's file, and how many of its rows live."""

    name: str
    live: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What of a log is committed, the segments behind it, and what they were built with."""

    namespace: str
    fingerprint: str
    dimensions: int
    generation: int
    log: str
    committed: int
    codes: str
    codes_committed: int
    rows: int
    segments: tuple[SegmentEntry, ...] = ()

    @property
    def files(self) -> set[str]:
        """The names of its files."""
        return {self.log, self.codes, *(entry.name for entry in self.segments)}


def record_type(dimensions: int) -> np.dtype[np.void]:
    """The layout of one record."""
    return np.dtype(
        [
            ("check_head", "<u4"),
            ("operation", "<u4"),
            ("row", "<i8"),
            ("killed", "<i8"),
            ("codes_at", "<i8"),
            ("codes_bytes", "<u4"),
            ("check_body", "<u4"),
            ("version", "<u4"),
            ("digest", "<u8"),
            ("codes_check", "<u4"),
            ("vector", "<f2", (dimensions,)),
        ]
    )


def digest_number(digest: bytes) -> int:
    """The 8 bytes of a digest as they stand in a record."""
    return int.from_bytes(digest, "little")


def build_records(
    changes: Sequence[VectorChange], killed: Sequence[int], dimensions: int, codes_at: int
) -> tuple[bytes, bytes]:
    """The records of `changes`, each in place of the record at its `killed` offset, and their codes.

    Args:
        codes_at: where the codes will begin in their file.
    """
    records = np.zeros(len(changes), dtype=record_type(dimensions))
    codes = [code_bytes(change) for change in changes]
    records["codes_bytes"] = [len(one) for one in codes]
    records["codes_at"] = codes_at + np.cumsum(records["codes_bytes"], dtype=np.int64) - records["codes_bytes"]
    records["codes_check"] = [zlib.crc32(one) for one in codes]
    records["operation"] = [DELETE if change.vector is None else PUT for change in changes]
    records["row"] = [change.row for change in changes]
    records["killed"] = killed
    puts = np.flatnonzero(records["operation"] == PUT)
    if len(puts):
        put = [changes[place] for place in puts.tolist()]
        records["version"][puts] = [change.version for change in put]
        records["digest"][puts] = [digest_number(change.digest) for change in put]
        records["vector"][puts] = np.stack([change.vector for change in put if change.vector is not None])
    raw = split_records(records.view(np.uint8).data, dimensions)
    for checked, check in (("check_head", check_head), ("check_body", check_body)):
        records[checked] = [check(record) for record in raw]
    return records.tobytes(), b"".join(codes)


def split_records(data: bytes | memoryview, dimensions: int) -> list[memoryview]:
    """The bytes of each record."""
    size = record_type(dimensions).itemsize
    view = memoryview(data)
    return [view[start : start + size] for start in range(0, len(data), size)]


def check_head(record: memoryview) -> int:
    """The checksum of a record's head."""
    return zlib.crc32(record[_CHECK_BYTES:_HEAD_BYTES])


def check_body(record: memoryview) -> int:
    """The checksum of a record's body under its head."""
    return zlib.crc32(record[_HEAD_BYTES + _CHECK_BYTES :], zlib.crc32(record[:_HEAD_BYTES]))


def read_bytes(path: Path) -> bytes:
    """A manifest as it is on disk; empty where there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def parse_manifest(path: Path, raw: bytes) -> Manifest:
    """The manifest in `raw`.

    Raises:
        IndexDamaged: it is not one, or of another format.
    """
    try:
        values: dict[str, Any] = json.loads(raw)
        check = values.pop("check")
        kind = values.pop("format")
        if kind != FORMAT:
            raise damaged(path, f"format {kind}, this version reads {FORMAT}")
        segments = tuple(SegmentEntry(**entry) for entry in values.pop("segments"))
        manifest = Manifest(**values, segments=segments)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(path, "not a manifest") from error
    if check != _check_manifest(manifest):
        raise damaged(path, "its bytes changed")
    return manifest


def named_by(path: Path) -> Manifest | None:
    """The manifest at `path`, whatever it was built with; None where there is none that can be read."""
    try:
        return parse_manifest(path, read_bytes(path))
    except IndexDamaged:
        return None


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Swap the manifest, durably."""
    values = {"format": FORMAT, **asdict(manifest), "check": _check_manifest(manifest)}
    swap(path, json.dumps(values, indent=1).encode())


def append(path: Path, committed: int, data: bytes) -> None:
    """Write records or codes behind the committed bytes, in place of what an interrupted write left, durably."""
    with path.open("r+b" if committed else "wb") as file:
        file.truncate(committed)
        file.seek(committed)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def erase_bodies(log: Path, codes: Path, offsets: Iterable[int], record_bytes: int) -> None:
    """Overwrite the codes and then the bodies of dead records with zeros, those that are not yet, durably."""
    zeros = bytes(record_bytes - _HEAD_BYTES)
    with log.open("r+b", buffering=0) as file:
        read = ((offset, os.pread(file.fileno(), record_bytes, offset)) for offset in offsets)
        dead = {offset: record[:_HEAD_BYTES] for offset, record in read if record[_HEAD_BYTES:] != zeros}
        if not dead:
            return
        vector_codes.erase(codes, [_CODES_IN_HEAD.unpack(head[-_CODES_IN_HEAD.size :]) for head in dead.values()])
        for offset in dead:
            os.pwrite(file.fileno(), zeros, offset + _HEAD_BYTES)
        os.fsync(file.fileno())


def _check_manifest(manifest: Manifest) -> int:
    return zlib.crc32(json.dumps(asdict(manifest), sort_keys=True).encode())
