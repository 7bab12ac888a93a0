"""Values on their way to the server: what JSON, a header or a path cannot carry is refused here, by name.

A lone surrogate, a NaN or a naive time would otherwise fail deep in a library, or worse, be stored as something else.
Only what no server could take is checked: limits are the server's to state, and they are settings there.
Invariant: nothing that leaves here needs to be checked again, and no message echoes a value.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from recalld_client.errors import InvalidValue

Time = str | datetime


def to_json(value: object, field: str) -> Any:
    """A value as plain JSON data: mappings become dicts, sequences lists, times RFC 3339 text.

    Args:
        value: None, bool, int, float, str, an aware datetime, or mappings and sequences of them.
        field: its dotted path, for errors.

    Raises:
        InvalidValue: a naive time, a lone surrogate, NaN or infinity, a key that is no text, another type.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return text(value, field)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidValue.of(field, "JSON has no NaN or infinity")
        return value
    if isinstance(value, datetime):
        return time(value, field)
    if isinstance(value, Mapping):
        return {_key(key, field): to_json(each, f"{field}.{key}" if field else str(key)) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [to_json(each, f"{field}.{at}" if field else str(at)) for at, each in enumerate(value)]
    raise InvalidValue.of(field, f"a {type(value).__name__} cannot be sent as JSON")


def encode(value: object) -> bytes:
    """What `to_json` gave, as compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def text(value: object, field: str) -> str:
    """A text that UTF-8 can carry."""
    if not isinstance(value, str):
        raise InvalidValue.of(field, f"must be text, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue.of(
            field, f"has a lone surrogate at character {error.start}, which UTF-8 cannot carry"
        ) from None
    return value


def time(value: object, field: str) -> str:
    """A time as RFC 3339 text. Text goes through as it is: the server reads it.

    Raises:
        InvalidValue: it is no time, or has no zone.
    """
    if isinstance(value, str):
        return text(value, field)
    if not isinstance(value, datetime):
        raise InvalidValue.of(field, f"must be RFC 3339 text or a datetime, not {type(value).__name__}")
    offset = value.utcoffset()
    if offset is None:
        raise InvalidValue.of(field, "has no time zone: use datetime.now(UTC) or .replace(tzinfo=...)")
    if offset % timedelta(minutes=1):
        # RFC 3339 has no seconds in an offset; zones had them before 1900.
        value = value.astimezone(UTC)
    return value.isoformat()


def strings(values: object, field: str) -> list[str]:
    """One text or more. A bare text is refused: it is a sequence of letters. So is none: it would read as "any"."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise InvalidValue.of(field, "must be a sequence of texts, one or more")
    return [text(value, f"{field}.{at}") for at, value in enumerate(values)]


def path_part(value: object, field: str) -> str:
    """An id as one segment of a path."""
    part = text(value, field)
    # An empty or dotted segment would name another route: `get("")` would list.
    if part.strip(".") == "":
        raise InvalidValue.of(field, "must be an id")
    return quote(part, safe="")


def header(value: object, field: str) -> str:
    """A value that a header line can carry."""
    line = text(value, field)
    if not line or not line.isascii() or not line.isprintable() or line != line.strip():
        raise InvalidValue.of(field, "must be printable ASCII without spaces around it")
    return line


def at_least(value: int, field: str, low: int, high: int | None = None) -> int:
    """A whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise InvalidValue.of(field, f"must be a whole number {limits}")
    return value


def _key(key: object, field: str) -> str:
    return text(key, f"a key of {field}" if field else "a key")


def any_of(given: str | Sequence[str] | None, field: str) -> list[str]:
    """One text or several, as a list; none where nothing is given."""
    if given is None:
        return []
    return [text(given, field)] if isinstance(given, str) else strings(given, field)


def metadata(wanted: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Wanted metadata as query parameters."""
    for name, value in wanted.items():
        field = f"metadata.{name}"
        found = to_json(value, field)
        if isinstance(found, dict | list):
            raise InvalidValue.of(field, "must be a text, a number, true, false or null")
        yield text(field, field), found if isinstance(found, str) else encode(found).decode()
