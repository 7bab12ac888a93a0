"""Filters: which memories a recall may look at, beyond its scope. Their grammar.

    FILTER     {"and": [FILTER, ...]}  {"or": [FILTER, ...]}  {"not": FILTER}  {FIELD: CONDITION, ...}
               all that stands in one object must hold
    CONDITION  VALUE, which means {"eq": VALUE}, or {OPERATOR: VALUE, ...}, all of which must hold
    OPERATOR   eq ne in gt gte lt lte contains exists
    FIELD      a field of a memory (`TEXT_FIELDS`, `TIME_FIELDS`), or metadata.KEY, metadata.KEY.KEY, ...
    VALUE      text, a number, true, false, null; `in` takes a list of them; times are RFC 3339 text with a zone

A key that holds a dot, begins with a quote or is empty is written as a JSON string: `metadata."a.b".c`.

Logic has two values: a comparison with what is missing, or of another type, is false; `ne` and `not` are the exact
complements of `eq` and of what stands in them, and so true for what is missing. Numbers compare by value (64-bit
integers exactly, others as doubles), text by code points and with case, booleans with booleans only. `eq: null` holds
where a value is JSON null or absent; `exists` where the key is there, be its value null. `contains` is a part of a
text, or a member of a metadata array. The fields are those of a memory's current version.

`filter_match` is what they mean, in Python, and `memory/store/filters_sql.py` in SQL; `tests/contract/test_filters.py`
compares the two. A filter is ANDed with namespace and scope, so it can only narrow. The limits keep its SQL within
SQLite's.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from recalld.core.clock import from_rfc3339
from recalld.core.errors import InvalidInput

METADATA = "metadata"
TEXT_FIELDS = (
    *("id", "kind", "state", "role", "speaker", "text", "external_id"),
    *("user_id", "agent_id", "session_id"),
)
TIME_FIELDS = ("occurred_at", "recorded_at", "created_at", "expires_at", "valid_from", "valid_to")
OPERATORS = ("eq", "ne", "in", "gt", "gte", "lt", "lte", "contains", "exists")

DEPTH_MAX = 8
COMPARISONS_MAX = 100
IN_VALUES_MAX = 200
KEYS_MAX = 8
TEXT_BYTES_MAX = 4096

Value = str | int | float | bool | datetime | None
Operation = Literal["in", "gt", "gte", "lt", "lte", "contains", "exists"]

_KEY = re.compile(r'"(?:[^"\\]|\\.)*"|[^".][^.]*', re.DOTALL)
_SHOWN_CHARS = 100


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field against values: equal to any of them (`in`), or to the one value that the others take.

    Attributes:
        field: one of `TEXT_FIELDS` or `TIME_FIELDS`, or `METADATA`.
        keys: where in the metadata; empty for a field.
        values: none for `exists`.
    """

    field: str
    keys: tuple[str, ...]
    operation: Operation
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class All:
    """Every part must hold."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One part must hold."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part must not hold."""

    part: "Filter"


Filter = Comparison | All | AnyOf | Not


def parse(data: object, at: str = "filter") -> Filter:
    """Read a filter.

    Args:
        data: JSON data.
        at: what to call it in errors.

    Raises:
        InvalidInput: names the part that is wrong (`filter.and.1.metadata.topic.gt`) and its limit.
    """
    return _Parser().filter(data, at, 1)


class _Parser:
    """Reads one filter, and counts its comparisons: there is one for every part, so work is bounded too."""

    def __init__(self) -> None:
        self._comparisons = 0

    def filter(self, data: object, at: str, depth: int) -> Filter:
        if not isinstance(data, Mapping):
            raise InvalidInput.of(at, "must be a JSON object")
        if depth > DEPTH_MAX:
            raise InvalidInput.of(at, f"nested at most {DEPTH_MAX} deep", DEPTH_MAX)
        parts: list[Filter] = []
        for name, inner in data.items():
            here = f"{at}.{_shown(name)}"
            if name in ("and", "or"):
                parts.append(self._several(name, inner, here, depth))
            elif name == "not":
                parts.append(Not(self.filter(inner, here, depth + 1)))
            else:
                parts += self._conditions(name, inner, here)
        if not parts:
            raise InvalidInput.of(at, "must hold at least one condition", 1)
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _several(self, name: str, data: object, at: str, depth: int) -> Filter:
        if not isinstance(data, list) or not data:
            raise InvalidInput.of(at, "must be an array of at least one filter", 1)
        parts = tuple(self.filter(inner, f"{at}.{place}", depth + 1) for place, inner in enumerate(data))
        return All(parts) if name == "and" else AnyOf(parts)

    def _conditions(self, name: object, condition: object, at: str) -> Iterator[Filter]:
        field, keys = _target(name, at)
        if not isinstance(condition, Mapping):
            yield self._compare(field, keys, "eq", condition, at)
            return
        if not condition:
            raise InvalidInput.of(at, f"must hold an operator: {', '.join(OPERATORS)}", 1)
        for written, value in condition.items():
            yield self._compare(field, keys, written, value, f"{at}.{_shown(written)}")

    def _compare(self, field: str, keys: tuple[str, ...], written: object, value: object, at: str) -> Filter:
        self._comparisons += 1
        if self._comparisons > COMPARISONS_MAX:
            raise InvalidInput.of(at, f"at most {COMPARISONS_MAX} comparisons in a filter", COMPARISONS_MAX)
        match written:
            case "eq" | "ne":
                same = Comparison(field, keys, "in", (_value(field, value, at),))
                return same if written == "eq" else Not(same)
            case "in":
                if not isinstance(value, list) or not 1 <= len(value) <= IN_VALUES_MAX:
                    raise InvalidInput.of(at, f"must be an array of 1 to {IN_VALUES_MAX} values", IN_VALUES_MAX)
                values = (_value(field, one, f"{at}.{place}") for place, one in enumerate(value))
                return Comparison(field, keys, "in", tuple(values))
            case "gt" | "gte" | "lt" | "lte":
                bound = _value(field, value, at)
                if bound is None or isinstance(bound, bool):
                    raise InvalidInput.of(at, "must be text, a number or a time")
                return Comparison(field, keys, written, (bound,))
            case "contains":
                if field in TIME_FIELDS:
                    raise InvalidInput.of(at, "is for text and metadata, not for times")
                part = _value(field, value, at)
                if field != METADATA and part is None:
                    raise InvalidInput.of(at, "must be text")
                return Comparison(field, keys, "contains", (part,))
            case "exists":
                if not isinstance(value, bool):
                    raise InvalidInput.of(at, "must be true or false")
                there = Comparison(field, keys, "exists")
                return there if value else Not(there)
            case _:
                raise InvalidInput.of(at, f"is no operator; there are {', '.join(OPERATORS)}")


def _target(name: object, at: str) -> tuple[str, tuple[str, ...]]:
    """The field that a name means, and the keys in the metadata."""
    if isinstance(name, str) and name in (*TEXT_FIELDS, *TIME_FIELDS):
        return name, ()
    if not isinstance(name, str) or not name.startswith(f"{METADATA}."):
        told = ", ".join((*TEXT_FIELDS, *TIME_FIELDS))
        raise InvalidInput.of(at, f"is no field to filter by; there are {told} and {METADATA}.KEY")
    rest = _text(name, at).removeprefix(METADATA)
    keys: list[str] = []
    while rest:
        found = _KEY.match(rest, 1) if rest[0] == "." else None
        key = _unquoted(found[0]) if found is not None else None
        if found is None or key is None:
            raise InvalidInput.of(at, 'has a key that must be written as a JSON string, as in metadata."a.b"')
        keys.append(_text(key, at))
        rest = rest[found.end() :]
    if len(keys) > KEYS_MAX:
        raise InvalidInput.of(at, f"at most {KEYS_MAX} keys deep", KEYS_MAX)
    return METADATA, tuple(keys)


def _unquoted(key: str) -> str | None:
    if not key.startswith('"'):
        return key
    try:
        return str(json.loads(key, strict=False))
    except ValueError:
        return None


def _value(field: str, value: object, at: str) -> Value:
    """A value that this field can be compared with."""
    if value is None:
        return None
    if field in TIME_FIELDS:
        try:
            return from_rfc3339(value)
        except ValueError as wrong:
            raise InvalidInput.of(at, str(wrong)) from None
    if isinstance(value, str):
        return _text(value, at)
    if field != METADATA:
        raise InvalidInput.of(at, "must be text")
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if not _is_finite(value):
            raise InvalidInput.of(at, "must be a number that a double can hold")
        return value
    raise InvalidInput.of(at, "must be text, a number, true, false or null; a list goes under `in`")


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _text(value: str, at: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidInput.of(at, "must be valid Unicode: it holds a lone surrogate") from None
    if size > TEXT_BYTES_MAX:
        raise InvalidInput.of(at, f"at most {TEXT_BYTES_MAX} bytes of UTF-8", TEXT_BYTES_MAX)
    if "\x00" in value:
        raise InvalidInput.of(at, "must not hold the NUL character")
    return value


def _shown(name: object) -> str:
    """A name as it may stand in a path: not long, and nothing that UTF-8 can not carry."""
    return str(name)[:_SHOWN_CHARS].encode(errors="replace").decode()
