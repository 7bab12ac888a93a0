"""A request as data and how to read its reply: what both clients send, and all they need to know of it.

`operations` builds calls, a transport sends them; neither knows of the other. A body is encoded once, so that every try
of a call sends the same bytes under the same `Idempotency-Key`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from recalld_client import wire
from recalld_client.errors import ApiError, FieldError, UnexpectedReply, of_status
from recalld_client.frame_models import WorkspacePage
from recalld_client.job_models import Job, JobPage
from recalld_client.models import ChangePage, Memory, Page, Readiness
from recalld_client.retry import retry_after_s

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

# Large enough for few round trips, and far under the server's limit, which is a setting there.
PAGE_ITEMS = 100


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: status, headers (any case), body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request.

    Attributes:
        parse: reads the reply.
        repeatable: whether a second arrival does no harm. False: it is sent again only if the first was refused.
        generates: whether a language model writes the reply, which takes longer.
        streams: whether the reply is read as it comes, and not by `parse`.
        file: what the body is read from, anew at each try, in the place of `body`.
        accepts: statuses of 300 and more that `parse` reads; any other one is an error.
    """

    method: str
    path: str
    parse: Callable[[Reply], T]
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    repeatable: bool = True
    generates: bool = False
    streams: bool = False
    file: Path | None = None
    accepts: frozenset[int] = frozenset()


P = TypeVar("P", bound=Page | ChangePage | WorkspacePage)


@dataclass(frozen=True, slots=True)
class Listing(Generic[P]):
    """A list that is read page by page.

    Attributes:
        pages: what a page is read as.
        remaining: how many memories are still wanted; None: all.
    """

    path: str
    pages: type[P]
    params: tuple[tuple[str, str], ...] = ()
    remaining: int | None = None
    cursor: str | None = None

    def call(self) -> Call[P]:
        """The request for the next page."""
        size = PAGE_ITEMS if self.remaining is None else min(PAGE_ITEMS, self.remaining)
        return Call(
            "GET", self.path, reads(self.pages), params=(*self.params, ("limit", str(size)), *query(cursor=self.cursor))
        )

    def after(self, page: P) -> "Listing[P] | None":
        """What is left to read after a page; None at the end."""
        remaining = None if self.remaining is None else self.remaining - len(page.items)
        if page.next_cursor is None or (remaining is not None and remaining <= 0):
            return None
        return replace(self, remaining=remaining, cursor=page.next_cursor)


def reads(model: type[M]) -> Callable[[Reply], M]:
    """A parser for one model."""
    return lambda reply: read_model(model, reply.body)


def read_model(model: type[M], body: bytes | str) -> M:
    """JSON as a model.

    Raises:
        UnexpectedReply: it is not JSON, or has another shape; the message names fields, never their content.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in wrong["loc"]) or "the reply"
        told = f"the reply is no {model.__name__} of recalld's ({where}: {wrong['msg']}): is the URL right?"
    # Outside the handler: pydantic's error holds the content, and a chained error would print it.
    raise UnexpectedReply(told)


def read_memories(count: int) -> Callable[[Reply], list[Memory]]:
    """A parser for the memories that `count` items became, in their order."""

    def parse(reply: Reply) -> list[Memory]:
        items = read_model(Page, reply.body).items
        if len(items) != count:
            raise UnexpectedReply(f"{count} items were sent and {len(items)} came back")
        return list(items)

    return parse


def read_jobs(reply: Reply) -> list[Job]:
    """The jobs of a page."""
    return list(read_model(JobPage, reply.body).items)


def read_readiness(reply: Reply) -> Readiness:
    """What a server says of itself, whether it is ready or not."""
    told = object_of(reply.body)
    checks = told.get("checks")
    return Readiness(**told | {"ready": reply.status < 300, "checks": checks if isinstance(checks, dict) else {}})


def check(call: Call[T], reply: Reply) -> None:
    """Whether `call.parse` reads this reply.

    Raises:
        ApiError: it is a problem.
        UnexpectedReply: it redirects.
    """
    if reply.status >= 400 and reply.status not in call.accepts:
        raise problem(reply, datetime.now(UTC))
    if 300 <= reply.status < 400:
        raise UnexpectedReply(f"the server redirects (HTTP {reply.status}): use the address that it redirects to")


def problem(reply: Reply, now: datetime) -> ApiError:
    """The error that a reply of 400 or more is. Reads problem documents and OpenAI's `{"error": {...}}`."""
    found = object_of(reply.body)
    inner = found.get("error")
    told = inner if isinstance(inner, dict) else found
    detail = told.get("detail") or told.get("message") or told.get("title")
    code, wrong, retryable = told.get("code"), told.get("errors"), told.get("retryable")
    return of_status(
        detail if isinstance(detail, str) else f"HTTP {reply.status} without a problem document",
        status=reply.status,
        code=code if isinstance(code, str) else "",
        errors=[_field_error(each) for each in wrong if isinstance(each, dict)] if isinstance(wrong, list) else (),
        retry_after_s=retry_after_s(reply.headers.get("retry-after"), now),
        retryable=retryable if isinstance(retryable, bool) else None,
    )


def object_of(body: bytes) -> dict[str, Any]:
    """A body as a JSON object; empty where it is none."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def query(**values: str | None) -> tuple[tuple[str, str], ...]:
    """Query parameters, without those that are not given."""
    return tuple((name, wire.text(value, name)) for name, value in values.items() if value is not None)


def _field_error(found: dict[str, Any]) -> FieldError:
    limit = found.get("limit")
    return FieldError(
        str(found.get("field", "")),
        str(found.get("message", "")),
        limit if isinstance(limit, int | float | str) else None,
    )
