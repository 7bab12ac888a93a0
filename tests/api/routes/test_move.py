"""`/v1/export` and `/v1/import` over HTTP: streamed, within their own limit, and by the key's scope."""

import json
from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import EXPORTED, Running, add, problem

LINES = {"Content-Type": "application/x-ndjson"}


def take(client: TestClient, data: bytes) -> dict[str, int]:
    reply = client.post("/v1/import", content=data, headers=LINES)
    assert reply.status_code == 200, reply.text
    told: dict[str, int] = reply.json()
    return told


def test_what_is_exported_is_taken_in_by_another_instance(run: Running, client: TestClient) -> None:
    kept = add(client, "one", "two", scope={"user_id": "ann"})
    reply = client.get("/v1/export")
    assert reply.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in reply.content.splitlines()]
    assert [line["memory"]["id"] for line in lines if "memory" in line] == [memory["id"] for memory in kept]
    assert take(client, reply.content)["unchanged"] == 2
    client.delete(f"/v1/memories/{kept[0]['id']}")
    assert take(client, reply.content)["erased"] == 1
    assert list(run.service.settings.spool_dir.iterdir()) == []


def test_the_wrong_line_is_named_and_nothing_is_left_of_the_file(run: Running, client: TestClient) -> None:
    broken = client.post("/v1/import", content=EXPORTED[:-20], headers=LINES)
    assert problem(broken) == (422, "invalid_input", ["line 3"])
    assert run.dump("memories", "imports") == []
    assert list(run.service.settings.spool_dir.iterdir()) == []


def test_a_file_above_the_limit_is_refused_while_it_arrives(start: Callable[..., Running]) -> None:
    run = start(import_bytes_max=2048)

    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1024

    reply = run.client().post("/v1/import", content=endless(), headers=LINES)
    assert problem(reply) == (413, "too_large", ["body"])
    assert list(run.service.settings.spool_dir.iterdir()) == []


def test_a_file_larger_than_any_other_body_is_taken(start: Callable[..., Running]) -> None:
    run = start(body_bytes_max=1024)
    padded = b"".join([EXPORTED, b"\n" * 4096])
    assert problem(run.client().post("/v1/import", content=padded, headers=LINES))[:2] == (422, "invalid_input")
    assert problem(run.client().post("/v1/memories", content=padded))[:2] == (413, "too_large")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
def test_another_kind_of_body_is_refused(client: TestClient, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    reply = client.post("/v1/import", content=EXPORTED, headers=headers)
    assert (problem(reply)[0], problem(reply)[2]) == (415, ["Content-Type"])


def test_a_read_only_key_exports_and_takes_in_nothing(run: Running) -> None:
    client = run.client(run.key(read_only=True))
    assert client.get("/v1/export").status_code == 200
    assert problem(client.post("/v1/import", content=EXPORTED, headers=LINES))[:2] == (403, "forbidden")


def test_a_bound_key_exports_its_own_only(run: Running) -> None:
    owner = run.client(run.key())
    add(owner, "anns", scope={"user_id": "ann"})
    add(owner, "bobs", scope={"user_id": "bob"})
    ann = run.client(run.key(user_id="ann"))
    assert b"bobs" not in ann.get("/v1/export").content
    assert problem(ann.get("/v1/export", params={"user_id": "bob"}))[:2] == (403, "forbidden")
    assert problem(ann.post("/v1/import", content=owner.get("/v1/export").content, headers=LINES))[0] == 422
