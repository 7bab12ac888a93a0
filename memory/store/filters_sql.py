"""A selection as SQL conditions on `memories`: applied before any search, never after it.

Every condition begins with the namespace. Metadata is compared in SQL through `json_each`, by the same rules as
`memory.store.inmemory.metadata_equals`: text by text, numbers by value, `true`, `false` and `null` by name.

A filter means here what it means in `retrieval.filter_match`. Invariant: no condition of one is ever NULL, so that NOT
is the complement; hence each comparison of a column stands beside `IS NOT NULL`, and those of metadata within EXISTS.
Keys are compared as values and not as JSON paths, which can not name a key with a quote in it; numbers of a filter are
read from JSON text as the stored ones are, so that equal ones are equal.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    TableValuedAlias,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy import cast as sql_cast

from memory.model import Selection
from memory.store.tables import memories, sources
from recalld.core.db import dump_json
from recalld.core.scope import SCOPE_FIELDS, Scope
from retrieval.filters import METADATA, All, AnyOf, Comparison, Filter, Not, Value
from retrieval.traits import Trait

NAMED_VALUES = ("true", "false", "null")
NUMBER_TYPES = ("integer", "real")
_ORDER = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def conditions(namespace: str, selection: Selection, now: datetime) -> list[ColumnElement[bool]]:
    """The conditions of a selection, but for its `text`, which full text answers."""
    m = memories.c
    happened = func.coalesce(m.occurred_at, m.created_at)
    found: list[ColumnElement[bool]] = [m.namespace == namespace]
    found += scope_conditions(selection.scope, selection.or_no_session)
    found += [m.state.in_(selection.states), or_(m.expires_at.is_(None), m.expires_at > now)]
    if selection.kinds == ("episode",):
        # As the condition of the partial index says it: SQLite does not prove that of a bound value.
        found.append(m.kind == literal_column("'episode'"))
    elif selection.kinds:
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
    if selection.filter is not None:
        found.append(filter_condition(selection.filter))
    found += [_text_of(m.frame, key) == literal(value) for key, value in selection.frame.items()]
    if selection.valid_at is not None:
        found.append(or_(m.valid_from.is_(None), m.valid_from <= selection.valid_at))
        found.append(or_(m.valid_to > selection.valid_at, and_(m.valid_to.is_(None), m.state != "superseded")))
    if selection.derived is not None:
        derived = m.traits.op("&")(int(Trait.DERIVED)) != 0
        found.append(derived if selection.derived else not_(derived))
    return found


def slot_conditions(slots: Sequence[str]) -> list[ColumnElement[bool]]:
    """Derived facts whose metadata names one of these slots."""
    m = memories.c
    return [m.kind == "fact", m.deriver_name.is_not(None), _text_of(m.metadata, "slot").in_(list(slots))]


def _text_of(json: ColumnElement[Any], key: str) -> ColumnElement[Any]:
    """The text under a top-level key, NULL where there is none."""
    return func.json_extract(json, f'$."{key}"')


def scope_conditions(scope: Scope, or_no_session: bool = False) -> list[ColumnElement[bool]]:
    """A field that is given must match; where that is said, a session may be absent."""
    found = [memories.c[name] == value for name, value in scope.given().items()]
    if or_no_session and scope.session_id is not None:
        found[-1] = or_(found[-1], memories.c.session_id.is_(None))
    return found


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
            same = or_(same, and_(entry.c.type.in_(NUMBER_TYPES), sql_cast(entry.c.value, Float) == number))
        found.append(exists(select(literal(1)).select_from(entry).where(entry.c.key == key, same)))
    return found


def as_number(text: str) -> float | None:
    """The number that a text writes, if it writes a finite one."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def filter_condition(wanted: Filter) -> ColumnElement[bool]:
    """A filter as one condition that is true or false for every memory."""
    match wanted:
        case All(parts):
            return and_(*map(filter_condition, parts))
        case AnyOf(parts):
            return or_(*map(filter_condition, parts))
        case Not(part):
            return not_(filter_condition(part))
    return _in_metadata(wanted) if wanted.field == METADATA else _in_column(wanted)


def _in_column(wanted: Comparison) -> ColumnElement[bool]:
    column = memories.c[wanted.field]
    there = column.is_not(None)
    given = [value for value in wanted.values if value is not None]
    match wanted.operation:
        case "exists":
            return there
        case "in":
            same = and_(there, column.in_(given))
            return same if len(given) == len(wanted.values) else or_(column.is_(None), same)
        case "contains":
            return and_(there, func.instr(column, given[0]) > 0)
    return and_(there, _ORDER[wanted.operation](column, given[0]))


def _in_metadata(wanted: Comparison) -> ColumnElement[bool]:
    """An EXISTS that goes down one key with each `json_each`; what is no object has none."""
    found: list[ColumnElement[bool]] = []
    inside: Any = memories.c.metadata
    for key in wanted.keys:
        entry = _members(inside)
        found.append(entry.c.key == literal(key))
        inside = case((entry.c.type == "object", entry.c.value))

    def has(*more: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists(select(literal(1)).where(*found, *more))

    match wanted.operation:
        case "exists":
            return has()
        case "in":
            given = [value for value in wanted.values if value is not None]
            same = has(_is_any(entry, given))
            return same if len(given) == len(wanted.values) else or_(not_(has(entry.c.type != "null")), same)
        case "contains":
            member = _members(case((entry.c.type == "array", entry.c.value)))
            inside_array = exists(select(literal(1)).where(_is_any(member, wanted.values)).correlate(entry))
            part = wanted.values[0]
            if not isinstance(part, str):
                return has(inside_array)
            return has(or_(and_(entry.c.type == "text", func.instr(entry.c.value, part) > 0), inside_array))
    bound = wanted.values[0]
    compare = _ORDER[wanted.operation]
    if isinstance(bound, str):
        return has(entry.c.type == "text", compare(entry.c.value, literal(bound)))
    return has(entry.c.type.in_(NUMBER_TYPES), compare(entry.c.value, func.json_extract(dump_json(bound), "$")))


def _members(json: Any) -> TableValuedAlias:
    """The members of a JSON object or array; none where it is NULL."""
    return func.json_each(json).table_valued("key", "value", "type", joins_implicitly=True)


def _is_any(entry: TableValuedAlias, values: Sequence[Value]) -> ColumnElement[bool]:
    """Whether a member is one of these values: of the same type, and equal."""
    names = {None: "null", True: "true", False: "false"}
    plain = [value for value in values if isinstance(value, str | int | float) and not isinstance(value, bool)]
    named = [names[value] for value in values if value is None or isinstance(value, bool)]
    given = func.json_each(dump_json(plain)).table_valued("value")
    same = (
        and_(entry.c.type.in_(("text", *NUMBER_TYPES)), entry.c.value.in_(select(given.c.value))) if plain else false()
    )
    return or_(same, entry.c.type.in_(named)) if named else same
