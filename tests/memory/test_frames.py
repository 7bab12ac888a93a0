"""Frames: what is taken, and what is refused with which field and limit."""

from typing import Any

import pytest

from memory.frames import ACTORS_MAX, PARAMETERS_MAX, STEPS_MAX, check_frame, moment
from memory.model import Kind

EPISODE: dict[str, Any] = {
    "actors": [{"name": "Ann", "role": "guide", "state": None}, {"name": "Zoë"}],
    "action": "painted",
    "object": "a mural",
    "place": "Blue Café",
    "time": {"start": "2026-05-03T10:00:00+02:00", "end": None},
}
STEP: dict[str, Any] = {"action": "tap", "parameters": {"where": "{button}", "times": 2}}
PROCEDURE: dict[str, Any] = {"task": "book {table}", "steps": [STEP], "outcome": {"success": True, "note": "it worked"}}
RATIONALE: dict[str, Any] = {"question": "2 + 2?", "reasoning": "count on", "outcome": {"success": False}}


@pytest.mark.parametrize(
    ("kind", "frame"),
    [
        ("episode", EPISODE),
        ("episode", {"place": "Porto"}),
        ("episode", {"action": "rained", "actors": None, "time": None}),
        ("procedure", PROCEDURE),
        ("procedure", PROCEDURE | {"outcome": None}),
        ("procedure", {"task": "x", "steps": [{"action": "y"}], "outcome": "went well"}),
        ("rationale", RATIONALE | {"outcome": {"success": True, "at": "2026-05-03T10:00:00Z"}}),
        ("fact", {"anything": 1}),
        ("turn", {"anything": 1}),
    ],
)
def test_what_a_frame_may_say(kind: Kind, frame: dict[str, Any]) -> None:
    assert check_frame(kind, frame, "frame") == []


LONG = "x" * 1025
WRONG: list[tuple[Kind, dict[str, Any], str, int | None]] = [
    ("episode", {}, "frame", None),
    ("episode", {"object": "a mural"}, "frame", None),
    ("episode", EPISODE | {"when": "today"}, "frame.when", None),
    ("episode", EPISODE | {"actors": []}, "frame.actors", ACTORS_MAX),
    ("episode", EPISODE | {"actors": [{"name": "a"}] * 33}, "frame.actors", ACTORS_MAX),
    ("episode", EPISODE | {"actors": "Ann"}, "frame.actors", ACTORS_MAX),
    ("episode", EPISODE | {"actors": ["Ann"]}, "frame.actors.0", None),
    ("episode", EPISODE | {"actors": [{"name": "Ann"}, {"role": "guide"}]}, "frame.actors.1.name", None),
    ("episode", EPISODE | {"actors": [{"name": " "}]}, "frame.actors.0.name", 256),
    ("episode", EPISODE | {"actors": [{"name": "Ann", "age": 3}]}, "frame.actors.0.age", None),
    ("episode", EPISODE | {"action": LONG}, "frame.action", 1024),
    ("episode", EPISODE | {"place": 7}, "frame.place", 256),
    ("episode", EPISODE | {"time": "2026-05-03"}, "frame.time", None),
    ("episode", EPISODE | {"time": {"end": "2026-05-03T10:00:00Z"}}, "frame.time.start", None),
    ("episode", EPISODE | {"time": {"start": "2026-05-03"}}, "frame.time.start", None),
    ("episode", EPISODE | {"time": {"start": "2026-13-03T10:00:00Z"}}, "frame.time.start", None),
    (
        "episode",
        EPISODE | {"time": {"start": "2026-05-03T10:00:00+02:00", "end": "2026-05-03T08:00:00Z"}},
        "frame.time.end",
        None,
    ),
    ("procedure", {"steps": [STEP]}, "frame.task", None),
    ("procedure", {"task": "x"}, "frame.steps", None),
    ("procedure", PROCEDURE | {"steps": [STEP] * 101}, "frame.steps", STEPS_MAX),
    ("procedure", PROCEDURE | {"steps": [STEP, {"parameters": {}}]}, "frame.steps.1.action", None),
    ("procedure", PROCEDURE | {"steps": [{"action": "y", "parameters": []}]}, "frame.steps.0.parameters", 64),
    (
        "procedure",
        PROCEDURE | {"steps": [{"action": "y", "parameters": {str(n): n for n in range(65)}}]},
        "frame.steps.0.parameters",
        PARAMETERS_MAX,
    ),
    ("procedure", PROCEDURE | {"steps": [{"action": "y", "parameters": {"": 1}}]}, "frame.steps.0.parameters", 256),
    ("procedure", PROCEDURE | {"outcome": {"note": "?"}}, "frame.outcome.success", None),
    ("procedure", PROCEDURE | {"outcome": {"success": 1}}, "frame.outcome.success", None),
    ("procedure", PROCEDURE | {"outcome": {"success": True, "at": "now"}}, "frame.outcome.at", None),
    ("procedure", PROCEDURE | {"outcome": ""}, "frame.outcome", 1024),
    ("rationale", {"question": "x"}, "frame.reasoning", None),
    ("rationale", RATIONALE | {"reasoning": "r" * 8193}, "frame.reasoning", 8192),
    ("rationale", RATIONALE | {"answer": 4}, "frame.answer", None),
]


@pytest.mark.parametrize(("kind", "frame", "field", "limit"), WRONG)
def test_what_is_wrong_is_named_with_its_limit(
    kind: Kind, frame: dict[str, Any], field: str, limit: int | None
) -> None:
    assert [(error.field, error.limit) for error in check_frame(kind, frame, "frame")] == [(field, limit)]


def test_everything_that_is_wrong_is_told_and_nothing_of_the_input() -> None:
    wrong = check_frame("episode", {"actors": [{"name": 7, "role": ""}], "place": "sesame" * 100}, "items.3.frame")
    assert [error.field for error in wrong] == [
        "items.3.frame.actors.0.name",
        "items.3.frame.actors.0.role",
        "items.3.frame.place",
    ]
    assert not any("sesame" in error.message for error in wrong)


def test_a_name_that_does_not_exist_is_shown_to_a_limit() -> None:
    (error,) = check_frame("episode", EPISODE | {"x" * 5000: 1}, "frame")
    assert error.field == "frame." + "x" * 100


def test_a_moment_keeps_its_zone() -> None:
    told = moment("2026-05-03t23:30:00+09:00")
    assert told is not None
    assert told.isoformat() == "2026-05-03T23:30:00+09:00"
    assert [moment(each) for each in ("2026-05-03", "0001-01-01T00:00:00+10:00", None, 7)] == [None] * 4
