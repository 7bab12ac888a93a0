"""`Idempotency-Key`: a write happens once, and its repetition is answered as it was."""

import threading
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import READS, SAMPLES, Json, Running, add, operations, problem
from tests.conftest import SetClock

ITEM = {"items": [{"text": "I moved to Lisbon."}]}


def post(client: TestClient, body: Json = ITEM, key: str = "k1", **headers: str) -> httpx2.Response:
    """Add under an idempotency key."""
    return client.post("/v1/memories", json=body, headers={"Idempotency-Key": key} | headers)


def told(reply: httpx2.Response) -> tuple[int, str | None, bytes]:
    """What of a reply a repetition must repeat."""
    return reply.status_code, reply.headers.get("etag"), reply.content


def texts(client: TestClient) -> list[str]:
    return [item["text"] for item in client.get("/v1/memories").json()["items"]]


def test_a_repeated_write_is_answered_byte_for_byte_and_done_once(client: TestClient, clock: SetClock) -> None:
    first = post(client)
    clock.advance(hours=23, minutes=59)
    assert told(post(client)) == told(first)
    assert first.status_code == 201
    assert texts(client) == ["I moved to Lisbon."]


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in READS and name.endswith("memory")])
def test_every_write_on_a_memory_is_repeated_byte_for_byte_and_done_once(run: Running, name: str) -> None:
    client = run.client()
    memory_id = add(client, "a note")[0]["id"]
    if name == "restore_memory":
        client.post(f"/v1/memories/{memory_id}/forget")
    write = next(op for op in operations(run.app) if op.id == name)
    first = write.call(client, memory_id, headers={"Idempotency-Key": "k"})
    after = run.dump()
    assert told(write.call(client, memory_id, headers={"Idempotency-Key": "k"})) == told(first)
    assert first.status_code == 200
    assert run.dump() == after


def test_a_repetition_is_answered_even_where_doing_it_again_would_fail(client: TestClient) -> None:
    memory_id = add(client, "a note")[0]["id"]
    sent: dict[str, Any] = {"json": {"text": "changed"}, "headers": {"Idempotency-Key": "k", "If-Match": '"1"'}}
    first = client.patch(f"/v1/memories/{memory_id}", **sent)
    assert told(client.patch(f"/v1/memories/{memory_id}", **sent)) == told(first)
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')


def test_after_its_time_a_key_is_new_again(client: TestClient, clock: SetClock) -> None:
    first = post(client)
    clock.advance(hours=24)
    second = post(client)
    assert first.json()["items"][0]["id"] != second.json()["items"][0]["id"]
    assert told(post(client)) == told(second)
    assert texts(client) == ["I moved to Lisbon."] * 2


OTHERS: dict[str, Callable[[TestClient, str], httpx2.Response]] = {
    "body": lambda client, _: post(client, {"items": [{"text": "I moved to Porto."}]}),
    "spelling": lambda client, _: client.post(
        "/v1/memories",
        content=b'{ "items": [{"text": "I moved to Lisbon."}]}',
        headers={"Idempotency-Key": "k1", "Content-Type": "application/json"},
    ),
    "path": lambda client, memory_id: client.post(
        f"/v1/memories/{memory_id}/forget", headers={"Idempotency-Key": "k1"}
    ),
    "method": lambda client, memory_id: client.delete(f"/v1/memories/{memory_id}", headers={"Idempotency-Key": "k1"}),
}


@pytest.mark.parametrize("other", OTHERS)
def test_the_same_key_with_another_request_is_a_conflict_and_does_nothing(run: Running, other: str) -> None:
    client = run.client()
    memory_id = post(client).json()["items"][0]["id"]
    before = run.dump()
    reply = OTHERS[other](client, memory_id)
    assert problem(reply)[:2] == (409, "conflict")
    assert "Idempotency-Key" in reply.json()["detail"]
    assert "Lisbon" not in reply.text
    assert run.dump() == before


def test_a_write_that_failed_leaves_its_key_free(client: TestClient) -> None:
    assert post(client, {"items": [{"text": "a" * 65_537}]}).status_code == 422
    assert client.delete("/v1/memories/mem_x", headers={"Idempotency-Key": "k1"}).status_code == 404
    assert post(client).status_code == 201


def test_when_the_memory_was_erased_the_repetition_is_gone_and_brings_nothing_back(run: Running) -> None:
    client = run.client()
    shown = post(client, {"items": [{"text": "a secret"}, {"text": "another"}]}).json()["items"]
    patched: dict[str, Any] = {"json": {"text": "a bigger secret"}, "headers": {"Idempotency-Key": "k2"}}
    client.patch(f"/v1/memories/{shown[0]['id']}", **patched)
    erased = client.delete(f"/v1/memories/{shown[0]['id']}", headers={"Idempotency-Key": "k3"})
    assert erased.json()["removed"]["idempotency_replies"] == 2
    again = post(client, {"items": [{"text": "a secret"}, {"text": "another"}]})
    assert problem(again) == (410, "gone", [])
    assert problem(client.patch(f"/v1/memories/{shown[0]['id']}", **patched))[:2] == (410, "gone")
    assert told(client.delete(f"/v1/memories/{shown[0]['id']}", headers={"Idempotency-Key": "k3"})) == told(erased)
    assert texts(client) == ["another"]
    assert "secret" not in str(run.dump())


def test_the_same_key_of_another_principal_is_another_key(run: Running) -> None:
    keys = [run.key(), run.key(), run.key("other"), run.key(user_id="alice")]
    replies = [post(run.client(key)) for key in keys]
    assert [reply.status_code for reply in replies] == [201] * 4
    assert len({reply.json()["items"][0]["id"] for reply in replies}) == 4


def test_of_concurrent_requests_with_one_key_one_writes_and_all_are_told_the_same(run: Running) -> None:
    base_url = run.live()
    gate = threading.Barrier(12)
    replies: list[tuple[int, str | None, bytes]] = []

    def send() -> None:
        with httpx2.Client(base_url=base_url) as client:
            gate.wait()
            replies.append(told(client.post("/v1/memories", json=ITEM, headers={"Idempotency-Key": "k"})))

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 12
    assert set(replies) == {replies[0]}
    assert replies[0][0] == 201
    assert texts(run.client()) == ["I moved to Lisbon."]


@pytest.mark.parametrize("key", ["", "a" * 256, "tab\there", "é\x7f"])
def test_a_key_that_can_not_be_one_is_named(run: Running, key: str) -> None:
    reply = run.client().post("/v1/memories", json=ITEM, headers=[(b"Idempotency-Key", key.encode("latin-1"))])
    assert problem(reply) == (422, "invalid_input", ["Idempotency-Key"])
    assert run.dump() == []


@pytest.mark.parametrize("key", ["a", "a" * 255, 'with spaces; and "signs"', "é"])
def test_a_key_that_can_be_one_is_taken(client: TestClient, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    first, second = (client.post("/v1/memories", json=ITEM, headers=headers) for _ in "12")
    assert told(first) == told(second)
    assert texts(client) == ["I moved to Lisbon."]
