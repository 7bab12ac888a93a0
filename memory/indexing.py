"""From SQL to the vector index: applying the outbox, rebuilding, comparing.

The outbox says which rows to look at; what is done to them is read from SQL at that moment, so an entry may be
applied twice, late, or in any batch with one effect. A row that is gone or not active is deleted from the index; a
passage whose encoded text has not changed (by its digest) is left alone. A text is encoded once, to its vector and its
token codes. The index has a vector for each passage of a memory, under its key (`retrieval.passages`); all of a
memory's are brought up to date in one step, so that no search sees a part of it.

Invariants: the index's writer lock is held from reading the outbox to emptying it, so two processes never interleave;
entries are taken out only after the index has them on disk; text is encoded outside every SQL transaction.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from memory.ingest import content_digest, embedded_texts
from memory.model import Memory
from memory.ports import Store
from recalld.core.errors import IndexDamaged
from retrieval.passages import key, possible_keys, row_of
from retrieval.ports import Codes, Encoder, Floats, RowState, VectorChange, VectorIndex
from retrieval.token_codes import content, pack, thresholds

# Both are also the most passages at work, but for one memory that has more.
BATCH_ROWS = 128
# Few, because an erasure waits for the batch at work.
APPLY_ROWS = 32

_Encoded = tuple[Floats, Codes]
_Texts = dict[int, tuple[Memory, str]]
Transaction = Callable[[], AbstractContextManager[Store]]


class Rebuild(Protocol):
    """A second copy of one namespace's index, written while the first one serves."""

    def states(self) -> Mapping[int, RowState]:
        """What it holds already: a rebuild goes on where it was killed."""
        ...

    def add(self, changes: Sequence[VectorChange]) -> None:
        """Write changes to it."""
        ...

    def finish(self) -> None:
        """Let it take the place of the first one."""
        ...


class RebuildableIndex(VectorIndex, Protocol):
    """A vector index on disk."""

    def writer_lock(self) -> AbstractContextManager[None]:
        """The one writer's lock, over all processes; re-entrant."""
        ...

    def namespaces(self) -> list[str]:
        """Those that have an index."""
        ...

    def rebuild(self, namespace: str) -> AbstractContextManager[Rebuild]:
        """Begin to rebuild a namespace, or go on."""
        ...

    def drop(self, namespace: str) -> None:
        """Delete a namespace's index."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows of one namespace in which an index and SQL differ, a few of each."""

    namespace: str
    index: str
    missing: tuple[int, ...]
    stale: tuple[int, ...]
    surplus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fresh:
    """What the index does not have yet, or has an older version of: vectors and token codes by key."""

    vectors: dict[int, Floats]
    codes: dict[int, Codes]


class Indexer:
    """Brings the vector index up to date with SQL."""

    def __init__(self, encoder: Encoder, vectors: RebuildableIndex, read: Transaction, write: Transaction) -> None:
        self._encoder = encoder
        self._vectors = vectors
        self._read = read
        self._write = write
        self._recent = _Recent()

    def apply(self, limit: int = APPLY_ROWS) -> int:
        """Apply the oldest entries of the outbox; returns how many there were.

        A namespace whose index is damaged does not keep the others waiting: its entries stay in the outbox.

        Raises:
            IndexDamaged: an index is damaged, and there was nothing to apply to another one.
        """
        with self._read() as store:
            namespaces = store.waiting_namespaces()
        done, damaged = 0, None
        for namespace in namespaces:
            try:
                done += self._apply(namespace, limit, 0)
            except IndexDamaged as error:
                damaged = error
        if damaged is not None and not done:
            raise damaged
        return done

    def apply_all(self) -> int:
        """Apply what is in the outbox now, not what others put in meanwhile; returns how many entries that took."""
        done = 0
        with self._read() as store:
            newest = store.newest_entry()
        while self._waits(newest):
            done += self.apply()
        return done

    def apply_since(self, namespace: str, entry: int) -> None:
        """Apply what was put in the outbox after `entry`, whatever waits before it: an erasure is not to wait."""
        while self._apply(namespace, APPLY_ROWS, entry):
            pass

    def _waits(self, newest: int) -> bool:
        with self._read() as store:
            oldest = store.outbox(1)
        return bool(oldest) and oldest[0].number <= newest

    def _apply(self, namespace: str, limit: int, after: int) -> int:
        with self._vectors.writer_lock():
            with self._read() as store:
                entries = store.outbox(limit, namespace, after)
                waiting = [entry.row for entry in entries]
                loaded = _load(store, namespace, waiting)
            rows = next(_parts(waiting, loaded, APPLY_ROWS), [])
            entries = entries[: len(rows)]
            states = self._vectors.states(namespace)
            held, _ = self._vectors.vectors(namespace, possible_keys(np.array(rows, dtype=np.int64)))
            wanted = _of_rows(loaded, rows)
            changes = self._changes(wanted, states) + _gone(held.tolist(), wanted, states)
            if changes:
                self._vectors.apply(namespace, changes)
            if entries:
                with self._write() as store:
                    store.finish(entries)
        return len(entries)

    def fresh_vectors(self, store: Store, namespace: str, rows: Sequence[int]) -> Fresh:
        """Those of rows whose entries are still in the outbox, encoded once however often they are asked for."""
        texts = {each: text for each, (_, text) in _load(store, namespace, rows).items()}
        encoded = dict(zip(texts, self._recent.of(list(texts.values()), self._encode), strict=True))
        return Fresh(
            {each: vector for each, (vector, _) in encoded.items()},
            {each: codes for each, (_, codes) in encoded.items()},
        )

    def vectors_of(self, namespace: str, memories: Sequence[Memory]) -> list[Floats | None]:
        """The vector of each memory's first passage as the index has it; None where it has none, or is damaged."""
        keys = np.array(sorted({key(memory.row) for memory in memories}), dtype=np.int64)
        try:
            rows, vectors = self._vectors.vectors(namespace, keys)
        except IndexDamaged:
            return [None] * len(memories)
        known = dict(zip(rows.tolist(), vectors, strict=True))
        return [known.get(key(memory.row)) for memory in memories]

    def rebuild(self, namespace: str, progress: Callable[[int], None] = lambda rows: None) -> int:
        """Encode a namespace again from SQL while the old index serves; goes on where it was killed.

        Returns:
            how many memories the new index holds.
        """
        with self._vectors.rebuild(namespace) as rebuild:
            for rows in self._walk(namespace):
                self._bring(rebuild, namespace, rows)
                progress(len(rows))
            with self._vectors.writer_lock():
                live: set[int] = set()
                for rows in self._walk(namespace):
                    live |= self._bring(rebuild, namespace, rows)
                states = rebuild.states()
                gone = _gone(states, live, states)
                if gone:
                    rebuild.add(gone)
                rebuild.finish()
        return len({row_of(each) for each in live})

    def differences(self, namespace: str) -> Difference | None:
        """How the vector index differs from SQL; None where it does not. Apply the outbox first.

        Under the writer lock, what others write meanwhile stays in the outbox: that is late, not different.

        Raises:
            IndexDamaged: the index cannot be read, vectors and token codes included.
        """
        known = dict(self._vectors.states(namespace))
        missing, stale = [], []
        for rows in self._walk(namespace):
            with self._read() as store:
                wanted = _load(store, namespace, rows)
            keys = np.array(list(wanted), dtype=np.int64)
            self._vectors.vectors(namespace, keys)
            self._vectors.codes(namespace, keys)
            for each, (_, text) in wanted.items():
                state = known.pop(each, None)
                if state is None:
                    missing.append(each)
                elif state.digest != content_digest(text):
                    stale.append(each)
        with self._read() as store:
            waiting = {entry.row for entry in store.outbox(store.waiting())}
        differing = ({row_of(each) for each in keys} for keys in (missing, stale, known))
        found = [tuple(sorted(rows - waiting)[:10]) for rows in differing]
        return Difference(namespace, "vectors", *found) if any(found) else None

    def _walk(self, namespace: str) -> Iterator[list[int]]:
        after = 0
        while True:
            with self._read() as store:
                rows = store.active_rows(namespace, after, BATCH_ROWS)
            if not rows:
                return
            yield rows
            after = rows[-1]

    def _bring(self, rebuild: Rebuild, namespace: str, rows: Sequence[int]) -> set[int]:
        """Make a rebuilt index have what it should have of these rows; returns their keys."""
        with self._read() as store:
            loaded = _load(store, namespace, rows)
        for part in _parts(rows, loaded, BATCH_ROWS):
            changes = self._changes(_of_rows(loaded, part), rebuild.states())
            if changes:
                rebuild.add(changes)
        return set(loaded)

    def _changes(self, wanted: _Texts, states: Mapping[int, RowState]) -> list[VectorChange]:
        """What an index lacks or has otherwise of these passages."""
        digests = {each: content_digest(text) for each, (_, text) in wanted.items()}
        known = {each: states.get(each) for each in wanted}
        stale = [each for each, state in known.items() if state is None or state.digest != digests[each]]
        encoded = self._recent.of([wanted[each][1] for each in stale], self._encode)
        return [
            VectorChange(each, wanted[each][0].version, digests[each], vector, codes)
            for each, (vector, codes) in zip(stale, encoded, strict=True)
        ]

    def _encode(self, texts: Sequence[str]) -> list[_Encoded]:
        """Vector and token codes of each text, in parts: token vectors are large until they are packed."""
        encoded: list[_Encoded] = []
        for start in range(0, len(texts), BATCH_ROWS):
            vectors, tokens = self._encoder.encode_both(texts[start : start + BATCH_ROWS])
            cuts = thresholds(self._encoder)
            encoded += [
                (vector, pack(content(found).vectors, cuts)) for vector, found in zip(vectors, tokens, strict=True)
            ]
        return encoded


class _Recent:
    """What the last few texts were encoded to, some before their turn in the outbox."""

    def __init__(self, size_max: int = 1024) -> None:
        self._size_max = size_max
        self._kept: OrderedDict[str, _Encoded] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, texts: Sequence[str], encode: Callable[[Sequence[str]], list[_Encoded]]) -> list[_Encoded]:
        with self._lock:
            known = {text: self._kept[text] for text in texts if text in self._kept}
        unknown = list(dict.fromkeys(text for text in texts if text not in known))
        known |= dict(zip(unknown, encode(unknown), strict=True))
        with self._lock:
            self._kept |= known
            while len(self._kept) > self._size_max:
                self._kept.popitem(last=False)
        return [known[text] for text in texts]


def _load(store: Store, namespace: str, rows: Sequence[int]) -> _Texts:
    """Every passage of the rows that are active, by key, with what is encoded for it."""
    found = {row: memory for row, memory in store.load(namespace, rows).items() if memory.state == "active"}
    before = store.previous_turns(namespace, list(found))
    return {
        key(row, number): (memory, text)
        for row, memory in sorted(found.items())
        for number, text in enumerate(embedded_texts(memory, before.get(row)))
    }


def _parts(rows: Sequence[int], loaded: _Texts, passages_max: int) -> Iterator[list[int]]:
    """The rows in order, cut into parts that have at most so many passages, or are one row."""
    counts = Counter(map(row_of, loaded))
    part: list[int] = []
    for row in rows:
        if part and sum(counts[each] for each in part) + counts[row] > passages_max:
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def _of_rows(loaded: _Texts, rows: Collection[int]) -> _Texts:
    chosen = set(rows)
    return {each: text for each, text in loaded.items() if row_of(each) in chosen}


def _gone(held: Iterable[int], wanted: Container[int], states: Mapping[int, RowState]) -> list[VectorChange]:
    """Deletes what is held and should not be."""
    return [VectorChange(each, states[each].version, states[each].digest, None) for each in held if each not in wanted]
