"""`migrate`, `verify`, `reindex`, `worker --once`: what is derived can be checked and made again from the database."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recalld.core.db import Database
from tests.recalld.cli.conftest import CommandLine

NEWEST = "0007"


@pytest.fixture
def filled(recalld: CommandLine) -> CommandLine:
    for text in ("The cat is called Whiskers.", "I moved to Lisbon in March.", "My sister is Ana."):
        recalld.ok("add", text, "--user", "alice")
    recalld.ok("add", "Ours is another.", "--namespace", "acme")
    return recalld


def execute(recalld: CommandLine, statement: str) -> None:
    with closing(sqlite3.connect(recalld.folder / "data" / "recalld.db", isolation_level=None)) as connection:
        connection.execute(statement)


def vector_logs(recalld: CommandLine) -> list[Path]:
    return sorted((recalld.folder / "data" / "index").glob("*/*.log"))


def failing(recalld: CommandLine, *arguments: str) -> Any:
    result = recalld(*arguments)
    assert (result.exit_code, result.stderr) == (1, "")
    return result.stdout


def test_migrate_brings_an_empty_database_to_the_newest_schema_once(recalld: CommandLine) -> None:
    assert recalld.json("migrate") == {"before": None, "after": NEWEST}
    assert recalld.json("migrate") == {"before": NEWEST, "after": NEWEST}
    assert recalld.ok("migrate") == f"schema {NEWEST} (it was already)\n"


def test_migrate_refuses_a_database_of_a_newer_version(recalld: CommandLine) -> None:
    recalld.ok("migrate")
    execute(recalld, "UPDATE alembic_version SET version_num = '9999'")
    says = "database: its schema is 9999, which this version of recalld does not know"
    for command in (["migrate"], ["stats"], ["verify"], ["keys", "list"]):
        assert recalld.error(*command) == says


def test_verify_of_what_is_sound_is_clean(filled: CommandLine) -> None:
    assert filled.json("verify") == {"clean": True, "differences": [], "database": [], "namespaces": 2, "rows": 4}
    assert filled.ok("verify") == "clean: 4 memories in 2 namespaces\n"


@pytest.mark.parametrize(
    ("statement", "namespace", "index", "kind"),
    [
        ("DELETE FROM memory_fts WHERE rowid = 2 << 10", "default", "fulltext", "missing"),
        ("UPDATE memory_fts SET body = 'other' WHERE rowid = 2 << 10", "default", "fulltext", "stale"),
        ("INSERT INTO memory_fts (rowid, tags, body) VALUES (99 << 10, 'x', 'x')", "*", "fulltext", "surplus"),
    ],
)
def test_verify_tells_how_full_text_differs_and_reindex_repairs_it(
    filled: CommandLine, statement: str, namespace: str, index: str, kind: str
) -> None:
    execute(filled, statement)
    failing(filled, "verify", "--json")
    shown = failing(filled, "verify")
    row = 99 if kind == "surplus" else 2
    assert shown.splitlines()[0] == f"{namespace} {index}: {kind} [{row}]"
    assert shown.splitlines()[1] == "differs: run `recalld reindex`: 4 memories in 2 namespaces"
    assert filled.json("reindex") == {"rows": 4}
    assert filled.json("verify")["clean"] is True


def test_verify_tells_how_vectors_differ(filled: CommandLine) -> None:
    execute(filled, "UPDATE memories SET text = 'Changed behind its back.' WHERE row = 1")
    execute(filled, "UPDATE memories SET state = 'forgotten' WHERE row = 3")
    assert "default vectors: stale [1], surplus [3]" in failing(filled, "verify")


def test_reindex_rebuilds_everything_from_the_database_alone(filled: CommandLine) -> None:
    question = ("recall", "where did I move in March?", "--user", "alice")
    before = [(hit["memory"]["id"], hit["score"]) for hit in filled.json(*question)["results"]]
    shutil.rmtree(filled.folder / "data" / "index")
    execute(filled, "DELETE FROM memory_fts")
    shown = failing(filled, "verify")
    assert "default fulltext: missing [1, 2, 3]" in shown
    assert "default vectors: missing [1, 2, 3]" in shown
    assert "acme vectors: missing [4]" in shown
    assert filled.ok("reindex") == "rebuilt from 4 memories\n"
    assert filled.json("verify")["clean"] is True
    assert [(hit["memory"]["id"], hit["score"]) for hit in filled.json(*question)["results"]] == before


def test_a_damaged_index_is_never_an_answer_and_reindex_repairs_it(filled: CommandLine) -> None:
    for log in vector_logs(filled):
        log.write_bytes(bytes([byte ^ 0xFF for byte in log.read_bytes()]))
    assert "run `recalld reindex`" in failing(filled, "verify")
    assert "`recalld reindex` rebuilds the index" in filled.error("recall", "cat", "--user", "alice")
    assert filled.json("reindex") == {"rows": 4}
    assert filled.json("verify")["clean"] is True
    assert filled.json("recall", "cat", "--user", "alice")["results"]


def test_another_encoder_needs_a_reindex_and_says_so(filled: CommandLine) -> None:
    manifests = sorted((filled.folder / "data" / "index").glob("*/manifest.json"))
    for manifest in manifests:
        manifest.unlink()
    assert filled.json("reindex") == {"rows": 4}
    assert sorted((filled.folder / "data" / "index").glob("*/manifest.json")) == manifests
    assert filled.json("verify")["clean"] is True


def test_verify_reports_a_damaged_database_file(filled: CommandLine) -> None:
    file = filled.folder / "data" / "recalld.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    Path(f"{file}-wal").unlink(missing_ok=True)
    whole = bytearray(file.read_bytes())
    whole[:4096] = bytes(4096)
    file.write_bytes(whole)
    for command in (["verify"], ["stats"], ["keys", "list"], ["migrate"], ["add", "x"], ["worker", "--once"]):
        line = filled.error(*command)
        assert line == "the database could not be read: file is not a database", command


def test_worker_once_applies_what_waits(filled: CommandLine) -> None:
    execute(filled, "INSERT INTO outbox (namespace, row) SELECT namespace, row FROM memories")
    assert filled.json("worker", "--once") == {"applied": 4, "job_steps": 0}
    assert filled.ok("worker", "--once") == "applied 0, 0 steps of jobs\n"


def test_a_schema_that_is_behind_is_brought_forward_by_any_command(recalld: CommandLine) -> None:
    (recalld.folder / "data").mkdir()
    database = Database(f"sqlite:///{recalld.folder / 'data' / 'recalld.db'}")
    assert database.revision() is None
    database.close()
    assert recalld.json("stats")["memories"] == {}
    assert recalld.json("migrate") == {"before": NEWEST, "after": NEWEST}
