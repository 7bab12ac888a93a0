"""The reply leaves after the commit: what was acknowledged is there, and what was not is not."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from tests.api.conftest import READS, Running, add, operations, problem

WRITES = (
    *("add_memories", "update_memory", "forget_memory", "restore_memory", "erase_memory", "give_feedback"),
    *("erase_memories", "import_memories", "consolidate", "cancel_job", "retry_job", "undo_change"),
)


def prepared(run: Running, client: TestClient, name: str) -> dict[str, Any]:
    """What a call of this write needs to succeed: a memory, in the state and recalled as it has to be."""
    memory_id = add(client, "a note")[0]["id"]
    if name == "restore_memory":
        client.post(f"/v1/memories/{memory_id}/forget")
    if name == "erase_memories":
        return {"json": {"ids": [memory_id]}}
    if name in ("cancel_job", "retry_job"):
        job_id = client.post("/v1/consolidations", json={}).json()["id"]
        if name == "retry_job":
            client.post(f"/v1/jobs/{job_id}/cancel")
        return {"job_id": job_id}
    if name == "undo_change":
        client.post(f"/v1/memories/{memory_id}/forget")
        return {"change_id": client.get("/v1/changes?kind=forget").json()["items"][0]["id"]}
    if name != "give_feedback":
        return {"memory_id": memory_id}
    recall_id = client.post("/v1/recall", json={"query": "note"}).json()["recall_id"]
    run.service.recall_log.flush()
    return {"json": {"recall_id": recall_id, "memory_id": memory_id, "useful": True}}


@pytest.fixture
def failing_commit(run: Running) -> Iterator[list[str]]:
    """Every commit of the service fails as on a full disk once the list is not empty."""
    armed: list[str] = []

    def fail(connection: Any) -> None:
        if armed:
            raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    engine = run.service.database._write_engine
    sqlalchemy.event.listen(engine, "commit", fail)
    yield armed
    sqlalchemy.event.remove(engine, "commit", fail)


def test_these_are_all_the_writes(run: Running) -> None:
    from tests.api.conftest import PUBLIC

    assert {op.id for op in operations(run.app)} - READS - PUBLIC == set(WRITES)


@pytest.mark.parametrize("name", WRITES)
def test_a_commit_that_fails_is_an_error_for_the_client_and_leaves_nothing(
    run: Running, failing_commit: list[str], name: str
) -> None:
    client = run.client()
    request = prepared(run, client, name)
    write = next(op for op in operations(run.app) if op.id == name)
    before = run.dump()
    failing_commit.append("disk full")
    reply = write.call(client, **request, headers={"Idempotency-Key": "k"})
    assert problem(reply)[:2] == (503, "unavailable")
    assert reply.headers["retry-after"] == "1"
    assert "sample" not in reply.text
    failing_commit.clear()
    assert run.dump() == before
    assert write.call(client, **request, headers={"Idempotency-Key": "k"}).is_success


@pytest.mark.parametrize("name", WRITES)
def test_when_the_first_byte_of_the_reply_leaves_another_connection_sees_the_write(run: Running, name: str) -> None:
    client = run.client()
    request = prepared(run, client, name)
    write = next(op for op in operations(run.app) if op.id == name)
    before = run.dump("memories", "feedback", "jobs")
    seen: list[bool] = []
    plain = run.app.build_middleware_stack()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def look(message: Any) -> None:
            if message["type"] == "http.response.start":
                seen.append(run.dump("memories", "feedback", "jobs") != before)
            await send(message)

        await plain(scope, receive, look)

    run.app.middleware_stack = watched
    assert write.call(client, **request).is_success
    assert seen == [True]


def test_an_erased_vector_is_out_of_the_index_when_the_reply_arrives(run: Running) -> None:
    client = run.client()
    memory_id = add(client, "a note")[0]["id"]
    run.service.indexer.apply_all()
    assert run.service.vectors.statistics("default").rows == 1
    assert client.delete(f"/v1/memories/{memory_id}").json()["removed"]["vectors"] == 1
    assert run.service.vectors.statistics("default").rows == 0


def test_items_are_added_all_or_none(run: Running, client: TestClient) -> None:
    items = [{"text": "fine"}] * 5 + [{"text": "x", "frame": {"a": 1}}]
    assert problem(client.post("/v1/memories", json={"items": items})) == (422, "invalid_input", ["items.5.frame"])
    assert run.dump() == []


def test_what_fails_halfway_is_rolled_back(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from memory.store.sql import SqlStore

    def fail(*_: object) -> None:
        raise RuntimeError("halfway")

    monkeypatch.setattr(SqlStore, "record_change", fail)
    assert problem(run.client().post("/v1/memories", json={"items": [{"text": "a"}]}))[:2] == (500, "internal")
    assert run.dump("memories", "outbox", "memory_fts") == []
