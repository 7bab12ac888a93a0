"""Time is passed in, so that decisions are pure and tests choose the moment.

Invariant: every datetime inside recalld is aware and in UTC.
"""

import re
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The present moment: aware, in UTC, to the microsecond."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
NO_TIME = "must be RFC 3339 text with a zone, such as 2026-03-14T09:00:00Z"


def from_rfc3339(value: object) -> datetime:
    """A time that was written as RFC 3339 text with a zone, in UTC.

    Raises:
        ValueError: it is none; the message says how one is written and does not repeat it.
    """
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise ValueError(NO_TIME)
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie within the years 1 to 9999 in UTC") from None
    except ValueError:
        raise ValueError(NO_TIME) from None
