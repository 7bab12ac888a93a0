"""Procedures and rationales: is the right one recalled for a request in other words, filled rightly, successful first?

`bench/labels/procedures.json` holds tasks with steps and a request for each that shares few words with it, with values
for its parameters; and questions with a reasoning and a similar question. Some have a second memory, for the same task,
that failed. All are written as an agent would (`kind`, `frame`, `outcome`) in a seeded order, and asked by `kinds`.
Beside them *as turns*: the same memories as turns whose text says all that the frame says, recalled as turns are.

- recall@k: the right one (the successful one of two) is among the first k.
- filled: the steps of the first result, filled, are exactly the steps of the right procedure with each `{name}` written
  out as text by `str.replace`; a wrong first result is not right.
- successful first: of the tasks with both, of which one at least is among the first ten, those where the successful
  one stands before the failed one.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.instance import Instance, temporary_instance
from bench.runner import Options
from memory.model import Item, Kind
from memory.procedures import fill, mismatch

LABELS = Path(__file__).parent / "labels" / "procedures.json"
LIMIT = 10


@dataclass(frozen=True, slots=True)
class Case:
    """One request.

    Attributes:
        right: what should be recalled.
        failed: what failed for the same task; None: nothing.
        parameters: values for the request.
    """

    request: str
    right: Item
    failed: Item | None
    parameters: Mapping[str, Any]


def run(options: Options) -> dict[str, Any]:
    """Both kinds, as they are meant and as turns."""
    results: dict[str, Any] = {}
    for kind, cases in cases_of(json.loads(LABELS.read_text(encoding="utf-8"))).items():
        written = [item for case in cases for item in (case.right, case.failed) if item is not None]
        random.Random(options.seed).shuffle(written)
        with temporary_instance(options.encoder) as instance:
            instance.add("framed", written)
            instance.add("turns", [replace(item, kind="turn", frame=None, text=_said(item)) for item in written])
            results[kind] = {
                "memories": len(written),
                "requests": len(cases),
                "ours": measure(instance, cases, "framed", (kind,)),
                "as turns": measure(instance, cases, "turns", ()),
            }
    return results


def cases_of(labels: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[Kind, list[Case]]:
    """The labels as memories and requests, by kind."""
    procedures = [
        Case(
            each["request"],
            _procedure(each["task"], each["steps"], True),
            _procedure(each["task"], each["failed"], False) if "failed" in each else None,
            each["parameters"],
        )
        for each in labels["procedures"]
    ]
    rationales = [
        Case(
            each["request"],
            _rationale(each["question"], each["reasoning"], True),
            _rationale(each["question"], each["failed"], False) if "failed" in each else None,
            {},
        )
        for each in labels["rationales"]
    ]
    return {"procedure": procedures, "rationale": rationales}


def measure(instance: Instance, cases: Sequence[Case], namespace: str, kinds: tuple[Kind, ...]) -> dict[str, Any]:
    """The shares of the module's docstring, over all requests."""
    places: list[int] = []
    filled: list[bool] = []
    first: list[bool] = []
    for case in cases:
        found = [_told(hit.memory.item) for hit in instance.of_kinds(namespace, case.request, kinds, LIMIT).results]
        place = _place(found, case.right)
        places.append(place)
        if case.parameters and kinds:
            top = instance.of_kinds(namespace, case.request, kinds, 1).results[0].memory.item.frame or {}
            filled.append(_steps(top, case.parameters) == _written_out(case.right, case.parameters))
        if case.failed is not None and min(place, other := _place(found, case.failed)) < LIMIT:
            first.append(place < other)
    shares = {f"recall@{k}": _share([place < k for place in places]) for k in (1, 3)}
    return shares | {"filled": _share(filled), "successful first": _share(first)}


def _steps(frame: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """The filled steps; None where the parameters do not fit."""
    return None if any(mismatch(frame, parameters)) else fill(frame, parameters)["steps"]


def _written_out(right: Item, parameters: Mapping[str, Any]) -> Any:
    """What filling should give, by plain replacement in the JSON."""
    text = json.dumps((right.frame or {})["steps"])
    for name, value in parameters.items():
        text = text.replace(f'"{{{name}}}"', json.dumps(value)).replace(f"{{{name}}}", str(value))
    return json.loads(text)


def _procedure(task: str, steps: Sequence[Any], success: bool) -> Item:
    frame = {"task": task, "steps": list(steps), "outcome": {"success": success}}
    return Item("; ".join(step["action"] for step in steps), "procedure", frame=frame)


def _rationale(question: str, reasoning: str, success: bool) -> Item:
    frame = {"question": question, "reasoning": reasoning, "outcome": {"success": success}}
    return Item(reasoning, "rationale", frame=frame)


def _said(item: Item) -> str:
    """A frame in words."""
    frame = item.frame or {}
    outcome = "It worked." if frame["outcome"]["success"] else "It failed."
    told = [frame.get("task") or frame["question"], frame.get("reasoning") or json.dumps(frame["steps"]), outcome]
    return "\n".join(told)


def _told(item: Item) -> str:
    return _said(item) if item.frame is not None else item.text


def _place(found: Sequence[str], wanted: Item) -> int:
    """Where it stands, from 0; behind all where it does not."""
    said = _said(wanted)
    return found.index(said) if said in found else LIMIT


def _share(values: Sequence[bool]) -> float | None:
    return round(sum(values) / len(values), 3) if values else None
