"""The one error tree. Each error knows its stable code, its HTTP status and whether a retry can help.

Errors are raised low (store, index, engine) and mapped once at an edge: `api/errors.py` turns them into RFC 9457
`application/problem+json`, `recalld/cli` into one line and an exit code. `detail` and `fields` name fields and
limits; they never hold memory text, a query or a key, because they are shown and logged.

    RecalldError                      code               status
      InvalidInput                    invalid_input        422
      MalformedBody                   malformed_body       400
      Unauthorized                    unauthorized         401
      Forbidden                       forbidden            403
      NotFound                        not_found            404
      Conflict                        conflict             409
        LeaseLost                     lease_lost           409
      Gone                            gone                 410
      PreconditionFailed              precondition_failed  412
      TooLarge                        too_large            413
      UnsupportedMediaType            unsupported_media    415
      MisdirectedHost                 misdirected_host     421
      Unavailable                     unavailable          503  (retryable)
        ModelMissing                  model_missing        503
        FeatureNotInstalled           not_installed        503
      UpstreamError                   upstream_error       502  (retryable)
      UnusableReply                   unusable_reply       424
      IndexDamaged                    index_damaged        500
      ConfigError                     config_error         500
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field of the input that is wrong.

    Attributes:
        field: where it is, as a dotted path (`items.3.text`).
        message: what is wrong and what the limit is, without echoing the input.
        limit: the limit that was passed, with its unit in `message`; None where there is none.
    """

    field: str
    message: str
    limit: int | float | str | None = None


class RecalldError(Exception):
    """The root. `detail` is a sentence for a person; `fields` says which inputs are wrong."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, fields: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = tuple(fields)

    @classmethod
    def of(cls, field: str, message: str, limit: int | float | str | None = None) -> Self:
        """One wrong field."""
        return cls(f"{field}: {message}", [FieldError(field, message, limit)])


class InvalidInput(RecalldError):
    """A field has a wrong value: raised before anything is written."""

    code = "invalid_input"
    status = 422
    title = "Invalid input"


class MalformedBody(RecalldError):
    """The body is not UTF-8 JSON at all."""

    code = "malformed_body"
    status = 400
    title = "Malformed body"


class Unauthorized(RecalldError):
    """No key, or one that is unknown, expired or revoked."""

    code = "unauthorized"
    status = 401
    title = "Unauthorized"


class Forbidden(RecalldError):
    """The key does not allow this: it is read-only or bound to another scope."""

    code = "forbidden"
    status = 403
    title = "Forbidden"


class NotFound(RecalldError):
    """No such thing in this namespace and scope (whether it exists elsewhere is not said)."""

    code = "not_found"
    status = 404
    title = "Not found"


class Conflict(RecalldError):
    """The state does not allow this, or an idempotency key was used for another request."""

    code = "conflict"
    status = 409
    title = "Conflict"


class LeaseLost(Conflict):
    """A job is no longer this worker's: another one has claimed it, or it was cancelled; its step is void."""

    code = "lease_lost"
    title = "Lease lost"


class Gone(RecalldError):
    """It was erased: what this request once answered no longer exists."""

    code = "gone"
    status = 410
    title = "Gone"


class PreconditionFailed(RecalldError):
    """`If-Match` names a version that is no longer the current one."""

    code = "precondition_failed"
    status = 412
    title = "Precondition failed"


class TooLarge(RecalldError):
    """The body is larger than the limit; it was not read to its end."""

    code = "too_large"
    status = 413
    title = "Too large"


class UnsupportedMediaType(RecalldError):
    """The body has a content type that this route does not take."""

    code = "unsupported_media"
    status = 415
    title = "Unsupported media type"


class MisdirectedHost(RecalldError):
    """`Host` or `Origin` is not on the allow-list."""

    code = "misdirected_host"
    status = 421
    title = "Host not allowed"


class Unavailable(RecalldError):
    """A part that this needs is not ready now."""

    code = "unavailable"
    status = 503
    retryable = True
    title = "Unavailable"


class ModelMissing(Unavailable):
    """A model's files are not in the models folder; the detail names the command that brings them."""

    code = "model_missing"
    retryable = False
    title = "Model missing"


class FeatureNotInstalled(Unavailable):
    """An optional extra is not installed; the detail names the command that installs it."""

    code = "not_installed"
    retryable = False
    title = "Not installed"


class UpstreamError(RecalldError):
    """Another server (a language model, a model hub) failed or answered nonsense."""

    code = "upstream_error"
    status = 502
    retryable = True
    title = "Upstream error"


class UnusableReply(RecalldError):
    """A language model's reply does not fit what it was asked for; asking again unchanged would not help."""

    code = "unusable_reply"
    status = 424
    title = "Unusable reply"


class IndexDamaged(RecalldError):
    """An index file is torn, flipped or of another make; it is never served. `recalld reindex` rebuilds it."""

    code = "index_damaged"
    title = "Index damaged"


class ConfigError(RecalldError):
    """A setting, or the way a command was called, does not make sense."""

    code = "config_error"
    title = "Configuration error"
