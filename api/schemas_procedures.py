"""What goes over the wire of procedures: values for their parameters, and their steps filled with them."""

from typing import Any

from pydantic import Field, JsonValue

from api.schemas import Input, Output
from memory.model import Memory


class FillIn(Input):
    """A value for each parameter of a procedure."""

    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, max_length=1000, description="by name, without braces; all of them, and no other"
    )


class StepOut(Output):
    """One step, ready to be carried out."""

    action: str
    parameters: dict[str, JsonValue]


class FilledOut(Output):
    """A procedure whose parameters have values; `filled_version` is the version that was filled."""

    memory_id: str
    filled_version: int
    task: str
    steps: list[StepOut]

    @classmethod
    def of(cls, memory: Memory, filled: dict[str, Any]) -> "FilledOut":
        """From the layers below."""
        steps = [StepOut(action=step["action"], parameters=step.get("parameters") or {}) for step in filled["steps"]]
        return cls(memory_id=memory.id, filled_version=memory.version, task=filled["task"], steps=steps)
