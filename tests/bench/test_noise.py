"""The noise benchmark on a small conversation of its own."""

from bench.datasets import Conversation, Question, Turn
from bench.noise import judged, measured

TURNS = tuple(
    Turn(str(number), "s", text, None, None, None)
    for number, text in enumerate(["Thanks!", "I moved to Lisbon.", "Sounds great!"])
)
TOLD = Conversation("talk", TURNS, (Question("where?", "1", None, frozenset({"1", "2"}), frozenset()),))


def test_shares_are_of_turns_and_of_evidence() -> None:
    figures, flagged = measured("own", [TOLD])
    assert flagged == [("own", "talk", "0"), ("own", "talk", "2")]
    assert (figures["turns"], figures["flagged"], figures["evidence"]) == (3, 2, 2)
    assert (figures["share flagged"], figures["share of evidence flagged"]) == (2 / 3, 0.5)


def test_only_what_was_read_is_judged() -> None:
    labels = [{"turn": ["own", "talk", "0"], "empty": True}, {"turn": ["own", "talk", "9"], "empty": False}]
    assert judged([("own", "talk", "0"), ("own", "talk", "2")], labels) == {"flagged": 2, "read": 1, "precision": 1.0}
    assert judged([("own", "talk", "2")], labels)["precision"] is None
