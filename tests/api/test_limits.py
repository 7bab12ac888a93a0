"""What is checked before a route sees a request: its host, its origin, its size, its JSON; and what is logged of it."""

import asyncio
import contextlib
import http.client
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from recalld.core.config import Settings
from tests.api.conftest import Running, add, eventually, operations, problem

GOOD_HOSTS = [
    "localhost", "LOCALHOST", "LocalHost:7437", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:65535",
]  # fmt: skip
BAD_HOSTS = [
    "", "evil.example", "evil.example:7437", "localhost.evil.example", "127.0.0.1.evil.example", "localhost/evil",
    "evil.example@localhost", "localhost@evil.example", "localhost#", "localhost?x", "localhost.", "local host",
    "localhost:port", "localhost:", "localhost:1:2", "127.0.0.2", "127.1", "2130706433", "0x7f.0.0.1", "0.0.0.0",
    "[::]", "::1", "[::ffff:127.0.0.1]", "[::1", "::1]", "[localhost]", "*", "null",
    "localhost,evil.example", "xn--lcalhost-9fb",
]  # fmt: skip


def with_host(run: Running, host: str | None, **headers: str) -> Any:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    if host is not None:
        sent.append((b"host", host.encode()))
    return run.client().get("/healthz", headers=sent)


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_a_name_of_this_machine_is_served_with_any_port_and_in_any_case(run: Running, host: str) -> None:
    assert with_host(run, host).status_code == 200


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_any_other_name_is_refused_so_that_no_web_page_can_point_its_own_name_here(run: Running, host: str) -> None:
    reply = with_host(run, host)
    assert problem(reply) == (421, "misdirected_host", ["Host"])
    assert len(host) < 6 or host not in reply.text


def test_every_route_is_behind_the_guard_even_those_that_there_are_not(run: Running) -> None:
    evil = run.client(host="evil.example")
    for op in operations(run.app):
        assert problem(op.call(evil))[:2] == (421, "misdirected_host")
    for path in ("/openapi.json", "/docs", "/redoc", "/nothing"):
        assert problem(evil.get(path))[:2] == (421, "misdirected_host")


def test_without_a_host_nothing_is_served(run: Running) -> None:
    base = urlsplit(run.live())
    with socket.create_connection((base.hostname or "", base.port or 0)) as wire:
        wire.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b" 421 " in wire.recv(65_536)


def test_names_that_a_setting_adds_are_served_and_no_others(start: Callable[..., Running]) -> None:
    run = start(allowed_hosts=("Memory.Example", "other.example:8443", "[fe80::1]", "fe80::2"))
    served = {
        host: with_host(run, host).status_code
        for host in ("memory.example:7437", "MEMORY.example", "other.example", "[fe80::1]:80", "[FE80::2]", "a.example")
    }
    assert served == {**dict.fromkeys(served, 200), "a.example": 421}


@pytest.mark.parametrize(
    ("setting", "host", "status"),
    [
        ("192.0.2.7", "192.0.2.7:7437", 200),
        ("fe80::1", "[fe80::1]:7437", 200),
        ("memory.example", "memory.example", 200),
        ("0.0.0.0", "0.0.0.0:7437", 421),
        ("::", "[::]:7437", 421),
        ("127.0.0.1", "192.0.2.7", 421),
    ],
)
def test_the_address_that_it_listens_on_is_a_name_of_its_own_but_not_the_one_for_all_addresses(
    start: Callable[..., Running], setting: str, host: str, status: int
) -> None:
    assert with_host(start(host=setting), host).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:7437", 200),
        ("https://localhost:7437", 200),
        ("HTTP://LOCALHOST:7437/", 200),
        ("https://app.example", 200),
        ("https://App.Example/", 200),
        ("https://evil.example", 421),
        ("http://localhost", 421),
        ("http://localhost:3000", 421),
        ("http://127.0.0.1:7437", 421),
        ("https://app.example.evil.example", 421),
        ("https://app.example:444", 421),
        ("null", 421),
        ("", 421),
        ("file://", 421),
        ("localhost:7437", 421),
        ("http://localhost:7437@evil.example", 421),
    ],
)
def test_a_page_is_served_only_from_here_or_where_a_setting_says(
    start: Callable[..., Running], origin: str, status: int
) -> None:
    run = start(allowed_origins=("https://app.example",))
    reply = with_host(run, "localhost:7437", origin=origin)
    assert reply.status_code == status
    if status != 200:
        assert problem(reply)[2] == ["Origin"]


# --- the body


@pytest.fixture
def small(start: Callable[..., Running]) -> Running:
    """A server that takes a body of 2,000 bytes."""
    return start(body_bytes_max=2000)


def body_of(size: int) -> bytes:
    """A valid body of exactly `size` bytes."""
    head, tail = b'{"items":[{"text":"', b'"}]}'
    return head + b"a" * (size - len(head) - len(tail)) + tail


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_at_the_limit_is_taken_and_one_byte_more_is_not(small: Running, chunked: bool) -> None:
    sizes = {}
    for size in (2000, 2001, 100_000):
        content = pieces(body_of(size), 700) if chunked else body_of(size)
        sizes[size] = small.client().post("/v1/memories", content=content, headers={"Content-Type": "application/json"})
    assert sizes[2000].status_code == 201
    for size in (2001, 100_000):
        assert problem(sizes[size]) == (413, "too_large", ["body"])
        assert sizes[size].json()["errors"][0]["limit"] == 2000
    assert len(small.dump("memories")) == 1


def test_the_limit_holds_on_every_route(small: Running) -> None:
    for op in operations(small.app):
        # An import has a limit of its own.
        if op.method != "GET" and op.id != "import_memories":
            reply = op.call(small.client(), content=b" " * 2001, headers={"Content-Type": "application/json"})
            assert problem(reply)[:2] == (413, "too_large"), op.id
    assert small.dump() == []


async def through(run: Running, messages: list[Any], headers: dict[str, str]) -> tuple[list[Any], int]:
    """Send ASGI messages as they are; returns what came back and how many were read."""
    sent: list[Any] = []
    read = 0

    async def receive() -> Any:
        nonlocal read
        read += 1
        return messages[read - 1]

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/memories",
        "raw_path": b"/v1/memories",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in ({"host": "localhost"} | headers).items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7437),
    }
    await run.app(scope, receive, send)
    return sent, read


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_that_is_announced_too_large_is_not_read_at_all(small: Running) -> None:
    headers = {"content-type": "application/json", "content-length": "2001"}
    sent, read = asyncio.run(through(small, [part(b"a" * 2001, False)], headers))
    assert (sent[0]["status"], read) == (413, 0)


@pytest.mark.parametrize("announced", [None, "10", "-5", "0", "x", "2_000", "٣"])
def test_a_body_is_read_no_further_than_the_limit_whatever_it_announces(small: Running, announced: str | None) -> None:
    headers = {"content-type": "application/json"} | ({"content-length": announced} if announced else {})
    sent, read = asyncio.run(through(small, [part(b"a" * 500)] * 100, headers))
    assert (sent[0]["status"], read) == (413, 5)


def test_an_upload_that_is_given_up_writes_nothing_and_is_no_error_of_the_server(small: Running) -> None:
    messages = [part(body_of(300)[:100]), {"type": "http.disconnect"}]
    with capture_logs() as logs:
        sent, _ = asyncio.run(through(small, messages, {"content-type": "application/json"}))
    assert sent == []
    assert [(entry["event"], entry["status"]) for entry in logs] == [("request", 499)]
    assert small.dump() == []


def test_a_slow_upload_keeps_nobody_waiting_and_is_carried_out_in_the_end(run: Running) -> None:
    base = urlsplit(run.live())
    body = body_of(300)
    with contextlib.closing(http.client.HTTPConnection(base.hostname or "", base.port)) as slow:
        slow.putrequest("POST", "/v1/memories")
        slow.putheader("Content-Type", "application/json")
        slow.putheader("Content-Length", str(len(body)))
        slow.endheaders()
        for piece in pieces(body, 100):
            assert len(add(run.client(), "in between")) == 1
            slow.send(piece)
            time.sleep(0.02)
        with slow.getresponse() as reply:
            assert reply.status == 201
    assert len(run.dump("memories")) == 4


def test_a_connection_that_breaks_in_its_upload_writes_nothing(run: Running) -> None:
    base = urlsplit(run.live())
    with capture_logs() as logs:
        with socket.create_connection((base.hostname or "", base.port or 0)) as wire:
            head = b"POST /v1/memories HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            wire.sendall(head + b"Content-Length: 300\r\n\r\n" + body_of(300)[:150])
            time.sleep(0.05)
        eventually(lambda: bool(logs))
    assert [entry["status"] for entry in logs if entry["event"] == "request"] == [499]
    assert run.dump() == []


# --- JSON and the query


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8", "application/merge-patch+json"],
)
def test_json_is_taken_under_its_media_types(run: Running, content_type: str) -> None:
    reply = run.client().post("/v1/memories", content=body_of(100), headers={"Content-Type": content_type})
    assert reply.status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonl",
        "json",
        "text/json",
        "application/+jsonx",
    ],
)
def test_another_media_type_is_refused_so_that_no_web_form_can_write(run: Running, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    without_body = {"forget_memory", "restore_memory", "cancel_job", "retry_job", "undo_change"}
    # Where none is given, `call` sends the type that an import has.
    without_body |= {"import_memories"} if content_type is None else set()
    for op in operations(run.app):
        if op.method in ("POST", "PATCH") and op.id not in without_body:
            reply = op.call(run.client(), content=body_of(100), headers=headers)
            assert problem(reply) == (415, "unsupported_media", ["Content-Type"])
    assert run.dump() == []


def test_a_parameter_that_a_route_does_not_have_is_refused_not_passed_over(run: Running) -> None:
    memory_id = add(run.client(), "a note")[0]["id"]
    before = run.dump()
    openai = ("create_chat_completion", "create_embeddings", "list_models")
    for op in operations(run.app):
        for name in ("dry_run", "metadata", "metadata.", "Limit"):
            reply = op.call(run.client(), memory_id, params={name: "sesame"})
            if op.path.startswith("/v1/") and op.id not in (*openai, "get_stats"):
                assert problem(reply) == (422, "invalid_input", [name]), op.id
                assert "sesame" not in reply.text
    assert run.dump() == before


@pytest.mark.parametrize("raw", ["user_id=%ff", "text=%C3", "metadata.k=%ED%A0%80", "%FE=1"])
def test_a_query_that_is_not_utf8_is_refused_not_patched_up(run: Running, raw: str) -> None:
    assert problem(run.client().get(f"/v1/memories?{raw}")) == (422, "invalid_input", ["query"])


def test_a_path_that_is_not_utf8_is_refused(run: Running) -> None:
    assert problem(run.client().get("/v1/memories/%ff/history")) == (422, "invalid_input", ["path"])


# --- the log


def test_one_line_a_request_is_logged_with_nothing_of_its_content(run: Running) -> None:
    client = run.client()
    with capture_logs() as logs:
        memory_id = add(client, "sesame in the text", metadata={"k": "sesame"}, scope={"user_id": "sesame"})[0]["id"]
        client.get("/v1/memories?text=sesame&metadata.k=sesame&user_id=sesame")
        client.post("/v1/recall", json={"query": "sesame", "scope": {"user_id": "sesame"}})
        client.get(f"/v1/memories/{memory_id}")
        client.get("/sesame")
        client.put("/v1/recall")
    told = [(entry["method"], entry["route"], entry["status"]) for entry in logs]
    assert told == [
        ("POST", "/v1/memories", 201),
        ("GET", "/v1/memories", 200),
        ("POST", "/v1/recall", 200),
        ("GET", "/v1/memories/{memory_id}", 200),
        ("any", "unmatched", 404),
        ("any", "/v1/recall", 405),
    ]
    assert all(entry["took_ms"] >= 0 for entry in logs)
    assert "sesame" not in str(logs)
    assert memory_id not in str(logs)


def test_the_defaults_are_those_that_the_documentation_states() -> None:
    limits = Settings.model_fields
    stated = {"body_bytes_max": 16 << 20, "items_max": 1000, "list_limit_max": 500, "recall_limit_max": 100}
    assert {name: limits[name].default for name in stated} == stated
