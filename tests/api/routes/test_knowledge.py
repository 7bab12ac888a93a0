"""`/v1/facts` and `/v1/changes`: what stood when, what was decided and why, and taking it back."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import Json, Running, add, problem

ALICE = {"user_id": "alice", "session_id": "s1"}


def say(run: Running, *said: tuple[str, str], **scope: str) -> list[Json]:
    """Keep turns with their times, and let consolidation learn from them."""
    client = run.client()
    items = [{"text": text, "occurred_at": at, "role": "user", "scope": scope or ALICE} for text, at in said]
    kept = client.post("/v1/memories", json={"items": items}).json()["items"]
    with run.service.write_store() as store:
        run.service.knowledge.learn(store, "default", store.get("default", [item["id"] for item in kept]))
    return list(kept)


def told(client: TestClient, **params: str) -> list[str]:
    reply = client.get("/v1/facts", params=params)
    assert reply.status_code == 200, reply.text
    return [fact["text"] for fact in reply.json()["items"]]


@pytest.fixture
def moved(run: Running) -> Running:
    """Alice lived in Porto, and moved."""
    say(run, ("I live in Porto.", "2025-01-10T09:00:00Z"), ("I love sushi.", "2025-01-11T09:00:00Z"))
    run.service.clock.advance(days=1)  # type: ignore[attr-defined]
    say(run, ("I moved to Lisbon yesterday.", "2025-06-02T09:00:00Z"))
    return run


def test_facts_say_what_stands_now_and_what_stood_then(moved: Running) -> None:
    client = moved.client()
    assert told(client) == ["user lives in Lisbon", "user loves sushi"]
    assert told(client, as_of="2025-03-01T00:00:00Z") == ["user loves sushi", "user lives in Porto"]
    assert told(client, as_of="2024-03-01T00:00:00Z") == []
    assert told(client, predicate="lives in") == ["user lives in Lisbon"]
    assert told(client, subject="Bob") == []
    assert told(client, known_at="2026-03-14T12:00:00Z") == ["user loves sushi", "user lives in Porto"]
    assert told(client, known_at="2026-03-13T12:00:00Z") == []


def test_facts_of_a_person_are_found_from_every_session_but_not_by_a_key_of_one(moved: Running) -> None:
    client = moved.client()
    assert told(client, user_id="alice", session_id="s1") == ["user lives in Lisbon", "user loves sushi"]
    assert told(client, user_id="bob", session_id="s1") == []
    assert told(client, session_id="s1") == []
    assert told(moved.client(moved.key(user_id="alice", session_id="s1"))) == []


def test_a_fact_is_a_memory_with_a_frame_and_its_sources(moved: Running) -> None:
    client = moved.client()
    fact = client.get("/v1/facts", params={"predicate": "lives in"}).json()["items"][0]
    assert fact["frame"] == {"subject": "user", "predicate": "lives in", "object": "Lisbon", "negated": False}
    assert (fact["kind"], fact["state"], fact["deriver"]) == ("fact", "active", {"name": "facts", "version": "1"})
    assert fact["valid_from"] == "2025-06-01T00:00:00Z"
    (source,) = client.get(f"/v1/memories/{fact['id']}/sources").json()["items"]
    assert source["text"] == "I moved to Lisbon yesterday."
    (derived,) = client.get(f"/v1/memories/{source['id']}/derived").json()["items"]
    assert derived == fact


def test_facts_come_in_pages_with_and_without_a_time(moved: Running) -> None:
    client = moved.client()
    for params in ({}, {"known_at": "2100-01-01T00:00:00Z"}):
        first = client.get("/v1/facts", params={"limit": 1, **params}).json()
        rest = client.get("/v1/facts", params={"cursor": first["next_cursor"], **params}).json()
        assert [fact["text"] for fact in first["items"] + rest["items"]] == told(client)
        assert rest["next_cursor"] is None


def test_recall_finds_facts_only_where_they_are_asked_for(moved: Running) -> None:
    client = moved.client()
    for kinds, expected in ((None, {"turn"}), (["fact"], {"fact"})):
        reply = client.post("/v1/recall", json={"query": "where do I live? Lisbon", "kinds": kinds}).json()
        assert {hit["memory"]["kind"] for hit in reply["results"]} == expected


def test_a_callers_own_fact_is_recalled_and_listed(run: Running) -> None:
    client = run.client()
    frame = {"subject": "Ann", "predicate": "likes", "object": "tea", "negated": False}
    add(client, "Ann likes tea", kind="fact", frame=frame)
    assert told(client, subject="Ann") == ["Ann likes tea"]
    assert client.post("/v1/recall", json={"query": "tea"}).json()["results"][0]["memory"]["frame"] == frame


def changes(client: TestClient, **params: Any) -> list[Json]:
    reply = client.get("/v1/changes", params=params)
    assert reply.status_code == 200, reply.text
    return list(reply.json()["items"])


def test_a_change_says_what_and_why_and_can_be_taken_back_for_good(moved: Running) -> None:
    client = moved.client()
    (supersede,) = changes(client, kind="supersede")
    assert supersede["reason"] == "one home at a time"
    texts = [client.get(f"/v1/memories/{each}").json()["text"] for each in supersede["memory_ids"]]
    assert texts == ["user lives in Lisbon", "user lives in Porto"]
    undo = client.post(f"/v1/changes/{supersede['id']}/undo").json()
    assert (undo["kind"], undo["memory_ids"]) == ("undo", supersede["memory_ids"])
    assert sorted(told(client)) == ["user lives in Lisbon", "user lives in Porto", "user loves sushi"]
    say(moved, ("I live in Lisbon.", "2025-07-02T09:00:00Z"))
    assert len(told(client)) == 3
    assert changes(client, kind="supersede")[0]["undone_by"] == undo["id"]
    assert problem(client.post(f"/v1/changes/{supersede['id']}/undo"))[0] == 409


def test_what_a_caller_did_can_be_taken_back_too(run: Running) -> None:
    client = run.client()
    (memory,) = add(client, "a note")
    client.post(f"/v1/memories/{memory['id']}/forget")
    forget, added = changes(client, memory_id=memory["id"])
    assert (forget["kind"], added["kind"]) == ("forget", "add")
    assert problem(client.post(f"/v1/changes/{added['id']}/undo"))[:2] == (409, "conflict")
    client.post(f"/v1/changes/{forget['id']}/undo")
    assert client.get(f"/v1/memories/{memory['id']}").json()["state"] == "active"
    client.post(f"/v1/changes/{added['id']}/undo")
    assert client.get(f"/v1/memories/{memory['id']}").json()["state"] == "forgotten"


def test_changes_come_in_pages_by_kind_and_by_scope(moved: Running) -> None:
    client = moved.client()
    every = changes(client)
    first = client.get("/v1/changes", params={"limit": 2}).json()
    rest = client.get("/v1/changes", params={"cursor": first["next_cursor"]}).json()
    assert first["items"] + rest["items"] == every
    assert {change["kind"] for change in changes(client, kind=["supersede", "forget"])} == {"supersede"}
    assert changes(client, user_id="bob") == []
    # Facts are kept without the session; so is what was decided on them.
    assert {change["kind"] for change in changes(client, user_id="alice")} == {"add", "supersede"}
    assert {change["kind"] for change in changes(client, session_id="s1")} == {"add"}


def test_a_change_of_another_scope_or_namespace_is_not_found(moved: Running) -> None:
    (supersede,) = changes(moved.client(), kind="supersede")
    for key in (moved.key(user_id="bob"), moved.key("south"), moved.key(session_id="s1")):
        client = moved.client(key)
        assert problem(client.post(f"/v1/changes/{supersede['id']}/undo"))[0] == 404
        assert changes(client, kind="supersede") == []
        assert told(client) == []
    reader = moved.client(moved.key(read_only=True))
    assert problem(reader.post(f"/v1/changes/{supersede['id']}/undo"))[0] == 403


@pytest.mark.parametrize("params", [{"as_of": "yesterday"}, {"known_at": "2025"}, {"subject": ""}, {"object": "x"}])
def test_bad_questions_for_facts_are_refused(run: Running, params: dict[str, str]) -> None:
    status, _, fields = problem(run.client().get("/v1/facts", params=params))
    assert (status, fields) == (422, list(params))


@pytest.mark.parametrize("params", [{"kind": "x"}, {"memory_id": ""}, {"memory_id": "m" * 65}])
def test_bad_questions_for_changes_are_refused(run: Running, params: dict[str, str]) -> None:
    status, _, _ = problem(run.client().get("/v1/changes", params=params))
    assert status == 422


def test_a_profile_is_listed_and_recalled_by_its_kind_and_only_by_its_namespace(run: Running) -> None:
    client = run.client(run.key("n"))
    add(client, "I live in Porto.", role="user", scope={"user_id": "alice", "session_id": "s1"})
    assert client.get("/v1/memories?kind=profile").json()["items"] == []
    client.post("/v1/consolidations", json={})
    run.service.job_runner().advance()
    [profile] = client.get("/v1/memories?kind=profile&user_id=alice").json()["items"]
    assert (profile["text"], profile["deriver"]["name"]) == ("user lives in Porto", "profile")
    sources = client.get(f"/v1/memories/{profile['id']}/sources").json()["items"]
    assert [source["text"] for source in sources] == ["user lives in Porto"]
    found = client.post("/v1/recall", json={"query": "Porto", "kinds": ["profile"]}).json()["results"]
    assert [hit["memory"]["id"] for hit in found] == [profile["id"]]
    context = client.post("/v1/context", json={"query": "Porto", "kinds": ["profile"]}).json()
    assert [block["memory_ids"] for block in context["blocks"]] == [[profile["id"]]]
    assert client.get("/v1/changes?kind=decay").json()["items"] == []
    assert run.client(run.key("m")).get("/v1/memories?kind=profile").json()["items"] == []
