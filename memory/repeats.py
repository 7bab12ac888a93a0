"""Turns that nearly repeat an earlier one, kept as changes: both stay, and the change says which two.

A change of kind `near_duplicate` is on two turns, the newer first; an undone one is not made again. The filters of a
namespace (`memory.band_filters`) propose, and the texts decide (`memory.near_duplicates`): a false answer of a filter
costs a search, never a change.

The filters are a file of the data folder, named after the namespace's digest. It holds bits, no text, and follows the
change log as far as this learner has seen it: what it lacks is read from SQL before every step, and a file that is
missing, torn, of other settings or ahead of SQL is made anew from there. An erasure removes it, because nothing can be
taken out of a Bloom filter; whoever holds a copy in memory finds out by the file's name for itself, its epoch, and
neither uses nor writes that copy again.
"""

import os
import threading
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from memory.band_filters import BandFilters, FilterSettings, layer_size
from memory.decisions import Decision, record_new
from memory.merge import digest
from memory.minhash import REVISION
from memory.model import Change, Deriver, Memory, Selection
from memory.near_duplicates import BANDS, SHINGLED_TERMS_MIN, Compared, compared, keys, repeats, term_groups, words_of
from memory.ports import Store, StoreTransaction
from recalld.core.clock import Clock
from recalld.core.files import BESIDE, locked, name_of, seal, swap, unseal
from recalld.core.ids import IdSource

FORMAT = 1
SUFFIX = ".bands"
_HEADER_BYTES = 1024
_READ_MEMORIES = 1000
_LOCK_SECONDS = 60.0
_CANDIDATES_MAX = 20
_SAVE_TEXTS_MIN = 1000
_ORDER = attrgetter("order")
_REASON = "nearly the same text, said again in the same scope by the same speaker"


@dataclass
class Known:
    """A namespace's filters in memory.

    Attributes:
        epoch: of the file that they belong to.
        through: the change up to which every turn is in them.
        learned: versions by id of turns that are in them already, from changes behind `through`.
        saved: how many texts the file holds.
    """

    epoch: str
    filters: BandFilters
    through: int = 0
    learned: dict[str, int] = field(default_factory=dict)
    saved: int = 0


class Repeats:
    """Learns which turns nearly repeat an earlier one; see the module's docstring."""

    def __init__(
        self,
        folder: Path,
        read: StoreTransaction,
        clock: Clock,
        ids: IdSource,
        settings: FilterSettings = FilterSettings(),
    ) -> None:
        """Keep filters in `folder`, which is made when there is one to keep."""
        self._folder = folder
        self._read = read
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._known: dict[str, Known] = {}
        self._lock = threading.RLock()

    @property
    def made_by(self) -> Deriver:
        """Its name and version."""
        return Deriver("near_duplicates", "1")

    def prepare(self, namespace: str) -> None:
        """Bring the filters up to what was learned of, outside of any write transaction."""
        with self._lock:
            known = self._current(namespace)
            with self._read() as store:
                until = store.derived_until(namespace, self.made_by)
            if known.through > until:
                self.forget(namespace)
                known = self._current(namespace)
            while known.through < until:
                self._catch_up(namespace, known, until)
            if known.filters.texts - known.saved >= max(_SAVE_TEXTS_MIN, known.saved // 10):
                self._save(namespace, known)

    def learn(self, store: Store, namespace: str, sources: Sequence[Memory]) -> list[Change]:
        """Tell which of these turns nearly repeat another one, or are repeated by one."""
        told = [(memory, text) for memory in sources if (text := compared(memory)) is not None]
        if not told:
            return []
        with self._lock:
            # Not looked up again within the caller's transaction: a copy that no longer counts is not written.
            known = self._known.get(namespace) or self._current(namespace)
            seen = known.filters.add(keys([text for _, text in told]))
            known.learned |= {memory.id: memory.version for memory, _ in told}
        found: dict[tuple[str, str], Memory] = {}
        for (memory, text), again in zip(told, seen.tolist(), strict=True):
            other = self._other(store, memory, text) if again else None
            if other is not None:
                newer, older = sorted((memory, other), key=_ORDER, reverse=True)
                found[newer.id, older.id] = newer
        said = [
            Decision("near_duplicate", _REASON, pair, digest("near_duplicate", *pair), newer.item.scope)
            for pair, newer in found.items()
        ]
        return record_new(store, namespace, said, self._clock.now(), self._ids)

    def forget(self, namespace: str) -> None:
        """Remove the filters, which are made anew when they are next asked: something was erased."""
        with self._lock, self._files():
            self._known.pop(namespace, None)
            path = self._path(namespace)
            # The one beside it is what a write left that was killed.
            for each in (path, path.with_suffix(BESIDE)):
                with suppress(FileNotFoundError):
                    size = each.stat().st_size
                    with each.open("r+b") as file:
                        file.write(bytes(size))
                        file.flush()
                        os.fsync(file.fileno())
                    each.unlink()

    def _catch_up(self, namespace: str, known: Known, until: int) -> None:
        """Add what the next changes touched."""
        with self._read() as store:
            end = store.range_end(namespace, known.through, _READ_MEMORIES)
            end = min(end, until) if end > known.through else until
            ids = [memory_id for _, memory_id in store.changed(namespace, known.through, end)]
            memories = store.get(namespace, ids)
        fresh = [memory for memory in memories if known.learned.get(memory.id) != memory.version]
        texts = [text for memory in fresh if (text := compared(memory)) is not None]
        if texts:
            known.filters.add(keys(texts))
        for memory_id in ids:
            known.learned.pop(memory_id, None)
        known.through = end

    def _other(self, store: Store, memory: Memory, text: Compared) -> Memory | None:
        """The turn that says the same: the last one before it, else the first one after it."""
        long = len(text.terms) >= SHINGLED_TERMS_MIN
        groups = term_groups(text.terms) if long else [list(text.terms)]
        words = words_of(text)
        same: dict[str, Memory] = {}
        for group in groups:
            wanted = Selection(
                scope=memory.item.scope,
                kinds=("turn",),
                derived=False,
                text=" ".join(words.get(term, term) for term in group),
            )
            for other in store.select(memory.namespace, wanted, self._clock.now(), _CANDIDATES_MAX):
                told = None if other.id in (memory.id, *same) else compared(other)
                if told is not None and repeats(text, told):
                    same[other.id] = other
        before = [other for other in same.values() if other.order < memory.order]
        return max(before, key=_ORDER) if before else min(same.values(), key=_ORDER, default=None)

    def _current(self, namespace: str) -> Known:
        """The filters of the file that is there, which is made where there is none or it cannot be used."""
        with self._files():
            known, header = self._known.get(namespace), self._header(namespace)
            if known is not None and header is not None and header["epoch"] == known.epoch:
                return known
            known = self._loaded(namespace, header) if header is not None else None
            if known is None:
                known = Known(uuid.uuid4().hex, BandFilters(self._settings))
                self._write(namespace, known)
            self._known[namespace] = known
            return known

    def _save(self, namespace: str, known: Known) -> None:
        with self._files():
            header = self._header(namespace)
            if header is not None and header["epoch"] == known.epoch and header["through"] <= known.through:
                self._write(namespace, known)

    def _header(self, namespace: str) -> dict[str, Any] | None:
        """What the file says of itself; None where there is none, or one that cannot be used."""
        try:
            with self._path(namespace).open("rb") as file:
                told, right = unseal(file.read(_HEADER_BYTES))
        except (OSError, ValueError):
            return None
        return told if right and told.get("kind") == self._kind() else None

    def _kind(self) -> dict[str, int | float]:
        """What a file was made with: bits of another kind mean something else."""
        return {"format": FORMAT, "keys": REVISION, "rows": BANDS.rows, **asdict(self._settings)}

    def _loaded(self, namespace: str, header: dict[str, Any]) -> Known | None:
        raw = self._path(namespace).read_bytes()[_HEADER_BYTES:]
        if zlib.crc32(raw) != header["check"]:
            return None
        texts, layers, at = int(header["texts"]), [], 0
        for number in range(int(header["layers"])):
            size = self._settings.bands * layer_size(self._settings, number).bits // 8
            layer = np.frombuffer(raw[at : at + size], dtype=np.uint8).reshape(self._settings.bands, -1)
            layers.append(layer.copy())
            at += size
        filters = BandFilters(self._settings, layers, texts)
        return Known(str(header["epoch"]), filters, int(header["through"]), {}, texts)

    def _write(self, namespace: str, known: Known) -> None:
        """Swap the file, durably."""
        filters = known.filters
        raw = b"".join(layer.tobytes() for layer in filters.layers)
        told = {"kind": self._kind(), "epoch": known.epoch, "through": known.through, "texts": filters.texts}
        header = seal(told | {"layers": len(filters.layers), "check": zlib.crc32(raw)}, _HEADER_BYTES)
        swap(self._path(namespace), header + raw)
        known.saved = filters.texts

    def _path(self, namespace: str) -> Path:
        return self._folder / f"{name_of(namespace)}{SUFFIX}"

    @contextmanager
    def _files(self) -> Iterator[None]:
        """Alone with the files, over all processes.

        Raises:
            Unavailable: another one holds them for `_LOCK_SECONDS`.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(self._folder / "filters.lock")
        with locked(lock, _LOCK_SECONDS, "another process uses the near-duplicate filters"):
            yield
