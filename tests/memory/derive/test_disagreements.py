"""Turns that disagree: which are linked, which are not, and the newer first."""

import pytest

from memory.derive.disagreements import Said, disagreements, values_of

OTHERS = [
    Said("o1", "Can you help me plan dinner for the children on Sunday evening?"),
    Said("o2", "The garden needs water, and the fence is still broken after the storm."),
    Said("o3", "I'd like a summary of this article on tax law."),
]


def links(*texts: str) -> list[tuple[str, str, str]]:
    said = [Said(str(number), text) for number, text in enumerate(texts)]
    return [(each.kind, each.newer, each.older) for each in disagreements([*said[:1], *OTHERS, *said[1:]])]


def test_a_denial_is_linked_to_what_it_denies_whichever_came_first() -> None:
    met, never = "I met Kyle at a sneaker expo in 2018.", "I've never met Kyle or been to a sneaker expo."
    assert links(met, never) == [("conflict", "1", "0")]
    assert links(never, met) == [("conflict", "1", "0")]


def test_of_two_turns_that_a_denial_fits_a_long_one_has_to_share_more() -> None:
    never = "I've never placed an online order for sneakers."
    ordered = "I just placed an order for red sneakers."
    other = "sneakers online order " + " ".join(f"thing{n} matter{n}" for n in range(60))
    assert links(ordered, other, never) == [("conflict", "2", "0")]
    assert links(other, ordered, never) == [("conflict", "2", "1")]


def test_a_value_spoken_of_as_changed_is_linked_to_the_earlier_one() -> None:
    assert links(
        "My April 20 deadline for the draft of the writing group worries me.",
        "I'm worried about the new April 25 deadline for the draft.",
    ) == [("possibly_supersedes", "1", "0")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I've spent $575 on sneakers.", "I spent $90 on sneakers."),
        ("My budget for sneakers is $600.", "My budget for sneakers is now $600."),
        ("My budget for sneakers is $600.", "My new bike weighs 12 kilos and cost $900 in the sale."),
        ("I've never eaten snails.", "I've never eaten snails, you know."),
        ("I met Kyle.", "I've never seen a whale."),
    ],
)
def test_what_does_not_speak_of_a_change_or_of_the_same_is_not_linked(one: str, other: str) -> None:
    assert links(one, other) == []


def test_values_have_kinds_and_know_whether_they_changed() -> None:
    found = list(values_of(0, "I increased my budget to $1,200. The meeting is at 3 PM on April 5, 90% sure, 12 books"))
    assert [(each.kind, each.text, each.changed) for each in found] == [
        ("money", "$1,200", True),
        ("clock", "3pm", False),
        ("date", "april5", False),
        ("percent", "90%", False),
        ("count", "12", False),
    ]
    assert {"budget"} <= found[0].around
