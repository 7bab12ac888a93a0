"""The API in this process: for a command on data while no server holds the data folder."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from api.app import create_app
from api.deps import principal
from recalld.bootstrap import Service
from recalld.cli.exchange import NDJSON, answer_of, request_body
from recalld.core import log
from recalld.core.access import DEFAULT_NAMESPACE, Principal, check_namespace, ensure_namespace
from recalld.core.config import Settings


class LocalApi:
    """An application, called without a socket; see `recalld.cli.transport.Api`."""

    def __init__(self, transport: httpx2.ASGITransport) -> None:
        self._transport = transport

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """See `Api`."""
        return answer_of(asyncio.run(self._reply(method, path, body)))

    def lines(self, path: str, body: dict[str, Any]) -> Iterator[str]:
        """See `Api`. They come when the reply is complete."""
        reply = asyncio.run(self._reply("POST", path, body))
        if reply.status_code >= 400:
            answer_of(reply)
        yield from reply.text.splitlines()

    def download(self, path: str) -> Iterator[bytes]:
        """See `Api`. All at once, when the reply is complete."""
        reply = asyncio.run(self._reply("GET", path, None))
        if reply.status_code >= 400:
            answer_of(reply)
        yield reply.content

    def upload(self, path: str, chunks: Iterator[bytes]) -> Any:
        """See `Api`."""

        async def send() -> httpx2.Response:
            async def body() -> AsyncIterator[bytes]:
                for chunk in chunks:
                    yield chunk

            async with self._client() as client:
                return await client.post(path, content=body(), headers=NDJSON)

        return answer_of(asyncio.run(send()))

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=self._transport, base_url="http://localhost", timeout=None)

    async def _reply(self, method: str, path: str, body: dict[str, Any] | None) -> httpx2.Response:
        async with self._client() as client:
            return await client.request(method, path, **request_body(body))


@contextmanager
def open_local_api(settings: Settings, namespace: str | None) -> Iterator[LocalApi]:
    """The API over the data folder, as the operator: in `namespace`, made if it is not there, and with no key.

    What the block wrote is in the indexes when it ends.
    """
    # What a server logs of a failed request, the command says in its one line.
    log.configure(settings.log_level if settings.log_level == "debug" else "critical", settings.log_format)
    service = Service(settings)
    try:
        who = Principal(check_namespace(namespace or DEFAULT_NAMESPACE))
        with service.database.write() as connection:
            ensure_namespace(connection, who.namespace, service.clock)
        app = create_app(service)
        app.dependency_overrides[principal] = lambda: who
        yield LocalApi(httpx2.ASGITransport(app=app, raise_app_exceptions=False))
        service.erasures.resume(again=True)
        service.indexer.apply_all()
    finally:
        service.close()
