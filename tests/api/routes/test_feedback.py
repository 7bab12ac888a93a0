"""Votes over HTTP: one for each memory of each recall, of what the key may see, and gone with the memory."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from recalld.bootstrap import Parts
from recalld.llm.scripted import ScriptedModel
from tests.api.conftest import Json, Running, add, eventually, problem
from tests.conftest import SetClock


def recalled(client: TestClient, path: str = "recall", **fields: Any) -> str:
    recall_id: str = client.post(f"/v1/{path}", json={"query": "note"} | fields).json()["recall_id"]
    return recall_id


def vote(client: TestClient, recall_id: str, memory_id: str, useful: bool | None) -> Json:
    body = {"recall_id": recall_id, "memory_id": memory_id, "useful": useful}
    reply = client.post("/v1/feedback", json=body)
    assert reply.status_code == 200, reply.text
    told: Json = reply.json()
    assert {name: told[name] for name in body} == body
    assert told.keys() == {*body, "votes"}
    votes: Json = told["votes"]
    return votes


def refused(client: TestClient, recall_id: str, memory_id: str) -> tuple[int, str, str]:
    body = {"recall_id": recall_id, "memory_id": memory_id, "useful": True}
    reply = client.post("/v1/feedback", json=body)
    status, code, _ = problem(reply)
    return status, code, reply.json()["detail"]


NO_RECALL = (404, "not_found", "no recall has this id")
NOT_GIVEN = (404, "not_found", "this recall gave no memory with this id")


@pytest.mark.parametrize("path", ["recall", "context"])
def test_a_vote_that_comes_at_once_is_kept_and_a_later_one_takes_its_place(client: TestClient, path: str) -> None:
    one, two = (memory["id"] for memory in add(client, "a note", "another note"))
    recall_id = recalled(client, path)
    assert vote(client, recall_id, one, True) == {"useful": 1, "useless": 0}
    assert vote(client, recall_id, one, True) == {"useful": 1, "useless": 0}
    assert vote(client, recall_id, one, False) == {"useful": 0, "useless": 1}
    assert vote(client, recalled(client, path), one, True) == {"useful": 1, "useless": 1}
    assert vote(client, recall_id, two, False) == {"useful": 0, "useless": 1}
    assert vote(client, recall_id, one, None) == {"useful": 1, "useless": 0}
    assert vote(client, recall_id, one, None) == {"useful": 1, "useless": 0}


def test_a_vote_on_what_a_chat_was_given_is_kept(start: Callable[..., Running]) -> None:
    client = start(Parts(llm=ScriptedModel(lambda messages: "yes"))).client()
    [memory] = add(client, "a note", scope={"user_id": "ann"})
    ask = {"messages": [{"role": "user", "content": "note"}], "user": "ann", "recalld": {"remember": False}}
    recall_id = client.post("/v1/chat/completions", json=ask).json()["recalld"]["recall_id"]
    assert vote(client, recall_id, memory["id"], True) == {"useful": 1, "useless": 0}


def test_votes_change_the_order_of_the_next_recall(client: TestClient) -> None:
    ids = [memory["id"] for memory in add(client, *["a note"] * 3)]
    recall_id = recalled(client)
    vote(client, recall_id, ids[2], True)
    vote(client, recall_id, ids[0], False)
    body = client.post("/v1/recall", json={"query": "note"}).json()
    assert [hit["memory"]["id"] for hit in body["results"]] == ids[::-1]
    assert [hit["signals"]["feedback"] for hit in body["results"]] == [0.3333, 0.0, -0.3333]


def test_an_unknown_recall_and_a_memory_that_it_did_not_give_are_told_apart(client: TestClient) -> None:
    one, two = (memory["id"] for memory in add(client, "a note", "another thing"))
    recall_id = recalled(client, limit=1)
    assert refused(client, "rec_x", one) == NO_RECALL
    assert refused(client, one, one) == NO_RECALL
    assert refused(client, recall_id, two) == NOT_GIVEN
    assert refused(client, recall_id, "mem_x") == NOT_GIVEN
    assert refused(client, recall_id, "mem_%' OR 1=1 --") == NOT_GIVEN


def test_a_recall_of_another_namespace_or_scope_is_unknown(run: Running) -> None:
    whole, ann, bob = (run.client(run.key(**bound)) for bound in ({}, {"user_id": "ann"}, {"user_id": "bob"}))
    south = run.client(run.key("south"))
    [memory] = add(ann, "a note")
    for asking, may in ((ann, (ann, whole)), (whole, (whole,))):
        recall_id = recalled(asking)
        for client in (whole, ann, bob, south):
            if client in may:
                assert vote(client, recall_id, memory["id"], True)["useless"] == 0
            else:
                assert refused(client, recall_id, memory["id"]) == NO_RECALL
    assert len(run.dump("feedback")) == 2


def test_a_memory_that_is_gone_since_takes_no_vote_and_its_votes_go_with_it(run: Running, clock: SetClock) -> None:
    client = run.client()
    [kept] = add(client, "a note")
    [short] = add(client, "a short note", expires_at=(clock.moment + timedelta(hours=1)).isoformat())
    recall_id = recalled(client)
    for memory in (kept, short):
        vote(client, recall_id, memory["id"], True)
    clock.advance(hours=1)
    assert refused(client, recall_id, short["id"])[:2] == (404, "not_found")
    client.post(f"/v1/memories/{kept['id']}/forget")
    assert vote(client, recall_id, kept["id"], False) == {"useful": 0, "useless": 1}
    assert client.delete(f"/v1/memories/{kept['id']}").json()["removed"]["feedback"] == 1
    assert refused(client, recall_id, kept["id"]) == NOT_GIVEN
    assert [row[2] for row in run.dump("feedback")] == [short["id"]]


def test_a_vote_under_an_idempotency_key_is_answered_as_it_was(client: TestClient) -> None:
    [memory] = add(client, "a note")
    recall_id = recalled(client)
    body = {"recall_id": recall_id, "memory_id": memory["id"], "useful": True}
    first = client.post("/v1/feedback", json=body, headers={"Idempotency-Key": "k"})
    vote(client, recall_id, memory["id"], False)
    again = client.post("/v1/feedback", json=body, headers={"Idempotency-Key": "k"})
    assert again.content == first.content
    assert vote(client, recalled(client), memory["id"], True) == {"useful": 1, "useless": 1}
    other = client.post("/v1/feedback", json=body | {"useful": False}, headers={"Idempotency-Key": "k"})
    assert problem(other)[:2] == (409, "conflict")


def test_votes_that_race_with_the_worker_are_all_kept(start: Callable[..., Running]) -> None:
    """The worker writes recalls at the same time as the votes do: each is written once, and found."""
    run = start(worker=True)
    client = run.client()
    [memory] = add(client, "a note")
    for number in range(1, 41):
        assert vote(client, recalled(client), memory["id"], True) == {"useful": number, "useless": 0}
    eventually(lambda: len(run.dump("recalls")) == 40)
