"""What erased texts would leave behind, and the search for it in raw bytes, without keeping the texts.

An erasure must be checked after its rows are gone, and go on after a crash. So what is looked for is kept as *keyed
digests of windows* until the check is done:

- of a text, 16 bytes from each place, looked for in a file at every eighth place: a fragment of 23 bytes is found
  wherever it lies, for an eighth of the work;
- of a text shorter than that 8 or 5 bytes, and of each indexed term the last 5, because FTS5 keeps a term without what
  it shares with the one before it. These are looked for at every place, and only where words can be (`narrow`).

Texts are also looked for as JSON writes them and in UTF-16. What is shorter than 5 bytes can not be told from chance.
A table says which numbers may be wanted, and only those are digested (Karp and Rabin, "Efficient randomized
pattern-matching algorithms", IBM J. Res. Dev. 31, 1987).

Invariant: a window is reported only if its 64-bit digest is wanted.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory.ingest import lexical_terms
from memory.model import Memory
from recalld.core.ids import pattern

LONG, MIDDLE, SHORT = 16, 8, 5
ALIGNED = 8
LONG_FROM = LONG + ALIGNED - 1
WINDOWS_MAX = 1024
CHUNK_BYTES = 1 << 18
_BITS_MIN, _BITS_MAX = 16, 24
_MEMORY_ID = re.compile(pattern("mem")[1:-1])
_RECORD = np.dtype([("width", "u1"), ("digest", "<u8"), ("number", "<u4")])
_MASKS = {MIDDLE: np.uint64(2**64 - 1), SHORT: np.uint64(2**40 - 1)}


def strings_of(memory: Memory) -> Iterator[str]:
    """What a memory's version says, in every place where a caller can say something.

    Ids of memories, which derivers cite and name their rows by, are none of it: most characters of one may stand in
    every other id of its millisecond.
    """
    item = memory.item
    for said in (item.text, item.speaker, item.external_id, *_strings(item.metadata), *_strings(item.frame or {})):
        yield from (part for part in _MEMORY_ID.split(said or "") if part)


def plain_spelling(text: str) -> list[bytes]:
    """A text as SQL holds it."""
    return [text.encode()]


def spellings(text: str) -> list[bytes]:
    """A text as files may hold it: UTF-8, JSON with and without escapes, UTF-16."""
    plain = text.encode()
    escaped = (json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode() for ascii_only in (False, True))
    return list(dict.fromkeys([plain, *escaped, text.encode("utf-16-le"), text.encode("utf-16-be")]))


def windows_of(memory: Memory) -> set[bytes]:
    """The windows that a version of a memory would leave."""
    found: set[bytes] = set()
    for text in dict.fromkeys(strings_of(memory)):
        for spelt in spellings(text):
            found |= _windows(spelt)
    for passage in lexical_terms(memory):
        found |= {term.encode()[-SHORT:] for term in passage if len(term.encode()) >= SHORT}
    return found


@dataclass(frozen=True)
class Fingerprints:
    """Digests of windows: what a search looks for.

    Attributes:
        key: of the digests, 32 bytes.
        records: `[N]`, a window each: its width, its digest, and the number that the table filters by.
    """

    key: bytes
    records: NDArray[Any]

    @classmethod
    def of(cls, key: bytes, windows: Iterable[bytes]) -> "Fingerprints":
        """Of windows of 16, 8 or 5 bytes."""
        ordered = sorted(windows)
        records = np.zeros(len(ordered), dtype=_RECORD)
        raw = b"".join(window.ljust(LONG, b"\x00") for window in ordered)
        pairs = np.frombuffer(raw, dtype="<u8").reshape(-1, 2)
        records["width"] = [len(window) for window in ordered]
        records["number"] = _numbers(key, pairs[:, 0], pairs[:, 1]) >> np.uint64(32)
        records["digest"] = [_digest(key, window) for window in ordered]
        return cls(key, records)

    @classmethod
    def read(cls, key: bytes, parts: Iterable[bytes]) -> "Fingerprints":
        """What `write` gave, one or several after another."""
        return cls(key, np.unique(np.frombuffer(b"".join(parts), dtype=_RECORD)))

    def write(self) -> bytes:
        """As bytes, to be kept."""
        return self.records.tobytes()

    def only(self, digests: set[int]) -> "Fingerprints":
        """Those with these digests."""
        wanted = np.array(sorted(digests), dtype=np.uint64)
        return Fingerprints(self.key, self.records[np.isin(self.records["digest"], wanted)])

    def without(self, digests: set[int]) -> "Fingerprints":
        """All but those with these digests."""
        return self.only(self.digests() - digests)

    def digests(self) -> set[int]:
        """All digests."""
        return set(self.records["digest"].tolist())

    def __len__(self) -> int:
        return len(self.records)


class Search:
    """Looks for fingerprints in bytes."""

    def __init__(self, wanted: Fingerprints) -> None:
        self._key = wanted.key
        self._long = _Width.of(wanted, LONG)
        self._narrow = [found for width in (MIDDLE, SHORT) if len(found := _Width.of(wanted, width)) > 0]

    def in_file(self, path: Path, narrow: bool) -> tuple[int, set[int]]:
        """Read a file once; returns its bytes and the digests that are in it.

        Args:
            narrow: whether to look for the short windows as well.

        Raises:
            FileNotFoundError: it is gone.
        """
        size, kept = 0, b""
        found: set[int] = set()
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                size += len(chunk)
                found |= self.in_bytes(kept + chunk, narrow)
                kept = (kept + chunk)[-LONG:]
        return size, found

    def in_bytes(self, data: bytes, narrow: bool) -> set[int]:
        """The digests of the windows that are in `data`, the long ones at every eighth place."""
        found: set[int] = set()
        padded = data + bytes(LONG + ALIGNED)
        for start in range(ALIGNED if narrow and self._narrow else 1):
            count = (len(padded) - start) // 8
            here = np.frombuffer(padded, dtype="<u8", count=count, offset=start)
            if start == 0 and len(self._long):
                numbers = _numbers(self._key, here[:-1], here[1:])
                found |= self._read(padded, self._long, numbers, start)
            for width in self._narrow if narrow else ():
                numbers = _numbers(self._key, here & _MASKS[width.width], None)
                found |= self._read(padded, width, numbers, start)
        return found

    def everywhere(self, data: bytes) -> set[int]:
        """The same with the long ones at every place too: for the little that live rows are."""
        starts = range(ALIGNED if len(self._long) else 1)
        return {digest for start in starts for digest in self.in_bytes(data[start:], narrow=start == 0)}

    def _read(self, padded: bytes, width: "_Width", numbers: NDArray[np.uint64], start: int) -> set[int]:
        places = np.flatnonzero(np.take(width.table, (numbers >> width.shift).view(np.int64))) * 8 + start
        seen = {padded[place : place + width.width] for place in places.tolist()}
        return {digest for window in seen if (digest := _digest(self._key, window)) in width.digests}


@dataclass(frozen=True)
class _Width:
    """The windows of one width: their digests, and a table of the top bits of their numbers."""

    width: int
    digests: frozenset[int]
    table: NDArray[np.bool_]
    shift: np.uint64

    @classmethod
    def of(cls, wanted: Fingerprints, width: int) -> "_Width":
        mine = wanted.records[wanted.records["width"] == width]
        bits = min(_BITS_MAX, max(_BITS_MIN, (64 * len(mine)).bit_length()))
        table = np.zeros(1 << bits, dtype=np.bool_)
        table[mine["number"] >> np.uint32(32 - bits)] = True
        return cls(width, frozenset(mine["digest"].tolist()), table, np.uint64(64 - bits))

    def __len__(self) -> int:
        return len(self.digests)


def _windows(spelt: bytes) -> set[bytes]:
    """Windows of the greatest width that finds it; of a very long text from some runs of places only."""
    widths = ((LONG, LONG_FROM), (MIDDLE, MIDDLE), (SHORT, SHORT))
    width = next((width for width, least in widths if len(spelt) >= least), None)
    if width is None:
        return set()
    places = len(spelt) - width + 1
    every = -(-places // WINDOWS_MAX) * ALIGNED
    chosen = (range(at, min(at + ALIGNED, places)) for at in (*range(0, places, every), max(0, places - ALIGNED)))
    return {spelt[place : place + width] for run in chosen for place in run}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _numbers(key: bytes, low: NDArray[np.uint64], high: NDArray[np.uint64] | None) -> NDArray[np.uint64]:
    """A number for each window of 16 bytes, or for each of at most 8 (`high` is None); its top bits are mixed best."""
    odd, other = (np.frombuffer(key, dtype="<u8")[:2] | np.uint64(1)).tolist()
    mixed = low * np.uint64(odd)
    if high is not None:
        mixed += high * np.uint64(other)
    return mixed


def _digest(key: bytes, window: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(window, digest_size=8, key=key).digest(), "little")
