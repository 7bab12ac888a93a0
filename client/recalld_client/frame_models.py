"""What is known of actors, and procedures for a task, as the server tells of them."""

from collections.abc import Iterator
from typing import Any

from pydantic import AwareDatetime, Field

from recalld_client.models import Memory, Model


class Known(Model):
    """A value, when the event was that tells it (None: unknown), and the memories that do."""

    value: str
    at: AwareDatetime | None = None
    memory_ids: tuple[str, ...] = ()


class LastEvent(Model):
    """The last event of an actor, `[start, end)`; `with_actors` are the others in it."""

    action: str | None = None
    object: str | None = None
    place: str | None = None
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    with_actors: tuple[str, ...] = ()
    memory_ids: tuple[str, ...] = ()


class Standing(Model):
    """An actor as it stands: each field from the last event that tells it; None where none does."""

    actor: str
    role: Known | None = None
    state: Known | None = None
    place: Known | None = None
    last: LastEvent


class WorkspacePage(Model):
    """One page of actors; `next_cursor` is None on the last one."""

    items: tuple[Standing, ...]
    next_cursor: str | None = None


class Step(Model):
    """One step of a procedure."""

    action: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class Procedure(Model):
    """A procedure that was recalled for a task.

    Attributes:
        score: what the results are ordered by: similarity, and how it turned out.
        relevance: a calibrated probability in [0, 1] that it is for this task.
        steps: filled where it is `ready`, else as they were written.
        placeholders: the names of its parameters.
        missing: those of them without a value.
        extra: values that it has no parameter for.
        ready: whether the steps can be carried out as they stand.
    """

    memory: Memory
    score: float
    relevance: float
    task: str
    steps: tuple[Step, ...]
    placeholders: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    ready: bool = False


class Procedures(Model):
    """Procedures for a task, best first. Iterate over it, index it, take its length.

    Attributes:
        relevant: False: none of them is for this task. They are there all the same.
    """

    recall_id: str
    results: tuple[Procedure, ...]
    relevant: bool
    pending: int = 0
    took_ms: float = 0.0

    def __iter__(self) -> Iterator[Procedure]:  # type: ignore[override]  # pydantic iterates over fields; this over results
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> Procedure:
        return self.results[index]
