"""`verify` and `reindex`: every index against SQL, which is the only truth.

`verify` applies what waits in the outbox first, then reads every row of every index and compares it with what SQL says
it should be: what is missing, stale, or should not be there. `reindex` makes it so: vectors are encoded again into a
second copy while the first one serves, full text is rewritten in place a batch a transaction; both go on where they
were killed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memory.indexing import Difference, Indexer, RebuildableIndex
from memory.store import fulltext_upkeep
from recalld.core import access
from recalld.core.db import Database
from recalld.core.errors import IndexDamaged

BATCH_ROWS = 500
SHOWN_MAX = 10


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found: nothing wrong where both are empty."""

    differences: tuple[Difference, ...]
    database: tuple[str, ...]
    namespaces: int
    rows: int

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.differences and not self.database


class Consistency:
    """See the module's docstring."""

    def __init__(self, database: Database, indexer: Indexer, vectors: RebuildableIndex) -> None:
        self._database = database
        self._indexer = indexer
        self._vectors = vectors

    def verify(self, progress: Callable[[int], None] = lambda rows: None) -> Verified:
        """Compare every index with SQL; `progress` is told how many more rows were looked at."""
        found: list[Difference] = []
        rows = 0
        with self._vectors.writer_lock():
            damaged = self._apply_outbox()
            for namespace in self._namespaces():
                fulltext, compared = self._fulltext_differences(namespace, progress)
                rows += compared
                found += [fulltext] if fulltext is not None else []
                vectors = self._vector_differences(namespace)
                found += [vectors] if vectors is not None else []
            strangers = (self._vector_differences(namespace) for namespace in self._strangers())
            found += [difference for difference in strangers if difference is not None]
            orphans = self._orphans()
        if orphans:
            found.append(Difference("*", "fulltext", (), (), tuple(orphans[:SHOWN_MAX])))
        return Verified(tuple(found), (*self._database.quick_check(), *damaged), len(self._namespaces()), rows)

    def reindex(self, progress: Callable[[int], None] = lambda rows: None) -> int:
        """Rebuild every index from SQL; returns how many rows there are."""
        for orphans in iter(self._orphans, []):
            with self._database.write() as connection:
                fulltext_upkeep.remove(connection, orphans)
        total = 0
        kept = self._namespaces()
        for namespace in kept:
            self._rewrite_fulltext(namespace)
            total += self._indexer.rebuild(namespace, progress)
        for namespace in self._vectors.namespaces():
            if namespace not in kept:
                self._vectors.drop(namespace)
        self._apply_outbox()
        return total

    def rows(self) -> int:
        """How many memories a reindex has to encode, for a progress bar."""
        with self._database.read() as connection:
            return fulltext_upkeep.count(connection)

    def _namespaces(self) -> list[str]:
        with self._database.read() as connection:
            return access.list_namespaces(connection)

    def _strangers(self) -> list[str]:
        """Namespaces that have an index and are not in SQL; a damaged index is told elsewhere."""
        try:
            return sorted(set(self._vectors.namespaces()) - set(self._namespaces()))
        except IndexDamaged:
            return []

    def _apply_outbox(self) -> tuple[str, ...]:
        try:
            self._indexer.apply_all()
        except IndexDamaged as error:
            return (error.detail,)
        return ()

    def _vector_differences(self, namespace: str) -> Difference | None:
        try:
            return self._indexer.differences(namespace)
        except IndexDamaged as error:
            return Difference(namespace, f"vectors: {error.detail}", (), (), ())

    def _fulltext_differences(self, namespace: str, progress: Callable[[int], None]) -> tuple[Difference | None, int]:
        missing: list[int] = []
        stale: list[int] = []
        after, rows = 0, 0
        while True:
            with self._database.read() as connection:
                batch = fulltext_upkeep.compare(connection, namespace, after, BATCH_ROWS)
            if batch is None:
                break
            missing += batch.missing
            stale += batch.stale
            after = batch.rows[-1]
            rows += len(batch.rows)
            progress(len(batch.rows))
        if not missing and not stale:
            return None, rows
        return Difference(namespace, "fulltext", tuple(missing[:SHOWN_MAX]), tuple(stale[:SHOWN_MAX]), ()), rows

    def _rewrite_fulltext(self, namespace: str) -> None:
        after = 0
        while True:
            with self._database.write() as connection:
                rows = fulltext_upkeep.rewrite(connection, namespace, after, BATCH_ROWS)
            if not rows:
                return
            after = rows[-1]

    def _orphans(self) -> Sequence[int]:
        with self._database.read() as connection:
            return fulltext_upkeep.orphans(connection)
