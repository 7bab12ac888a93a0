"""The columns of namespaces, kept between recalls: what a search of many rows would otherwise read from SQL each time.

SQL stays the truth. A transaction sees one moment of the database, told by a `Mark`: the highest number that a memory
ever had, and the highest number in `touched`, where triggers note each row that is changed or deleted. Both only rise,
whoever commits, so a mark names a state of the data for every process. A cached table of the same mark is used; an
older one is brought up to it by reading the rows that are new or touched; to a transaction that began before the cached
one's, new rows are hidden, and where rows were touched since, it reads SQL without the cache.

Invariants: a table is of one namespace, never changed, and replaced only by one of a later mark; the cache is used in
read transactions only, whose marks are committed; namespaces that were not used for longest leave above `bytes_max`.
Few rows (`direct_rows_max`) are read from SQL directly: one user's of many.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from sqlalchemy import ColumnElement, Connection, delete, func, select

from memory.model import Selection
from memory.store.columns import AllNames, Table, moment, read, read_rows, tells_all
from memory.store.filters_sql import scope_conditions
from memory.store.tables import memories, touched
from recalld.core.scope import Scope
from retrieval.corpus import Columns
from retrieval.passages import PASSAGE_BITS, rows_of

_MARK = "SELECT name, seq FROM sqlite_sequence WHERE name IN ('memories', 'touched')"
_SELECTIONS_MAX = 16
_CHUNK = 500
# How many touched rows are remembered: who is further behind reads all rows again.
TOUCHED_MAX = 100_000
_FOREVER = np.datetime64("9999-12-31", "us")


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A moment of the database: the highest row so far, and the highest number of what was touched."""

    row: int
    touched: int


def mark_of(connection: Connection) -> Mark:
    """The moment that a transaction sees."""
    found: dict[str, int] = {row.name: row.seq for row in connection.exec_driver_sql(_MARK)}
    return Mark(found.get("memories", 0), found.get("touched", 0))


@dataclass(slots=True)
class _Kept:
    """One namespace: its table at a mark, and what was selected of it last, by selection and until when it holds."""

    names: AllNames
    mark: Mark
    table: Table
    selected: OrderedDict[object, tuple[Columns, np.datetime64, np.datetime64]] = field(default_factory=OrderedDict)


class ColumnCache:
    """See the module's docstring. Safe for many threads."""

    def __init__(self, bytes_max: int = 512 << 20, direct_rows_max: int = 512) -> None:
        self._bytes_max = bytes_max
        self._direct_rows_max = direct_rows_max
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}

    def columns(
        self,
        connection: Connection,
        namespace: str,
        selection: Selection,
        where: Callable[[], list[ColumnElement[bool]]],
        now: datetime,
    ) -> Columns:
        """The columns of a selection; `where` says the same in SQL, where that is needed."""
        mark = mark_of(connection)
        told = tells_all(selection)
        key = (selection.scope, selection.kinds, selection.states, selection.derived) if told else None
        before = self._kept.get(namespace)
        asked_before = before is not None and key in before.selected
        if not asked_before and self._few(connection, namespace, selection.scope):
            return direct(connection, where())
        kept = self._at(connection, namespace, mark)
        if kept is None:
            return direct(connection, where())
        known = _selected(kept, key, now)
        if known is not None:
            return known
        if key is None:
            rows = read_rows(connection, where())
            return kept.table.pick(np.isin(rows_of(kept.table.rows), rows)).columns(kept.names)
        held = kept.table.matching(selection, kept.names, now)
        chosen = kept.table if held.all() else kept.table.pick(held)
        columns = chosen.columns(kept.names)
        self._remember(kept, key, columns, now)
        return columns

    @property
    def bytes_memory(self) -> int:
        """Held now."""
        with self._lock:
            return sum(kept.table.bytes_memory for kept in self._kept.values())

    def _few(self, connection: Connection, namespace: str, scope: Scope) -> bool:
        here = (memories.c.namespace == namespace, *scope_conditions(scope))
        some = select(memories.c.row).where(*here).limit(self._direct_rows_max + 1).subquery()
        return (connection.scalar(select(func.count()).select_from(some)) or 0) <= self._direct_rows_max

    def _at(self, connection: Connection, namespace: str, mark: Mark) -> _Kept | None:
        """A namespace at this mark; None where the cache is further, by more than new rows."""
        with self._lock:
            loading = self._loading.setdefault(namespace, threading.Lock())
        with loading:
            kept = self._kept.get(namespace)
            if kept is not None and kept.mark > mark:
                if kept.mark.touched != mark.touched:
                    return None
                older = kept.table.rows < (mark.row + 1) << PASSAGE_BITS
                return _Kept(kept.names, mark, kept.table if older.all() else kept.table.pick(older))
            if kept is None or kept.mark != mark:
                kept = _brought_up(connection, namespace, kept, mark)
                self._put(namespace, kept)
            return kept

    def _remember(self, kept: _Kept, key: object, columns: Columns, now: datetime) -> None:
        """Until the next memory of the namespace expires."""
        at = moment(now)
        later = kept.table.expires[kept.table.expires > at]
        with self._lock:
            kept.selected[key] = columns, at, later.min() if len(later) else _FOREVER
            while len(kept.selected) > _SELECTIONS_MAX:
                kept.selected.popitem(last=False)

    def _put(self, namespace: str, kept: _Kept) -> None:
        with self._lock:
            self._kept[namespace] = kept
            self._kept.move_to_end(namespace)
            held = sum(each.table.bytes_memory for each in self._kept.values())
            while held > self._bytes_max and len(self._kept) > 1:
                held -= self._kept.popitem(last=False)[1].table.bytes_memory


def touched_since(connection: Connection, namespace: str, number: int) -> bool:
    """Whether a namespace's rows were changed or deleted after this number, or it is not known any more."""
    since = select(touched.c.number).where(touched.c.namespace == namespace, touched.c.number > number).limit(1)
    return _forgotten_since(connection, number) or connection.scalar(since) is not None


def trim(connection: Connection) -> None:
    """Forget what was touched long ago."""
    newest = connection.scalar(select(func.max(touched.c.number))) or 0
    connection.execute(delete(touched).where(touched.c.number <= newest - TOUCHED_MAX))


def _brought_up(connection: Connection, namespace: str, kept: _Kept | None, mark: Mark) -> _Kept:
    here = memories.c.namespace == namespace
    if kept is None or (kept.mark.touched < mark.touched and _forgotten_since(connection, kept.mark.touched)):
        names = AllNames()
        return _Kept(names, mark, read(connection, [here], names))
    table = kept.table
    if kept.mark.touched < mark.touched:
        changed = select(touched.c.row).where(touched.c.namespace == namespace, touched.c.number > kept.mark.touched)
        rows = sorted({row for row in connection.scalars(changed) if row <= kept.mark.row})
        for part in (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)):
            again = read(connection, [here, memories.c.row.in_(part)], kept.names)
            table = table.without(np.array(part, dtype=np.int64)).with_rows(again)
    if kept.mark.row < mark.row:
        table = table.with_rows(read(connection, [here, memories.c.row > kept.mark.row], kept.names))
    selected = kept.selected if table is kept.table else OrderedDict()
    return _Kept(kept.names, mark, table, selected)


def _forgotten_since(connection: Connection, number: int) -> bool:
    """Whether some of what was touched after this number has been trimmed; numbers have no gaps."""
    oldest = connection.scalar(select(func.min(touched.c.number)))
    return oldest is None or oldest > number + 1


def direct(connection: Connection, where: list[ColumnElement[bool]]) -> Columns:
    """The columns of what meets the conditions, without any cache."""
    names = AllNames()
    return read(connection, where, names).columns(names)


def _selected(kept: _Kept, key: object, now: datetime) -> Columns | None:
    """What was selected before, if nothing of it expired since and nothing that had expired is asked for again."""
    at = moment(now)
    known = kept.selected.get(key)
    return known[0] if known is not None and known[1] <= at < known[2] else None
