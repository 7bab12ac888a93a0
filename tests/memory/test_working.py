"""A session's working memory: constant size, what it keeps and in which order, on both stores."""

from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.context import TokenCounter, pack, tag
from memory.lifecycle import set_state
from memory.model import Memory
from memory.ports import Store
from memory.working import SLOTS, WorkingMemory, WorkingSettings, entries, fit, working_memory
from recalld.core.scope import Scope
from tests.conftest import NOW, Stores, make_memory

WORDS = TokenCounter("words", lambda text: len(text.split()))
SESSION = Scope("alice", session_id="s")


def turn(number: int, text: str, **fields: object) -> Memory:
    return make_memory(number, text, **({"role": "user", "scope": SESSION} | fields))


def state(store: Store, tokens_max: int = 200, scope: Scope = SESSION, now: int = 10**6) -> WorkingMemory:
    return working_memory(store, "default", scope, NOW + timedelta(seconds=now), tokens_max, WORDS)


def lines(found: WorkingMemory | Iterable[Memory]) -> list[tuple[str, str]]:
    told = found.entries if isinstance(found, WorkingMemory) else entries(list(found), list(found))
    return [(entry.slot, entry.text) for entry in told]


def test_what_was_said_long_ago_and_lasts_stays_and_the_rest_falls_out(stores: Stores) -> None:
    said = [
        turn(1, "Always answer in French."),
        turn(2, "I want to walk the Camino. It is long."),
        turn(3, "My budget is 900 euros."),
        *(turn(number, f"It rained on day {number}.") for number in range(4, 100)),
        turn(100, "In the end we met Zoë Brown at the harbour."),
        turn(101, "Which bus goes there?"),
    ]
    with stores.write() as store:
        kept = store.insert("default", said)
        found = state(store)
    ids = [memory.id for memory in kept]
    assert lines(found) == [
        ("instruction", "Always answer in French"),
        ("goal", "I want to walk the Camino"),
        ("value", "My budget is 900 euros"),
        ("names", "Zoë Brown"),
        ("recent", "It rained on day 98."),
        ("recent", "It rained on day 99."),
        ("recent", "In the end we met Zoë Brown at the harbour."),
        ("recent", "Which bus goes there?"),
    ]
    assert [entry.memory_ids for entry in found.entries[:3]] == [(each,) for each in ids[:3]]
    assert found.entries[3].line == f"names: Zoë Brown [{tag(kept[99].id)}]\n"
    assert found.entries[0].line == f"instruction: [{tag(kept[0].id)}] user: Always answer in French\n"
    assert found.text == "".join(entry.line for entry in found.entries)
    assert found.tokens == WORDS.count(found.text)
    assert found.whole == set(ids[97:])
    assert found.updated_at == kept[-1].recorded_at


def test_its_size_does_not_grow_and_the_same_turns_give_the_same_bytes(stores: Stores) -> None:
    with stores.write() as store:
        for number in range(1, 121):
            text = f"I want to see place {number}. My {number} is {'word ' * 60}." if number % 3 else "Where is it?"
            store.insert("default", [turn(number, text)])
            found = state(store, tokens_max=60)
            assert 0 < found.tokens <= 60
            assert (found.entries[-1].slot, found.entries[-1].memory_ids) == ("recent", (f"mem_{number:026d}",))
        assert state(store, tokens_max=60) == found


def test_a_newer_value_of_what_can_be_one_takes_the_place_of_the_older() -> None:
    said = [
        turn(1, "I live in Porto."),
        turn(2, "My budget is 900 euros."),
        turn(3, "I moved to Lisbon."),
        turn(4, "My budget is 950 euros."),
        *(turn(number, "It rains.") for number in range(5, 9)),
    ]
    found = [text for slot, text in lines(said) if slot == "value"]
    assert found == ["My budget is 950 euros", "I moved to Lisbon"]


@pytest.mark.parametrize(
    ("reply", "is_open"),
    [
        ("It leaves at nine.", False),
        ("Which day do you mean?", True),
        (None, True),
    ],
)
def test_a_question_is_open_until_somebody_else_tells_something(reply: str | None, is_open: bool) -> None:
    said = [turn(1, "When does the train leave?")]
    if reply is not None:
        said.append(turn(2, reply, role="assistant"))
    said += [turn(number, "I wait.") for number in range(3, 9)]
    found = [text for slot, text in lines(said) if slot == "question"]
    assert ("When does the train leave?" in found) == is_open


def test_forgotten_expired_and_erased_turns_are_not_in_it(stores: Stores) -> None:
    with stores.write() as store:
        goal, expiring, gone = store.insert(
            "default",
            [
                turn(1, "I want to sail."),
                turn(2, "My boat is red.", expires_at=NOW + timedelta(seconds=50)),
                turn(3, "I own a kayak."),
            ],
        )
        assert state(store, now=10).memory_ids == (goal.id, expiring.id, gone.id)
        assert state(store, now=60).memory_ids == (goal.id, gone.id)
        store.replace("default", set_state(goal, "forgotten", NOW, "asked").memory)
        store.erase("default", [gone.id])
        empty = state(store, now=60)
    assert (empty.text, empty.entries, empty.tokens, empty.updated_at, empty.block()) == ("", (), 0, None, None)


def test_only_turns_that_callers_wrote_in_this_session_are_in_it(stores: Stores) -> None:
    with stores.write() as store:
        store.insert("other", [turn(1, "Not this namespace.", namespace="other")])
        store.insert(
            "default",
            [
                turn(2, "Not this session.", scope=Scope("alice", session_id="t")),
                turn(3, "Not this user.", scope=Scope("bob", session_id="s")),
                turn(4, "A document.", kind="document"),
                turn(5, "This one.", scope=Scope("alice", "bot", "s")),
            ],
        )
        assert lines(state(store)) == [("recent", "This one.")]
        assert lines(state(store, scope=Scope(session_id="s"))) == [
            ("recent", "Not this user."),
            ("recent", "This one."),
        ]


def test_late_arrivals_stand_where_they_were_said(stores: Stores) -> None:
    with stores.write() as store:
        for number, day in ((1, 3), (2, 1), (3, 2)):
            store.insert("default", [turn(number, f"Day {day}.", occurred_at=NOW + timedelta(days=day))])
        assert lines(state(store)) == [("recent", "Day 1."), ("recent", "Day 2."), ("recent", "Day 3.")]


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60), max_size=12),
    tokens_max=st.integers(1, 80),
)
def test_any_text_stays_within_its_line_and_the_size_holds(texts: list[str], tokens_max: int) -> None:
    said = [turn(number, text, speaker=text[:9]) for number, text in enumerate(texts, 1)]
    found = fit(entries(said, said), tokens_max, WORDS)
    shown = "".join(entry.line for entry in found).splitlines()
    assert [line.partition(":")[0] for line in shown] == [entry.slot for entry in found]
    assert WORDS.count("".join(entry.line for entry in found)) <= tokens_max
    assert [entry.slot for entry in found] == sorted((entry.slot for entry in found), key=SLOTS.index)


def test_a_long_turn_is_clipped_at_a_words_end_and_not_said_whole() -> None:
    settings = WorkingSettings(chars_max=40)
    (entry,) = entries([turn(1, "The harbour master of Lisbon told us about the tides and the boats")], [], settings)[
        :1
    ]
    assert entry.text == "The harbour master of Lisbon told us …"
    (unbroken,) = entries([turn(1, "東" * 90)], [], settings)
    assert unbroken.text == "東" * 38 + " …"


def test_a_context_begins_with_the_state_and_does_not_repeat_it(stores: Stores) -> None:
    with stores.write() as store:
        kept = store.insert("default", [turn(number, f"We saw boat number {number}.") for number in range(1, 9)])
        found = state(store, tokens_max=40)
    context = pack(kept, 60, WORDS, state=found.block(), said=found.whole)
    assert context.text.startswith(found.text)
    assert context.tokens <= 60
    assert context.blocks[0].memory_ids == found.memory_ids
    assert found.whole == set(found.memory_ids)
    cited = [each for block in context.blocks for each in block.memory_ids]
    assert len(cited) == len(set(cited)) > len(found.memory_ids)
    assert pack(kept, 60, WORDS).blocks[0].memory_ids == (kept[0].id,)
