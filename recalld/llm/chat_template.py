"""The chat template that a model brings, rendered so that what the template wrote and what users wrote stay apart.

A template is a Jinja program that pastes contents between control tokens; tokenizing its output as one string would
let a memory that spells `<|im_end|>` end its own turn. So each content goes in as a placeholder, its leading and
trailing white space left around it (a template that trims contents then trims these too), and comes back out as a
segment of its own: only in the other segments may a tokenizer look for control tokens.

Invariants: the segments' texts, joined, are what the template would have written for these messages; content is never
in a template segment, but for white space; a template that drops or changes a content is refused, so nothing is lost
unseen. The template comes with the model's file and runs in Jinja's immutable sandbox.

Source: https://huggingface.co/docs/transformers/chat_templating (names and block settings that templates rely on).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from recalld.core.errors import ConfigError, InvalidInput
from recalld.llm.ports import ChatMessage

# Private-use characters: no template writes them on purpose, and a template that contains one is refused.
_OPEN, _CLOSE = "\ue000", "\ue001"
_PLACEHOLDER = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt: `content` says whether a message brought it, so that it holds no control tokens."""

    text: str
    content: bool


class ChatTemplate:
    """A compiled template with the model's begin and end tokens."""

    def __init__(self, source: str, bos_token: str, eos_token: str) -> None:
        """Compile `source`.

        Raises:
            ConfigError: it is not a Jinja template, or uses the characters that placeholders are made of.
        """
        if _OPEN in source or _CLOSE in source:
            raise ConfigError("the model's chat template uses the private characters U+E000 or U+E001")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _raise_exception
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ConfigError("the model's chat template is not a valid Jinja template") from error
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}

    def render(self, messages: Sequence[ChatMessage]) -> list[Segment]:
        """The prompt for the assistant's next reply.

        Raises:
            InvalidInput: no messages, or the template refuses them, or would leave one out.
        """
        if not messages:
            raise InvalidInput.of("messages", "must hold at least one message")
        entries = [
            {"role": message.role, "content": _placeholder(index, message.content)}
            for index, message in enumerate(messages)
        ]
        try:
            text = self._template.render(messages=entries, add_generation_prompt=True, **self._tokens)
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError):
            # A template fails as any program does; its text may repeat what it was given, so it is not passed on.
            raise InvalidInput.of("messages", "the model's chat template does not take this order of roles") from None
        segments: list[Segment] = []
        missing = {index for index, message in enumerate(messages) if message.content.strip()}
        end = 0
        for match in _PLACEHOLDER.finditer(text):
            index = int(match[1])
            segments.append(Segment(text[end : match.start()], content=False))
            segments.append(Segment(messages[index].content.strip(), content=True))
            missing.discard(index)
            end = match.end()
        segments.append(Segment(text[end:], content=False))
        if missing:
            raise InvalidInput.of(f"messages.{min(missing)}", "the model's chat template leaves this message out")
        return [segment for segment in segments if segment.text]


def _placeholder(index: int, content: str) -> str:
    """What stands for a content: its outer white space, and between it its number. White space alone is itself."""
    core = content.strip()
    start = content.find(core)
    return f"{content[:start]}{_OPEN}{index}{_CLOSE}{content[start + len(core) :]}" if core else content


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)
