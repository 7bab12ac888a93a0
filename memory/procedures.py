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

_BRACES = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SHOWN_CHARS_MAX = 100


def placeholders(procedure: Mapping[str, Any]) -> list[str]:
    """The names of a procedure's parameters, in the order in which they come."""
    found: dict[str, None] = {}

    def note(text: str) -> str:
        found.update(dict.fromkeys(name for name in _BRACES.findall(text) if name))
        return text

    _each_text(_fillable(procedure), note)
    return list(found)


def fill(procedure: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The task and the steps of a procedure, with values in the place of its parameters.

    Args:
        procedure: a frame `{task, steps: [{action, parameters}]}`.
        parameters: a JSON value for each of `placeholders(procedure)`, and no other.

    Raises:
        InvalidInput: names each that is missing, and each that the procedure does not have.
    """
    names = placeholders(procedure)
    wrong = [
        FieldError(f"parameters.{name[:_SHOWN_CHARS_MAX]}", "is missing") for name in names if name not in parameters
    ]
    wrong += [
        FieldError(f"parameters.{name[:_SHOWN_CHARS_MAX]}", "is not a parameter of this procedure")
        for name in parameters
        if name not in names
    ]
    if wrong:
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in wrong), wrong)

    def filled(text: str) -> Any:
        whole = _BRACES.fullmatch(text)
        if whole is not None and whole[1]:
            return parameters[whole[1]]
        return _BRACES.sub(lambda found: _written(parameters[found[1]]) if found[1] else found[0][0], text)

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
