"""What a filter means (`filters` has its words): a pure function that the SQL of `memory/store` agrees with."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from retrieval.filters import METADATA, All, AnyOf, Comparison, Filter, Not, Value

_INTEGER_MAX = 2**63 - 1


class _Missing:
    """The value of what is not there."""


MISSING: Final = _Missing()
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def holds(wanted: Filter, field_of: Callable[[str], Any]) -> bool:
    """Whether a memory passes.

    Args:
        field_of: gives its fields by name, and `METADATA`; None where it has none.
    """
    match wanted:
        case All(parts):
            return all(holds(part, field_of) for part in parts)
        case AnyOf(parts):
            return any(holds(part, field_of) for part in parts)
        case Not(part):
            return not holds(part, field_of)
    value = field_of(wanted.field)
    if wanted.field == METADATA:
        for key in wanted.keys:
            value = value[key] if isinstance(value, Mapping) and key in value else MISSING
    elif value is None:
        value = MISSING
    return _compares(wanted, value)


def _compares(wanted: Comparison, value: Any) -> bool:
    match wanted.operation:
        case "exists":
            return value is not MISSING
        case "in":
            return any(_same(value, one) for one in wanted.values)
        case "contains":
            part = wanted.values[0]
            if isinstance(value, list):
                return any(_same(member, part) for member in value)
            return isinstance(value, str) and isinstance(part, str) and part in value
    bound = wanted.values[0]
    return _type(value) == _type(bound) and _ORDER[wanted.operation](_number(value), _number(bound))


def _same(value: Any, other: Value) -> bool:
    if other is None:
        return value is None or value is MISSING
    return _type(value) == _type(other) and bool(_number(value) == _number(other))


def _type(value: Any) -> str:
    """What a value is compared as: numbers are one type, whether they are whole or not."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if number else type(value).__name__


def _number(value: Any) -> Any:
    """A number as it is compared, anything else as it is."""
    if isinstance(value, int) and not -_INTEGER_MAX <= value <= _INTEGER_MAX:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value
