"""Any OpenAI-compatible chat server as the language model: vLLM, SGLang, llama-server, Ollama, a hosted one.

One streaming request to `/chat/completions` a reply. A request that could not connect, got no answer before the
connection ended, or was answered 429 or 503, is sent again under one stated policy; once a reply has begun nothing is
repeated, because a caller may have seen text. A stream that ends without saying so is an error, never a short reply.

Invariants: no message text, reply or key is logged or put into an error, a server's own words included, since they may
repeat the prompt. The environment's proxies and credentials are not used: what a memory says goes where it was
configured to go. The server counts its tokens in its own way, so counts before the reply are the caller's `counter`'s.

Sources: https://platform.openai.com/docs/api-reference/chat-streaming; server-sent events:
https://html.spec.whatwg.org/multipage/server-sent-events.html (parsed by httpx2).
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import BaseModel, ValidationError

from recalld.core.errors import ConfigError, InvalidInput, RecalldError, Unavailable, UpstreamError
from recalld.llm.ports import ChatMessage, Chunk, GenerationSettings, Usage
from recalld.llm.stops import StopStrings

# OpenAI's documented overhead of its chat format; other templates differ by a few tokens a message.
_MESSAGE_TOKENS, _REPLY_TOKENS = 3, 3
# OpenAI takes so many stop strings; the rest are found here.
_STOPS_MAX = 4
_CONNECT_S_MAX = 10.0
_ERROR_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a request that got no reply is sent again.

    Attributes:
        attempts_max: requests in all.
        delay_s: the wait before the second one; it doubles each time. A server's `Retry-After` goes before it.
        delay_s_max: no wait is longer; a server that asks for more gets no further request.
    """

    attempts_max: int = 3
    delay_s: float = 0.5
    delay_s_max: float = 8.0


class _PromptDetails(BaseModel):
    cached_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _PromptDetails | None = None


class _Delta(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Event(BaseModel):
    """What recalld reads of a `chat.completion.chunk`; anything else in it is left alone."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class OpenAICompatibleModel:
    """A `LanguageModel` behind HTTP."""

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None,
        timeout_s: float,
        context_tokens_max: int,
        counter: Callable[[str], int],
        counter_name: str,
        *,
        retry: RetryPolicy | None = None,
        proxy: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connects with the first reply.

        Args:
            base_url: up to and with the version, as `http://127.0.0.1:8080/v1`.
            timeout_s: the longest silence of the server, from the request to the first byte or between two pieces.
            context_tokens_max: of the model there; this interface has no way to ask.
            counter: counts the tokens of a text.
            counter_name: what it counts with.
            proxy: an HTTP proxy's URL.

        Raises:
            ConfigError: `base_url` is not an HTTP address.
        """
        if not re.match(r"https?://[^/\s]+", base_url):
            raise ConfigError("the language model's base URL must begin with http:// or https:// and name a host")
        self._model = model
        self._context = context_tokens_max
        self._counter = counter
        self._counter_name = counter_name
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S_MAX)),
            proxy=proxy,
            trust_env=False,
        )

    @property
    def name(self) -> str:
        return self._model

    @property
    def context_tokens_max(self) -> int:
        return self._context

    @property
    def tokenizer_name(self) -> str:
        return self._counter_name

    def count_tokens(self, text: str) -> int:
        return self._counter(text)

    def count_prompt_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """An estimate: the counter's tokens and OpenAI's overhead, since the server applies its template unseen."""
        return sum(_MESSAGE_TOKENS + self._counter(message.content) for message in messages) + _REPLY_TOKENS

    def generate(self, messages: Sequence[ChatMessage], settings: GenerationSettings) -> Iterator[Chunk]:
        """See `LanguageModel.generate`. The input is checked at the call, the request is sent for the first chunk."""
        if not messages:
            raise InvalidInput.of("messages", "must hold at least one message")
        prompt_tokens = self.count_prompt_tokens(messages)
        if prompt_tokens >= self._context:
            raise self._too_long()
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": min(settings.tokens_max, self._context - prompt_tokens),
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if settings.stop:
            body["stop"] = list(settings.stop[:_STOPS_MAX])
        if settings.seed is not None:
            body["seed"] = settings.seed
        if settings.reply_schema is not None:
            named = {"name": "reply", "schema": settings.reply_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        if settings.top_k:
            # Not in OpenAI's interface, but in those of vLLM, SGLang and llama-server.
            body["top_k"] = settings.top_k
        return self._stream(body, settings, prompt_tokens)

    def close(self) -> None:
        self._client.close()

    def _stream(self, body: dict[str, Any], settings: GenerationSettings, prompt_tokens: int) -> Iterator[Chunk]:
        stops = StopStrings(settings.stop)
        finish: str | None = None
        usage: _Usage | None = None
        reply = ""
        with ExitStack() as stack:
            try:
                response = self._request(body, stack)
                for event in _events(response):
                    usage = event.usage or usage
                    for choice in event.choices[:1]:
                        finish = choice.finish_reason or finish
                        text = choice.delta.content or ""
                        reply += text
                        if text := stops.push(text):
                            yield Chunk(text)
                    if stops.found:
                        break
            except httpx2.TimeoutException:
                raise UpstreamError("the language model server was silent for too long") from None
            except (httpx2.RequestError, httpx2.StreamError) as error:
                raise UpstreamError(f"the language model server's reply broke off ({type(error).__name__})") from None
        if not stops.found and finish is None:
            raise UpstreamError("the language model server's reply ended before it was complete")
        if not stops.found and finish in ("content_filter", "error", "abort"):
            raise UpstreamError(f"the language model server ended its reply with {finish}")
        counts = Usage(prompt_tokens, self._counter(reply))
        if usage is not None:
            details = usage.prompt_tokens_details
            counts = Usage(usage.prompt_tokens, usage.completion_tokens, (details and details.cached_tokens) or 0)
        yield Chunk(stops.flush(), "length" if finish == "length" and not stops.found else "stop", counts)

    def _request(self, body: dict[str, Any], stack: ExitStack) -> httpx2.Response:
        """Send until a reply begins; `stack` closes it. Raises what the last attempt met."""
        delay = self._retry.delay_s
        for attempt in range(1, self._retry.attempts_max + 1):
            wait = delay
            try:
                response = stack.enter_context(self._open(body))
            except (httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ConnectTimeout):
                # No byte of a reply came, as when a server closes a connection that was kept for the next request.
                failure: RecalldError = Unavailable("the language model server cannot be reached, or hung up")
            else:
                if response.is_success:
                    return response
                failure = self._failure(response)
                stack.pop_all().close()
                if response.status_code not in (429, 503):
                    raise failure
                wait = _retry_after(response, delay)
            if attempt == self._retry.attempts_max or wait > self._retry.delay_s_max:
                raise failure
            self._sleep(wait)
            delay = min(2 * delay, self._retry.delay_s_max)
        raise Unavailable("the retry policy allows no attempt")

    def _open(self, body: dict[str, Any]) -> AbstractContextManager[httpx2.Response]:
        if self._client.is_closed:
            raise Unavailable("the language model is closed")
        return self._client.stream("POST", self._url, json=body, headers={"Accept": "text/event-stream"})

    def _failure(self, response: httpx2.Response) -> RecalldError:
        """The error that a reply's status stands for."""
        status = response.status_code
        code = _error_code(response)
        if status == 400 and code == "context_length_exceeded":
            return self._too_long()
        said = f"status {status}, {code}" if code else f"status {status}"
        if status in (429, 503):
            return Unavailable(f"the language model server is busy ({said})")
        if status in (401, 403):
            return UpstreamError(f"the language model server refused the configured key ({said})")
        if status == 404:
            return UpstreamError(f"the language model server has no such route or model ({said})")
        return UpstreamError(f"the language model server failed ({said})")

    def _too_long(self) -> InvalidInput:
        message = f"the prompt must be shorter than the context of {self._context} tokens"
        return InvalidInput.of("messages", message, self._context)


def _events(response: httpx2.Response) -> Iterator[_Event]:
    """The stream's events up to `[DONE]`.

    Raises:
        UpstreamError: an event that is not a chunk, or that reports an error.
    """
    # The event stream format is always UTF-8, whatever the header says.
    response.encoding = "utf-8"
    for message in httpx2.EventSource(response):
        if message.data == "[DONE]":
            return
        if not message.data:
            continue
        try:
            event = _Event.model_validate_json(message.data)
        except ValidationError:
            raise UpstreamError("the language model server sent an event that is not a completion chunk") from None
        if event.error is not None or message.event == "error":
            raise UpstreamError("the language model server reported an error within its reply")
        yield event


def _error_code(response: httpx2.Response) -> str | None:
    """The machine-readable `error.code` or `error.type` of an error's body, if it has one that looks like a name."""
    content = b""
    try:
        for piece in response.iter_bytes():
            content += piece
            if len(content) > _ERROR_BYTES_MAX:
                return None
        error = httpx2.Response(200, content=content).json()["error"]
        code = error.get("code") or error.get("type")
    except (httpx2.RequestError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return code if isinstance(code, str) and re.fullmatch(r"[a-z0-9_]{1,64}", code) else None


def _retry_after(response: httpx2.Response, default: float) -> float:
    """The seconds that the server asks to wait; a date, which some send, is not read."""
    value = response.headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value) else default
