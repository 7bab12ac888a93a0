"""Summaries hold sentences of their session, word for word, within the budget, and the same each time."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from memory.derive.summaries import SessionSummaries, SummarySettings
from memory.model import Memory
from recalld.core.scope import Scope
from tests.conftest import make_memory

SESSION = Scope("ann", None, "s1")
TALK = (
    "We booked the flights to Lisbon for the March holiday. Great!",
    "The Lisbon hotel near the harbour costs ninety euros a night.",
    "Yes.",
    "Did you pack the camera for the holiday in Lisbon?",
    "My neighbour repaired his blue bicycle yesterday evening.",
    "The flights to Lisbon leave on the third of March at noon.",
    "We booked the flights to Lisbon for the March holiday.",
    "Thanks, good night.",
)


def words(text: str) -> int:
    return len(text.split())


def session(texts: Sequence[str] = TALK, scope: Scope = SESSION) -> list[Memory]:
    return [make_memory(n, text, speaker="Ann" if n % 2 else "Bob", scope=scope) for n, text in enumerate(texts, 1)]


def summary(memories: Sequence[Memory], **settings: float) -> list[str]:
    found = SessionSummaries(words, replace(SummarySettings(tokens_max=40), **settings)).derive(memories, frozenset())
    return found[0].item.text.split("\n") if found else []


def test_it_takes_what_the_session_is_about_and_says_nothing_twice() -> None:
    memories = session()
    [proposal] = SessionSummaries(words, SummarySettings(tokens_max=26)).derive(memories, frozenset())
    assert proposal.item.text.split("\n") == [
        "Ann: We booked the flights to Lisbon for the March holiday.",
        "Bob: The flights to Lisbon leave on the third of March at noon.",
    ]
    assert (proposal.key, proposal.item.kind) == ("session", "summary")
    assert proposal.sources == (memories[0].id, memories[5].id)


def test_every_line_is_cited_by_the_characters_that_it_is() -> None:
    memories = session()
    [proposal] = SessionSummaries(words, SummarySettings(tokens_max=60)).derive(memories, frozenset())
    by_id = {memory.id: memory for memory in memories}
    lines = []
    for cited in proposal.item.metadata["citations"]:
        item = by_id[cited["memory_id"]].item
        lines.append(f"{item.speaker}: {item.text[cited['start'] : cited['end']]}")
    assert lines == proposal.item.text.split("\n")
    assert len(lines) >= 4
    assert {cited["memory_id"] for cited in proposal.item.metadata["citations"]} == set(proposal.sources)


def test_a_short_session_and_memories_outside_any_have_none() -> None:
    assert summary(session(TALK[:7])) == []
    assert summary(session(scope=Scope("ann"))) == []
    assert summary([]) == []
    assert summary(session(("Yes.",) * 20)) == []
    assert summary(session(), tokens_max=3) == []


@given(
    texts=st.lists(st.text("abcde .!?\n日本。", max_size=60).filter(str.strip), min_size=8, max_size=12),
    budget=st.integers(1, 60),
)
def test_it_is_within_the_budget_made_of_its_session_and_the_same_again(texts: list[str], budget: int) -> None:
    memories = session(texts)
    lines = summary(memories, tokens_max=budget, terms_min=1)
    assert words("\n".join(lines)) <= budget
    assert all(any(line.split(": ", 1)[1] in text for text in texts) for line in lines)
    assert lines == summary(memories, tokens_max=budget, terms_min=1)
