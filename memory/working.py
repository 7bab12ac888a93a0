"""Working memory: what an agent has to keep in mind of one session, in a space that does not grow.

After MEM1 (Zhou et al., "MEM1: Learning to Synergize Memory and Reasoning for Efficient Long-Horizon Agents", 2025,
section 3: one internal state of constant size, consolidated turn by turn), without a model: a few slots of a few lines,
each a turn or a sentence of one, word for word and cited.

    instruction, goal, value    the newest sentences of the whole session that last (`memory.lasting`)
    names                       who and what the newest turns name
    question                    what was asked and not answered yet
    recent                      the newest turns, clipped

It is worked out when it is asked for, from the newest turns of the session and the newest ones that last: two reads of
an index, however long the session is. So it shows each write that was acknowledged, and keeps no text of its own: what
is forgotten, erased or expired is not in it, and what falls out of it stays in memory and is recalled.

Invariants: at most `tokens_max` tokens; the same turns give the same bytes; memory text stays within its line, which
begins with the name of its slot.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, get_args

from memory.context import Block, TokenCounter, render, tag
from memory.derive.facts import read as read_facts
from memory.facts import SINGLE_VALUED
from memory.ingest import last_question
from memory.lasting import Lasting, LastingSlot, lasting
from memory.model import Memory
from memory.ports import SearchStore
from recalld.core.scope import Scope
from retrieval.traits import asks

Slot = Literal["instruction", "goal", "value", "names", "question", "recent"]
SLOTS: Final[tuple[Slot, ...]] = get_args(Slot)
"""In the order in which they are shown: what changes least comes first, so that a prompt keeps its beginning."""

CONTEXT_SHARE: Final = 8
"""A state takes at most one part in so many of a context's budget: what was recalled is not to go without room."""

_NAME: Final = re.compile(r"(?<=[a-z,;] )[A-Z][\w'’-]*\w(?: [A-Z][\w'’-]*\w)*")
_NO_NAME: Final = re.compile(
    r"^(?:I['’]\w+|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|January|February|March|April|May|June|July|August"
    r"|September|October|November|December)$"
)


@dataclass(frozen=True, slots=True)
class WorkingSettings:
    """How much is looked at, and how many lines each slot has.

    Attributes:
        turns_max: newest turns that names, questions and `recent` are taken from.
        lasting_max: newest turns that say something lasting.
        chars_max: of the text of a line; a longer one is clipped at a word's end.
    """

    turns_max: int = 16
    lasting_max: int = 32
    instructions: int = 3
    goals: int = 3
    values: int = 5
    names: int = 8
    questions: int = 2
    recent: int = 4
    chars_max: int = 140


SETTINGS = WorkingSettings()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: what it is, what is said, and the memories that say it."""

    slot: Slot
    text: str
    memory_ids: tuple[str, ...]
    line: str


@dataclass(frozen=True, slots=True)
class WorkingMemory:
    """The state of one session.

    Attributes:
        whole: ids of the memories whose text stands in it unclipped.
        updated_at: when the newest version of a turn that was looked at was recorded; None without any.
    """

    entries: tuple[Entry, ...]
    text: str
    tokens: int
    tokenizer: str
    whole: frozenset[str]
    updated_at: datetime | None

    @property
    def memory_ids(self) -> tuple[str, ...]:
        """Everything that is cited, in order."""
        return tuple(dict.fromkeys(each for entry in self.entries for each in entry.memory_ids))

    def block(self) -> Block | None:
        """As the first block of a context; None where it says nothing."""
        return Block(self.text, self.memory_ids, self.tokens) if self.text else None


def working_memory(
    store: SearchStore,
    namespace: str,
    scope: Scope,
    now: datetime,
    tokens_max: int,
    counter: TokenCounter,
    settings: WorkingSettings = SETTINGS,
) -> WorkingMemory:
    """The working memory of the session that `scope` names, as this transaction sees it."""
    newest = store.session_turns(namespace, scope, now, settings.turns_max)
    lasts = store.session_turns(namespace, scope, now, settings.lasting_max, lasting=True)
    found = fit(entries(newest, lasts, settings), tokens_max, counter)
    text = "".join(entry.line for entry in found)
    said = {memory.id: memory.item.text for memory in newest}
    whole = {
        memory_id
        for entry in found
        for memory_id in entry.memory_ids
        if entry.slot == "recent" and entry.text == _fold(said[memory_id])
    }
    return WorkingMemory(
        found,
        text,
        counter.count(text) if text else 0,
        counter.name,
        frozenset(whole),
        max((memory.recorded_at for memory in newest), default=None),
    )


def entries(newest: Sequence[Memory], lasts: Sequence[Memory], settings: WorkingSettings = SETTINGS) -> list[Entry]:
    """The lines of a state, most important first.

    Args:
        newest: the newest turns, in the order of the session.
        lasts: the newest turns that say something lasting, in the same order.
    """
    recent = list(_recent(newest, settings))
    shown = {entry.memory_ids[0]: entry.text for entry in recent}
    open_questions = list(_questions(newest, shown, settings))
    read = [(memory, each) for memory in reversed(lasts) for each in reversed(lasting(memory))]
    kept = {slot: list(_lasting(slot, read, shown, settings)) for slot in ("instruction", "goal", "value")}
    names = _names(newest, settings)
    # By turns, so that no slot is empty because another one is long; the newest of each first.
    first = [recent[::-1], kept["instruction"], kept["goal"], open_questions[::-1], kept["value"]]
    ranked = [entries[place] for place in range(max(map(len, first))) for entries in first if place < len(entries)]
    return [*ranked, *names]


def fit(ranked: Sequence[Entry], tokens_max: int, counter: TokenCounter) -> tuple[Entry, ...]:
    """As many entries as the tokens hold, best first, in the order in which they are shown: by slot, oldest first."""
    chosen: list[Entry] = []
    left = tokens_max
    for entry in ranked:
        tokens = counter.count(entry.line)
        if tokens <= left:
            chosen.append(entry)
            left -= tokens
    while chosen and counter.count("".join(entry.line for entry in chosen)) > tokens_max:
        chosen.pop()
    # `ranked` has the newest of a slot first.
    return tuple(entry for slot in SLOTS for entry in reversed(chosen) if entry.slot == slot)


def _recent(newest: Sequence[Memory], settings: WorkingSettings) -> Iterator[Entry]:
    for memory in newest[-settings.recent :]:
        yield _entry("recent", memory, _clip(memory.item.text, settings.chars_max))


def _questions(newest: Sequence[Memory], shown: dict[str, str], settings: WorkingSettings) -> Iterator[Entry]:
    """Questions after which nobody else has told anything, oldest first."""
    found = []
    for place, memory in enumerate(newest):
        asked = last_question(memory.item.text)
        if asked and not any(_answers(memory, later) for later in newest[place + 1 :]):
            said = _clip(asked, settings.chars_max)
            if said not in shown.get(memory.id, ""):
                found.append(_entry("question", memory, said))
    yield from found[-settings.questions :]


def _answers(memory: Memory, later: Memory) -> bool:
    """Whether a later turn is another party's and does not only ask in its turn."""
    return _party(later) != _party(memory) and not asks(later.item.text)


def _party(memory: Memory) -> tuple[str | None, str | None]:
    return (memory.item.role, memory.item.speaker)


def _lasting(
    slot: LastingSlot, read: Sequence[tuple[Memory, Lasting]], shown: dict[str, str], settings: WorkingSettings
) -> Iterator[Entry]:
    """The newest sentences of a slot, newest first, each once; of values that can only be one, the newest."""
    most = {"instruction": settings.instructions, "goal": settings.goals, "value": settings.values}[slot]
    seen: set[object] = set()
    found = 0
    for memory, each in read:
        if each.slot != slot:
            continue
        sentence = memory.item.text[each.start : each.end]
        said = _clip(sentence, settings.chars_max)
        names = _told(memory, sentence) if slot == "value" else [said.casefold()]
        if seen.isdisjoint(names) and said not in shown.get(memory.id, ""):
            yield _entry(slot, memory, said)
            found += 1
        seen.update(names)
        if found == most:
            return


def _told(memory: Memory, sentence: str) -> list[object]:
    """What makes two values the same: their slot where it holds one at a time, else all that is said."""
    statements = read_facts(replace(memory, item=replace(memory.item, text=sentence)))
    told: list[object] = [
        each.triple.slot if each.unique or each.triple.predicate in SINGLE_VALUED else each.triple.key
        for each in statements
    ]
    return told or [_fold(sentence).casefold()]


def _names(newest: Sequence[Memory], settings: WorkingSettings) -> list[Entry]:
    """One line of the names in the newest turns, newest first, each with where it stands."""
    found: dict[str, Memory] = {}
    for memory in reversed(newest):
        for name in _NAME.findall(memory.item.text[: settings.chars_max * 10]):
            if not _NO_NAME.match(name):
                found.setdefault(_clip(name, settings.chars_max // 4), memory)
    names = list(found.items())[: settings.names]
    if not names:
        return []
    line = ", ".join(f"{name} [{tag(memory.id)}]" for name, memory in names)
    ids = tuple(dict.fromkeys(memory.id for _, memory in names))
    return [Entry("names", ", ".join(name for name, _ in names), ids, f"names: {line}\n")]


def _entry(slot: Slot, memory: Memory, said: str) -> Entry:
    return Entry(slot, said, (memory.id,), f"{slot}: {render(memory, said)}")


def _clip(text: str, chars_max: int) -> str:
    """At most so many characters of a text as one line, to a word's end where there is one."""
    said = _fold(text[: 2 * chars_max])
    if len(said) <= chars_max and len(text) <= 2 * chars_max:
        return said
    cut = said[: chars_max - 2]
    before, blank, _ = cut.rpartition(" ")
    return f"{before if blank and len(before) > chars_max // 2 else cut} …"


def _fold(text: str) -> str:
    return " ".join(text.split())
