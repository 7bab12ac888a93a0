"""Scope fields and how they nest. Pure; fails closed.

A scope only narrows: a field once bound cannot be changed, and a field that is given must name someone. `None` is an
error, not "anyone": `client.scope(user_id=current_user)` with nobody signed in must not read everyone's memories.
"""

from collections.abc import Mapping
from typing import TypedDict

from recalld_client import wire
from recalld_client.errors import InvalidValue

Bound = Mapping[str, str]
FIELDS = ("user_id", "agent_id", "session_id")


class ScopeNames(TypedDict, total=False):
    """The fields of a scope; any of them."""

    user_id: str
    agent_id: str
    session_id: str


def narrowed(bound: Bound, fields: Mapping[str, object], field: str = "scope") -> dict[str, str]:
    """`bound` with `fields` added.

    Args:
        bound: what is fixed already.
        fields: what to add; the same value again is fine.
        field: what to call it in errors.

    Raises:
        InvalidValue: an unknown field, one that is empty or None, or one that is bound to another value.
    """
    scope = dict(bound)
    for name, value in fields.items():
        if name not in FIELDS:
            raise InvalidValue.of(f"{field}.{name}", f"is no scope field; there are {', '.join(FIELDS)}")
        if not isinstance(value, str) or not value:
            raise InvalidValue.of(f"{field}.{name}", "must be text that is not empty; leave it out to not bind it")
        if scope.setdefault(name, wire.text(value, f"{field}.{name}")) != value:
            raise InvalidValue.of(f"{field}.{name}", "is bound to another value already")
    return scope
