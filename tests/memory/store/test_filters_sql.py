"""A selection as SQL: every condition names the namespace, and a number is what JSON and Python both call one."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import and_
from sqlalchemy.dialects import sqlite

from memory.model import Selection
from memory.store.filters_sql import as_number, conditions, exact_scope_conditions, scope_conditions
from memory.store.inmemory import metadata_equals
from memory.store.sql import SqlStore
from recalld.core.db import Database
from recalld.core.scope import Scope
from tests.conftest import NOW, make_memory


def told(found: Any) -> str:
    return str(and_(*found).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))


def test_an_empty_selection_asks_for_namespace_state_and_time() -> None:
    assert told(conditions("n", Selection(), NOW)) == (
        "memories.namespace = 'n' AND memories.state IN ('active') "
        "AND (memories.expires_at IS NULL OR memories.expires_at > '2026-03-14T09:00:00.000000Z')"
    )


def test_a_scope_in_a_query_asks_for_what_it_gives_and_an_exact_one_for_all() -> None:
    assert told(scope_conditions(Scope("a", session_id="s"))) == "memories.user_id = 'a' AND memories.session_id = 's'"
    assert scope_conditions(Scope()) == []
    assert told(exact_scope_conditions(Scope("a", session_id="s"))) == (
        "coalesce(memories.user_id, '') = 'a' AND coalesce(memories.agent_id, '') = '' "
        "AND coalesce(memories.session_id, '') = 's'"
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1.0),
        ("-1.5e3", -1500.0),
        (" 1 ", 1.0),
        ("1e400", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("x", None),
    ],
)
def test_a_number_is_a_finite_one(text: str, number: float | None) -> None:
    assert as_number(text) == number


values = (
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=4).filter(lambda t: "\0" not in t)
    | st.floats(-1e9, 1e9).map(lambda value: round(value, 3)) | st.lists(st.integers(), max_size=2)
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values, other=st.text("0123456789.-einf tru", max_size=5))
def test_metadata_compares_in_sql_as_in_python(database: Database, value: Any, other: str) -> None:
    with database.read() as connection:
        connection.rollback()
        store = SqlStore(connection)
        store.insert("n", [make_memory(1, namespace="n", metadata={"k": value})])
        for wanted in (str(value), other, str(value).lower()):
            found = store.select("n", Selection(metadata={"k": wanted}), NOW, 1)
            assert bool(found) == metadata_equals({"k": value}, "k", wanted), wanted
