"""By rules no model is asked, whatever is written, and what is stored is counted a thousand turns."""

from datetime import UTC, datetime, timedelta

from bench.cost import _rules
from bench.datasets import Turn

AT = datetime(2026, 3, 14, tzinfo=UTC)


def test_rules_ask_no_model_and_bytes_are_counted_by_layer() -> None:
    turns = [Turn(f"t{n}", "s1", f"I live in Lisbon, at number {n}.", AT + timedelta(hours=n)) for n in range(10)]
    told = _rules(turns, "hash")
    thousand = told["per 1,000 turns"]
    assert (told["turns"], thousand["calls"], thousand["tokens"]) == (10, 0, 0)
    assert thousand["bytes"]["source texts"] == 100 * sum(len(turn.text) for turn in turns)
    assert thousand["bytes"]["derived texts"] > 0
    assert thousand["bytes"]["database"] > thousand["bytes"]["source texts"]
