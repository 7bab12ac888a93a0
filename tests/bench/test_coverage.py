"""Coverage of answers and the order of evidence, of contexts and a chat whose figures are known."""

from pathlib import Path

import pytest

from bench import coverage as bench
from bench.coverage import coverage, items, order_of
from bench.datasets import Conversation, Question, Turn
from bench.runner import Options
from memory.context import Block, Context
from recalld.core.scope import Scope
from tests.conftest import NOW


@pytest.mark.parametrize(
    ("text", "answer", "share"),
    [
        ("[0001] Ann: I moved to Lisbon.", "She moved to Lisbon", 1.0),
        ("[0001] Ann: I moved to Porto.", "moving to Lisbon", 0.5),
        ("", "Lisbon", 0.0),
        ("Lisbon", "the of", None),
        ("Lisbon", "", None),
        ("in 2022", "2022", 1.0),
    ],
)
def test_coverage_is_the_share_of_an_answers_words(text: str, answer: str, share: float | None) -> None:
    assert coverage(text, answer) == share


def context(*shown: str) -> Context:
    """`ab` is a line that a newer b disagrees with a."""
    return Context("", tuple(Block("", tuple(ids), 1) for ids in shown), len(shown), "words")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (("n", "o"), {"newest first", "newest shown", "older shown"}),
        (("n",), {"newest first", "newest shown"}),
        (("o", "n"), {"newest shown", "older shown", "older first, or alone"}),
        (("o",), {"older shown", "older first, or alone"}),
        (("o", "on"), {"older shown", "older first, or alone", "that is said"}),
        (("n", "o", "on"), {"newest first", "newest shown", "older shown"}),
        (("x",), set()),
    ],
)
def test_the_newest_is_first_where_no_older_one_stands_before_it(shown: tuple[str, ...], expected: set[str]) -> None:
    told = order_of(context(*shown), {"n": "n", "o": "o", "x": "x"}, "n", ["o"])
    assert {name for name, holds in told.items() if holds} == expected


SAID = (
    "My budget for shoes is $600, the garden is green and the weather is fine.",
    "I live in Porto, can you help me plan dinner?",
    "My new budget for shoes is $650.",
)
CHAT = Conversation(
    "chat",
    tuple(Turn(str(n), "s", text, NOW if n == 0 else None, role="user") for n, text in enumerate(SAID)),
    (
        Question("What is my budget for shoes?", "knowledge_update", NOW, frozenset("02"), frozenset("s"), "$650"),
        Question("Who are you?", "abstention", NOW, frozenset(), frozenset(), "no one"),
    ),
)


def test_a_turn_without_a_date_has_that_of_the_one_before_it() -> None:
    assert [item.occurred_at for item in items(CHAT)] == [NOW] * 3
    assert items(CHAT)[0].scope == Scope("user", session_id="s")


def test_both_layers_are_asked_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "locomo", list)
    monkeypatch.setattr(bench, "beam", lambda _size, _data: [CHAT])
    told = bench.run(Options(encoder="hash"))["beam-100K"]
    assert told["layers"]["off"]["n"] == told["layers"]["on"]["n"] == 1
    assert told["layers"]["on"]["coverage@500"] == 1.0
    assert told["knowledge_update"]["on"]["newest first@500"] == 1.0
    assert told["on against off"]["recall@10"]["mean"] == 0.0
    assert told["derived"] > 0
