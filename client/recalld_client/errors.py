"""What can go wrong, as one tree. Catch `RecalldError` for all of it, `Unavailable` to carry on without a memory.

    RecalldError
      InvalidValue            an argument that cannot be sent; a ValueError too. Nothing was sent
      UnexpectedReply         the answer is not recalld's: a proxy's page, or another server
      Unavailable             no service now, a later try may work
        ConnectionFailed      nothing listens there, or the connection was cut
        TimedOut              no answer in time
        ServiceUnavailable    502, 503, 504 (an ApiError too)
      ApiError                the server answered with a problem: status, code, detail, errors
        InvalidRequest        400, 415, 422 and every 4xx without a class of its own
        Unauthorized          401
        Forbidden             403
        NotFound              404
        Conflict              409
        Gone                  410
        PreconditionFailed    412
        TooLarge              413
        RateLimited           429
        ServiceUnavailable    502, 503, 504
        ServerError           500 and every 5xx without a class of its own

`ConnectionFailed` and `TimedOut` stand beside `ServiceUnavailable`, not under `ApiError`: no answer came, so there is
no status. Invariants: no message holds a key or memory text; every class can be pickled (an error crosses a process
pool), so all that `__init__` takes beyond the message has a default.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that the server found wrong.

    Attributes:
        field: where it is, as a dotted path (`items.3.text`; in `add_many` the position within the failed batch).
        message: what is wrong with it.
        limit: the limit that was passed; None where there is none.
    """

    field: str
    message: str
    limit: int | float | str | None = None


class RecalldError(Exception):
    """The root.

    Attributes:
        retryable: whether the same call may succeed later. It was already retried as `RetrySettings` says.
        refused: whether the server certainly did nothing of what was asked.
        retry_after_s: the seconds that the server asked to wait; None if it did not.
        acknowledged: how many items of an `add_many` were stored before this; 0 for every other call.
    """

    retryable: bool = False
    refused: bool = False
    retry_after_s: float | None = None
    acknowledged: int = 0


class InvalidValue(RecalldError, ValueError):
    """An argument that cannot be sent. The message starts with its name."""

    refused = True

    @classmethod
    def of(cls, field: str, message: str) -> "InvalidValue":
        """The error for one field."""
        return cls(f"{field}: {message}")


class UnexpectedReply(RecalldError):
    """The answer cannot be read as recalld's. Is the URL right?"""


class Unavailable(RecalldError):
    """No service now: not reached, not in time, or asked to come back."""

    retryable = True


class ConnectionFailed(Unavailable):
    """No connection, or one that was cut before the answer was complete."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class TimedOut(Unavailable):
    """No answer within the time that `Timeouts` gives."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class ApiError(RecalldError):
    """The server answered with a problem (RFC 9457).

    Attributes:
        status: the HTTP status.
        code: the stable code to branch on (`not_found`); empty if something before the server answered.
        detail: a sentence for a person.
        errors: the fields that are wrong.
    """

    hint: ClassVar[str] = ""

    def __init__(
        self,
        detail: str,
        *,
        status: int = 0,
        code: str = "",
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s
        self.refused = status < 500 or status == 503

    def __str__(self) -> str:
        told = [self.detail, *(f"{each.field}: {each.message}" for each in self.errors)]
        # A server with one wrong field says it in the detail already.
        lines = [line for at, line in enumerate(told) if at == 0 or line not in self.detail]
        return "; ".join(lines) + f" [{self.status} {self.code}".rstrip() + "]" + self.hint


class InvalidRequest(ApiError):
    """The request is wrong; `errors` names the fields and limits."""


class Unauthorized(ApiError):
    """No API key, or one that is unknown, expired or revoked."""

    hint = ": pass api_key=... or set RECALLD_API_KEY"


class Forbidden(ApiError):
    """The key does not allow this: it is read-only, or bound to another scope."""


class NotFound(ApiError):
    """No such memory in this namespace and scope."""


class Conflict(ApiError):
    """The state does not allow this, or the idempotency key was used for another request."""


class Gone(ApiError):
    """It was erased."""


class PreconditionFailed(ApiError):
    """`if_match` names a version that is no longer the current one: get the memory again."""


class TooLarge(ApiError):
    """The body is larger than the server takes."""


class RateLimited(ApiError):
    """Too many requests."""

    retryable = True


class ServiceUnavailable(Unavailable, ApiError):
    """The server, or a gateway before it, cannot serve this now."""


class ServerError(ApiError):
    """The server failed in a way it did not expect."""


BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    412: PreconditionFailed,
    413: TooLarge,
    429: RateLimited,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


def of_status(
    detail: str,
    *,
    status: int,
    code: str = "",
    errors: Sequence[FieldError] = (),
    retry_after_s: float | None = None,
    retryable: bool | None = None,
) -> ApiError:
    """The error of the class that belongs to an HTTP status.

    Args:
        retryable: what the server says (a 503 can last until someone installs a model); None: it does not say.
    """
    kind = BY_STATUS.get(status, InvalidRequest if status < 500 else ServerError)
    error = kind(detail, status=status, code=code, errors=errors, retry_after_s=retry_after_s)
    if retryable is not None:
        error.retryable = retryable
    return error
