"""Streamed answers: the pieces, the whole, and that half an answer is never taken for a whole one."""

import asyncio

import httpx2
import pytest

from recalld_client import (
    AsyncRecalld,
    ConnectionFailed,
    Recalld,
    RecalldError,
    ServerError,
    ServiceUnavailable,
    TimedOut,
    UnexpectedReply,
)

CHUNK = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "half"}, "finish_reason": None}]}


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A reply's bytes, and whether it was closed; an exception among them is raised."""

    def __init__(self, *parts):
        self.parts = parts
        self.closed = False

    def __iter__(self):
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part

    async def __aiter__(self):
        for part in self:
            yield part

    def close(self):
        self.closed = True

    async def aclose(self):
        self.closed = True


def test_a_stream_gives_the_pieces_and_then_the_whole_reply(client, fake):
    alice = client.scope(user_id="alice")
    added = alice.add("You live in Lisbon.")
    pieces, reply = alice.chat_stream("Where do I live?", seed=1)
    assert fake.bodies[-1] == {
        "messages": [{"role": "user", "content": "Where do I live?"}],
        "seed": 1,
        "recalld": {"scope": {"user_id": "alice"}, "recall": True, "remember": True},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert pieces == ["You ", "live ", "in ", "Lisbon. "]
    assert (reply.text, reply.finish_reason, reply.model) == ("You live in Lisbon. ", "stop", "parrot")
    assert [each.memory_id for each in reply.citations] == [added.id]
    assert reply.usage.completion_tokens == 4


def test_nothing_is_sent_before_the_first_piece_is_asked_for(fake):
    whole = fake.event_stream([CHUNK, CHUNK]).content
    fake.script.append(httpx2.Response(200, stream=Body(whole[:150], whole[150:])))
    with Recalld(transport=httpx2.MockTransport(fake)) as client:
        stream = client.chat_stream("hello")
        assert fake.requests == []
        with pytest.raises(RecalldError, match=r"^the answer is not complete: read the stream to its end first$"):
            _ = stream.reply
        assert next(stream) == "half"
        with pytest.raises(RecalldError, match=r"^the answer is not complete"):
            _ = stream.reply
        assert list(stream) == ["half"]
        assert stream.reply.text == "halfhalf"


def test_text_may_hold_what_splits_lines_elsewhere(client, fake):
    chunk = CHUNK | {"choices": [{"delta": {"content": "a\u2028b\u0085c"}}]}
    fake.script.append(fake.event_stream([chunk]))
    pieces, reply = client.chat_stream("hello")
    assert (pieces, reply.text) == (["a\u2028b\u0085c"], "a\u2028b\u0085c")


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        (("data",), ConnectionFailed, "^the answer was cut off before its end$"),
        (("data", httpx2.ReadError("reset")), ConnectionFailed, "was cut before the answer was complete"),
        (("data", httpx2.ReadTimeout("")), TimedOut, "^no answer from http://127.0.0.1:7437 in time"),
        (("data", b'data: {"error": {"message": "out of memory"}}\n\n'), ServerError, r"^out of memory \[500\]$"),
        (
            ("data", b'data: {"error": {"status": 503, "code": "unavailable", "detail": "later"}}\n\n'),
            ServiceUnavailable,
            r"^later \[503 unavailable\]$",
        ),
        (("data", b'data: {"error": "no words"}\n\n'), ServerError, r"^HTTP 500 without a problem document \[500\]$"),
        (("data", b"data: nonsense\n\n"), UnexpectedReply, "^the reply is no ChatChunk of recalld's"),
        (("data", b"data: \xff\n\n"), UnexpectedReply, "^the answer is not UTF-8$"),
        ((b'{"no": "stream"}',), UnexpectedReply, "^the reply is no stream of events"),
    ],
)
def test_half_an_answer_is_an_error_and_is_closed(client, fake, parts, error, message):
    first = fake.event_stream([CHUNK], end="").content
    body = Body(*(first if part == "data" else part for part in parts))
    fake.script.append(httpx2.Response(200, stream=body))
    with pytest.raises(error, match=message) as caught:
        client.chat_stream("hello")
    assert body.closed
    assert not caught.value.refused
    assert len(fake.requests) == 1


def test_a_stream_that_is_refused_is_tried_again_and_one_that_fails_is_not(client, fake):
    fake.script.extend([httpx2.ConnectError("refused"), httpx2.Response(503)])
    pieces, _ = client.chat_stream("hello")
    assert "".join(pieces) == "I do not know. "
    fake.requests.clear()
    fake.script.append(httpx2.Response(502, stream=Body(b'{"detail": "the model is gone", "code": "upstream_error"}')))
    with pytest.raises(ServiceUnavailable, match=r"^the model is gone \[502 upstream_error\]$"):
        client.chat_stream("hello")
    assert len(fake.requests) == 1


def test_an_answer_that_is_not_read_to_its_end_is_closed(fake):
    body = Body(fake.event_stream([CHUNK], end="").content, b"")
    fake.script.append(httpx2.Response(200, stream=body))
    with Recalld(transport=httpx2.MockTransport(fake)) as client:
        with client.chat_stream("hello") as stream:
            assert next(stream) == "half"
            assert not body.closed
        assert body.closed
        assert list(stream) == []


def test_an_async_answer_that_is_not_read_to_its_end_is_closed(fake):
    body = Body(fake.event_stream([CHUNK], end="").content, b"")
    fake.script.append(httpx2.Response(200, stream=body))

    async def read():
        async with AsyncRecalld(transport=httpx2.MockTransport(fake)) as client:
            async with client.chat_stream("hello") as stream:
                assert await anext(stream) == "half"
                assert not body.closed
            assert body.closed
            assert [piece async for piece in stream] == []

    asyncio.run(read())
