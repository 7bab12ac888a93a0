"""`/v1/chat/completions`: OpenAI's chat with a memory, plain and streamed.

The request is OpenAI's (https://platform.openai.com/docs/api-reference/chat/create) plus the field `recalld`; so is
the reply. Fields of OpenAI's that say nothing to this server are taken and not used; what would change the answer and
can not be honoured (`n` above 1, tools) is refused. Any `model` is answered by the model of this server, and the
reply says which that is.
"""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter
from fastapi.concurrency import iterate_in_threadpool, run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt
from starlette.background import BackgroundTask

from api.deps import Caller, ServiceDep
from api.errors import problem
from api.limits import JsonRoute
from api.routes.recall import note
from api.schemas import Name, ScopeIn
from memory.chat import ChatTurn, Prepared, prepare, to_remember
from recalld.bootstrap import Service
from recalld.core import log
from recalld.core.access import Principal
from recalld.core.errors import InvalidInput, RecalldError
from recalld.llm.ports import ChatMessage, Chunk, GenerationSettings, LanguageModel

router = APIRouter(prefix="/v1", tags=["chat"], route_class=JsonRoute)
logger = log.get("chat")

REPLY_TOKENS_DEFAULT = 512
ROLES = {"developer": "system", "system": "system", "user": "user", "assistant": "assistant"}


class PartIn(BaseModel):
    """A piece of a message; only text is understood."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["text"]
    text: str


class MessageIn(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["developer", "system", "user", "assistant"]
    content: str | list[PartIn]

    def to_message(self) -> ChatMessage:
        """As the layers below know it."""
        text = self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)
        return ChatMessage(ROLES[self.role], text)


class MemoryIn(BaseModel):
    """What memory has to do with this request. Without a scope: nothing."""

    model_config = ConfigDict(extra="forbid")

    scope: ScopeIn = ScopeIn()
    recall: StrictBool = True
    remember: StrictBool = True
    token_budget: Annotated[StrictInt, Field(ge=1, description="of the recalled context")] | None = None


class StreamOptionsIn(BaseModel):
    """OpenAI's."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatIn(BaseModel):
    """OpenAI's request, and `recalld`."""

    model_config = ConfigDict(extra="ignore")

    messages: list[MessageIn] = Field(min_length=1)
    model: str | None = Field(None, max_length=256)
    stream: bool = False
    stream_options: StreamOptionsIn | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[Annotated[str, Field(min_length=1)]] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: Literal[1] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    user: Name | None = Field(None, description="the same as `recalld.scope.user_id`")
    recalld: MemoryIn = MemoryIn()

    def settings(self) -> GenerationSettings:
        """How the reply is made. Without a temperature: greedy."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return GenerationSettings(
            tokens_max=self.max_completion_tokens or self.max_tokens or REPLY_TOKENS_DEFAULT,
            temperature=self.temperature or 0.0,
            top_p=self.top_p or 1.0,
            seed=self.seed,
            stop=tuple(text for text in stop if text),
        )

    def turn(self, budget: int) -> ChatTurn:
        """What memory is asked to do."""
        scope = self.recalld.scope
        if self.user is not None and scope.user_id not in (None, self.user):
            raise InvalidInput.of("user", "differs from recalld.scope.user_id")
        named = scope.model_copy(update={"user_id": scope.user_id or self.user})
        messages = tuple(message.to_message() for message in self.messages)
        return ChatTurn(
            messages,
            named.to_scope(),
            self.recalld.recall,
            self.recalld.remember,
            budget,
            self.settings().tokens_max,
        )


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

    def head(self, kind: str) -> dict[str, Any]:
        """The fields that each part of the reply begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model.name}

    def memory(self) -> dict[str, Any]:
        """The reply's field `recalld`."""
        recall, context = self.prepared.recall, self.prepared.context
        blocks = context.blocks if context is not None else ()
        return {
            "recall_id": recall.recall_id if recall is not None else None,
            "relevant": recall.relevant if recall is not None else None,
            "citations": [{"memory_id": block.memory_ids[0], "text": block.text} for block in blocks],
            "timings": {
                "recall_ms": round(self.prepared_ms, 2),
                "total_ms": round((perf_counter() - self.started) * 1000, 2),
            },
        }

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


@router.post("/chat/completions", response_model=None)
def chat(body: ChatIn, who: Caller, service: ServiceDep) -> Response:
    """Answer with what is remembered of the scope, and remember the exchange once the answer is complete."""
    started = perf_counter()
    most = service.settings.messages_max
    if len(body.messages) > most:
        raise InvalidInput.of("messages", f"at most {most}", most)
    budget = body.recalld.token_budget or service.settings.context_tokens
    if budget > service.settings.token_budget_max:
        raise InvalidInput.of("recalld.token_budget", f"1 to {service.settings.token_budget_max}")
    turn = body.turn(budget)
    model = service.llm()
    with service.read_store() as store:
        prepared = prepare(store, service.recaller, who, turn, model)
    if prepared.recall is not None:
        note(service, who, turn.scope, prepared.recall)
    exchange = Exchange(
        service, who, turn, prepared, model, body.settings(), started,
        (perf_counter() - started) * 1000,
        f"chatcmpl-{service.ids.new('rec').removeprefix('rec_')}",
        int(service.clock.now().timestamp()),
    )  # fmt: skip
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return _streamed(exchange, with_usage)
    return _whole(exchange)


def _whole(exchange: Exchange) -> Response:
    chunks = list(exchange.chunks())
    text = "".join(chunk.text for chunk in chunks)
    body = exchange.head("chat.completion") | {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "finish_reason": chunks[-1].finish_reason,
                "logprobs": None,
            }
        ],
        "usage": _usage(chunks[-1]),
        "recalld": exchange.memory(),
    }
    return JSONResponse(body, background=BackgroundTask(exchange.remember, text))


def _streamed(exchange: Exchange, with_usage: bool) -> Response:
    """Server-sent events. What fails before the first token is an ordinary error; afterwards an event with an error."""
    chunks = exchange.chunks()
    first = next(chunks)
    said: list[str] = []

    async def events() -> AsyncIterator[str]:
        try:
            yield _event(exchange, {"role": "assistant", "content": ""})
            last = first
            async for chunk in _from(first, chunks):
                said.append(chunk.text)
                last = chunk
                if chunk.text:
                    yield _event(exchange, {"content": chunk.text})
            yield _event(exchange, {}, last.finish_reason, {"recalld": exchange.memory()})
            if with_usage:
                usage = exchange.head("chat.completion.chunk") | {"choices": [], "usage": _usage(last)}
                yield f"data: {json.dumps(usage)}\n\n"
            yield "data: [DONE]\n\n"
            await run_in_threadpool(exchange.remember, "".join(said))
        except RecalldError as error:
            yield f"data: {json.dumps({'error': json.loads(bytes(problem(error).body))})}\n\n"
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(_close, chunks)

    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


async def _from(first: Chunk, rest: Iterator[Chunk]) -> AsyncIterator[Chunk]:
    yield first
    async for chunk in iterate_in_threadpool(rest):
        yield chunk


def _close(chunks: Iterator[Chunk]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


def _event(
    exchange: Exchange, delta: dict[str, str], finish_reason: str | None = None, more: dict[str, Any] | None = None
) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
    body = exchange.head("chat.completion.chunk") | {"choices": [choice]} | (more or {})
    return f"data: {json.dumps(body)}\n\n"


def _usage(last: Chunk) -> dict[str, Any] | None:
    if last.usage is None:
        return None
    used = last.usage
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens},
    }
