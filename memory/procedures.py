"""Procedures: the parameters of a task's steps, and the steps filled with their values. Pure.

A placeholder is `{name}` anywhere in a task, an action or a parameter's value; `{{` and `}}` are braces. A value that
is a placeholder and nothing else takes what is given for it, with its type; inside a longer text it is written out.

    {"action": "search", "parameters": {"query": "{dish} near {place}", "people": "{people}"}}
    fill(..., {"dish": "ramen", "place": "Porto", "people": 2})
    {"action": "search", "parameters": {"query": "ramen near Porto", "people": 2}}

Source: MobileGPT (explore, select, derive, recall): a task is learnt as sub-tasks with parameters, and adapted by
filling those in.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from recalld.core.errors import FieldError, InvalidInput

FILLED_CHARS_MAX = 256 * 1024
"""Of all that is put into one procedure: a long value may stand in many places."""
_BRACES = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


def placeholders(procedure: Mapping[str, Any]) -> list[str]:
    """The names of a procedure's parameters, in the order in which they come."""
    found: dict[str, None] = {}

    def note(text: str) -> str:
        found.update(dict.fromkeys(name for name in _BRACES.findall(text) if name))
        return text

    _each_text(_fillable(procedure), note)
    return list(found)


def mismatch(procedure: Mapping[str, Any], parameters: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The names that a procedure needs and are not given, and those that are given and it does not have."""
    names = placeholders(procedure)
    return [name for name in names if name not in parameters], [name for name in parameters if name not in names]


def fill(procedure: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The task and the steps of a procedure, with values in the place of its parameters.

    Args:
        procedure: a frame `{task, steps: [{action, parameters}]}`.
        parameters: a JSON value for each of `placeholders(procedure)`, and no other.

    Raises:
        InvalidInput: names each that is missing, and each that the procedure does not have; or they are too long.
    """
    missing, extra = mismatch(procedure, parameters)
    wrong = [FieldError(f"parameters.{name}", "is missing") for name in missing]
    wrong += [FieldError(f"parameters.{name}", "is not a parameter of this procedure") for name in extra]
    if wrong:
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in wrong), wrong)

    written = {name: _written(parameters[name]) for name in parameters}
    left = FILLED_CHARS_MAX

    def filled(text: str) -> Any:
        nonlocal left
        left -= sum(len(written[name]) for name in _BRACES.findall(text) if name)
        if left < 0:
            most = FILLED_CHARS_MAX
            raise InvalidInput.of("parameters", f"at most {most} characters once filled in", most)
        whole = _BRACES.fullmatch(text)
        if whole is not None and whole[1]:
            return parameters[whole[1]]
        return _BRACES.sub(lambda found: written[found[1]] if found[1] else found[0][0], text)

    done: dict[str, Any] = _each_text(_fillable(procedure), filled)
    # What has to be text stays text, whatever it was filled with.
    done["task"] = _written(done["task"])
    return done | {"steps": [step | {"action": _written(step["action"])} for step in done["steps"]]}


def _fillable(procedure: Mapping[str, Any]) -> dict[str, Any]:
    return {"task": procedure["task"], "steps": procedure["steps"]}


def _each_text(value: Any, change: Any) -> Any:
    """A JSON value with `change` applied to every text in it; names of fields stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _each_text(inner, change) for name, inner in value.items()}
    return [_each_text(inner, change) for inner in value] if isinstance(value, list) else value


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
