"""Means by part, and intervals of ours against each other row."""

from bench.scores import Scored, by, intervals, mean

OURS = [Scored("a", "x", {"r": 1.0}), Scored("b", "x", {"r": 0.5}), Scored("a", "y", {"r": 0.0})]
WORSE = [Scored(one.group, one.category, {"r": one.metrics["r"] / 2}) for one in OURS]


def test_a_part_has_the_mean_of_its_questions() -> None:
    assert mean(OURS) == {"r": 0.5, "n": 3}
    assert by(OURS, lambda one: one.group) == {"a": {"r": 0.5, "n": 2}, "b": {"r": 0.5, "n": 1}}
    assert by(OURS, lambda one: one.category) == {"x": {"r": 0.75, "n": 2}, "y": {"r": 0.0, "n": 1}}


def test_an_interval_is_of_ours_minus_the_other_row_question_by_question() -> None:
    found = intervals({"ours": OURS, "worse": WORSE}, ["r"], seed=1)
    assert list(found) == ["ours against worse"]
    assert found["ours against worse"]["r"]["mean"] == 0.25
    assert 0 <= found["ours against worse"]["r"]["low"] < 0.25 < found["ours against worse"]["r"]["high"] <= 0.5
