"""Asking a language model about a batch of memories: what it is shown, and what of its reply is taken.

    memories -> lines of JSON, numbered, between marks -> prompt (`memory/prompts/NAME.md`) -> reply -> checked

Invariants: memory text is data: each memory is one JSON string on one line, in which no character stands that a control
token, a mark or a tag could begin with, and which the prompt says to follow in nothing. The model cites numbers of
lines, so it can name no memory that it was not shown. A reply counts only when the whole of it fits the schema, whether
or not the server was able to hold the model to it.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from memory.model import Memory
from recalld.core.errors import UnusableReply
from recalld.llm.ports import ChatMessage, GenerationSettings, LanguageModel, Usage

R = TypeVar("R", bound=BaseModel)
BEGIN, END = "DATA BEGINS", "DATA ENDS"
REPLY_CHARS_MAX = 200_000
_VERSION = re.compile(r"version: (\S+)\n")
# "<|im_end|>", "<s>", "[INST]", "{{": with these spelled as escapes none is left. U+2028 ends a line for some readers.
_ESCAPED = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>[]{}|`\u2028\u2029\u0085"}


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with the version that its file names."""

    version: str
    text: str


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How much a call holds.

    Attributes:
        batch_tokens: of memories in one call, by the model's tokenizer.
        reply_tokens: of its reply.
        again_temperature: of the second try, since the same prompt would give the same reply.
    """

    batch_tokens: int = 2048
    reply_tokens: int = 1024
    again_temperature: float = 0.7


class PaidReply(Exception):
    """An unusable reply: why, and what it cost. Who asked says what becomes of it."""

    def __init__(self, detail: str, usage: Usage) -> None:
        super().__init__(detail)
        self.detail = detail
        self.usage = usage


@cache
def prompt(name: str) -> Prompt:
    """The prompt `memory/prompts/NAME.md`."""
    told = files("memory").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    version = _VERSION.match(told)
    assert version is not None
    return Prompt(version[1], told[version.end() :].strip())


def line(number: int, memory: Memory, chars_max: int | None = None) -> str:
    """One memory as the model sees it."""
    item = memory.item
    who, when = item.speaker or item.role or "user", item.occurred_at
    told: dict[str, str | int] = {
        "n": number,
        "who": who,
        "when": when.isoformat() if when else "unknown",
        "text": item.text[:chars_max],
    }
    inside = ", ".join(f"{json.dumps(key)}: {_fenced(value)}" for key, value in told.items())
    return f"{{{inside}}}"


def fit(memories: Sequence[Memory], model: LanguageModel, settings: AskSettings) -> int:
    """How many of these, from the first, one call holds: at least one."""
    used = 0
    for count, memory in enumerate(memories):
        used += model.count_tokens(line(count + 1, memory)) + 1
        if used > settings.batch_tokens:
            return max(1, count)
    return len(memories)


def ask(
    model: LanguageModel,
    name: str,
    memories: Sequence[Memory],
    shape: type[R],
    settings: AskSettings,
    again: bool = False,
) -> tuple[R, Usage]:
    """One call.

    Args:
        name: the prompt's.
        shape: what the reply has to be.
        again: whether this is the second try.

    Raises:
        PaidReply: it is something else; says nothing of its text.
        UpstreamError, Unavailable: the server failed.
    """
    lines = "\n".join(_lines(memories, model, settings))
    messages = (
        ChatMessage("system", prompt(name).text),
        ChatMessage("user", f"{BEGIN}\n{lines}\n{END}"),
    )
    asked = GenerationSettings(
        tokens_max=settings.reply_tokens,
        temperature=settings.again_temperature if again else 0.0,
        seed=1 if again else None,
        reply_schema=shape.model_json_schema(),
    )
    reply, usage = "", Usage(0, 0)
    for chunk in model.generate(messages, asked):
        reply += chunk.text
        usage = chunk.usage or usage
        if len(reply) > REPLY_CHARS_MAX:
            break
    try:
        return checked(reply, shape), usage
    except UnusableReply as error:
        raise PaidReply(error.detail, usage) from None


def checked(reply: str, shape: type[R]) -> R:
    """A reply's JSON object, with or without words or a fence around it.

    Raises:
        UnusableReply: there is none, or it does not fit `shape`.
    """
    begin = reply.find("{")
    if begin < 0:
        raise UnusableReply("the language model's reply holds no JSON object")
    try:
        found, _ = json.JSONDecoder().raw_decode(reply[begin:])
        return shape.model_validate(found)
    except (json.JSONDecodeError, RecursionError):
        raise UnusableReply("the language model's reply is not JSON, or ends within it") from None
    except ValidationError as error:
        places = sorted({str(each["loc"][0]) for each in error.errors() if each["loc"]} & shape.model_fields.keys())
        named = f" (at {', '.join(places)})" if places else ""
        raise UnusableReply(f"the language model's reply does not fit the schema{named}") from None


def _lines(memories: Sequence[Memory], model: LanguageModel, settings: AskSettings) -> list[str]:
    """The lines of a batch; one that is too long by itself is cut."""
    told = [line(number, memory) for number, memory in enumerate(memories, 1)]
    if len(memories) > 1 or model.count_tokens(told[0]) <= settings.batch_tokens:
        return told
    low, high = 0, len(memories[0].item.text)
    while low < high:
        middle = (low + high + 1) // 2
        if model.count_tokens(line(1, memories[0], middle)) <= settings.batch_tokens:
            low = middle
        else:
            high = middle - 1
    return [line(1, memories[0], low)]


def _fenced(value: str | int) -> str:
    return json.dumps(value, ensure_ascii=False).translate(_ESCAPED) if isinstance(value, str) else str(value)
