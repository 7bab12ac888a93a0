"""Which turns say the same."""

import numpy as np
import pytest

from memory.near_duplicates import GROUPS, compared, keys, repeats, term_groups
from recalld.core.scope import Scope
from tests.conftest import make_memory

WEIGHT = "My weight this morning on the bathroom scale was 80 kg."
SAID = "Yesterday I walked all the way along the river to the old harbour and had dinner there with Maria."


def same(one: str, other: str) -> bool:
    first, second = (compared(make_memory(number, text)) for number, text in enumerate((one, other), 1))
    return first is not None and second is not None and repeats(first, second) and repeats(second, first)


@pytest.mark.parametrize(
    "again",
    [
        SAID,
        SAID.lower().rstrip("."),
        SAID.upper(),
        SAID.replace("dinner", "diner"),
        SAID.replace("all the way ", ""),
        f"Well, {SAID}",
        f"{SAID} Nice!",
    ],
)
def test_a_small_edit_says_the_same(again: str) -> None:
    assert same(SAID, again)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SAID, SAID.replace("Maria", "Ann")),
        (SAID, SAID.replace("I walked", "I never walked")),
        (SAID, "Tomorrow we will meet at the station and take the early train to the mountains with our bikes."),
        (WEIGHT, WEIGHT.replace("80", "82")),
        ("I live in Porto.", "I live in Lisbon."),
        ("the blue one please", "the red one please"),
        ("I like it a lot", "I like it"),
    ],
)  # fmt: skip
def test_what_differs_in_what_counts_does_not(one: str, other: str) -> None:
    assert not same(one, other)


def test_short_turns_are_compared_whole_and_the_shortest_not_at_all() -> None:
    assert same("I live in Porto.", "i live in PORTO")
    assert all(compared(make_memory(1, text)) is None for text in ("Yes.", "ok thanks", "!!!", "🎉"))


def test_only_active_turns_of_callers_are_compared() -> None:
    assert compared(make_memory(1, SAID)) is not None
    assert compared(make_memory(1, SAID, kind="document")) is None
    assert compared(make_memory(1, SAID, state="forgotten")) is None


@pytest.mark.parametrize("whose", [{"speaker": "Ann"}, {"role": "user"}, {"scope": Scope(user_id="ann")}])
def test_what_another_one_said_is_not_a_repeat(whose: dict[str, object]) -> None:
    both = [compared(make_memory(1, SAID)), compared(make_memory(2, SAID, **whose))]
    own, other = [one for one in both if one is not None]
    assert not repeats(own, other)
    found = keys([own, other, own])
    assert not (found[0] == found[1]).any()
    assert (found[0] == found[2]).all()


def test_a_near_duplicate_shares_a_key() -> None:
    texts = [compared(make_memory(number, text)) for number, text in enumerate((SAID, f"{SAID} Nice!"), 1)]
    found = keys([one for one in texts if one is not None])
    assert (found[0] == found[1]).any()


def test_groups_hold_the_longest_terms_once() -> None:
    words = [f"w{number:02d}{'x' * (number % 7)}" for number in range(60)]
    groups = term_groups([*words, *words])
    chosen = [word for group in groups for word in group]
    assert len(groups) == GROUPS
    assert len(chosen) == len(set(chosen)) == 24
    assert min(map(len, chosen)) >= max(len(word) for word in set(words) - set(chosen)) - 1
    assert term_groups(["a", "bb"]) == [["bb", "a"]]
    assert term_groups([]) == []
    assert np.unique([len(group) for group in groups]).tolist() == [4]
