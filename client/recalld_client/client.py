"""The client for threads: one `Recalld` a server. Threads may share it and its scopes.

`async_client` mirrors this file line by line; a test compares the names, signatures and docstrings of the two.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from recalld_client import operations
from recalld_client.models import Embeddings, Health, Imported, Readiness, Receipt, Stats
from recalld_client.retry import RetrySettings
from recalld_client.scoped import Bindable
from recalld_client.settings import Timeouts, resolve
from recalld_client.transport import Transport


class Recalld(Bindable):
    """A recalld server. Close it, or use it in a `with` statement."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
        retry: RetrySettings | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: the server's address; left out: `RECALLD_URL`, else http://127.0.0.1:7437.
            api_key: left out: `RECALLD_API_KEY`, else none.
            timeouts: how long to wait.
            retry: how often to try again.
            transport: what carries the requests, for tests and own TLS settings.

        Raises:
            InvalidValue: the address or the key cannot be used.
        """
        settings = resolve(url, api_key, timeouts or Timeouts())
        super().__init__(Transport(settings, retry or RetrySettings(), transport), {})

    def embeddings(self, texts: str | Sequence[str], *, model: str | None = None) -> Embeddings:
        """The vectors of one text or several."""
        return self._transport.send(operations.embeddings(texts, model=model))

    def erasure(self, erasure_id: str) -> Receipt:
        """The receipt of an erasure, as it is now."""
        return self._transport.send(operations.erasure(erasure_id))

    def import_(self, path: str | Path, *, restore_erased: bool = False) -> Imported:
        """Keep the memories of an exported file, under their own ids: all of them, or none. Again, it changes nothing.

        Args:
            path: the file.
            restore_erased: bring back what was erased there as well.
        """
        return self._transport.send(operations.import_(path, restore_erased=restore_erased))

    def stats(self) -> Stats:
        """Rows, bytes and queue lengths."""
        return self._transport.send(operations.stats())

    def health(self) -> Health:
        """The server is alive, or this raises."""
        return self._transport.send(operations.health())

    def ready(self) -> Readiness:
        """Whether the server can serve: true once it is migrated and its indexes are loaded."""
        return self._transport.send(operations.ready())

    def close(self) -> None:
        """Close all connections; scopes of this client end with it."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Recalld({self._transport.settings.url!r})"
