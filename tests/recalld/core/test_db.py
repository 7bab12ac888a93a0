"""The database: what every connection is set to, transactions of several processes, the schema, and times as text."""

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import MetaData, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

import recalld.jobs.queue  # noqa: F401
from alembic import command
from recalld.core import access, db
from recalld.core.access import idempotency_keys, namespaces
from recalld.core.db import Connection, Database, UtcTime, dump_json, format_utc, metadata
from recalld.core.errors import ConfigError, Unavailable
from tests.conftest import NOW, SetClock

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "secure_delete": 1,
    "temp_store": 2,
    "busy_timeout": db.BUSY_TIMEOUT_MS,
}


def pragmas(connection: Connection) -> dict[str, Any]:
    return {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in PRAGMAS}


def test_every_connection_is_set_up_alike(database: Database) -> None:
    """Also those that the pool opens only when many are in use at once."""
    barrier = threading.Barrier(5)

    def look() -> dict[str, Any]:
        with database.read() as connection:
            barrier.wait(10)
            return pragmas(connection)

    with ThreadPoolExecutor(5) as pool:
        assert [future.result() for future in [pool.submit(look) for _ in range(5)]] == [PRAGMAS] * 5
    with database.write() as connection:
        assert pragmas(connection) == PRAGMAS


def test_a_write_begins_immediate_and_a_read_does_not_lock(database: Database) -> None:
    other = sqlite3.connect(database.file, timeout=0, isolation_level=None)
    with database.read() as connection:
        connection.execute(select(namespaces)).all()
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    with database.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_what_follows_a_rollback_is_a_transaction_too(database: Database) -> None:
    with database.read() as connection:
        connection.rollback()
        access.ensure_namespace(connection, "a", SetClock())
    with database.read() as connection:
        assert access.list_namespaces(connection) == []


def test_a_process_leaves_the_log_whatever_it_had_open(database: Database) -> None:
    with database.read() as one, database.read() as two, database.write() as writing:
        assert [access.list_namespaces(each) for each in (one, two, writing)] == [[]] * 3
    assert database.leave_log()
    assert database.files() == [database.file]


def test_a_read_is_one_snapshot(database: Database) -> None:
    with database.read() as reading:
        assert access.list_namespaces(reading) == []
        with database.write() as writing:
            access.ensure_namespace(writing, "a", SetClock())
        assert access.list_namespaces(reading) == []
    with database.read() as reading:
        assert access.list_namespaces(reading) == ["a"]


def test_a_write_is_kept_whole_or_not_at_all(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            access.ensure_namespace(connection, "a", SetClock())
            connection.execute(insert(namespaces).values(name="a", created_at=NOW))

    with pytest.raises(IntegrityError):
        fail()
    with database.read() as connection:
        assert access.list_namespaces(connection) == []
    with database.write() as connection:
        access.ensure_namespace(connection, "b", SetClock())
    with database.read() as connection:
        assert access.list_namespaces(connection) == ["b"]


def test_a_database_that_stays_busy_is_unavailable(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "BUSY_TIMEOUT_MS", 20)
    impatient = Database(f"sqlite:///{database.file}")
    with database.write(), pytest.raises(Unavailable, match="database is locked"), impatient.write():
        raise AssertionError("two writers at once")
    with impatient.write() as connection:
        access.ensure_namespace(connection, "a", SetClock())
    impatient.close()


WRITER = """
import sys
from sqlalchemy import insert, select, func
from recalld.core.access import namespaces
from recalld.core.db import Database
from recalld.core.clock import SystemClock
database = Database(sys.argv[1])
for number in range(int(sys.argv[3])):
    with database.write() as connection:
        count = connection.scalar(select(func.count()).select_from(namespaces))
        name = f"{sys.argv[2]}-{number}-{count}"
        connection.execute(insert(namespaces).values(name=name, created_at=SystemClock().now()))
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(namespaces)) > number
database.close()
"""


def test_two_processes_write_at_once_and_none_meets_a_lock(database: Database) -> None:
    """Each transaction reads before it writes, which a deferred one would fail at."""
    each = 150
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, f"sqlite:///{database.file}", name, str(each)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for process in running:
        _, told = process.communicate(timeout=120)
        assert (process.returncode, told) == (0, "")
    with database.read() as connection:
        names = access.list_namespaces(connection)
    assert sorted(int(name.rpartition("-")[2]) for name in names) == list(range(2 * each))


# --- the schema


def reflected(database: Database) -> MetaData:
    found = MetaData()
    with database.read() as connection:
        found.reflect(connection, only=lambda name, _: not name.startswith(("memory_fts", "alembic_", "sqlite_")))
    return found


def shape(table: Any) -> dict[str, Any]:
    return {
        "columns": [(c.name, str(c.type), c.nullable, c.primary_key) for c in table.columns],
        "key": [column.name for column in table.primary_key.columns],
        "unique": sorted(
            tuple(column.name for column in constraint.columns)
            for constraint in table.constraints
            if type(constraint).__name__ == "UniqueConstraint"
        ),
    }


def made_by_the_tables(tmp_path: Path) -> list[tuple[str, str, str]]:
    """What `stored` tells of a database that the code's tables made."""
    made = Database(f"sqlite:///{tmp_path / 'tables.db'}")
    with made.write() as connection:
        metadata.create_all(connection)
    found = stored(made)
    made.close()
    return found


def stored(database: Database) -> list[tuple[str, str, str]]:
    """Name, table and statement of each index and trigger."""
    told = text(
        "SELECT name, tbl_name, sql FROM sqlite_master"
        " WHERE sql IS NOT NULL AND type IN ('index', 'trigger') ORDER BY name"
    )
    with database.read() as connection:
        return [(row[0], row[1], " ".join(row[2].split())) for row in connection.execute(told)]


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
def test_the_migrations_make_the_tables_of_the_code(database: Database) -> None:
    migrated = reflected(database)
    assert set(migrated.tables) == set(metadata.tables)
    for name, table in metadata.tables.items():
        assert shape(migrated.tables[name]) == shape(table), name


def test_the_migrations_make_the_indexes_and_triggers_of_the_code(database: Database, tmp_path: Path) -> None:
    assert stored(database) == made_by_the_tables(tmp_path)
    assert [name for name, *_ in stored(database) if name.startswith("uq_")] == ["uq_memories_external_id"]


def test_numbers_are_never_used_again_where_the_code_says_so(database: Database) -> None:
    told = text("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%' ORDER BY name")
    with database.read() as connection:
        assert list(connection.scalars(told)) == [
            "changes", "erasure_windows", "erasures", "jobs", "memories", "outbox", "touched",
        ]  # fmt: skip


def test_a_downgrade_leaves_an_empty_database_and_an_upgrade_brings_it_back(database: Database, tmp_path: Path) -> None:
    config = db._alembic_config()
    with database._write_engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert database.revision() is None
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    database.migrate()
    assert database.revision() == database.newest_revision()
    assert stored(database) == made_by_the_tables(tmp_path)


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'broken.db'}")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE sources (clash TEXT)"))
    with pytest.raises(Unavailable, match="sources"):
        database.migrate()
    with database.read() as connection:
        assert [name for name in inspect(connection).get_table_names() if name != "alembic_version"] == ["sources"]
    assert database.revision() is None
    database.close()


def test_many_may_migrate_at_once(tmp_path: Path) -> None:
    databases = [Database(f"sqlite:///{tmp_path / 'new.db'}") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Database.migrate, databases))
    assert {database.revision() for database in databases} == {databases[0].newest_revision()}
    for database in databases:
        database.close()


def test_a_schema_of_a_newer_version_is_refused(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'future'"))
    with pytest.raises(ConfigError, match="future"):
        database.migrate()
    assert database.revision() == "future"


# --- files and URLs


@pytest.mark.parametrize(
    "url", ["nonsense", "postgresql://localhost/x", "sqlite://", "sqlite:///:memory:", "mysql://a:b@c/d", ""]
)
def test_another_database_than_an_sqlite_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^database_url: "):
        Database(url)


def test_the_files_size_counts_its_log(database: Database) -> None:
    before = database.bytes_on_disk()
    with database.write() as connection:
        access.ensure_namespace(connection, "a", SetClock())
    assert database.bytes_on_disk() > before
    assert database.quick_check() == []


# --- times and JSON as text


MOMENTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    NOW,
    NOW + timedelta(microseconds=1),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


def test_times_of_every_year_come_back_and_sort_as_text(database: Database) -> None:
    with database.write() as connection:
        for number, moment in enumerate(MOMENTS):
            connection.execute(insert(namespaces).values(name=str(number), created_at=moment))
        found = connection.execute(select(namespaces.c.created_at).order_by(namespaces.c.created_at)).scalars()
        assert list(found) == MOMENTS
        later = select(namespaces.c.name).where(namespaces.c.created_at > NOW).order_by(namespaces.c.name)
        assert list(connection.scalars(later)) == ["5", "6"]
        raw = list(connection.scalars(text("SELECT created_at FROM namespaces ORDER BY created_at")))
    assert raw[0] == "0001-01-01T00:00:00.000000Z"
    assert {len(told) for told in raw} == {27}


zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
aware = st.builds(
    lambda moment, zone: moment.astimezone(zone),
    st.datetimes(
        MOMENTS[0].replace(day=2, tzinfo=None), MOMENTS[-1].replace(day=30, tzinfo=None), timezones=st.just(UTC)
    ),
    zones,
)


@given(aware, aware)
def test_a_stored_time_is_the_same_moment_and_compares_as_it(one: datetime, other: datetime) -> None:
    kind = UtcTime()
    told = [kind.process_bind_param(moment, None) for moment in (one, other)]  # type: ignore[arg-type]
    assert told == [format_utc(one), format_utc(other)]
    assert [kind.process_result_value(text_, None) for text_ in told] == [one, other]  # type: ignore[arg-type]
    assert (format_utc(one) < format_utc(other)) == (one < other)
    assert kind.process_bind_param(None, None) is None  # type: ignore[arg-type]
    assert kind.process_result_value(None, None) is None  # type: ignore[arg-type]


def test_json_is_compact_keeps_its_order_and_refuses_what_is_none(database: Database) -> None:
    told = {"b": [1, 2.5, None, True], "a": {"é": "👍🏽"}}
    assert dump_json(told) == '{"b":[1,2.5,null,true],"a":{"é":"👍🏽"}}'
    with pytest.raises(ValueError):
        dump_json({"a": float("nan")})
    with database.write() as connection:
        row = {"principal": "p", "key": "k", "namespace": "n", "status": 1, "memory_ids": [], "created_at": NOW}
        connection.execute(insert(idempotency_keys).values(body=told, **row))
        kept = connection.scalar(select(idempotency_keys.c.body))
    assert kept == told
    assert list(kept) == ["b", "a"]
