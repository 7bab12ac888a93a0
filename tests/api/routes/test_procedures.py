"""`/v1/procedures`: found by task, filled, the ones that turned out well first; rationales by `kinds`."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import Json, Running, add, problem

BOOK = {
    "task": "book a table at {place}",
    "steps": [{"action": "open {place}"}, {"action": "set", "parameters": {"people": "{people}"}}],
}
TAXI = {"task": "call a taxi", "steps": [{"action": "ring the dispatcher"}]}


def keep(client: TestClient, frame: Json, text: str = "steps", **item: Any) -> Json:
    return add(client, text, kind="procedure", frame=frame, **item)[0]


def find(client: TestClient, task: str, **asked: Any) -> list[Json]:
    reply = client.post("/v1/procedures", json={"task": task} | asked)
    assert reply.status_code == 200, reply.text
    return list(reply.json()["results"])


def test_a_procedure_is_found_by_its_task_and_filled(run: Running) -> None:
    client = run.client()
    book, taxi = keep(client, BOOK), keep(client, TAXI)
    first, second = find(client, "please book us a table", parameters={"place": "Luigi's", "people": 4})
    assert (first["memory"]["id"], first["ready"], first["missing"], first["extra"]) == (book["id"], True, [], [])
    assert first["task"] == "book a table at Luigi's"
    assert first["steps"] == [
        {"action": "open Luigi's", "parameters": {}},
        {"action": "set", "parameters": {"people": 4}},
    ]
    assert (second["memory"]["id"], second["ready"], second["extra"]) == (taxi["id"], False, ["place", "people"])
    assert second["steps"] == [{"action": "ring the dispatcher", "parameters": {}}]


def test_what_is_missing_is_named_and_nothing_is_filled_then(run: Running) -> None:
    client = run.client()
    keep(client, BOOK)
    keep(client, TAXI)
    book, taxi = find(client, "book a table", parameters={"place": "Luigi's"})
    assert (book["placeholders"], book["missing"], book["ready"]) == (["place", "people"], ["people"], False)
    assert (book["task"], book["steps"][0]["action"]) == (BOOK["task"], "open {place}")
    assert find(client, "call a taxi")[0]["ready"] is True
    assert taxi["placeholders"] == []


def test_an_outcome_reported_by_a_patch_moves_it(run: Running) -> None:
    client = run.client()
    one, other = keep(client, BOOK, "one"), keep(client, BOOK, "other")
    for n in range(2):
        outcome = {"success": False, "note": "the button is gone", "at": f"2026-03-0{n + 1}T00:00:00Z"}
        told = client.patch(f"/v1/memories/{one['id']}", json={"frame": {"outcome": outcome}}).json()
    assert (told["version"], told["frame"]["task"], told["frame"]["outcome"]) == (3, BOOK["task"], outcome)
    assert [each["memory"]["id"] for each in find(client, "book a table")] == [other["id"], one["id"]]
    versions = client.get(f"/v1/memories/{one['id']}/history").json()["items"]
    assert [(each["frame"].get("outcome") or {}).get("success") for each in versions] == [False, False, None]


def test_rationales_are_recalled_for_similar_questions_the_successful_one_first(run: Running) -> None:
    client = run.client()
    asked = {"question": "What is 15 percent of 240?", "reasoning": "divide"}
    add(client, "wrong", kind="rationale", frame=asked | {"outcome": {"success": False}})
    add(client, "right", kind="rationale", frame=asked | {"outcome": {"success": True}})
    add(client, "15 percent of 240 is asked in a turn")
    reply = client.post("/v1/recall", json={"query": "20 percent of 300?", "kinds": ["rationale"]}).json()
    assert [hit["memory"]["text"] for hit in reply["results"]] == ["right", "wrong"]
    assert reply["results"][0]["signals"]["outcome"] > 0 > reply["results"][1]["signals"]["outcome"]


def test_only_procedures_with_a_frame_that_the_key_may_see_are_found(run: Running) -> None:
    client = run.client()
    keep(client, TAXI, scope={"user_id": "alice"})
    add(client, "call a taxi", kind="procedure")
    add(client, "call a taxi")
    assert len(find(client, "call a taxi")) == 1
    assert find(client, "call a taxi", scope={"user_id": "bob"}) == []
    assert find(client, "call a taxi", filter={"text": "other"}) == []
    assert find(client, "call a taxi", known_at="2000-01-01T00:00:00Z") == []
    for key, seen in ((run.key(user_id="alice"), 1), (run.key(user_id="bob"), 0), (run.key("south"), 0)):
        assert len(find(run.client(key), "call a taxi")) == seen


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"task": ""}, "task"),
        ({"task": "\x00"}, "task"),
        ({"task": "x" * 65_537}, "task"),
        ({"task": "x", "parameters": []}, "parameters"),
        ({"task": "x", "parameters": {"a": "b" * 16_384}}, "parameters"),
        ({"task": "x", "parameters": {"a": "\x00"}}, "parameters"),
        ({"task": "x", "limit": 0}, "limit"),
        ({"task": "x", "limit": 101}, "limit"),
        ({"task": "x", "filter": {"nope": 1}}, "filter.nope"),
        ({"task": "x", "kinds": ["turn"]}, "kinds"),
    ],
)
def test_bad_questions_are_refused(run: Running, asked: Json, field: str) -> None:
    status, _, fields = problem(run.client().post("/v1/procedures", json=asked))
    assert (status, fields) == (422, [field])


def test_a_value_that_would_fill_too_much_is_refused(run: Running) -> None:
    client = run.client()
    keep(client, {"task": "say it", "steps": [{"action": "say", "parameters": {"text": "{x}" * 1000}}]})
    status, _, fields = problem(client.post("/v1/procedures", json={"task": "say it", "parameters": {"x": "a" * 9000}}))
    assert (status, fields) == (422, ["parameters"])
