"""Chat with memory: recall what matters, put it before the conversation, let the model answer, remember the exchange.

Without a scope it neither recalls nor remembers. The recalled memories stand in a system message of their own, marked
as data (`memory/prompts/chat.md`): nothing in a memory is an instruction. What is remembered is the last user message
and the reply, word for word, written after the reply is complete: never on the caller's time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.resources import files

from memory.context import Context, TokenCounter
from memory.model import Item
from memory.ports import Store
from memory.recall import Question, Recall, Recaller, context_of
from recalld.core.access import Principal
from recalld.core.errors import InvalidInput
from recalld.core.scope import EVERYTHING, Scope
from recalld.llm.ports import ChatMessage, LanguageModel

PROMPT = files("memory").joinpath("prompts", "chat.md").read_text(encoding="utf-8").strip()
QUERY_CHARS_MAX = 4000
RECALLED_MAX = 30


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One request to chat, as far as memory is concerned: `token_budget` is the most that memories may take of the
    prompt, `reply_tokens` what has to stay free for the reply."""

    messages: tuple[ChatMessage, ...]
    scope: Scope
    recall: bool
    remember: bool
    token_budget: int
    reply_tokens: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """What goes to the model, and what it rests on."""

    messages: tuple[ChatMessage, ...]
    recall: Recall | None
    context: Context | None


def prepare(store: Store, recaller: Recaller, who: Principal, turn: ChatTurn, model: LanguageModel) -> Prepared:
    """Recall for the last user message and put what fits in front of the conversation.

    Raises:
        InvalidInput: there is no user message.
    """
    asked = last_user_message(turn.messages)
    if turn.scope.within(who.bound) == EVERYTHING or not turn.recall or not asked.strip():
        return Prepared(turn.messages, None, None)
    limits = recaller.limits
    query = asked[:QUERY_CHARS_MAX].encode(errors="replace")[: limits.text_bytes_max].decode(errors="ignore")
    question = Question(query, turn.scope, limit=min(RECALLED_MAX, limits.recall_limit_max))
    recall = recaller.recall(store, who, question)
    counter = TokenCounter(model.tokenizer_name, model.count_tokens)
    taken = model.count_prompt_tokens((ChatMessage("system", f"{PROMPT}\n\n"), *turn.messages))
    room = model.context_tokens_max - taken - turn.reply_tokens
    context = context_of(recall, min(turn.token_budget, max(0, room)), counter)
    if not context.blocks:
        return Prepared(turn.messages, recall, context)
    told = ChatMessage("system", f"{PROMPT}\n\n{context.text}")
    return Prepared((told, *turn.messages), recall, context)


def to_remember(turn: ChatTurn, who: Principal, reply: str, asked_at: datetime, answered_at: datetime) -> list[Item]:
    """The exchange as items: the last user message and the reply."""
    scope = turn.scope.within(who.bound)
    if scope == EVERYTHING or not turn.remember or who.read_only:
        return []
    asked = Item(last_user_message(turn.messages), role="user", occurred_at=asked_at, scope=scope)
    answer = replace(asked, text=reply, role="assistant", occurred_at=answered_at)
    return [item for item in (asked, answer) if item.text]


def last_user_message(messages: Sequence[ChatMessage]) -> str:
    """What the user said last.

    Raises:
        InvalidInput: nothing.
    """
    for message in reversed(messages):
        if message.role == "user":
            return message.content
    raise InvalidInput.of("messages", "at least one message with the role user")
