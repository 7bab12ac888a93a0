"""Pairs, links and supersedes of a small chat whose answers are known."""

import json

from bench.change import ALIKE, closed_facts, false_merges, links_on, name_of
from bench.datasets import Conversation, Question, Turn
from bench.facts import digest
from tests.conftest import NOW

SAID = (
    "I met Kyle at a sneaker expo.",
    "Can you help me plan dinner for the children?",
    "I've never met Kyle or been to a sneaker expo.",
    "I live in Porto, and my budget for shoes is $600.",
    "I moved to Lisbon, and my new budget for shoes is $650.",
    "The garden needs water after the storm.",
)
CHAT = Conversation(
    "chat",
    tuple(Turn(str(number), "s", text, NOW, role="user") for number, text in enumerate(SAID)),
    (
        Question("Have I met Kyle?", "contradiction_resolution", None, frozenset({"0", "2"}), frozenset({"s"})),
        Question("What is my budget?", "knowledge_update", None, frozenset({"3", "4"}), frozenset({"s"})),
        Question("And the garden?", "knowledge_update", None, frozenset({"1", "5"}), frozenset({"s"})),
    ),
)


def test_a_link_between_two_messages_of_the_evidence_finds_the_pair() -> None:
    found = links_on([CHAT])
    assert found["conflict"] == {
        "pairs": 1, "found": 1, "links": 1, "right": 1, "share found": 1.0, "false per 1,000 user turns": 0.0,
    }  # fmt: skip
    assert (found["possibly_supersedes"]["pairs"], found["possibly_supersedes"]["found"]) == (2, 1)


def test_a_supersede_is_named_by_what_it_closed() -> None:
    (closed,) = closed_facts(CHAT)
    assert (closed.triple.object, closed.closed_by and closed.closed_by.object) == ("Porto", "Lisbon")
    assert name_of("chat", closed) == ("chat", "3", digest(closed.statements[-1]))


def test_a_pair_is_merged_where_a_fact_rests_on_both_or_a_turn_is_gone() -> None:
    same = {"kind": "object", "said": ["I love tea.", "Today I love tea!"]}
    apart = {"kind": "object", "said": ["I love tea.", "I love iced tea."]}
    nothing = {"kind": "name", "said": ["Hm.", "Hm?"]}
    told = false_merges([same, apart, nothing])
    assert (told["pairs"], told["read"], told["merged"], told["which"]) == (3, 2, 1, [same["said"]])
    assert told["by kind"] == {"object": 2, "name": 1}


def test_no_pair_that_looks_alike_is_merged() -> None:
    pairs = json.loads(ALIKE.read_text(encoding="utf-8"))
    assert len({tuple(pair["said"]) for pair in pairs}) == 200
    told = false_merges(pairs)
    assert told["which"] == []
    assert told["read"] >= 195
