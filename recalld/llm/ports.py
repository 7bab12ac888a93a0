"""The seam of the language model: messages in, a stream of text out, and token counts for whoever packs a prompt.

recalld works with no language model at all; with one, it is any object with these methods: the local engine
(`recalld.llm.engine`), an OpenAI-compatible server (`recalld.llm.remote`) or a script (`recalld.llm.scripted`).

Invariants: message content is data, so no content can produce a control token of the chat template; the chunks'
texts, joined, are the whole reply; exactly the last chunk has a `finish_reason` and a `usage`. This module imports
neither torch nor gguf, so that the layers above can name the types without the extra.

Source: the chat completions interface of OpenAI, https://platform.openai.com/docs/api-reference/chat (roles, `stop`,
`finish_reason`, `usage.prompt_tokens_details.cached_tokens`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from recalld.core.errors import InvalidInput

FinishReason = Literal["stop", "length"]

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: its text, taken as data: control tokens spelled out in it stay plain text.

    Raises:
        InvalidInput: another role (chat templates write the role as it is, so it could forge a turn), or a content
            that is not Unicode text (half of a surrogate pair).
    """

    role: str
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise InvalidInput.of("messages.role", f"must be one of {', '.join(ROLES)}")
        try:
            self.content.encode()
        except UnicodeEncodeError:
            raise InvalidInput.of("messages.content", "must be Unicode text without lone surrogates") from None


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How a reply is made.

    Attributes:
        tokens_max: at most so many tokens of reply; the context's end may come first.
        temperature: 0 is greedy; otherwise the logits are divided by it.
        top_p: sample from the smallest set of tokens whose probabilities add up to it, in (0, 1]; 1 is all.
        top_k: sample from the so many likeliest tokens; 0 is all.
        seed: makes sampling repeatable; None draws one.
        stop: the reply ends before the first of these strings.
        reply_schema: a JSON schema that the reply is to fit. A model may not know how: whoever gives one checks it.

    Raises:
        InvalidInput: a value out of its range; names the field.
    """

    tokens_max: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    reply_schema: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.tokens_max < 1:
            raise InvalidInput.of("tokens_max", "must be at least 1 token", 1)
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InvalidInput.of("temperature", "must be a finite number of at least 0", 0)
        if not 0 < self.top_p <= 1:
            raise InvalidInput.of("top_p", "must be above 0 and at most 1", 1)
        if self.top_k < 0:
            raise InvalidInput.of("top_k", "must be at least 0 tokens", 0)
        if not all(self.stop):
            raise InvalidInput.of("stop", "must not hold an empty string")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply cost, in tokens of the model.

    Attributes:
        prompt_tokens: the whole prompt, template included.
        completion_tokens: the reply, an end-of-turn token included.
        cached_tokens: how many of the prompt's tokens were not computed again.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next piece of a reply. The last one, and no other, has `finish_reason` and `usage`; its text may be empty."""

    text: str
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


class LanguageModel(Protocol):
    """Generates replies and counts tokens. Safe to call from several threads; an engine may serve them in turn."""

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def context_tokens_max(self) -> int:
        """The most tokens that prompt and reply may have together."""
        ...

    @property
    def tokenizer_name(self) -> str:
        """What `count_tokens` counts with: callers state it beside every budget."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` as a message's content, without the chat template."""
        ...

    def count_prompt_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of the whole prompt, chat template included."""
        ...

    def generate(self, messages: Sequence[ChatMessage], settings: GenerationSettings) -> Iterator[Chunk]:
        """The reply to `messages`, piece by piece. Closing the iterator (if it has `close`) stops the work.

        Raises (at the call or at the first chunk):
            InvalidInput: no messages, a role or a setting that is not allowed, or a prompt that leaves no room for
                a reply in the context; names the field, and for the last the limit in tokens.
            UpstreamError, Unavailable: another server failed.
        """
        ...

    def close(self) -> None:
        """Give back memory and connections. Calling it again changes nothing."""
        ...
