"""The remote model against a real HTTP server in a thread, which sends what each test scripts, byte for byte."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from recalld.core.errors import ConfigError, InvalidInput, RecalldError, Unavailable, UpstreamError
from recalld.llm.ports import ChatMessage, Chunk, GenerationSettings, Usage
from recalld.llm.remote import OpenAICompatibleModel, RetryPolicy

SECRET = "the wardrobe key is under the blue pot"
HELLO = [ChatMessage("system", "Be brief."), ChatMessage("user", SECRET)]
DONE = b"data: [DONE]\n\n"


def event(text: str | None = None, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    payload = json.dumps({"object": "chat.completion.chunk", "choices": [choice]}, ensure_ascii=False)
    return f"data: {payload}\n\n".encode()


class Far:
    """A server that answers each request with the next script: a status, headers and pieces of body.

    Attributes:
        requests: path, headers and body of each request.
        clean: whether a body is ended as HTTP asks for, or by cutting the connection.
    """

    def __init__(self) -> None:
        self.scripts: list[tuple[int, dict[str, str], list[bytes]]] = []
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.clean = True
        self.gate: threading.Event | None = None
        self.broken = threading.Event()
        far = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                far.requests.append((self.path, dict(self.headers), body))
                status, headers, pieces = far.scripts.pop(0)
                self.send_response(status)
                for name, value in ({"Content-Type": "text/event-stream"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Transfer-Encoding", "chunked")
                self.send_header("Connection", "close")
                self.end_headers()
                try:
                    for piece in pieces:
                        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                        self.wfile.flush()
                        if far.gate is not None:
                            far.gate.wait(10)
                    if far.clean:
                        self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    far.broken.set()
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self) -> None:
        if self.gate is not None:
            self.gate.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def far() -> Iterator[Far]:
    server = Far()
    yield server
    server.close()


@pytest.fixture
def waits() -> list[float]:
    """How long the model slept before each further request."""
    return []


@pytest.fixture
def make(far: Far, waits: list[float]) -> Iterator[Callable[..., OpenAICompatibleModel]]:
    made: list[OpenAICompatibleModel] = []

    def model(**changes: Any) -> OpenAICompatibleModel:
        arguments: dict[str, Any] = {
            "base_url": far.url,
            "model": "small",
            "api_key": "sk-very-secret",
            "timeout_s": 5,
            "context_tokens_max": 4096,
            "counter": lambda text: len(text.split()),
            "counter_name": "words",
            "sleep": waits.append,
        }
        made.append(OpenAICompatibleModel(**(arguments | changes)))
        return made[-1]

    yield model
    for each in made:
        each.close()


def say(model: OpenAICompatibleModel, **settings: Any) -> list[Chunk]:
    return list(model.generate(HELLO, GenerationSettings(**settings)))


def test_a_stream_becomes_chunks_and_the_servers_usage(far: Far, make: Any) -> None:
    usage = {
        "choices": [],
        "usage": {"prompt_tokens": 31, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 16}},
    }
    pieces = [b": a comment\n\n", event(""), event("It "), event("rains."), event(finish="stop")]
    far.scripts = [(200, {}, [*pieces, f"data: {json.dumps(usage)}\n\n".encode(), DONE])]
    assert say(make()) == [Chunk("It "), Chunk("rains."), Chunk("", "stop", Usage(31, 2, 16))]


def test_the_request_is_what_the_interface_asks_for(far: Far, make: Any) -> None:
    far.scripts = [(200, {}, [event("x", "length"), DONE])]
    say(make(), tokens_max=7, temperature=0.5, top_p=0.9, top_k=40, seed=3, stop=("a", "b", "c", "d", "e"))
    path, headers, body = far.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer sk-very-secret"
    assert body == {
        "model": "small",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SECRET}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "seed": 3,
        "stop": ["a", "b", "c", "d"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_defaults_are_not_sent_and_no_key_means_no_header(far: Far, make: Any) -> None:
    far.scripts = [(200, {}, [event("x", "stop")])]
    say(make(api_key=None))
    _, headers, body = far.requests[0]
    assert "Authorization" not in headers
    assert not {"top_k", "seed", "stop"} & set(body)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_frames_and_characters_may_be_cut_anywhere(far: Far, make: Any, size: int) -> None:
    whole = event("naïve ") + event("日本 👩‍👩‍👧") + event("!\n", "stop").replace(b"\n\n", b"\r\n\r\n") + DONE
    far.scripts = [(200, {}, [whole[start : start + size] for start in range(0, len(whole), size)])]
    chunks = say(make())
    assert [chunk.text for chunk in chunks] == ["naïve ", "日本 👩‍👩‍👧", "!\n", ""]
    assert chunks[-1].finish_reason == "stop"


def test_without_the_servers_usage_the_counter_counts(far: Far, make: Any) -> None:
    far.scripts = [(200, {}, [event("one two"), event(" three", "length"), DONE])]
    model = make()
    assert say(model)[-1] == Chunk("", "length", Usage(model.count_prompt_tokens(HELLO), 3))
    assert (model.count_tokens("a b c"), model.tokenizer_name, model.name) == (3, "words", "small")
    # 2 + 8 words, 3 a message, 3 for the reply.
    assert model.count_prompt_tokens(HELLO) == 19


def test_a_stop_string_is_found_across_chunks_whatever_the_server_does(far: Far, make: Any) -> None:
    far.scripts = [(200, {}, [event("abc EN"), event("D and more"), event(finish="stop"), DONE])]
    assert [(chunk.text, chunk.finish_reason) for chunk in say(make(), stop=("END",))] == [("abc ", None), ("", "stop")]


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, UpstreamError, "status 400, bad_thing"),
        (401, UpstreamError, "refused the configured key"),
        (404, UpstreamError, "no such route or model"),
        (500, UpstreamError, "failed (status 500, bad_thing)"),
        (307, UpstreamError, "failed (status 307"),
    ],
)
def test_an_error_status_is_one_clear_error_without_a_retry(
    far: Far, make: Any, waits: list[float], status: int, error: type[RecalldError], words: str
) -> None:
    body = json.dumps({"error": {"message": SECRET, "type": "x", "code": "bad_thing"}}).encode()
    far.scripts = [(status, {"Content-Type": "application/json", "Location": far.url}, [body])]
    with pytest.raises(error) as raised:
        say(make())
    assert words in raised.value.detail
    assert SECRET not in repr(raised.value)
    assert (len(far.requests), waits) == (1, [])


@pytest.mark.parametrize(
    "body", [b"", b"not json", b'{"error": "text"}', b'["error"]', b'{"error": {"code": "Two words"}}']
)
def test_an_error_status_with_any_body_is_still_that_error(far: Far, make: Any, body: bytes) -> None:
    far.scripts = [(500, {}, [body] if body else [])]
    with pytest.raises(UpstreamError, match=r"failed \(status 500\)"):
        say(make())


def test_a_context_too_long_for_the_server_is_the_callers_input(far: Far, make: Any) -> None:
    far.scripts = [(400, {}, [b'{"error": {"code": "context_length_exceeded", "message": "..."}}'])]
    with pytest.raises(InvalidInput, match="context of 4096 tokens") as raised:
        say(make())
    assert raised.value.fields[0].field == "messages"


def test_a_prompt_longer_than_the_context_is_not_sent(far: Far, make: Any) -> None:
    with pytest.raises(InvalidInput, match="context of 19 tokens"):
        make(context_tokens_max=19).generate(HELLO, GenerationSettings())
    assert far.requests == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_with_growing_waits(far: Far, make: Any, waits: list[float], status: int) -> None:
    far.scripts = [(status, {}, [b"{}"]), (status, {}, [b"{}"]), (200, {}, [event("yes", "stop"), DONE])]
    assert say(make())[0] == Chunk("yes")
    assert waits == [0.5, 1.0]


def test_the_servers_wait_goes_before_ours_and_too_long_a_one_ends_it(far: Far, make: Any, waits: list[float]) -> None:
    busy = [(429, {"Retry-After": "2"}, [b"{}"]), (429, {"Retry-After": "3600"}, [b"{}"])]
    far.scripts = list(busy)
    with pytest.raises(Unavailable, match="busy"):
        say(make())
    assert waits == [2.0]


def test_a_server_that_stays_busy_is_given_up(far: Far, make: Any, waits: list[float]) -> None:
    far.scripts = [(503, {}, [b"{}"])] * 5
    with pytest.raises(Unavailable, match=r"busy \(status 503\)"):
        say(make(retry=RetryPolicy(attempts_max=4, delay_s=3, delay_s_max=5)))
    assert (len(far.requests), waits) == (4, [3, 5, 5])


def test_a_server_that_is_not_there_is_unavailable_after_retries(make: Any, waits: list[float]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Unavailable, match="cannot be reached"):
            say(make(base_url=f"http://127.0.0.1:{port}/v1"))
    assert waits == [0.5, 1.0]


def test_a_server_that_hangs_up_before_a_reply_is_asked_again(make: Any, waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            for _ in range(3):
                listening.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Unavailable, match="cannot be reached"):
            say(make(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1"))
        thread.join()
    assert waits == [0.5, 1.0]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([event("half"), b"data: {not json}\n\n"], "not a completion chunk"),
        ([event("half"), b"data: [1, 2]\n\n"], "not a completion chunk"),
        ([event("half"), b'data: {"choices": "none"}\n\n'], "not a completion chunk"),
        ([event("half"), b'data: {"error": {"message": "out of memory"}}\n\n'], "reported an error"),
        ([event("half"), b"event: error\ndata: {}\n\n"], "reported an error"),
        ([event("half")], "ended before it was complete"),
        ([event("half"), DONE], "ended before it was complete"),
        ([event("half"), event(finish="content_filter"), DONE], "ended its reply with content_filter"),
    ],
)
def test_a_stream_that_goes_wrong_is_an_error_after_what_came_before(
    far: Far, make: Any, waits: list[float], pieces: list[bytes], words: str
) -> None:
    far.scripts = [(200, {}, pieces)]
    chunks = make().generate(HELLO, GenerationSettings())
    assert next(chunks) == Chunk("half")
    with pytest.raises(UpstreamError, match=words):
        list(chunks)
    assert waits == []


def test_a_connection_that_drops_is_an_error_and_not_a_short_reply(far: Far, make: Any, waits: list[float]) -> None:
    far.clean = False
    far.scripts = [(200, {}, [event("half a")])]
    chunks = make().generate(HELLO, GenerationSettings())
    assert next(chunks) == Chunk("half a")
    with pytest.raises(UpstreamError, match="broke off"):
        list(chunks)
    assert (len(far.requests), waits) == (1, [])


@pytest.mark.parametrize("content_type", ["application/json", "text/html; charset=utf-8"])
def test_a_reply_that_is_no_event_stream_is_an_error(far: Far, make: Any, content_type: str) -> None:
    far.scripts = [(200, {"Content-Type": content_type}, [b"<html>"])]
    with pytest.raises(UpstreamError, match="broke off"):
        say(make())


def test_a_silent_server_is_an_error(far: Far, make: Any) -> None:
    far.gate = threading.Event()
    far.scripts = [(200, {}, [event("half")])]
    chunks = make(timeout_s=0.2).generate(HELLO, GenerationSettings())
    assert next(chunks) == Chunk("half")
    with pytest.raises(UpstreamError, match="silent for too long"):
        list(chunks)


def test_closing_the_iterator_closes_the_connection(far: Far, make: Any) -> None:
    far.gate = threading.Event()
    far.scripts = [(200, {}, [event("first")] + [event("x" * 60_000)] * 200)]
    chunks = make().generate(HELLO, GenerationSettings())
    assert next(chunks) == Chunk("first")
    chunks.close()
    far.gate.set()
    assert far.broken.wait(10)


def test_the_environments_proxy_is_not_used(far: Far, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    far.scripts = [(200, {}, [event("yes", "stop"), DONE])]
    assert say(make())[0] == Chunk("yes")


def test_neither_content_nor_key_is_logged(far: Far, make: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    far.scripts = [(200, {}, [event("a private reply", "stop"), DONE]), (500, {}, [SECRET.encode()])]
    model = make()
    say(model)
    with pytest.raises(UpstreamError):
        say(model)
    assert "chat/completions" in caplog.text
    for private in (SECRET, "a private reply", "sk-very-secret"):
        assert private not in caplog.text
        assert private not in repr(model)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080/v1", "ftp://host/v1", "http://"])
def test_a_base_url_that_is_no_address_is_refused(make: Any, url: str) -> None:
    with pytest.raises(ConfigError, match="base URL"):
        make(base_url=url)
