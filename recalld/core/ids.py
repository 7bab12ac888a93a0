"""Ids: a prefix that says what it names, and a ULID (https://github.com/ulid/spec): time-ordered, 26 characters.

Ids are made here and nowhere else, from a clock that is passed in, so that tests get ids in a known order.
"""

import re
from typing import Literal, Protocol

from ulid import ULID

from recalld.core.clock import Clock

Prefix = Literal["mem", "job", "chg", "era", "rec", "key"]

_ULID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"


class IdSource(Protocol):
    """Makes ids."""

    def new(self, prefix: Prefix) -> str:
        """A new id, unique on every machine."""
        ...


class UlidSource:
    """Ids from the clock and the operating system's randomness."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def new(self, prefix: Prefix) -> str:
        return f"{prefix}_{ULID.from_datetime(self._clock.now())}"


def pattern(prefix: Prefix) -> str:
    """The regular expression that every id with this prefix matches."""
    return f"^{prefix}_{_ULID}$"


def is_id(prefix: Prefix, text: str) -> bool:
    """Whether `text` has the form of such an id."""
    return re.fullmatch(pattern(prefix)[1:-1], text) is not None
