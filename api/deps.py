"""What routes are given: who asks, a write that happens once, cursors. The one place of the API that commits.

`Once.run` opens the transaction, carries out the write and commits, all within the route's own function: so no reply
leaves before its commit. What must happen between the two, such as taking an erased vector out of its index, is put in
`after_commit`. Reads open their transaction in the route's function too. A `yield` dependency would hold it while the
route waits for a thread: when all threads wait for the write lock, or for a connection, none is left to end a
transaction, and the server stands still for good (`tests/api/test_concurrency.py`).
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from memory.ports import Store
from memory.store.sql import SqlStore
from recalld.bootstrap import Service
from recalld.core import access
from recalld.core.access import Principal, StoredReply
from recalld.core.addresses import is_loopback
from recalld.core.db import Connection
from recalld.core.errors import Forbidden, InvalidInput, Unauthorized
from recalld.jobs.ports import JobQueue


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]
BEARER = HTTPBearer(auto_error=False, scheme_name="key", description="`rk_...`; not needed while no key exists")


def principal(
    request: Request, service: ServiceDep, _documented: Annotated[object, Security(BEARER)] = None
) -> Principal:
    """Whose request this is. While no key was ever made: anyone on loopback, as namespace `default`."""
    with service.database.read() as connection:
        if access.any_key(connection):
            return access.authenticate(connection, request.headers.get("authorization"), service.clock)
    if request.client is None or not is_loopback(request.client.host):
        raise Unauthorized("without a key only loopback is served: make one with `recalld keys create`")
    return Principal(access.DEFAULT_NAMESPACE)


Caller = Annotated[Principal, Depends(principal)]


async def _writer(who: Caller) -> Principal:
    if who.read_only:
        raise Forbidden("this key is read-only")
    return who


Writer = Annotated[Principal, Depends(_writer)]


@dataclass(slots=True)
class WriteTransaction:
    """An open write transaction, and what follows its commit."""

    connection: Connection
    store: Store
    jobs: JobQueue
    after_commit: list[Callable[[], object]] = field(default_factory=list)


Act = Callable[[WriteTransaction], tuple[BaseModel, list[str]]]


@dataclass(frozen=True, slots=True)
class Idempotent:
    """Runs a write, once for each `Idempotency-Key`: its repetition is answered with the same reply."""

    service: Service
    who: Principal
    key: str | None
    request_digest: str

    def run(self, status: int, act: Act) -> JSONResponse:
        """Carry out `act` and commit; where it was carried out before, reply as then.

        Args:
            act: does the work; returns the reply and the ids of the memories that it shows.
        """
        reply = self.commit(status, act)
        headers = {"ETag": f'"{reply.body["version"]}"'} if "version" in reply.body else {}
        return JSONResponse(reply.body, status_code=reply.status, headers=headers)

    def commit(self, status: int, act: Act) -> StoredReply:
        """The same without making a response of the reply: for a route that has more to say."""
        with self.service.database.write() as connection:
            write = WriteTransaction(connection, SqlStore(connection), self.service.jobs(connection))
            reply = self._once(write, status, act)
        for step in write.after_commit:
            step()
        self.service.worker.wake()
        return reply

    def _once(self, write: WriteTransaction, status: int, act: Act) -> StoredReply:
        if self.key is None:
            return StoredReply(status, act(write)[0].model_dump(mode="json"))
        clock, hours = self.service.clock, self.service.settings.idempotency_hours
        known = access.find_reply(write.connection, self.who, self.key, self.request_digest, clock, hours)
        if known is not None:
            return known
        model, memory_ids = act(write)
        reply = StoredReply(status, model.model_dump(mode="json"))
        access.keep_reply(write.connection, self.who, self.key, self.request_digest, reply, memory_ids, clock)
        return reply


async def _request_digest(request: Request) -> str:
    told = b"\x00".join((request.method.encode(), request.url.path.encode(), await request.body()))
    return hashlib.sha256(told).hexdigest()


async def _idempotent(
    service: ServiceDep,
    who: Writer,
    request_digest: Annotated[str, Depends(_request_digest)],
    idempotency_key: Annotated[
        str | None, Header(description="the same key with the same request is carried out once (24 h)")
    ] = None,
) -> Idempotent:
    most = access.IDEMPOTENCY_KEY_CHARS_MAX
    if idempotency_key is not None and not (1 <= len(idempotency_key) <= most and idempotency_key.isprintable()):
        raise InvalidInput.of("Idempotency-Key", f"1 to {most} printable characters", most)
    return Idempotent(service, who, idempotency_key, request_digest)


Once = Annotated[Idempotent, Depends(_idempotent)]


def encode_cursor(list_name: str, place: int | tuple[int, ...] | None) -> str | None:
    """An opaque cursor for a place in a list; `list_name` names the list, namespace included."""
    if place is None:
        return None
    numbers = (place,) if isinstance(place, int) else place
    raw = b"".join(number.to_bytes(8, "big") for number in numbers)
    return base64.urlsafe_b64encode(raw + _seal(list_name, raw)).decode().rstrip("=")


def decode_cursor(list_name: str, cursor: str | None) -> int | None:
    """The place that a cursor of this list names; see `decode_places`."""
    places = decode_places(list_name, cursor, 1)
    return None if places is None else places[0]


def decode_places(list_name: str, cursor: str | None, count: int) -> tuple[int, ...] | None:
    """The place that a cursor of this list names, in a list whose places are `count` numbers.

    Raises:
        InvalidInput: the list did not give it.
    """
    if cursor is None:
        return None
    wrong = InvalidInput.of("cursor", "is not a cursor that this list gave")
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        raise wrong from None
    places = tuple(int.from_bytes(raw[8 * at : 8 * at + 8], signed=True) for at in range(count))
    if len(raw) != 8 * count + 8 or min(places) < 0 or encode_cursor(list_name, places) != cursor:
        raise wrong
    return places


def _seal(list_name: str, raw: bytes) -> bytes:
    return hashlib.blake2b(raw + list_name.encode(), digest_size=8, person=b"cursor").digest()
