"""Many clients at once on a real server: nobody is refused, nothing is lost, doubled or seen too late."""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from recalld.bootstrap import Parts
from recalld.core.clock import SystemClock
from recalld.core.ids import UlidSource
from tests.api.conftest import Json, Running

THREADS = 8
LASTS_S = 3.0


@pytest.fixture
def run(start: Callable[..., Running]) -> Running:
    """With real ids and times, and the worker running."""
    clock = SystemClock()
    return start(Parts(clock=clock, ids=UlidSource(clock)), worker=True)


@dataclass
class Client:
    """One thread's client: what it was promised, and what went wrong."""

    number: int
    http: httpx2.Client
    shared: list[str]
    kept: dict[str, str] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    unseen: list[str] = field(default_factory=list)
    written: int = 0

    def call(self, method: str, path: str, **request: Any) -> httpx2.Response:
        reply = self.http.request(method, path, **request)
        self.statuses[reply.status_code] += 1
        return reply

    def add(self, rng: random.Random) -> None:
        """Write a few, and ask for the last of them at once."""
        texts = []
        for _ in range(rng.randint(1, 4)):
            self.written += 1
            texts.append(f"word{self.number}x{self.written} said at the harbour")
        items = [{"text": text, "scope": {"user_id": f"u{self.number}"}} for text in texts]
        written: list[Json] = self.call("POST", "/v1/memories", json={"items": items}).json()["items"]
        self.kept |= {memory["id"]: memory["text"] for memory in written}
        query = {"query": texts[-1].split()[0], "limit": 1}
        found = self.call("POST", "/v1/recall", json=query).json()["results"]
        if [hit["memory"]["id"] for hit in found] != [written[-1]["id"]]:
            self.unseen.append(written[-1]["id"])

    def erase(self, rng: random.Random) -> None:
        if self.kept:
            memory_id = rng.choice(sorted(self.kept))
            self.call("DELETE", f"/v1/memories/{memory_id}")
            self.kept.pop(memory_id)
            self.erased.add(memory_id)

    def change(self, rng: random.Random) -> None:
        patch = {"metadata": {f"by{self.number}": rng.random()}}
        self.call("PATCH", f"/v1/memories/{rng.choice(self.shared)}", json=patch)

    def move(self, rng: random.Random) -> None:
        self.call("POST", f"/v1/memories/{rng.choice(self.shared)}/{rng.choice(('forget', 'restore'))}")

    def read(self, rng: random.Random) -> None:
        self.call("GET", "/v1/memories", params={"limit": 20, "text": "harbour"})
        self.call("POST", "/v1/context", json={"query": "harbour", "token_budget": 200})
        self.call("GET", f"/v1/memories/{rng.choice(self.shared)}/history")

    def work(self, until: float) -> None:
        rng = random.Random(self.number)
        while time.monotonic() < until:
            rng.choice((self.add, self.add, self.erase, self.change, self.move, self.read))(rng)


def everything(http: httpx2.Client, **params: Any) -> list[Json]:
    """Every memory, page by page."""
    found: list[Json] = []
    page: Json = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        at = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = http.get("/v1/memories", params={"limit": 100} | params | at).json()
        found += page["items"]
    return found


def test_what_was_acknowledged_is_there_once_and_every_version_follows_the_one_before(run: Running) -> None:
    base_url = run.live()
    with httpx2.Client(base_url=base_url, timeout=30) as http:
        items = [{"text": f"shared {n}", "scope": {"user_id": "all"}} for n in range(3)]
        shared = [memory["id"] for memory in http.post("/v1/memories", json={"items": items}).json()["items"]]
        clients = [Client(n, httpx2.Client(base_url=base_url, timeout=30), shared) for n in range(THREADS)]
        until = time.monotonic() + LASTS_S
        threads = [threading.Thread(target=client.work, args=(until,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in clients:
            client.http.close()
        statuses = sum((client.statuses for client in clients), Counter[int]())
        assert set(statuses) <= {200, 201, 409}, "409: a change of what is forgotten"
        assert statuses[201] >= THREADS
        assert [client.unseen for client in clients] == [[]] * THREADS
        there = everything(http)
        by_id = {memory["id"]: memory["text"] for memory in there if memory["id"] not in shared}
        assert len(there) == len({memory["id"] for memory in there})
        assert by_id == {memory_id: text for client in clients for memory_id, text in client.kept.items()}
        assert not by_id.keys() & set().union(*(client.erased for client in clients))
        for memory_id in shared:
            history: list[Json] = http.get(f"/v1/memories/{memory_id}/history?limit=500").json()["items"]
            assert [version["version"] for version in history] == list(range(len(history), 0, -1))
            ends = [version["superseded_at"] for version in history]
            assert ends == [None, *(version["recorded_at"] for version in history[:-1])]
    assert run.service.consistency.verify().clean


def test_of_many_who_change_the_same_version_one_succeeds(run: Running) -> None:
    base_url = run.live()
    path = "/v1/memories/" + str(
        httpx2.post(f"{base_url}/v1/memories", json={"items": [{"text": "0"}]}).json()["items"][0]["id"]
    )
    won: list[int] = []

    def count(number: int) -> None:
        with httpx2.Client(base_url=base_url, timeout=30) as http:
            for _ in range(10):
                while True:
                    current = http.get(path).json()
                    sent = {"If-Match": f'"{current["version"]}"'}
                    reply = http.patch(path, json={"text": str(int(current["text"]) + 1)}, headers=sent)
                    if reply.status_code == 200:
                        won.append(reply.json()["version"])
                        break
                    assert reply.status_code == 412

    threads = [threading.Thread(target=count, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert httpx2.get(f"{base_url}{path}").json()["text"] == "40"
    assert sorted(won) == list(range(2, 42))


def test_the_same_external_id_written_by_many_at_once_is_one_memory(run: Running) -> None:
    base_url = run.live()
    ids: list[str] = []

    def write(number: int) -> None:
        for _ in range(5):
            body = {"items": [{"text": f"by {number}", "external_id": "x"}]}
            ids.append(httpx2.post(f"{base_url}/v1/memories", json=body, timeout=30).json()["items"][0]["id"])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(ids), len(set(ids))) == (30, 1)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_more_requests_at_once_than_there_are_threads_or_connections_are_all_answered(
    run: Running, method: str
) -> None:
    """With a transaction held between threads, the server stood still for good from 41 writers or 65 readers on."""
    base_url = run.live()
    many = 120

    async def send() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=many)
        async with httpx2.AsyncClient(base_url=base_url, timeout=30, limits=limits) as http:
            items = {"items": [{"text": f"note {n}"} for n in range(many)]}
            ids = [memory["id"] for memory in (await http.post("/v1/memories", json=items)).json()["items"]]
            if method == "GET":
                return await asyncio.gather(*(http.get("/v1/memories?limit=5") for _ in ids))
            if method == "POST":
                return await asyncio.gather(*(http.post(f"/v1/memories/{one}/forget") for one in ids))
            return await asyncio.gather(*(http.delete(f"/v1/memories/{one}") for one in ids))

    replies = asyncio.run(send())
    if method != "DELETE":
        assert [reply.status_code for reply in replies] == [200] * many
        return
    # Beside so many others a rescan may meet what these are still writing: then the reply is 202, and the upkeep, which
    # comes once a minute, goes on with it.
    assert {reply.status_code for reply in replies} <= {200, 202}
    with httpx2.Client(base_url=base_url) as http:
        begun = {reply.json()["id"] for reply in replies}
        states: Counter[str] = Counter()
        deadline = time.monotonic() + 60
        while states["succeeded"] < many and time.monotonic() < deadline:
            run.service.erasures.resume(again=True)
            states = Counter(http.get(f"/v1/erasures/{one}").json()["state"] for one in begun)
        assert states == {"succeeded": many}
        assert http.get("/v1/memories?limit=5").json()["items"] == []
