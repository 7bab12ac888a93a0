"""The file of a segment: where its parts begin, its header, and the check of each row.

header     4,096 bytes: one line of JSON (format, codec, dimensions, rows, bytes of tokens, inverted lists, check of
           numbers, starts and centroids), zeros
numbers    `[N]` i64: the rows, ascending
starts     `[N + 1]` i64: row k's token codes are bytes starts[k] to starts[k + 1] of `tokens`
entries    `[N]` of 32 bytes: version u32 | crc of the token codes u32 | digest u64 | check of the vector u64 |
           check of the entry, the product code and the list under its row u64; zeros: dead
codes      `[N]` product codes
vectors    `[N, D]` float16
tokens     token codes, one after another
lists      `[N]` u16: the inverted list of each; only where there are lists
centroids  `[lists, D]` float32
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.vectors.gaussian_pq import GaussianPQ
from compress.vectors.inverted import Lists
from recalld.core.files import seal, unseal
from retrieval.ports import Codes, Rows
from retrieval.vector_checks import Words, check_words, words_of
from retrieval.vector_codes import damaged

FORMAT = 2
LIST_BYTES = 2
CODEC = f"gaussian-pq:{GaussianPQ(0).seed}"
HEADER_BYTES = 4096
ENTRY = np.dtype(
    [
        ("version", "<u4"),
        ("codes_check", "<u4"),
        ("digest", "<u8"),
        ("vector_check", "<u8"),
        ("check", "<u8"),
    ]
)

Entries = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a file begin."""

    rows: int
    dimensions: int
    token_bytes: int
    lists: int

    @property
    def codec(self) -> GaussianPQ:
        return GaussianPQ(self.dimensions)

    @property
    def starts(self) -> int:
        return HEADER_BYTES + 8 * self.rows

    @property
    def entries(self) -> int:
        return self.starts + 8 * (self.rows + 1)

    @property
    def product(self) -> int:
        return self.entries + ENTRY.itemsize * self.rows

    @property
    def vectors(self) -> int:
        return -(-(self.product + self.codec.bytes_vector * self.rows) // 64) * 64

    @property
    def tokens(self) -> int:
        return self.vectors + 2 * self.dimensions * self.rows

    @property
    def list_numbers(self) -> int:
        return self.tokens + self.token_bytes

    @property
    def centroids(self) -> int:
        return self.list_numbers + (LIST_BYTES * self.rows if self.lists else 0)

    @property
    def end(self) -> int:
        return self.centroids + 4 * self.dimensions * self.lists


def check_fixed(numbers: bytes, starts: bytes, centroids: bytes) -> int:
    """The checksum of what never changes, row by row or at all."""
    return zlib.crc32(centroids, zlib.crc32(starts, zlib.crc32(numbers)))


def check_entries(rows: Rows, entries: Entries, product: Codes, lists: Lists | None) -> Words:
    """The check of each entry, its code and its list under its row; never 0, which is a dead row's."""
    columns = [
        rows.view(np.uint64),
        entries["version"].astype(np.uint64) << np.uint64(32) | entries["codes_check"],
        entries["digest"],
        entries["vector_check"],
        words_of(product),
    ]
    if lists is not None:
        columns.append(lists.astype(np.uint64))
    check = check_words(np.column_stack(columns))
    return np.where(check == 0, np.uint64(1), check)


def header_bytes(layout: Layout, check: int) -> bytes:
    """The first bytes of a file."""
    told = {"format": FORMAT, "codec": CODEC, "dimensions": layout.dimensions, "rows": layout.rows}
    return seal(told | {"tokens": layout.token_bytes, "lists": layout.lists, "check": check}, HEADER_BYTES)


def read_header(path: Path, raw: bytes) -> tuple[Layout, int]:
    """The layout and the checksum of what never changes.

    Raises:
        IndexDamaged: it is not a header, or of another format.
    """
    try:
        told, right = unseal(raw)
    except ValueError as error:
        raise damaged(path, "not a segment") from error
    if not right:
        raise damaged(path, "its header changed")
    if (told["format"], told["codec"]) != (FORMAT, CODEC):
        raise damaged(path, f"format {told['format']} with {told['codec']}, this version reads {FORMAT} with {CODEC}")
    layout = Layout(int(told["rows"]), int(told["dimensions"]), int(told["tokens"]), int(told["lists"]))
    return layout, int(told["check"])
