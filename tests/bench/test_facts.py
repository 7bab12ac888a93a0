"""Facts of a small conversation, and labels that name them."""

import json

from bench.datasets import Conversation, Turn
from bench.facts import LABELS, digest, memories
from memory.derive.facts import read
from tests.conftest import NOW

TOLD = Conversation(
    "talk",
    (
        Turn("1", "s", "I live in Porto.", NOW, role="user"),
        Turn("2", "s", "I live on a server.", NOW, role="assistant"),
        Turn("3", "s", "I moved to Lisbon yesterday.", NOW, role="user"),
    ),
    (),
)


def test_only_what_users_and_people_say_is_read() -> None:
    assert [(name, turn.id, len(read(memory))) for name, turn, memory in memories([TOLD])] == [
        ("talk", "1", 1),
        ("talk", "3", 1),
    ]


def test_a_label_names_a_fact_and_does_not_tell_it() -> None:
    (one,), (other,) = (read(memory) for *_, memory in memories([TOLD]))
    assert digest(one) != digest(other)
    assert len(digest(one)) == 12
    labels = json.loads(LABELS.read_text(encoding="utf-8"))
    assert len({tuple(label["fact"]) for label in labels}) == len(labels) >= 200
    assert all(set(label) <= {"fact", "wrong", "useful", "date"} and len(label["fact"]) == 4 for label in labels)
