"""`/v1/sessions/{session_id}/state`, and the state that a context begins with."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Json, Running, add, problem

ALICE = {"user_id": "alice", "session_id": "s1"}
TEXTS = ("Always answer in French.", "I want to visit Porto.", "It rained all day.", "My sister plays the piano.")


def state(client: Any, session: str = "s1", **params: str) -> Json:
    reply = client.get(f"/v1/sessions/{session}/state", params=params)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def context(client: Any, **fields: Any) -> Json:
    reply = client.post("/v1/context", json={"query": "the piano"} | fields)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def test_a_state_shows_each_write_at_once_and_is_the_same_while_nothing_changes(run: Running) -> None:
    client = run.client()
    assert state(client)["entries"] == []
    for text in TEXTS:
        (kept,) = add(client, text, scope=ALICE)
        found = state(client)
        assert found["entries"][-1] == {"slot": "recent", "text": text, "memory_ids": [kept["id"]]}
        assert found == state(client)
        assert found["text"] == state(client, user_id="alice")["text"]
    assert found["memory_ids"][-1] == kept["id"]
    assert found["scope"] == {"user_id": None, "agent_id": None, "session_id": "s1"}
    assert (found["tokens"] > 0, found["tokenizer"]) == (True, "hash-256")
    assert found["updated_at"] == kept["recorded_at"]


def test_an_unknown_session_has_an_empty_state(run: Running) -> None:
    found = state(run.client(), "nobody", user_id="bob", agent_id="bot")
    assert {name: found[name] for name in ("text", "entries", "memory_ids", "tokens", "updated_at")} == {
        "text": "", "entries": [], "memory_ids": [], "tokens": 0, "updated_at": None,
    }  # fmt: skip


@pytest.mark.parametrize("session", ["a/b", "état 東京", "50%", "x" * 256, "s?t#u"])
def test_any_session_id_can_be_asked_for(run: Running, session: str) -> None:
    client = run.client()
    add(client, "I own a boat.", scope={"session_id": session})
    assert state(client, quote(session, safe=""))["entries"][0]["text"] == "I own a boat."


def test_bad_input_names_the_field_and_its_limit(run: Running) -> None:
    client = run.client()
    for session, params, field in (
        ("x" * 257, {}, "session_id"),
        ("s", {"user_id": ""}, "user_id"),
        ("a%00", {}, "session_id"),
    ):
        status, _, fields = problem(client.get(f"/v1/sessions/{session}/state", params=params))
        assert (status, fields) == (422, [field])


def test_a_key_sees_the_states_of_its_scope_alone(run: Running) -> None:
    add(run.client(), "I own a boat.", scope=ALICE)
    other = run.client(run.key(namespace="other"))
    bound = run.client(run.key(user_id="bob"))
    own = run.client(run.key(user_id="alice", session_id="s1"))
    assert state(other)["entries"] == state(bound)["entries"] == []
    assert state(own)["scope"] == {"user_id": "alice", "agent_id": None, "session_id": "s1"}
    assert len(state(own)["entries"]) == 1
    for client, path in ((bound, "s1/state?user_id=alice"), (own, "s2/state")):
        assert client.get(f"/v1/sessions/{path}").status_code == 403


def test_a_context_of_a_session_begins_with_its_state(run: Running) -> None:
    client = run.client()
    add(client, *TEXTS, *(f"We had lunch number {number}." for number in range(30)), scope=ALICE)
    for budget in (1, 40, 100, 400):
        found = context(client, scope=ALICE, token_budget=budget)
        assert found["tokens"] <= budget
    first, *rest = found["blocks"]
    assert first["text"].startswith("instruction: [")
    assert first["tokens"] <= budget // 4
    assert rest[0]["text"].endswith("My sister plays the piano.\n")
    assert found["text"] == "".join(block["text"] for block in found["blocks"])
    add(client, "It rains again.", scope=ALICE | {"session_id": "s2"})
    assert context(client, scope=ALICE, token_budget=400)["blocks"][0] == first


@pytest.mark.parametrize(
    "fields",
    [
        {"scope": ALICE, "state": False},
        {"scope": {"user_id": "alice"}},
        {"scope": ALICE, "kinds": ["turn"]},
        {"scope": ALICE, "filter": {"role": {"exists": False}}},
        {"scope": ALICE, "as_of": "2030-01-01T00:00:00Z"},
        {"scope": ALICE, "known_at": "2030-01-01T00:00:00Z"},
    ],
)
def test_a_context_has_no_state_where_there_is_no_session_or_less_than_all_is_asked_for(
    run: Running, fields: Json
) -> None:
    client = run.client()
    add(client, *TEXTS, scope=ALICE)
    blocks = context(client, **fields)["blocks"]
    assert len(blocks) == len(TEXTS)
    assert all(block["text"].startswith("[") for block in blocks)


def test_what_is_forgotten_leaves_the_state_at_once(run: Running) -> None:
    client = run.client()
    kept = add(client, *TEXTS, scope=ALICE)
    client.post(f"/v1/memories/{kept[0]['id']}/forget")
    client.delete(f"/v1/memories/{kept[1]['id']}")
    found = state(client)
    assert found["memory_ids"] == [each["id"] for each in kept[2:]]
    assert "French" not in found["text"]
    assert "Porto" not in found["text"]
