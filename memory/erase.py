"""Erasing: what is asked for is out of every answer at once, out of every file soon after, and then it is looked for.

    begin      one transaction: the ledger, the rows hidden (`store.erasures_sql`), the outbox told     <- the caller's
    finish     remove in steps -> vectors out of the index -> full text rewritten without it, in steps
               -> the log truncated -> every file of the data folder searched (`memory.remains`)        <- any number

`begin` commits with the request, so a crash at any later point leaves an erasure that is `running`: whoever calls
`finish` next, the worker or a repeated request, goes on with what is left. Steps are transactions on what is there, so
two who finish one erasure do no harm. A search that still finds something is tried again, up to `attempts_max` times
over all; until one is clean the receipt does not say `succeeded`.

Measured on SQLite 3.40 (`bench/results/erase.json`): `secure_delete` leaves deleted terms in FTS5 segments until they
are merged; `merge` with a negative count rewrites them in steps, and only a truncated log is an empty one.

Invariant: what a live memory says is no remainder of an erased one.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from memory.model import ErasureState, Receipt, Rescan, Selection, State
from memory.ports import Erasable, JobSink
from memory.remains import Fingerprints, Search, plain_spelling, spellings, windows_of
from memory.store import erasures_sql, removal_sql
from memory.store.sql import SqlStore
from recalld.core.access import Principal, forget_replies
from recalld.core.clock import Clock
from recalld.core.db import Connection, Database, format_utc
from recalld.core.errors import NotFound
from recalld.core.ids import IdSource
from recalld.core.scope import Scope
from retrieval.passages import possible_keys
from retrieval.ports import VectorIndex

ALL_STATES: tuple[State, ...] = ("active", "superseded", "forgotten")
DERIVE_TASK = "consolidate"


@dataclass(frozen=True, slots=True)
class EraseSettings:
    """How an erasure goes on.

    Attributes:
        step_memories: how many memories one transaction removes.
        attempts_max: how often files are cleaned and searched before an erasure counts as failed.
        truncations_max, truncation_pause_s: how often, and how long apart, the log is tried to be truncated at once.
        rescans_max: how often files are cleaned and searched at once: what others write meanwhile can be found in a
            file and be gone from the rows that account for it.
        places_max: so many files a rescan names.
        live_bytes: so much of what live rows say is compared at once.
    """

    step_memories: int = 200
    attempts_max: int = 10
    places_max: int = 20
    truncations_max: int = 10
    truncation_pause_s: float = 0.05
    rescans_max: int = 3
    live_bytes: int = 1 << 18


@dataclass(frozen=True, slots=True)
class Target:
    """What to erase: by exactly one of ids, a selection (a scope, a filter), or everything that the caller may see.

    Attributes:
        by: which one it is.
        asked_as: what the receipt calls it, where that is something else.
        ids: None: not by ids. Those that are not there, or not the caller's, are left out.
    """

    by: str
    ids: tuple[str, ...] | None = None
    selection: Selection = field(default_factory=Selection)
    asked_as: str | None = None


class IndexApplier(Protocol):
    """What brings the vector index up to date."""

    def apply_since(self, namespace: str, entry: int) -> None:
        """Apply what was put in the outbox after `entry`."""
        ...


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the layers above hand in: who else keeps something and who derives anew, each bound to a transaction, and
    what forgets a namespace outside of any, because one memory cannot be taken out of it."""

    erasables: Callable[[Connection], Sequence[Erasable]]
    jobs: Callable[[Connection], JobSink]
    forget: Callable[[str], None]


class Erasures:
    """See the module's docstring."""

    def __init__(
        self,
        database: Database,
        indexer: IndexApplier,
        vectors: VectorIndex,
        folder: Path,
        index_folder: Path,
        clock: Clock,
        ids: IdSource,
        elsewhere: Elsewhere,
        settings: EraseSettings = EraseSettings(),
    ) -> None:
        self._database = database
        self._indexer = indexer
        self._vectors = vectors
        self._folder = folder
        self._index_folder = index_folder
        self._clock = clock
        self._ids = ids
        self._elsewhere = elsewhere
        self._settings = settings
        self._lock = threading.Lock()
        self._at_work: set[str] = set()

    def count(self, connection: Connection, who: Principal, target: Target) -> dict[str, int]:
        """How many rows an erasure would remove, by place; `derived` are those that it was not asked for."""
        asked = self._asked(connection, who, target)
        doomed = erasures_sql.with_derived(connection, who.namespace, asked)
        return {**erasures_sql.counts(connection, doomed), "derived": len(doomed) - len(asked)}

    def begin(self, connection: Connection, who: Principal, target: Target) -> Receipt:
        """Put an erasure in the ledger and take what it is about out of every read, in the caller's transaction."""
        asked = self._asked(connection, who, target)
        doomed = erasures_sql.with_derived(connection, who.namespace, asked)
        rows = erasures_sql.rows_of(connection, who.namespace, doomed)
        vectors = sum(
            len(self._vectors.vectors(who.namespace, possible_keys(np.array(sorted(part), dtype=np.int64)))[0])
            for part in removal_sql.chunks(rows)
        )
        left = erasures_sql.orphans(connection, who.namespace, doomed)
        if left:
            scopes = [scope.given() for scope in dict.fromkeys(memory.item.scope for memory in left)]
            alone = [memory.id for memory in left if memory.item.scope.session_id is None]
            self._elsewhere.jobs(connection).put(who.namespace, DERIVE_TASK, {"scopes": scopes, "alone": alone})
        entry = SqlStore(connection).newest_entry()
        receipt = Receipt(
            self._ids.new("era"),
            who.namespace,
            target.asked_as or target.by,
            "running",
            len(doomed),
            {"vectors": vectors, "outbox": removal_sql.leave_outbox(connection, rows)},
            self._clock.now(),
            memory_ids=tuple(doomed),
        )
        erasures_sql.hide(connection, receipt, who.bound, entry, rows)
        return receipt

    def finish(self, erasure_id: str) -> Receipt:
        """Go on until it is done, or has failed for now; returns the receipt.

        Raises:
            NotFound: there is no such erasure.
        """
        with self._lock:
            self._at_work.add(erasure_id)
        try:
            return self._finish(erasure_id)
        finally:
            with self._lock:
                self._at_work.discard(erasure_id)

    def _finish(self, erasure_id: str) -> Receipt:
        while self._remove_some(erasure_id):
            pass
        with self._database.read() as connection:
            receipt, _, entry = _present(erasures_sql.load(connection, erasure_id))
        if receipt.state == "succeeded":
            return receipt
        self._indexer.apply_since(receipt.namespace, entry)
        self._elsewhere.forget(receipt.namespace)
        rescan = self._clean(erasure_id)
        for _ in range(1, self._settings.rescans_max):
            if not rescan.found:
                break
            time.sleep(self._settings.truncation_pause_s)
            rescan = self._clean(erasure_id)
        with self._database.write() as connection:
            receipt, _, _ = _present(erasures_sql.load(connection, erasure_id))
            if receipt.state != "succeeded":
                receipt = self._close(connection, receipt, rescan)
        # What the transaction before has just removed, the windows themselves, is still in the log.
        self._database.truncate_log()
        return receipt

    def resume(self, again: bool) -> int:
        """Go on with what a crash left, or a request that did not wait; returns how many erasures there were.

        Args:
            again: those too whose rescan was not clean.
        """
        with self._database.read() as connection:
            unfinished = erasures_sql.unfinished(connection, again)
        with self._lock:
            mine = [erasure_id for erasure_id in unfinished if erasure_id not in self._at_work]
        for erasure_id in mine:
            self.finish(erasure_id)
        return len(mine)

    def get(self, connection: Connection, who: Principal, erasure_id: str) -> Receipt:
        """A receipt.

        Raises:
            NotFound: no erasure of this namespace, asked for within the scope that the key is bound to, has the id.
        """
        receipt, bound, _ = _present(erasures_sql.load(connection, erasure_id, who.namespace))
        if not who.bound.covers(bound):
            raise NotFound("no erasure has this id")
        return receipt

    def _asked(self, connection: Connection, who: Principal, target: Target) -> list[str]:
        """The ids that a target is, those that the caller may see."""
        scope = target.selection.scope.within(who.bound)
        bound = replace(target.selection, scope=scope, states=ALL_STATES)
        return erasures_sql.selected(connection, who.namespace, bound, target.ids)

    def _remove_some(self, erasure_id: str) -> int:
        """One step: remove some memories, and keep what to look for afterwards. Returns how many there were."""
        with self._database.write() as connection:
            found = erasures_sql.next_hidden(connection, erasure_id, self._settings.step_memories)
            if not found:
                return 0
            receipt, _, _ = _present(erasures_sql.load(connection, erasure_id))
            gone = [memory.id for memory, _ in found]
            said = {window for memory, old in found for each in (memory, *old) for window in windows_of(each)}
            key = erasures_sql.secret(connection)
            erasures_sql.keep_windows(connection, erasure_id, Fingerprints.of(key, said).write())
            namespace = receipt.namespace
            removed = removal_sql.remove(connection, namespace, gone, [memory.row for memory, _ in found])
            removed["idempotency_replies"] = sum(
                forget_replies(connection, namespace, part) for part in removal_sql.chunks(gone)
            )
            for erasable in self._elsewhere.erasables(connection):
                removed |= erasable.erase(namespace, gone)
            total = {name: receipt.removed.get(name, 0) + more for name, more in removed.items()}
            erasures_sql.save(connection, erasure_id, removed={**receipt.removed, **total})
        return len(found)

    def _clean(self, erasure_id: str) -> Rescan:
        """Clean the files and search them; again where a reader kept the log from being truncated."""
        self._rewrite_fulltext()
        for tries in range(self._settings.truncations_max):
            if self._database.truncate_log() or tries + 1 == self._settings.truncations_max:
                break
            time.sleep(self._settings.truncation_pause_s)
        return self._rescan(erasure_id)

    def _rewrite_fulltext(self) -> None:
        """Merge all segments of full text, a few pages a transaction, so that others write in between."""
        first = True
        more = True
        while more:
            with self._database.write() as connection:
                more = erasures_sql.merge_fulltext(connection, first)
            first = False

    def _rescan(self, erasure_id: str) -> Rescan:
        """Search every file for what was erased."""
        with self._database.read() as connection:
            key = erasures_sql.secret(connection)
            wanted = Fingerprints.read(key, erasures_sql.windows(connection, erasure_id))
        search = Search(wanted)
        where: dict[str, set[int]] = {}
        files, size = 0, 0
        for path in sorted(_files(self._folder) | {path for path in self._database.files() if path.exists()}):
            try:
                read, found = search.in_file(path, narrow=not path.is_relative_to(self._index_folder))
            except FileNotFoundError:
                continue
            files, size = files + 1, size + read
            if found:
                where[path.name] = where.get(path.name, set()) | found
        left = set().union(*where.values())
        left -= self._said_by_live_rows(wanted.only(left)) if left else set()
        places = sorted(name for name, found in where.items() if found & left)
        return Rescan(
            files, size, len(wanted), len(left), tuple(places[: self._settings.places_max]), self._clock.now()
        )

    def _said_by_live_rows(self, wanted: Fingerprints) -> set[int]:
        """Those of what was found that a live row says, a term of it, or the database's own words.

        Most are said by the first rows, in UTF-8: other spellings are made only for what is left then.
        """
        left = wanted
        with self._database.read() as connection:
            for spell in (plain_spelling, spellings):
                search = Search(left)
                for part in self._parts(erasures_sql.live_words(connection), spell):
                    said = search.everywhere(part)
                    if said:
                        left = left.without(said)
                        search = Search(left)
                    if not len(left):
                        return wanted.digests()
        return wanted.digests() - left.digests()

    def _parts(self, texts: Iterable[str], spell: Callable[[str], list[bytes]]) -> Iterator[bytes]:
        """Texts as they may be spelt, some at a time."""
        part = bytearray()
        for text in texts:
            part += b"\x00".join(spell(text)) + b"\x00"
            if len(part) >= self._settings.live_bytes:
                yield bytes(part)
                part.clear()
        yield bytes(part)

    def _close(self, connection: Connection, receipt: Receipt, rescan: Rescan) -> Receipt:
        """The receipt after a rescan, kept."""
        attempts = receipt.attempts + 1
        state: ErasureState = "running" if attempts < self._settings.attempts_max else "failed"
        if not rescan.found:
            state = "succeeded"
        hashes = erasures_sql.hashes(connection, receipt.id)
        at = self._clock.now()
        told = [receipt.id, receipt.namespace, receipt.asked, receipt.memories, dict(receipt.removed)]
        digest = hashlib.sha256(json.dumps([*told, format_utc(at), hashes]).encode()).hexdigest()
        closed = replace(receipt, state=state, rescan=rescan, finished_at=at, digest=digest, attempts=attempts)
        erasures_sql.close(connection, closed)
        return closed


def _files(folder: Path) -> set[Path]:
    return {Path(root) / name for root, _, names in os.walk(folder) for name in names}


def _present(found: tuple[Receipt, Scope, int] | None) -> tuple[Receipt, Scope, int]:
    if found is None:
        raise NotFound("no erasure has this id")
    return found
