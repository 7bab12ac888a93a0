"""Memories on their way in: a file that another instance exported, checked whole, then kept in steps.

    spool     the request's bytes, in a file of the data folder
    begin     every line checked, against this instance too: nothing of a file with a wrong line is kept
    finish    a few hundred memories a transaction, with the place in the file saved in the same one

So a kill in the middle leaves an import that `resume` goes on with, and the same file imported again changes nothing:
memories are known by their ids and versions. One that is here already gets the versions that it lacks; where the two
disagree on a version, what is here stays, and is counted as `conflicts`. What the ledger says was erased here stays
erased unless it is asked back. Ids are kept; one that another namespace has is refused before anything is kept.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from memory.model import Change, Memory
from memory.store import erasures_sql, transfer_sql
from memory.store.sql import SqlStore
from memory.transfer import HeaderLine, Moved, ReadLine, Totals, read_lines, read_whole, wrong_line
from recalld.core.access import Principal
from recalld.core.clock import Clock
from recalld.core.config import Limits
from recalld.core.db import Connection, Database
from recalld.core.ids import IdSource
from recalld.core.scope import Scope
from retrieval.passages import key
from retrieval.ports import VectorChange, VectorIndex

STEP_LINES = 250
COUNTS = ("added", "advanced", "unchanged", "conflicts", "erased", "changes")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or has done so far.

    Attributes:
        counts: memories `added`, `advanced` to newer versions, `unchanged`, `conflicts` (what is here stayed),
            `erased` (here, and not brought back); `changes`: decisions added.
    """

    id: str
    namespace: str
    lines: int
    counts: Mapping[str, int]


class Imports:
    """See the module's docstring. `fingerprint` is that of the encoder: vectors made with another one do not serve."""

    def __init__(
        self,
        database: Database,
        vectors: VectorIndex,
        fingerprint: str,
        folder: Path,
        clock: Clock,
        ids: IdSource,
        limits: Limits,
    ) -> None:
        self._database = database
        self._vectors = vectors
        self._fingerprint = fingerprint
        self._folder = folder
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._lock = threading.Lock()
        self._at_work: set[str] = set()

    def spool(self) -> tuple[str, Path]:
        """The id of a new import, and the file for its bytes; `begin` or `discard` comes next."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        import_id = self._ids.new("job")
        with self._lock:
            self._at_work.add(import_id)
        return import_id, self._path(import_id)

    def discard(self, import_id: str) -> None:
        """Remove what was spooled."""
        self._path(import_id).unlink(missing_ok=True)
        with self._lock:
            self._at_work.discard(import_id)

    def begin(self, who: Principal, import_id: str, restore_erased: bool) -> None:
        """Check the whole file, and keep that it is to be imported.

        Raises:
            InvalidInput: a line is wrong, or can not be kept here; the field is `line N`.
        """
        with self._path(import_id).open("rb") as file:
            external: set[tuple[Scope, str]] = set()
            for batch in _batches(read_whole(file, who.namespace, self._limits)):
                self._check(who, batch, external)
        with self._database.write() as connection:
            options = {"restore_erased": restore_erased}
            transfer_sql.begin(connection, import_id, who.namespace, who.bound, options, self._clock.now())

    def finish(self, import_id: str) -> Imported:
        """Keep what is left of a checked file; returns what the whole import did."""
        with self._lock:
            self._at_work.add(import_id)
        try:
            with self._path(import_id).open("rb") as file:
                done: Imported | None = None
                while done is None:
                    done = self._step(import_id, file)
            with self._database.write() as connection:
                transfer_sql.end(connection, import_id)
            self._path(import_id).unlink(missing_ok=True)
        finally:
            with self._lock:
                self._at_work.discard(import_id)
        return done

    def resume(self) -> int:
        """Go on with imports that a crash left; returns how many there were."""
        with self._database.read() as connection:
            unfinished = transfer_sql.unfinished(connection)
        with self._lock:
            mine = [import_id for import_id in unfinished if import_id not in self._at_work]
        for import_id in mine:
            if self._path(import_id).exists():
                self.finish(import_id)
            else:
                with self._database.write() as connection:
                    transfer_sql.end(connection, import_id)
        return len(mine)

    def sweep(self) -> None:
        """Remove spooled files that no import names: what a crash left of a request. For when nobody else serves."""
        with self._database.read() as connection:
            named = {self._path(import_id) for import_id in transfer_sql.unfinished(connection)}
        for path in self._folder.glob("*.ndjson"):
            if path not in named:
                path.unlink(missing_ok=True)

    def _path(self, import_id: str) -> Path:
        return self._folder / f"{import_id}.ndjson"

    def _check(self, who: Principal, lines: Sequence[ReadLine], external: set[tuple[Scope, str]]) -> None:
        """Refuse what this instance can not keep."""
        arrived = [(line.number, line.value.memory) for line in lines if isinstance(line.value, Moved)]
        ids = [memory.id for _, memory in arrived]
        with self._database.read() as connection:
            store = SqlStore(connection)
            taken = transfer_sql.foreign(connection, who.namespace, ids)
            here = {memory.id: memory for memory in store.get(who.namespace, ids)}
            for number, memory in arrived:
                scope, external_id = memory.item.scope, memory.item.external_id
                if not who.bound.covers(scope):
                    raise wrong_line(number, "scope: the key is bound to another one")
                if memory.id in taken or (memory.id in here and not who.bound.covers(here[memory.id].item.scope)):
                    raise wrong_line(number, "id: another namespace or scope of this instance has it")
                if external_id is None:
                    continue
                named = store.find_external(who.namespace, scope, [external_id]).get(external_id)
                if (scope, external_id) in external or (named is not None and named.id != memory.id):
                    raise wrong_line(number, "external_id: another memory of its scope has it")
                external.add((scope, external_id))

    def _step(self, import_id: str, file: BinaryIO) -> Imported | None:
        """Keep some lines; None while there are more."""
        with self._database.read() as connection:
            state = transfer_sql.load(connection, import_id)
        assert state is not None
        serves = state.options.get("serves", False)
        file.seek(state.offset)
        lines = list(islice(read_lines(file, state.namespace, self._limits, state.line), STEP_LINES))
        if lines and isinstance(lines[0].value, HeaderLine):
            serves = lines[0].value.encoder == self._fingerprint
        counts = Counter({name: state.counts.get(name, 0) for name in COUNTS})
        with self._database.write() as connection:
            moved = [line.value for line in lines if isinstance(line.value, Moved)]
            added = self._keep(connection, state.namespace, moved, state.options["restore_erased"], counts)
            made = [line.value for line in lines if isinstance(line.value, Change)]
            counts["changes"] += _keep_changes(connection, state.namespace, made)
            line, offset = (lines[-1].number, lines[-1].next_offset) if lines else (state.line, state.offset)
            options = {**state.options, "serves": serves}
            transfer_sql.save(connection, import_id, offset=offset, line=line, counts=dict(counts), options=options)
        if serves:
            self._keep_vectors(state.namespace, added)
        if lines and not isinstance(lines[-1].value, Totals):
            return None
        return Imported(import_id, state.namespace, line, dict(counts))

    def _keep(
        self, connection: Connection, namespace: str, moved: Sequence[Moved], restore_erased: bool, counts: Counter[str]
    ) -> list[tuple[Memory, Moved]]:
        """Keep memories; returns those that were not here, with their rows."""
        ids = [each.memory.id for each in moved]
        store = SqlStore(connection)
        here = {memory.id: memory for memory in store.get(namespace, ids)}
        old = transfer_sql.histories(connection, namespace, list(here.values()))
        erased = set() if restore_erased else erasures_sql.erased_here(connection, ids)
        new = [each for each in moved if each.memory.id not in here and each.memory.id not in erased]
        taken = _taken_meanwhile(connection, namespace, [each.memory for each in new])
        counts["conflicts"] += len(taken)
        fresh = [each for each in new if each.memory.id not in taken]
        for each in moved:
            memory_id = each.memory.id
            if memory_id in here:
                newer = _newer([here[memory_id], *old[memory_id]], each)
                counts["conflicts" if newer is None else "advanced" if newer else "unchanged"] += 1
                for version in newer or ():
                    store.replace(namespace, replace(version, row=here[memory_id].row))
            elif memory_id in erased:
                counts["erased"] += 1
        kept = transfer_sql.adopt(connection, namespace, [(each.memory, each.history) for each in fresh])
        counts["added"] += len(kept)
        return list(zip(kept, fresh, strict=True))

    def _keep_vectors(self, namespace: str, added: Sequence[tuple[Memory, Moved]]) -> None:
        """Take over vectors: the outbox compares each with what it is of, and makes it anew where it is of another."""
        changes = [
            VectorChange(key(memory.row, each.passage), memory.version, each.digest, each.vector, each.codes)
            for memory, moved in added
            for each in moved.vectors
            if memory.state == "active"
        ]
        if changes:
            self._vectors.apply(namespace, changes)


def _taken_meanwhile(connection: Connection, namespace: str, arrived: Sequence[Memory]) -> set[str]:
    """The ids of memories that can no longer be kept: since the check another one took the id or the external id."""
    taken = transfer_sql.foreign(connection, namespace, [memory.id for memory in arrived])
    for memory in arrived:
        external_id = memory.item.external_id
        if external_id and SqlStore(connection).find_external(namespace, memory.item.scope, [external_id]):
            taken.add(memory.id)
    return taken


def _newer(mine: Sequence[Memory], arrived: Moved) -> list[Memory] | None:
    """The versions that are missing here, oldest first; None where the two disagree on one that both have.

    Args:
        mine: the versions that are here, newest first.
    """
    theirs = {version.version: version for version in (arrived.memory, *arrived.history)}
    for version in mine:
        other = theirs.get(version.version)
        if other is not None and _said(other) != _said(version):
            return None
    newer = sorted(number for number in theirs if number > mine[0].version)
    return [replace(theirs[number], superseded_at=None) for number in newer]


def _said(version: Memory) -> Memory:
    """A version without what is this instance's own, or only says that a later one came."""
    return replace(version, row=0, superseded_at=None, sources=(), deriver=None)


def _keep_changes(connection: Connection, namespace: str, made: Sequence[Change]) -> int:
    known = transfer_sql.known_changes(connection, [change.id for change in made])
    store = SqlStore(connection)
    named = [memory_id for change in made for memory_id in change.memory_ids]
    here = {memory.id for memory in store.get(namespace, list(dict.fromkeys(named)))}
    fresh = [change for change in made if change.id not in known]
    for change in fresh:
        store.record_change(change.of(tuple(each for each in change.memory_ids if each in here)))
    return len(fresh)


def _batches(lines: Iterable[ReadLine]) -> Iterator[list[ReadLine]]:
    walking = iter(lines)
    while batch := list(islice(walking, STEP_LINES)):
        yield batch
