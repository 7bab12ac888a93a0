"""How a command on data reaches the data: over HTTP to the server that holds the folder, else through the same API in
this process.

Either way it is one request to one API, so a command can not do what a client could not, and behaves the same with
and without a server. Without one, the command is the operator's: it needs no key and names its namespace itself.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from api.app import create_app
from api.deps import principal
from recalld.bootstrap import Service
from recalld.core.access import DEFAULT_NAMESPACE, Principal, check_namespace, ensure_namespace
from recalld.core.config import Settings
from recalld.core.datafolder import DataFolder
from recalld.core.errors import ConfigError, FieldError, RecalldError, Unavailable

TIMEOUT_S = 600.0


class RemoteError(RecalldError):
    """An error that the API answered, as it answered it."""


class Api:
    """The API, wherever it runs."""

    def __init__(self, client: httpx2.Client | httpx2.AsyncClient) -> None:
        self._client = client

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request; returns the reply's JSON.

        Raises:
            RemoteError: the API answered with an error.
            Unavailable: nobody answered.
        """
        content = None if body is None else json.dumps(body).encode("utf-8", "surrogatepass")
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            if isinstance(self._client, httpx2.Client):
                reply = self._client.request(method, path, content=content, headers=headers)
            else:
                reply = asyncio.run(self._client.request(method, path, content=content, headers=headers))
        except httpx2.TransportError as error:
            raise Unavailable(f"no answer from {self._client.base_url}: {type(error).__name__}") from error
        if reply.status_code >= 400:
            raise _error(reply)
        return reply.json()

    def lines(self, path: str, body: dict[str, Any]) -> Iterator[str]:
        """The lines of a streamed reply."""
        if not isinstance(self._client, httpx2.Client):
            content = json.dumps(body).encode()
            reply = asyncio.run(
                self._client.request("POST", path, content=content, headers={"Content-Type": "application/json"})
            )
            if reply.status_code >= 400:
                raise _error(reply)
            yield from reply.text.splitlines()
            return
        with self._client.stream("POST", path, json=body) as streamed:
            if streamed.status_code >= 400:
                streamed.read()
                raise _error(streamed)
            yield from streamed.iter_lines()


@contextmanager
def open_api(settings: Settings, namespace: str | None) -> Iterator[Api]:
    """The API of the server that `RECALLD_URL` names or that holds the data folder, else one in this process."""
    held = DataFolder(settings.data_dir).holder() if settings.url is None else None
    url = settings.url or (held.url if held is not None else None)
    if url is not None:
        if namespace is not None:
            raise ConfigError("--namespace: a running server takes the namespace from the key (RECALLD_API_KEY)")
        key = settings.api_key.get_secret_value() if settings.api_key else None
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_S) as client:
            yield Api(client)
        return
    service = Service(settings)
    try:
        who = Principal(check_namespace(namespace or DEFAULT_NAMESPACE))
        with service.database.write() as connection:
            ensure_namespace(connection, who.namespace, service.clock)
        app = create_app(service)
        app.dependency_overrides[principal] = lambda: who
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
        yield Api(httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=None))
        service.indexer.apply_all()
    finally:
        service.close()


def _error(reply: httpx2.Response) -> RemoteError:
    try:
        told = reply.json()
        fields = [FieldError(field["field"], field["message"], field.get("limit")) for field in told["errors"]]
        return RemoteError(told["detail"], fields)
    except (ValueError, KeyError, TypeError):
        return RemoteError(f"the server answered {reply.status_code}")
