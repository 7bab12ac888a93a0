"""When to try again, and how long to wait first. Pure decisions: the two transports sleep.

Backoff is exponential with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): the
wait is drawn from [0, bound), so that many clients that failed together do not return together. `Retry-After` is
honoured in both its forms (RFC 9110, section 10.2.3).

Invariant: a call that is not `repeatable` is sent again only after an error that says that the server did nothing.
Writes are repeatable because every try of one call carries the same `Idempotency-Key`.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from recalld_client.errors import InvalidValue, RecalldError


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How often and how patiently a failed call is tried again.

    Attributes:
        attempts_max: tries in all; 1 turns retries off.
        backoff_s: bound of the first wait; it doubles with each try.
        backoff_s_max: the bound never passes this.
        retry_after_s_max: a server that asks for a longer wait than this gets none: its error is raised at once.
    """

    attempts_max: int = 4
    backoff_s: float = 0.25
    backoff_s_max: float = 8.0
    retry_after_s_max: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts_max < 1:
            raise InvalidValue.of("attempts_max", "must be at least 1")
        for name in ("backoff_s", "backoff_s_max", "retry_after_s_max"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidValue.of(name, "must be a number of seconds, 0 or more")


def wait_s(
    settings: RetrySettings, attempt: int, error: RecalldError, *, repeatable: bool, chance: float
) -> float | None:
    """Seconds to wait before the next try, or None to give up.

    Args:
        attempt: the try that just failed, from 1.
        repeatable: whether the call may reach the server twice.
        chance: a random number in [0, 1).
    """
    if attempt >= settings.attempts_max or not error.retryable or not (repeatable or error.refused):
        return None
    bound = min(settings.backoff_s_max, math.ldexp(settings.backoff_s, attempt - 1))
    asked = error.retry_after_s or 0.0
    if asked > settings.retry_after_s_max:
        return None
    return max(asked, bound * chance)


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """The seconds that a `Retry-After` header asks for, from `now`; None if it is absent or cannot be read."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())
