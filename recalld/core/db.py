"""The engine, the transactions and the one MetaData.

SQLite is opened in WAL with `synchronous=FULL` (an acknowledged write survives a power cut) and `secure_delete=ON`
(deleted text does not stay in free pages). The driver's own transaction handling is switched off
(`isolation_level=None`) and transactions begin with `BEGIN IMMEDIATE` for writes: a deferred transaction that turns
into a write fails at once when another process wrote in between (https://www.sqlite.org/lang_transaction.html); an
immediate one waits its turn. Writes have a connection of their own, whose page cache no other write makes stale. The
dialect begins them, not an event: an engine with events looks for more of them at each statement.

Invariants: one transaction is one request or one job step; writes of one process queue at a lock instead of polling
SQLite's. Times are stored as UTC text of fixed width, so that they compare as they sort. Errors are shown and logged,
so they do not hold what was written (`hide_parameters`).
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from filelock import FileLock
from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    MetaData,
    Text,
    TypeDecorator,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.pool import PoolProxiedConnection

from alembic import command
from recalld.core.errors import ConfigError, Unavailable

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BUSY_TIMEOUT_MS = 30_000
TRUNCATE_TIMEOUT_MS = 200
COPY_PAGES = 256


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, stored as `2026-03-14T09:00:00.000000Z`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else format_utc(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)

    @property
    def python_type(self) -> type[Any]:
        return datetime


class Json(TypeDecorator[Any]):
    """JSON as compact UTF-8 text, keys in the caller's order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else dump_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def format_utc(moment: datetime) -> str:
    """The stored form of a time: UTC, microseconds, always 27 characters."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds").rjust(26, "0") + "Z"


def dump_json(value: Any) -> str:
    """Compact JSON; NaN and infinity are refused."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Database:
    """The engine and its two kinds of transaction."""

    def __init__(self, url: str) -> None:
        """Open `url` (SQLite); the file's folder must exist.

        Raises:
            ConfigError: not a URL, or not SQLite.
        """
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ConfigError("database_url: not a database URL") from None
        if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
            raise ConfigError(
                "database_url: this release stores memories in an SQLite file (sqlite:////path/recalld.db)"
            )
        self.file = Path(parsed.database)
        self._engine = _make_engine(parsed, "BEGIN", pool_size=16, max_overflow=48)
        self._write_engine = _make_engine(parsed, "BEGIN IMMEDIATE", pool_size=1)
        self._write_lock = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read transaction: one consistent snapshot.

        Raises:
            Unavailable: the file cannot be read, or is damaged.
        """
        with _failing_as("the database could not be read"), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A write transaction: committed when the block ends, rolled back when it raises.

        Raises:
            Unavailable: another process kept the database busy for longer than the timeout, or the disk is full.
        """
        failing = _failing_as("the database did not take the write")
        with self._write_lock, failing, self._write_engine.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the schema to the newest revision; several processes may call it at once.

        Raises:
            ConfigError: a newer version of recalld made this database.
            Unavailable: as in `write`.
        """
        with FileLock(f"{self.file}.migrate.lock"):
            revision = self.revision()
            if revision == self.newest_revision():
                return
            config = _alembic_config()
            with _failing_as("the schema could not be changed"), self._write_engine.connect() as connection:
                config.attributes["connection"] = connection
                try:
                    command.upgrade(config, "head")
                except CommandError:
                    raise ConfigError(
                        f"database: its schema is {revision}, which this version of recalld does not know"
                    ) from None

    def revision(self) -> str | None:
        """The schema's revision; None in an empty database."""
        with self.read() as connection:
            return MigrationContext.configure(connection).get_current_revision()

    def newest_revision(self) -> str | None:
        """The revision that this code wants."""
        return ScriptDirectory.from_config(_alembic_config()).get_current_head()

    def quick_check(self) -> list[str]:
        """What SQLite's own check finds wrong with the file; empty where it is sound."""
        with self.read() as connection:
            found = [str(row[0]) for row in connection.execute(text("PRAGMA quick_check"))]
        return [] if found == ["ok"] else found

    def optimize(self) -> None:
        """Let SQLite refresh the statistics that its query plans rest on, where they are old."""
        with self.write() as connection:
            connection.execute(text("PRAGMA optimize"))

    def truncate_log(self) -> bool:
        """Write the log into the file and make it empty; False where a reader still needs it."""
        failing = _failing_as("the log could not be written into the database")
        with self._write_lock, failing, self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute(f"PRAGMA busy_timeout={TRUNCATE_TIMEOUT_MS}")
            try:
                busy: int = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        return not busy

    def leave_log(self) -> bool:
        """Write the log into the file and do without one; False where another process has the file open.

        Every other connection of this process is closed for it.
        """
        self.close()
        with self._write_lock, self._write_engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute(f"PRAGMA busy_timeout={TRUNCATE_TIMEOUT_MS}")
            try:
                return bool(driver.execute("PRAGMA journal_mode=DELETE").fetchone()[0] == "delete")
            except sqlite3.OperationalError:
                return False

    def copy_to(self, target: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Copy one consistent state into a new file while others write, some pages at a time.

        The state is that of a read transaction which is held until the copy is done: without one, SQLite begins anew
        whenever another process writes in between (https://www.sqlite.org/backup.html).

        Args:
            progress: is told how many pages are done, and how many there are.

        Raises:
            Unavailable: the file can not be read, or the copy not be written.
        """
        source = sqlite3.connect(f"file:{quote(str(self.file))}?mode=ro", uri=True, isolation_level=None)
        copy = sqlite3.connect(target)
        try:
            source.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(
                copy, pages=COPY_PAGES, progress=lambda _, left, total: progress(total - left, total), sleep=0.001
            )
        except sqlite3.Error as error:
            raise Unavailable(f"the database could not be copied: {error}") from error
        finally:
            copy.close()
            source.close()

    def files(self) -> list[Path]:
        """The database file, and its log and the log's index where they are there."""
        return [path for suffix in ("", "-wal", "-shm") if (path := Path(f"{self.file}{suffix}")).exists()]

    def bytes_on_disk(self) -> int:
        """Size of the database file and its log."""
        return sum(path.stat().st_size for path in self.files()[:2])

    def close(self) -> None:
        """Close every connection; the last process to close truncates the log."""
        self._engine.dispose()
        self._write_engine.dispose()


def _make_engine(url: URL, begin: str, **pool: int) -> Engine:
    """An engine whose transactions begin with the statement `begin`."""
    # Last in, first out: the connection whose page cache is warm, rather than a little in each of sixteen.
    engine = create_engine(url, pool_timeout=30, pool_use_lifo=True, hide_parameters=True, **pool)
    event.listen(engine, "connect", _on_connect)

    def do_begin(dbapi_connection: PoolProxiedConnection) -> None:
        dbapi_connection.cursor().execute(begin)

    engine.dialect.do_begin = do_begin  # type: ignore[method-assign]
    return engine


@contextmanager
def _failing_as(told: str) -> Iterator[None]:
    """Failures of the file and of SQLite as ours; what is wrong with a statement stays what it is."""
    try:
        yield
    except DatabaseError as error:
        if type(error) not in (DatabaseError, OperationalError):
            raise
        raise Unavailable(f"{told}: {error.orig}") from error


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        "temp_store=MEMORY",
        "cache_size=-16384",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _alembic_config() -> Config:
    """Migrations lie in `alembic/` of a checkout and in `recalld/migrations` of an installed wheel."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "migrations"
    config = Config()
    config.set_main_option("script_location", str(installed if installed.is_dir() else package.parent / "alembic"))
    config.set_main_option("path_separator", "os")
    return config


__all__ = ["BUSY_TIMEOUT_MS", "Connection", "Database", "Json", "UtcTime", "dump_json", "format_utc", "metadata"]
