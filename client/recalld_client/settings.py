"""Where the server is, the key to it and how long to wait. The one place that reads the environment.

Invariants: the key is in no `repr`. A loopback server is spoken to directly: a proxy that the environment names would
be handed the memories, and could not reach it. Idle connections are dropped before the server drops them (uvicorn:
after 5 s), because a request on a connection that is just being closed fails.
"""

import os
import platform
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import httpx2

from recalld_client import wire
from recalld_client.errors import InvalidValue
from recalld_client.version import __version__

DEFAULT_URL = "http://127.0.0.1:7437"
IDLE_S_MAX = 3.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds.

    Attributes:
        connect_s: for a connection.
        reply_s: for a reply to begin, and between two parts of it.
        chat_s: the same where a language model writes the reply.
    """

    connect_s: float = 5.0
    reply_s: float = 60.0
    chat_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("connect_s", "reply_s", "chat_s"):
            if not getattr(self, name) > 0:
                raise InvalidValue.of(name, "must be a number of seconds above 0")

    def of(self, *, generates: bool) -> httpx2.Timeout:
        """The timeouts of one request."""
        return httpx2.Timeout(self.chat_s if generates else self.reply_s, connect=self.connect_s)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client needs to know of its server."""

    url: str
    api_key: str | None = field(repr=False)
    timeouts: Timeouts

    def http_options(self) -> dict[str, Any]:
        """The arguments that an HTTP client of either kind is made with."""
        headers = {
            "User-Agent": f"recalld-client/{__version__} python/{platform.python_version()}",
            "Accept": "application/json, application/problem+json, text/event-stream",
        }
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return {
            "base_url": self.url,
            "headers": headers,
            "limits": httpx2.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=IDLE_S_MAX),
            "trust_env": not is_loopback(httpx2.URL(self.url).host),
        }


def resolve(url: str | None, api_key: str | None, timeouts: Timeouts) -> Settings:
    """Settings from arguments; what is None comes from `RECALLD_URL` and `RECALLD_API_KEY`, then from the defaults.

    Raises:
        InvalidValue: the address is no http(s) address of a server, or the key cannot be sent.
    """
    found = url or os.environ.get("RECALLD_URL") or DEFAULT_URL
    key = api_key or os.environ.get("RECALLD_API_KEY") or None
    return Settings(
        url=checked_url(found), api_key=wire.header(key, "api_key") if key is not None else None, timeouts=timeouts
    )


def checked_url(url: str) -> str:
    """A server's address; a path before the routes is fine.

    Raises:
        InvalidValue: it is not one. What it holds is not shown, because it may hold a password.
    """
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        raise InvalidValue.of("url", "must be like http://127.0.0.1:7437") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise InvalidValue.of("url", "must be like http://127.0.0.1:7437")
    if parsed.userinfo:
        raise InvalidValue.of("url", "must hold no user or password: pass api_key")
    return str(parsed)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
