"""Work in the background, as the server tells of it."""

from typing import Any

from pydantic import AwareDatetime

from recalld_client.models import Model


class JobProgress(Model):
    """How far a job is, in units of its task; `total` None: not known."""

    done: int = 0
    total: int | None = None


class Job(Model):
    """Work in the background.

    Attributes:
        state: `queued`, `running`, `succeeded`, `failed` or `cancelled`.
        reason: why its last try failed.
        result: what it gave, once it has succeeded.
        revision: counts its changes.
    """

    id: str
    task: str
    state: str
    step: int = 0
    progress: JobProgress = JobProgress()
    attempts: int = 0
    reason: str | None = None
    result: dict[str, Any] | None = None
    created_at: AwareDatetime
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    revision: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in ("succeeded", "failed", "cancelled")


class JobPage(Model):
    """A part of the list of jobs."""

    items: tuple[Job, ...]
    next_cursor: str | None = None
