"""A streamed answer: iterate for its text as it comes, then ask `reply` for the whole of it.

`Answer` puts the events together and does no input or output; the two streams only fetch bytes. Nothing is sent before
the first piece is asked for. Invariant: a stream that ends without `[DONE]` is an error, so that half an answer is
never taken for a whole one.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import closing
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import httpx2

from recalld_client.calls import Call, Reply, object_of, problem, read_model
from recalld_client.errors import ConnectionFailed, RecalldError, UnexpectedReply
from recalld_client.models import Chat, ChatChunk, ChatMessage, Choice
from recalld_client.sse import EventDecoder
from recalld_client.transport import AsyncTransport, Transport, failure

DONE = "[DONE]"


class Answer:
    """The events of one answer, put together."""

    def __init__(self) -> None:
        self._events = EventDecoder()
        self._chunks: list[ChatChunk] = []
        self._done = False

    def feed(self, data: bytes) -> list[str]:
        """The pieces of text in the events that `data` completes.

        Raises:
            ApiError: the server says that it failed while it wrote.
            UnexpectedReply: an event is not recalld's.
        """
        try:
            events = self._events.feed(data)
        except UnicodeDecodeError:
            raise UnexpectedReply("the answer is not UTF-8") from None
        pieces = []
        for event in events:
            if event == DONE:
                self._done = True
                continue
            chunk = _chunk(event)
            self._chunks.append(chunk)
            pieces += [choice.delta.content for choice in chunk.choices[:1] if choice.delta.content]
        return pieces

    def end(self) -> None:
        """No more bytes come.

        Raises:
            ConnectionFailed: the answer is not complete.
            UnexpectedReply: there was none.
        """
        if not self._chunks:
            raise UnexpectedReply("the reply is no stream of events: is the URL right?")
        if not self._done:
            raise ConnectionFailed("the answer was cut off before its end")

    def reply(self) -> Chat:
        """The whole answer.

        Raises:
            RecalldError: it is not complete.
        """
        if not self._done or not self._chunks:
            raise RecalldError("the answer is not complete: read the stream to its end first")
        choices = [chunk.choices[0] for chunk in self._chunks if chunk.choices]
        text = "".join(choice.delta.content or "" for choice in choices)
        ended = [choice.finish_reason for choice in choices if choice.finish_reason is not None]
        return Chat(
            id=self._chunks[0].id,
            model=self._chunks[0].model,
            choices=(Choice(message=ChatMessage(content=text), finish_reason=ended[-1] if ended else None),),
            usage=next((chunk.usage for chunk in reversed(self._chunks) if chunk.usage), None),
            recalld=next((chunk.recalld for chunk in reversed(self._chunks) if chunk.recalld), None),
        )


class ChatStream:
    """Iterate for the pieces of text. `with` closes the connection of an answer that is not read to its end."""

    def __init__(self, transport: Transport, call: Call[None]) -> None:
        self._answer = Answer()
        self._pieces = self._read(transport, call)

    @property
    def reply(self) -> Chat:
        """The whole answer, with citations and usage, once all pieces were read; a RecalldError before."""
        return self._answer.reply()

    def close(self) -> None:
        """Stop reading."""
        self._pieces.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, transport: Transport, call: Call[None]) -> Generator[str, None, None]:
        with closing(transport.open(call)) as response:
            try:
                for data in response.iter_bytes():
                    yield from self._answer.feed(data)
            except httpx2.RequestError as error:
                raise failure(error, transport.settings) from error
        self._answer.end()


class AsyncChatStream:
    """Iterate for the pieces of text. `async with` closes the connection of an answer that is not read to its end."""

    def __init__(self, transport: AsyncTransport, call: Call[None]) -> None:
        self._answer = Answer()
        self._pieces = self._read(transport, call)

    @property
    def reply(self) -> Chat:
        """The whole answer, with citations and usage, once all pieces were read; a RecalldError before."""
        return self._answer.reply()

    async def close(self) -> None:
        """Stop reading."""
        await self._pieces.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return await anext(self._pieces)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _read(self, transport: AsyncTransport, call: Call[None]) -> AsyncGenerator[str, None]:
        response = await transport.open(call)
        try:
            async for data in response.aiter_bytes():
                for piece in self._answer.feed(data):
                    yield piece
        except httpx2.RequestError as error:
            raise failure(error, transport.settings) from error
        finally:
            await response.aclose()
        self._answer.end()


def _chunk(event: str) -> ChatChunk:
    found = object_of(event.encode())
    if "error" not in found:
        return read_model(ChatChunk, event)
    inner = found["error"]
    status = inner.get("status") if isinstance(inner, dict) else None
    error = problem(Reply(status if isinstance(status, int) else 500, {}, event.encode()), datetime.now(UTC))
    # It came in the middle of an answer, whatever its status says.
    error.refused = False
    raise error
