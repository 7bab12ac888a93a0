"""Erasures in SQL: hide, remove in steps, the ledger, and what the rescan needs.

To hide is to move rows to a namespace that no caller can name (`-era_...`): the wall between tenants then keeps them
from every read at once, however many they are, and what is left to remove is simply what that namespace holds.

Invariants: everything is done on ids that were read within the caller's namespace; the ledger has no text.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import Connection, delete, func, insert, select, text, update

from memory.model import KINDS, Memory, Receipt, Rescan, Selection, State
from memory.store.erasure_tables import erased_memories, erasure_windows, erasures, instance
from memory.store.filters_sql import conditions
from memory.store.removal_sql import chunks
from memory.store.rows import memory_of
from memory.store.sql import SqlStore
from memory.store.tables import change_memories, memories, recall_memories, sources, versions
from recalld.core.db import format_utc
from recalld.core.scope import SCOPE_FIELDS, Scope
from retrieval.passages import PASSAGE_BITS

_BEGINNING_OF_TIME = datetime.min.replace(tzinfo=UTC)
_SECRET = "erasure_secret"
_NO_TEXT = "\x00"
MERGE_PAGES = 250
# FTS5: a negative number of pages first puts all segments into one merge, positive ones then go on with it.
_MERGE = text("INSERT INTO memory_fts(memory_fts, rank) VALUES('merge', :pages)")
# Everything that a live memory accounts for, in SQL and in full text: whole rows, because SQLite writes a row's columns
# one behind the other, and a window may lie across two of them.
_LIVE = (
    "SELECT * FROM memories WHERE namespace NOT LIKE '-%'",
    "SELECT * FROM versions WHERE namespace NOT LIKE '-%'",
    f"SELECT tags, body FROM memory_fts WHERE rowid >> {PASSAGE_BITS} IN"
    " (SELECT row FROM memories WHERE namespace NOT LIKE '-%')",
    "SELECT term FROM temp.memory_terms",
)
# What the database says of itself: places that hold no memory's text by their design. Each is a statement.
_OWN = (
    "SELECT type, name, sql FROM sqlite_master",
    "SELECT name FROM instance",
    "SELECT name FROM namespaces",
    "SELECT namespace, user_id, agent_id, session_id FROM api_keys",
    "SELECT DISTINCT user_id, agent_id, session_id FROM recalls",
    "SELECT DISTINCT principal, key FROM idempotency_keys",
    "SELECT DISTINCT action, reason FROM changes",
    "SELECT DISTINCT namespace, user_id, agent_id, session_id, asked, state, removed, rescan FROM erasures",
    "SELECT DISTINCT namespace, user_id, agent_id, session_id, task, state, dedup_key, worker FROM jobs",
    "SELECT DISTINCT namespace, deriver_name, deriver_version FROM derived_until",
)
_OWN_NAMES = " ".join(
    (*KINDS, *get_args(State), "items scope deriver sources name memory_ids erasure_id true false null")
)


def secret(connection: Connection) -> bytes:
    """The instance's secret, 32 bytes, made at its first use: ids are hashed with it."""
    found = connection.scalar(select(instance.c.value).where(instance.c.name == _SECRET))
    if found is None:
        found = secrets.token_hex(32)
        connection.execute(insert(instance).values(name=_SECRET, value=found))
    return bytes.fromhex(found)


def hash_of(key: bytes, memory_id: str) -> str:
    """What the ledger holds of an id."""
    return hmac.new(key, memory_id.encode(), hashlib.sha256).hexdigest()[:32]


def hidden_namespace(erasure_id: str) -> str:
    """Where the rows of an erasure are until they are removed: no name that a namespace can have."""
    return f"-{erasure_id}"


def selected(connection: Connection, namespace: str, selection: Selection, ids: Sequence[str] | None) -> list[str]:
    """The ids that a selection matches, expired ones too; of these only, where some are given."""
    where = conditions(namespace, selection, _BEGINNING_OF_TIME)
    query = select(memories.c.id).where(*where).order_by(memories.c.row)
    if ids is None:
        return list(connection.scalars(query))
    wanted = list(dict.fromkeys(ids))
    return [found for part in chunks(wanted) for found in connection.scalars(query.where(memories.c.id.in_(part)))]


def with_derived(connection: Connection, namespace: str, ids: Iterable[str]) -> list[str]:
    """The ids that there are, and those of everything derived from them, however far."""
    wanted = dict.fromkeys(ids)
    found = dict.fromkeys(_existing(connection, namespace, list(wanted)))
    edge = list(found)
    while edge:
        links = [
            link
            for part in chunks(edge)
            for link in connection.scalars(
                select(sources.c.memory_id).where(sources.c.namespace == namespace, sources.c.source_id.in_(part))
            )
        ]
        edge = _existing(connection, namespace, [link for link in dict.fromkeys(links) if link not in found])
        found |= dict.fromkeys(edge)
    return list(found)


def orphans(connection: Connection, namespace: str, ids: Sequence[str]) -> list[Memory]:
    """The sources beside `ids` of derived memories among them: what is to be derived anew from."""
    doomed = set(ids)
    links: dict[str, None] = {}
    for part in chunks(ids):
        query = select(sources.c.source_id).where(sources.c.memory_id.in_(part))
        links |= dict.fromkeys(connection.scalars(query))
    return SqlStore(connection).get(namespace, [source for source in links if source not in doomed])


def counts(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """How many rows an erasure of these would remove, by place."""
    places = {
        "memories": (memories, memories.c.id),
        "versions": (versions, versions.c.memory_id),
        "changes": (change_memories, change_memories.c.memory_id),
        "recalls": (recall_memories, recall_memories.c.memory_id),
    }
    return {
        name: sum(
            connection.scalar(select(func.count()).select_from(table).where(column.in_(part))) or 0
            for part in chunks(ids)
        )
        for name, (table, column) in places.items()
    }


def rows_of(connection: Connection, namespace: str, ids: Sequence[str]) -> list[int]:
    """The numbers of these memories."""
    return [
        row
        for part in chunks(ids)
        for row in connection.scalars(
            select(memories.c.row).where(memories.c.namespace == namespace, memories.c.id.in_(part))
        )
    ]


def hide(connection: Connection, receipt: Receipt, bound: Scope, entry: int, rows: Sequence[int]) -> None:
    """Keep the erasure and its ledger, and take the memories out of every read."""
    key = secret(connection)
    named = dict(zip(SCOPE_FIELDS, bound.values(), strict=True))
    kept = {name: getattr(receipt, name) for name in ("id", "namespace", "asked", "state", "memories", "erased_at")}
    kept |= {"removed": dict(receipt.removed), "attempts": 0, "entry": entry, "digest": ""}
    connection.execute(insert(erasures).values(**kept, **named))
    hashes = [{"hash": hash_of(key, gone), "erasure_id": receipt.id} for gone in receipt.memory_ids]
    if hashes:
        connection.execute(insert(erased_memories).prefix_with("OR REPLACE"), hashes)
    SqlStore(connection).mark_for_indexing(receipt.namespace, rows)
    hidden = hidden_namespace(receipt.id)
    for part in chunks(receipt.memory_ids):
        connection.execute(update(memories).where(memories.c.id.in_(part)).values(namespace=hidden))
        connection.execute(update(versions).where(versions.c.memory_id.in_(part)).values(namespace=hidden))


def next_hidden(connection: Connection, erasure_id: str, limit: int) -> list[tuple[Memory, list[Memory]]]:
    """Some of the memories that are still to be removed, each with its older versions."""
    hidden = hidden_namespace(erasure_id)
    query = select(memories).where(memories.c.namespace == hidden).order_by(memories.c.row).limit(limit)
    found = [memory_of(row, row.id, row.row) for row in connection.execute(query)]
    old: dict[str, list[Memory]] = {memory.id: [] for memory in found}
    for part in chunks(list(old)):
        for row in connection.execute(select(versions).where(versions.c.memory_id.in_(part))):
            old[row.memory_id].append(memory_of(row, row.memory_id, 0))
    return [(memory, old[memory.id]) for memory in found]


def keep_windows(connection: Connection, erasure_id: str, windows: bytes) -> None:
    """Keep what the rescan is to look for."""
    connection.execute(insert(erasure_windows).values(erasure_id=erasure_id, windows=windows))


def windows(connection: Connection, erasure_id: str) -> list[bytes]:
    """What `keep_windows` kept."""
    query = select(erasure_windows.c.windows).where(erasure_windows.c.erasure_id == erasure_id)
    return list(connection.scalars(query.order_by(erasure_windows.c.number)))


def save(connection: Connection, erasure_id: str, **values: Any) -> None:
    """Change what is kept of an erasure."""
    connection.execute(update(erasures).where(erasures.c.id == erasure_id).values(**values))


def close(connection: Connection, receipt: Receipt) -> None:
    """Keep the outcome; what the rescan looked for goes when it needs it no more."""
    outcome = {name: getattr(receipt, name) for name in ("state", "attempts", "finished_at", "digest")}
    rescan = receipt.rescan and asdict(receipt.rescan) | {"at": format_utc(receipt.rescan.at)}
    save(connection, receipt.id, rescan=rescan, **outcome)
    if receipt.state == "succeeded":
        connection.execute(delete(erasure_windows).where(erasure_windows.c.erasure_id == receipt.id))


def load(connection: Connection, erasure_id: str, namespace: str | None = None) -> tuple[Receipt, Scope, int] | None:
    """A receipt, who may see it, and the entry of the outbox after which its own are."""
    query = select(erasures).where(erasures.c.id == erasure_id)
    row = connection.execute(query if namespace is None else query.where(erasures.c.namespace == namespace)).first()
    if row is None:
        return None
    receipt = Receipt(
        row.id, row.namespace, row.asked, row.state, row.memories, row.removed, row.erased_at,
        finished_at=row.finished_at, rescan=_rescan(row.rescan), digest=row.digest, attempts=row.attempts,
    )  # fmt: skip
    return receipt, Scope(row.user_id, row.agent_id, row.session_id), row.entry


def hashes(connection: Connection, erasure_id: str) -> list[str]:
    """The ledger's hashes of one erasure, sorted."""
    query = select(erased_memories.c.hash).where(erased_memories.c.erasure_id == erasure_id)
    return list(connection.scalars(query.order_by(erased_memories.c.hash)))


def unfinished(connection: Connection, again: bool) -> list[str]:
    """Erasures that are to go on, oldest first; `again`: those too whose files were searched already."""
    query = select(erasures.c.id).where(erasures.c.state == "running").order_by(erasures.c.number)
    return list(connection.scalars(query if again else query.where(erasures.c.attempts == 0)))


def erased_here(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Which of these ids the ledger says were erased."""
    key = secret(connection)
    by_hash = {hash_of(key, each): each for each in ids}
    return {
        by_hash[found]
        for part in chunks(list(by_hash))
        for found in connection.scalars(select(erased_memories.c.hash).where(erased_memories.c.hash.in_(part)))
    }


def all_hashes(connection: Connection) -> list[tuple[str, str]]:
    """The whole ledger: hashes and the erasures that they are of."""
    query = select(erased_memories.c.hash, erased_memories.c.erasure_id).order_by(erased_memories.c.hash)
    return [(row.hash, row.erasure_id) for row in connection.execute(query)]


def all_ids(connection: Connection) -> Iterator[tuple[str, str]]:
    """Every memory's namespace and id, but for those that are being erased."""
    query = select(memories.c.namespace, memories.c.id).where(~memories.c.namespace.startswith("-"))
    return ((row.namespace, row.id) for row in connection.execute(query.order_by(memories.c.row)))


def add_hashes(connection: Connection, found: Sequence[tuple[str, str]]) -> None:
    """Take entries of another copy of this ledger over."""
    values = [{"hash": entry, "erasure_id": erasure_id} for entry, erasure_id in found]
    if values:
        connection.execute(insert(erased_memories).prefix_with("OR IGNORE"), values)


def mark_all_for_indexing(connection: Connection) -> None:
    """Put every active memory in the outbox: the index that was there is gone."""
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO outbox (namespace, row)"
        " SELECT namespace, row FROM memories WHERE state = 'active' AND namespace NOT LIKE '-%' ORDER BY row"
    )


def merge_fulltext(connection: Connection, first: bool) -> bool:
    """A step of rewriting full text without what was deleted from it; False at the end."""
    driver = connection.connection.driver_connection
    assert driver is not None
    before = driver.total_changes
    connection.execute(_MERGE, {"pages": -MERGE_PAGES if first else MERGE_PAGES})
    changed: int = driver.total_changes - before
    return changed >= 2


def live_words(connection: Connection) -> Iterator[str]:
    """Everything that live rows say, with the terms that full text has of them, and the database's own words."""
    connection.exec_driver_sql(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.memory_terms USING fts5vocab(main, memory_fts, row)"
    )
    yield _OWN_NAMES
    for statement in (*_LIVE, *_OWN):
        for row in connection.exec_driver_sql(statement):
            yield "".join(value if isinstance(value, str) else _NO_TEXT for value in row if value is not None)


def _rescan(kept: dict[str, Any] | None) -> Rescan | None:
    if kept is None:
        return None
    return Rescan(**kept | {"at": datetime.fromisoformat(kept["at"]), "places": tuple(kept["places"])})


def _existing(connection: Connection, namespace: str, ids: Sequence[str]) -> list[str]:
    return [
        found
        for part in chunks(ids)
        for found in connection.scalars(
            select(memories.c.id).where(memories.c.namespace == namespace, memories.c.id.in_(part))
        )
    ]
