"""Writing a segment, part by part, durably. The rows keep their order; who names the file is the caller's affair."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.vectors.half import Halves
from compress.vectors.inverted import Lists, assign
from retrieval.ports import Codes, Floats, Rows
from retrieval.vector_checks import Words, check_words, words_of
from retrieval.vector_segment_format import (
    ENTRY,
    LIST_BYTES,
    Entries,
    Layout,
    check_entries,
    check_fixed,
    header_bytes,
)


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows to write into a segment, by row.

    Attributes:
        rows: `[n]`.
        version: `[n]` u4.
        digest: `[n]` u8.
        vectors: `[n, D]` float16.
        product: `[n, bytes]` product codes; None: to be made.
        codes: token codes of each, one after another.
        codes_check: `[n]` the CRC-32 of each.
    """

    rows: Rows
    version: NDArray[np.uint32]
    digest: Words
    vectors: Halves
    product: Codes | None
    codes: bytes
    codes_check: NDArray[np.uint32]


def write_segment(
    path: Path,
    rows: Rows,
    token_bytes: NDArray[np.int64],
    dimensions: int,
    parts: Iterable[Part],
    centroids: Floats | None = None,
) -> None:
    """Write a segment into an empty file, durably.

    Args:
        rows: `[N]` ascending.
        token_bytes: `[N]` bytes of token codes of each.
        parts: those rows, in order.
        centroids: `[lists, D]` of inverted lists, each row to be in the nearest one's; None: no lists.

    Raises:
        FileNotFoundError: somebody removed the file.
    """
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(token_bytes, dtype=np.int64)])
    middles = b"" if centroids is None else centroids.tobytes()
    layout = Layout(len(rows), dimensions, int(starts[-1]), 0 if centroids is None else len(centroids))
    with path.open("r+b") as file:
        file.write(header_bytes(layout, check_fixed(rows.tobytes(), starts.tobytes(), middles)))
        file.write(rows.tobytes())
        file.write(starts.tobytes())
        file.truncate(layout.end)
        descriptor, done = file.fileno(), 0
        file.flush()
        for part in parts:
            vectors = part.vectors.astype(np.float32)
            product = layout.codec.encode(vectors) if part.product is None else part.product
            lists = None if centroids is None else assign(vectors, centroids)
            entries = _entries_of(part, product, lists)
            for at, each, data in (
                (layout.entries, ENTRY.itemsize, entries.tobytes()),
                (layout.product, layout.codec.bytes_vector, product.tobytes()),
                (layout.vectors, 2 * dimensions, part.vectors.tobytes()),
                (layout.list_numbers, LIST_BYTES, b"" if lists is None else lists.tobytes()),
            ):
                _write_all(descriptor, data, at + done * each)
            _write_all(descriptor, part.codes, layout.tokens + int(starts[done]))
            done += len(part.rows)
        _write_all(descriptor, middles, layout.centroids)
        os.fsync(descriptor)


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def _entries_of(part: Part, product: Codes, lists: Lists | None) -> Entries:
    entries = np.zeros(len(part.rows), dtype=ENTRY)
    entries["version"], entries["digest"] = part.version, part.digest
    entries["codes_check"] = part.codes_check
    entries["vector_check"] = check_words(words_of(part.vectors))
    entries["check"] = check_entries(part.rows, entries, product, lists)
    return entries
