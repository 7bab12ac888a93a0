"""The application as a whole: it runs the worker while it runs, and lets go of everything afterwards."""

from collections.abc import Callable

import pytest

from recalld.bootstrap import Service
from tests.api.conftest import Running, add, eventually, running


def test_the_worker_runs_for_as_long_as_the_application(make_service: Callable[..., Service]) -> None:
    service = make_service(worker=True)
    with running(service) as run:
        add(run.client(), "a note", "another")
        eventually(lambda: service.vectors.statistics("default").rows == 2)
        assert run.client().get("/v1/stats").json()["pending"] == 0
        worker = service.worker._thread
        assert worker is not None
    assert not worker.is_alive()
    assert service.worker._thread is None


def test_without_the_worker_writes_wait_and_are_found_all_the_same(run: Running) -> None:
    client = run.client()
    add(client, "we moved to Lisbon")
    assert run.service.worker._thread is None
    assert client.get("/v1/stats").json()["pending"] == 1
    hits = client.post("/v1/recall", json={"query": "Lisbon"}).json()["results"]
    assert [hit["memory"]["text"] for hit in hits] == ["we moved to Lisbon"]


def test_recalls_that_wait_to_be_noted_are_written_when_it_stops(make_service: Callable[..., Service]) -> None:
    service = make_service(worker=False)
    with running(service) as run:
        memory = add(run.client(), "a note")[0]
        recall_id = run.client().post("/v1/recall", json={"query": "a note"}).json()["recall_id"]
        assert run.dump("recalls") == []
    again = make_service(worker=False)
    with running(again) as run:
        assert [row[1] for row in run.dump("recalls")] == [recall_id]
        assert [row[1:] for row in run.dump("recall_memories")] == [(recall_id, 0, memory["id"])]


def test_what_one_application_wrote_the_next_one_serves(make_service: Callable[..., Service]) -> None:
    with running(make_service(worker=False)) as run:
        written = add(run.client(), "a note")
    with running(make_service(worker=False)) as run:
        assert run.client().get("/v1/memories").json()["items"] == written


def test_two_applications_on_one_data_folder_see_each_others_writes(make_service: Callable[..., Service]) -> None:
    with running(make_service(worker=False)) as one, running(make_service(worker=False)) as two:
        memory_id = add(one.client(), "we moved to Lisbon")[0]["id"]
        one.service.indexer.apply_all()
        hits = two.client().post("/v1/recall", json={"query": "Lisbon"}).json()["results"]
        assert [(hit["memory"]["id"], hit["signals"]["dense"] is not None) for hit in hits] == [(memory_id, True)]
        assert two.client().delete(f"/v1/memories/{memory_id}").json()["removed"]["vectors"] == 1
        assert one.client().post("/v1/recall", json={"query": "Lisbon"}).json()["results"] == []
        assert one.service.vectors.statistics("default").rows == 0


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_the_documentation_is_served_without_a_key(run: Running, path: str) -> None:
    run.key()
    assert run.client().get(path).status_code == 200
