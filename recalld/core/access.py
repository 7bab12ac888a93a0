"""Namespaces, API keys and idempotency keys: who may do what, and what was already done.

A key is `rk_` + 8 characters of public prefix + `_` + a secret of 256 bits. It is shown once; the table holds its
prefix and the SHA-256 of the whole (a random secret needs no slow hash). While no key was ever made, the server is in
local mode: namespace `default`, loopback only. A revoked key still counts as made: revoking the last one closes the
server, it does not open it.

Invariant: an idempotency row is written in the transaction of the write that it stands for.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Index, Integer, Table, Text, delete, func, insert, select, update

from recalld.core.clock import Clock
from recalld.core.db import Json, UtcTime, metadata
from recalld.core.errors import Conflict, Gone, InvalidInput, NotFound, Unauthorized
from recalld.core.ids import IdSource
from recalld.core.scope import EVERYTHING, Scope

DEFAULT_NAMESPACE = "default"
IDEMPOTENCY_KEY_CHARS_MAX = 255
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

namespaces = Table(
    "namespaces",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", UtcTime, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("prefix", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False),
    Column("user_id", Text),
    Column("agent_id", Text),
    Column("session_id", Text),
    Column("read_only", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("request_digest", Text),
    Column("status", Integer, nullable=False),
    Column("body", Json),
    Column("memory_ids", Json, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_idempotency_keys_created_at", "created_at"),
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: a key, or local mode.

    Attributes:
        namespace: the hard wall.
        bound: the scope that the key is bound to; `EVERYTHING` where it is not.
        key_id: the key; None in local mode.
    """

    namespace: str
    bound: Scope = EVERYTHING
    read_only: bool = False
    key_id: str | None = None

    @property
    def name(self) -> str:
        """What its idempotency keys are filed under."""
        return self.key_id or f"local:{self.namespace}"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as it is listed: never its secret."""

    id: str
    namespace: str
    prefix: str
    scope: Scope
    read_only: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredReply:
    """What a request was answered, to answer its repetition."""

    status: int
    body: Any


def check_namespace(name: str) -> str:
    """`name`, if it can name a namespace.

    Raises:
        InvalidInput: it cannot.
    """
    if not _NAMESPACE.fullmatch(name):
        raise InvalidInput.of(
            "namespace", "1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit", 64
        )
    return name


def ensure_namespace(connection: Connection, name: str, clock: Clock) -> None:
    """Make the namespace unless it is there."""
    if connection.execute(select(namespaces.c.name).where(namespaces.c.name == name)).first() is None:
        connection.execute(insert(namespaces).values(name=name, created_at=clock.now()))


def list_namespaces(connection: Connection) -> list[str]:
    """Every namespace's name, sorted."""
    return list(connection.scalars(select(namespaces.c.name).order_by(namespaces.c.name)))


def create_key(
    connection: Connection,
    namespace: str,
    clock: Clock,
    ids: IdSource,
    bound: Scope = EVERYTHING,
    read_only: bool = False,
    expires_at: datetime | None = None,
) -> tuple[KeyInfo, str]:
    """Make a key, and its namespace with its first one. Returns its record and its text, which is shown only now."""
    ensure_namespace(connection, check_namespace(namespace), clock)
    prefix = f"rk_{secrets.token_hex(4)}"
    secret = f"{prefix}_{secrets.token_urlsafe(32)}"
    info = KeyInfo(ids.new("key"), namespace, prefix, bound, read_only, clock.now(), expires_at, None)
    connection.execute(
        insert(api_keys).values(
            id=info.id,
            namespace=namespace,
            prefix=prefix,
            digest=_digest(secret),
            **dict(zip(("user_id", "agent_id", "session_id"), bound.values(), strict=True)),
            read_only=read_only,
            created_at=info.created_at,
            expires_at=expires_at,
        )
    )
    return info, secret


def list_keys(connection: Connection, namespace: str | None = None) -> list[KeyInfo]:
    """The keys of a namespace, or of all, oldest first."""
    query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
    if namespace is not None:
        query = query.where(api_keys.c.namespace == namespace)
    return [_key_info(row) for row in connection.execute(query)]


def revoke_key(connection: Connection, key: str, clock: Clock) -> KeyInfo:
    """Revoke a key by its id or prefix; a second time changes nothing.

    Raises:
        NotFound: no such key.
    """
    query = select(api_keys).where((api_keys.c.id == key) | (api_keys.c.prefix == key))
    row = connection.execute(query).first()
    if row is None:
        raise NotFound("no key has this id or prefix")
    if row.revoked_at is None:
        connection.execute(update(api_keys).where(api_keys.c.id == row.id).values(revoked_at=clock.now()))
    return _key_info(connection.execute(query).one())


def any_key(connection: Connection) -> bool:
    """Whether a key was ever made: from then on local mode is over."""
    return connection.execute(select(api_keys.c.id).limit(1)).first() is not None


def authenticate(connection: Connection, authorization: str | None, clock: Clock) -> Principal:
    """Who the `Authorization` header names.

    Raises:
        Unauthorized: no header, or a key that is unknown, expired or revoked (which one is not said).
    """
    scheme, _, secret = (authorization or "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise Unauthorized("send the key as `Authorization: Bearer rk_...`; `recalld keys create` makes one")
    row = connection.execute(select(api_keys).where(api_keys.c.prefix == secret[: len("rk_") + 8])).first()
    refused = Unauthorized("this key is unknown, expired or revoked")
    if row is None or not hmac.compare_digest(row.digest, _digest(secret)) or row.revoked_at is not None:
        raise refused
    if row.expires_at is not None and row.expires_at <= clock.now():
        raise refused
    return Principal(row.namespace, Scope(row.user_id, row.agent_id, row.session_id), row.read_only, row.id)


def find_reply(
    connection: Connection, principal: Principal, key: str, request_digest: str, clock: Clock, hours: int
) -> StoredReply | None:
    """What the request with this idempotency key was answered; None where it is new or its time has run out.

    Raises:
        Conflict: the key was used for another request.
        Gone: what it answered has been erased since; repeating it must not bring it back.
    """
    query = select(idempotency_keys).where(
        idempotency_keys.c.principal == principal.name, idempotency_keys.c.key == key
    )
    row = connection.execute(query).first()
    if row is None or row.created_at <= clock.now() - timedelta(hours=hours):
        return None
    if row.request_digest is None:
        raise Gone("the result of the request with this Idempotency-Key was erased")
    if row.request_digest != request_digest:
        raise Conflict("Idempotency-Key: it was used for another request")
    return StoredReply(row.status, row.body)


def keep_reply(
    connection: Connection,
    principal: Principal,
    key: str,
    request_digest: str,
    reply: StoredReply,
    memory_ids: Sequence[str],
    clock: Clock,
) -> None:
    """File the reply under its idempotency key."""
    where = (idempotency_keys.c.principal == principal.name) & (idempotency_keys.c.key == key)
    connection.execute(delete(idempotency_keys).where(where))
    connection.execute(
        insert(idempotency_keys).values(
            principal=principal.name,
            key=key,
            namespace=principal.namespace,
            request_digest=request_digest,
            status=reply.status,
            body=reply.body,
            memory_ids=list(memory_ids),
            created_at=clock.now(),
        )
    )


def forget_replies(connection: Connection, namespace: str, memory_ids: Sequence[str]) -> int:
    """Empty the stored replies that show any of these memories: they hold its text. Returns how many."""
    shown = func.json_each(idempotency_keys.c.memory_ids).table_valued("value")
    found = (
        select(idempotency_keys.c.principal, idempotency_keys.c.key)
        .select_from(idempotency_keys.join(shown, shown.c.value.in_(memory_ids)))
        .where(idempotency_keys.c.namespace == namespace, idempotency_keys.c.request_digest.is_not(None))
        .distinct()
    )
    rows = connection.execute(found).all()
    for row in rows:
        where = (idempotency_keys.c.principal == row.principal) & (idempotency_keys.c.key == row.key)
        connection.execute(update(idempotency_keys).where(where).values(request_digest=None, body=None, memory_ids=[]))
    return len(rows)


def drop_old_replies(connection: Connection, clock: Clock, hours: int) -> int:
    """Remove idempotency keys whose time has run out. Returns how many."""
    old = idempotency_keys.c.created_at <= clock.now() - timedelta(hours=hours)
    return connection.execute(delete(idempotency_keys).where(old)).rowcount


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key_info(row: Any) -> KeyInfo:
    scope = Scope(row.user_id, row.agent_id, row.session_id)
    return KeyInfo(
        row.id, row.namespace, row.prefix, scope, row.read_only, row.created_at, row.expires_at, row.revoked_at
    )
