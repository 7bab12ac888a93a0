"""Context: recalled memories as blocks of text under a strict token budget, each with the ids that it came from.

A block's bytes depend on its memory and the passage of it alone, not on its rank or its neighbours, and blocks are only
ever appended: the same passage gives the same tokens in every prompt, so that what a language model computed for it can
be used again.
Its citation is therefore a tag made from the memory's id (`[7q4k]`), not a number. Of 30 memories two have the same
tag once in 2,400 contexts; `Block.memory_ids` tells them apart.

Invariants: the tokens of the whole text, counted by the tokenizer that is named, are at most the budget; a block that
does not fit is left out whole and a smaller one may still fit, but the first one is cut to fit rather than return
nothing; memory text is data: its line breaks are folded, so that it can not pass for the frame around it.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memory.model import Memory

TAG_CHARS = 4
TOKENS_OF_A_CUT_MIN = 24
WORD_CHARS_MAX = 24
"""What is longer has no spaces, as Chinese has none, and is cut at any character."""


@dataclass(frozen=True, slots=True)
class Block:
    """One citeable piece of a context; `tokens` are its own."""

    text: str
    memory_ids: tuple[str, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Context:
    """Blocks in the order in which they stand in `text`; `tokens` are those of the whole text."""

    text: str
    blocks: tuple[Block, ...]
    tokens: int
    tokenizer: str


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """How tokens are counted: by the language model's tokenizer where there is one, else by the encoder's."""

    name: str
    count: Callable[[str], int]


def pack(
    memories: Sequence[Memory],
    token_budget: int,
    counter: TokenCounter,
    passages: Sequence[tuple[int, int] | None] | None = None,
    state: Block | None = None,
    said: frozenset[str] = frozenset(),
) -> Context:
    """Fill the budget with memories, best first, after a session's working memory where there is one.

    Args:
        memories: in order of preference.
        token_budget: at most so many tokens of `counter` in the text.
        passages: of each memory, the characters [start, end) of its text that are given; None: all of it.
        state: the working memory, within the budget.
        said: ids of the memories that it says whole; they have no block of their own.
    """
    head = [] if state is None else [state]
    blocks = list(head)
    left = token_budget - sum(block.tokens for block in head)
    for memory, passage in zip(memories, passages or [None] * len(memories), strict=True):
        if memory.id in said:
            continue
        shown = memory.item.text if passage is None else memory.item.text[slice(*passage)]
        piece = render(memory, shown)
        tokens = counter.count(piece)
        if tokens > left and blocks == head:
            piece = _cut(memory, shown, left, counter)
            tokens = counter.count(piece)
        if piece and tokens <= left:
            blocks.append(Block(piece, (memory.id,), tokens))
            left -= tokens
    text = "".join(block.text for block in blocks)
    while blocks and counter.count(text) > token_budget:
        text = text[: -len(blocks.pop().text)]
    return Context(text, tuple(blocks), counter.count(text) if text else 0, counter.name)


def tag(memory: Memory) -> str:
    """The citation of a memory: the end of its id, in lower case."""
    return memory.id[-TAG_CHARS:].lower()


def render(memory: Memory, text: str | None = None) -> str:
    """A memory, or that much of its text, as one line: `[7q4k] 2026-03-14, Alice: I moved to Lisbon.`"""
    item = memory.item
    when = item.occurred_at.date().isoformat() if item.occurred_at is not None else None
    who = item.speaker or item.role or (item.kind if item.kind != "turn" else None)
    head = ", ".join(_fold(part) for part in (when, who) if part)
    said = _fold(item.text if text is None else text)
    return f"[{tag(memory)}] {head}: {said}\n" if head else f"[{tag(memory)}] {said}\n"


def _cut(memory: Memory, text: str, token_budget: int, counter: TokenCounter) -> str:
    """As much of a memory's text as the budget holds, at a word's end; nothing where that is next to nothing."""
    if token_budget < TOKENS_OF_A_CUT_MIN:
        return ""

    def too_long(end: int) -> bool:
        return counter.count(render(memory, text[:end] + " …")) > token_budget

    ends = [0, *(word.end() for word in re.finditer(r"\S+", text)), len(text)]
    place = bisect_left(ends, True, lo=1, key=too_long)
    end, following = ends[place - 1], ends[min(place, len(ends) - 1)]
    if following - end > WORD_CHARS_MAX:
        end += bisect_left(range(end + 1, following), True, key=too_long)
    return render(memory, text[:end] + " …") if end else ""


def _fold(text: str) -> str:
    """One line, so that a memory can not begin a line of its own."""
    return " ".join(text.split())
