"""The daemon as a stranger meets it: processes, the SDK, the default encoder; and what must hold when it is killed."""

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from recalld_client import NotFound, Recalld, RecalldError, RetrySettings, Scope

from tests.processes import HASH, Process, environment, run_recalld

PATIENT = RetrySettings(attempts_max=100, backoff_s=0.05, backoff_s_max=0.5)
STORY = (
    ("user", "I moved to Lisbon in March and found a flat near the river.", "2026-03-14T09:00:00Z"),
    ("assistant", "Congratulations on the new flat!", "2026-03-14T09:00:10Z"),
    ("user", "My cat is called Whiskers; she is fed twice a day.", "2026-03-20T18:00:00Z"),
    ("user", "I work at the harbour, on the night shift.", "2026-04-02T08:00:00Z"),
    ("user", "For my mother's birthday we ordered sparkling lemonade.", "2026-04-10T12:00:00Z"),
)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def wait_until(done: Callable[[], bool], seconds: float = 60.0) -> bool:
    give_up = time.monotonic() + seconds
    while not done() and time.monotonic() < give_up:
        time.sleep(0.05)
    return done()


def verify(folder: Path, **settings: str) -> dict[str, object]:
    done = run_recalld(folder, "verify", "--json", **settings)
    found: dict[str, object] = json.loads(done.stdout)
    assert (done.returncode, found["clean"]) == (0, True), done.stdout
    return found


def test_a_stranger_adds_recalls_changes_forgets_and_erases(tmp_path: Path) -> None:
    with Process(tmp_path) as server, Recalld(server.url) as client:
        assert client.ready()
        alice = client.scope(user_id="alice")
        told = alice.add_many([{"text": text, "role": role, "occurred_at": at} for role, text, at in STORY])
        assert [memory.text for memory in told] == [text for _, text, _ in STORY]
        client.scope(user_id="bob").add("I moved to Porto in May.")

        found = alice.recall("What is my cat called?", limit=3)
        assert found[0].memory == told[2]
        assert {hit.memory.scope.user_id for hit in found} == {"alice"}
        found = alice.recall("Which city did I move to?", limit=2)
        assert found[0].memory.id == told[0].id, "found by meaning"
        packed = alice.context("What is my cat called?", token_budget=60)
        assert told[2].id in packed.blocks[0].memory_ids
        assert "Whiskers" in packed.text
        assert packed.tokens <= 60

        changed = alice.update(told[2].id, text="My cat is called Miso.", if_match=1)
        assert (changed.version, changed.created_at) == (2, told[2].created_at)
        assert [memory.text for memory in alice.history(changed.id)] == ["My cat is called Miso.", STORY[2][1]]
        assert alice.recall("What is my cat called?", limit=1)[0].memory.text == "My cat is called Miso."

        alice.forget(told[0].id)
        assert told[0].id not in [hit.memory.id for hit in alice.recall("Which city did I move to?", limit=10)]
        assert [memory.id for memory in alice.list(state="forgotten")] == [told[0].id]
        alice.restore(told[0].id)
        assert alice.recall("Which city did I move to?", limit=1)[0].memory.id == told[0].id

        receipt = alice.delete(changed.id)
        assert (receipt.removed["memories"], receipt.removed["versions"]) == (1, 1)
        with pytest.raises(NotFound):
            alice.get(changed.id)
        assert [m.id for m in alice.list()] == [told[4].id, told[3].id, told[1].id, told[0].id]
        assert alice.recall("cat", limit=10)[0].memory.id in {memory.id for memory in alice.list()}

        assert wait_until(lambda: client.stats().pending == 0)
        stats = client.stats()
        assert (stats.memories, stats.vectors["rows"]) == ({"active": 5}, 5)
        assert stats.encoder["name"] == "all-MiniLM-L6-v2-int8"
        assert server.stop() == 0
        for secret in ("Whiskers", "Lisbon", "Miso"):
            assert secret not in server.output()
    assert verify(tmp_path)["rows"] == 5


def test_namespaces_are_walls_and_keys_are_bound(tmp_path: Path) -> None:
    def key(*options: str) -> str:
        made = run_recalld(tmp_path, "keys", "create", "--json", *options, **HASH)
        secret: str = json.loads(made.stdout)["key"]
        return secret

    acme, alices, other = (
        key("--namespace", "acme"), key("--namespace", "acme", "--user-id", "alice"), key("--namespace", "other"),
    )  # fmt: skip
    text = "The plan is in the drawer."
    with Process(tmp_path, **HASH) as server:
        with Recalld(server.url, api_key=acme) as operator, Recalld(server.url, api_key=alices) as alice:
            of_alice = alice.add(text)
            assert (of_alice.namespace, of_alice.scope.user_id) == ("acme", "alice")
            of_bob = operator.scope(user_id="bob").add(text)
            assert {hit.memory.id for hit in operator.recall("plan drawer")} == {of_alice.id, of_bob.id}
            assert [hit.memory.id for hit in alice.recall("plan drawer")] == [of_alice.id]
            assert [memory.id for memory in alice.list()] == [of_alice.id]
            with pytest.raises(NotFound):
                alice.get(of_bob.id)
        with Recalld(server.url, api_key=other) as stranger:
            assert len(stranger.recall("plan drawer")) == 0
            assert list(stranger.list()) == []
            for attempt in (stranger.get, stranger.delete, stranger.forget):
                with pytest.raises(NotFound):
                    attempt(of_alice.id)
    assert verify(tmp_path, **HASH)["namespaces"] == 2


class Writer(threading.Thread):
    """Adds memories, one at a time and in batches, until it is told to stop.

    Attributes:
        acknowledged: id by text.
        trouble: what its last call raised, if anything.
    """

    def __init__(self, number: int, url: str) -> None:
        super().__init__()
        self.number = number
        self.url = url
        self.acknowledged: dict[str, str] = {}
        self.trouble: RecalldError | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        with Recalld(self.url, retry=PATIENT) as client:
            scope = client.scope(user_id=f"writer-{self.number}")
            count = 0
            try:
                while not self.ended.is_set():
                    texts = [f"writer{self.number} wrote note{count + more} today" for more in range(1 + count % 7)]
                    count += len(texts)
                    self._add(scope, texts)
            except RecalldError as error:
                self.trouble = error

    def _add(self, scope: Scope, texts: list[str]) -> None:
        stored = scope.add_many(texts) if len(texts) > 1 else [scope.add(texts[0])]
        self.acknowledged |= {memory.text: memory.id for memory in stored}


@pytest.mark.slow
def test_what_was_acknowledged_survives_sigkill_exactly_once(tmp_path: Path) -> None:
    port = free_port()
    draw = random.Random(7)
    writers = [Writer(number, f"http://127.0.0.1:{port}") for number in range(3)]
    with Process(tmp_path, arguments=["--port", port], **HASH) as first:
        for writer in writers:
            writer.start()
        time.sleep(0.5)
        first.kill()
    for _ in range(3):
        with Process(tmp_path, arguments=["--port", port], **HASH) as server:
            time.sleep(0.3 + draw.random())
            server.kill()
    with Process(tmp_path, arguments=["--port", port], **HASH) as server, Recalld(server.url) as client:
        time.sleep(0.5)
        for writer in writers:
            writer.ended.set()
            writer.join()
            assert writer.trouble is None, "the SDK tried again until the server was back"
        assert wait_until(lambda: client.stats().pending == 0)
        acknowledged = {text: number for writer in writers for text, number in writer.acknowledged.items()}
        assert len(acknowledged) > 50
        kept = list(client.list())
        times = Counter(memory.text for memory in kept)
        assert set(times.values()) == {1}, "a retry never writes a second time"
        assert acknowledged.items() <= {memory.text: memory.id for memory in kept}.items()
        for text in draw.sample(sorted(acknowledged), 25):
            note = text.split()[2]
            owner = client.scope(user_id=text.split()[0].replace("writer", "writer-"))
            assert [memory.id for memory in owner.list(text=note)] == [acknowledged[text]], "full text"
            found = owner.recall(text, limit=3)
            assert [hit.memory.id for hit in found].count(acknowledged[text]) == 1
        assert client.stats().vectors["rows"] == len(kept)
        assert verify(tmp_path, **HASH)["rows"] == len(kept)


@pytest.mark.slow
def test_a_server_and_a_worker_share_a_folder_under_load(tmp_path: Path) -> None:
    no_worker = HASH | {"RECALLD_WORKER": "false"}
    with Process(tmp_path, **no_worker) as server, Process(tmp_path, "worker", **HASH) as worker:
        writers = [Writer(number, server.url) for number in range(3)]
        for writer in writers:
            writer.start()
        statuses: Counter[tuple[str, int]] = Counter()
        give_up = time.monotonic() + 8
        with httpx2.Client(base_url=server.url, trust_env=False, timeout=30) as client:
            while time.monotonic() < give_up:
                for method, path, body in (
                    ("GET", "/v1/stats", None),
                    ("GET", "/readyz", None),
                    ("POST", "/v1/recall", {"query": "what did writer1 write today?", "limit": 5}),
                ):
                    statuses[path, client.request(method, path, json=body).status_code] += 1
                if sum(statuses.values()) == 60:
                    verify(tmp_path, **HASH)
        for writer in writers:
            writer.ended.set()
            writer.join()
            assert writer.trouble is None
        count = sum(len(writer.acknowledged) for writer in writers)
        assert {path for path, _ in statuses} == {"/v1/stats", "/readyz", "/v1/recall"}
        assert {status for _, status in statuses} == {200}
        with Recalld(server.url) as sdk:
            assert wait_until(lambda: sdk.stats().pending == 0)
            assert sdk.stats().vectors["rows"] == count
        troubles = [e for e in (*server.events(), *worker.events()) if e["level"] in ("error", "warning")]
        assert troubles == []
        assert {e["status"] for e in server.events() if e["event"] == "request"} == {200, 201}
        assert verify(tmp_path, **HASH)["rows"] == count


CRASH = """
import os, sys
from memory.store.sql import SqlStore
SqlStore.finish = lambda *_: os._exit(9)
sys.argv = ["recalld", "worker", "--once"]
from recalld.cli import main
main()
"""


def test_a_crash_between_the_index_and_the_outbox_has_one_effect(tmp_path: Path) -> None:
    with Process(tmp_path, RECALLD_WORKER="false", **HASH) as server, Recalld(server.url) as client:
        client.add_many([f"note {number}" for number in range(20)])
        run_recalld(tmp_path, "worker", "--once", **HASH)
        [log] = (tmp_path / "data" / "index").glob("*/*.log")
        before = log.stat().st_size
        client.add_many([f"later note {number}" for number in range(10)])
    crashed = subprocess.run(
        [sys.executable, "-c", CRASH], env=environment(tmp_path, **HASH), cwd=tmp_path, capture_output=True, check=False
    )
    assert crashed.returncode == 9
    after_crash = log.stat().st_size
    assert after_crash > before, "the index has them"
    assert json.loads(run_recalld(tmp_path, "worker", "--once", "--json", **HASH).stdout)["applied"] == 10
    assert log.stat().st_size == after_crash, "applying them again wrote nothing"
    assert verify(tmp_path, **HASH)["rows"] == 30
