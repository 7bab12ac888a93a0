"""Errors to RFC 9457 `application/problem+json`, in one place. The input is never repeated: it may hold what must not
leak.

Every error of recalld carries its own code and status; what FastAPI and Starlette raise is put in the same form. An
error that nobody foresaw is logged with its type and place, and answered as `internal` without its words.
"""

import traceback
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.schemas import FieldErrorOut, ProblemOut
from recalld.core import log
from recalld.core.errors import FieldError, InvalidInput, RecalldError, Unauthorized

MEDIA_TYPE = "application/problem+json"
FIELD_ERRORS_MAX = 20
logger = log.get("api")

_LIMITS = ("max_length", "min_length", "ge", "gt", "le", "lt", "expected")
_UNION_MEMBERS = ("str", "constrained-str")
"""What pydantic puts in a path for the member of a union that it tried, besides `list[...]`: it names no field."""
_CODES = {404: "no_such_route", 405: "method_not_allowed", 415: "unsupported_media"}


def problem(error: RecalldError) -> JSONResponse:
    """The reply to an error of the tree."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}
    if error.retryable:
        headers["Retry-After"] = "1"
    return _reply(error.status, error.code, error.title, error.detail, error.fields, error.retryable, headers)


def install(app: FastAPI) -> None:
    """Map every error of the application."""
    app.add_exception_handler(RecalldError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


def invalid(errors: Sequence[Any]) -> InvalidInput:
    """Pydantic's errors as ours: path, message and limit, without the input."""
    found = [_field_error(error) for error in errors[:FIELD_ERRORS_MAX]] or [FieldError("body", "is not valid")]
    # Of a union, what is wrong inside the member that was meant says more than that it was not another one.
    fields = [one for one in found if not any(other.field.startswith(f"{one.field}.") for other in found)]
    return InvalidInput(f"{fields[0].field}: {fields[0].message}", fields)


def _field_error(error: Any) -> FieldError:
    where = [str(part) for part in error["loc"] if part not in _UNION_MEMBERS and "[" not in str(part)]
    if len(where) > 1 and where[0] in ("body", "query", "path", "header"):
        where = where[1:]
    context = error.get("ctx") or {}
    limit = next((context[name] for name in _LIMITS if isinstance(context.get(name), int | float | str)), None)
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "is not a field of this request"
    return FieldError(".".join(part[:100] for part in where), message, limit)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, RecalldError)
    if error.status >= 500:
        logger.error("request_failed", code=error.code, status=error.status)
    return problem(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(invalid(error.errors()))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    code = _CODES.get(error.status_code, phrase.lower().replace(" ", "_"))
    return _reply(error.status_code, code, phrase, phrase, (), False, dict(error.headers or {}))


async def _unforeseen(request: Request, error: Exception) -> Response:
    return unforeseen(error)


def unforeseen(error: Exception) -> JSONResponse:
    """The reply to an error that is none of ours: nothing of it but its type and place, and those in the log."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
    logger.error("request_failed", code="internal", error=type(error).__name__, at=place)
    detail = "something went wrong here; the server's log names the place"
    return _reply(500, "internal", "Internal error", detail, (), False, {})


def _reply(
    status: int,
    code: str,
    title: str,
    detail: str,
    fields: Sequence[FieldError],
    retryable: bool,
    headers: dict[str, str],
) -> JSONResponse:
    body = ProblemOut(
        type=f"urn:recalld:error:{code}",
        title=title,
        status=status,
        detail=detail,
        code=code,
        retryable=retryable,
        errors=[FieldErrorOut(field=f.field, message=f.message, limit=f.limit) for f in fields],
    )
    return JSONResponse(body.model_dump(), status_code=status, headers=headers, media_type=MEDIA_TYPE)
