"""One request to the API and its reply, as the commands write and read them, however they travel."""

import json
from typing import Any

import httpx2

from recalld.core.errors import FieldError, RecalldError, Unavailable

NDJSON = {"Content-Type": "application/x-ndjson"}


class RemoteError(RecalldError):
    """An error that the API answered, as it answered it."""

    code = "remote_error"


def request_body(body: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments that an HTTP client sends `body` with."""
    if body is None:
        return {}
    return {"content": json.dumps(body, ensure_ascii=False).encode(), "headers": {"Content-Type": "application/json"}}


def answer_of(reply: httpx2.Response) -> Any:
    """A reply's JSON.

    Raises:
        RemoteError: the API answered with an error.
        Unavailable: it was not recalld that answered.
    """
    try:
        told = reply.json()
        if reply.status_code < 300:
            return told
        fields = [FieldError(field["field"], field["message"], field.get("limit")) for field in told["errors"]]
        detail = told["detail"]
    except (ValueError, KeyError, TypeError):
        raise Unavailable(f"{reply.url.host} answered {reply.status_code}, but not as recalld does") from None
    raise RemoteError(f"{detail}; RECALLD_API_KEY holds the key" if reply.status_code == 401 else detail, fields)
