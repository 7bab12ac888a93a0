"""What goes over the wire of procedures: a task with values for its parameters, and procedures ready to be done."""

from typing import Annotated, Any

from pydantic import Field, JsonValue

from api.schemas import Input, MemoryOut, Output, ScopeIn, Time, WithoutNul
from memory.frames import check_frame
from memory.model import Memory
from memory.procedures import fill, mismatch, placeholders
from memory.recall import Hit, Question, Recall
from retrieval.filters import parse


class ProceduresIn(Input):
    """A task to be done."""

    task: Annotated[str, Field(min_length=1, description="1 byte to 64 KiB of UTF-8"), WithoutNul]
    parameters: dict[str, JsonValue] | None = Field(
        None, description="a value for each `{name}`: a procedure that takes just these comes filled"
    )
    scope: ScopeIn = ScopeIn()
    limit: int = Field(5, ge=1, description="at most 100", strict=True)
    as_of: Time | None = Field(None, description="hides what was valid only later")
    known_at: Time | None = Field(None, description="hides what was recorded later")
    filter: dict[str, JsonValue] | None = Field(None, description="as in `/v1/recall`")

    def to_question(self) -> Question:
        """As the layers below know it.

        Raises:
            InvalidInput: the filter is none.
        """
        return Question(
            self.task,
            self.scope.to_scope(),
            self.limit,
            ("procedure",),
            self.as_of,
            self.known_at,
            filter=None if self.filter is None else parse(self.filter),
        )


class StepOut(Output):
    """One step."""

    action: str
    parameters: dict[str, JsonValue]


class ProcedureOut(Output):
    """A procedure for the task.

    `ready` says that its steps can be carried out as they stand: no parameter is without its value.
    """

    memory: MemoryOut
    score: float
    relevance: float = Field(ge=0, le=1)
    task: str
    steps: list[StepOut] = Field(description="filled where `ready`, else as they were written")
    placeholders: list[str] = Field(description="the names of its parameters")
    missing: list[str] = Field(description="of those the ones without a value")
    extra: list[str] = Field(description="values that it has no parameter for; it is not filled then")
    ready: bool

    @classmethod
    def of(cls, hit: Hit, parameters: dict[str, Any] | None) -> "ProcedureOut":
        """From the layers below."""
        frame = hit.memory.item.frame or {}
        missing, extra = mismatch(frame, parameters or {})
        ready = not missing and not extra
        shown = fill(frame, parameters or {}) if ready else frame
        return cls(
            memory=MemoryOut.of(hit.memory),
            score=hit.score,
            relevance=hit.relevance,
            task=shown["task"],
            steps=[StepOut(action=step["action"], parameters=step.get("parameters") or {}) for step in shown["steps"]],
            placeholders=placeholders(frame),
            missing=missing,
            extra=extra,
            ready=ready,
        )


class ProceduresOut(Output):
    """Procedures for a task, the most similar ones first, and of those the ones that turned out well."""

    recall_id: str
    results: list[ProcedureOut]
    relevant: bool
    pending: int = Field(description="memories in scope whose vectors were not looked at yet")
    took_ms: float

    @classmethod
    def of(cls, answer: Recall, parameters: dict[str, Any] | None) -> "ProceduresOut":
        """From the layers below; a memory of this kind without a fitting frame is no procedure."""
        hits = [hit for hit in answer.results if is_procedure(hit.memory)]
        return cls(
            recall_id=answer.recall_id,
            results=[ProcedureOut.of(hit, parameters) for hit in hits],
            relevant=answer.relevant,
            pending=answer.pending,
            took_ms=round(answer.took_ms, 3),
        )


def is_procedure(memory: Memory) -> bool:
    """Whether it has a frame of steps."""
    frame = memory.item.frame
    return frame is not None and not check_frame("procedure", frame, "")
