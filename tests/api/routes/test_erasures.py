"""`/v1/erasures`: exactly one target, counted first if asked for, and a receipt that can be read again."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import Running, add, problem


def texts(client: TestClient) -> list[str]:
    return [item["text"] for item in client.get("/v1/memories").json()["items"]]


@pytest.fixture
def filled(client: TestClient) -> TestClient:
    add(client, "one", "two", scope={"user_id": "ann"}, metadata={"topic": "home"})
    add(client, "three", scope={"user_id": "bob"})
    return client


@pytest.mark.parametrize(
    ("target", "left"),
    [
        ({"scope": {"user_id": "ann"}}, ["three"]),
        ({"filter": {"metadata.topic": "home", "text": {"contains": "o"}}}, ["three"]),
        ({"filter": {"text": "two"}}, ["three", "one"]),
        ({"all": True}, []),
    ],
)
def test_what_is_asked_for_is_erased_and_nothing_else(
    filled: TestClient, target: dict[str, Any], left: list[str]
) -> None:
    counted = filled.post("/v1/erasures", json={**target, "dry_run": True}).json()
    assert (counted["state"], counted["id"], counted["memories"]) == ("counted", None, 3 - len(left))
    assert len(texts(filled)) == 3
    reply = filled.post("/v1/erasures", json=target)
    receipt = reply.json()
    assert (reply.status_code, receipt["state"], receipt["asked"]) == (200, "succeeded", next(iter(target)))
    assert receipt["memories"] == len(receipt["memory_ids"]) == receipt["removed"]["memories"] == 3 - len(left)
    assert receipt["rescan"]["clean"]
    assert texts(filled) == left
    assert filled.get(f"/v1/erasures/{receipt['id']}").json() == {**receipt, "memory_ids": []}


def test_ids_that_are_not_there_are_left_out(filled: TestClient) -> None:
    [memory] = add(filled, "four")
    receipt = filled.post("/v1/erasures", json={"ids": [memory["id"], "mem_x", memory["id"]]}).json()
    assert receipt["memory_ids"] == [memory["id"]]
    again = filled.post("/v1/erasures", json={"ids": [memory["id"]]}).json()
    assert (again["state"], again["memories"]) == ("succeeded", 0)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"dry_run": True},
        {"scope": {}},
        {"scope": {"user_id": None}},
        {"ids": []},
        {"all": False},
        {"ids": ["mem_x"], "all": True},
        {"scope": {"user_id": "ann"}, "filter": {"text": "two"}},
        {"filter": {}},
        {"filter": {"nonsense": 1}},
        {"ids": ["x" * 65]},
        {"ids": ["mem_x"] * 1001},
    ],
)
def test_what_is_not_exactly_one_target_erases_nothing(filled: TestClient, body: dict[str, Any]) -> None:
    assert problem(filled.post("/v1/erasures", json=body))[0] == 422
    assert len(texts(filled)) == 3


def test_a_large_one_is_answered_at_once_and_goes_on_in_the_background(
    run: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.erasures.FINISHED_AT_ONCE_MAX", 2)
    client = run.client()
    add(client, "one", "two", "three")
    reply = client.post("/v1/erasures", json={"all": True})
    receipt = reply.json()
    assert (reply.status_code, receipt["state"], receipt["rescan"]) == (202, "running", None)
    assert texts(client) == []
    assert run.service.erasures.resume(again=False) == 1
    done = client.get(f"/v1/erasures/{receipt['id']}").json()
    assert (done["state"], done["removed"]["memories"], done["rescan"]["clean"]) == ("succeeded", 3, True)


def test_the_same_key_erases_once_and_is_answered_the_same(filled: TestClient) -> None:
    first = filled.post("/v1/erasures", json={"scope": {"user_id": "ann"}}, headers={"Idempotency-Key": "k"})
    add(filled, "five", scope={"user_id": "ann"})
    again = filled.post("/v1/erasures", json={"scope": {"user_id": "ann"}}, headers={"Idempotency-Key": "k"})
    assert again.json() == first.json()
    assert texts(filled) == ["five", "three"]


def test_a_read_only_key_erases_nothing(run: Running) -> None:
    key = run.key(read_only=True)
    assert problem(run.client(key).post("/v1/erasures", json={"all": True}))[:2] == (403, "forbidden")


def test_a_bound_key_erases_its_own_only(run: Running) -> None:
    owner = run.client(run.key())
    add(owner, "anns", scope={"user_id": "ann"})
    add(owner, "bobs", scope={"user_id": "bob"})
    ann = run.client(run.key(user_id="ann"))
    assert problem(ann.post("/v1/erasures", json={"scope": {"user_id": "bob"}}))[:2] == (403, "forbidden")
    receipt = ann.post("/v1/erasures", json={"all": True}).json()
    assert receipt["memories"] == 1
    assert texts(owner) == ["bobs"]
    bob = run.client(run.key(user_id="bob"))
    assert problem(bob.get(f"/v1/erasures/{receipt['id']}"))[:2] == (404, "not_found")
