"""A small recalld in memory, and a driver that runs one test against both clients.

`FakeRecalld` answers as API.md says, by rules simple enough to check by eye. It stands behind `httpx2.MockTransport`
or, for what only sockets can do (a refused or cut connection), behind a threaded HTTP server.
"""

import asyncio
import inspect
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from recalld_client import AsyncChatStream, AsyncRecalld, AsyncScope, ChatStream, Recalld, RetrySettings, Scope

AT = "2026-03-14T09:00:00Z"
NO_WAIT = RetrySettings(backoff_s=0.0)
FIELDS = ("text", "kind", "role", "speaker", "occurred_at", "external_id", "metadata", "expires_at", "frame")


def problem(
    status: int, code: str, detail: str, errors: list[Any] | None = None, retryable: bool = False
) -> httpx2.Response:
    body = {"type": f"urn:recalld:error:{code}", "title": code, "status": status, "detail": detail, "code": code}
    return httpx2.Response(
        status,
        json=body | {"retryable": retryable, "errors": errors or []},
        headers={"content-type": "application/problem+json"},
    )


def event_stream(events: list[dict[str, Any]], end: str = "data: [DONE]\n\n") -> httpx2.Response:
    lines = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events) + end
    return httpx2.Response(200, content=lines.encode(), headers={"content-type": "text/event-stream"})


class FakeRecalld:
    """Called with a request, gives the response.

    Attributes:
        requests: everything that arrived.
        script: what happens instead of the next answers: an exception, a response, or LOST; None for nothing.
    """

    LOST = "the work is done and its answer is lost"
    problem = staticmethod(problem)
    event_stream = staticmethod(event_stream)

    def __init__(self) -> None:
        self.versions: dict[str, list[dict[str, Any]]] = {}
        self.votes: dict[tuple[str, str], bool | None] = {}
        self.kept: dict[str, tuple[bytes, httpx2.Response]] = {}
        self.requests: list[httpx2.Request] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.script: deque[Exception | httpx2.Response | str | None] = deque()
        self.lock = threading.Lock()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        with self.lock:
            self.requests.append(request)
            happens = self.script.popleft() if self.script else None
            if isinstance(happens, Exception):
                raise happens
            if isinstance(happens, httpx2.Response):
                return happens
            response = self._once(request)
            if happens == self.LOST:
                raise httpx2.ReadError("connection reset by peer")
            return response

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) if request.content else None for request in self.requests]

    @property
    def memories(self) -> list[dict[str, Any]]:
        return [versions[-1] for versions in self.versions.values()]

    def _once(self, request: httpx2.Request) -> httpx2.Response:
        key = request.headers.get("idempotency-key")
        if key in self.kept:
            body, response = self.kept[key]
            if body != request.content:
                return problem(409, "conflict", "Idempotency-Key: it was used for another request")
        else:
            response = self._answer(request)
            if key is not None and response.status_code < 400:
                self.kept[key] = (request.content, response)
        return httpx2.Response(response.status_code, headers=response.headers, content=response.content)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else {}
        match (request.method, *request.url.path.strip("/").split("/")):
            case ("POST", "v1", "memories"):
                return self._add(body["items"])
            case ("GET", "v1", "memories"):
                return self._page(list(reversed(self._seen(dict(request.url.params)))), request)
            case (method, "v1", "memories", memory_id, *rest):
                if memory_id not in self.versions:
                    return problem(404, "not_found", "no memory has this id")
                return self._one(method, memory_id, rest, body, request)
            case ("GET", "v1", "episodes"):
                return self._page(self._seen(dict(request.url.params) | {"kind": "episode"}), request)
            case ("GET", "v1", "workspace"):
                told = self._seen(dict(request.url.params) | {"kind": "episode"})
                standings = [
                    {"actor": actor["name"], "place": {"value": each["frame"]["place"]}, "last": each["frame"]}
                    for each in told
                    for actor in each["frame"]["actors"]
                ]
                return self._page(standings, request)
            case ("POST", "v1", "procedures"):
                return httpx2.Response(200, json=self._procedures(body))
            case ("POST", "v1", "recall"):
                return httpx2.Response(200, json=self._recall(body["query"], body.get("scope", {}), body["limit"]))
            case ("POST", "v1", "feedback"):
                self.votes[body["recall_id"], body["memory_id"]] = body["useful"]
                given = [vote for (_, memory_id), vote in self.votes.items() if memory_id == body["memory_id"]]
                votes = {"useful": given.count(True), "useless": given.count(False)}
                return httpx2.Response(200, json=body | {"votes": votes})
            case ("POST", "v1", "consolidations"):
                return httpx2.Response(202, json=self._job(f"job_{len(self.jobs)}", "queued"))
            case ("GET", "v1", "jobs"):
                wanted = request.url.params.get_list("state") or [each["state"] for each in self.jobs.values()]
                found = [each for each in reversed(self.jobs.values()) if each["state"] in wanted]
                return httpx2.Response(200, json={"items": found, "next_cursor": None})
            case (method, "v1", "jobs", job_id, *rest):
                if job_id not in self.jobs:
                    return problem(404, "not_found", "no job has this id")
                return self._of_job(job_id, rest, request)
            case ("POST", "v1", "context"):
                return httpx2.Response(200, json=self._context(body))
            case ("GET", "v1", "sessions", session_id, "state"):
                return httpx2.Response(200, json=self._state(dict(request.url.params) | {"session_id": session_id}))
            case ("POST", "v1", "chat", "completions"):
                return self._chat(body)
            case ("POST", "v1", "embeddings"):
                vectors = [{"index": at, "embedding": [len(text), at]} for at, text in enumerate(body["input"])]
                return httpx2.Response(200, json={"object": "list", "data": vectors[::-1], "model": "letters"})
            case ("GET", "v1", "stats"):
                return httpx2.Response(200, json={"namespace": "default", "memories": {"active": len(self.versions)}})
            case ("GET", "healthz"):
                return httpx2.Response(200, json={"status": "ok", "version": "0.1.0"})
            case ("GET", "readyz"):
                return httpx2.Response(200, json={"status": "ready", "checks": {"index": "ok"}})
        return problem(404, "not_found", "no such route")

    def _state(self, scope: dict[str, str]) -> dict[str, Any]:
        last = self._seen(scope)[-1:]
        ids = [each["id"] for each in last]
        entries = [{"slot": "recent", "text": each["text"], "memory_ids": ids} for each in last]
        text = "".join(f"recent: {each['text']}\n" for each in last)
        told = {"text": text, "entries": entries, "memory_ids": ids, "tokens": len(text.split()), "tokenizer": "words"}
        return told | {"scope": scope, "updated_at": AT if last else None}

    def _add(self, items: list[dict[str, Any]]) -> httpx2.Response:
        for at, item in enumerate(items):
            if not item.get("text"):
                wrong = {"field": f"items.{at}.text", "message": "must hold 1 to 65536 bytes", "limit": 65536}
                return problem(422, "invalid_input", "1 field is wrong", [wrong])
        added = []
        for item in items:
            memory = {name: item.get(name) for name in FIELDS} | {
                "kind": item.get("kind", "turn"),
                "metadata": item.get("metadata", {}),
                "scope": {"user_id": None, "agent_id": None, "session_id": None} | item.get("scope", {}),
                "id": f"mem_{len(self.versions):03}",
                "namespace": "default",
                "version": 1,
                "state": "active",
                "created_at": AT,
                "recorded_at": AT,
                "sources": [],
                "deriver": None,
            }
            self.versions[memory["id"]] = [memory]
            added.append(memory)
        return httpx2.Response(201, json={"items": added})

    def _one(
        self, method: str, memory_id: str, rest: list[str], body: dict[str, Any], request: httpx2.Request
    ) -> httpx2.Response:
        versions = self.versions[memory_id]
        match (method, *rest):
            case ("GET",):
                return httpx2.Response(200, json=versions[-1])
            case ("DELETE",):
                del self.versions[memory_id]
                removed = {"memories": 1, "versions": len(versions)}
                receipt = {"id": "era_1", "state": "succeeded", "removed": removed, "memory_ids": [memory_id]}
                return httpx2.Response(200, json=receipt | {"erased_at": AT, "rescan": None, "digest": "ab"})
            case ("PATCH",):
                if request.headers.get("if-match", f'"{len(versions)}"') != f'"{len(versions)}"':
                    return problem(412, "precondition_failed", "If-Match: it is another version by now")
                return self._version(memory_id, body)
            case ("POST", "forget"):
                return self._version(memory_id, {"state": "forgotten"})
            case ("POST", "restore"):
                return self._version(memory_id, {"state": "active"})
            case ("GET", "history"):
                return self._page(versions[::-1], request)
            case ("GET", "sources"):
                return self._page([each for each in self.memories if each["id"] in versions[-1]["sources"]], request)
            case ("GET", "derived"):
                return self._page([each for each in self.memories if memory_id in each["sources"]], request)
        return problem(404, "not_found", "no such route")

    def _job(self, job_id: str, state: str) -> dict[str, Any]:
        revision = self.jobs.get(job_id, {}).get("revision", 0) + 1
        told = {"id": job_id, "task": "consolidate", "state": state, "created_at": AT, "revision": revision}
        self.jobs[job_id] = told
        return told

    def _of_job(self, job_id: str, rest: list[str], request: httpx2.Request) -> httpx2.Response:
        match rest:
            case ["cancel"]:
                return httpx2.Response(200, json=self._job(job_id, "cancelled"))
            case ["retry"]:
                if self.jobs[job_id]["state"] != "cancelled":
                    return problem(409, "conflict", "only a failed or cancelled job can be retried")
                return httpx2.Response(200, json=self._job(job_id, "queued"))
            case ["events"]:
                seen = int(request.headers["last-event-id"])
                told = [self.jobs[job_id], self._job(job_id, "running"), self._job(job_id, "succeeded")]
                lines = [f"event: job\ndata: {json.dumps(each)}\n\n" for each in told if each["revision"] > seen]
                headers = {"content-type": "text/event-stream"}
                return httpx2.Response(200, headers=headers, content="".join([": recalld\n\n", *lines]).encode())
        return httpx2.Response(200, json=self.jobs[job_id])

    def _version(self, memory_id: str, changes: dict[str, Any]) -> httpx2.Response:
        versions = self.versions[memory_id]
        versions.append(versions[-1] | changes | {"version": len(versions) + 1})
        return httpx2.Response(200, json=versions[-1])

    def _seen(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        scope = {name: wanted[name] for name in ("user_id", "agent_id", "session_id") if name in wanted}
        return [
            memory
            for memory in self.memories
            if memory["state"] == wanted.get("state", "active")
            and memory["kind"] == wanted.get("kind", memory["kind"])
            and all(memory["scope"][name] == value for name, value in scope.items())
        ]

    def _page(self, memories: list[dict[str, Any]], request: httpx2.Request) -> httpx2.Response:
        start = int(request.url.params.get("cursor", "0"))
        end = start + int(request.url.params["limit"])
        following = str(end) if end < len(memories) else None
        return httpx2.Response(200, json={"items": memories[start:end], "next_cursor": following})

    def _recall(self, query: str, scope: dict[str, str], limit: int) -> dict[str, Any]:
        words = set(query.lower().strip("?").split())
        found = [(len(words & set(each["text"].lower().strip(".").split())), each) for each in self._seen(scope)]
        best = sorted((pair for pair in found if pair[0]), key=lambda pair: -pair[0])[:limit]
        results = [{"memory": each, "score": n, "relevance": n / len(words), "signals": {}} for n, each in best]
        return {"recall_id": "rec_1", "results": results, "relevant": bool(best), "pending": 0, "took_ms": 1.5}

    def _procedures(self, body: dict[str, Any]) -> dict[str, Any]:
        found = self._seen(body.get("scope", {}) | {"kind": "procedure"})[: body["limit"]]
        given = body.get("parameters", {})
        results = [
            {"memory": each, "score": 1, "relevance": 0.5, "ready": bool(given), "extra": list(given), **each["frame"]}
            for each in found
        ]
        return {"recall_id": "rec_1", "results": results, "relevant": bool(found), "pending": 0, "took_ms": 1.5}

    def _context(self, body: dict[str, Any]) -> dict[str, Any]:
        recall = self._recall(body["query"], body.get("scope", {}), body.get("limit", 50))
        texts = [(hit["memory"]["id"], hit["memory"]["text"]) for hit in recall["results"]]
        blocks = [{"text": text, "memory_ids": [each], "tokens": len(text.split())} for each, text in texts]
        return {
            "text": "\n".join(text for _, text in texts),
            "blocks": blocks,
            "tokens": sum(block["tokens"] for block in blocks),
            "tokenizer": "words",
            **{name: recall[name] for name in ("recall_id", "relevant", "pending")},
        }

    def _chat(self, body: dict[str, Any]) -> httpx2.Response:
        asked = body["messages"][-1]["content"]
        scope = body["recalld"].get("scope")
        hits = self._recall(asked, scope, 3)["results"] if scope and body["recalld"]["recall"] else []
        text = " ".join(hit["memory"]["text"] for hit in hits) or "I do not know."
        cited = [{"memory_id": hit["memory"]["id"], "text": hit["memory"]["text"]} for hit in hits]
        memory = {"citations": cited, "recall_id": "rec_1" if scope else None, "timings": {"first_token_ms": 3.0}}
        usage = {"prompt_tokens": 5, "completion_tokens": len(text.split()), "total_tokens": 5 + len(text.split())}
        base = {"id": "chat_1", "model": "parrot", "created": 1}
        if not body.get("stream"):
            message = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return httpx2.Response(200, json=base | {"choices": [message], "usage": usage, "recalld": memory})
        pieces = [{"role": "assistant"}, *({"content": f"{word} "} for word in text.split())]
        events = [base | {"choices": [{"index": 0, "delta": each, "finish_reason": None}]} for each in pieces]
        events.append(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "recalld": memory})
        return event_stream([*events, base | {"choices": [], "usage": usage}])


class Driven:
    """A client or scope of either kind, used as if it were sync; what it iterates over comes as a list."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self.target = target
        self.runner = runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.target, name)
        return lambda *arguments, **named: self._settled(method(*arguments, **named))

    def __repr__(self) -> str:
        return repr(self.target)

    def _settled(self, result: Any) -> Any:
        if inspect.iscoroutine(result):
            return self.runner.run(result)
        if isinstance(result, Scope | AsyncScope):
            return Driven(result, self.runner)
        if isinstance(result, ChatStream | AsyncChatStream):
            return self._read(result), result.reply
        return self._read(result)

    def _read(self, result: Any) -> list[Any]:
        if not hasattr(result, "__aiter__"):
            return list(result) if isinstance(result, Iterator) else result

        async def read() -> list[Any]:
            return [each async for each in result]

        return self.runner.run(read())


class Connect:
    """Makes clients of one kind and closes them at the end of the test."""

    def __init__(self, kind: str, fake: FakeRecalld) -> None:
        self.kind = kind
        self.fake = fake
        self.runner = asyncio.Runner()
        self.made: list[Driven] = []

    def __call__(self, url: str | None = None, *, real: bool = False, **named: Any) -> Driven:
        named = {"retry": NO_WAIT} | ({} if real else {"transport": httpx2.MockTransport(self.fake)}) | named
        made = Driven((Recalld if self.kind == "sync" else AsyncRecalld)(url, **named), self.runner)
        self.made.append(made)
        return made

    def close(self) -> None:
        for each in self.made:
            each.close()
        self.runner.close()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECALLD_URL", raising=False)
    monkeypatch.delenv("RECALLD_API_KEY", raising=False)


@pytest.fixture
def fake() -> FakeRecalld:
    return FakeRecalld()


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, fake: FakeRecalld) -> Iterator[Connect]:
    made = Connect(request.param, fake)
    yield made
    made.close()


@pytest.fixture
def client(connect: Connect) -> Driven:
    return connect()


@contextmanager
def serving(fake: FakeRecalld) -> Iterator[str]:
    """The fake behind a socket; where it raises, the connection is cut without an answer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", "0")))
            try:
                response = fake(
                    httpx2.Request(self.command, f"http://fake{self.path}", headers=dict(self.headers), content=content)
                )
            except httpx2.RequestError:
                self.close_connection = True
                return
            self.send_response(response.status_code)
            for name in ("content-type", "retry-after"):
                if name in response.headers:
                    self.send_header(name, response.headers[name])
            self.send_header("content-length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        # Room for all that connect at once: the kernel makes those it drops wait a second.
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def server(fake: FakeRecalld) -> Iterator[str]:
    with serving(fake) as url:
        yield url
