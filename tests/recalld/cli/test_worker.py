"""`recalld worker` as a process beside servers that leave the outbox to it."""

import json
import signal
import time
from pathlib import Path

import httpx2
import pytest

from tests.processes import HASH, Process, run_recalld

NO_WORKER = HASH | {"RECALLD_WORKER": "false"}


def stats(server: Process) -> dict[str, int]:
    told = httpx2.get(f"{server.url}/v1/stats", trust_env=False).json()
    return {"pending": told["pending"], "vectors": told["vectors"]["rows"]}


def wait_for(server: Process, wanted: dict[str, int]) -> dict[str, int]:
    give_up = time.monotonic() + 20
    while (found := stats(server)) != wanted and time.monotonic() < give_up:
        time.sleep(0.05)
    return found


def add(server: Process, count: int) -> None:
    items = [{"text": f"memory number {number} of the worker's test"} for number in range(count)]
    reply = httpx2.post(f"{server.url}/v1/memories", json={"items": items}, trust_env=False, timeout=30)
    assert reply.status_code == 201


def test_a_worker_applies_what_a_server_without_one_wrote(tmp_path: Path) -> None:
    with Process(tmp_path, **NO_WORKER) as server:
        add(server, 300)
        time.sleep(0.5)
        assert stats(server) == {"pending": 300, "vectors": 0}
        with Process(tmp_path, "worker", **HASH) as worker:
            assert wait_for(server, {"pending": 0, "vectors": 300}) == {"pending": 0, "vectors": 300}
            add(server, 5)
            assert wait_for(server, {"pending": 0, "vectors": 305}) == {"pending": 0, "vectors": 305}
            asked = time.monotonic()
            assert worker.stop() == 0
            assert time.monotonic() - asked < 3
            assert "memory number" not in worker.output()
        question = {"query": "memory number 7 of the worker's test", "limit": 3}
        recalled = httpx2.post(f"{server.url}/v1/recall", json=question, trust_env=False).json()
        assert recalled["pending"] == 0
        assert "memory number 7 of the worker's test" in [hit["memory"]["text"] for hit in recalled["results"]]
        assert run_recalld(tmp_path, "verify", **HASH).returncode == 0


def test_once_applies_what_waits_beside_a_server(tmp_path: Path) -> None:
    with Process(tmp_path, **NO_WORKER) as server:
        add(server, 20)
        assert json.loads(run_recalld(tmp_path, "worker", "--once", "--json", **HASH).stdout) == {
            "applied": 20,
            "job_steps": 0,
        }
        assert stats(server) == {"pending": 0, "vectors": 20}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_with_nothing_to_do_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with Process(tmp_path, "worker", **HASH) as worker:
        asked = time.monotonic()
        assert worker.stop(number) == 0
        assert time.monotonic() - asked < 3
        assert [event["event"] for event in worker.events()] == ["working"]


def test_a_worker_waits_out_a_trouble_and_goes_on(tmp_path: Path) -> None:
    with Process(tmp_path, **NO_WORKER) as server, Process(tmp_path, "worker", **HASH) as worker:
        add(server, 3)
        assert wait_for(server, {"pending": 0, "vectors": 3})["vectors"] == 3
        [manifest] = (tmp_path / "data" / "index").glob("*/manifest.json")
        whole = manifest.read_text()
        manifest.write_text("{")
        add(server, 1)
        time.sleep(1)
        manifest.write_text(whole)
        assert wait_for(server, {"pending": 0, "vectors": 4}) == {"pending": 0, "vectors": 4}
        failed = [event for event in worker.events() if event["event"] == "step_failed"]
        assert {event["error"] for event in failed} == {"IndexDamaged"}
        assert worker.popen.poll() is None
    assert run_recalld(tmp_path, "verify", **HASH).returncode == 0
