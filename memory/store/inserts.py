"""INSERT statements that are put together once, for the rows that every add writes.

`Connection.execute` works out the text, the types and the result of a statement anew each time: for a row or two that
takes several times as long as SQLite takes to write them. Here the text and how each value is bound are kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert
from sqlalchemy.dialects import sqlite

_DIALECT = sqlite.dialect()


class Insert:
    """Writes these columns of a table; the others get their defaults."""

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        self._sql = str(insert(table).compile(dialect=_DIALECT, column_keys=list(names)))
        in_order = [column for column in table.c if column.name in names]
        self._bound = [(column.name, column.type.bind_processor(_DIALECT)) for column in in_order]

    def one(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Write a row; returns the number that it got."""
        return connection.exec_driver_sql(self._sql, self._row(values)).lastrowid

    def many(self, connection: Connection, values: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, where there are any."""
        if values:
            connection.exec_driver_sql(self._sql, [self._row(each) for each in values])

    def _row(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(values[name] if bind is None else bind(values[name]) for name, bind in self._bound)
