"""A segment: many rows of the vector index in one file that does not change, but for rows that died.

In memory are the product codes (as `FastScan` orders them), eight bytes a row for its place there, and a byte and two
bits of flags. The rest is mapped: an exact search reads the vectors of the rows that it compares.

A row that another one took the place of is dead by the log's record first, durably; then its entry, code, vector, list
and token codes are overwritten with zeros. Numbers and starts stay, as heads do in the log. Every checksum is of one
row, so the others are not touched: entries and codes are checked when the file is opened, a vector when it is first
read, and so token codes.

The parts of the file are in `vector_segment_format`, how it is written in `vector_segment_write`, how rows are checked
in `vector_checks`.
"""

import mmap
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.vectors.fastscan import FastScan
from compress.vectors.half import Halves, scan
from compress.vectors.inverted import Lists
from retrieval import vector_codes
from retrieval.ports import Codes, Floats, Rows
from retrieval.vector_checks import Seen, check_words, words_of
from retrieval.vector_codes import damaged
from retrieval.vector_segment_format import (
    ENTRY,
    HEADER_BYTES,
    LIST_BYTES,
    Entries,
    check_entries,
    check_fixed,
    read_header,
)
from retrieval.vector_segment_write import Part

SUFFIX = ".seg"
MERGE = "merge.json"
UNFINISHED = ".new"
COPY_ROWS = 8192

Places = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Segment:
    """An open file. What it says of dead rows is what it said when it was opened; nothing of a live row changes."""

    def __init__(self, path: Path, dimensions: int) -> None:
        """Open and check a file.

        Raises:
            FileNotFoundError: it is gone.
            IndexDamaged: it is torn, or not what its checksums say.
        """
        self.path = path
        with path.open("rb") as file:
            layout, check = read_header(path, file.read(HEADER_BYTES))
            size = os.fstat(file.fileno()).st_size
            if size != layout.end or layout.dimensions != dimensions:
                raise damaged(path, f"torn: {size} of {layout.end} bytes")
            self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            self._descriptor = os.dup(file.fileno())
        self.layout = layout
        count = layout.rows
        numbers = np.frombuffer(self._map, np.int64, count, HEADER_BYTES)
        self._starts = np.frombuffer(self._map, np.int64, count + 1, layout.starts)
        middles = np.frombuffer(self._map, np.float32, layout.lists * dimensions, layout.centroids).copy()
        if check != check_fixed(numbers.tobytes(), self._starts.tobytes(), middles.tobytes()):
            raise damaged(path, "its row numbers or lists changed")
        self.centroids: Floats = middles.reshape(layout.lists, dimensions)
        self._lists: Lists | None = (
            np.frombuffer(self._map, np.uint16, count, layout.list_numbers) if layout.lists else None
        )
        self._entries: Entries = np.frombuffer(self._map, ENTRY, count, layout.entries)
        width = layout.codec.bytes_vector
        self._product: Codes = np.frombuffer(self._map, np.uint8, count * width, layout.product).reshape(count, width)
        self.vectors: Halves = np.frombuffer(self._map, np.float16, count * dimensions, layout.vectors).reshape(
            count, dimensions
        )
        self._numbers: Rows = numbers
        tokens = np.frombuffer(self._map, np.uint8, int(self._starts[-1]), layout.tokens)
        self._tokens: Codes = tokens.reshape(-1, vector_codes.width(dimensions))
        self._vectors_seen = Seen(count)
        self._tokens_seen = Seen(count)
        self._scan: FastScan | None = None

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    @property
    def bytes_memory(self) -> int:
        """What is not mapped."""
        seen = self._vectors_seen.bytes_memory + self._tokens_seen.bytes_memory
        return seen + (self._scan.bytes_memory if self._scan else 0)

    def rows(self, places: Places) -> Rows:
        """The rows at these places."""
        return self._numbers[places]

    def places(self, rows: Rows) -> Places:
        """Where those of `rows` (ascending) are that were ever in it."""
        if not self.layout.rows:
            return np.zeros(0, dtype=np.int64)
        first, last = self._numbers[0], self._numbers[-1]
        inside = rows[np.searchsorted(rows, first) : np.searchsorted(rows, last, side="right")]
        found = np.searchsorted(self._numbers, inside)
        places: Places = found[self._numbers[found] == inside]
        return places

    def alive(self, buried: Places) -> Flags:
        """Which rows live, by the file as it is now and without the buried ones.

        Raises:
            IndexDamaged: an entry or code changed.
        """
        entries = self._entries.copy()
        alive: Flags = entries["check"] != 0
        alive[buried] = False
        for start in range(0, len(entries), COPY_ROWS):
            kept = start + np.flatnonzero(alive[start : start + COPY_ROWS])
            lists = None if self._lists is None else self._lists[kept]
            checks = check_entries(self.rows(kept), entries[kept], self._product[kept], lists)
            if not np.array_equal(checks, entries["check"][kept]):
                raise damaged(self.path, f"an entry behind row {self.rows(kept[:1])} changed")
        return alive

    def scan(self) -> FastScan:
        """The product codes, in memory from the first time on."""
        if self._scan is None:
            inverted = None if self._lists is None else (self._lists, self.centroids)
            self._scan = FastScan(self.layout.codec, self._product, inverted)
        return self._scan

    def check_vectors(self, places: Places) -> None:
        """Check those vectors that nobody read yet.

        Raises:
            IndexDamaged: one changed, or the file was cut short meanwhile.
        """
        self._check_whole()
        unseen = places[self._vectors_seen.lacks(places)]
        for start in range(0, len(unseen), COPY_ROWS):
            part = unseen[start : start + COPY_ROWS]
            self._check(part, self.vectors[part])

    def compare(self, places: Places, query: Floats, limit: int) -> tuple[Places, Floats]:
        """The best of the vectors at these places, checked before; see `half.scan`.

        Raises:
            IndexDamaged: as in `check_vectors`.
        """
        self._check_whole()
        return scan(self.vectors, places, query, limit, self._check_block)

    def _check_whole(self) -> None:
        if os.fstat(self._descriptor).st_size != self.layout.end:
            raise damaged(self.path, "torn while it was open")

    def _check_block(self, places: Places, vectors: Halves) -> None:
        """Check those of the vectors `[K, D]` at `places` that nobody read yet."""
        unseen = self._vectors_seen.lacks(places)
        if len(unseen) == len(places):
            self._check(places, vectors)
        elif len(unseen):
            self._check(places[unseen], vectors[unseen])

    def _check(self, places: Places, vectors: Halves) -> None:
        right = check_words(words_of(vectors)) == self._entries["vector_check"][places]
        if not right.all():
            raise damaged(self.path, f"the vector of row {self.rows(places[~right][:1])[0]} changed")
        self._vectors_seen.add(places)

    def entries(self, places: Places) -> Entries:
        """Version, digest and checks of these rows."""
        return self._entries[places]

    def token_codes(self, places: Places) -> Codes:
        """The token codes of these rows `[T, ceil(D / 8)]`, one after another; checked when they are first read.

        Raises:
            IndexDamaged: one changed, or the file was cut short meanwhile.
        """
        self._check_whole()
        width = vector_codes.width(self.layout.dimensions)
        sizes = self.token_bytes(places) // width
        found = self._tokens[vector_codes.spans(self._starts[places] // width, sizes)]
        cuts = np.concatenate([[0], np.cumsum(sizes)])
        unseen = self._tokens_seen.lacks(places)
        for number, check in zip(unseen.tolist(), self._entries["codes_check"][places[unseen]].tolist(), strict=True):
            if zlib.crc32(found[cuts[number] : cuts[number + 1]].data) != check:
                raise damaged(self.path, f"the token codes of row {self._numbers[places[number]]} changed")
        self._tokens_seen.add(places[unseen])
        return found

    def part(self, places: Places) -> Part:
        """These rows, to be copied into another segment.

        Raises:
            IndexDamaged: one changed.
        """
        self.check_vectors(places)
        entries = self._entries[places]
        return Part(
            self.rows(places),
            entries["version"],
            entries["digest"],
            self.vectors[places],
            self._product[places],
            self.token_codes(places).tobytes(),
            entries["codes_check"],
        )

    def token_bytes(self, places: Places) -> NDArray[np.int64]:
        """How many bytes of token codes each has."""
        return self._starts[places + 1] - self._starts[places]

    def erase(self, places: Iterable[int]) -> None:
        """Overwrite what the file holds of these rows with zeros, durably, where it is not zeros yet."""
        layout = self.layout
        width, row_bytes = layout.codec.bytes_vector, 2 * layout.dimensions
        with self.path.open("r+b", buffering=0) as file:
            changed = False
            for place in places:
                begin, end = self._starts[place : place + 2].tolist()
                for at, size in (
                    (layout.tokens + begin, end - begin),
                    (layout.vectors + place * row_bytes, row_bytes),
                    (layout.product + place * width, width),
                    (layout.list_numbers + LIST_BYTES * place, LIST_BYTES if layout.lists else 0),
                    (layout.entries + place * ENTRY.itemsize, ENTRY.itemsize),
                ):
                    if os.pread(file.fileno(), size, at) != bytes(size):
                        os.pwrite(file.fileno(), bytes(size), at)
                        changed = True
            if changed:
                os.fsync(file.fileno())


def give_up_merge(folder: Path) -> None:
    """Remove the copies of rows that a merge has made and nothing names yet. The caller holds the writer lock."""
    (folder / MERGE).unlink(missing_ok=True)
    for path in folder.glob(f"*{SUFFIX}{UNFINISHED}"):
        path.unlink()
