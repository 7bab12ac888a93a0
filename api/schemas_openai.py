"""OpenAI's requests and replies, as far as this server has them, and the field `recalld` that it adds to both.

Fields of OpenAI's that say nothing to this server are taken and not used, so that its clients work unchanged; what
would change the answer and can not be honoured (`n` above 1, tools, another response format) is refused.
Source: https://platform.openai.com/docs/api-reference/chat/create and /embeddings.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from api.schemas import Name, Output, ScopeIn, WithoutNul
from memory.chat import ChatTurn
from recalld.core.errors import InvalidInput
from recalld.llm.ports import ChatMessage, GenerationSettings, Usage

REPLY_TOKENS_DEFAULT = 512
ROLES = {"developer": "system", "system": "system", "user": "user", "assistant": "assistant"}

Text = Annotated[str, Field(min_length=1)]
Nothing = Annotated[list[Any], Field(max_length=0)]


class _OpenAIInput(BaseModel):
    model_config = ConfigDict(extra="ignore")


class PartIn(_OpenAIInput):
    """A piece of a message; only text is understood."""

    type: Literal["text"]
    text: Annotated[str, WithoutNul]


class MessageIn(_OpenAIInput):
    """One message."""

    role: Literal["developer", "system", "user", "assistant"]
    content: Annotated[str, WithoutNul] | list[PartIn]

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


class StreamOptionsIn(_OpenAIInput):
    """OpenAI's."""

    include_usage: bool = False


class ResponseFormatIn(_OpenAIInput):
    """OpenAI's; only plain text can be promised."""

    type: Literal["text"]


class ChatIn(_OpenAIInput):
    """OpenAI's request, and `recalld`."""

    messages: list[MessageIn] = Field(min_length=1)
    model: str | None = Field(None, max_length=256)
    stream: bool = False
    stream_options: StreamOptionsIn | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[Text] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: Literal[1] | None = None
    tools: Nothing | None = None
    functions: Nothing | None = None
    response_format: ResponseFormatIn | None = None
    logprobs: Literal[False] | None = None
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


class MessageOut(Output):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChoiceOut(Output):
    index: Literal[0] = 0
    message: MessageOut
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class PromptTokensOut(Output):
    cached_tokens: int


class UsageOut(Output):
    """What the reply cost, in tokens of the model."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensOut

    @classmethod
    def of(cls, used: Usage) -> "UsageOut":
        """From the layers below."""
        return cls(
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            total_tokens=used.prompt_tokens + used.completion_tokens,
            prompt_tokens_details=PromptTokensOut(cached_tokens=used.cached_tokens),
        )


class CitationOut(Output):
    """A memory that the model was given, and how."""

    memory_id: str
    text: str


class TimingsOut(Output):
    recall_ms: float
    total_ms: float


class MemoryUsedOut(Output):
    """What memory had to do with the reply; `recall_id` is null where nothing was recalled."""

    recall_id: str | None
    relevant: bool | None
    citations: list[CitationOut]
    timings: TimingsOut


class ChatOut(Output):
    """OpenAI's reply, and `recalld`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChoiceOut]
    usage: UsageOut | None
    recalld: MemoryUsedOut


class EmbeddingsIn(_OpenAIInput):
    """OpenAI's request; token ids are not understood."""

    input: Text | Annotated[list[Text], Field(min_length=1)]
    model: str | None = Field(None, max_length=256)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)


class EmbeddingOut(Output):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="numbers, or with `base64` little-endian float32")


class EmbeddingsUsageOut(Output):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsOut(Output):
    """One vector a text, in order."""

    object: Literal["list"] = "list"
    model: str
    data: list[EmbeddingOut]
    usage: EmbeddingsUsageOut


class ModelOut(Output):
    id: str
    object: Literal["model"] = "model"
    created: Literal[0] = 0
    owned_by: Literal["recalld"] = "recalld"
    purpose: Literal["chat", "embedding"]


class ModelsOut(Output):
    """The models of this server."""

    object: Literal["list"] = "list"
    data: list[ModelOut]
