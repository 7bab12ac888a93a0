"""What is checked before a route sees a request: where it was sent to, who sent it, how large it is, and whether it
is JSON.

Plain ASGI, outermost first: `Observe` (log and metrics) -> `HostGuard` -> `BodyLimit` -> the application. `HostGuard`
is what keeps a web page from talking to a server on loopback by pointing its own name at 127.0.0.1 (DNS rebinding).
`BodyLimit` counts while it reads and stops at the limit, whatever `Content-Length` says.
"""

from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from api.metrics import Metrics
from recalld.core import log
from recalld.core.errors import MalformedBody, MisdirectedHost, TooLarge, UnsupportedMediaType

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
logger = log.get("http")


class HostGuard:
    """Serves only the names it was told, and only pages from the origins it was told."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in hosts}
        self._origins = {origin.rstrip("/").lower() for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        origin = headers.get("origin")
        if _name_of(f"//{host}") not in self._hosts:
            await problem(MisdirectedHost("Host: not served here; RECALLD_ALLOWED_HOSTS adds a name"))(
                scope, receive, send
            )
        elif origin is not None and not self._welcome(origin, host):
            await problem(MisdirectedHost("Origin: not served here; RECALLD_ALLOWED_ORIGINS adds one"))(
                scope, receive, send
            )
        else:
            await self._app(scope, receive, send)

    def _welcome(self, origin: str, host: str) -> bool:
        origin = origin.rstrip("/").lower()
        return origin in self._origins or origin in (f"http://{host.lower()}", f"https://{host.lower()}")


class BodyLimit:
    """Reads the body up to the limit and hands it on whole."""

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        too_large = problem(TooLarge(f"the body is larger than {self._bytes_max} bytes"))
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > self._bytes_max:
            await too_large(scope, receive, send)
            return
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._bytes_max:
                await too_large(scope, receive, send)
                return
            more = message.get("more_body", False)
        body: Message | None = {"type": "http.request", "body": b"".join(parts), "more_body": False}

        async def replay() -> Message:
            nonlocal body
            if body is not None:
                message, body = body, None
                return message
            return await receive()

        await self._app(scope, replay, send)


class Observe:
    """One log line and one measurement a request: method, route template, status, time; nothing of its content."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            took_s = perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if route != "unmatched" else "any"
            self._metrics.request(method, route, status, took_s)
            logger.info("request", method=method, route=route, status=status, took_ms=round(took_s * 1000, 2))


class JsonRoute(APIRoute):
    """A route whose body, if it has one, is strict UTF-8 JSON: no NaN, no lone surrogates, not bottomless."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """FastAPI's handler, behind the check."""
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            if self.body_field is not None:
                request._json = _parse(await request.body(), request.headers.get("content-type"))
            return await handle(request)

        return handler


def is_loopback(address: str) -> bool:
    """Whether an address or name means this machine."""
    if address.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _parse(body: bytes, content_type: str | None) -> Any:
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaType("Content-Type: must be application/json")
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        where = str(error).partition(" at line ")
        place = f" at line {where[2]}" if where[1] else ""
        raise MalformedBody(f"body: not JSON in UTF-8{place}") from None


def _name_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
