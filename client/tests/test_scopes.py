"""Scopes nest, only narrow, and never widen by accident."""

import pytest

from recalld_client import InvalidValue
from recalld_client.scopes import narrowed


def test_scopes_nest_and_the_outer_one_stays_as_it_is(client, fake):
    alice = client.scope(user_id="alice")
    inner = alice.scope(session_id="s1").scope(agent_id="a1")
    inner.add("deep")
    alice.add("shallow")
    assert [memory["scope"] for memory in fake.memories] == [
        {"user_id": "alice", "agent_id": "a1", "session_id": "s1"},
        {"user_id": "alice", "agent_id": None, "session_id": None},
    ]
    assert repr(inner).removeprefix("Async") == "Scope(user_id='alice', session_id='s1', agent_id='a1')"


def test_the_same_value_again_is_fine_and_another_is_a_conflict(client):
    alice = client.scope(user_id="alice")
    assert repr(alice.scope(user_id="alice")) == repr(alice)
    with pytest.raises(ValueError, match=r"^scope\.user_id: is bound to another value already$"):
        alice.scope(user_id="bob")


@pytest.mark.parametrize("value", [None, "", 7, "\ud800"])
def test_a_field_that_names_nobody_is_an_error_and_not_everybody(client, value):
    with pytest.raises(InvalidValue, match=r"^scope\.user_id: "):
        client.scope(user_id=value)


def test_a_scope_of_nothing_and_an_unknown_field_are_errors(client):
    with pytest.raises(InvalidValue, match=r"^scope: give at least one of user_id, agent_id, session_id"):
        client.scope()
    with pytest.raises(InvalidValue, match=r"^scope\.user: is no scope field"):
        client.scope(user="alice")


def test_every_call_of_a_scope_carries_it(client, fake):
    alice = client.scope(user_id="alice")
    memory = alice.add("a")
    alice.add_many(["b", {"text": "c", "scope": {"session_id": "s"}}])
    alice.recall("a")
    alice.context("a")
    alice.chat("a")
    alice.chat_stream("a")
    sent = [body["items"] if "items" in body else [body.get("recalld", body)] for body in fake.bodies]
    assert [each["scope"]["user_id"] for part in sent for each in part] == ["alice"] * 7
    fake.requests.clear()
    alice.list()
    alice.history(memory.id)
    alice.sources(memory.id)
    alice.derived(memory.id)
    assert [each.url.params["user_id"] for each in fake.requests] == ["alice"] * 4


def test_an_item_cannot_leave_the_scope(client, fake):
    with pytest.raises(InvalidValue, match=r"^items\.1\.scope\.user_id: is bound to another value"):
        client.scope(user_id="alice").add_many(["mine", {"text": "not mine", "scope": {"user_id": "bob"}}])
    assert fake.requests == []


def test_narrowed_leaves_its_arguments_alone():
    bound = {"user_id": "alice"}
    assert narrowed(bound, {"session_id": "s"}) == {"user_id": "alice", "session_id": "s"}
    assert bound == {"user_id": "alice"}
