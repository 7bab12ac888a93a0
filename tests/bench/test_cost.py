"""By rules no model is asked, whatever is written, and what is stored is counted a thousand turns."""

import json
from datetime import UTC, datetime, timedelta

from bench.cost import _rules, facts_of, read_by_script
from bench.datasets import Turn
from memory.context import TokenCounter
from memory.derive.asked import ASKED
from recalld.llm.ports import ChatMessage

AT = datetime(2026, 3, 14, tzinfo=UTC)


def test_rules_ask_no_model_and_bytes_are_counted_by_layer() -> None:
    turns = [Turn(f"t{n}", "s1", f"I live in Lisbon, at number {n}.", AT + timedelta(hours=n)) for n in range(10)]
    told = _rules(turns, "hash")
    thousand = told["per 1,000 turns"]
    assert (told["turns"], thousand["calls"], thousand["tokens"]) == (10, 0, 0)
    assert thousand["bytes"]["source texts"] == 100 * sum(len(turn.text) for turn in turns)
    assert thousand["bytes"]["derived texts"] > 0
    assert thousand["bytes"]["database"] > thousand["bytes"]["source texts"]


WORDS = TokenCounter("words", lambda text: len(text.split()))


def test_read_in_batches_costs_fewer_calls_and_fewer_prompt_tokens_than_a_turn_a_call() -> None:
    turns = [Turn(f"t{n}", "s1", f"I live in Lisbon, at number {n}.", AT + timedelta(hours=n)) for n in range(7)]
    turns.append(Turn("thanks", "s1", "Thanks!", AT + timedelta(hours=8)))
    batched = read_by_script(turns, WORDS, "hash")
    single = read_by_script(turns, WORDS, "hash", alone=True)
    assert (batched["calls"], single["calls"]) == (1, 7)
    assert (batched["memories"], single["memories"]) == (7, 7)
    assert single["prompt_tokens"] > 4 * batched["prompt_tokens"]
    assert not [name for name in (*batched, *single) if name.startswith(("dropped", "unusable"))]


def test_the_script_replies_with_what_the_shape_and_the_quotes_allow_the_same_either_way() -> None:
    lines = [json.dumps({"n": n, "who": "Ann", "when": "unknown", "text": f"{n} " + "word " * 50}) for n in range(1, 9)]

    def quotes(*shown: str) -> list[tuple[int, str]]:
        said = facts_of([ChatMessage("system", ""), ChatMessage("user", "\n".join(["BEGIN", *shown, "END"]))])
        reply = ASKED["facts"].shape.model_validate_json(said).model_dump()
        return [(each["source"], each["quote"]) for each in reply["facts"]]

    together = quotes(*lines)
    assert together == [each for line in lines for each in quotes(line)]
    assert 0 < len(together) < 8
    assert all(quote == f"{source} word word word word word" for source, quote in together)
