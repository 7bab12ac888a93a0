"""The token codes of the log of the vector index: bytes in a file beside it, read by place.

Each record of the log says where its codes are, how many bytes they have and their CRC-32, which is checked at every
read. They are not held in memory: a search reads those of the few rows that it brings to the top. Rows written together
lie together, so one read takes in the neighbours of what was asked for. Read with `pread`, not through a memory map: a
file that somebody else cut short is then an error, not a signal that ends the process.

Invariants: codes are on disk before the record that names them is; bytes of a dead record are zeros before the
record's own are, so a record that is overwritten has no codes left.
"""

import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recalld.core.errors import IndexDamaged
from retrieval.ports import Codes, VectorChange

_READ_BYTES = 4096


def damaged(path: Path, what: str) -> IndexDamaged:
    """The error that names the file and the way out."""
    return IndexDamaged(f"{path}: {what}; `recalld reindex` rebuilds the index")


def width(dimensions: int) -> int:
    """Bytes of one token's code."""
    return (dimensions + 7) // 8


def spans(begins: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each begin on, as many as its size, one span after another."""
    starts = np.cumsum(sizes) - sizes
    return np.repeat(begins - starts, sizes) + np.arange(int(sizes.sum()))


def code_bytes(change: VectorChange) -> bytes:
    """The codes that a change puts, as they stand in the file."""
    return b"" if change.vector is None or change.codes is None else change.codes.tobytes()


def checked_size(path: Path, committed: int) -> int:
    """The size of a file that has at least its committed bytes.

    Raises:
        IndexDamaged: it is missing or shorter.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise damaged(path, "missing") from error
    if size < committed:
        raise damaged(path, f"torn: {size} of {committed} committed bytes")
    return size


def read(path: Path, places: NDArray[np.void]) -> Codes:
    """The bytes of each place, one after another.

    Args:
        places: `[K]` with `codes_at`, `codes_bytes` and `codes_check`.

    Raises:
        FileNotFoundError: the file is gone.
        IndexDamaged: bytes are missing or changed.
    """
    sizes = places["codes_bytes"].astype(np.int64)
    ends = np.cumsum(sizes)
    found = bytearray(int(sizes.sum()))
    held = np.flatnonzero(sizes)
    held = held[np.argsort(places["codes_at"][held], kind="stable")]
    columns = (places["codes_at"][held], sizes[held], places["codes_check"][held], ends[held])
    window, begin = b"", 0
    with path.open("rb", buffering=0) as file:
        for at, size, check, end in zip(*(column.tolist() for column in columns), strict=True):
            if at + size > begin + len(window):
                window, begin = os.pread(file.fileno(), max(size, _READ_BYTES), at), at
            codes = window[at - begin : at - begin + size]
            if len(codes) != size or zlib.crc32(codes) != check:
                raise damaged(path, f"the codes at byte {at} changed")
            found[end - size : end] = codes
    return np.frombuffer(found, dtype=np.uint8)


def erase(path: Path, places: Iterable[tuple[int, int]]) -> None:
    """Overwrite with zeros, durably, the bytes at each (offset, size)."""
    filled = [(offset, size) for offset, size in places if size]
    if not filled:
        return
    with path.open("r+b", buffering=0) as file:
        for offset, size in filled:
            os.pwrite(file.fileno(), bytes(size), offset)
        os.fsync(file.fileno())
