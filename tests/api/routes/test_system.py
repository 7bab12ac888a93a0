"""`/healthz`, `/readyz` and `/v1/stats`; `/metrics` has its own file."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from recalld import __version__
from recalld.core.db import Database
from recalld.core.errors import IndexDamaged
from retrieval.vector_faiss import SegmentedVectorIndex
from tests.api.conftest import Running, add, problem

OPEN_TO_ALL = {"peer": "192.0.2.7"}


def test_it_is_alive_for_anybody(run: Running) -> None:
    run.key()
    reply = run.client(**OPEN_TO_ALL).get("/healthz")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok", "version": __version__})


def test_it_is_ready_when_the_schema_is_the_newest_and_the_index_can_be_read(run: Running) -> None:
    run.key()
    reply = run.client(**OPEN_TO_ALL).get("/readyz")
    assert (reply.status_code, reply.json()) == (
        200,
        {"status": "ready", "checks": {"migrated": "ok", "index": "ok"}},
    )


def test_with_an_older_schema_it_is_not_ready_and_says_what_to_do(
    run: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "newest_revision", lambda _: "9999")
    reply = run.client().get("/readyz")
    assert (reply.status_code, reply.json()) == (
        503,
        {"status": "not ready", "checks": {"migrated": "run `recalld migrate`", "index": "ok"}},
    )


def test_with_a_damaged_index_it_is_not_ready_and_says_so(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise IndexDamaged("the manifest is torn: run `recalld reindex`")

    monkeypatch.setattr(SegmentedVectorIndex, "statistics", fail)
    reply = run.client().get("/readyz")
    assert reply.status_code == 503
    assert reply.json()["checks"] == {"migrated": "ok", "index": "the manifest is torn: run `recalld reindex`"}
    assert run.client().get("/healthz").status_code == 200
    assert problem(run.client().get("/v1/stats")) == (500, "index_damaged", [])


def test_it_says_that_it_is_alive_while_every_thread_is_busy(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    leave = threading.Event()
    entered = threading.Semaphore(0)

    def wait(*_: object, **__: object) -> Any:
        entered.release()
        leave.wait(20)
        raise IndexDamaged("late")

    monkeypatch.setattr(SegmentedVectorIndex, "statistics", wait)
    base_url = run.live()
    threads = [
        threading.Thread(target=httpx2.get, args=(f"{base_url}/v1/stats",), kwargs={"timeout": 30}) for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            assert entered.acquire(timeout=10)
        started = time.monotonic()
        assert httpx2.get(f"{base_url}/healthz", timeout=5).status_code == 200
        assert time.monotonic() - started < 5
    finally:
        leave.set()
        for thread in threads:
            thread.join()


def test_stats_count_what_the_namespace_holds(run: Running) -> None:
    client, other = run.client(run.key("team")), run.client(run.key("other"))
    add(other, *["not of the team"] * 5)
    first, second, third = add(client, "abc", "é", "😀")
    client.patch(f"/v1/memories/{first['id']}", json={"text": "abcd"})
    client.post(f"/v1/memories/{second['id']}/forget")
    client.delete(f"/v1/memories/{third['id']}")
    run.service.indexer.apply_all()
    stats = client.get("/v1/stats").json()
    index = run.service.vectors.statistics("team")
    assert stats == {
        "namespace": "team",
        "memories": {"active": 1, "forgotten": 1},
        "versions": 2,
        "text_bytes": 6,
        "pending": 0,
        "jobs": {"queued": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0},
        "vectors": {
            "rows": 1,
            "bytes_disk": index.bytes_disk,
            "bytes_memory": index.bytes_memory,
            "generation": index.generation,
        },
        "bytes": {
            "database": run.service.database.bytes_on_disk(),
            "index": run.service.folder.bytes_on_disk("index"),
        },
        "kept": {"columns": 0, "postings": 0},
        "bytes_per_memory": round((6 + index.bytes_disk) / 2, 1),
        "encoder": {
            "name": run.service.encoder.name,
            "dimensions": run.service.encoder.dimensions,
            "fingerprint": run.service.encoder.fingerprint,
        },
    }
    assert all(size > 0 for size in stats["bytes"].values())


def test_stats_say_what_recalls_keep_in_memory(run: Running) -> None:
    client = run.client()
    add(client, *(f"note {number} of the harbour" for number in range(600)))
    client.post("/v1/recall", json={"query": "harbour"})
    kept = client.get("/v1/stats").json()["kept"]
    assert kept["columns"] > 600
    assert kept["columns"] == run.service.kept.columns.bytes_memory
    assert kept["postings"] == run.service.kept.postings.bytes_memory


def test_the_stats_of_nothing_divide_by_nothing(run: Running) -> None:
    stats = run.client().get("/v1/stats").json()
    assert (stats["memories"], stats["bytes_per_memory"], stats["vectors"]["rows"]) == ({}, 0.0, 0)


def test_what_waits_is_counted_for_the_namespace_alone(run: Running) -> None:
    add(run.client(run.key("other")), "a", "b")
    client = run.client(run.key("team"))
    add(client, "c")
    assert client.get("/v1/stats").json()["pending"] == 1


def test_there_is_one_router_for_each_applications_metrics(start: Callable[..., Running]) -> None:
    one, two = start(), start()
    one.client().get("/healthz")
    assert 'route="/healthz"' not in two.client().get("/metrics").text
    assert 'route="/healthz"' in one.client().get("/metrics").text
