"""Sends calls, and sends them again where `retry` says so: once with threads, once with asyncio.

The two classes differ in `await` only; what they decide (which error, whether again, after how long) is in functions
that both use. Both are safe to share: a thread's (or task's) call keeps nothing in the transport.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2

from recalld_client.calls import Call, Reply, T, check
from recalld_client.errors import ConnectionFailed, InvalidValue, RecalldError, TimedOut, UnexpectedReply
from recalld_client.retry import RetrySettings, wait_s
from recalld_client.settings import Settings

CHUNK_BYTES = 1 << 20


class Transport:
    """Sends calls from any thread."""

    def __init__(self, settings: Settings, retry: RetrySettings, through: httpx2.BaseTransport | None) -> None:
        self.settings = settings
        self._retry = retry
        self._http = httpx2.Client(**settings.http_options(), transport=through)

    def send(self, call: Call[T]) -> T:
        """What the server answered.

        Raises:
            RecalldError: the last try failed too.
        """
        response = self._tried(call)
        return call.parse(reply_of(response))

    def open(self, call: Call[None]) -> httpx2.Response:
        """A reply whose body is still to be read; the caller closes it.

        Raises:
            RecalldError: the last try failed too.
        """
        return self._tried(call)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _tried(self, call: Call[T]) -> httpx2.Response:
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._once(call)
            except RecalldError as error:
                wait = wait_s(self._retry, attempt, error, repeatable=call.repeatable, chance=random.random())
                if wait is None:
                    raise
            time.sleep(wait)

    def _once(self, call: Call[T]) -> httpx2.Response:
        try:
            told = request_of(call, self.settings)
            if call.file is not None:
                told["content"] = _chunks(call.file)
            request = self._http.build_request(**told)
            response = self._http.send(request, stream=call.streams)
            if call.streams and response.status_code >= 300:
                with closing(response):
                    response.read()
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise failure(error, self.settings) from error
        if response.status_code >= 300:
            check(call, reply_of(response))
        return response


class AsyncTransport:
    """Sends calls from any task of one event loop."""

    def __init__(self, settings: Settings, retry: RetrySettings, through: httpx2.AsyncBaseTransport | None) -> None:
        self.settings = settings
        self._retry = retry
        self._http = httpx2.AsyncClient(**settings.http_options(), transport=through)

    async def send(self, call: Call[T]) -> T:
        """What the server answered.

        Raises:
            RecalldError: the last try failed too.
        """
        response = await self._tried(call)
        return call.parse(reply_of(response))

    async def open(self, call: Call[None]) -> httpx2.Response:
        """A reply whose body is still to be read; the caller closes it.

        Raises:
            RecalldError: the last try failed too.
        """
        return await self._tried(call)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _tried(self, call: Call[T]) -> httpx2.Response:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(call)
            except RecalldError as error:
                wait = wait_s(self._retry, attempt, error, repeatable=call.repeatable, chance=random.random())
                if wait is None:
                    raise
            await asyncio.sleep(wait)

    async def _once(self, call: Call[T]) -> httpx2.Response:
        try:
            told = request_of(call, self.settings)
            if call.file is not None:
                told["content"] = _awaited_chunks(call.file)
            request = self._http.build_request(**told)
            response = await self._http.send(request, stream=call.streams)
            if call.streams and response.status_code >= 300:
                try:
                    await response.aread()
                finally:
                    await response.aclose()
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise failure(error, self.settings) from error
        if response.status_code >= 300:
            check(call, reply_of(response))
        return response


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


async def _awaited_chunks(path: Path) -> AsyncIterator[bytes]:
    for chunk in _chunks(path):
        yield chunk


def request_of(call: Call[T], settings: Settings) -> dict[str, Any]:
    """The arguments that an HTTP client builds the request from."""
    return {
        "method": call.method,
        "url": call.path,
        "params": call.params or None,
        "headers": call.headers,
        "content": call.body,
        "timeout": settings.timeouts.of(generates=call.generates),
    }


def reply_of(response: httpx2.Response) -> Reply:
    """A reply that was read to its end."""
    return Reply(response.status_code, response.headers, response.content)


def failure(error: httpx2.RequestError | httpx2.InvalidURL, settings: Settings) -> RecalldError:
    """Our error for a request that got no reply; `refused` where it certainly did not arrive."""
    url = settings.url
    match error:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return TimedOut(f"no connection to {url} within {settings.timeouts.connect_s:g} s", refused=True)
        case httpx2.TimeoutException():
            return TimedOut(f"no answer from {url} in time: is it busy? Timeouts(...) waits longer")
        case httpx2.ConnectError():
            told = f"no recalld server at {url} ({error}): start one with `recalld serve`, or set RECALLD_URL"
            return ConnectionFailed(told, refused=True)
        case httpx2.TransportError():
            return ConnectionFailed(f"the connection to {url} was cut before the answer was complete ({error})")
        case httpx2.InvalidURL():
            return InvalidValue.of("query parameters", f"cannot be part of an address ({error})")
        case _:
            return UnexpectedReply(f"the answer from {url} cannot be read ({type(error).__name__})")
