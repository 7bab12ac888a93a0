"""Jobs over the wire. What a job was given is shown as whose it is; its cursor and payload stay inside."""

from datetime import datetime

from pydantic import Field, JsonValue

from api.schemas import Input, Output, ScopeIn, ScopeOut
from recalld.jobs.model import Job, JobState


class ConsolidationIn(Input):
    """What to consolidate: a scope, or the whole namespace."""

    scope: ScopeIn = ScopeIn()


class ProgressOut(Output):
    """In units of the task's own; `total: null`: not known."""

    done: int
    total: int | None


class JobOut(Output):
    """A job. `revision` counts its changes; `reason` is why its last try failed."""

    id: str
    namespace: str
    scope: ScopeOut
    task: str
    state: JobState
    priority: int
    step: int = Field(description="steps that are done")
    progress: ProgressOut
    attempts: int = Field(description="tries of the step at hand")
    reason: str | None
    result: dict[str, JsonValue] | None = Field(description="once it has succeeded")
    created_at: datetime
    due_at: datetime | None = Field(description="of a queued job: not before then")
    started_at: datetime | None
    ended_at: datetime | None
    revision: int

    @classmethod
    def of(cls, job: Job) -> "JobOut":
        """From the layers below."""
        user_id, agent_id, session_id = job.scope.values()
        return cls(
            **{name: getattr(job, name) for name in _FIELDS},
            scope=ScopeOut(user_id=user_id, agent_id=agent_id, session_id=session_id),
            progress=ProgressOut(done=job.progress.done, total=job.progress.total),
            result=None if job.result is None else dict(job.result),
            due_at=job.deadline if job.state == "queued" else None,
        )


_FIELDS = (
    "id", "namespace", "task", "state", "priority", "step", "attempts", "reason", "created_at", "started_at",
    "ended_at", "revision",
)  # fmt: skip


class JobsOut(Output):
    """A part of the list, newest first; `next_cursor` asks for what follows."""

    items: list[JobOut]
    next_cursor: str | None
