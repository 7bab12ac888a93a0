"""What a user corrects, asks for again and praises is kept word for word, and small talk is not."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.derive.refined import Refined, read
from memory.model import Item, Memory, Selection
from recalld.bootstrap import Service
from recalld.core.scope import EVERYTHING, Scope
from tests.conftest import NOW, WHO, erase, make_memory

SESSION = Scope("ann", None, "s1")

LABELLED: dict[str | None, tuple[str, ...]] = {
    "correction": (
        "No, I meant the blue one.",
        "Actually, I wanted it in metric units.",
        "That's wrong. It's on Tuesday.",
        "Sorry, that is not what I asked for.",
        "No, it's spelled with two t's.",
        "You got the date wrong.",
        "This isn't correct, the tax is 7 %.",
        "I said Berlin, not Bern.",
        "Wait, no, I meant the second table.",
        "Correction: the meeting is at noon.",
        "You misunderstood me.",
        "It was just wrong about the price.",
    ),
    "repeat": (
        "As I said, use metric units.",
        "Like I mentioned, I'm allergic to nuts.",
        "Again, please: the list as a table.",
        "I already told you that I don't eat meat.",
        "Show me the weekly report again.",
        "Can you send the summary again?",
        "Please write it like last time.",
        "Same format as before.",
        "Once more, in French.",
        "I told you to keep it short.",
    ),
    "praise": (
        "Perfect, thank you!",
        "That's exactly what I needed.",
        "I love how you laid out the steps.",
        "Great job!",
        "Excellent. Now the next one.",
        "Yes! This is perfect, save it.",
        "I really like the way you explain things.",
        "Spot on.",
        "I like that you kept it short.",
    ),
    None: (
        "I moved to Lisbon in March.",
        "Is that wrong?",
        "No, thanks.",
        "No problem at all.",
        "I was wrong about him.",
        "We had a perfect day at the beach.",
        "I'd love to see it.",
        "My sister got married again.",
        "That's great news about your dog.",
        "I said hello to the neighbours.",
        "What's the right way to cook rice?",
        "I like that you can see the sea from here.",
        "Try the new cafe on the corner.",
        "It's not far from the station.",
        "Thanks!",
        "I actually enjoyed the film.",
        "You have what it takes.",
        "Exactly how many were there?",
        "Hmm, the big one sounds good.",
        "Please try again later.",
        "The weather was perfect, and it was just what I needed.",
        "That's exactly what I did wrong on my last trip.",
        "That's great! I'll check out those stores.",
    ),
}


def turn(number: int, text: str, role: str = "user", scope: Scope = SESSION) -> Memory:
    return make_memory(number, text, role=role, scope=scope)


@pytest.mark.parametrize(("wanted", "text"), [(sort, text) for sort, texts in LABELLED.items() for text in texts])
def test_what_a_turn_does_is_read_off_it(wanted: str | None, text: str) -> None:
    cue = read(turn(2, text), turn(1, "Here is the table.", "assistant"))
    assert (cue.sort if cue else None) == wanted


def derive(*said: tuple[str, str], scope: Scope = SESSION) -> list[tuple[str, str, int]]:
    memories = [turn(n, text, role, scope) for n, (role, text) in enumerate(said, 1)]
    found = Refined().derive(memories, frozenset())
    return [(each.item.metadata["refined"], each.item.text, each.item.metadata["times"]) for each in found]


BOOKED = ("assistant", "I booked the red one. Anything else?")


def test_it_stands_beside_what_it_is_about_and_names_both() -> None:
    memories = [turn(1, BOOKED[1], "assistant"), turn(2, "Hm. No, I meant the blue one. It is cheaper. Bye.")]
    [proposal] = Refined().derive(memories, frozenset())
    assert proposal.item.text.split("\n") == [
        "assistant: I booked the red one.",
        "user: No, I meant the blue one.",
        "user: It is cheaper.",
    ]
    assert (proposal.item.kind, set(proposal.sources)) == ("summary", {memories[0].id, memories[1].id})
    assert proposal.item.metadata["refined"] == "correction"


def test_what_is_asked_for_again_and_again_is_one_memory_that_counts() -> None:
    said = [("user", "As I said, use metric units."), ("assistant", "Two miles."), ("user", "As I said: metric units!")]
    assert derive(*said) == [("repeat", "assistant: Two miles.\nuser: As I said: metric units!", 2)]
    assert len(derive(*said, scope=Scope("ann"))) == 2, "outside a session each stands alone"
    assert [times for *_, times in derive(BOOKED, ("user", "Perfect."), BOOKED, ("user", "Perfect."))] == [1, 1]


def test_only_a_users_turn_does_it() -> None:
    assert derive(("assistant", "No, I meant the blue one."), ("system", "Perfect.")) == []
    assert derive() == []
    assert derive(("user", "No, I meant the blue one. " + "x" * 500)) == [
        ("correction", "user: No, I meant the blue one.", 1)
    ]


words = st.lists(
    st.sampled_from(["No, I meant tea.", "As I said, tea.", "Perfect!", "Fine?", "日本。", "that's wrong", "\n", " "]),
    min_size=1,
    max_size=6,
).map(" ".join)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), words.filter(str.strip)), max_size=8))
def test_every_line_is_a_part_of_a_source_and_deriving_is_repeatable(said: Sequence[tuple[str, str]]) -> None:
    memories = [turn(n, text, role) for n, (role, text) in enumerate(said, 1)]
    by_id = {memory.id: memory for memory in memories}
    found = Refined().derive(memories, frozenset())
    assert found == Refined().derive(memories, frozenset(by_id))
    assert len({each.key for each in found}) == len(found)
    for each in found:
        cited = each.item.metadata["citations"]
        shown = [by_id[c["memory_id"]].item.text[c["start"] : c["end"]] for c in cited]
        assert [line.split(": ", 1)[1] for line in each.item.text.split("\n")] == shown
        assert {c["memory_id"] for c in cited} <= set(each.sources) <= by_id.keys()


def test_consolidation_keeps_it_and_an_erased_source_takes_it_along(make_service: Callable[..., Service]) -> None:
    service = make_service()
    with service.write_store() as store:
        said = (("assistant", BOOKED[1]), ("user", "No, I meant the blue one."), ("assistant", "Done."))
        items = [Item(text, role=role, scope=SESSION, occurred_at=NOW) for role, text in said]
        kept = service.memories.add(store, WHO, items)

    def run(scopes: Sequence[Scope] = ()) -> list[str]:
        planned = service.consolidator.plan("default", None, EVERYTHING, scopes)
        with service.write_store() as store:
            service.consolidator.write(store, "default", planned)
            found = store.select("default", Selection(metadata={"refined": "correction"}), NOW, 9)
        return [memory.item.text for memory in found]

    told = ["assistant: I booked the red one.\nuser: No, I meant the blue one."]
    assert run() == told
    assert run([SESSION]) == told
    erase(service, kept[0].id)
    assert run([SESSION]) == ["user: No, I meant the blue one."]
    erase(service, kept[1].id)
    assert run([SESSION]) == []
