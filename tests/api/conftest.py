"""A served application: in this process through `TestClient`, or on a port for clients that need one.

`SAMPLES` holds a valid request for each operation, so that a test can go over all of them; `test_openapi.py` fails when
a route has none, and so none can be forgotten.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from memory.transfer import LineWriter, Moved
from recalld.bootstrap import Parts, Service
from recalld.core import access
from recalld.core.access import DEFAULT_NAMESPACE
from recalld.core.config import load_settings
from recalld.core.scope import Scope
from tests.conftest import NOW, SerialIds, SetClock, make_memory

Json = dict[str, Any]

PUBLIC = {"get_health", "get_readiness", "get_metrics"}
"""Operations that need no key."""
READS = {
    *(
        "list_memories",
        "get_memory",
        "list_versions",
        "list_sources",
        "list_derived",
        "recall",
        "context",
        "session_state",
    ),
    *("create_chat_completion", "create_embeddings", "list_models", "get_stats", "get_erasure", "export_memories"),
    *("list_jobs", "get_job", "job_events"),
    *("list_facts", "list_changes", "list_episodes", "get_workspace", "find_procedures"),
}
"""Operations that a read-only key may call. Every other one is a write."""
SAMPLES: dict[str, Json | None] = {
    **dict.fromkeys(sorted(PUBLIC | READS)),
    **dict.fromkeys(("erase_memory", "forget_memory", "restore_memory", "cancel_job", "retry_job", "undo_change")),
    "consolidate": {},
    "find_procedures": {"task": "a sample"},
    "add_memories": {"items": [{"text": "a sample"}]},
    "update_memory": {"text": "another sample"},
    "recall": {"query": "a sample"},
    "context": {"query": "a sample"},
    "create_chat_completion": {"messages": [{"role": "user", "content": "a sample"}]},
    "create_embeddings": {"input": "a sample"},
    "import_memories": None,
    "erase_memories": {"ids": ["mem_x"]},
    "give_feedback": {"recall_id": "rec_x", "memory_id": "mem_x", "useful": True},
}
EXPORTED = b"".join(
    [(writer := LineWriter()).header("default", NOW, None), writer.memory(Moved(make_memory(7_000_000))), writer.end()]
)
"""A valid file for an import: one memory."""


@dataclass(frozen=True)
class Operation:
    """One operation of the OpenAPI document."""

    id: str
    method: str
    path: str

    def call(
        self,
        client: TestClient,
        memory_id: str = "mem_x",
        job_id: str = "job_x",
        erasure_id: str = "era_x",
        change_id: str = "chg_x",
        session_id: str = "s",
        **request: Any,
    ) -> httpx2.Response:
        """Send its sample, or what `request` says instead."""
        if self.id == "import_memories":
            request.setdefault("content", EXPORTED)
            request["headers"] = {"Content-Type": "application/x-ndjson", **request.get("headers", {})}
        elif SAMPLES[self.id] is not None and not {"json", "content"} & request.keys():
            request["json"] = SAMPLES[self.id]
        path = self.path.replace("{memory_id}", memory_id).replace("{job_id}", job_id)
        path = path.replace("{erasure_id}", erasure_id).replace("{change_id}", change_id)
        path = path.replace("{session_id}", quote(session_id, safe=""))
        return client.request(self.method, path, **request)


def operations(app: FastAPI) -> list[Operation]:
    """Every operation, as the OpenAPI document lists them."""
    return [
        Operation(operation["operationId"], method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]


@dataclass
class Running:
    """A service behind its application."""

    service: Service
    app: FastAPI
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def client(self, key: str | None = None, peer: str = "127.0.0.1", host: str = "127.0.0.1") -> TestClient:
        """A client that shares the running application; it sends `key` and comes from `peer`."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return TestClient(
            self.app,
            base_url=f"http://{host}",
            client=(peer, 50_000),
            headers=headers,
            raise_server_exceptions=False,
            follow_redirects=False,
        )

    def key(self, namespace: str = DEFAULT_NAMESPACE, expires_at: datetime | None = None, **bound: Any) -> str:
        """Make a key; `read_only`, and the scope that it is bound to."""
        read_only = bound.pop("read_only", False)
        with self.service.database.write() as connection:
            return access.create_key(
                connection, namespace, self.service.clock, self.service.ids, Scope(**bound), read_only, expires_at
            )[1]

    def live(self) -> str:
        """Serve on a free port until the test is over; returns the base URL."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        config = uvicorn.Config(
            self.app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join()

        self.closing.callback(stop)
        eventually(lambda: server.started)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    def dump(self, *tables: str) -> list[tuple[Any, ...]]:
        """Everything in the tables, for "nothing was written"."""
        with self.service.database.read() as connection:
            return [
                (table, *row)
                for table in tables
                or ("memories", "versions", "outbox", "changes", "feedback", "idempotency_keys", "jobs")
                for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1, 2")
            ]


@contextlib.contextmanager
def running(service: Service) -> Iterator[Running]:
    """The application over `service`, started as a server starts it."""
    app = create_app(service)
    with TestClient(app), contextlib.ExitStack() as closing:
        yield Running(service, app, closing)


@contextlib.contextmanager
def running_in(folder: Path, parts: Parts | None = None, **settings: Any) -> Iterator[Running]:
    """The same over a new service in `folder`: for what many tests share."""
    given = {"data_dir": folder / "data", "models_dir": folder / "models", "encoder": "hash", "llm": "none"}
    service = Service(load_settings(**(given | {"worker": False} | settings)), parts or Parts())
    with running(service) as run:
        yield run


@pytest.fixture
def run(make_service: Callable[..., Service]) -> Iterator[Running]:
    """A running service in local mode, its clock standing still and its worker not running."""
    with running(make_service(worker=False)) as run:
        yield run


@pytest.fixture
def client(run: Running) -> TestClient:
    """A client on loopback, without a key."""
    return run.client()


@pytest.fixture
def start(make_service: Callable[..., Service], clock: SetClock, ids: SerialIds) -> Iterator[Callable[..., Running]]:
    """Starts a service with other settings or parts."""
    with contextlib.ExitStack() as stack:

        def start(parts: Parts | None = None, **settings: Any) -> Running:
            given = parts or Parts()
            own = replace(given, clock=given.clock or clock, ids=given.ids or ids)
            return stack.enter_context(running(make_service(own, **({"worker": False} | settings))))

        yield start


def add(client: TestClient, *texts: str, **fields: Any) -> list[Json]:
    """Add memories with these texts; returns them."""
    reply = client.post("/v1/memories", json={"items": [{"text": text} | fields for text in texts]})
    assert reply.status_code == 201, reply.text
    items: list[Json] = reply.json()["items"]
    return items


def problem(reply: httpx2.Response) -> tuple[int, str, list[str]]:
    """Status, code and the names of the wrong fields of an RFC 9457 reply; checks its form."""
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    body = reply.json()
    assert body.keys() == {"type", "title", "status", "detail", "code", "retryable", "errors"}
    assert (body["status"], body["type"]) == (reply.status_code, f"urn:recalld:error:{body['code']}")
    assert all(wrong.keys() == {"field", "message", "limit"} for wrong in body["errors"])
    return reply.status_code, body["code"], [wrong["field"] for wrong in body["errors"]]


def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until it holds."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.005)
