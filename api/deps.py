"""What routes are given: who asks, a transaction, idempotency, cursors. The one place of the API that commits.

`Write` commits when the route's function has returned and *before* the reply is sent: `Depends(...,
scope="function")` is what makes it so (FastAPI ends a `yield` dependency after the reply otherwise), and a test holds
it. What must happen after the commit and before the reply, such as taking an erased vector out of its index, is put
in `after_commit`.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.limits import is_loopback
from memory.ports import Store
from memory.store.sql import SqlStore
from recalld.bootstrap import Service
from recalld.core import access
from recalld.core.access import Principal, StoredReply
from recalld.core.db import Connection
from recalld.core.errors import Forbidden, InvalidInput, Unauthorized


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]


def principal(request: Request, service: ServiceDep) -> Principal:
    """Whose request this is. While no key was ever made: anyone on loopback, as namespace `default`."""
    with service.database.read() as connection:
        if access.any_key(connection):
            return access.authenticate(connection, request.headers.get("authorization"), service.clock)
    if request.client is None or not is_loopback(request.client.host):
        raise Unauthorized("without a key only loopback is served: make one with `recalld keys create`")
    return Principal(access.DEFAULT_NAMESPACE)


Caller = Annotated[Principal, Depends(principal)]


def _writer(who: Caller) -> Principal:
    if who.read_only:
        raise Forbidden("this key is read-only")
    return who


Writer = Annotated[Principal, Depends(_writer)]


def _read(service: ServiceDep) -> Iterator[Store]:
    with service.read_store() as store:
        yield store


Read = Annotated[Store, Depends(_read, scope="function")]


@dataclass(slots=True)
class WriteTransaction:
    """An open write transaction, and what follows its commit."""

    connection: Connection
    store: Store
    after_commit: list[Callable[[], object]] = field(default_factory=list)


def _write(service: ServiceDep) -> Iterator[WriteTransaction]:
    with service.database.write() as connection:
        transaction = WriteTransaction(connection, SqlStore(connection))
        yield transaction
    for step in transaction.after_commit:
        step()
    service.worker.wake()


Write = Annotated[WriteTransaction, Depends(_write, scope="function")]


@dataclass(frozen=True, slots=True)
class Idempotent:
    """Runs a write once for each `Idempotency-Key`: its repetition is answered with the same reply."""

    service: Service
    who: Principal
    write: WriteTransaction
    key: str | None
    request_digest: str

    def run(self, status: int, act: Callable[[], tuple[BaseModel, list[str]]]) -> JSONResponse:
        """Reply with what `act` returns, or with what it returned before.

        Args:
            act: does the work; returns the reply and the ids of the memories that it shows.
        """
        if self.key is None:
            return _reply(status, act()[0].model_dump(mode="json"))
        settings = self.service.settings
        clock = self.service.clock
        known = access.find_reply(
            self.write.connection, self.who, self.key, self.request_digest, clock, settings.idempotency_hours
        )
        if known is not None:
            return _reply(known.status, known.body)
        model, memory_ids = act()
        stored = StoredReply(status, model.model_dump(mode="json"))
        access.keep_reply(self.write.connection, self.who, self.key, self.request_digest, stored, memory_ids, clock)
        return _reply(stored.status, stored.body)


async def _request_digest(request: Request) -> str:
    told = b"\x00".join((request.method.encode(), request.url.path.encode(), await request.body()))
    return hashlib.sha256(told).hexdigest()


def _idempotent(
    service: ServiceDep,
    who: Writer,
    write: Write,
    request_digest: Annotated[str, Depends(_request_digest)],
    idempotency_key: Annotated[
        str | None, Header(description="the same key with the same request is carried out once (24 h)")
    ] = None,
) -> Idempotent:
    most = access.IDEMPOTENCY_KEY_CHARS_MAX
    if idempotency_key is not None and not (1 <= len(idempotency_key) <= most and idempotency_key.isprintable()):
        raise InvalidInput.of("Idempotency-Key", f"1 to {most} printable characters", most)
    return Idempotent(service, who, write, idempotency_key, request_digest)


Once = Annotated[Idempotent, Depends(_idempotent, scope="function")]


def _reply(status: int, body: dict[str, object]) -> JSONResponse:
    headers = {"ETag": f'"{body["version"]}"'} if "version" in body else {}
    return JSONResponse(body, status_code=status, headers=headers)


def encode_cursor(namespace: str, place: int | None) -> str | None:
    """An opaque cursor for a place in a list of this namespace."""
    if place is None:
        return None
    raw = place.to_bytes(8, "big")
    return base64.urlsafe_b64encode(raw + _seal(namespace, raw)).decode().rstrip("=")


def decode_cursor(namespace: str, cursor: str | None) -> int | None:
    """The place that a cursor of this namespace names.

    Raises:
        InvalidInput: it was not made here.
    """
    if cursor is None:
        return None
    wrong = InvalidInput.of("cursor", "is not a cursor that this list gave")
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raise wrong from None
    if (
        len(raw) != 16
        or raw[8:] != _seal(namespace, raw[:8])
        or encode_cursor(namespace, int.from_bytes(raw[:8])) != cursor
    ):
        raise wrong
    return int.from_bytes(raw[:8])


def _seal(namespace: str, raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=8, person=b"cursor", key=namespace.encode()[:64]).digest()
