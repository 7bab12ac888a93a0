"""What counts as lost, doubled or torn, and one real round."""

from collections import Counter

import pytest

from bench.durability import Found, Sent, compare, run
from bench.runner import Options

CLEAN = {"lost": 0, "doubled": 0, "differing": 0, "torn_batches": 0, "unknown": 0}


def everywhere(words: dict[str, int]) -> Found:
    return Found(Counter(words), Counter(words), Counter(words))


SENT = Sent(acknowledged=[["a"], ["b", "c"]], unanswered=[["d", "e"], ["f"]])
ALL = {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("unanswered", [{}, {"d": 1, "e": 1}, {"f": 1}])
def test_what_was_not_acknowledged_may_be_there_or_not(unanswered: dict[str, int]) -> None:
    assert compare(SENT, everywhere(ALL | unanswered)) == CLEAN


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (everywhere({"a": 1, "b": 1}), {"lost": 1}),
        (everywhere(ALL | {"b": 2}), {"doubled": 1}),
        (everywhere(ALL | {"f": 2}), {"doubled": 1}),
        (everywhere(ALL | {"d": 1}), {"torn_batches": 1}),
        (everywhere(ALL | {"stranger": 1}), {"unknown": 1}),
        (Found(Counter(ALL), Counter({"a": 1, "b": 1}), Counter(ALL)), {"lost": 1}),
        (Found(Counter(ALL), Counter(ALL), Counter({"a": 1, "b": 1})), {"lost": 1}),
        (Found(Counter(ALL | {"f": 1}), Counter(ALL), Counter(ALL | {"f": 1})), {"differing": 1}),
    ],
)
def test_each_broken_promise_is_counted(found: Found, wrong: dict[str, int]) -> None:
    assert compare(SENT, found) == CLEAN | wrong


@pytest.mark.slow
def test_a_round_with_a_real_server_is_clean_and_wrote_something() -> None:
    found = run(Options(rounds=2, encoder="hash", seed=3))
    assert found["clean"] is True
    assert found["acknowledged"] > 0
    assert [one["verify_exit"] for one in found["rounds"]] == [0, 0]
