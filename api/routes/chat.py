"""`/v1/chat/completions`: OpenAI's chat with a memory, plain and streamed.

The request is OpenAI's plus the field `recalld`; so is the reply (`api.schemas_openai`). Any `model` is answered by the
model of this server, and the reply says which that is. Whatever waits for the model runs in threads of its own: a slow
model must not keep the other routes from theirs.
"""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.background import BackgroundTask

from api.deps import Caller, ServiceDep
from api.errors import problem, unforeseen
from api.limits import OpenAIRoute
from api.routes.recall import note
from api.schemas_openai import (
    ChatIn,
    ChatOut,
    ChoiceOut,
    CitationOut,
    MemoryUsedOut,
    MessageOut,
    TimingsOut,
    UsageOut,
)
from memory.chat import ChatTurn, Prepared, prepare, to_remember
from memory.ingest import check_text
from recalld.bootstrap import Service
from recalld.core import log
from recalld.core.access import Principal
from recalld.core.errors import InvalidInput, RecalldError
from recalld.llm.ports import Chunk, GenerationSettings, LanguageModel

router = APIRouter(prefix="/v1", tags=["chat"], route_class=OpenAIRoute)
logger = log.get("chat")

MODEL_THREADS = 32
EVENT = {
    "type": "object",
    "description": "one server-sent event",
    "required": ["data"],
    "properties": {"data": {"type": "string", "description": "a `chat.completion.chunk` as JSON, at last `[DONE]`"}},
}
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": EVENT}}}}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request on its way: what was prepared, and what goes into every part of the reply."""

    service: Service
    who: Principal
    turn: ChatTurn
    prepared: Prepared
    model: LanguageModel
    settings: GenerationSettings
    started: float
    prepared_ms: float
    id: str
    created: int

    def chunks(self) -> Iterator[Chunk]:
        """The model's reply."""
        return self.model.generate(self.prepared.messages, self.settings)

    def memory(self) -> MemoryUsedOut:
        """The reply's field `recalld`."""
        recall, context = self.prepared.recall, self.prepared.context
        blocks = context.blocks if context is not None else ()
        return MemoryUsedOut(
            recall_id=recall.recall_id if recall is not None else None,
            relevant=recall.relevant if recall is not None else None,
            citations=[CitationOut(memory_id=block.memory_ids[0], text=block.text) for block in blocks],
            timings=TimingsOut(
                recall_ms=round(self.prepared_ms, 2), total_ms=round((perf_counter() - self.started) * 1000, 2)
            ),
        )

    def event(
        self, deltas: list[dict[str, str]], finish_reason: str | None = None, more: dict[str, Any] | None = None
    ) -> str:
        """One server-sent event of a streamed reply."""
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model.name}
        choice = {"index": 0, "finish_reason": finish_reason, "logprobs": None}
        body = head | {"choices": [choice | {"delta": delta} for delta in deltas]} | (more or {})
        return f"data: {json.dumps(body)}\n\n"

    def remember(self, reply: str) -> None:
        """Write the exchange to memory, after the reply."""
        now = self.service.clock.now()
        items = to_remember(self.turn, self.who, reply, now, now)
        if not items:
            return
        try:
            with self.service.write_store() as store:
                self.service.memories.add(store, self.who, items)
        except RecalldError as error:
            logger.error("not_remembered", code=error.code, fields=[field.field for field in error.fields])
        self.service.worker.wake()


def _threads(request: Request) -> anyio.CapacityLimiter:
    limiter: anyio.CapacityLimiter = request.app.state.model_threads
    return limiter


@router.post("/chat/completions", response_model=ChatOut, responses=STREAM)
async def create_chat_completion(
    body: ChatIn, who: Caller, service: ServiceDep, threads: Annotated[anyio.CapacityLimiter, Depends(_threads)]
) -> Response:
    """Answer with what is remembered of the scope, and remember the exchange once the answer is complete."""
    exchange = await run_sync(partial(_begin, body, who, service), limiter=threads)
    if not body.stream:
        return await run_sync(partial(_whole, exchange), limiter=threads)
    rest, first = await run_sync(partial(_first, exchange), limiter=threads)
    with_usage = body.stream_options is not None and body.stream_options.include_usage
    events = _events(exchange, first, rest, threads, with_usage)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def _begin(body: ChatIn, who: Principal, service: Service) -> Exchange:
    """Check the request, load the model if need be, and recall."""
    started = perf_counter()
    limits = service.settings
    if len(body.messages) > limits.messages_max:
        raise InvalidInput.of("messages", f"at most {limits.messages_max}", limits.messages_max)
    budget = body.recalld.token_budget or limits.context_tokens
    if budget > limits.token_budget_max:
        raise InvalidInput.of("recalld.token_budget", f"1 to {limits.token_budget_max}", limits.token_budget_max)
    turn = body.turn(budget)
    now = service.clock.now()
    for item in to_remember(turn, who, "", now, now):
        wrong = check_text(item.text, limits.text_bytes_max, "messages")
        if wrong:
            told = f"the last one of the user can not be remembered: {wrong[0].message}"
            raise InvalidInput.of("messages", told, wrong[0].limit)
    model = service.llm()
    with service.read_store() as store:
        prepared = prepare(store, service.recaller, who, turn, model)
    if prepared.recall is not None:
        note(service, who, turn.scope, prepared.recall, tuple(prepared.recall.newer))
    return Exchange(
        service, who, turn, prepared, model, body.settings(), started,
        (perf_counter() - started) * 1000,
        f"chatcmpl-{service.ids.new('rec').removeprefix('rec_')}",
        int(now.timestamp()),
    )  # fmt: skip


def _whole(exchange: Exchange) -> Response:
    chunks = list(exchange.chunks())
    text, last = "".join(chunk.text for chunk in chunks), chunks[-1]
    body = ChatOut(
        id=exchange.id,
        created=exchange.created,
        model=exchange.model.name,
        choices=[ChoiceOut(message=MessageOut(content=text), finish_reason=last.finish_reason or "stop")],
        usage=UsageOut.of(last.usage) if last.usage is not None else None,
        recalld=exchange.memory(),
    )
    return JSONResponse(body.model_dump(mode="json"), background=BackgroundTask(exchange.remember, text))


def _first(exchange: Exchange) -> tuple[Iterator[Chunk], Chunk]:
    chunks = exchange.chunks()
    return chunks, next(chunks)


async def _events(
    exchange: Exchange, first: Chunk, rest: Iterator[Chunk], threads: anyio.CapacityLimiter, with_usage: bool
) -> AsyncIterator[str]:
    """Server-sent events. What fails before the first token is an ordinary error; afterwards an event with an error.

    The exchange is remembered once the reply is whole, even where the client hangs up at its last event.
    """
    said: list[str] = []
    whole = False
    chunk = first
    try:
        yield exchange.event([{"role": "assistant", "content": ""}])
        while True:
            said.append(chunk.text)
            if chunk.text:
                yield exchange.event([{"content": chunk.text}])
            if chunk.finish_reason is not None:
                break
            chunk = await run_sync(partial(next, rest), limiter=threads)
        whole = True
        yield exchange.event([{}], chunk.finish_reason, {"recalld": exchange.memory().model_dump()})
        if with_usage:
            usage = UsageOut.of(chunk.usage).model_dump() if chunk.usage is not None else None
            yield exchange.event([], None, {"usage": usage})
        yield "data: [DONE]\n\n"
    except Exception as error:
        reply = problem(error) if isinstance(error, RecalldError) else unforeseen(error)
        told = json.loads(bytes(reply.body))
        yield f"data: {json.dumps({'error': told | {'message': told['detail']}})}\n\n"
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(partial(_close, rest), limiter=threads)
            if whole:
                await run_sync(partial(exchange.remember, "".join(said)), limiter=threads)


def _close(chunks: Iterator[Chunk]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
