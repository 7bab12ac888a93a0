"""Memories on their way out: an export, line by line, for as long as somebody reads it.

Each batch is a read transaction of its own, so that a slow reader keeps no log from being written back and no erased
text alive. So a memory is told as it is when its line is written, and what arrives meanwhile may be there or not; what
is erased meanwhile is not. A key that is bound to a scope exports what it may see: a decision then tells only of those
memories, and one that tells of none is left out.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from memory.model import Memory, Selection, State
from memory.store import transfer_sql
from memory.transfer import LineWriter, Moved, StoredVector
from recalld.core.access import Principal
from recalld.core.clock import Clock
from recalld.core.db import Database
from recalld.core.scope import Scope
from retrieval.passages import passage_of, possible_keys, row_of
from retrieval.ports import VectorIndex

ALL_STATES: tuple[State, ...] = ("active", "superseded", "forgotten")
BATCH_MEMORIES = 250


class Exports:
    """See the module's docstring. `fingerprint` is that of the encoder whose vectors the index has."""

    def __init__(self, database: Database, vectors: VectorIndex, fingerprint: str, clock: Clock) -> None:
        self._database = database
        self._vectors = vectors
        self._fingerprint = fingerprint
        self._clock = clock

    def lines(self, who: Principal, scope: Scope, vectors: bool) -> Iterator[bytes]:
        """The lines of an export.

        Args:
            scope: only memories that it covers, within what the key may see.
            vectors: with their vectors and token codes.

        Raises:
            Forbidden: the key is bound to another scope; before the first line.
        """
        selection = Selection(scope=scope.within(who.bound), states=ALL_STATES)
        return self._lines(who.namespace, selection, vectors)

    def _lines(self, namespace: str, selection: Selection, vectors: bool) -> Iterator[bytes]:
        writer = LineWriter()
        yield writer.header(namespace, self._clock.now(), self._fingerprint if vectors else None)
        told: set[str] = set()
        for batch in self._batches(namespace, selection, vectors):
            told |= {moved.memory.id for moved in batch}
            yield b"".join(writer.memory(moved) for moved in batch)
        yield from self._changes(namespace, told, writer)
        yield writer.end()

    def _batches(self, namespace: str, selection: Selection, vectors: bool) -> Iterator[list[Moved]]:
        after = 0
        while True:
            with self._database.read() as connection:
                found = transfer_sql.page(connection, namespace, selection, after, BATCH_MEMORIES)
                old = transfer_sql.histories(connection, namespace, found)
            if not found:
                return
            after = found[-1].row
            stored = self._stored(namespace, found) if vectors else {}
            yield [Moved(memory, tuple(old[memory.id]), tuple(stored.get(memory.row, ()))) for memory in found]

    def _stored(self, namespace: str, found: Sequence[Memory]) -> dict[int, list[StoredVector]]:
        """The vectors of these memories, by row."""
        keys, values = self._vectors.vectors(
            namespace, possible_keys(np.array([memory.row for memory in found], dtype=np.int64))
        )
        codes = self._vectors.codes(namespace, keys)
        states = self._vectors.states(namespace)
        stored: dict[int, list[StoredVector]] = {}
        for place, (key, vector) in enumerate(zip(keys.tolist(), values, strict=True)):
            state = states.get(key)
            if state is not None and place < len(codes.rows) and codes.rows[place] == key:
                bits = codes.bits[codes.starts[place] : codes.starts[place + 1]]
                stored.setdefault(row_of(key), []).append(StoredVector(passage_of(key), state.digest, vector, bits))
        return stored

    def _changes(self, namespace: str, told: set[str], writer: LineWriter) -> Iterator[bytes]:
        after = 0
        while True:
            with self._database.read() as connection:
                found = transfer_sql.changes_after(connection, namespace, after, BATCH_MEMORIES)
            if not found:
                return
            after = found[-1][0]
            for _, change in found:
                ids = tuple(memory_id for memory_id in change.memory_ids if memory_id in told)
                if ids:
                    yield writer.change(change.of(ids))
