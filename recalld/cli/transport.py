"""How a command on data reaches the data: over HTTP to the server that holds the folder, else through the same API in
this process.

Either way it is one request to one API, so a command can not do what a client could not, and behaves the same with
and without a server. Without one, the command is the operator's: it needs no key and names its namespace itself. Only
then is the service imported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import httpx2

from recalld.cli.exchange import NDJSON, answer_of, request_body
from recalld.core.addresses import is_loopback
from recalld.core.config import Settings
from recalld.core.datafolder import DataFolder
from recalld.core.errors import ConfigError, Unavailable

UPLOAD_TIMEOUTS = httpx2.Timeout(None, connect=5.0)
TIMEOUTS = httpx2.Timeout(600.0, connect=5.0)


class Api(Protocol):
    """The API, wherever it runs."""

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request; returns the reply's JSON.

        Raises:
            RemoteError: the API answered with an error.
            Unavailable: nobody answered, or it was not recalld.
        """
        ...

    def lines(self, path: str, body: dict[str, Any]) -> Iterator[str]:
        """The lines of a streamed reply; see `call`."""
        ...

    def download(self, path: str) -> Iterator[bytes]:
        """The bytes of a reply, as they come; see `call`."""
        ...

    def upload(self, path: str, chunks: Iterator[bytes]) -> Any:
        """A request whose body is lines of JSON, sent as it is read; see `call`."""
        ...


class ServerApi:
    """The API of a running server."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """See `Api`."""
        with self._errors():
            reply = self._client.request(method, path, **request_body(body))
        return answer_of(reply)

    def lines(self, path: str, body: dict[str, Any]) -> Iterator[str]:
        """See `Api`."""
        with self._errors(), self._client.stream("POST", path, **request_body(body)) as streamed:
            if streamed.status_code >= 400:
                streamed.read()
                answer_of(streamed)
            yield from streamed.iter_lines()

    def download(self, path: str) -> Iterator[bytes]:
        """See `Api`."""
        with self._errors(), self._client.stream("GET", path) as streamed:
            if streamed.status_code >= 400:
                streamed.read()
                answer_of(streamed)
            yield from streamed.iter_bytes()

    def upload(self, path: str, chunks: Iterator[bytes]) -> Any:
        """See `Api`."""
        with self._errors():
            reply = self._client.post(path, content=chunks, headers=NDJSON, timeout=UPLOAD_TIMEOUTS)
        return answer_of(reply)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx2.RequestError as error:
            raise Unavailable(f"no answer from {self._client.base_url}: {error or type(error).__name__}") from error


@contextmanager
def open_api(settings: Settings, namespace: str | None) -> Iterator[Api]:
    """The API of the server that `RECALLD_URL` names or that holds the data folder, else one in this process."""
    held = DataFolder(settings.data_dir).holder() if settings.url is None else None
    url = settings.url or (held.url if held is not None else None)
    if url is None:
        from recalld.cli.local import open_local_api

        with open_local_api(settings, namespace) as api:
            yield api
        return
    if namespace is not None:
        raise ConfigError("--namespace: a running server takes the namespace from the key (RECALLD_API_KEY)")
    with _client(url, settings) as client:
        yield ServerApi(client)


def _client(url: str, settings: Settings) -> httpx2.Client:
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    if not key.isascii() or not key.isprintable():
        raise ConfigError("api_key: must be printable ASCII")
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError("url: must be like http://127.0.0.1:7437")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # A proxy that the environment names could not reach a loopback server, and would be handed the memories.
    return httpx2.Client(base_url=parsed, headers=headers, timeout=TIMEOUTS, trust_env=not is_loopback(parsed.host))
