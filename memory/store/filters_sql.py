"""A selection as SQL conditions on `memories`: applied before any search, never after it.

Every condition begins with the namespace. Metadata is compared in SQL through `json_each`, by the same rules as
`memory.store.inmemory.metadata_equals`: text by text, numbers by value, `true`, `false` and `null` by name.
"""

import math
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Float, and_, exists, func, literal, literal_column, or_, select
from sqlalchemy import cast as sql_cast

from memory.model import Selection
from memory.store.tables import memories, sources
from recalld.core.scope import SCOPE_FIELDS, Scope

NAMED_VALUES = ("true", "false", "null")


def conditions(namespace: str, selection: Selection, now: datetime) -> list[ColumnElement[bool]]:
    """The conditions of a selection, but for its `text`, which full text answers."""
    m = memories.c
    happened = func.coalesce(m.occurred_at, m.created_at)
    found: list[ColumnElement[bool]] = [m.namespace == namespace, *scope_conditions(selection.scope)]
    found += [m.state.in_(selection.states), or_(m.expires_at.is_(None), m.expires_at > now)]
    if selection.kinds:
        found.append(m.kind.in_(selection.kinds))
    if selection.since is not None:
        found.append(happened >= selection.since)
    if selection.until is not None:
        found.append(happened < selection.until)
    if selection.as_of is not None:
        found.append(or_(m.occurred_at.is_(None), m.occurred_at <= selection.as_of))
        found.append(or_(m.valid_from.is_(None), m.valid_from <= selection.as_of))
        found.append(or_(m.valid_to.is_(None), m.valid_to > selection.as_of))
    if selection.known_at is not None:
        found.append(m.created_at <= selection.known_at)
    if selection.before_row is not None:
        found.append(m.row < selection.before_row)
    if selection.source_id is not None:
        links = select(sources.c.memory_id).where(
            sources.c.source_id == selection.source_id, sources.c.namespace == namespace
        )
        found.append(m.id.in_(links))
    found += metadata_conditions(selection.metadata)
    return found


def scope_conditions(scope: Scope) -> list[ColumnElement[bool]]:
    """A field that is given must match."""
    return [memories.c[name] == value for name, value in scope.given().items()]


def exact_scope_conditions(scope: Scope) -> list[ColumnElement[bool]]:
    """Every field must match, one that is not given by being absent: as the index of external ids tells it."""
    return [
        func.coalesce(memories.c[name], literal_column("''")) == (value or "")
        for name, value in zip(SCOPE_FIELDS, scope.values(), strict=True)
    ]


def metadata_conditions(wanted: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """One `EXISTS` over the top-level keys for each wanted value."""
    found: list[ColumnElement[bool]] = []
    for key, value in wanted.items():
        entry = func.json_each(memories.c.metadata).table_valued("key", "value", "type")
        same = and_(entry.c.type == "text", entry.c.value == literal(value))
        if value in NAMED_VALUES:
            same = or_(same, entry.c.type == value)
        number = as_number(value)
        if number is not None:
            same = or_(same, and_(entry.c.type.in_(("integer", "real")), sql_cast(entry.c.value, Float) == number))
        found.append(exists(select(literal(1)).select_from(entry).where(entry.c.key == key, same)))
    return found


def as_number(text: str) -> float | None:
    """The number that a text writes, if it writes a finite one."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
