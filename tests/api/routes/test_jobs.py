"""`/v1/jobs` and `/v1/consolidations`: asked for, listed by page, watched, cancelled, retried; each sees its own."""

import json
import threading
from typing import Any

import httpx2
import pytest

from recalld.jobs.model import Job
from tests.api.conftest import Json, Running, add, eventually

TALK = [f"We planned the trip to Lisbon, part number {n} of it." for n in range(9)]


def ask(client: Any, **scope: str) -> Json:
    reply = client.post("/v1/consolidations", json={"scope": scope})
    assert reply.status_code == 202
    told: Json = reply.json()
    return told


def work(run: Running) -> int:
    runner = run.service.job_runner()
    return sum(1 for _ in iter(runner.advance, 0))


def events(text: str) -> list[Json]:
    return [json.loads(line.removeprefix("data: ")) for line in text.split("\n") if line.startswith("data: ")]


def test_a_consolidation_is_a_job_that_ends_with_what_it_did(run: Running) -> None:
    client = run.client()
    add(
        client, *(f"We planned the trip to Lisbon, part number {n} of it." for n in range(9)), scope={"session_id": "s"}
    )
    job = ask(client)
    assert (job["task"], job["state"], job["progress"], job["result"]) == (
        "consolidate", "queued", {"done": 0, "total": None}, None,
    )  # fmt: skip
    assert ask(client)["id"] == job["id"]
    assert work(run) == 1
    done = client.get(f"/v1/jobs/{job['id']}").json()
    assert (done["state"], done["result"]) == ("succeeded", {"units": 1, "written": 1, "removed": 0})
    [summary] = client.get("/v1/memories?kind=summary").json()["items"]
    assert summary["deriver"] == {"name": "summaries", "version": "1"}
    derived = client.get(f"/v1/memories/{summary['sources'][0]}/derived").json()["items"]
    assert [memory["id"] for memory in derived] == [summary["id"]]


def test_a_summary_is_recalled_only_where_it_is_asked_for(run: Running) -> None:
    client = run.client()
    add(
        client, *(f"We planned the trip to Lisbon, part number {n} of it." for n in range(9)), scope={"session_id": "s"}
    )
    before = client.post("/v1/recall", json={"query": "trip to Lisbon"}).json()["results"]
    ask(client)
    work(run)
    run.service.indexer.apply_all()
    after = client.post("/v1/recall", json={"query": "trip to Lisbon"}).json()["results"]
    assert [(hit["memory"]["id"], hit["score"]) for hit in after] == [(h["memory"]["id"], h["score"]) for h in before]
    asked = client.post("/v1/recall", json={"query": "trip to Lisbon", "kinds": ["summary"]}).json()["results"]
    assert [hit["memory"]["kind"] for hit in asked] == ["summary"]


def test_the_list_is_paged_and_filtered(run: Running) -> None:
    client = run.client()
    ids = [ask(client, user_id=user)["id"] for user in ("ann", "bob", "eve")]
    client.post(f"/v1/jobs/{ids[0]}/cancel")
    page = client.get("/v1/jobs?limit=2").json()
    rest = client.get("/v1/jobs", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [job["id"] for job in page["items"] + rest["items"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert [job["id"] for job in client.get("/v1/jobs?state=cancelled&state=failed").json()["items"]] == ids[:1]
    assert client.get("/v1/jobs?task=other").json()["items"] == []
    assert [job["id"] for job in client.get("/v1/jobs?user_id=bob").json()["items"]] == [ids[1]]
    for wrong in ("state=sleeping", "limit=0", "limit=501", "cursor=x", "stat=failed"):
        assert client.get(f"/v1/jobs?{wrong}").status_code == 422


def test_cancel_and_retry_and_what_the_state_does_not_allow(run: Running) -> None:
    client = run.client()
    path = f"/v1/jobs/{ask(client)['id']}"
    assert client.post(f"{path}/retry").json()["code"] == "conflict"
    assert client.post(f"{path}/cancel").json()["state"] == "cancelled"
    assert client.post(f"{path}/cancel").json()["state"] == "cancelled"
    assert client.post(f"{path}/retry").json()["state"] == "queued"
    work(run)
    assert [client.post(f"{path}/{name}").status_code for name in ("cancel", "retry")] == [409, 409]


def test_a_job_that_failed_for_good_is_listed_with_its_reason(run: Running) -> None:
    client = run.client()
    job_id = ask(client)["id"]
    with run.service.write_work() as queue:
        lease = queue.jobs.claim("w", ["consolidate"])
        assert lease is not None
        queue.jobs.fail(lease, "ValueError at summaries.py:7", permanent=True)
    [dead] = client.get("/v1/jobs?state=failed").json()["items"]
    assert (dead["id"], dead["reason"]) == (job_id, "ValueError at summaries.py:7")
    assert client.get("/v1/stats").json()["jobs"]["failed"] == 1
    assert 'recalld_jobs{state="failed"} 1.0' in client.get("/metrics").text
    assert client.post(f"/v1/jobs/{job_id}/retry").json()["reason"] is None


def test_a_key_sees_the_jobs_of_its_scope_and_a_read_only_one_starts_none(run: Running) -> None:
    ann, bob, all_of_it = (run.client(run.key("n", **bound)) for bound in ({"user_id": "ann"}, {"user_id": "bob"}, {}))
    mine, whole = ask(ann), ask(all_of_it)
    assert mine["scope"]["user_id"] == "ann"
    assert [job["id"] for job in ann.get("/v1/jobs").json()["items"]] == [mine["id"]]
    assert [job["id"] for job in all_of_it.get("/v1/jobs").json()["items"]] == [whole["id"], mine["id"]]
    assert bob.get("/v1/jobs").json()["items"] == []
    for client, job_id in ((bob, mine["id"]), (ann, whole["id"]), (run.client(run.key("m")), whole["id"])):
        for method, end in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")):
            assert client.request(method, f"/v1/jobs/{job_id}{end}").status_code == 404
    assert ann.post("/v1/consolidations", json={"scope": {"user_id": "bob"}}).status_code == 403
    reader = run.client(run.key("n", read_only=True))
    assert reader.post("/v1/consolidations", json={}).status_code == 403
    assert reader.post(f"/v1/jobs/{mine['id']}/cancel").status_code == 403
    assert reader.get(f"/v1/jobs/{mine['id']}").json()["id"] == mine["id"]


def test_an_idempotency_key_starts_one_job(run: Running) -> None:
    client = run.client()
    first = client.post("/v1/consolidations", json={}, headers={"Idempotency-Key": "k"}).json()
    client.post(f"/v1/jobs/{first['id']}/cancel")
    again = client.post("/v1/consolidations", json={}, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (202, first)
    assert len(client.get("/v1/jobs").json()["items"]) == 1


def test_events_tell_of_every_state_until_the_end_and_begin_after_the_last_one_seen(run: Running) -> None:
    url = run.live()
    job = ask(run.client())
    told: list[str] = []

    def watch() -> None:
        with httpx2.stream("GET", f"{url}/v1/jobs/{job['id']}/events", timeout=20, trust_env=False) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            told.extend(reply.iter_text())

    watcher = threading.Thread(target=watch)
    watcher.start()
    eventually(lambda: "queued" in "".join(told))
    with run.service.write_work() as queue:
        assert queue.jobs.claim("w", ["consolidate"]) is not None
    eventually(lambda: "running" in "".join(told))
    with run.service.write_work() as queue:
        queue.jobs.cancel("default", job["id"])
    watcher.join(20)
    seen = events("".join(told))
    assert [each["state"] for each in seen] == ["queued", "running", "cancelled"]
    last = {"Last-Event-ID": str(seen[1]["revision"])}
    again = run.client().get(f"/v1/jobs/{job['id']}/events", headers=last)
    assert [each["state"] for each in events(again.text)] == ["cancelled"]
    assert "id: 3\nevent: job\n" in again.text


def test_many_watchers_hold_no_thread_and_are_limited(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.routes.jobs.KEEP_ALIVE_S", 0.2)
    url = run.live()
    job = ask(run.client())
    most = run.service.settings.job_streams_max
    assert most > 40  # the threads of the pool
    kept_alive: list[str] = []

    def watch() -> None:
        with httpx2.stream("GET", f"{url}/v1/jobs/{job['id']}/events", timeout=60, trust_env=False) as reply:
            for text in reply.iter_text():
                kept_alive.append(text)

    watchers = [threading.Thread(target=watch) for _ in range(most)]
    for watcher in watchers:
        watcher.start()
    eventually(lambda: run.app.state.job_streams.open == most)
    eventually(lambda: any("still here" in text for text in kept_alive))
    reply = httpx2.get(f"{url}/v1/jobs/{job['id']}/events", timeout=20, trust_env=False)
    assert (reply.status_code, reply.json()["code"]) == (503, "unavailable")
    assert httpx2.get(f"{url}/v1/jobs", timeout=20, trust_env=False).status_code == 200
    run.client().post(f"/v1/jobs/{job['id']}/cancel")
    for watcher in watchers:
        watcher.join(30)
    eventually(lambda: run.app.state.job_streams.open == 0)
    assert sum('"state":"cancelled"' in text for text in kept_alive) == most


def test_the_events_of_a_job_that_goes_end_with_it(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    job = ask(run.client())

    def gone(*_: object) -> Job | None:
        return None

    found = run.service.jobs

    def vanishing(connection: Any) -> Any:
        queue = found(connection)
        calls.append(1)
        if len(calls) > 1:
            monkeypatch.setattr(queue, "get", gone)
        return queue

    calls: list[int] = []
    monkeypatch.setattr(run.service, "jobs", vanishing)
    assert [each["state"] for each in events(run.client().get(f"/v1/jobs/{job['id']}/events").text)] == ["queued"]
