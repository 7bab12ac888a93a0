"""Backups: one consistent state of the whole instance in a folder outside the data folder, and back.

    <backup>/recalld.db       SQLite's own online copy of one state, taken while others write
    <backup>/ledger.ndjson    the ledger of erasures (`memory.ledger`)
    <backup>/manifest.json    what made it, when, of which schema, and a checksum of each file

Index files are not in it: they are made anew from SQL, in the background, while full text serves at once. A restore
prepares everything in a file beside the database and renames it last: whatever the ledgers say was erased is hidden in
it before anything can read it, and the erasures are finished, files searched, as any other is.

Invariant: a restored instance shows no memory that any of the ledgers names: the backup's, the one given, the one of
the folder that it replaces.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from memory import ledger
from memory.ledger import EraseLedger
from memory.store import erasures_sql
from recalld.core.db import Database, format_utc
from recalld.core.errors import Conflict, InvalidInput

DATABASE, LEDGER, MANIFEST = "recalld.db", "ledger.ndjson", "manifest.json"
SCHEMA = 1
_READ_BYTES = 1 << 20

Progress = Callable[[int, int], None]
Begin = Callable[[Database, str, Sequence[str]], object]
"""Begins an erasure of these ids of a namespace in a database that serves nobody yet."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup that was made: its folder, its bytes, and how many erasures' hashes its ledger holds."""

    path: Path
    bytes: int
    erased_ids: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: `erased` memories were in the backup and are not shown any more."""

    memories: int
    erased: int
    made_at: str


def make(database: Database, data_dir: Path, target: Path, now: datetime, made_by: str, progress: Progress) -> BackedUp:
    """Back up into a new folder.

    Raises:
        InvalidInput: the folder is there already, or inside the data folder.
    """
    if target.exists():
        raise InvalidInput.of("PATH", f"{target} is there already")
    if target.resolve().is_relative_to(data_dir.resolve()):
        raise InvalidInput.of("PATH", "must be outside the data folder")
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    # After the copy, so that it knows whatever was erased while that went on.
    database.copy_to(partial / DATABASE, progress)
    erased = ledger.of_database(database)
    ledger.write(erased, partial / LEDGER)
    files = {name: _told(partial / name) for name in (DATABASE, LEDGER)}
    manifest = {
        "recalld": "backup", "schema": SCHEMA, "made_by": made_by, "made_at": format_utc(now),
        "revision": database.revision(), "files": files,
    }  # fmt: skip
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    partial.rename(target)
    return BackedUp(target, sum(told["bytes"] for told in files.values()), len(erased.entries))


def check(source: Path) -> Mapping[str, Any]:
    """The manifest of a backup whose files are whole.

    Raises:
        InvalidInput: it is no backup, or a file is missing or changed.
    """
    try:
        manifest: dict[str, Any] = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        if (manifest["recalld"], manifest["schema"]) != ("backup", SCHEMA):
            raise ValueError
        files = {name: manifest["files"][name] for name in (DATABASE, LEDGER)}
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidInput.of("PATH", f"{source} is no backup of recalld") from None
    for name, told in files.items():
        path = source / name
        if not path.is_file() or _told(path) != told:
            raise InvalidInput.of("PATH", f"{path} is missing or not as it was written")
    return manifest


def restore(source: Path, database_file: Path, index_dir: Path, newer: Path | None, begin: Begin) -> Restored:
    """Put a backup in the place of a database that nobody has open.

    Args:
        newer: a ledger with erasures made after the backup.
        begin: see `Begin`.

    Raises:
        InvalidInput: as `check`, or `newer` is no ledger.
        ConfigError: a newer version of recalld made the backup.
        Conflict: another process has the database open.
    """
    manifest = check(source)
    ledgers = [ledger.read(source / LEDGER), *([] if newer is None else [ledger.read(newer)])]
    if database_file.exists():
        ledgers.append(_of_file(database_file))
    beside = database_file.with_name(f"{database_file.name}.restoring")
    _remove(beside)
    shutil.copyfile(source / DATABASE, beside)
    database = Database(f"sqlite:///{beside}")
    try:
        database.migrate()
        # Before the erasures: theirs are then the newest entries of the outbox, and wait for none of the others.
        with database.write() as connection:
            erasures_sql.mark_all_for_indexing(connection)
        erased = _apply(database, ledgers, begin)
        with database.read() as connection:
            memories = sum(1 for _ in erasures_sql.all_ids(connection))
        database.truncate_log()
    finally:
        database.close()
    # The index goes first: without one everything is found by full text, with a stranger's nothing is right.
    shutil.rmtree(index_dir, ignore_errors=True)
    beside.replace(database_file)
    _remove(beside)
    return Restored(memories, erased, manifest["made_at"])


def _apply(database: Database, ledgers: Sequence[EraseLedger], begin: Begin) -> int:
    """Begin the erasures that ledgers know of; returns how many memories that hides."""
    with database.write() as connection:
        own = erasures_sql.secret(connection)
        ids = list(erasures_sql.all_ids(connection))
        for each in ledgers:
            if each.secret == own:
                erasures_sql.add_hashes(connection, list(each.entries.items()))
    doomed: dict[str, dict[str, None]] = {}
    for each in ledgers:
        for namespace, memory_id in each.erased(ids):
            doomed.setdefault(namespace, {})[memory_id] = None
    for namespace, found in doomed.items():
        begin(database, namespace, list(found))
    return sum(map(len, doomed.values()))


def _of_file(database_file: Path) -> EraseLedger:
    database = Database(f"sqlite:///{database_file}")
    try:
        database.migrate()
        found = ledger.of_database(database)
        if not database.leave_log():
            raise Conflict(f"another process has {database_file} open: stop every worker first")
        return found
    finally:
        database.close()


def _remove(database_file: Path) -> None:
    for suffix in ("", "-wal", "-shm", ".migrate.lock"):
        database_file.with_name(f"{database_file.name}{suffix}").unlink(missing_ok=True)


def _told(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}
