"""Scopes: what a query finds, and what a key may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalld.core.errors import Forbidden
from recalld.core.scope import EVERYTHING, SCOPE_FIELDS, Scope

values = st.none() | st.sampled_from(["a", "b"])
scopes = st.builds(Scope, values, values, values)


@pytest.mark.parametrize(
    ("query", "memory", "found"),
    [
        (Scope(), Scope("a", "b", "c"), True),
        (Scope("a"), Scope("a", "b", "c"), True),
        (Scope("a"), Scope(), False),
        (Scope("a"), Scope(None, "a", "a"), False),
        (Scope("a", None, "c"), Scope("a", "b", "c"), True),
        (Scope("a", None, "c"), Scope("a", "b", "d"), False),
    ],
)
def test_a_query_finds_what_equals_every_field_that_it_gives(query: Scope, memory: Scope, found: bool) -> None:
    assert query.covers(memory) == found


@given(scopes, scopes)
def test_a_bound_scope_is_filled_in_or_refused_and_never_widened(asked: Scope, bound: Scope) -> None:
    clash = [
        name
        for name in SCOPE_FIELDS
        if name in asked.given() and bound.given().get(name, asked.given()[name]) != asked.given()[name]
    ]
    if clash:
        with pytest.raises(Forbidden, match=f"^scope.{clash[0]}: the key is bound to another value$"):
            asked.within(bound)
    else:
        got = asked.within(bound)
        assert got.given() == asked.given() | bound.given()
        assert bound.covers(got)
        assert asked.covers(got)


@given(scopes, scopes)
def test_a_scope_that_covers_another_gives_no_other_value(one: Scope, other: Scope) -> None:
    assert one.covers(other) == (one.given().items() <= other.given().items())
    assert EVERYTHING.covers(other)


def test_the_fields_are_told_in_order() -> None:
    assert SCOPE_FIELDS == ("user_id", "agent_id", "session_id")
    assert Scope("a", None, "c").values() == ("a", None, "c")
    assert Scope("a", None, "c").given() == {"user_id": "a", "session_id": "c"}
