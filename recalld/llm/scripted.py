"""A language model that says what it was told to say: for tests, and as the plainest implementation of the seam.

Its tokens are words with the white space before them, so counts are easy to work out by hand. Deterministic: sampling
settings change nothing; `tokens_max` and `stop` are kept.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from recalld.core.errors import InvalidInput, Unavailable
from recalld.llm.ports import ChatMessage, Chunk, FinishReason, GenerationSettings, Usage
from recalld.llm.stops import StopStrings

_TOKEN = re.compile(r"\s*\S+|\s+$")


class ScriptedModel:
    """Replies from a list, in order, or from a function of the messages.

    Attributes:
        calls: the messages and settings of every `generate`, in order.
    """

    def __init__(
        self,
        replies: Sequence[str] | Callable[[Sequence[ChatMessage]], str],
        *,
        name: str = "scripted",
        context_tokens_max: int = 8192,
    ) -> None:
        self._replies = replies
        self._name = name
        self._context_tokens_max = context_tokens_max
        self._closed = False
        self.calls: list[tuple[tuple[ChatMessage, ...], GenerationSettings]] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_tokens_max(self) -> int:
        return self._context_tokens_max

    @property
    def tokenizer_name(self) -> str:
        return "words"

    def count_tokens(self, text: str) -> int:
        return len(_TOKEN.findall(text))

    def count_prompt_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """The contents' tokens, one more a message for its role, and one for the reply's."""
        return sum(self.count_tokens(message.content) + 1 for message in messages) + 1

    def generate(self, messages: Sequence[ChatMessage], settings: GenerationSettings) -> Iterator[Chunk]:
        if self._closed:
            raise Unavailable("the language model is closed")
        if not messages:
            raise InvalidInput.of("messages", "must hold at least one message")
        prompt_tokens = self.count_prompt_tokens(messages)
        if prompt_tokens >= self._context_tokens_max:
            limit = self._context_tokens_max
            raise InvalidInput.of("messages", f"the prompt must be shorter than the context of {limit} tokens", limit)
        self.calls.append((tuple(messages), settings))
        if callable(self._replies):
            reply = self._replies(messages)
        elif len(self.calls) <= len(self._replies):
            reply = self._replies[len(self.calls) - 1]
        else:
            raise Unavailable(f"the script has only {len(self._replies)} replies")
        return self._stream(reply, prompt_tokens, settings)

    def _stream(self, reply: str, prompt_tokens: int, settings: GenerationSettings) -> Iterator[Chunk]:
        tokens = _TOKEN.findall(reply)
        limit = min(settings.tokens_max, self._context_tokens_max - prompt_tokens)
        stops = StopStrings(settings.stop)
        finish: FinishReason = "length" if len(tokens) > limit else "stop"
        used = 0
        for token in tokens[:limit]:
            used += 1
            text = stops.push(token)
            if text:
                yield Chunk(text)
            if stops.found:
                finish = "stop"
                break
        yield Chunk(stops.flush(), finish, Usage(prompt_tokens, used))

    def close(self) -> None:
        self._closed = True
