"""The benchmark of segments, on chats of its own."""

import random
from itertools import pairwise

import numpy as np

from bench.datasets import Turn
from bench.segments import _measured, in_turns, matched, run_on, scored, vectors
from retrieval.encode_hash import HashEncoder


def turns(name: str, *texts: str) -> list[Turn]:
    return [Turn(f"{name}{number}", name, text, None, role="user") for number, text in enumerate(texts)]


BOATS = turns("boats", "The boat has a tall mast.", "The tall mast of the boat.", "A boat with a tall mast.")
BREAD = turns("bread", "Bread needs yeast.", "Yeast and flour for bread.", "The flour of this bread is rye flour.")


def test_a_place_is_matched_once_and_within_the_tolerance() -> None:
    assert matched([3, 4, 9], [4, 10], 1) == 2
    assert matched([3, 4, 9], [4, 10], 0) == 1
    assert matched([5, 6], [5], 1) == 1
    assert scored([3, 9], [4]) == {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "exact f1": 0.0}
    assert scored([], [4]) == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "exact f1": 0.0}


def test_parts_come_in_their_own_order_and_no_name_twice_running() -> None:
    parts = [(name, turns(f"{name}{number}", "x")) for name in "abc" for number in range(4)]
    mixed = [part[0].session for part in in_turns(parts, random.Random(1))]
    assert all(one[0] != other[0] for one, other in pairwise(mixed))
    for name in "abc":
        own = [each for each in mixed if each[0] == name]
        assert own == sorted(own)
    assert len(mixed) >= 9


def test_a_switch_of_topic_is_found_and_ways_that_see_no_text_do_not_find_it() -> None:
    chat = run_on([BOATS, BREAD])
    assert chat.places == (3,)
    of_turns = vectors(chat.turns, HashEncoder())
    assert np.allclose(np.linalg.norm(of_turns, axis=1), 1)
    found = _measured(chat, of_turns, 1)
    assert found["ours"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "exact f1": 1.0}
    assert found["time gaps"]["f1"] == 0.0
