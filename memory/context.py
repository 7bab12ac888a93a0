"""Context: recalled memories as blocks of text under a strict token budget, each with the ids that it came from.

A block's bytes depend on its memory and the passage of it alone, not on its rank or its neighbours, and blocks are only
ever appended: the same passage gives the same tokens in every prompt, so that what a language model computed for it can
be used again.
Its citation is therefore a tag made from the memory's id (`[7q4k]`), not a number. Of 30 memories two have the same
tag once in 2,400 contexts; `Block.memory_ids` tells them apart.

A memory that a newer one disagrees with is followed by a line that says so, a block of its own that cites both. A newer
one that was not recalled is brought in before it, where the budget has room left when all that was recalled is in.

An event that the workspace answers a question with is told by its frame, in one short line, and cites every memory that
tells it.

Invariants: the tokens of the whole text, counted by the tokenizer that is named, are at most the budget; a block that
does not fit is left out whole and a smaller one may still fit, but the first one is cut to fit rather than return
nothing; a memory that a newer one disagrees with has its line behind it (or, cut to less than a line's room, is first
and alone); memory text is data: its line breaks are folded, so that it can not pass for the frame around it.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType

from memory.model import Memory
from memory.workspace import Actor, Event

TAG_CHARS = 4
TOKENS_OF_A_CUT_MIN = 24
WORD_CHARS_MAX = 24
"""What is longer has no spaces, as Chinese has none, and is cut at any character."""
UNDISPUTED: Mapping[str, Sequence[Memory]] = MappingProxyType({})


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
    events: Sequence[Event | None] | None = None,
    state: Block | None = None,
    said: frozenset[str] = frozenset(),
    newer: Mapping[str, Sequence[Memory]] = UNDISPUTED,
) -> Context:
    """Fill the budget with memories, best first, after a session's working memory where there is one.

    Args:
        memories: in order of preference.
        token_budget: at most so many tokens of `counter` in the text.
        passages: of each memory, the characters [start, end) of its text that are given; None: all of it.
        events: of each memory, the event that is told in the place of its text; None: none.
        state: the working memory, within the budget.
        said: ids of the memories that it says whole; they have no block of their own.
        newer: by a memory's id, the newer ones that disagree with it, newest first.
    """
    placed: list[_Placed] = []
    left = token_budget - (0 if state is None else state.tokens)
    nothing = [None] * len(memories)
    for memory, passage, event in zip(memories, passages or nothing, events or nothing, strict=True):
        if memory.id in said:
            continue
        text = memory.item.text if passage is None else memory.item.text[slice(*passage)]
        piece = render(memory, text) if event is None else render_event(event)
        block = _block(piece, (memory.id,) if event is None else event.memory_ids, counter)
        whole = _Placed(memory, block, tuple(newer.get(memory.id, ())))
        one = whole if whole.most(counter) <= left else None
        if one is None and not placed:
            one = _cut_to_fit(whole, text, left, counter)
        if one is not None:
            placed.append(one)
            left -= one.most(counter)
    shown = said | {one.memory.id for one in placed}
    recalled = {memory.id for memory in memories}
    for one in placed:
        for each in one.newer:
            brought = _block(render(each), (each.id,), counter)
            spare = one.most(counter) - one.cost(shown | {each.id}, counter)
            if each.id not in shown | recalled and brought.tokens <= left + spare:
                one.brought.append(brought)
                left -= brought.tokens
                shown |= {each.id}
    groups: list[tuple[Block, ...]] = [] if state is None else [(state,)]
    groups += [one.blocks(shown, counter) for one in placed]
    text = _joined(groups)
    while groups and counter.count(text) > token_budget:
        groups.pop()
        text = _joined(groups)
    blocks = tuple(block for group in groups for block in group)
    return Context(text, blocks, counter.count(text) if text else 0, counter.name)


@dataclass(slots=True)
class _Placed:
    """A memory in a context, the newer ones that disagree with it, and the blocks of those that were brought in."""

    memory: Memory
    block: Block
    newer: tuple[Memory, ...]
    brought: list[Block] = field(default_factory=list)

    def blocks(self, shown: AbstractSet[str], counter: TokenCounter) -> tuple[Block, ...]:
        """Its blocks, with the doubt behind it where there is one."""
        return (*self.brought, self.block, *self._doubt(shown, counter))

    def cost(self, shown: AbstractSet[str], counter: TokenCounter) -> int:
        """Tokens of the memory and its doubt where these memories are shown."""
        return self.block.tokens + sum(block.tokens for block in self._doubt(shown, counter))

    def most(self, counter: TokenCounter) -> int:
        """The same, whatever comes to be shown."""
        every = frozenset(each.id for each in self.newer)
        return max(self.cost(shown, counter) for shown in (frozenset[str](), every))

    def _doubt(self, shown: AbstractSet[str], counter: TokenCounter) -> tuple[Block, ...]:
        if not self.newer:
            return ()
        ids = (self.memory.id, *(each.id for each in self.newer))
        return (_block(render_doubt(self.memory, self.newer, shown), ids, counter),)


def render_doubt(memory: Memory, newer: Sequence[Memory], shown: AbstractSet[str]) -> str:
    """What stands behind a memory that newer ones disagree with: `[7q4k] disagrees with [9x2b], which is newer`; those
    that are not shown have no tag there."""
    seen = [f"[{tag(each.id)}]" for each in newer if each.id in shown]
    if not seen:
        return f"[{tag(memory.id)}] disagrees with a newer memory that is not shown\n"
    return f"[{tag(memory.id)}] disagrees with {' '.join(seen)}, which {'is' if len(seen) == 1 else 'are'} newer\n"


def _cut_to_fit(one: _Placed, text: str, token_budget: int, counter: TokenCounter) -> _Placed | None:
    """As much of a memory as fits, with its doubt where there is room for both, else without."""
    for newer in (one.newer, ()) if one.newer else ((),):
        room = token_budget - (replace(one, newer=newer).most(counter) - one.block.tokens)
        piece = _cut(one.memory, text, room, counter)
        if piece:
            return _Placed(one.memory, _block(piece, (one.memory.id,), counter), newer)
    return None


def _block(text: str, memory_ids: tuple[str, ...], counter: TokenCounter) -> Block:
    return Block(text, memory_ids, counter.count(text))


def _joined(groups: Sequence[Sequence[Block]]) -> str:
    return "".join(block.text for group in groups for block in group)


def tag(memory_id: str) -> str:
    """The citation of a memory: the end of its id, in lower case."""
    return memory_id[-TAG_CHARS:].lower()


def render(memory: Memory, text: str | None = None) -> str:
    """A memory, or that much of its text, as one line: `[7q4k] 2026-03-14, Alice: I moved to Lisbon.`"""
    item = memory.item
    when = item.occurred_at.date().isoformat() if item.occurred_at is not None else None
    who = item.speaker or item.role or (item.kind if item.kind != "turn" else None)
    head = ", ".join(_fold(part) for part in (when, who) if part)
    said = _fold(item.text if text is None else text)
    return f"[{tag(memory.id)}] {head}: {said}\n" if head else f"[{tag(memory.id)}] {said}\n"


def render_event(event: Event) -> str:
    """An event as one line: `[7q4k] 2026-05-03, Blue Café: Ann (guide), Bob: painted a mural`"""
    parts = (_when(event), event.place, ", ".join(map(_actor, event.actors)))
    where, who = ", ".join(_fold(part) for part in parts[:2] if part), _fold(parts[2])
    did = _fold(" ".join(part for part in (event.action, event.object) if part))
    cited = " ".join(f"[{tag(memory_id)}]" for memory_id in event.memory_ids)
    return f"{cited} {': '.join(part for part in (where, who, did) if part)}\n"


def _when(event: Event) -> str | None:
    """The day, or the days, by the clock of the place; the time of day where one is told."""
    if not event.dated:
        return None
    start, day = event.start, event.start.date().isoformat()
    if event.end is None or event.end - start < timedelta(days=1):
        return day if not (start.hour or start.minute) else f"{day} {start:%H:%M}"
    last = (event.end - timedelta(microseconds=1)).date().isoformat()
    return day if last == day else f"{day} to {last}"


def _actor(actor: Actor) -> str:
    known = "; ".join(part for part in (actor.role, actor.state) if part)
    return f"{actor.name} ({known})" if known else actor.name


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
