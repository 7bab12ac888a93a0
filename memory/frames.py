"""Frames: what an episode, a procedure or a rationale says, as fields; and what is wrong with one.

    episode    {actors: [{name, role, state}], action, object, place, time: {start, end}}
    procedure  {task, steps: [{action, parameters}], outcome: {success, note, at}}
    rationale  {question, reasoning, outcome: {success, note, at}}

A field that is null is absent. An outcome may be told in words instead, which say nothing of success. The frame of a
fact is free beyond its names (`memory.facts.Triple`), and so is none of the others: a misspelt field is an error.

Sources: the operator frames of the Generative Semantic Workspace (GSW; actors with roles and states, verbs, space and
time); tasks with parametrised steps after MobileGPT; question, rationale and outcome after ARM-RAG.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from memory.model import Kind
from recalld.core.clock import NO_TIME, RFC3339
from recalld.core.errors import FieldError

NAME_CHARS_MAX: Final = 256
PHRASE_CHARS_MAX: Final = 1024
REASONING_CHARS_MAX: Final = 8192
ACTORS_MAX: Final = 32
STEPS_MAX: Final = 100
PARAMETERS_MAX: Final = 64
SHOWN_CHARS_MAX: Final = 100
"""Of the name of a field that does not exist, as in every error of the API."""

Check = Callable[[Any, str], Iterator[FieldError]]


def check_frame(kind: Kind, frame: Mapping[str, Any], field: str) -> list[FieldError]:
    """What is wrong with the frame of a memory of this kind; `field` is its path in the input."""
    check = _FRAMES.get(kind)
    return [] if check is None else list(check(frame, field))


def moment(text: Any) -> datetime | None:
    """A time of a frame, in the zone that it was written with; None where it is none."""
    if not isinstance(text, str) or not RFC3339.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text.upper())
        found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found


def _text(chars_max: int) -> Check:
    def check(value: Any, at: str) -> Iterator[FieldError]:
        if not isinstance(value, str) or not value.strip() or len(value) > chars_max:
            yield FieldError(at, f"text of 1 to {chars_max} characters, not blank", chars_max)

    return check


def _list(of: Check, most: int) -> Check:
    def check(value: Any, at: str) -> Iterator[FieldError]:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            yield FieldError(at, f"a list of 1 to {most}", most)
            return
        for number, each in enumerate(value):
            yield from of(each, f"{at}.{number}")

    return check


def _object(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    fields = {**required, **optional}
    names = ", ".join(fields)

    def check(value: Any, at: str) -> Iterator[FieldError]:
        if not isinstance(value, Mapping):
            yield FieldError(at, f"an object of {names}")
            return
        for name in value.keys() - fields.keys():
            yield FieldError(f"{at}.{name[:SHOWN_CHARS_MAX]}", f"is none of {names}")
        for name, of in fields.items():
            given = value.get(name)
            if given is not None:
                yield from of(given, f"{at}.{name}")
            elif name in required:
                yield FieldError(f"{at}.{name}", "is required")

    return check


def _flag(value: Any, at: str) -> Iterator[FieldError]:
    if not isinstance(value, bool):
        yield FieldError(at, "true or false")


def _moment(value: Any, at: str) -> Iterator[FieldError]:
    if moment(value) is None:
        yield FieldError(at, NO_TIME)


def _span(value: Any, at: str) -> Iterator[FieldError]:
    wrong = list(_SPAN(value, at))
    yield from wrong
    if not wrong and value.get("end") is not None:
        start, end = moment(value["start"]), moment(value["end"])
        if start is not None and end is not None and end <= start:
            yield FieldError(f"{at}.end", "must be after start")


def _parameters(value: Any, at: str) -> Iterator[FieldError]:
    if not isinstance(value, Mapping) or len(value) > PARAMETERS_MAX:
        yield FieldError(at, f"an object of at most {PARAMETERS_MAX} parameters", PARAMETERS_MAX)
    elif any(not name or len(name) > NAME_CHARS_MAX for name in value):
        yield FieldError(at, f"names of 1 to {NAME_CHARS_MAX} characters", NAME_CHARS_MAX)


def _outcome(value: Any, at: str) -> Iterator[FieldError]:
    check = _text(PHRASE_CHARS_MAX) if isinstance(value, str) else _OUTCOME
    yield from check(value, at)


def _episode(value: Any, at: str) -> Iterator[FieldError]:
    yield from _EPISODE(value, at)
    if not any(value.get(name) for name in ("actors", "action", "place")):
        yield FieldError(at, "needs actors, an action or a place")


_NAME, _PHRASE = _text(NAME_CHARS_MAX), _text(PHRASE_CHARS_MAX)
_SPAN = _object({"start": _moment}, {"end": _moment})
_OUTCOME = _object({"success": _flag}, {"note": _PHRASE, "at": _moment})
_ACTOR = _object({"name": _NAME}, {"role": _NAME, "state": _PHRASE})
_EPISODE = _object(
    {}, {"actors": _list(_ACTOR, ACTORS_MAX), "action": _PHRASE, "object": _PHRASE, "place": _NAME, "time": _span}
)
_STEP = _object({"action": _PHRASE}, {"parameters": _parameters})
_FRAMES: Final[Mapping[Kind, Check]] = {
    "episode": _episode,
    "procedure": _object({"task": _PHRASE, "steps": _list(_STEP, STEPS_MAX)}, {"outcome": _outcome}),
    "rationale": _object({"question": _PHRASE, "reasoning": _text(REASONING_CHARS_MAX)}, {"outcome": _outcome}),
}
