"""A segment: many rows of the vector index in one file that does not change, but for rows that died.

    header    4,096 bytes: one line of JSON (format, codec, dimensions, rows, bytes of tokens, check of numbers and
              starts), zeros
    numbers   `[N]` i64: the rows, ascending
    starts    `[N + 1]` i64: row k's token codes are bytes starts[k] to starts[k + 1] of `tokens`
    entries   `[N]` of 32 bytes: version u32 | crc of the token codes u32 | digest u64 | check of the vector u64 | check
              of the entry and the product code under its row u64; zeros: dead
    codes     `[N]` product codes
    vectors   `[N, D]` float16
    tokens    token codes, one after another

In memory are the product codes (as `FastScan` orders them), four or eight bytes a row for its number, and a byte and a
bit of flags. The rest is mapped: an exact search reads the vectors of the rows that it compares.

A row that another one took the place of is dead by the log's record first, durably; then its entry, code, vector and
token codes are overwritten with zeros. Numbers and starts stay, as heads do in the log. Every checksum is of one row,
so the others are not touched: entries and codes are checked when the file is opened, a vector when it is first read,
token codes whenever they are.

How rows are checked is in `vector_checks`.
"""

import json
import mmap
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.vectors.fastscan import FastScan
from compress.vectors.gaussian_pq import GaussianPQ
from compress.vectors.half import Halves, scan
from retrieval import vector_codes
from retrieval.ports import Codes, Floats, Rows
from retrieval.vector_checks import Words, check_words, words_of
from retrieval.vector_codes import damaged

FORMAT = 1
CODEC = f"gaussian-pq:{GaussianPQ(0).seed}"
SUFFIX = ".seg"
MERGE = "merge.json"
UNFINISHED = ".new"
_HEADER_BYTES = 4096
COPY_ROWS = 8192
_ENTRY = np.dtype(
    [
        ("version", "<u4"),
        ("codes_check", "<u4"),
        ("digest", "<u8"),
        ("vector_check", "<u8"),
        ("check", "<u8"),
    ]
)

Entries = NDArray[np.void]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]


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


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a file begin."""

    rows: int
    dimensions: int
    token_bytes: int

    @property
    def codec(self) -> GaussianPQ:
        return GaussianPQ(self.dimensions)

    @property
    def starts(self) -> int:
        return _HEADER_BYTES + 8 * self.rows

    @property
    def entries(self) -> int:
        return self.starts + 8 * (self.rows + 1)

    @property
    def product(self) -> int:
        return self.entries + _ENTRY.itemsize * self.rows

    @property
    def vectors(self) -> int:
        return -(-(self.product + self.codec.bytes_vector * self.rows) // 64) * 64

    @property
    def tokens(self) -> int:
        return self.vectors + 2 * self.dimensions * self.rows

    @property
    def end(self) -> int:
        return self.tokens + self.token_bytes


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
            header = _header(path, file.read(_HEADER_BYTES))
            layout = Layout(int(header["rows"]), int(header["dimensions"]), int(header["tokens"]))
            size = os.fstat(file.fileno()).st_size
            if size != layout.end or layout.dimensions != dimensions:
                raise damaged(path, f"torn: {size} of {layout.end} bytes")
            self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            self._descriptor = os.dup(file.fileno())
        self.layout = layout
        count = layout.rows
        numbers = np.frombuffer(self._map, np.int64, count, _HEADER_BYTES)
        self._starts = np.frombuffer(self._map, np.int64, count + 1, layout.starts)
        check = zlib.crc32(self._starts.tobytes(), zlib.crc32(numbers.tobytes()))
        if check != header["check"]:
            raise damaged(path, "its row numbers changed")
        self._entries: Entries = np.frombuffer(self._map, _ENTRY, count, layout.entries)
        width = layout.codec.bytes_vector
        self._product = np.frombuffer(self._map, np.uint8, count * width, layout.product).reshape(count, width)
        self.vectors: Halves = np.frombuffer(self._map, np.float16, count * dimensions, layout.vectors).reshape(
            count, dimensions
        )
        self._numbers: Rows = numbers
        self._seen = np.zeros(-(-count // 8), dtype=np.uint8)
        self._scan: FastScan | None = None

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    @property
    def bytes_memory(self) -> int:
        """What is not mapped."""
        return self._seen.nbytes + (self._scan.bytes_memory if self._scan else 0)

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
            if not np.array_equal(
                _check_entries(self.rows(kept), entries[kept], self._product[kept]), entries["check"][kept]
            ):
                raise damaged(self.path, f"an entry behind row {self.rows(kept[:1])} changed")
        return alive

    def scan(self) -> FastScan:
        """The product codes, in memory from the first time on."""
        if self._scan is None:
            self._scan = FastScan(self.layout.codec, self._product)
        return self._scan

    def check_vectors(self, places: Places) -> None:
        """Check those vectors that nobody read yet.

        Raises:
            IndexDamaged: one changed, or the file was cut short meanwhile.
        """
        self._check_whole()
        unseen = places[self._unseen(places)]
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

    def _unseen(self, places: Places) -> NDArray[np.int64]:
        """Which of `places` (numbers from 0) nobody read yet."""
        return np.flatnonzero((self._seen[places >> 3] >> (places & 7).astype(np.uint8) & 1) == 0)

    def _check_block(self, places: Places, vectors: Halves) -> None:
        """Check those of the vectors `[K, D]` at `places` that nobody read yet."""
        unseen = self._unseen(places)
        if len(unseen) == len(places):
            self._check(places, vectors)
        elif len(unseen):
            self._check(places[unseen], vectors[unseen])

    def _check(self, places: Places, vectors: Halves) -> None:
        right = check_words(words_of(vectors)) == self._entries["vector_check"][places]
        if not right.all():
            raise damaged(self.path, f"the vector of row {self.rows(places[~right][:1])[0]} changed")
        np.bitwise_or.at(self._seen, places >> 3, np.uint8(1) << (places & 7).astype(np.uint8))

    def entries(self, places: Places) -> Entries:
        """Version, digest and checks of these rows."""
        return self._entries[places]

    def code_places(self, places: Places) -> NDArray[np.void]:
        """`codes_at`, `codes_bytes` and `codes_check` of each, as `vector_codes.read` takes them."""
        found = np.zeros(len(places), dtype=vector_codes.PLACE)
        found["codes_at"] = self.layout.tokens + self._starts[places]
        found["codes_bytes"] = self._starts[places + 1] - self._starts[places]
        found["codes_check"] = self._entries["codes_check"][places]
        return found

    def part(self, places: Places) -> Part:
        """These rows, to be copied into another segment.

        Raises:
            IndexDamaged: one changed.
        """
        self.check_vectors(places)
        entries = self._entries[places]
        codes = vector_codes.read(self.path, self.code_places(places))
        return Part(
            self.rows(places),
            entries["version"],
            entries["digest"],
            self.vectors[places],
            self._product[places],
            codes.tobytes(),
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
                    (layout.entries + place * _ENTRY.itemsize, _ENTRY.itemsize),
                ):
                    if os.pread(file.fileno(), size, at) != bytes(size):
                        os.pwrite(file.fileno(), bytes(size), at)
                        changed = True
            if changed:
                os.fsync(file.fileno())


def write_segment(
    path: Path, rows: Rows, token_bytes: NDArray[np.int64], dimensions: int, parts: Iterable[Part]
) -> None:
    """Write a segment into an empty file, durably.

    Args:
        rows: `[N]` ascending.
        token_bytes: `[N]` bytes of token codes of each.
        parts: those rows, in order.

    Raises:
        FileNotFoundError: somebody removed the file.
    """
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(token_bytes, dtype=np.int64)])
    layout = Layout(len(rows), dimensions, int(starts[-1]))
    check = zlib.crc32(starts.tobytes(), zlib.crc32(rows.tobytes()))
    with path.open("r+b") as file:
        file.write(_header_bytes(layout, check))
        file.write(rows.tobytes())
        file.write(starts.tobytes())
        file.truncate(layout.end)
        descriptor, done = file.fileno(), 0
        file.flush()
        for part in parts:
            product = layout.codec.encode(part.vectors.astype(np.float32)) if part.product is None else part.product
            entries = _entries_of(part, product)
            for at, each, data in (
                (layout.entries, _ENTRY.itemsize, entries.tobytes()),
                (layout.product, layout.codec.bytes_vector, product.tobytes()),
                (layout.vectors, 2 * dimensions, part.vectors.tobytes()),
            ):
                _write_all(descriptor, data, at + done * each)
            _write_all(descriptor, part.codes, layout.tokens + int(starts[done]))
            done += len(part.rows)
        os.fsync(descriptor)


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def _entries_of(part: Part, product: Codes) -> Entries:
    entries = np.zeros(len(part.rows), dtype=_ENTRY)
    entries["version"], entries["digest"] = part.version, part.digest
    entries["codes_check"] = part.codes_check
    entries["vector_check"] = check_words(words_of(part.vectors))
    entries["check"] = _check_entries(part.rows, entries, product)
    return entries


def _check_entries(rows: Rows, entries: Entries, product: Codes) -> Words:
    """The check of each entry and its code under its row; never 0, which is a dead row's."""
    columns = np.column_stack(
        [
            rows.view(np.uint64),
            entries["version"].astype(np.uint64) << np.uint64(32) | entries["codes_check"],
            entries["digest"],
            entries["vector_check"],
            words_of(product),
        ]
    )
    check = check_words(columns)
    return np.where(check == 0, np.uint64(1), check)


def _header_bytes(layout: Layout, check: int) -> bytes:
    told = {"format": FORMAT, "codec": CODEC, "dimensions": layout.dimensions, "rows": layout.rows}
    line = json.dumps(told | {"tokens": layout.token_bytes, "check": check})
    return json.dumps([line, zlib.crc32(line.encode())]).encode().ljust(_HEADER_BYTES, b"\0")


def _header(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        line, check = json.loads(raw.rstrip(b"\0"))
        told: dict[str, Any] = json.loads(line)
        right = zlib.crc32(line.encode()) == check
    except (ValueError, TypeError, AttributeError) as error:
        raise damaged(path, "not a segment") from error
    if not right:
        raise damaged(path, "its header changed")
    if (told["format"], told["codec"]) != (FORMAT, CODEC):
        raise damaged(path, f"format {told['format']} with {told['codec']}, this version reads {FORMAT} with {CODEC}")
    return told


def give_up_merge(folder: Path) -> None:
    """Remove the copies of rows that a merge has made and nothing names yet. The caller holds the writer lock."""
    (folder / MERGE).unlink(missing_ok=True)
    for path in folder.glob(f"*{SUFFIX}{UNFINISHED}"):
        path.unlink()
