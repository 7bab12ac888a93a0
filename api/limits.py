"""What is checked before a route sees a request: where it was sent to, who sent it, how large it is, and
what it is made of.

Plain ASGI, outermost first: `Observe` (log and metrics) -> `HostGuard` -> `BodyLimit` -> the application. `HostGuard`
is what keeps a web page from talking to a server on loopback by pointing its own name at 127.0.0.1 (DNS rebinding).
`BodyLimit` counts while it reads and stops at the limit, whatever `Content-Length` says.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Iterable
from http import HTTPStatus
from time import perf_counter
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from api.metrics import Metrics
from recalld.core import log
from recalld.core.addresses import LOOPBACK_NAMES
from recalld.core.errors import InvalidInput, MalformedBody, MisdirectedHost, TooLarge, UnsupportedMediaType
from recalld.jobs.gate import Gate

CLIENT_LEFT = 499
PREFIXES_KEY = "x-query-prefixes"
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::\d{1,5})?")
logger = log.get("http")


class HostGuard:
    """Serves only the names it was told, and only pages from the origins it was told."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._hosts = LOOPBACK_NAMES | {_name_of(host) or host.lower() for host in hosts}
        self._origins = {origin.rstrip("/").lower() for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        origin = headers.get("origin")
        if _name_of(host) not in self._hosts:
            wrong = MisdirectedHost.of("Host", "not served here; RECALLD_ALLOWED_HOSTS adds a name")
            await problem(wrong)(scope, receive, send)
        elif origin is not None and not self._welcome(origin, host):
            wrong = MisdirectedHost.of("Origin", "not served here; RECALLD_ALLOWED_ORIGINS adds one")
            await problem(wrong)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _welcome(self, origin: str, host: str) -> bool:
        origin = origin.rstrip("/").lower()
        return origin in self._origins or origin in (f"http://{host.lower()}", f"https://{host.lower()}")


class BodyLimit:
    """Reads the body up to the limit and hands it on whole; what `streamed` names limits its own."""

    def __init__(self, app: ASGIApp, bytes_max: int, streamed: Collection[tuple[str, str]] = ()) -> None:
        self._app = app
        self._bytes_max = bytes_max
        self._streamed = frozenset(streamed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) in self._streamed:
            await self._app(scope, receive, send)
            return
        too_large = problem(TooLarge.of("body", f"at most {self._bytes_max} bytes", self._bytes_max))
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
                return  # nobody is left to answer
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
    """One log line and one measurement a request: method, route template, status, time; nothing of its content.

    Background work gives way to it until its reply begins: a stream may stay open for long.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, gate: Gate) -> None:
        self._app = app
        self._metrics = metrics
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        status = CLIENT_LEFT
        inside = True
        self._gate.enter()

        async def watch(message: Message) -> None:
            nonlocal status, inside
            if message["type"] == "http.response.start":
                status, inside = message["status"], False
                self._gate.leave()
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            status = 500
            raise
        finally:
            if inside:
                self._gate.leave()
            took_s = perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            # A label must not take whatever a client makes up.
            method = scope["method"] if route != "unmatched" and status != HTTPStatus.METHOD_NOT_ALLOWED else "any"
            self._metrics.request(method, route, status, took_s)
            logger.info("request", method=method, route=route, status=status, took_ms=round(took_s * 1000, 2))


class JsonRoute(APIRoute):
    """A route that takes UTF-8 and nothing that it does not know.

    The body, if it has one, is strict JSON: no NaN, no lone surrogates, not bottomless. A query parameter that the
    route does not have is an error, not a silence; `PREFIXES_KEY` in its `openapi_extra` lists how others may begin.
    """

    strict_query: ClassVar[bool] = True

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """FastAPI's handler, behind the checks."""
        handle = super().get_route_handler()
        names = _query_names(self.dependant)
        prefixes = tuple((self.openapi_extra or {}).get(PREFIXES_KEY, ()))

        async def handler(request: Request) -> Response:
            _check_utf8(request)
            for name in request.query_params if self.strict_query else ():
                if name not in names and not (name.startswith(prefixes) and name not in prefixes):
                    raise InvalidInput.of(name[:100], "is not a parameter of this request")
            if self.body_field is not None:
                request._json = _parse(await request.body(), request.headers.get("content-type"))
            return await handle(request)

        return handler


class OpenAIRoute(JsonRoute):
    """A route that clients of OpenAI's call: what it does not know, they may send."""

    strict_query = False


def _query_names(dependant: Dependant) -> set[str]:
    return {field.alias for field in dependant.query_params}.union(*map(_query_names, dependant.dependencies))


def _check_utf8(request: Request) -> None:
    """Refuse what would be read with replacement characters in it."""
    for part, raw in (("path", request.scope.get("raw_path", b"")), ("query", request.scope["query_string"])):
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise InvalidInput.of(part, "must be UTF-8, percent-encoded") from None


def _parse(body: bytes, content_type: str | None) -> Any:
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaType.of("Content-Type", "must be application/json")
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        where = str(error).partition(" at line ")
        place = f" at line {where[2]}" if where[1] else ""
        raise MalformedBody.of("body", f"not JSON in UTF-8{place}") from None


def _name_of(host: str) -> str | None:
    """The name or address in a `Host` header, in lower case; None where it is not one."""
    found = _HOST.fullmatch(host.lower())
    return found["v6"] or found["name"] if found else None
